"""Faces in a luma frame: rarely a full scan on a small copy, otherwise a search where each face was.

A searched region is first turned upright and brought to one size, so that its cost does not depend on the
face's, and so that a tilted face stays found by a cascade that knows only upright ones.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from edge.config import FaceSettings
from edge.errors import RuntimeMissing
from edge.types import Box, Face, Gray

CASCADE = "haarcascade_frontalface_default.xml"  # Viola and Jones, CVPR 2001; Lienhart and Maydt, ICIP 2002
_CASCADE_FOLDERS = (Path("/usr/share/opencv4/haarcascades"), Path("/usr/share/opencv/haarcascades"))

SCAN_STEP = 1.15  # between a full scan's window sizes; with 4 neighbours finds what 1.2 with 5 misses
SCAN_NEIGHBOURS = 4
SEARCH_STEP = 1.1
SEARCH_SIDE = 40  # a tracked face is brought to this width: the cascade's windows are 24 and up
SEARCH_REACH = 2.0  # the region's width in faces
SEARCH_RANGE = (0.7, 1.45)  # sizes searched, in faces
LEAST_WINDOWS = 2  # raw cascade hits that make a face in a region
PROBE_DEG = 12.0  # beside the tracked angle; hits halve about 15 degrees off upright
RETRY_DEG = (20.0, -20.0)  # where a face that just went missing may have tilted to
OVERLAP = 0.35  # intersection over union from which two boxes are one face
GOOD_SIDE = 64.0  # pixels of the frame from which size no longer lowers quality
GOOD_SHARPNESS = 0.56  # Laplacian over luma deviation: 0.6 to 1.2 on sharp clips, 0.2 blurred by 5 % of a face


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
    raise RuntimeMissing(f"{name} is in no folder of OpenCV's; install it: sudo apt install opencv-data")


def crop_face(gray: Gray, face: Face, side: int) -> Gray:
    """Cut a face out upright: uint8 (side, side), the finder's box filling it.

    FER2013 was cut with the same cascade: a box is 0.98 of its picture wide (median of 1,222 PublicTest rows).
    """
    x, y, width, height = face.box
    fine = side * max(1, min(4, round(width / side)))  # average, rather than skip, a near face's pixels
    upright = _turn_upright(gray, x + width / 2, y + height / 2, width, face.roll_deg, fine, fine)
    return cv2.resize(upright, (side, side), interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False)


def _turn_upright(gray: Gray, cx: float, cy: float, side: float, roll_deg: float, to: int, patch: int) -> Gray:
    """Sample a square patch around (cx, cy), turned by -roll, in which `side` pixels become `to`."""
    zoom = to / side
    cos, sin = zoom * np.cos(np.deg2rad(roll_deg)), zoom * np.sin(np.deg2rad(roll_deg))
    middle = patch / 2
    matrix = np.array([[cos, sin, middle - cos * cx - sin * cy], [-sin, cos, middle + sin * cx - cos * cy]])
    turned = cv2.warpAffine(gray, matrix, (patch, patch), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return turned.astype(np.uint8, copy=False)


def _overlap(a: Box, b: Box) -> float:
    wide = min(a[0] + a[2], b[0] + b[2]) - max(a[0], b[0])
    tall = min(a[1] + a[3], b[1] + b[3]) - max(a[1], b[1])
    if wide <= 0 or tall <= 0:
        return 0.0
    return wide * tall / (a[2] * a[3] + b[2] * b[3] - wide * tall)


@dataclass(slots=True)
class _Hit:
    cx: float
    cy: float
    side: float
    windows: int
    sharpness: float


@dataclass(slots=True)
class _Track:
    id: int
    cx: float
    cy: float
    side: float
    seen: float  # capture clock
    roll_deg: float = 0.0
    found: int = 1  # frames
    present: bool = True  # in the last frame
    sharpness: float = GOOD_SHARPNESS
    probe: dict[float, int] = field(default_factory=dict)  # side of the angle -> windows found there

    @property
    def box(self) -> Box:
        side = round(self.side)
        return round(self.cx - side / 2), round(self.cy - side / 2), side, side


class FaceFinder:
    """Find and track faces frame by frame; pure on arrays and capture-clock instants."""

    def __init__(self, settings: FaceSettings) -> None:
        """Load the cascade, once for all frames; raises RuntimeMissing."""
        self._settings = settings
        self._cascade = load_cascade()
        self._tracks: list[_Track] = []
        self._ids = itertools.count(1)
        self._scanned = -np.inf

    def find(self, gray: Gray, t: float) -> list[Face]:
        """Find the faces of a luma frame, uint8 (height, width), taken at `t` on the capture clock.

        Returns those seen in this very frame and confirmed before, largest first.
        """
        settings = self._settings
        for track in self._tracks:
            self._follow(track, gray, t)
        self._tracks = [track for track in self._tracks if t - track.seen <= self._patience(track)]
        self._merge()
        interval = settings.scan_interval if self._tracks else settings.search_interval
        if not 0 <= t - self._scanned < interval:
            self._scanned = t
            for x, y, width, height in self._scan(gray):
                box = (x, y, width, height)
                if all(_overlap(track.box, box) < OVERLAP for track in self._tracks):
                    self._tracks.append(_Track(next(self._ids), x + width / 2, y + height / 2, width, t))
        confirmed = [track for track in self._tracks if track.present and track.found >= settings.confirm]
        confirmed.sort(key=lambda track: -track.side)
        return [Face(track.id, track.box, round(track.roll_deg, 1), _quality(track)) for track in confirmed]

    def _patience(self, track: _Track) -> float:
        return self._settings.coast if track.found >= self._settings.confirm else 0.0

    def _scan(self, gray: Gray) -> list[Box]:
        zoom = min(1.0, self._settings.scan_width / gray.shape[1])
        small = cv2.resize(gray, None, fx=zoom, fy=zoom, interpolation=cv2.INTER_AREA) if zoom < 1 else gray
        least = max(24, round(self._settings.least_side * zoom))
        boxes = self._cascade.detectMultiScale(small, SCAN_STEP, SCAN_NEIGHBOURS, minSize=(least, least))
        scaled = np.round(np.asarray(boxes, np.float64).reshape(-1, 4) / zoom).astype(int).tolist()
        return [(x, y, wide, tall) for x, y, wide, tall in scaled]

    def _search(self, gray: Gray, track: _Track, roll_deg: float) -> _Hit | None:
        patch = round(SEARCH_SIDE * SEARCH_REACH)
        region = _turn_upright(gray, track.cx, track.cy, track.side, roll_deg, SEARCH_SIDE, patch)
        least, most = (round(SEARCH_SIDE * bound) for bound in SEARCH_RANGE)
        raw = self._cascade.detectMultiScale(region, SEARCH_STEP, 0, minSize=(least, least), maxSize=(most, most))
        if len(raw) < LEAST_WINDOWS:
            return None
        middles = np.asarray(raw, np.float64)[:, :2] + np.asarray(raw, np.float64)[:, 2:] / 2
        near = np.linalg.norm(middles - np.median(middles, axis=0), axis=1) < SEARCH_SIDE / 4
        if near.sum() < LEAST_WINDOWS:
            return None
        # The mean of all hits moves more smoothly than OpenCV's grouped rectangles.
        cx, cy = middles[near].mean(axis=0) - patch / 2
        side = float(np.asarray(raw)[near, 2].mean())
        zoom = track.side / SEARCH_SIDE
        cos, sin = np.cos(np.deg2rad(roll_deg)), np.sin(np.deg2rad(roll_deg))
        half = round(side / 2)
        top, left = round(cy + patch / 2) - half, round(cx + patch / 2) - half
        inner = region[max(0, top) : top + 2 * half, max(0, left) : left + 2 * half]
        return _Hit(
            track.cx + zoom * (cos * cx - sin * cy),
            track.cy + zoom * (sin * cx + cos * cy),
            zoom * side,
            int(near.sum()),
            _sharpness(inner),
        )

    def _follow(self, track: _Track, gray: Gray, t: float) -> None:
        hit = self._search(gray, track, track.roll_deg)
        if hit is None:
            for turn in RETRY_DEG:
                hit = self._search(gray, track, track.roll_deg + turn)
                if hit is not None:
                    track.roll_deg += turn
                    track.probe.clear()
                    break
        track.present = hit is not None and hit.side >= self._settings.least_side * SEARCH_RANGE[0]
        if hit is None or not track.present:
            return
        track.cx, track.cy, track.side, track.sharpness = hit.cx, hit.cy, hit.side, hit.sharpness
        track.seen = t
        track.found += 1
        self._correct_roll(track, gray, hit)

    def _correct_roll(self, track: _Track, gray: Gray, hit: _Hit) -> None:
        """Look a little to one side of the tracked angle a frame, and lean to where more windows fire."""
        turn = PROBE_DEG if track.found % 2 else -PROBE_DEG
        beside = self._search(gray, track, track.roll_deg + turn)
        track.probe[turn] = beside.windows if beside else 0
        if len(track.probe) == 2:
            left, right = track.probe[-PROBE_DEG], track.probe[PROBE_DEG]
            lean = (right - left) / (left + hit.windows + right)
            track.roll_deg = (track.roll_deg + PROBE_DEG * lean + 180) % 360 - 180

    def _merge(self) -> None:
        kept: list[_Track] = []
        for track in sorted(self._tracks, key=lambda track: -track.found):
            if all(_overlap(track.box, other.box) < OVERLAP for other in kept):
                kept.append(track)
        self._tracks = kept


def _sharpness(face: npt.NDArray[np.uint8]) -> float:
    """Measure detail against contrast, so that dim light is not taken for blur."""
    if face.size == 0:
        return 0.0
    return float(cv2.Laplacian(face, cv2.CV_32F).std() / (face.std() + 1.0))


def _quality(track: _Track) -> float:
    return round(min(1.0, track.side / GOOD_SIDE) * min(1.0, track.sharpness / GOOD_SHARPNESS), 3)
