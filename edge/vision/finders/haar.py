"""`haar`: proposals by OpenCV's frontal cascade, at one window size on ever smaller copies of the frame."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from edge.errors import RuntimeMissing
from edge.needs import from_system
from edge.vision.finders import Slice
from edge.vision.views import Pyramid, Spot

CASCADE = "haarcascade_frontalface_default.xml"  # Viola and Jones, CVPR 2001; Lienhart and Maydt, ICIP 2002
_CASCADE_FOLDERS = (Path("/usr/share/opencv4/haarcascades"), Path("/usr/share/opencv/haarcascades"))

WINDOW = 24  # pixels: the cascade's own, below which it knows no face
STRIDE = 2  # pixels between windows, OpenCV's own for its window sizes below 48
SIDE_STEP = 1.26  # between sizes searched: the verifier finds the size between them
MOST_WINDOWS = 4500  # of a slice: what a frame may cost at once
EDGE = 0.25  # of a side, by which large faces are searched beyond the frame: they are cut by its edge, or fill it
LARGE = 0.35  # of the frame's shorter side, from which a face is large
GROUP = 0.3  # of a side: hits whose middles are nearer are one proposal
MOST_PROPOSALS = 6  # of a slice: clutter must not buy time


def load_cascade(name: str = CASCADE) -> cv2.CascadeClassifier:
    """Load a cascade from OpenCV's wheel or, with apt's OpenCV, from the package opencv-data.

    Raises RuntimeMissing where neither has it.
    """
    if not hasattr(cv2, "CascadeClassifier"):
        raise RuntimeMissing(f"OpenCV {cv2.__version__} has no CascadeClassifier; install OpenCV 4 by the lock")
    wheel = getattr(cv2, "data", None)  # apt's cv2 has none
    for folder in (*([Path(wheel.haarcascades)] if wheel else []), *_CASCADE_FOLDERS):
        if (folder / name).is_file():
            return cv2.CascadeClassifier(str(folder / name))
    raise RuntimeMissing(f"{name} is in no folder of OpenCV's; {from_system('opencv-data')}")


class HaarFinder:
    """Slides the cascade's window over turned copies of the frame."""

    def __init__(self) -> None:
        """Load the cascade, once for all frames; raises RuntimeMissing."""
        self._cascade = load_cascade()

    def slices(self, width: int, height: int, sides: tuple[float, float], rolls_deg: tuple[float, ...]) -> list[Slice]:
        """Cut a full scan into slices of at most MOST_WINDOWS, in strips where a copy has more."""
        pieces = []
        side = sides[0]
        while side <= sides[1]:
            zoom = WINDOW / side
            for roll_deg in rolls_deg:
                pieces += _strips(width, height, side, zoom, roll_deg)
            side *= SIDE_STEP
        return pieces

    def scan(self, pyramid: Pyramid, piece: Slice) -> list[Spot]:
        """Return the middles of neighbouring hits, most hits first."""
        zoom = WINDOW / piece.side
        copy = pyramid.window(piece.cx, piece.cy, piece.roll_deg, zoom, piece.width, piece.height)
        size = (WINDOW, WINDOW)
        hits = np.asarray(self._cascade.detectMultiScale(copy, 1.1, 0, minSize=size, maxSize=size))
        if not len(hits):
            return []
        # OpenCV's threads bring them in any order, which must not change what is proposed.
        middles = np.array(sorted(hits[:, :2].tolist())) + (WINDOW - 1) / 2
        whole = Spot(piece.cx, piece.cy, piece.side, piece.roll_deg)
        ahead = ((middles - (np.array(copy.shape[::-1]) - 1) / 2) / WINDOW).tolist()
        groups: list[list[list[float]]] = []
        for place in ahead:
            near = (group for group in groups if np.hypot(group[0][0] - place[0], group[0][1] - place[1]) < GROUP)
            group = next(near, None)
            if group is None:
                groups.append([place])
            else:
                group.append(place)
        groups.sort(key=len, reverse=True)
        spots = (whole.moved(*np.mean(group, axis=0).tolist()) for group in groups[:MOST_PROPOSALS])
        return [spot for spot in spots if 0 <= spot.cx < pyramid.width and 0 <= spot.cy < pyramid.height]


def _strips(width: int, height: int, side: float, zoom: float, roll_deg: float) -> list[Slice]:
    """Cut the copy of a frame that is turned upright by `roll_deg` and shrunk by `zoom` into strips."""
    cos, sin = abs(np.cos(np.deg2rad(roll_deg))), abs(np.sin(np.deg2rad(roll_deg)))
    beyond = 2 * EDGE * side if side > LARGE * min(width, height) else 0.0
    wide = round(zoom * (cos * width + sin * height + beyond))
    tall = round(zoom * (sin * width + cos * height + beyond))
    across = (wide - WINDOW) // STRIDE + 1
    if across < 1 or tall < WINDOW:
        return []
    rows = (tall - WINDOW) // STRIDE + 1
    count = -(-rows * across // MOST_WINDOWS)
    pieces = []
    for number in range(count):
        first, last = number * rows // count, (number + 1) * rows // count
        strip_tall = (last - first - 1) * STRIDE + WINDOW
        middle = first * STRIDE + strip_tall / 2 - tall / 2
        spot = Spot(width / 2 - 0.5, height / 2 - 0.5, 1.0, roll_deg).moved(0.0, middle / zoom)
        pieces.append(Slice(side, roll_deg, spot.cx, spot.cy, wide, strip_tall, (last - first) * across))
    return pieces
