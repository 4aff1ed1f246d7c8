"""Plain Haar, beside which the finder is measured, and frames whose one upright face it is sure of."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import cv2
import numpy as np

from benchmarks.faces_measures import EYES_SHARE, eyes_roll_deg, spot_of
from edge.errors import SettingsInvalid
from edge.types import Box, Gray
from edge.vision.finders.haar import load_cascade
from edge.vision.views import Spot

EYES_SIDE = 200  # pixels: a face is made so wide before the cascade searches its eyes


def detect(cascade: str, gray: Gray, neighbours: int, least: int) -> list[Box]:
    """Run a cascade of OpenCV's over a whole picture, for what is at least `least` pixels wide."""
    detector = _load_cascade(f"haarcascade_{cascade}.xml")
    hits = detector.detectMultiScale(gray, scaleFactor=1.1, minNeighbors=neighbours, minSize=(least, least))
    return [(int(x), int(y), int(width), int(height)) for x, y, width, height in hits]


_load_cascade = functools.cache(load_cascade)
find_plain = functools.partial(detect, "frontalface_default", neighbours=5, least=30)


def find_upright(gray: Gray) -> Spot | None:
    """Return a frame's one face and its own small roll, None where it is not sure that there is one and upright."""
    boxes = detect("frontalface_default", gray, neighbours=8, least=60)
    if len(boxes) != 1:
        return None
    x, y, width, height = boxes[0]
    upper = gray[y : y + round(EYES_SHARE * height), x : x + width]
    large = cv2.resize(upper, (EYES_SIDE, round(EYES_SIDE * EYES_SHARE))).astype(np.uint8, copy=False)
    roll_deg = eyes_roll_deg(detect("eye", large, neighbours=5, least=EYES_SIDE // 8), EYES_SIDE)
    return None if roll_deg is None else spot_of(boxes[0], roll_deg)


def find_sure(spec: str, frames: Sequence[Gray]) -> list[tuple[Gray, Spot]]:
    """Return the frames that surely have one upright face, with it; raises SettingsInvalid where none has."""
    sure = [(gray, face) for gray in frames if (face := find_upright(gray)) is not None]
    if not sure:
        raise SettingsInvalid(f"{spec}: no upright face in {len(frames)} frames; give a clip of one large face")
    return sure
