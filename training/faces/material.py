"""What a fit of the verifier draws its views from, and how it draws them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edge.vision.verifier import Evening
from training.faces.drawings import draw_drawings
from training.faces.scenes import Scene, draw_patches
from training.faces.views import (
    UNITS,
    Images,
    draw_faces,
    draw_false_alarms,
    draw_misplaced,
    light,
)

# Views of an epoch beside one of each face, as shares of the faces.
MISPLACED = 1 / 2
FALSE_ALARMS = 1 / 2
HARD = 1 / 3
PATCHES = 1 / 3
DRAWN = 1 / 8
CALIBRATION = (700, 300)  # views of faces and of false alarms that ranges are measured on
# By a view's middle, so that a window beside a face does not make it flat; chosen by `cuelens-bench faces light`.
EVENING = Evening(middle=0.4)
_NO_FACE = {
    "misplaced": -1,
    "false alarms": -2,
    "hard": -3,
    "patches": -4,
    "drawn": -5,
}  # in an epoch's order, instead of a row


@dataclass(frozen=True, slots=True)
class Material:
    """What a fit draws its views from."""

    faces: Images  # (n, 48, 48)
    scenes: Sequence[Scene]
    false_alarms: Images  # (m, 64, 64)
    hard: Images  # (k, 64, 64), none for the first fit


def order_epoch(material: Material, rng: np.random.Generator) -> npt.NDArray[np.int64]:
    """Shuffle an epoch's views: each face's row once, and below zero what shows none."""
    count = len(material.faces)
    shares = {"misplaced": MISPLACED, "false alarms": FALSE_ALARMS, "patches": PATCHES, "drawn": DRAWN}
    if len(material.hard):
        shares["hard"] = HARD
    views = [np.arange(count), *(np.full(int(share * count), _NO_FACE[name]) for name, share in shares.items())]
    return rng.permutation(np.concatenate(views)).astype(np.int64)


def draw_batch(
    material: Material, order: npt.NDArray[np.int64], rng: np.random.Generator
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Draw the views that a part of an epoch's order asks for.

    Returns pixels float32 (n, SIDE, SIDE, 1) of 0 to 255, and targets float32 (n, 5): face or not, pose in UNITS.
    """
    faces = material.faces[order[order >= 0]]
    counts = {name: int((order == code).sum()) for name, code in _NO_FACE.items()}
    scenes = draw_patches(material.scenes, max(1, len(faces)), rng)

    def behind(count: int) -> Images:
        return scenes[rng.integers(len(scenes), size=count)]

    def choose(pictures: Images, count: int) -> Images:
        return pictures[rng.integers(max(1, len(pictures)), size=count)]

    views, poses = draw_faces(faces, scenes[: len(faces)], rng)
    others = [draw_misplaced(choose(material.faces, counts["misplaced"]), behind(counts["misplaced"]), rng)]
    for name, patches in (("false alarms", material.false_alarms), ("hard", material.hard)):
        others.append(draw_false_alarms(choose(patches, counts[name]), behind(counts[name]), rng))
    others.append(draw_patches(material.scenes, counts["patches"], rng))
    others.append(draw_false_alarms(draw_drawings(counts["drawn"], rng), behind(counts["drawn"]), rng))
    pixels = finish(np.concatenate([views, *others]), rng).astype(np.float32)
    targets = np.zeros((len(pixels), 1 + len(UNITS)), np.float32)
    targets[: len(views), 0] = 1
    targets[: len(views), 1:] = poses
    return pixels[..., None], targets


def finish(views: Images, rng: np.random.Generator) -> Images:
    """Give views, uint8 (n, SIDE, SIDE), their light and even it out again, as the device does; same shape."""
    return np.array([EVENING.apply(view) for view in np.round(light(views, rng)).astype(np.uint8)])


def draw_calibration(material: Material, rng: np.random.Generator) -> Images:
    """Draw views, uint8 (n, SIDE, SIDE), to measure ranges on; two flat ones pin the input's to 0 to 255."""
    faces, alarms = CALIBRATION
    order = np.concatenate([rng.permutation(len(material.faces))[:faces], np.full(alarms, _NO_FACE["false alarms"])])
    views = draw_batch(material, order, rng)[0][..., 0].astype(np.uint8)
    # In a mixed order: biases are corrected on the first of them.
    return np.concatenate([rng.permutation(views), np.zeros_like(views[:1]), np.full_like(views[:1], 255)])
