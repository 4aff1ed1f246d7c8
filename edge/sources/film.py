"""A film through OpenCV's FFmpeg, as a player shows it: turned, pixels square, each frame at its time."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np

from edge.errors import SourceUnreadable
from edge.files import native_name
from edge.sources import containers
from edge.sources.geometry import OF_ANGLE, UPRIGHT, stretch, turn
from edge.system.quiet import tame_opencv
from edge.types import Gray

USUAL_FPS = 30.0  # where a header names none
LARGEST_GAP = 10.0  # seconds between frames; more is a broken timestamp, not a pause
EVERY = 8  # pixels between those that it compares first
LOOK = 25  # frames around a suspicious one that it reads again
LOOK_DEADLINE = 60.0  # seconds

# FFmpeg 8 refuses to convert a frame that is marked as interlaced, or of a format it does not know, and OpenCV hands
# out what its buffer held before, read() still True. FFmpeg's own log, whose level is set once a process, is the only
# place where that can be seen.
_LOOK_AGAIN = """
import sys
import cv2
target, first, count = sys.stdin.read().split("\\n")
film = cv2.VideoCapture()
if film.open(target, cv2.CAP_FFMPEG, [cv2.CAP_PROP_N_THREADS, 1]):
    film.set(cv2.CAP_PROP_POS_FRAMES, int(first))
    for _ in range(int(count)):
        if not film.read()[0]:
            break
"""


class ClosableCapture:
    """A cv2.VideoCapture that may be closed from another thread while one is in read()."""

    def __init__(self, target: str, backend: int, options: Sequence[float] = ()) -> None:
        tame_opencv()
        self.closing = threading.Event()
        self.stuck = False  # a read that never returned kept close() from its work
        self.opened = False
        self._lock = threading.Lock()
        self._capture = cv2.VideoCapture()
        try:
            target.encode()  # OpenCV 4.11 ends the process at a name that is no UTF-8
            self.opened = self._capture.open(target, backend, [int(option) for option in options])
        except (cv2.error, UnicodeEncodeError):
            pass

    def get(self, name: int) -> float:
        """Ask for one of OpenCV's CAP_PROP_ values; 0 when closed or unknown."""
        with self._lock:
            return self._capture.get(name)

    def set(self, name: int, value: float) -> bool:
        """Set one of OpenCV's CAP_PROP_ values, and return whether it is so now."""
        with self._lock:
            self._capture.set(name, value)
            return self._capture.get(name) == value

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


class Film:
    """The film in a file, or behind a URL."""

    def __init__(self, target: Path | str, name: str, options: Sequence[float] = ()) -> None:
        """Open it; `opened` says whether that worked, `name` is what errors call it. Raises OSError."""
        self._target = target
        self._name = name
        self._orientation: int | None = None
        if isinstance(target, Path):
            with target.open("rb") as file:
                size = os.fstat(file.fileno()).st_size
                self._orientation = containers.orientation(file, size)
                self._capture = ClosableCapture(native_name(file), cv2.CAP_FFMPEG, (cv2.CAP_PROP_N_THREADS, 1))
        else:
            self._capture = ClosableCapture(target, cv2.CAP_FFMPEG, options)
        self.opened = self._capture.opened
        count = self._capture.get(cv2.CAP_PROP_FRAME_COUNT)
        self.announced = int(count) if 0 < count < 1e8 else None  # by its header, which counts hidden frames too
        self.size = (  # as it is coded
            int(self._capture.get(cv2.CAP_PROP_FRAME_WIDTH)),
            int(self._capture.get(cv2.CAP_PROP_FRAME_HEIGHT)),
        )

    def frames(self) -> Iterator[tuple[Gray, float]]:
        """Yield luma, uint8 (height, width), and the position in seconds, which begins at 0 and always advances.

        Raises SourceUnreadable where what is decoded are not the film's pictures.
        """
        orientation, aspect = self._geometry()
        fps = self._capture.get(cv2.CAP_PROP_FPS)
        step = 1 / fps if 1 <= fps <= 240 else 1 / USUAL_FPS  # headers say 0, nan and 90000 too
        count = 0
        look_at = 1  # the number of the frame from which on one that repeats the last is suspicious
        position = seen = 0.0
        waiting: tuple[Gray, float] | None = None  # the first frame, until the second shows that it is one
        before: Gray | None = None
        while (picture := self._capture.read()) is not None:
            stamp = self._capture.get(cv2.CAP_PROP_POS_MSEC) / 1000
            if count:
                position += stamp - seen if 0 < stamp - seen <= LARGEST_GAP else step
            seen = stamp
            flat = np.asarray(picture if picture.ndim == 2 else cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY), np.uint8)
            if count >= look_at and before is not None and _equal(before, flat):
                look_at = 2 * count + 100
                self._check_converted(count)
            before = flat
            count += 1
            if waiting is not None:
                yield waiting
                waiting = None
            frame = np.ascontiguousarray(turn(stretch(flat, aspect), orientation)), position
            if count == 1:
                waiting = frame
            else:
                yield frame
        if waiting is not None:
            self._check_converted(0)
            yield waiting

    def _geometry(self) -> tuple[int, float]:
        """Return EXIF's number of the frames' orientation, and a pixel's width by its height."""
        # Versions differ in whether they turn by themselves; none mirrors.
        turns = not self._capture.set(cv2.CAP_PROP_ORIENTATION_AUTO, 0)
        orientation = self._orientation
        if orientation is None:
            orientation = OF_ANGLE.get(round(self._capture.get(cv2.CAP_PROP_ORIENTATION_META)), UPRIGHT)
        wide, high = self._capture.get(cv2.CAP_PROP_SAR_NUM), self._capture.get(cv2.CAP_PROP_SAR_DEN)
        return (UPRIGHT if turns else orientation), (wide / high if wide > 0 and high > 0 else 1.0)

    def _check_converted(self, number: int) -> None:
        """Raise SourceUnreadable where FFmpeg says that it could not convert the frames around one."""
        if self._capture.closing.is_set():
            return
        if isinstance(self._target, Path):
            with self._target.open("rb") as file:
                printed = _look_again(native_name(file), number, (file.fileno(),))
        else:
            printed = _look_again(self._target, number, ())
        if b"nterlaced" in printed:
            raise SourceUnreadable(
                f"{self._name}: interlaced video, which OpenCV {cv2.__version__} decodes to black; "
                "convert it: ffmpeg -i FILE -vf yadif NEW.mp4"
            )
        if b"[swscaler" in printed:
            raise SourceUnreadable(
                f"{self._name}: OpenCV {cv2.__version__} cannot convert this video's pixels; "
                "convert it: ffmpeg -i FILE -pix_fmt yuv420p NEW.mp4"
            )

    def close(self) -> None:
        """Release it; may be called twice, and from another thread."""
        self._capture.close()

    @property
    def closing(self) -> bool:
        """Whether it was closed."""
        return self._capture.closing.is_set()


def _equal(one: Gray, other: Gray) -> bool:
    return (
        one.shape == other.shape
        and bool((one[::EVERY, ::EVERY] == other[::EVERY, ::EVERY]).all())
        and bool((one == other).all())
    )


def _look_again(target: str, number: int, descriptors: tuple[int, ...]) -> bytes:
    """Return what FFmpeg logs of the frames around one, in a process of its own; an address may hold a password."""
    import subprocess  # which hardly a film needs

    try:
        done = subprocess.run(
            [sys.executable, "-c", _LOOK_AGAIN],
            input=f"{target}\n{max(0, number - LOOK)}\n{2 * LOOK}".encode(errors="surrogateescape"),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={name: value for name, value in os.environ.items() if name != "OPENCV_FFMPEG_LOGLEVEL"},
            pass_fds=descriptors,
            timeout=LOOK_DEADLINE,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return b""  # what cannot be shown to be wrong is played
    return done.stdout
