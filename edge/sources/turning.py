"""Between source and loop: the picture is turned and mirrored as the settings say the camera is mounted."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import cv2
import numpy as np

from edge.settings import CameraSettings
from edge.types import Frame, Gray, Source

_QUARTERS = {90: cv2.ROTATE_90_CLOCKWISE, 180: cv2.ROTATE_180, 270: cv2.ROTATE_90_COUNTERCLOCKWISE}


@dataclass(frozen=True, slots=True)
class Turn:
    """Left and right exchanged, then up and down, then turned clockwise by 0, 90, 180 or 270 degrees."""

    hflip: bool = False
    vflip: bool = False
    rotate_deg: int = 0

    @classmethod
    def of(cls, settings: CameraSettings) -> Turn:
        """Return the turn of the settings, with as much of it in flips as can be: they cost a camera nothing."""
        quarter = settings.rotate_deg % 180
        half = settings.rotate_deg >= 180
        # Mirrored after a quarter turn is flipped upside down before it.
        return cls(half != (settings.mirror and not quarter), half != (settings.mirror and quarter > 0), quarter)

    @property
    def flips(self) -> tuple[bool, bool]:
        """Whether left and right are exchanged, and up and down."""
        return self.hflip, self.vflip

    def apply(self, gray: Gray) -> Gray:
        """Turn a picture, uint8 (height, width): uint8 contiguous, (width, height) after a quarter turn."""
        if self.hflip or self.vflip:
            gray = np.asarray(cv2.flip(gray, -1 if self.hflip and self.vflip else int(self.hflip)), np.uint8)
        return np.asarray(cv2.rotate(gray, _QUARTERS[self.rotate_deg]), np.uint8) if self.rotate_deg else gray


class TurnedSource:
    """Another source, each of whose pictures is turned; all else is that one's."""

    def __init__(self, source: Source, turn: Turn) -> None:
        self.live = source.live
        self.announced = source.announced
        self._source = source
        self._turn = turn

    @property
    def stuck(self) -> bool:
        """Whether close() left the driver in a call."""
        return bool(getattr(self._source, "stuck", False))

    def frames(self) -> Iterator[Frame]:
        """Yield the source's frames, turned; what is no picture is passed on as it is."""
        for frame in self._source.frames():
            gray: object = frame.gray
            whole = isinstance(gray, np.ndarray) and gray.ndim == 2 and gray.dtype == np.uint8 and gray.size > 0
            yield replace(frame, gray=self._turn.apply(frame.gray)) if whole else frame

    def close(self) -> None:
        """Close the source; may be called twice, and from another thread."""
        self._source.close()
