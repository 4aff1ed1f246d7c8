"""What the settings' source and sinks need of the service beyond what its unit allows, by what their classes state."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from edge.system.addresses import is_stream
from edge.system.encodings import decode_text


class Reach(NamedTuple):
    """What a source or a sink may need: groups, devices as DeviceAllow= takes them, the network; and in safe mode."""

    groups: tuple[str, ...] = ()
    devices: tuple[str, ...] = ()
    network: bool = False
    safe_mode: bool = False


class Stated(NamedTuple):
    """What the classes of the device state, and the defaults of the settings; stated.py has it.

    Each is under its name, and under NAME:URL where the address of a stream needs other things than a path.
    """

    source: str
    sinks: tuple[str, ...]
    of_sources: Mapping[str, Reach]
    of_sinks: Mapping[str, Reach]


def needs(settings: Path, stated: Stated) -> list[Reach]:
    """What the source and the sinks of a settings file need, which is read as the service reads it.

    Where the file, or its value, cannot be read, the defaults' are needed: the service starts with these.
    """
    try:
        values = tomllib.loads(decode_text(settings.read_bytes())[0])
    except (OSError, ValueError, RecursionError):
        values = {}
    source, sinks = values.get("source"), values.get("sinks")
    if not isinstance(source, str):
        source = stated.source
    if not isinstance(sinks, list) or not all(isinstance(sink, str) for sink in sinks):
        sinks = stated.sinks
    found = [_find(stated.of_sources, source), *(_find(stated.of_sinks, sink) for sink in sinks)]
    return [reach for reach in found if reach != Reach()]


def _find(stated: Mapping[str, Reach], spec: str) -> Reach:
    name, _, argument = spec.partition(":")
    own = stated.get(name, Reach())
    return stated.get(f"{name}:URL", own) if is_stream(argument) else own
