"""What flows through the device: Frame -> Face -> Reading -> Cue, and the Update that sinks show."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
import numpy.typing as npt

Gray = npt.NDArray[np.uint8]
Box = tuple[int, int, int, int]  # x, y, width, height in pixels of the frame

State = Literal["no_camera", "no_face", "unsure", "expression"]


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


@dataclass(frozen=True, slots=True)
class Face:
    """A tracked face; `roll_deg` is its turn in the image plane, clockwise positive as seen.

    `quality` is 0 to 1: how far the face can be trusted to be read (size and sharpness).
    """

    id: int
    box: Box
    roll_deg: float
    quality: float


@dataclass(frozen=True, slots=True)
class Reading:
    """What the model says of one face: probabilities in the order of the contract's labels."""

    face_id: int
    probabilities: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Cue:
    """What the wearer is shown; `since` is the capture-clock instant the cue appeared."""

    state: State
    expression: str | None  # of the wearer's vocabulary, only in state "expression"
    confidence: float
    since: float


@dataclass(frozen=True, slots=True)
class Update:
    """One processed frame with all that was found in it; no frame means that none came in time."""

    frame: Frame | None
    faces: tuple[Face, ...]
    readings: tuple[Reading, ...]
    labels: tuple[str, ...]  # of the probabilities
    cue: Cue
    latency_ms: dict[str, float]  # find, read, total (capture to cue; of a recording, arrival to cue)
    dropped: int  # frames so far that a newer one replaced


class Source(Protocol):
    """Where frames come from; constructed with what follows the colon of --source."""

    live: bool  # frames come by themselves and are dropped when late
    announced: int | None  # frames that will come, where known

    def frames(self) -> Iterator[Frame]:
        """Yield frames until the end; raise a CuelensError when they can't be had."""

    def close(self) -> None:
        """Release the device or file; may be called twice, and from another thread."""


class Sink(Protocol):
    """Where a cue goes; constructed with what follows the colon of --sink."""

    def show(self, update: Update) -> None:
        """Show it; raise a CuelensError when that fails."""

    def close(self) -> None:
        """Finish the output; may be called twice."""
