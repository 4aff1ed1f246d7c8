"""Where cues go: one file each, imported only when named."""

from __future__ import annotations

import difflib
from importlib import import_module

from edge.errors import SinkUnknown
from edge.types import Sink

SINKS = {
    "terminal": "edge.sinks.terminal:TerminalSink",
    "log": "edge.sinks.log:LogSink",
    "video": "edge.sinks.video:VideoSink",
}


def open_sink(spec: str) -> Sink:
    """Open `NAME` or `NAME:ARGUMENT`; raises SinkUnknown, or what the sink raises."""
    name, _, argument = spec.partition(":")
    if name not in SINKS:
        near = difflib.get_close_matches(name, SINKS, 1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise SinkUnknown(f"--sink {spec!r}: no sink {name!r}; {hint}valid are {', '.join(SINKS)}")
    module, _, attribute = SINKS[name].partition(":")
    sink: Sink = getattr(import_module(module), attribute)(argument)
    return sink
