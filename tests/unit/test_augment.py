"""Random views keep what makes a face, and come from the seed alone."""

from __future__ import annotations

import numpy as np

from training.augment import augment


def test_views_are_drawn_from_the_seed() -> None:
    faces = np.random.default_rng(1).integers(0, 256, (8, 48, 48), dtype=np.uint8)
    first, again, other = (augment(faces, np.random.default_rng(seed)) for seed in (5, 5, 6))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    assert first.shape == (8, 48, 48, 1)
    assert first.dtype == np.float32
    assert first.min() >= 0
    assert first.max() <= 255


def test_half_of_the_views_are_mirrored_and_none_is_upside_down() -> None:
    face = np.zeros((48, 48), np.uint8)
    face[:24, :24] = 255  # bright upper left
    views = augment(np.repeat(face[None], 400, axis=0), np.random.default_rng(0))[..., 0]
    left, right = views[:, :20, :20].mean(axis=(1, 2)), views[:, :20, 28:].mean(axis=(1, 2))
    below = views[:, 28:, :].mean(axis=(1, 2))
    assert 0.4 < (left > right).mean() < 0.6
    assert (np.maximum(left, right) > below).mean() > 0.95
