"""Recorded frames: a video, a picture, a folder of pictures or a stream URL, through OpenCV."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np

from edge import MOST_PIXELS
from edge.errors import CameraLost, SourceEmpty, SourceMissing, SourceTruncated, SourceUnreadable
from edge.files import read_file
from edge.quiet import tame_opencv
from edge.types import Frame, Gray

PICTURES = (".bmp", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")
PICTURE_FPS = 30.0  # pictures of a folder are the frames of a film
STILL_FRAMES = 60  # one picture alone is two seconds of film: a cue needs time to build
LARGEST_GAP = 10.0  # seconds between frames; more is a broken timestamp, not a pause
SLACK_FRAMES, SLACK_SHARE = 3, 0.03  # by which headers of whole files were seen to promise too much
LARGEST_PICTURE = 1 << 27  # bytes of a picture's file
NETWORK_DEADLINE = 5.0  # seconds, to open a stream and for each frame of it

_URL = re.compile(r"[a-z][a-z0-9+.-]+://", re.IGNORECASE)
_PICTURE_ENDS = ((b"\xff\xd8", b"\xff\xd9"), (b"\x89PNG", b"IEND"))


class Capture:
    """A cv2.VideoCapture that may be closed from another thread while one is in read()."""

    def __init__(self, target: str, backend: int, options: Sequence[float] = ()) -> None:
        tame_opencv()
        self.closing = threading.Event()
        self.stuck = False  # a read that never returned kept close() from its work
        self._lock = threading.Lock()
        self._capture = cv2.VideoCapture()
        try:
            self.opened = self._capture.open(target, backend, [int(option) for option in options])
        except cv2.error:
            self.opened = False

    def get(self, name: int) -> float:
        """Ask for one of OpenCV's CAP_PROP_ values; 0 when closed or unknown."""
        with self._lock:
            return self._capture.get(name)

    def read(self) -> Gray | None:
        """Read the next picture as OpenCV gives it; None at the end, on a failure and when closed."""
        with self._lock:
            if self.closing.is_set():
                return None
            try:
                got, picture = self._capture.read()
            except cv2.error:
                return None
            return np.asarray(picture, np.uint8) if got and picture is not None and picture.size else None

    def close(self) -> None:
        """Release the device or file; a read in progress elsewhere is given a second."""
        self.closing.set()
        self.stuck = not self._lock.acquire(timeout=1.0)
        if not self.stuck:
            try:
                self._capture.release()
            finally:
                self._lock.release()


class FileSource:
    """The video, picture, folder of pictures (in the order of their names) or stream URL `argument`.

    `live` plays it at its own speed, with `t` on time.monotonic(); otherwise frames come as fast as
    asked for, with `t` the position in seconds. A stream without an end is always live.
    Raises SourceMissing, SourceEmpty or SourceUnreadable on opening.
    """

    def __init__(self, argument: str, *, live: bool) -> None:
        tame_opencv()
        self.live = live
        self.announced: int | None = None
        self._name = argument
        self._closing = threading.Event()
        self._capture: Capture | None = None
        self._pictures: list[Path] = []
        self._endless = False
        if _URL.match(argument):
            self._open_stream(argument)
            return
        path = Path(argument)
        if not argument or not path.exists():
            raise SourceMissing(f"--source file:{argument}: no such file or folder; give a video, picture or folder")
        if path.is_dir():
            self._pictures = sorted(item for item in path.iterdir() if item.suffix.lower() in PICTURES)
            if not self._pictures:
                raise SourceEmpty(f"{path}: no picture in this folder; pictures end in {', '.join(PICTURES)}")
            self.announced = len(self._pictures)
        else:
            self._open_file(path)

    def _open_file(self, path: Path) -> None:
        if not path.is_file():
            raise SourceUnreadable(f"{path}: not a file or folder; a camera is --source v4l2:{path}")
        try:
            with path.open("rb") as file:
                head = file.read(4096)
        except OSError as error:
            raise SourceUnreadable(f"{path}: {error.strerror}; give a file that may be read") from error
        if not head:
            raise SourceEmpty(f"{path}: the file is empty (0 bytes); copy or record it again")
        if path.suffix.lower() != ".gif" and cv2.haveImageReader(str(path)):
            self._pictures = [path]
            self.announced = STILL_FRAMES
            return
        # FFmpeg would play a text file as a terminal session; no video header is without a zero byte.
        self._capture = None if b"\0" not in head else Capture(str(path), cv2.CAP_FFMPEG, (cv2.CAP_PROP_N_THREADS, 1))
        if self._capture is None or not self._capture.opened:
            kind = "text" if b"\0" not in head else "neither a video nor a picture that can be read, or cut short"
            raise SourceUnreadable(
                f"{path}: {kind} (begins {bytes(head[:8])!r}); give a video such as .mp4 or .mkv, or a picture"
            )
        self._read_header(self._capture)

    def _open_stream(self, url: str) -> None:
        wait = int(NETWORK_DEADLINE * 1000)
        options = (cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, wait, cv2.CAP_PROP_READ_TIMEOUT_MSEC, wait)
        self._capture = Capture(url, cv2.CAP_FFMPEG, options)
        if not self._capture.opened:
            raise SourceUnreadable(
                f"{url}: no video stream opens there within {NETWORK_DEADLINE:g} s; check the address and the network"
            )
        self._read_header(self._capture)
        self._endless = self.announced is None
        self.live = self.live or self._endless

    def _read_header(self, capture: Capture) -> None:
        width, height = capture.get(cv2.CAP_PROP_FRAME_WIDTH), capture.get(cv2.CAP_PROP_FRAME_HEIGHT)
        if width * height > MOST_PIXELS:
            capture.close()
            raise SourceUnreadable(
                f"{self._name}: frames of {width:.0f}x{height:.0f}; "
                f"valid are up to {MOST_PIXELS / 1e6:.0f} million pixels"
            )
        count = capture.get(cv2.CAP_PROP_FRAME_COUNT)
        self.announced = int(count) if 0 < count < 1e8 else None

    def frames(self) -> Iterator[Frame]:
        """Yield every frame once, in order.

        Raises SourceUnreadable where nothing or a damaged picture is met, SourceTruncated after the
        last frame when clearly more were announced, CameraLost when an endless stream stops.
        """
        started: float | None = None
        first = 0.0
        try:
            for seq, (gray, position) in enumerate(self._pictured() if self._pictures else self._filmed()):
                if self._closing.is_set():
                    return
                now = time.monotonic()
                if self.live and not self._endless:
                    if started is None:
                        started, first = now, position
                    if self._closing.wait(max(0.0, started + position - first - now)):
                        return
                    now = time.monotonic()
                yield Frame(gray, now if self.live else position, seq, now)
        finally:
            self.close()

    def _pictured(self) -> Iterator[tuple[Gray, float]]:
        if len(self._pictures) == 1 and self.announced == STILL_FRAMES:
            gray = load_picture(self._pictures[0])
            yield from ((gray, index / PICTURE_FPS) for index in range(STILL_FRAMES))
            return
        for index, path in enumerate(self._pictures):
            yield load_picture(path), index / PICTURE_FPS

    def _filmed(self) -> Iterator[tuple[Gray, float]]:
        assert self._capture is not None
        fps = self._capture.get(cv2.CAP_PROP_FPS)
        step = 1 / fps if 1 <= fps <= 240 else 1 / PICTURE_FPS  # headers say 0, nan and 90000 too
        count = 0
        position = seen = 0.0
        while (picture := self._capture.read()) is not None:
            stamp = self._capture.get(cv2.CAP_PROP_POS_MSEC) / 1000
            if count:
                position += stamp - seen if 0 < stamp - seen <= LARGEST_GAP else step
            seen = stamp
            count += 1
            gray = picture if picture.ndim == 2 else cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY)
            yield np.asarray(gray, np.uint8), position
        if self._closing.is_set():
            return
        if count == 0:
            raise SourceUnreadable(f"{self._name}: no frame of this video can be decoded; convert it to H.264 in .mp4")
        if self._endless:
            raise CameraLost(f"{self._name}: the stream stopped after {count} frames; check the sender and the network")
        if self.announced is not None and self.announced - count > max(SLACK_FRAMES, SLACK_SHARE * self.announced):
            raise SourceTruncated(
                f"{self._name}: ends after {count} of the {self.announced} frames its header announces; copy it again"
            )

    def close(self) -> None:
        """Release the file or stream; may be called twice, and from another thread."""
        self._closing.set()
        if self._capture is not None:
            self._capture.close()


def is_whole(content: bytes) -> bool:
    """Tell whether a JPEG or PNG file has its end: some decoders fill what is missing with gray and report nothing."""
    return all(content.rfind(end) > len(content) // 2 for start, end in _PICTURE_ENDS if content.startswith(start))


def load_picture(path: Path) -> Gray:
    """Read one picture as luma, uint8 (height, width); raises SourceMissing, SourceEmpty, SourceUnreadable."""
    try:
        content = read_file(path, LARGEST_PICTURE)
    except FileNotFoundError as error:
        raise SourceMissing(f"{path}: no such picture; give the path of one") from error
    except OSError as error:
        raise SourceUnreadable(f"{path}: {error.strerror}; give pictures that may be read") from error
    if not content:
        raise SourceEmpty(f"{path}: the file is empty (0 bytes); copy it again or take it out of the folder")
    gray = decode(np.frombuffer(content, np.uint8)) if is_whole(content) else None
    if gray is None:
        raise SourceUnreadable(
            f"{path}: a damaged picture, or one of more than {MOST_PIXELS / 1e6:.0f} million pixels; copy it again or "
            "take it out of the folder"
        )
    return gray


def decode(content: Gray) -> Gray | None:
    """Decode a picture's bytes, uint8 (n,) or (1, n), to luma, uint8 (height, width); None where it is none."""
    try:
        gray = cv2.imdecode(content, cv2.IMREAD_GRAYSCALE) if content.size else None
    except cv2.error:  # how OpenCV takes a picture that says it is too large
        return None
    return None if gray is None else np.ascontiguousarray(gray, np.uint8)
