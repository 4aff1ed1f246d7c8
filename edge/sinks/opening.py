"""Opens sinks by name: all that a run, a check or safe mode shows cues on."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from edge.backends import find_backend, require_linux
from edge.errors import SinkFailed, SinkUnknown
from edge.runtime.control import Control
from edge.sinks.table import SINKS, needs_of
from edge.types import Capabilities, Sink, Update


class MissingSink:
    """Stands for a sink whose device is not there now: fails at the first update, and is then opened again."""

    capabilities = Capabilities()

    def __init__(self, failure: SinkFailed) -> None:
        self._failure = failure

    def show(self, update: Update) -> None:
        """Raise why the sink could not be opened."""
        raise self._failure

    def close(self) -> None:
        """Nothing was opened."""


def open_sink(spec: str, control: Control) -> Sink:
    """Open `NAME` or `NAME:ARGUMENT`; raises SinkUnknown, RuntimeMissing on a system without it, or what it raises."""
    backend, argument = find_backend("--sink", spec, SINKS, SinkUnknown)
    if sys.platform != "linux" and needs_of(spec, control.settings).linux:
        require_linux(f"--sink {spec.partition(':')[0]}")
    sink: Sink = backend(argument, control)
    return sink


def open_sinks(specs: Sequence[str], control: Control) -> list[tuple[str, Sink]]:
    """Open several; a device that is not there now is left to be opened again, unless it is the only one.

    Raises what `open_sink` raises; then none is left open.
    """
    sinks: list[tuple[str, Sink]] = []
    missing: list[SinkFailed] = []
    try:
        for spec in specs:
            try:
                sinks.append((spec, open_sink(spec, control)))
            except SinkFailed as error:
                sinks.append((spec, MissingSink(error)))
                missing.append(error)
        if missing and len(missing) == len(specs):
            raise missing[0]
    except BaseException:
        for _, sink in sinks:
            sink.close()
        raise
    return sinks
