"""Which glasses are ours: a file in the state folder that `cuelens pair` writes and the sink reads."""

from __future__ import annotations

import contextlib
import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from edge.errors import SettingsInvalid
from edge.files import read_file, replace_file
from edge.runtime.pause import pause_file

NAME = "glasses.json"
LARGEST = 10_000  # bytes: some hundred pairs
_ADDRESS = re.compile(r"(?:[0-9A-F]{2}:){5}[0-9A-F]{2}")


class Glasses(NamedTuple):
    """A pair of glasses that was paired: its make's name, its Bluetooth address, the name that it advertises."""

    make: str
    address: str
    name: str


class Wanted(NamedTuple):
    """Which glasses: by address, else by name, else any of the make."""

    address: str = ""
    name: str = ""


def glasses_file(environment: Mapping[str, str] = os.environ) -> Path | None:
    """Return the file, beside that of a pause; None where there is neither a state folder nor a home."""
    beside = pause_file(environment)
    return None if beside is None else beside.with_name(NAME)


def load_glasses(path: Path | None) -> tuple[Glasses, ...]:
    """Return what was paired, the newest first; raises SettingsInvalid where the file is damaged."""
    if path is None:
        return ()
    try:
        rows = json.loads(read_file(path, LARGEST))
    except (FileNotFoundError, NotADirectoryError):
        return ()
    except (OSError, ValueError, RecursionError) as error:
        raise SettingsInvalid(f"{path}: cannot be read: {error}; remove it, then cuelens pair") from error
    found = tuple(Glasses(**row) for row in rows if _is_row(row)) if isinstance(rows, list) else ()
    if not isinstance(rows, list) or len(found) < len(rows):
        raise SettingsInvalid(f"{path}: holds something other than glasses; remove it, then cuelens pair")
    return found


def _is_row(row: object) -> bool:
    return (
        isinstance(row, dict)
        and row.keys() == {"make", "address", "name"}
        and all(isinstance(value, str) for value in row.values())
        and _ADDRESS.fullmatch(row["address"]) is not None
    )


def remember_glasses(path: Path, glasses: Glasses) -> None:
    """Put a pair first; the same one is there once. Raises SettingsInvalid, SinkUnwritable or DiskFull."""
    others = [known for known in load_glasses(path) if known.address != glasses.address]
    _save(path, [glasses, *others])


def forget_glasses(path: Path, address: str) -> None:
    """Take a pair out; raises as `remember_glasses` does."""
    _save(path, [known for known in load_glasses(path) if known.address != address])


def _save(path: Path, glasses: list[Glasses]) -> None:
    with contextlib.suppress(OSError):  # the next line says what is wrong
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    replace_file(path, json.dumps([known._asdict() for known in glasses], indent=1).encode() + b"\n")
    path.chmod(0o644)  # written by whoever pairs, read by the service's own user
