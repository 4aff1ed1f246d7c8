"""Which sinks there are, what each needs, and what can be set of it: its class states both."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from edge.backends import find_backend, read_needs
from edge.errors import SinkUnknown
from edge.needs import Needs
from edge.settings import Settings, with_settings

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

MAKE_NAMES = ("activelook", "halo")  # of glasses; edge/sinks/glasses/NAME.py has the make, as NAME
COMMON = ("cue", "look")  # tables of the settings, not of a sink alone, that may be changed while it runs


def needs_of(spec: str, settings: Settings) -> Needs:
    """Return what a sink needs under the settings; raises SinkUnknown."""
    backend, argument = find_backend("--sink", spec, SINKS, SinkUnknown)
    return read_needs(backend, argument, settings)


def takes_argument(name: str) -> bool:
    """Return whether something may stand behind a sink's name and a colon; raises SinkUnknown."""
    return getattr(find_backend("--sink", name, SINKS, SinkUnknown)[0], "takes_argument", True)


def settings_type_of(name: str) -> type | None:
    """Return the dataclass of a sink's own settings, None where it has none; raises SinkUnknown."""
    found: type | None = getattr(find_backend("--sink", name, SINKS, SinkUnknown)[0], "settings_type", None)
    return found


def settings_types() -> dict[str, type]:
    """Return the dataclass of each sink that has settings of its own, by name; imports every sink."""
    return {name: kind for name in SINKS if (kind := settings_type_of(name)) is not None}


def is_live(table: str) -> bool:
    """Return whether the settings of a table may be changed while it runs: a sink's where its class says so."""
    return table in COMMON or (
        table in SINKS and getattr(find_backend("--sink", table, SINKS, SinkUnknown)[0], "settings_live", False)
    )


def live_tables(settings: Settings) -> tuple[str, ...]:
    """Return the tables that a page may change while it runs: of sinks those of the run's alone, which are imported."""
    used = {spec.partition(":")[0] for spec in settings.sinks}
    return (*COMMON, *(name for name in SINKS if name in used and is_live(name)))


def table_of(settings: Settings, name: str) -> Any:
    """Return a table of the settings: a sink's own, or one that all have."""
    kind = settings_type_of(name) if name in SINKS else None
    return getattr(settings, name) if kind is None else settings.of(kind)


def with_table(settings: Settings, name: str, table: object) -> Settings:
    """Return the settings with another table of that name."""
    if name in SINKS:
        return replace(settings, own={**settings.own, name: table})
    return with_settings(settings, {name: table})
