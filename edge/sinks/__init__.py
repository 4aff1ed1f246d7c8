"""Where cues go: one file each."""

from __future__ import annotations

from edge.backends import find_backend
from edge.errors import SinkUnknown
from edge.types import Sink

SINKS = {
    "terminal": "edge.sinks.terminal:TerminalSink",
    "log": "edge.sinks.log:LogSink",
    "video": "edge.sinks.video:VideoSink",
}


def open_sink(spec: str) -> Sink:
    """Open `NAME` or `NAME:ARGUMENT`; raises SinkUnknown, or what the sink raises."""
    backend, argument = find_backend("--sink", spec, SINKS, SinkUnknown)
    sink: Sink = backend(argument)
    return sink
