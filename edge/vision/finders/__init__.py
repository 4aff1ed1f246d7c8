"""What proposes where a new face may be: one file each. What it proposes, the verifier judges."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from edge.vision.views import Pyramid, Spot


@dataclass(frozen=True, slots=True)
class Slice:
    """A bounded piece of a full scan: faces about `side` wide, turned by `roll_deg` from upright, in part of the frame.

    `cx`, `cy` are the middle of that part in the frame, `width` and `height` its size in pixels of the searched copy.
    """

    side: float
    roll_deg: float
    cx: float
    cy: float
    width: int
    height: int
    cost: int  # windows: squares that are tried


class Finder(Protocol):
    """Proposes faces; pure on frames, so that a scan may be spread over several of them."""

    def slices(self, width: int, height: int, sides: tuple[float, float], rolls_deg: tuple[float, ...]) -> list[Slice]:
        """Cut a full scan of (height, width) frames for faces of these sides and turns into slices."""

    def scan(self, pyramid: Pyramid, piece: Slice) -> list[Spot]:
        """Search one slice of a frame; what may be a face, likeliest first."""
