"""Square views of a frame: what is cut out is what is there, at every size and turn."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.types import Gray
from edge.vision.views import Pyramid, Spot, on_body, overlap, wrap_deg


def picture(width: int = 320, height: int = 240) -> Gray:
    noise = np.random.default_rng(0).integers(0, 256, (height // 8, width // 8), dtype=np.uint8)
    return cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC).astype(np.uint8)


def test_a_whole_square_seen_at_its_own_size_is_itself() -> None:
    gray = picture(64, 64)
    view = Pyramid(gray).view(Spot(31.5, 31.5, 64.0), 64)
    assert np.array_equal(view, gray)


@pytest.mark.parametrize("roll_deg", [90.0, -90.0, 180.0])
def test_a_quarter_turn_is_numpys_own(roll_deg: float) -> None:
    gray = picture(64, 64)
    view = Pyramid(gray).view(Spot(31.5, 31.5, 64.0, roll_deg), 64)
    assert np.abs(view.astype(int) - np.rot90(gray, round(roll_deg / 90))).max() <= 1


def test_a_large_spot_is_averaged_and_not_skipped_through() -> None:
    stripes = np.tile(np.array([0, 255], np.uint8), (256, 128))
    view = Pyramid(stripes).view(Spot(127.5, 127.5, 256.0), 16)
    assert np.abs(view.astype(int) - 127).max() <= 2


@pytest.mark.parametrize("side", [20.0, 37.0, 64.0, 130.0, 200.0])
def test_halved_copies_are_not_shifted_against_the_frame(side: float) -> None:
    y, x = np.mgrid[0:240, 0:320]
    ramp = (x * 0.5 + y * 0.25).astype(np.float32)
    spot = Spot(150.0, 110.0, side)
    view = Pyramid(np.round(ramp).astype(np.uint8)).view(spot, 33)
    assert float(view[16, 16]) == pytest.approx(150 * 0.5 + 110 * 0.25, abs=1.0)


def test_the_share_is_how_much_of_the_view_the_spot_fills() -> None:
    gray = np.zeros((200, 200), np.uint8)
    gray[60:140, 60:140] = 255
    view = Pyramid(gray).view(Spot(99.5, 99.5, 80.0), 100, 0.5)
    assert (view > 127).sum() == pytest.approx(50 * 50, rel=0.05)


def test_a_spot_moves_along_its_own_axes() -> None:
    assert Spot(10, 10, 20, 0).moved(0.5, 0.0) == Spot(20, 10, 20, 0)
    turned = Spot(10, 10, 20, 90).moved(0.5, 0.0, 2.0, 100.0)
    assert (turned.cx, turned.cy, turned.side, turned.roll_deg) == pytest.approx((10, 20, 40, -170))


@given(st.floats(-1e4, 1e4))
def test_an_angle_is_wrapped_to_half_a_turn_either_way(angle_deg: float) -> None:
    wrapped = wrap_deg(angle_deg)
    assert -180 <= wrapped <= 180
    assert np.cos(np.deg2rad(wrapped)) == pytest.approx(np.cos(np.deg2rad(angle_deg)), abs=1e-6)


def test_overlap_is_intersection_over_union() -> None:
    spot = Spot(50, 50, 20)
    assert overlap(spot, spot) == 1.0
    assert overlap(spot, Spot(60, 50, 20)) == pytest.approx(1 / 3)
    assert overlap(spot, Spot(80, 50, 20)) == 0.0
    assert overlap(spot, Spot(50, 50, 10)) == pytest.approx(0.25)


@pytest.mark.parametrize("shape", [(1, 1), (2, 500), (17, 3), (480, 640)])
def test_any_frame_can_be_looked_at_anywhere(shape: tuple[int, int]) -> None:
    pyramid = Pyramid(np.full(shape, 77, np.uint8))
    for spot in (Spot(-50, 900, 30, 45), Spot(0, 0, 5000, -20), Spot(3, 3, 1.5)):
        assert (pyramid.view(spot, 32) == 77).all()


@pytest.mark.parametrize("roll_deg", [0.0, 25.0, -60.0])
@pytest.mark.parametrize(
    ("right", "down", "width", "is_on"),
    [
        (0.0, 1.5, 1.4, True),  # a print on the chest
        (0.0, 1.5, 1.0, False),  # a child in front of it
        (1.3, 1.0, 1.4, False),  # somebody nearer beside it
        (-0.3, -0.5, 0.15, True),  # in the hair
        (0.0, 0.4, 0.5, True),  # on the chin
        (0.0, -0.9, 0.4, False),  # somebody farther away, above the head
        (0.7, 0.0, 0.4, False),  # the same, beside it
        (0.3, -0.3, 0.8, False),  # as near: the two cross
    ],
)
def test_a_print_on_a_chest_and_what_a_head_would_hide_are_on_the_body(
    roll_deg: float, right: float, down: float, width: float, is_on: bool
) -> None:
    owner = Spot(200.0, 150.0, 80.0, roll_deg)
    assert on_body(owner, owner.moved(right, down, width)) is is_on
