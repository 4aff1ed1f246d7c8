"""Stands for a camera that is not there, for which a service looks, or that a pause keeps closed."""

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
        """Return an iterator that raises, at the first frame, why the camera could not be opened."""
        return self

    def __next__(self) -> Frame:
        raise self._failure

    def close(self) -> None:
        """Nothing was opened."""


class ClosedCamera:
    """Is not opened, and has no light: a pause of an earlier run holds, and the loop opens the camera when it ends."""

    live = True
    announced: int | None = None
    stuck = False

    def frames(self) -> Iterator[Frame]:
        """Return no frame."""
        return iter(())

    def close(self) -> None:
        """Nothing was opened."""
