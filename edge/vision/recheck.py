"""A new look at a known face: whether it is still one, and of that place and size, or has slid onto something else.

A track follows its own last look, so that it may drift, or swell, without any one look being far off. What is no face
answers differently from nearer and from farther; and a proposal inside a box that swelled finds the face in it.
"""

from __future__ import annotations

from itertools import islice

import numpy as np

from edge.vision.finders.net import NetFinder
from edge.vision.verifier import FaceVerifier, Look
from edge.vision.views import Pyramid, Spot, wrap_deg

SCALES = (0.76, 1.28)  # of the side: within what the verifier mends, 0.70 to 1.43
FRESH_LOOKS = 4  # that stands() takes
SAME_PLACE, SAME_SIZE, SAME_TURN_DEG = 0.22, 0.25, 30.0  # sides, logarithm, degrees within which two looks agree
INSIDE = 0.75  # of the side, about which a face is proposed inside a box
MOST_INSIDE = 3  # such proposals that are verified


def agree(a: Spot, b: Spot, slack: float = 1.0) -> bool:
    """Return whether two looks found the same face: place, size and turn, `slack` times as far off as usual at most."""
    side = min(a.side, b.side)
    return bool(
        np.hypot(a.cx - b.cx, a.cy - b.cy) < slack * SAME_PLACE * side
        and abs(np.log(a.side / b.side)) < slack * SAME_SIZE
        and abs(wrap_deg(a.roll_deg - b.roll_deg)) < slack * SAME_TURN_DEG
    )


def stands(verifier: FaceVerifier, pyramid: Pyramid, spot: Spot, least: float, slack: float = 1.0) -> bool:
    """Look at a spot from nearer and from farther, twice each: whether both come to the same face.

    `least` is the sum of their log odds. One look mends half of a size's error, so that only the second can be held to.
    """
    looks = [verifier.look(pyramid, spot.moved(0.0, 0.0, scale)) for scale in SCALES]
    near, far = (verifier.look(pyramid, look.spot) for look in looks)
    return near.score + far.score >= least and agree(near.spot, far.spot, slack)


def find_inside(
    proposer: NetFinder, verifier: FaceVerifier, pyramid: Pyramid, spot: Spot, least: float
) -> tuple[Look | None, int]:
    """Search a box for a face that stands, `least` log odds at least: the likeliest, and the looks spent."""
    best: Look | None = None
    looks = 0
    for proposal in islice(proposer.around(pyramid, spot, (INSIDE * spot.side,)), MOST_INSIDE):
        look = verifier.look(pyramid, verifier.look(pyramid, proposal).spot)
        looks += 2
        if look.score >= least and (best is None or look.score > best.score):
            looks += FRESH_LOOKS
            best = look if stands(verifier, pyramid, look.spot, least) else best
    return best, looks
