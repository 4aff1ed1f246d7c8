"""Stands for a camera that is not there now."""

from __future__ import annotations

from collections.abc import Iterator

from edge.errors import CameraMissing
from edge.types import Frame


class MissingCamera:
    """Says so at the first frame, and is then looked for as any camera that was lost."""

    live = True
    announced: int | None = None
    stuck = False

    def __init__(self, failure: CameraMissing) -> None:
        self._failure = failure

    def frames(self) -> Iterator[Frame]:
        """Raise why the camera could not be opened."""
        yield from ()
        raise self._failure

    def close(self) -> None:
        """Nothing was opened."""
