"""Stands for a sink whose device is not there now."""

from __future__ import annotations

from edge.errors import SinkFailed
from edge.types import Capabilities, Update


class MissingSink:
    """Fails at the first update, and is then opened again as any sink that failed."""

    capabilities = Capabilities()

    def __init__(self, failure: SinkFailed) -> None:
        self._failure = failure

    def show(self, update: Update) -> None:
        """Raise why the sink could not be opened."""
        raise self._failure

    def close(self) -> None:
        """Nothing was opened."""
