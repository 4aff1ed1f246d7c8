"""The makes of glasses by their names; a run imports the one that its settings name."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib import import_module

from edge.sinks.glasses.wearable import Make
from edge.sinks.table import MAKE_NAMES


class _Makes(Mapping[str, Make]):
    """The makes by their names."""

    def __getitem__(self, name: str) -> Make:
        if name not in MAKE_NAMES:
            raise KeyError(name)
        make: Make = getattr(import_module(f"edge.sinks.glasses.{name}"), name.upper())
        return make

    def __iter__(self) -> Iterator[str]:
        return iter(MAKE_NAMES)

    def __len__(self) -> int:
        return len(MAKE_NAMES)


MAKES = _Makes()
