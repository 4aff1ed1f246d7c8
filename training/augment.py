"""Random views of training faces: what a camera and a face finder do to a face, drawn from a seed."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

TURN_DEG = 12.0  # the face finder's own step of angle
SCALE = 0.13  # of the logarithm: Haar boxes are 0.78 to 1.12 of a PublicTest picture (10th to 90th percentile)
SHIFT = 4.0  # pixels of 48: their middles lie within 3.6 (same measurement)
CONTRAST = 0.35
BRIGHTNESS = 30.0
ERASE_SHARE = 0.5  # of the faces: a hand, hair, glasses, a mask
ERASE_SIDE = (6, 18)


def augment(images: npt.NDArray[np.uint8], rng: np.random.Generator) -> npt.NDArray[np.float32]:
    """Draw one random view of each face: uint8 (n, h, w) in, float32 (n, h, w, 1) of 0 to 255 out."""
    count, height, width = images.shape
    turn = np.deg2rad(rng.uniform(-TURN_DEG, TURN_DEG, count))
    scale = np.exp(rng.uniform(-SCALE, SCALE, count))
    mirror = rng.choice((-1.0, 1.0), count)
    shift = rng.uniform(-SHIFT, SHIFT, (count, 2))
    centre = np.array([(width - 1) / 2, (height - 1) / 2])
    views = np.empty((count, height, width), np.float32)
    for i in range(count):
        cos, sin = scale[i] * np.cos(turn[i]), scale[i] * np.sin(turn[i])
        linear = np.array([[cos * mirror[i], -sin], [sin * mirror[i], cos]])
        offset = centre - linear @ centre + shift[i]
        matrix = np.hstack([linear, offset[:, None]])
        views[i] = cv2.warpAffine(images[i], matrix, (width, height), borderMode=cv2.BORDER_REPLICATE)
    gain = np.exp(rng.uniform(-CONTRAST, CONTRAST, (count, 1, 1))).astype(np.float32)
    bias = rng.uniform(-BRIGHTNESS, BRIGHTNESS, (count, 1, 1)).astype(np.float32)
    mean = views.mean(axis=(1, 2), keepdims=True)
    views = np.clip((views - mean) * gain + mean + bias, 0, 255)
    for i in np.flatnonzero(rng.random(count) < ERASE_SHARE):
        tall, wide = rng.integers(*ERASE_SIDE, 2)
        top, left = rng.integers(0, height - tall), rng.integers(0, width - wide)
        views[i, top : top + tall, left : left + wide] = rng.uniform(0, 255)
    return views[..., None]
