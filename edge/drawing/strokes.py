"""Lines, arcs and discs, and how they become pixels: what glyphs and letters are drawn of."""

from __future__ import annotations

import math
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

Mask = npt.NDArray[np.uint8]  # (height, width)
Point = tuple[float, float]
STROKE = 10.0  # hundredths of a glyph's side: 3 pixels at 32, which a half mirror and a 1-bit display still show
_SHIFT = 4  # binary digits of a pixel's fraction that OpenCV draws by


class Polyline(NamedTuple):
    """A line through points."""

    points: tuple[Point, ...]


class Arc(NamedTuple):
    """A part of an ellipse about (x, y), clockwise as seen from `start_deg` to `end_deg`, 0 being to the right."""

    x: float
    y: float
    rx: float
    ry: float
    start_deg: float = 0.0
    end_deg: float = 360.0

    @property
    def whole(self) -> bool:
        """Whether it is a closed ellipse."""
        return self.end_deg - self.start_deg >= 360

    def at(self, deg: float) -> Point:
        """Return the point at an angle."""
        angle = math.radians(deg)
        return self.x + self.rx * math.cos(angle), self.y + self.ry * math.sin(angle)


class Disc(NamedTuple):
    """A filled circle about (x, y)."""

    x: float
    y: float
    r: float


Part = Polyline | Arc | Disc


def finer_by(side: int) -> int:
    """Return how many times finer than the picture is drawn: eight times where pixels are few."""
    return 8 if side <= 128 else 4 if side <= 512 else 2


def rasterise(parts: tuple[Part, ...], side: int, stroke: float = STROKE) -> Mask:
    """Draw parts, in hundredths of a side, as uint8 (side, side)."""
    finer = finer_by(side)
    scale = side * finer / 100
    fine = np.zeros((side * finer, side * finer), np.uint8)
    for part in parts:  # OpenCV counts from the middle of the first pixel, we from its edge
        if isinstance(part, Disc):
            centre = _fixed((part.x * scale - 0.5, part.y * scale - 0.5))
            cv2.circle(fine, centre, round(part.r * scale * (1 << _SHIFT)), 255, -1, cv2.LINE_8, _SHIFT)
        else:
            draw_stroke(fine, part, scale, (-0.5, -0.5), max(1, round(stroke * scale)))
    return cv2.resize(fine, (side, side), interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False)


def draw_stroke(fine: Mask, part: Polyline | Arc, scale: float, origin: Point, width: int) -> None:
    """Draw a line or an arc into a finer picture, `width` of its pixels wide."""
    whole = isinstance(part, Arc) and part.whole
    if isinstance(part, Polyline):
        points = part.points
    else:
        steps = np.linspace(part.start_deg, part.end_deg, 60, endpoint=not whole)
        points = tuple(part.at(float(deg)) for deg in steps)
    fixed = np.array([_fixed((origin[0] + x * scale, origin[1] + y * scale)) for x, y in points], np.int32)
    cv2.polylines(fine, [fixed], whole, 255, width, cv2.LINE_8, _SHIFT)


def _fixed(point: Point) -> tuple[int, int]:
    return round(point[0] * (1 << _SHIFT)), round(point[1] * (1 << _SHIFT))
