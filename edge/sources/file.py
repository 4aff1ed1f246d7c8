"""Recorded frames: a film, a picture, a folder of pictures or a stream's URL."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import cv2

from edge import MOST_PIXELS
from edge.errors import CameraLost, SourceEmpty, SourceMissing, SourceTruncated, SourceUnreadable
from edge.files import native_name
from edge.needs import Needs
from edge.settings import Settings
from edge.sources import containers
from edge.sources.film import Film
from edge.sources.headers import GIF, is_animated, is_avif, is_film, pages
from edge.sources.pictures import (
    LARGEST_PICTURE,
    PICTURE_FPS,
    PICTURES,
    decode_pictures,
    load_picture,
    pictures_in,
    read_picture,
    refuse_foreign,
    refuse_tiny,
)
from edge.system.addresses import is_stream, local_path
from edge.system.quiet import tame_opencv
from edge.types import LEAST_SIDE, Frame, Gray

__all__ = ["LARGEST_PICTURE", "PICTURES", "FileSource", "load_picture"]

STILL_FRAMES = 60  # one picture alone is two seconds of film: a cue needs time to build
SLACK_FRAMES, SLACK_SHARE = 3, 0.03  # by which headers of whole streams were seen to promise too much
NETWORK_DEADLINE = 5.0  # seconds, to open a stream and for each frame of it
PROBED = 1 << 24  # bytes of what begins like a picture that it reads, to see whether it is a film


class FileSource:
    """The film, picture, folder of pictures (in the order of their names, numbers by their value) or URL `argument`.

    `live` plays it at its own speed, with `t` on time.monotonic(); otherwise frames come as fast as
    asked for, with `t` the position in seconds. A stream without an end is always live.
    Raises SourceMissing, SourceEmpty or SourceUnreadable on opening.
    """

    @staticmethod
    def needs(argument: str, settings: Settings) -> Needs:
        """State the network of a stream, or the recording."""
        return Needs(network=True) if is_stream(argument) else Needs(plays=local_path(argument))

    def __init__(self, argument: str, *, live: bool) -> None:
        tame_opencv()
        self.live = live
        self.announced: int | None = None
        self._name = argument
        self._closing = threading.Event()
        self._film: Film | None = None
        self._path: Path | None = None  # of a single file
        self._pictures: list[Path] = []
        self._endless = False
        if is_stream(argument):
            self._open_stream(argument)
            return
        argument = local_path(argument)
        path = Path(argument)
        try:
            there = bool(argument) and path.exists()
        except (OSError, ValueError):  # a name too long, or with a zero byte
            there = False
        if not there:
            raise SourceMissing(f"--source file:{argument}: no such file or folder; give a video, picture or folder")
        if path.is_dir():
            self._open_folder(path)
        else:
            self._open_file(path)

    def _open_folder(self, path: Path) -> None:
        self._pictures = pictures_in(path)
        self.announced = len(self._pictures)

    def _open_file(self, path: Path) -> None:
        if not path.is_file():
            raise SourceUnreadable(f"{path}: not a file or folder; a camera is --source v4l2:{path}")
        try:
            with path.open("rb") as file:
                head = file.read(4096)
                picture = cv2.haveImageReader(native_name(file)) or is_avif(head) or head.startswith(GIF)
                if picture:
                    file.seek(0)
                    head = file.read(PROBED)
        except OSError as error:
            raise SourceUnreadable(f"{path}: {error.strerror}; give a file that may be read") from error
        if not head:
            raise SourceEmpty(f"{path}: the file is empty (0 bytes); copy or record it again")
        refuse_foreign(path, head[:4096])
        self._path = path
        if picture and not is_film(head):
            single = not is_animated(head) and len(pages(head)) == 1
            self.announced = STILL_FRAMES if single else None
            return
        # FFmpeg would play a text file as a terminal session; of films' headers only Y4M's has no zero byte.
        text = b"\0" not in head and not head.startswith(b"YUV4MPEG2 ")
        self._film = None if text else Film(path, str(path))
        if self._film is None or not self._film.opened:
            kind = "text" if text else "neither a video nor a picture that can be read, or cut short"
            raise SourceUnreadable(
                f"{path}: {kind} (begins {bytes(head[:8])!r}); give a video such as .mp4 or .mkv, or a picture"
            )
        self._read_header(self._film)

    def _open_stream(self, url: str) -> None:
        wait = int(NETWORK_DEADLINE * 1000)
        options = (cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, wait, cv2.CAP_PROP_READ_TIMEOUT_MSEC, wait)
        self._film = Film(url, url, options)
        if not self._film.opened:
            raise SourceUnreadable(
                f"{url}: no video stream opens there within {NETWORK_DEADLINE:g} s; check the address and the network"
            )
        self._read_header(self._film)
        self._endless = self.announced is None
        self.live = self.live or self._endless

    def _read_header(self, film: Film) -> None:
        width, height = film.size
        if width * height > MOST_PIXELS or 0 < min(width, height) < LEAST_SIDE:
            film.close()
            raise SourceUnreadable(
                f"{self._name}: frames of {width}x{height}; valid are {LEAST_SIDE} pixels on each side "
                f"up to {MOST_PIXELS / 1e6:.0f} million pixels"
            )
        self.announced = film.announced

    def frames(self) -> Iterator[Frame]:
        """Yield every frame once, in order.

        Raises SourceUnreadable where nothing or a damaged picture is met, SourceTruncated after the
        last frame when some of the file is missing, CameraLost when an endless stream stops.
        """
        started: float | None = None
        first = 0.0
        try:
            for seq, (gray, position) in enumerate(self._filmed() if self._film is not None else self._pictured()):
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
        """Yield the pictures of a file, or the first one of each file of a folder."""
        if self._path is None:
            for index, path in enumerate(self._pictures):
                yield load_picture(path), index / PICTURE_FPS
            return
        position, last, count = 0.0, None, 0
        for gray, seconds in decode_pictures(self._path, read_picture(self._path)):
            yield gray, position
            position, last, count = position + seconds, gray, count + 1
        if count == 1 and last is not None:
            yield from _held(last)

    def _filmed(self) -> Iterator[tuple[Gray, float]]:
        assert self._film is not None
        count = 0
        gray: Gray | None = None
        for gray, position in self._film.frames():
            refuse_tiny(self._name, gray)
            count += 1
            yield gray, position
        if self._closing.is_set():
            return
        if gray is None and self._path is None:
            raise SourceUnreadable(
                f"{self._name}: no frame can be read from there; an MP4 whose index is at its end needs a server that "
                "gives parts of a file (HTTP ranges): copy the file and play that, or use ffmpeg -movflags +faststart"
            )
        if gray is None:
            raise SourceUnreadable(f"{self._name}: no frame of this video can be decoded; convert it to H.264 in .mp4")
        if self._endless:
            raise CameraLost(f"{self._name}: the stream stopped after {count} frames; check the sender and the network")
        if self._path is None:
            self._check_stream(count)
            return
        if count == 1:
            yield from _held(gray)
        self._check_whole(self._path, count)

    def _check_whole(self, path: Path, count: int) -> None:
        """Raise SourceTruncated where the file is shorter than its container states."""
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            missing = containers.missing_bytes(file, size)
        if missing:
            raise SourceTruncated(
                f"{path}: ends after {count} frames; {size} of the {size + missing} bytes that its header announces "
                "are there; copy it again"
            )

    def _check_stream(self, count: int) -> None:
        if self.announced is not None and self.announced - count > max(SLACK_FRAMES, SLACK_SHARE * self.announced):
            raise SourceTruncated(
                f"{self._name}: ends after {count} of the {self.announced} frames its header announces; "
                "check the network, or copy the file and play that"
            )

    def close(self) -> None:
        """Release the file or stream; may be called twice, and from another thread."""
        self._closing.set()
        if self._film is not None:
            self._film.close()


def _held(gray: Gray) -> Iterator[tuple[Gray, float]]:
    """Yield a picture that came once as often as one that is alone is shown."""
    yield from ((gray, index / PICTURE_FPS) for index in range(1, STILL_FRAMES))
