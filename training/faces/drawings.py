"""Drawn faces, which a fit of the verifier learns to turn down: masks, cartoons and what is printed on a shirt.

They are even areas and lines where a face has skin; each is drawn from a seed, none is anybody's picture.
"""

from __future__ import annotations

import cv2
import numpy as np

from training.faces.views import PATCH_SHARE, PATCH_SIDE, Images

FINER = 4  # times as many pixels as are kept: lines are thin
HEAD_WIDE, HEAD_TALL = (0.34, 0.55), (0.42, 0.6)  # half of a head, of the side that a proposal has
EYES_APART, EYES_UP = (0.14, 0.24), (0.04, 0.2)  # of the same, from the middle
EYE_WIDE, EYE_TALL = (0.04, 0.12), (0.03, 0.12)
MOUTH_DOWN, MOUTH_WIDE, MOUTH_TALL = (0.14, 0.3), (0.08, 0.24), (0.03, 0.14)
LINE = (0.01, 0.05)  # how thick lines are
LEAST_CONTRAST = 60  # levels between the head and what is on it

_Levels = tuple[int, int, int]  # of the head, of what is dark or bright on it, and of its outline


def draw_drawings(count: int, rng: np.random.Generator) -> Images:
    """Draw faces, uint8 (n, 64, 64), that fill PATCH_SHARE of their pictures; false alarms are of the same size."""
    return np.array([_draw(rng) for _ in range(count)], np.uint8).reshape(-1, PATCH_SIDE, PATCH_SIDE)


def _draw(rng: np.random.Generator) -> Images:
    side = FINER * PATCH_SIDE
    unit = side * PATCH_SHARE
    head = int(rng.integers(0, 256))
    away = int(rng.integers(LEAST_CONTRAST, 256))
    mark = head - away if head > 127 else head + away
    levels = head, int(np.clip(mark, 0, 255)), int(rng.integers(0, 256))
    picture = np.full((side, side), int(rng.integers(0, 256)), np.uint8)
    size = (round(rng.uniform(*HEAD_WIDE) * unit), round(rng.uniform(*HEAD_TALL) * unit))
    _draw_head(picture, size, levels, rng)
    _draw_eyes(picture, unit, levels, rng)
    _draw_mouth(picture, unit, levels, rng)
    return np.asarray(cv2.resize(picture, (PATCH_SIDE, PATCH_SIDE), interpolation=cv2.INTER_AREA), np.uint8)


def _draw_head(picture: Images, size: tuple[int, int], levels: _Levels, rng: np.random.Generator) -> None:
    """Fill the head, and give some of them an outline, some hair."""
    middle = (len(picture) // 2, len(picture) // 2)
    cv2.ellipse(picture, middle, size, 0, 0, 360, levels[0], -1)
    if rng.random() < 0.4:
        top = (middle[0], middle[1] - round(size[1] * rng.uniform(0.35, 0.6)))
        cv2.ellipse(picture, top, (round(size[0] * 1.05), round(size[1] * 0.6)), 0, 180, 360, levels[2], -1)
    if rng.random() < 0.5:
        cv2.ellipse(picture, middle, size, 0, 0, 360, levels[2], max(1, round(rng.uniform(*LINE) * size[1])))


def _draw_eyes(picture: Images, unit: float, levels: _Levels, rng: np.random.Generator) -> None:
    """Draw both eyes alike: holes, or white ones with pupils; above them brows, and between them a nose, or none."""
    middle, thick = len(picture) // 2, max(1, round(rng.uniform(*LINE) * unit))
    apart, up = rng.uniform(*EYES_APART) * unit, rng.uniform(*EYES_UP) * unit
    size = (round(rng.uniform(*EYE_WIDE) * unit), round(rng.uniform(*EYE_TALL) * unit))
    pupil, brow = rng.random() < 0.3, rng.uniform(0.05, 0.2) * unit if rng.random() < 0.5 else 0.0
    bent = int(rng.integers(0, 2))
    for turn in (-1, 1):
        eye = (round(middle + turn * apart), round(middle - up))
        cv2.ellipse(picture, eye, size, 0, 0, 360, 255 - levels[1] if pupil else levels[1], -1)
        if pupil:
            cv2.circle(picture, eye, max(1, min(size) // 2), levels[1], -1)
        if brow:
            at = (eye[0], round(eye[1] - brow))
            cv2.ellipse(picture, at, (round(1.3 * size[0]), bent * size[1] // 2), 0, 180, 360, levels[1], thick)
    if rng.random() < 0.5:
        long = round(rng.uniform(0.05, 0.2) * unit)
        cv2.line(picture, (middle, middle - long // 2), (middle, middle + long), levels[1], thick)


def _draw_mouth(picture: Images, unit: float, levels: _Levels, rng: np.random.Generator) -> None:
    """Draw a mouth: an arc up or down, or an opening."""
    middle, thick = len(picture) // 2, max(1, round(rng.uniform(*LINE) * unit))
    size = (round(rng.uniform(*MOUTH_WIDE) * unit), round(rng.uniform(*MOUTH_TALL) * unit))
    at = (middle, round(middle + rng.uniform(*MOUTH_DOWN) * unit))
    begin, end = ((0, 180), (180, 360), (0, 360))[int(rng.integers(3))]
    cv2.ellipse(picture, at, size, 0, begin, end, levels[1], -1 if end - begin == 360 or rng.random() < 0.4 else thick)
