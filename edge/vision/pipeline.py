"""A frame in, an Update out: find -> schedule -> read -> decide; the only copy of a frame's way.

The runner, `cuelens-bench`, `cuelens check` and `cuelens replay` call it, each with the sight that it has.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import NamedTuple, Protocol

from edge.cue.policy import CuePolicy
from edge.settings import CueSettings
from edge.types import NO_WORK, Cue, Face, Frame, Gray, Reading, Update, Work

STAGES = ("find", "read", "cue")  # as they are marked, in their order

Mark = Callable[[str], None]  # takes the name of the stage that begins


def mark_nothing(stage: str) -> None:
    """Ignore the mark."""


class FindFailed(Exception):
    """Finding failed and the frame is skipped: whether anybody is in it is unknown."""


class Effort(NamedTuple):
    """What a frame may cost."""

    scan: float = 1.0  # share of a frame's budget for the search for new faces
    read_interval: float = 0.0  # seconds between readings of a face, where the setting is not longer


FULL = Effort()


class Found(NamedTuple):
    """The outcome of finding: the faces of a frame, nearest first."""

    faces: tuple[Face, ...]
    work: Work = NO_WORK
    turned_deg: float | None = None  # by which heads are turned in the picture, once that is sure


class Sight(Protocol):
    """What a pipeline sees with: finder, schedule and network of a device (edge.vision.sight), or a log's lines."""

    def find(self, gray: Gray, t: float, effort: Effort) -> Found:
        """Find the faces of a luma frame, uint8 (height, width), of `t` seconds; raises FindFailed."""

    def schedule(self, faces: Sequence[Face], partner: int | None, t: float, effort: Effort) -> tuple[list[Face], int]:
        """Return who of the faces is read in the frame of `t`, and how many more were due."""

    def read(self, gray: Gray, face: Face) -> tuple[float, ...] | None:
        """Return a face's probabilities in the labels' order; None where that failed."""


class Pipeline:
    """Takes frames one after the other; pure on arrays and capture-clock instants: no clock, no input, no output."""

    def __init__(self, sight: Sight, labels: tuple[str, ...], settings: CueSettings, mark: Mark = mark_nothing) -> None:
        """Begin with nothing seen; `labels` name the probabilities, and `mark` is called as each of STAGES begins."""
        self.policy = CuePolicy(settings, labels)
        self._sight = sight
        self._labels = labels
        self._settings = settings
        self._mark = mark
        self._readings: dict[int, Reading] = {}  # the newest of each present face
        self._newest = 0.0  # instant of a frame

    def process(self, frame: Frame, effort: Effort = FULL) -> Update:
        """Return what is seen and shown of a frame, at no more than `effort`.

        The caller, who has a clock and a mailbox, fills in `latency_ms` and `dropped`. Raises what the sight raises.
        """
        t = round(frame.t, 6)  # as many digits as the log has: a replay of it then decides alike
        self._newest = t
        self._mark("find")
        found = self._sight.find(frame.gray, t, effort)
        self._mark("read")
        chosen, unread = self._sight.schedule(found.faces, self.policy.partner, t, effort)
        fresh = [
            Reading(face.id, probabilities, t)
            for face in chosen
            if (probabilities := self._sight.read(frame.gray, face)) is not None
        ]
        present = {face.id for face in found.faces}
        self._readings = {number: reading for number, reading in self._readings.items() if number in present}
        self._readings |= {reading.face_id: reading for reading in fresh}
        self._mark("cue")
        return Update(
            replace(frame, t=t),
            found.faces,
            tuple(self._readings.values()),
            self._labels,
            self.policy.update(found.faces, fresh, t),
            {},
            0,
            replace(found.work, unread=unread),
            self._settings,
            found.turned_deg,
        )

    def change(self, settings: CueSettings) -> None:
        """Decide by these settings from here on."""
        if settings is not self._settings:
            self._settings = settings
            self.policy.change(settings)

    def forget(self) -> None:
        """Forget what was seen, as where the finder is loaded again and numbers its faces from one."""
        self._readings = {}
        self.policy.lose_camera(self._newest)

    def lose_camera(self, t: float) -> Update:
        """Return what is shown where no frame has come by `t`; what was seen before is forgotten."""
        self._readings = {}
        return self._without_frame(self.policy.lose_camera(t))

    def pause(self, t: float) -> Update:
        """Return what is shown from a pause at `t` on; what was seen before is forgotten."""
        self._readings = {}
        return self._without_frame(self.policy.pause(t))

    def unknown(self, t: float) -> Update:
        """Return what is shown where nothing is known at `t`; any thread may ask, and nothing is forgotten."""
        return self._without_frame(Cue("no_camera", None, 0.0, t))

    def _without_frame(self, cue: Cue) -> Update:
        return Update(None, (), (), self._labels, cue, {}, 0, settings=self._settings)
