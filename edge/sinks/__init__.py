"""Where cues go: one file each."""

from __future__ import annotations

from collections.abc import Sequence

from edge.backends import find_backend
from edge.control import Control
from edge.errors import SinkFailed, SinkUnknown
from edge.types import Capabilities, Sink, Update

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
}


def open_sink(spec: str, control: Control) -> Sink:
    """Open `NAME` or `NAME:ARGUMENT`; raises SinkUnknown, or what the sink raises."""
    backend, argument = find_backend("--sink", spec, SINKS, SinkUnknown)
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
                sinks.append((spec, _Missing(error)))
                missing.append(error)
        if missing and len(missing) == len(specs):
            raise missing[0]
    except BaseException:
        for _, sink in sinks:
            sink.close()
        raise
    return sinks


class _Missing:
    """Stands for a sink that could not be opened: it fails at the first update, and is then opened again."""

    capabilities = Capabilities()

    def __init__(self, failure: SinkFailed) -> None:
        self._failure = failure

    def show(self, update: Update) -> None:
        raise self._failure

    def close(self) -> None:
        pass
