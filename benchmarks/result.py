"""A result: as a table for people, and as JSON with its definitions and its machine beside it."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.machine import machine, software
from edge.files import replace_file, sink_error

PROGRESS_AFTER = 2.0  # seconds


def progress_bar(total: float | None, unit: str, *, wanted: bool = True) -> Any:
    """Return a bar on standard error, of nothing where nobody watches or what is measured is short."""
    from tqdm import tqdm

    tqdm.monitor_interval = 0  # no thread of its own in what is measured
    shown = wanted and sys.stderr.isatty()
    return tqdm(total=total, unit=unit, delay=PROGRESS_AFTER, mininterval=0.5, leave=False, disable=not shown)


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Lay rows out under their keys for a person; a list is its length."""
    shown = [[str(len(value) if isinstance(value, list) else value) for value in row.values()] for row in rows]
    lines = [[str(key) for key in rows[0]], *shown]
    wide = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join("  ".join(word.rjust(width) for word, width in zip(line, wide, strict=True)) for line in lines)


def add_output(parsers: Mapping[str, argparse.ArgumentParser], what: str = "") -> None:
    """Give each task's parser --out, for a folder of its result `what`, and --debug."""
    for name, parser in parsers.items():
        parser.add_argument("--out", type=Path, help=f"folder for {name}.json{what}")
        parser.add_argument("--debug", action="store_true", help=argparse.SUPPRESS)


def make_folder(folder: Path | None) -> None:
    """Make the folder of --out where one was given; raises SinkUnwritable or DiskFull."""
    if folder is None:
        return
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise sink_error(folder, error) from error


def write_result(path: Path, result: Mapping[str, Any], definitions: Mapping[str, str], **about: Any) -> None:
    """Write a result as JSON with its definitions, `about` what was measured, and the machine.

    Raises SinkUnwritable or DiskFull; ValueError for a number that JSON has not.
    """
    whole = {
        **result,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "definitions": definitions,
        **about,
        "machine": machine(),
        "software": software(),
    }
    replace_file(path, json.dumps(whole, indent=1, allow_nan=False).encode())
