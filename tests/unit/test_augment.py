"""Random views keep what makes a face, and come from the seed alone."""

from __future__ import annotations

import numpy as np
import pytest

from training.augment import augment, cutmix, mixup


@pytest.mark.parametrize("channels", [1, 3])
def test_views_are_drawn_from_the_seed(channels: int) -> None:
    shape = (8, 48, 48) if channels == 1 else (8, 48, 48, 3)
    faces = np.random.default_rng(1).integers(0, 256, shape, dtype=np.uint8)
    first, again, other = (augment(faces, np.random.default_rng(seed)) for seed in (5, 5, 6))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    assert first.shape == (8, 48, 48, channels)
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


def test_a_colour_stays_the_same_colour() -> None:
    red = np.zeros((16, 24, 24, 3), np.uint8)
    red[..., 0] = 200
    views = augment(red, np.random.default_rng(0))
    assert (np.median(views[..., 0], axis=(1, 2)) > np.median(views[..., 1], axis=(1, 2)) + 50).all()


def test_cutmix_gives_targets_by_area() -> None:
    views = np.stack([np.full((32, 32, 1), float(i), np.float32) for i in range(4)])
    targets = np.eye(4, dtype=np.float32)
    mixed, goals = cutmix(views, targets, np.random.default_rng(2))
    assert not np.array_equal(mixed, views)
    for i in range(4):
        areas = [float((mixed[i] == k).mean()) for k in range(4)]
        assert goals[i] == pytest.approx(areas)


def test_mixup_blends_pictures_and_targets_alike() -> None:
    views = np.stack([np.full((4, 4, 1), 10.0 * i, np.float32) for i in range(4)])
    mixed, goals = mixup(views, np.eye(4, dtype=np.float32), np.random.default_rng(1))
    assert goals.sum(axis=1) == pytest.approx(1)
    assert mixed[:, 0, 0, 0] == pytest.approx(goals @ np.array([0.0, 10.0, 20.0, 30.0]), rel=1e-5)
    assert not np.array_equal(mixed, views)


def test_some_views_have_less_detail_and_some_are_lit_from_one_side(monkeypatch: pytest.MonkeyPatch) -> None:
    checks = (np.indices((48, 48)).sum(axis=0) % 2 * 120 + 60).astype(np.uint8)
    faces = np.repeat(checks[None], 64, axis=0)
    for name in ("TURN_DEG", "SCALE", "SHIFT", "CONTRAST", "BRIGHTNESS", "ERASE_SHARE", "SHADE_SHARE"):
        monkeypatch.setattr(f"training.augment.{name}", 0.0)
    monkeypatch.setattr("training.augment.SOFT_SHARE", 0.5)
    # Of a pattern finer than half the side nothing is left, only its mean.
    detail = augment(faces, np.random.default_rng(0)).std(axis=(1, 2, 3))
    assert 0.2 < (detail < 50).mean() < 0.8
    assert (detail > 59).mean() > 0.2

    monkeypatch.setattr("training.augment.SOFT_SHARE", 0.0)
    monkeypatch.setattr("training.augment.SHADE_SHARE", 1.0)
    views = augment(np.full((64, 48, 48), 120, np.uint8), np.random.default_rng(0))
    assert views[:, 23:25, 23:25].mean() == pytest.approx(120, abs=1)
    darkest, brightest = views.min(axis=(1, 2, 3)), views.max(axis=(1, 2, 3))
    assert (brightest / darkest).max() > 2
    assert brightest.max() <= 255
