"""The progress bar of the host's programs."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Any

from tqdm import tqdm


def progress(items: Iterable[Any], name: str, total: int | None = None, unit: str = "it") -> Any:
    """Iterate over items under a bar on standard error, of `total` where items have no length; on a terminal only."""
    return tqdm(items, name, total, unit=unit, disable=not sys.stderr.isatty(), leave=False)
