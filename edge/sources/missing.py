"""Stands for a camera that is not there now: a service starts without it, says so, and looks for it."""

from __future__ import annotations

from collections.abc import Iterator

from edge.errors import CameraMissing
from edge.types import Frame


class MissingCamera(Iterator[Frame]):
    """Is lost from the beginning: its own frames, of which there is none."""

    live = True
    announced: int | None = None
    stuck = False

    def __init__(self, failure: CameraMissing) -> None:
        self._failure = failure

    def frames(self) -> Iterator[Frame]:
        """Return what raises, when a frame is asked for, why the camera could not be opened."""
        return self

    def __next__(self) -> Frame:
        raise self._failure

    def close(self) -> None:
        """Nothing was opened."""
