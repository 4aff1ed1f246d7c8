"""What tasks show while they measure, a progress bar, and what they print of it, tables."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any

PROGRESS_AFTER = 2.0  # seconds


def progress_bar(total: float | None, unit: str) -> Any:
    """Return a bar on standard error, of nothing where nobody watches or what is measured is short."""
    from tqdm import tqdm

    tqdm.monitor_interval = 0  # no thread of its own in what is measured
    shown = sys.stderr.isatty()
    return tqdm(total=total, unit=unit, delay=PROGRESS_AFTER, mininterval=0.5, leave=False, disable=not shown)


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Lay rows out under their keys for a person; a list is its length."""
    shown = [[str(len(value) if isinstance(value, list) else value) for value in row.values()] for row in rows]
    lines = [[str(key) for key in rows[0]], *shown]
    wide = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join("  ".join(word.rjust(width) for word, width in zip(line, wide, strict=True)) for line in lines)
