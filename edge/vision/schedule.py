"""Who is read in a frame, where reading everybody in every frame would cost most of it."""

from __future__ import annotations

import math
from collections.abc import Sequence

from edge.settings import FaceSettings
from edge.types import Face

CLOCK_STEP = 0.002  # seconds by which frames come early


class ReadSchedule:
    """Faces in turns, the partner whenever it is due; pure on capture-clock instants."""

    def __init__(self, settings: FaceSettings) -> None:
        """Begin with nobody read; the settings limit the readings of a face and of a frame."""
        self.left = 0  # faces that were due in the newest frame and had to wait
        self._settings = settings
        self._read: dict[int, float] = {}  # when each present face was

    def choose(self, faces: Sequence[Face], partner: int | None, t: float, least_interval: float = 0.0) -> list[Face]:
        """Return the faces to read at `t`: the partner whenever it is due, the others in turns between.

        `least_interval` are seconds between readings of a face, where the setting is not longer.
        """
        self._read = {face.id: self._read[face.id] for face in faces if self._read.get(face.id, math.inf) <= t}

        def waited(face: Face) -> float:
            return t - self._read.get(face.id, -math.inf)

        interval = max(self._settings.read_interval, least_interval)
        due = [face for face in faces if waited(face) >= interval - CLOCK_STEP]
        due.sort(key=lambda face: (face.id == partner, waited(face)), reverse=True)
        chosen = due[: self._settings.reads]
        self.left = len(due) - len(chosen)
        self._read |= {face.id: t for face in chosen}
        return chosen
