"""Random views of training pictures: what a camera and a face finder do to a face, drawn from a seed."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

TURN_DEG = 12.0  # the face finder's own step of angle
SCALE = 0.13  # of the logarithm: Haar boxes are 0.78 to 1.12 of a PublicTest picture (10th to 90th percentile)
SHIFT = 4.0  # pixels in 48: their middles lie within 3.6 (same measurement)
CONTRAST = 0.35
BRIGHTNESS = 30.0
ERASE_SHARE = 0.5  # of the faces: a hand, hair, glasses, a mask
ERASE_SHARE_OF_SIDE = (0.125, 0.375)
SOFT_SHARE = 0.2  # of the faces: fewer pixels of detail than the picture has, as a face far off
SOFT_DETAIL = 0.5  # of the side, at least
SHADE_SHARE = 0.2  # of the faces: lit from one side
SHADE = 0.6  # of the logarithm of light, from the middle to an edge, at most


def augment(images: npt.NDArray[np.uint8], rng: np.random.Generator) -> npt.NDArray[np.float32]:
    """Draw one random view of each picture.

    In: uint8 (n, h, w) or (n, h, w, 3). Out: float32 (n, h, w, channels) of 0 to 255.
    """
    count, height, width = images.shape[:3]
    turn = np.deg2rad(rng.uniform(-TURN_DEG, TURN_DEG, count))
    scale = np.exp(rng.uniform(-SCALE, SCALE, count))
    mirror = rng.choice((-1.0, 1.0), count)
    shift = rng.uniform(-SHIFT, SHIFT, (count, 2)) * (width / 48, height / 48)
    centre = np.array([(width - 1) / 2, (height - 1) / 2])
    views: npt.NDArray[np.float32] = np.empty(images.shape, np.float32)
    for i in range(count):
        cos, sin = scale[i] * np.cos(turn[i]), scale[i] * np.sin(turn[i])
        linear = np.array([[cos * mirror[i], -sin], [sin * mirror[i], cos]])
        offset = centre - linear @ centre + shift[i]
        matrix = np.hstack([linear, offset[:, None]])
        views[i] = cv2.warpAffine(images[i], matrix, (width, height), borderMode=cv2.BORDER_REPLICATE)
    views = views.reshape(count, height, width, -1)
    gain = np.exp(rng.uniform(-CONTRAST, CONTRAST, (count, 1, 1, 1))).astype(np.float32)
    bias = rng.uniform(-BRIGHTNESS, BRIGHTNESS, (count, 1, 1, 1)).astype(np.float32)
    mean = views.mean(axis=(1, 2, 3), keepdims=True)
    views = np.clip((views - mean) * gain + mean + bias, 0, 255)
    for i in np.flatnonzero(rng.random(count) < SOFT_SHARE).tolist():
        views[i] = _soften(views[i], rng.uniform(SOFT_DETAIL, 1))
    for i in np.flatnonzero(rng.random(count) < SHADE_SHARE).tolist():
        views[i] = np.clip(views[i] * _shade(height, width, rng), 0, 255)
    for i in np.flatnonzero(rng.random(count) < ERASE_SHARE).tolist():
        tall, wide = (rng.uniform(*ERASE_SHARE_OF_SIDE, 2) * (height, width)).astype(int)
        top, left = int(rng.integers(0, height - tall)), int(rng.integers(0, width - wide))
        views[i, top : top + tall, left : left + wide] = rng.uniform(0, 255)
    return np.asarray(views, np.float32)


def _soften(view: npt.NDArray[np.float32], detail: float) -> npt.NDArray[np.float32]:
    """Return (h, w, channels) with as much detail as a picture of `detail` times its side holds."""
    height, width = view.shape[:2]
    few = cv2.resize(
        view, (max(1, round(width * detail)), max(1, round(height * detail))), interpolation=cv2.INTER_AREA
    )
    whole = cv2.resize(few, (width, height), interpolation=cv2.INTER_LINEAR)
    return np.asarray(whole.reshape(view.shape), np.float32)


def _shade(height: int, width: int, rng: np.random.Generator) -> npt.NDArray[np.float32]:
    """Return the light that falls from one side, a factor for each pixel: float32 (h, w, 1), in the middle 1."""
    toward, strength = rng.uniform(0, 2 * np.pi), rng.uniform(0, SHADE)
    down, across = np.linspace(-1, 1, height)[:, None], np.linspace(-1, 1, width)
    slope = np.sin(toward) * down + np.cos(toward) * across
    return np.asarray(np.exp(strength * slope)[..., None], np.float32)


def cutmix(
    views: npt.NDArray[np.float32], targets: npt.NDArray[np.float32], rng: np.random.Generator
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Paste a rectangle of another picture into each, targets by area (Yun et al., arXiv 1905.04899).

    `views` float32 (n, h, w, channels), `targets` float32 (n, k); neither is changed.
    """
    count, height, width = views.shape[:3]
    side = np.sqrt(1 - rng.uniform())  # of the rectangle, as a share of the picture's
    tall, wide = int(height * side), int(width * side)
    top, left = rng.integers(0, height - tall + 1), rng.integers(0, width - wide + 1)
    other = rng.permutation(count)
    views = views.copy()
    views[:, top : top + tall, left : left + wide] = views[other, top : top + tall, left : left + wide]
    share = tall * wide / (height * width)
    return views, (1 - share) * targets + share * targets[other]


def mixup(
    views: npt.NDArray[np.float32], targets: npt.NDArray[np.float32], rng: np.random.Generator
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Lay another picture over each, targets alike (Zhang et al., arXiv 1710.09412, at alpha 0.2)."""
    share, other = np.float32(rng.beta(0.2, 0.2)), rng.permutation(len(views))
    return (1 - share) * views + share * views[other], (1 - share) * targets + share * targets[other]
