"""Where each sink of a run shows or writes: two at the same place would overwrite each other, and are refused."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from edge.errors import SettingsInvalid
from edge.needs import Needs
from edge.sinks.table import needs_of, takes_argument

if TYPE_CHECKING:
    from edge.settings import Settings

Place = tuple[object, ...]

STREAMS = ("/dev/stdout", "/dev/fd/1", "/proc/self/fd/1")


def check_places(settings: Settings) -> None:
    """Raise SettingsInvalid where two of the settings' sinks have one place."""
    if twice := _twice(settings):
        first, second = twice
        again = "is given twice" if first == second else f"shows or writes where {first} does"
        raise SettingsInvalid(f"sink {second} {again}; leave one of them out, or give it another place")


def one_at_each_place(settings: Settings) -> tuple[tuple[str, ...], list[str]]:
    """Return the sinks without those whose place another has, and a line for each mistake in them."""
    kept: list[str] = []
    mistakes: list[str] = []
    for given in settings.sinks:
        spec = given
        name, _, argument = given.partition(":")
        if argument and not takes_argument(name):  # alone it would end the run
            mistakes.append(f"sink {given}: {name} takes no argument; name it {name}")
            spec = name
        if (other := next((each for each in kept if _meet(each, spec, settings)), None)) is None:
            kept.append(spec)
        else:
            mistakes.append(f"sink {spec} shows or writes where {other} does; give it another place")
    return tuple(kept), mistakes


def _twice(settings: Settings) -> tuple[str, str] | None:
    sinks: Sequence[str] = settings.sinks
    for index, second in enumerate(sinks):
        for first in sinks[:index]:
            if _meet(first, second, settings):
                return first, second
    return None


def _meet(first: str, second: str, settings: Settings) -> bool:
    one, other = (needs_of(spec, settings) for spec in (first, second))
    if one.listens and other.listens:
        return _listen_alike(one.listens, other.listens)
    return _place(first, one) == _place(second, other)


def _place(spec: str, needs: Needs) -> Place:
    if needs.file:
        return ("standard output",) if needs.file in STREAMS else _file(needs.file)
    name, _, argument = spec.partition(":")
    return name, needs.place or argument


def _file(path: str) -> Place:
    """Return what a file is, under whatever name: its number where it is there, else its folder's and its name."""
    with contextlib.suppress(OSError):
        found = Path(path).stat()
        return found.st_dev, found.st_ino
    real = os.path.realpath(path)  # of a link too that leads to no file yet
    with contextlib.suppress(OSError):
        folder = Path(real).parent.stat()
        return folder.st_dev, folder.st_ino, Path(real).name
    return (real,)


def _listen_alike(first: tuple[str, str], second: tuple[str, str]) -> bool:
    """Return whether two listen on one port of one address; on port 0 each gets its own."""
    hosts, ports = zip(*((_address(host), port.lstrip("0")) for host, port in (first, second)), strict=True)
    return bool(ports[0]) and ports[0] == ports[1] and (hosts[0] == hosts[1] or not all(hosts))


def _address(host: str) -> str:
    """Return a host's address, empty where that is every one, or a name's, which may be any."""
    from ipaddress import ip_address  # only where the settings have two pages: a start counts its imports

    if host == "localhost":
        return "127.0.0.1"
    try:
        address = ip_address(host)
    except ValueError:
        return ""
    return "" if address.is_unspecified else str(address)
