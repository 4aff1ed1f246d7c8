"""The makes of glasses: a line each."""

from __future__ import annotations

from edge.sinks.glasses.activelook import ACTIVELOOK
from edge.sinks.glasses.halo import HALO
from edge.sinks.glasses.wearable import Make

MAKES: dict[str, Make] = {make.name: make for make in (ACTIVELOOK, HALO)}
