"""Where cues go: one file each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from edge.backends import find_backend, read_needs
from edge.errors import SinkFailed, SinkUnknown
from edge.needs import Needs

if TYPE_CHECKING:  # the table costs no numpy
    from edge.runtime.control import Control
    from edge.settings import Settings
    from edge.types import Sink

SINKS = {
    "terminal": "edge.sinks.terminal:TerminalSink",
    "log": "edge.sinks.log:LogSink",
    "video": "edge.sinks.video:VideoSink",
    "png": "edge.sinks.png:PngSink",
    "display": "edge.sinks.display:DisplaySink",
    "oled": "edge.sinks.oled:OledSink",
    "audio": "edge.sinks.audio:AudioSink",
    "web": "edge.sinks.web:WebSink",
    "mqtt": "edge.sinks.mqtt:MqttSink",
    "haptic": "edge.sinks.haptic:HapticSink",
    "glasses": "edge.sinks.glasses.sink:GlassesSink",
}


def open_sink(spec: str, control: Control) -> Sink:
    """Open `NAME` or `NAME:ARGUMENT`; raises SinkUnknown, or what the sink raises."""
    backend, argument = find_backend("--sink", spec, SINKS, SinkUnknown)
    sink: Sink = backend(argument, control)
    return sink


def needs_of(spec: str, settings: Settings) -> Needs:
    """Return what a sink needs under the settings; raises SinkUnknown."""
    backend, argument = find_backend("--sink", spec, SINKS, SinkUnknown)
    return read_needs(backend, argument, settings)


def open_sinks(specs: Sequence[str], control: Control) -> list[tuple[str, Sink]]:
    """Open several; a device that is not there now is left to be opened again, unless it is the only one.

    Raises what `open_sink` raises; then none is left open.
    """
    from edge.sinks.missing import MissingSink

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
