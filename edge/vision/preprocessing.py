"""What a picture becomes before a network sees it: the one definition for training, conversion, evaluation and device.

Scaling is no part of it: a network's first layer scales, so that nobody can scale wrongly.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

COLOURS = {"gray": 1, "rgb": 3}  # to channels


@dataclass(frozen=True, slots=True)
class Preprocessing:
    """A square of `side` pixels in `colour`, values 0 to 255 as they are; it travels in a model's contract."""

    side: int
    colour: str = "gray"

    def __post_init__(self) -> None:
        """Raise ValueError for a colour that is neither gray nor rgb, or a side below 1."""
        if self.colour not in COLOURS or self.side < 1:
            raise ValueError(f"side {self.side}, colour {self.colour!r}; valid are 1 and up, {' and '.join(COLOURS)}")

    @property
    def channels(self) -> int:
        """1 for gray, 3 for rgb."""
        return COLOURS[self.colour]

    def apply(self, picture: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        """Turn a picture, uint8 (h, w) gray or (h, w, 3) RGB, into uint8 (side, side) or (side, side, 3).

        Colours by BT.601 luma, size by the mean over areas when it shrinks and bilinear when it grows.
        """
        if picture.ndim == 3 and self.colour == "gray":
            picture = np.asarray(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), np.uint8)
        elif picture.ndim == 2 and self.colour == "rgb":
            picture = np.asarray(cv2.cvtColor(picture, cv2.COLOR_GRAY2RGB), np.uint8)
        if picture.shape[:2] == (self.side, self.side):
            return picture
        shrinks = picture.shape[0] * picture.shape[1] > self.side * self.side
        how = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
        return np.asarray(cv2.resize(picture, (self.side, self.side), interpolation=how), np.uint8)

    def describe(self) -> dict[str, Any]:
        """Return what the contract states of it, beside the input's shape."""
        return {"colour": self.colour, "range": [0, 255], "resize": "area"}
