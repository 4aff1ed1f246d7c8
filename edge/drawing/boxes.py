"""Where a face's box is drawn: turned as its head is; for films and pictures."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from edge.types import Face


def corners_of(face: Face) -> npt.NDArray[np.int32]:
    """Return the corners of a face's box, turned with the face: int32 (4, 2), x and y in pixels of the frame."""
    x, y, width, height = face.box
    rectangle = ((x + width / 2, y + height / 2), (float(width), float(height)), face.roll_deg)
    return np.round(cv2.boxPoints(rectangle)).astype(np.int32)
