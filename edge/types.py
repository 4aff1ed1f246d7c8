"""What flows through the device: Frame -> Face -> Reading -> Cue, and the Update that sinks show."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, Protocol, TypeAlias, runtime_checkable

from edge.settings import CueSettings

if TYPE_CHECKING:  # what a sink states of itself is read without numpy
    import numpy as np
    import numpy.typing as npt

Clock = Callable[[], float]  # returns the present in seconds, of a clock that never goes back
Gray: TypeAlias = "npt.NDArray[np.uint8]"
Box = tuple[int, int, int, int]  # x, y, width, height in pixels of the frame

LEAST_SIDE = 16  # pixels of a frame's shorter side: in less, no face can be looked for
OLDEST_STAMP = 1.0  # seconds: a live frame's stamp that is further back is of another clock, or a broken one's

State = Literal["no_camera", "no_face", "unsure", "expression", "paused", "stopped"]
Reason = Literal["new", "away", "poor", "faint", "torn"]
Band = Literal["near", "middle", "far"]
Side = Literal["left", "ahead", "right"]


@dataclass(frozen=True, slots=True)
class Frame:
    """One luma picture: gray uint8 (height, width).

    `t` is seconds on the capture clock that all policy runs on: time.monotonic() of a camera, or
    the position in a file. `t_arrived` is time.monotonic() when the frame reached us.
    """

    gray: Gray
    t: float
    seq: int
    t_arrived: float


def on_capture_clock(stamp: float, now: float) -> float:
    """Return a live frame's instant in seconds of time.monotonic(): its stamp, or `now` where that cannot be.

    A stamp of the future, one older than OLDEST_STAMP, and what is no number cannot.
    """
    return stamp if now - OLDEST_STAMP <= stamp <= now else now


@dataclass(frozen=True, slots=True)
class Quality:
    """How far a face can be trusted to be read; each part is 0 (not at all) to 1 (as well as any)."""

    size: float = 1.0  # pixels of the frame
    sharpness: float = 1.0
    light: float = 1.0  # contrast in the face
    level: float = 1.0  # not turned so far in the picture that turning it back is a guess
    frontal: float = 1.0  # both halves seen alike

    @property
    def whole(self) -> float:
        """The parts multiplied; `frontal` counts for who is the partner, not for whether a face can be read."""
        return self.size * self.sharpness * self.light * self.level


@dataclass(frozen=True, slots=True)
class Face:
    """A tracked face; `roll_deg` is its turn in the image plane, clockwise positive as seen.

    `score` is the fading sum of its frames' log odds that it is a face. `distance_m` is by its width; the true distance
    lies within `distance_error_m` of it for two faces in three. `bearing_deg` is to the right of the camera's axis.
    A face that is not `readable` may be none any more: nothing is read off it until a fresh look has found it again.
    """

    id: int
    box: Box
    roll_deg: float
    quality: Quality = Quality()
    score: float = 0.0
    distance_m: float = 1.0
    distance_error_m: float = 0.0
    bearing_deg: float = 0.0
    readable: bool = True


@dataclass(frozen=True, slots=True)
class Reading:
    """What the model says of a face seen at `t` of the capture clock: probabilities in the contract's labels' order."""

    face_id: int
    probabilities: tuple[float, ...]
    t: float


@dataclass(frozen=True, slots=True)
class Work:
    """What a frame cost and what it left undone."""

    looks: int = 0  # of the verifier
    windows: int = 0  # of the scan for new faces
    behind: float = 0.0  # seconds for which the part of the upright scan that waits longest has waited
    unread: int = 0  # faces whose reading was due and is left to a later frame


NO_WORK = Work()


@dataclass(frozen=True, slots=True)
class Cue:
    """What the wearer is shown; `since` is the capture-clock instant the cue appeared.

    `reason` says why a face is `unsure`: `new`, it has not been read long enough, and that it is there is all that is
    known; `away`, turned away; `poor`, too small, blurred, dim or far turned; `faint`, nothing stands out; `torn`, two
    expressions do. `distance` and `side` are the partner's, None where there is none.
    """

    state: State
    expression: str | None  # of the wearer's vocabulary, only in state "expression"
    confidence: float
    since: float
    reason: Reason | None = None  # only in state "unsure"
    distance: Band | None = None
    side: Side | None = None

    @property
    def shown(self) -> str:
        """What the wearer can tell apart: expression or state; `face` where only its presence is known."""
        return self.expression or ("face" if self.reason == "new" else self.state)


@dataclass(frozen=True, slots=True)
class Update:
    """One processed frame with all that was found in it; no frame means that none came in time."""

    frame: Frame | None
    faces: tuple[Face, ...]
    readings: tuple[Reading, ...]  # each present face's newest, where it has one
    labels: tuple[str, ...]  # of the probabilities
    cue: Cue
    latency_ms: dict[str, float]  # find, read, total (capture to cue; of a recording, arrival to cue)
    dropped: int  # frames so far that a newer one replaced
    work: Work = NO_WORK
    settings: CueSettings = field(default_factory=CueSettings)  # that the cue was decided by
    turned_deg: float | None = None  # by which heads are turned in the picture, in the frame that makes it sure

    @property
    def t(self) -> float:
        """When it was true, on the capture clock: when its frame was taken, or its cue began where it has none."""
        return self.cue.since if self.frame is None else self.frame.t

    @property
    def fresh(self) -> tuple[Reading, ...]:
        """The readings that were made in this frame."""
        return tuple(reading for reading in self.readings if self.frame and reading.t == self.frame.t)


class Source(Protocol):
    """Where frames come from; constructed with what follows the colon of --source."""

    live: bool  # frames come by themselves and are dropped when late
    announced: int | None  # frames that will come, where known

    def frames(self) -> Iterator[Frame]:
        """Yield frames until the end; raise a CuelensError when they can't be had."""

    def close(self) -> None:
        """Release the device or file; may be called twice, and from another thread."""


class Camera(Source, Protocol):
    """A source that is a camera of this device: its light is on while it is open, and a pause closes it."""

    stuck: bool  # close() timed out on its driver: it may still be open


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What the loop must know of a sink."""

    least_interval: float = 0.0  # seconds between two updates; the newest then wins
    deadline: float = 1.0  # seconds that one update may take; after it the sink counts as stuck
    every_frame: bool = False  # of a recording it misses none: the loop waits for it
    reopens: bool = True  # may be opened again after a failure; a file would begin again


class Sink(Protocol):
    """Where a cue goes; constructed with what follows the colon of --sink, and the run's Control."""

    capabilities: Capabilities

    def show(self, update: Update) -> None:
        """Show it; raise a CuelensError when that fails."""

    def close(self) -> None:
        """Finish the output; may be called twice."""


@runtime_checkable
class Prepared(Protocol):
    """A sink with work that would hold up every other thread, and is done before the first frame is taken."""

    def prepare(self) -> None:
        """Do that work, in the thread that show() is called from; raises as that does."""
