"""Stands for a camera that is not there now: a service starts without it, says so, and looks for it."""

from __future__ import annotations

from collections.abc import Iterator

from edge.errors import CameraMissing
from edge.types import Frame


class MissingCamera:
    """Is lost from the beginning."""

    live = True
    announced: int | None = None
    stuck = False

    def __init__(self, failure: CameraMissing) -> None:
        self._failure = failure

    def frames(self) -> Iterator[Frame]:
        """Raise why the camera could not be opened."""
        raise self._failure

    def close(self) -> None:
        """Nothing was opened."""
