"""What lowers a face's quality, each alone, on the demo person."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from edge.sources.demo import DemoSource
from edge.types import Gray, Quality
from edge.vision.faces import QUALITY_SIDE
from edge.vision.quality import judge_quality
from edge.vision.views import Pyramid, Spot


@pytest.fixture(scope="module")
def scene() -> tuple[Gray, Spot]:
    person = DemoSource("1", live=False)
    seq = next(seq for seq in range(600) if person.truth(seq).steady_for > 1.5 and person.truth(seq).expression)
    truth = person.truth(seq)
    assert truth.box is not None
    x, y, side, _ = truth.box
    return person.render(seq), Spot(x + (side - 1) / 2, y + (side - 1) / 2, side, truth.roll_deg)


def judge(gray: Gray, spot: Spot) -> Quality:
    return judge_quality(Pyramid(gray).view(spot, QUALITY_SIDE), spot.side, spot.roll_deg)


def test_a_near_sharp_lit_level_facing_face_is_as_good_as_any(scene: tuple[Gray, Spot]) -> None:
    quality = judge(*scene)
    assert quality.whole > 0.9
    assert quality.frontal > 0.9


def test_blur_small_size_dim_light_and_a_far_turn_each_lower_their_own_part(scene: tuple[Gray, Spot]) -> None:
    gray, spot = scene
    good = judge(gray, spot)
    blurred = judge(cv2.GaussianBlur(gray, (0, 0), spot.side / 18).astype(np.uint8), spot)
    assert blurred.sharpness < 0.65 * good.sharpness
    assert blurred.light > 0.7
    dim = judge((gray * 0.08 + 20).astype(np.uint8), spot)
    assert dim.light < 0.4 * good.light
    small = judge_quality(Pyramid(gray).view(spot, QUALITY_SIDE), 24.0, 0.0)
    assert small.size < 0.5
    assert judge_quality(Pyramid(gray).view(spot, QUALITY_SIDE), spot.side, 80.0).level < 0.5
    for part in (blurred, dim, small):
        assert part.whole < 0.7 * good.whole


def test_a_face_seen_by_one_half_is_less_frontal(scene: tuple[Gray, Spot]) -> None:
    gray, spot = scene
    assert judge(gray, spot.moved(0.22, 0.0)).frontal < 0.6 * judge(gray, spot).frontal


def test_a_flat_view_has_no_quality_and_does_no_harm() -> None:
    quality = judge_quality(np.full((QUALITY_SIDE, QUALITY_SIDE), 128, np.uint8), 80.0, 0.0)
    assert quality.sharpness == quality.light == quality.whole == 0.0
