"""Drawn faces that the verifier learns to turn down: what they look like, and that the network that ships does."""

from __future__ import annotations

import numpy as np

from edge.vision.verifier import FaceVerifier
from edge.vision.views import Pyramid, Spot
from training.faces.drawings import draw_drawings
from training.faces.views import PATCH_SHARE, PATCH_SIDE


def test_drawings_are_of_a_seed_and_differ() -> None:
    drawn = draw_drawings(40, np.random.default_rng(5))
    assert drawn.shape == (40, PATCH_SIDE, PATCH_SIDE)
    assert drawn.dtype == np.uint8
    assert np.array_equal(drawn, draw_drawings(40, np.random.default_rng(5)))
    assert len(np.unique(drawn.reshape(40, -1), axis=0)) == 40
    assert draw_drawings(0, np.random.default_rng(5)).shape == (0, PATCH_SIDE, PATCH_SIDE)


def test_a_drawing_has_a_head_that_fills_the_proposal_and_marks_on_it() -> None:
    drawn = draw_drawings(200, np.random.default_rng(6)).astype(int)
    inner = round(PATCH_SIDE * PATCH_SHARE / 2)
    middle = slice(PATCH_SIDE // 2 - inner, PATCH_SIDE // 2 + inner)
    border = np.concatenate([drawn[:, :3].reshape(200, -1), drawn[:, -3:].reshape(200, -1)], axis=1)
    assert (np.ptp(border, axis=1) == 0).all(), "nothing but the background lies at the picture's edge"
    assert (np.ptp(drawn[:, middle, middle].reshape(200, -1), axis=1) >= 40).mean() > 0.9


def test_the_verifier_that_ships_turns_drawn_faces_down() -> None:
    verifier, side = FaceVerifier(), PATCH_SIDE
    drawn = draw_drawings(200, np.random.default_rng(7))  # no fit began with this seed
    scores = np.array(
        [
            verifier.look(Pyramid(picture), Spot((side - 1) / 2, (side - 1) / 2, PATCH_SHARE * side)).score
            for picture in drawn
        ]
    )
    assert (scores > 2).mean() < 0.05
