"""`video:PATH`: the frames with boxes and cue drawn in, as a file that is whole or not there."""

from __future__ import annotations

import contextlib
import math
import shutil
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from edge.drawing.boxes import corners_of
from edge.drawing.glyphs import cue_colour
from edge.drawing.lettering import draw_line
from edge.errors import DiskFull, SettingsInvalid, SinkFailed, SinkUnwritable
from edge.files import native_name, native_place, sink_error, staged_name
from edge.locale.words import name_cue, name_of
from edge.needs import Needs
from edge.runtime.control import Control
from edge.settings import LookSettings, Settings
from edge.system.quiet import tame_opencv
from edge.types import Capabilities, Update

Picture = npt.NDArray[np.uint8]  # BGR (height, width, 3)

CODECS = {".mp4": "mp4v", ".mkv": "mp4v", ".avi": "MJPG"}
USUAL_FPS = 30.0
FPS_RANGE = (20.0, 60.0)  # below, a film whose frames come faster later on would lose some of them
FIRST = 12  # frames whose times give the rate: the first two of a telephone's or a screen's film may be far apart
LEAST_FREE = 4_000_000  # bytes on the disk: OpenCV's writer does not say when it is full
CHECK_EVERY = 15  # frames between looks at the disk
GAP = 10.0  # seconds without frames that are shown as they were; a longer gap is cut: the camera was lost, or a pause

LINE = 40.0  # pixels of a line of text at scale 1
LEAST_TEXT = 10  # pixels of a line that can be read
ABOVE = 0.72  # of a line's height that is above the letters' own line
_OTHER = (230, 230, 230)


class VideoSink:
    """Write an annotated video beside its name, and give it its name when it is whole.

    Its frames are as far apart as most of the run's first ones, or a whole number of times nearer; those that are
    missing in between are filled in, so that it lasts as long as the run.
    """

    capabilities = Capabilities(every_frame=True, reopens=False, deadline=5.0)

    @staticmethod
    def needs(argument: str, settings: Settings) -> Needs:
        """State the file, and that frames are in it."""
        return Needs(file=argument, sees_frames=True)

    def __init__(self, argument: str, control: Control) -> None:
        """Check that `argument` can be written; raises SettingsInvalid, SinkUnwritable or DiskFull."""
        tame_opencv()
        self._control = control
        self._path = Path(argument)
        if self._path.suffix.lower() not in CODECS:
            raise SettingsInvalid(f"video sink: {argument!r} is no video's name; it must end in {', '.join(CODECS)}")
        if self._path.is_dir():
            raise SinkUnwritable(f"{self._path}: is a folder; give the path of a file")
        self._staged = staged_name(self._path, self._path.suffix.lower())
        try:
            self._staged.touch()
        except OSError as error:
            raise sink_error(self._path, error) from error
        self._writer: cv2.VideoWriter | None = None
        self._waiting: list[Update] = []  # the first frames, until there are enough to know the rate
        self._fps = USUAL_FPS
        self._written = 0
        self._end = 0.0  # capture clock up to which frames are written
        self._last: Picture | None = None
        self._size = (0, 0)
        self._closed = False

    def show(self, update: Update) -> None:
        """Draw and write one update; raises DiskFull, SinkUnwritable or SinkFailed."""
        if update.frame is None or self._closed:
            return
        if self._writer is None:
            self._waiting.append(update)
            if len(self._waiting) == FIRST:
                self._begin()
            return
        self._write(update)

    def _begin(self) -> None:
        """Open the writer at the rate of the frames that wait, and write them."""
        waiting, self._waiting = self._waiting, []
        frames = [update.frame for update in waiting if update.frame is not None]
        self._fps = frame_rate([later.t - earlier.t for earlier, later in pairwise(frames)])
        height, width = frames[0].gray.shape
        self._size = (width, height)
        code = cv2.VideoWriter.fourcc(*CODECS[self._staged.suffix])
        with self._refused(), native_place(self._staged) as name:
            self._writer = cv2.VideoWriter(name, cv2.CAP_FFMPEG, code, self._fps, self._size)
        if not self._writer.isOpened():
            self._discard()
            raise SinkFailed(f"{self._path}: OpenCV opens no {CODECS[self._staged.suffix]} writer; try .avi")
        for update in waiting:
            self._write(update)

    def _write(self, update: Update) -> None:
        assert update.frame is not None
        assert self._writer is not None
        if self._written % CHECK_EVERY == 0 and self._free() < LEAST_FREE:
            self._discard()
            raise DiskFull(f"{self._path}: under {LEAST_FREE // 1_000_000} MB left on the disk; free some space")
        picture = annotate(update, self._control.settings.look)
        if (picture.shape[1], picture.shape[0]) != self._size:
            picture = cv2.resize(picture, self._size).astype(np.uint8, copy=False)
        t = update.frame.t
        if not self._written or not -GAP < t - self._end < GAP:
            self._end = t
        # What is missing in between is filled with what was seen until then: the video lasts as long as the run.
        half = 0.5 / self._fps
        while self._last is not None and self._end < t - half:
            self._add(self._last)
        if self._end <= t + half:
            self._add(picture)
        self._last = picture

    def _free(self) -> int:
        """Return the bytes that are left on the disk."""
        with self._refused():
            return shutil.disk_usage(self._staged.parent).free

    def _add(self, picture: Picture) -> None:
        assert self._writer is not None
        self._writer.write(picture)
        self._written += 1
        self._end += 1 / self._fps

    @contextlib.contextmanager
    def _refused(self) -> Iterator[None]:
        """Name what the system refuses in the block, and leave no file; raises SinkUnwritable or DiskFull."""
        try:
            yield
        except OSError as error:
            self._discard()
            raise sink_error(self._path, error) from error

    def _discard(self) -> None:
        self._closed = True
        if self._writer is not None:
            self._writer.release()
        with contextlib.suppress(OSError):  # the first is what is wrong
            self._staged.unlink(missing_ok=True)

    def close(self) -> None:
        """Finish, read back and name the file; raises DiskFull when it is not whole, or SinkUnwritable."""
        if self._closed:
            return
        if self._waiting:
            self._begin()
        self._closed = True
        if self._writer is None:
            self._discard()
            return
        self._writer.release()
        with self._refused(), self._staged.open("rb") as file:
            reader = cv2.VideoCapture(native_name(file), cv2.CAP_FFMPEG, [cv2.CAP_PROP_N_THREADS, 1])
            frames = 0
            while reader.grab():
                frames += 1
            reader.release()
        if frames != self._written:
            self._discard()
            raise DiskFull(f"{self._path}: only {frames} of {self._written} frames reached the disk; free some space")
        with self._refused():
            self._staged.replace(self._path)


def frame_rate(steps: Sequence[float]) -> float:
    """Return a rate in frames a second that a run's steps in seconds fit into: most of them, or a part of each."""
    known = sorted(step for step in steps if step > 0)
    if not known:
        return USUAL_FPS
    usual = known[(len(known) - 1) // 2]
    near = [step for step in known if 0.5 * usual < step < 1.5 * usual]
    fps = min(len(near) / sum(near), FPS_RANGE[1])
    return fps * math.ceil(FPS_RANGE[0] / fps) if fps < FPS_RANGE[0] else fps


def annotate(update: Update, look: LookSettings) -> Picture:
    """Draw an update as BGR uint8 (height, width, 3): boxes turned with the faces, readings, and the cue below.

    Classes and cue are named by the visible expression, in the wearer's language.
    """
    assert update.frame is not None
    picture: Picture = cv2.cvtColor(update.frame.gray, cv2.COLOR_GRAY2BGR).astype(np.uint8, copy=False)
    height, width = update.frame.gray.shape
    unit = height / 480
    probabilities = {reading.face_id: reading.probabilities for reading in update.readings}
    for face in update.faces:
        corners = corners_of(face)
        cv2.polylines(picture, [corners], True, _OTHER, max(1, round(2 * unit)), cv2.LINE_AA)
        values = probabilities.get(face.id)
        name = update.labels[int(np.argmax(values))] if values else ""
        reading = f"{name_of(name, look.language)} {max(values):.2f} " if values else ""
        label = f"{face.id} {reading}{face.roll_deg:+.0f} deg {face.distance_m:.1f} m"
        at = (int(corners[:, 0].min()), max(12, int(corners[:, 1].min()) - 5))
        _text(picture, label, at, 0.45 * unit, _OTHER)
    cue = update.cue
    red, green, blue = cue_colour(cue)
    colour = (blue, green, red)
    _text(picture, name_cue(cue, look.language), (round(12 * unit), height - round(22 * unit)), 1.1 * unit, colour)
    if cue.expression:
        left, top, bottom = (round(edge * unit) for edge in (12, 480 - 12, 480 - 6))
        cv2.rectangle(picture, (left, top), (left + round(cue.confidence * width / 3), bottom), colour, -1)
    return picture


def _text(picture: Picture, text: str, at: tuple[int, int], scale: float, colour: tuple[int, int, int]) -> None:
    """Draw text with a dark edge; `at` is where its line begins, and what is outside of the picture is cut."""
    letters = np.pad(draw_line(text, max(LEAST_TEXT, round(LINE * scale))), 2)
    edge = cv2.dilate(letters, np.ones((5, 5), np.uint8))
    left, top = at[0] - 2, at[1] - round(ABOVE * (letters.shape[0] - 4)) - 2
    rows = slice(max(0, top), min(picture.shape[0], top + letters.shape[0]))
    columns = slice(max(0, left), min(picture.shape[1], left + letters.shape[1]))
    if rows.start >= rows.stop or columns.start >= columns.stop:
        return
    within = np.s_[rows.start - top : rows.stop - top, columns.start - left : columns.stop - left]
    dark, lit = edge[within][..., None] / 255, letters[within][..., None] / 255
    below = picture[rows, columns] * (1 - dark)
    picture[rows, columns] = np.rint(below * (1 - lit) + np.array(colour) * lit).astype(np.uint8)
