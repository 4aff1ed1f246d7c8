"""Beside the loop, until a face was ever seen upright: is it the picture that is turned? A slice of a frame at a time.

The face finder looks for upright heads. A camera that hangs upside down gives it none, and nobody to read.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator

from edge.settings import FaceSettings
from edge.types import Gray
from edge.vision.faces import nudge, settle
from edge.vision.finders import Finder, Slice
from edge.vision.finders.haar import HaarFinder
from edge.vision.search import LARGEST_SHARE
from edge.vision.verifier import FaceVerifier
from edge.vision.views import Pyramid, Spot, wrap_deg

TURNS_DEG = (180.0, 90.0, -90.0)  # of heads, clockwise as seen
NEAR_SIDE = 48.0  # pixels: whoever mounts a camera sits before it, and wider faces cost a quarter of the search
SURE = 9.0  # log odds over three views of the same face, of 12 at most: clutter is never so sure of itself
ENOUGH = 3  # frames
EVERY = 8  # frames of a live run between slices: an eighth of what the search for new faces costs


class OverturnWatch:
    """Looks for faces that lie on their sides or stand on their heads; pure on frames."""

    def __init__(self, settings: FaceSettings, verifier: FaceVerifier, finder: Finder | None = None) -> None:
        """Take the run's verifier and finder, which is loaded where it is None; raises what that raises."""
        self._settings = settings
        self._verifier = verifier
        self._finder = finder or HaarFinder()
        self._hits: Counter[float] = Counter()
        self._frames = 0
        self._slices: Iterator[Slice] = iter(())
        self._shape = (0, 0)
        self._again: Slice | None = None  # where a face was just seen

    def look(self, gray: Gray, every: int = 1) -> float | None:
        """Search one slice of each `every`th frame; returns by how many degrees heads are turned, once that is sure.

        `gray` is uint8 (height, width), in which nobody is seen upright.
        """
        self._frames += 1
        if self._frames % every:
            return None
        if gray.shape != self._shape:
            self._shape, self._again = gray.shape, None
            height, width = gray.shape
            sides = (NEAR_SIDE, LARGEST_SHARE * min(width, height))
            pieces = self._finder.slices(width, height, sides, TURNS_DEG)
            self._slices = itertools.cycle(sorted(pieces, key=lambda piece: -piece.side))
        piece = self._again or next(self._slices, None)
        if piece is None:  # a picture too small for any
            return None
        pyramid = Pyramid(gray)
        for proposal in self._finder.scan(pyramid, piece):
            if self._is_face(pyramid, proposal):
                self._hits[piece.roll_deg] += 1
                self._again = piece
                break
        else:
            self._again = None
        turn_deg, hits = max(self._hits.items(), key=lambda item: item[1], default=(0.0, 0))
        return turn_deg if hits >= ENOUGH else None

    def _is_face(self, pyramid: Pyramid, proposal: Spot) -> bool:
        look, _ = settle(self._verifier, pyramid, proposal)
        if look.score < self._settings.admit or abs(wrap_deg(look.spot.roll_deg - proposal.roll_deg)) > 45:
            return False
        other = self._verifier.look(pyramid, look.spot.moved(0.0, 0.0, 1.0, 180.0))
        return other.score < look.score and nudge(self._verifier, pyramid, look.spot) >= SURE
