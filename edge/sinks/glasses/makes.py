"""The makes of glasses: a line each; a run imports the one that its settings name."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib import import_module

from edge.sinks.glasses.wearable import Make

_TABLE = {
    "activelook": ("edge.sinks.glasses.activelook", "ACTIVELOOK"),
    "halo": ("edge.sinks.glasses.halo", "HALO"),
}


class _Makes(Mapping[str, Make]):
    """The makes by their names."""

    def __getitem__(self, name: str) -> Make:
        module, attribute = _TABLE[name]
        make: Make = getattr(import_module(module), attribute)
        return make

    def __iter__(self) -> Iterator[str]:
        return iter(_TABLE)

    def __len__(self) -> int:
        return len(_TABLE)


MAKES = _Makes()
