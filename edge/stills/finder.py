"""`cuelens faces`: the faces of pictures, at every size and turn, with no frame before and none to come.

picture -> proposals at every turn by a small network -> the verifier's second opinion -> again, slightly moved.
"""

from __future__ import annotations

import contextlib
import math
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from edge.errors import CuelensError, printable
from edge.settings import FaceSettings
from edge.types import Face, Gray
from edge.vision.faces import COVERED, describe_face, nudge, settle
from edge.vision.finders.net import NetFinder
from edge.vision.recheck import stands
from edge.vision.search import LARGEST_SHARE
from edge.vision.verifier import FaceVerifier, Look
from edge.vision.views import Pyramid, Spot, shared

LEAST_SIDE = 24.0  # pixels: below it a face looks like clutter
MOST_FINE = 16e6  # pixels of a picture that is searched for faces so small; in larger ones they are larger too
OTHER_TURNS_DEG = (180.0, 90.0, -90.0)  # asked where the verifier finds no face as the proposal is turned
SLACK = 2.0  # times as far as in a film those may differ: a picture has no next frame in which they agree
SURE = 5.0  # log odds, summed, of the looks at a face from nearer and from farther: no film will deny it later
WEAK = 0.5  # of a part of quality: worth a word
PROGRESS_AFTER = 1.0  # seconds of a picture's search after which a person wants to see it go on

Progress = Callable[[float], None]  # takes the share that is done, 0 to 1


class StillFinder:
    """Finds faces in one picture at a time; pure on arrays."""

    def __init__(self, settings: FaceSettings) -> None:
        """Load what proposes and what verifies; raises what they raise."""
        self._settings = settings
        self._finder = NetFinder()
        self._verifier = FaceVerifier()

    def find(self, gray: Gray, progress: Progress | None = None) -> list[Face]:
        """Return the faces of a luma picture, uint8 (height, width), nearest first; ids count from 1."""
        pyramid = Pyramid(gray)
        looks = sorted(self._search(pyramid, progress), key=lambda look: look.score, reverse=True)
        kept: list[Look] = []
        for look in looks:
            if all(shared(other.spot, look.spot) < COVERED for other in kept):
                kept.append(Look(look.spot, nudge(self._verifier, pyramid, look.spot)))
        sure = [look for look in kept if look.score >= self._settings.confirm and self._stands(pyramid, look)]
        faces = [
            describe_face(pyramid, look.spot, number, look.score, self._settings.fov_deg)
            for number, look in enumerate(sure, 1)
        ]
        return sorted(faces, key=lambda face: face.distance_m)

    def _stands(self, pyramid: Pyramid, look: Look) -> bool:
        return stands(self._verifier, pyramid, look.spot, SURE, SLACK)

    def _search(self, pyramid: Pyramid, progress: Progress | None) -> Iterator[Look]:
        """Yield what the verifier takes for a face of what is proposed."""
        sides = least_side(pyramid.width, pyramid.height), LARGEST_SHARE * min(pyramid.width, pyramid.height)
        pieces = self._finder.slices(pyramid.width, pyramid.height, sides, (0.0,))
        for number, piece in enumerate(pieces):
            if progress is not None:
                progress(number / len(pieces))
            for proposal in self._finder.scan(pyramid, piece):
                look = self._judge(pyramid, proposal)
                if look is not None and look.spot.side >= LEAST_SIDE:
                    yield look

    def _judge(self, pyramid: Pyramid, proposal: Spot) -> Look | None:
        """Look at a proposal as it is turned, and otherwise at the other turns; None where none shows a face."""
        first = self._verifier.look(pyramid, proposal)
        for turn_deg in (0.0, *OTHER_TURNS_DEG):
            look = first if not turn_deg else self._verifier.look(pyramid, proposal.moved(0.0, 0.0, 1.0, turn_deg))
            if look.score >= self._settings.admit:
                settled, _ = settle(self._verifier, pyramid, look.spot)
                if settled.score >= self._settings.admit:
                    return settled
        return None


def least_side(width: int, height: int) -> float:
    """Return how wide the smallest faces are that a picture of this size is searched for."""
    return LEAST_SIDE * max(1.0, math.sqrt(width * height / MOST_FINE))


@contextlib.contextmanager
def watching(path: Path) -> Iterator[Progress | None]:
    """Give what shows on a terminal how far a picture's search is, in one line that goes at the end; None elsewhere."""
    if not sys.stderr.isatty():
        yield None
        return
    begun = time.monotonic()
    shown = False

    def show(share: float) -> None:
        nonlocal shown
        if time.monotonic() - begun > PROGRESS_AFTER:
            shown = True
            print(f"\r{printable(path.name)}: {share:.0%} searched\x1b[K", end="", file=sys.stderr, flush=True)

    try:
        yield show
    finally:
        if shown:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)


def face_record(face: Face) -> dict[str, Any]:
    """Return a face as JSON-ready values; the box is x, y, width, height of the face before it was turned."""
    return {
        "box": list(face.box),
        "roll_deg": face.roll_deg,
        "score": face.score,
        "distance_m": face.distance_m,
        "distance_error_m": face.distance_error_m,
        "quality": {name: round(value, 3) for name, value in asdict(face.quality).items()},
    }


def still_record(path: Path, faces: Sequence[Face]) -> dict[str, Any]:
    """Return a picture's faces as JSON-ready values."""
    return {"path": str(path), "faces": [face_record(face) for face in faces]}


def failed_record(path: Path, error: CuelensError) -> dict[str, Any]:
    """Return why a picture was not read as JSON-ready values: the cause's identifier, and the sentence."""
    return {"path": str(path), **error.as_values()}


def describe_face_still(face: Face) -> str:
    """Return where a face of a picture is, how far away and what is poor in it, as a line for a person."""
    x, y, side, _ = face.box
    weak = [name for name, value in asdict(face.quality).items() if value < WEAK]
    return (
        f"  {side} pixels wide at ({x}, {y}), turned {face.roll_deg:+.0f} degrees, "
        f"{face.distance_m:.1f} +- {face.distance_error_m:.1f} m away, log odds {face.score:.1f}"
        + (f"; poor {', '.join(weak)}" if weak else "")
    )


def describe_still(path: Path, faces: Sequence[Face]) -> str:
    """Return a picture's faces as lines for a person."""
    lines = [f"{path}: {len(faces)} face{'' if len(faces) == 1 else 's'}"]
    return "\n".join([*lines, *map(describe_face_still, faces)])
