"""A mask, a cartoon and what is printed on a shirt are nobody's expression: `unsure` or nothing is shown of them."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import pytest

from edge.cue.policy import CuePolicy
from edge.settings import CueSettings, FaceSettings
from edge.types import Gray, Reading
from edge.vision.faces import FaceFinder, crop_face
from edge.vision.model import ExpressionModel

FPS, SECONDS, MIDDLE = 15, 3, (320, 240)


def smiley(radius: int, mouth: tuple[int, int, int]) -> Gray:
    """Draw a round face uint8 (480, 640) as on a shirt; `mouth` is how far down, and from and to which angle."""
    picture = np.full((480, 640), 140, np.uint8)
    cv2.circle(picture, MIDDLE, radius, 220, -1)
    cv2.circle(picture, MIDDLE, radius, 20, 4)
    for side in (-1, 1):
        eye = (320 + side * radius // 3, 240 - radius // 4)
        cv2.ellipse(picture, eye, (radius // 9, radius // 6), 0, 0, 360, 10, -1)
    down, start, end = mouth
    cv2.ellipse(picture, (320, 240 + down), (radius // 2, radius // 3), 0, start, end, 10, 8)
    return picture


def mask(radius: int) -> Gray:
    """Draw a white mask with holes for eyes and mouth, uint8 (480, 640)."""
    picture = np.full((480, 640), 90, np.uint8)
    cv2.ellipse(picture, MIDDLE, (int(radius * 0.75), radius), 0, 0, 360, 245, -1)
    for side in (-1, 1):
        x = 320 + side * radius // 3
        cv2.ellipse(picture, (x, 240 - radius // 5), (radius // 5, radius // 9), 0, 0, 360, 0, -1)
        cv2.ellipse(picture, (x, 232 - radius // 3), (radius // 4, radius // 12), 0, 180, 360, 60, 5)
    cv2.line(picture, (320, 240 - radius // 8), (320, 240 + radius // 4), 160, 4)
    cv2.ellipse(picture, (320, 240 + radius // 2), (radius // 3, radius // 7), 0, 0, 360, 0, -1)
    return picture


def cartoon(radius: int) -> Gray:
    """Draw a cartoon's laughing face, uint8 (480, 640)."""
    picture = np.full((480, 640), 180, np.uint8)
    cv2.ellipse(picture, MIDDLE, (int(radius * 0.8), radius), 0, 0, 360, 210, -1)
    hair = (int(radius * 0.85), radius * 3 // 4)
    cv2.ellipse(picture, (320, 240 - radius // 2), hair, 0, 180, 360, 40, -1)
    for side in (-1, 1):
        eye = (320 + side * radius // 3, 240 - radius // 8)
        cv2.circle(picture, eye, radius // 5, 250, -1)
        cv2.circle(picture, eye, radius // 10, 0, -1)
        brow = [(320 + side * radius // 6, 250 - radius // 2), (320 + side * radius // 2, 244 - radius // 2)]
        cv2.line(picture, *brow, 30, 6)
    cv2.ellipse(picture, (320, 240 + radius // 5), (radius // 12, radius // 6), 0, 0, 180, 120, 3)
    cv2.ellipse(picture, (320, 240 + radius // 2), (radius // 3, radius // 5), 0, 0, 180, 20, -1)
    return picture


@pytest.mark.parametrize(
    "draw",
    [
        lambda: smiley(110, (18, 20, 160)),
        lambda: smiley(110, (55, 200, 340)),
        lambda: mask(120),
        lambda: mask(90),
        lambda: mask(150),
        lambda: cartoon(130),
        lambda: cartoon(100),
    ],
    ids=["smiley", "sad_smiley", "mask", "small_mask", "large_mask", "cartoon", "small_cartoon"],
)
def test_of_a_drawn_face_no_expression_is_shown(draw: Callable[[], Gray]) -> None:
    model, finder, picture = ExpressionModel(), FaceFinder(FaceSettings()), draw()
    policy = CuePolicy(CueSettings(), model.contract.labels)
    rng = np.random.default_rng(0)
    shown = set()
    for number in range(FPS * SECONDS):
        t = number / FPS
        moved = np.roll(picture, (int(3 * np.sin(number / 5)), int(4 * np.cos(number / 7))), (0, 1))
        frame = np.clip(moved + rng.normal(0, 3, moved.shape), 0, 255).astype(np.uint8)
        faces = finder.find(frame, t)
        readings = [
            Reading(face.id, tuple(model.read(crop_face(frame, face, model.contract.side))), t) for face in faces
        ]
        shown.add(policy.update(faces, readings, t).shown)
    assert shown <= {"no_face", "face", "unsure"}
