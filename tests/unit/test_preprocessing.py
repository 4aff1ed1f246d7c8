"""The one definition of what a picture becomes before a network sees it."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from edge.vision.preprocessing import Preprocessing

RNG = np.random.default_rng(0)


@pytest.mark.parametrize(("colour", "shape"), [("gray", (48, 48)), ("rgb", (48, 48, 3))])
@pytest.mark.parametrize("size", [(48, 48), (200, 100), (20, 31), (1, 500)])
@pytest.mark.parametrize("channels", [(), (3,)])
def test_every_picture_comes_out_square_and_in_the_colour_asked_for(
    colour: str, shape: tuple[int, ...], size: tuple[int, int], channels: tuple[int, ...]
) -> None:
    picture = RNG.integers(0, 256, (*size, *channels), dtype=np.uint8)
    out = Preprocessing(48, colour).apply(picture)
    assert out.shape == shape
    assert out.dtype == np.uint8


def test_a_picture_of_the_right_size_and_colour_comes_out_as_it_is() -> None:
    for colour, shape in (("gray", (48, 48)), ("rgb", (48, 48, 3))):
        picture = RNG.integers(0, 256, shape, dtype=np.uint8)
        assert (Preprocessing(48, colour).apply(picture) == picture).all()


def test_gray_is_bt601_luma_of_red_green_and_blue_in_that_order() -> None:
    pure = np.eye(3, dtype=np.uint8)[:, None] * np.uint8(255)
    gray = [int(Preprocessing(1).apply(colour[None])[0, 0]) for colour in pure]
    assert gray == [round(255 * share) for share in (0.299, 0.587, 0.114)]


def test_gray_becomes_three_equal_channels() -> None:
    gray = RNG.integers(0, 256, (8, 8), dtype=np.uint8)
    assert (Preprocessing(8, "rgb").apply(gray) == gray[..., None]).all()


def test_shrinking_is_the_mean_over_areas() -> None:
    fine = RNG.integers(0, 256, (8, 8), dtype=np.uint8)
    means = fine.reshape(4, 2, 4, 2).mean(axis=(1, 3))
    assert np.abs(Preprocessing(4).apply(fine) - means).max() <= 0.5


def test_growing_is_bilinear_and_keeps_to_the_values_there_are() -> None:
    coarse = np.array([[0, 200], [200, 0]], np.uint8)
    large = Preprocessing(16).apply(coarse)
    assert (large == cv2.resize(coarse, (16, 16), interpolation=cv2.INTER_LINEAR)).all()
    assert len(np.unique(large)) > 10


@pytest.mark.parametrize(("side", "colour"), [(0, "gray"), (-1, "rgb"), (48, "bgr"), (48, "")])
def test_what_is_no_preprocessing_is_refused(side: int, colour: str) -> None:
    with pytest.raises(ValueError, match=rf"side {side}, colour '{colour}'; valid are 1 and up, gray and rgb"):
        Preprocessing(side, colour)


def test_the_contract_has_all_that_the_shape_does_not_show() -> None:
    assert Preprocessing(96, "rgb").channels == 3
    assert Preprocessing(48).describe() == {"colour": "gray", "range": [0, 255], "resize": "area"}
