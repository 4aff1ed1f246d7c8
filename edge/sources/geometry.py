"""How a picture is to be seen: the turns and mirrorings that files speak of, and pixels that are not square."""

from __future__ import annotations

import math

import cv2
import numpy as np

from edge import MOST_PIXELS
from edge.types import Gray

# EXIF's numbers (JEITA CP-3451, tag 0x0112): which pixels are exchanged, transposed first where they are.
UPRIGHT = 1
_MIRRORED = {2: 1, 3: -1, 4: 0, 6: 1, 7: -1, 8: 0}  # as cv2.flip takes it: 1 left and right, 0 up and down, -1 both
TRANSPOSED = 5  # and those above
OF_ANGLE = {0: 1, 90: 6, 180: 3, 270: 8}  # degrees clockwise
SQUARE = 0.01  # an aspect that differs from 1 by less is a rounding
ODDEST = 4.0  # an aspect beyond is a mistake: the oddest in use are 2.0 (anamorphic lenses) and 32:11 (VCD's PAL)


def turn(gray: Gray, orientation: int) -> Gray:
    """Turn and mirror a picture, uint8 (height, width), by EXIF's number of its orientation; 1 leaves it alone."""
    turned = cv2.transpose(gray) if orientation >= TRANSPOSED else gray
    if orientation in _MIRRORED:
        turned = cv2.flip(turned, _MIRRORED[orientation])
    return np.asarray(turned, np.uint8)


def of_matrix(a: float, b: float, c: float, d: float) -> int:
    """Return EXIF's number of what QuickTime's matrix does: (x, y) is shown at (a x + c y, b x + d y)."""
    if abs(a) + abs(d) >= abs(b) + abs(c):
        return {(False, False): 1, (True, False): 2, (True, True): 3, (False, True): 4}[a < 0, d < 0]
    return {(False, False): 5, (True, False): 6, (True, True): 7, (False, True): 8}[c < 0, b < 0]


def stretch(gray: Gray, aspect: float) -> Gray:
    """Make the pixels square of a picture, uint8 (height, width), whose pixels are `aspect` times as wide as high.

    The side grows that is too short, so that nothing is lost; it stays as it is where `aspect` is a mistake.
    """
    if not math.isfinite(aspect) or not 1 / ODDEST <= aspect <= ODDEST or abs(aspect - 1) < SQUARE:
        return gray
    height, width = gray.shape
    size = (round(width * aspect), height) if aspect > 1 else (width, round(height / aspect))
    if size[0] * size[1] > MOST_PIXELS:
        return gray
    return np.asarray(cv2.resize(gray, size, interpolation=cv2.INTER_LINEAR), np.uint8)
