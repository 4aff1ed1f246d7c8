"""Where a face may be, and what is seen there: square views of a luma frame, turned upright, at any size.

The face finder and the verifier look at frames through here; a frame is shrunk at most once to each half size.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from edge.types import Box, Gray

CHEST_WIDE, CHEST_DEEP = 1.0, 3.5  # faces to each side of a face's middle, and below it
CHEST_PRINT = 1.2  # of the face's width: a head as near as its neighbour's is no larger
HEAD_WIDE, HEAD_TALL = (
    0.55,
    0.85,
)  # faces from a face's middle to where its head ends beside it and above, hair included
HEAD_SMALL = 0.6  # of the face's width: what is so much smaller is behind the head, which hides it


@dataclass(frozen=True, slots=True)
class Spot:
    """A square of `side` pixels around (cx, cy), turned by `roll_deg` clockwise as seen."""

    cx: float
    cy: float
    side: float
    roll_deg: float = 0.0

    @property
    def box(self) -> Box:
        """The square, not turned, in whole pixels."""
        side = round(self.side)
        return round(self.cx - self.side / 2), round(self.cy - self.side / 2), side, side

    def moved(self, dx: float, dy: float, zoom: float = 1.0, turn_deg: float = 0.0) -> Spot:
        """Return the spot moved by (dx, dy) sides along its own axes, made `zoom` times wider and turned."""
        cos, sin = np.cos(np.deg2rad(self.roll_deg)), np.sin(np.deg2rad(self.roll_deg))
        return Spot(
            self.cx + float(cos * dx - sin * dy) * self.side,
            self.cy + float(sin * dx + cos * dy) * self.side,
            self.side * zoom,
            wrap_deg(self.roll_deg + turn_deg),
        )


def wrap_deg(angle_deg: float) -> float:
    """Return the angle in -180 to 180 degrees."""
    return (angle_deg + 180.0) % 360.0 - 180.0


def shared(a: Spot, b: Spot) -> float:
    """Return the share of the smaller of two spots that the other covers, as if both were upright."""
    wide = min(a.cx + a.side / 2, b.cx + b.side / 2) - max(a.cx - a.side / 2, b.cx - b.side / 2)
    tall = min(a.cy + a.side / 2, b.cy + b.side / 2) - max(a.cy - a.side / 2, b.cy - b.side / 2)
    return max(wide, 0.0) * max(tall, 0.0) / min(a.side, b.side) ** 2


def overlap(a: Spot, b: Spot) -> float:
    """Return intersection over union of two spots, as if both were upright."""
    common = shared(a, b) * min(a.side, b.side) ** 2
    return common / (a.side**2 + b.side**2 - common)


def on_body(owner: Spot, spot: Spot) -> bool:
    """Return whether a spot is on the person whose face `owner` is, where no other face can be seen.

    On the chest that is what is clearly wider than the face: a print on a shirt, no head. Somebody nearer, exactly
    there, is taken once either of them has moved aside: a head hides the chest behind it. On the head, hair included,
    it is what is clearly smaller: a face as far away as that would be hidden.
    """
    angle = np.deg2rad(owner.roll_deg)
    x, y = (spot.cx - owner.cx) / owner.side, (spot.cy - owner.cy) / owner.side
    right, down = np.cos(angle) * x + np.sin(angle) * y, -np.sin(angle) * x + np.cos(angle) * y
    if spot.side > CHEST_PRINT * owner.side:
        return bool(abs(right) < CHEST_WIDE and 0.8 < down < CHEST_DEEP)
    return bool(spot.side < HEAD_SMALL * owner.side and np.hypot(right / HEAD_WIDE, down / HEAD_TALL) < 1)


class Pyramid:
    """A luma frame, uint8 (height, width), and its halves, each made when it is first looked at."""

    def __init__(self, gray: Gray) -> None:
        self.height, self.width = gray.shape
        self._levels = [gray]

    def window(self, cx: float, cy: float, roll_deg: float, zoom: float, width: int, height: int) -> Gray:
        """Sample uint8 (height, width) around (cx, cy), turned upright, in which a pixel of the frame is `zoom` wide.

        Bilinear, on the halved frame that is less than twice as fine, so that nothing is skipped; edges are repeated.
        """
        level = 0
        while zoom <= 0.5 and min(self._levels[level].shape) >= 16:
            level += 1
            zoom *= 2
            if level == len(self._levels):
                finer = self._levels[-1]
                size = ((finer.shape[1] + 1) // 2, (finer.shape[0] + 1) // 2)
                self._levels.append(cv2.resize(finer, size, interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False))
        # Pixel centres: x of the frame is (x + 0.5) / 2**level - 0.5 of a level.
        x, y = (cx + 0.5) / 2**level - 0.5, (cy + 0.5) / 2**level - 0.5
        cos, sin = zoom * np.cos(np.deg2rad(roll_deg)), zoom * np.sin(np.deg2rad(roll_deg))
        middle_x, middle_y = (width - 1) / 2, (height - 1) / 2
        matrix = np.array([[cos, sin, middle_x - cos * x - sin * y], [-sin, cos, middle_y + sin * x - cos * y]])
        turned = cv2.warpAffine(
            self._levels[level], matrix, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
        )
        return turned.astype(np.uint8, copy=False)

    def view(self, spot: Spot, side: int, share: float = 1.0) -> Gray:
        """Sample a spot upright as uint8 (side, side), the spot's own side filling `share` of the view's."""
        return self.window(spot.cx, spot.cy, spot.roll_deg, share * side / spot.side, side, side)
