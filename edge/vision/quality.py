"""How far a face can be trusted to be read, and how far away it is."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from edge.types import Gray, Quality

# The finder's square is as wide as a FER2013 picture: 2.62 times the way between the pupils (median of the 1,832
# PublicTest rows whose eyes a cascade finds), which is 63.4 mm (Dodgson, Proc. SPIE 5291, 2004). One row in three is 13
# % off or more, one person in three 6 %.
FACE_M = 2.62 * 0.0634
FACE_M_ERROR = 0.14  # of the distance

# From here on a part of the quality is 1. Set by hand; beside each stands what FER2013's 3,589 PublicTest rows have, as
# views of 40 pixels.
GOOD_SIDE = 64.0  # pixels of the frame: a third more than the 48 that the network reads
GOOD_SHARPNESS = 0.56  # deviation of the Laplacian to that of the luma: one row in nine has less, the middle one 0.75
GOOD_CONTRAST = 25.0  # levels of 256, the luma's standard deviation: 1.4 % of the rows have less, the middle one has 52
GOOD_ROLL_DEG = 45.0  # degrees from upright, up to which the verifier finds a turn by itself; at twice that it is 0
GOOD_SYMMETRY = 0.6  # correlation of a view with its mirror image, without its light: 8.5 % of the rows have as much


def judge_quality(view: Gray, side: float, roll_deg: float) -> Quality:
    """Judge an upright view, uint8 (40, 40), of a face `side` pixels wide and turned by `roll_deg` in the frame."""
    pixels = view.astype(np.float32)
    contrast = _deviation(pixels)
    sharpness = _deviation(np.asarray(cv2.Laplacian(view, cv2.CV_32F), np.float32)) / (contrast + 1.0)
    smooth = pixels - cv2.blur(pixels, (15, 15))
    mirrored = smooth[:, ::-1]
    symmetry = float((smooth * mirrored).sum() / ((smooth * smooth).sum() + 1.0))
    return Quality(
        size=_share(side / GOOD_SIDE),
        sharpness=_share(sharpness / GOOD_SHARPNESS),
        light=_share(contrast / GOOD_CONTRAST),
        level=_share(2.0 - abs(roll_deg) / GOOD_ROLL_DEG),
        frontal=_share(symmetry / GOOD_SYMMETRY),
    )


def _share(value: float) -> float:
    return round(float(min(1.0, max(0.0, value))), 3)  # as the log has it


def _deviation(values: npt.NDArray[np.float32]) -> float:
    return float(cv2.meanStdDev(values)[1][0, 0])  # a tenth of what numpy takes for so few
