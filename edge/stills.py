"""`cuelens faces`: the faces of pictures, at every size and turn, with no frame before and none to come.

Where a film confirms a face over its frames, a still asks the verifier again about the same face slightly moved.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from edge.config import FaceSettings
from edge.faces import COVERED, LARGEST_SHARE, describe_face, nudge, settle
from edge.finders import open_finder
from edge.types import Face, Gray
from edge.verifier import FaceVerifier, Look
from edge.views import Pyramid, shared

ROLLS_DEG = tuple(float(roll_deg) for roll_deg in range(-75, 90, 15))
LEAST_SIDE = 24.0  # pixels: the cascade's own window
WEAK = 0.5  # of a part of quality: worth a word


class StillFinder:
    """Finds faces in one picture at a time; pure on arrays."""

    def __init__(self, settings: FaceSettings) -> None:
        """Load what proposes and what verifies; raises what they raise."""
        self._settings = settings
        self._finder = open_finder(settings.finder)
        self._verifier = FaceVerifier()

    def find(self, gray: Gray) -> list[Face]:
        """Return the faces of a luma picture, uint8 (height, width), nearest first; ids count from 1."""
        pyramid = Pyramid(gray)
        height, width = gray.shape
        looks: list[Look] = []
        for piece in self._finder.slices(width, height, (LEAST_SIDE, LARGEST_SHARE * min(width, height)), ROLLS_DEG):
            for proposal in self._finder.scan(pyramid, piece):
                look, _ = settle(self._verifier, pyramid, proposal)
                if look.score >= self._settings.admit and look.spot.side >= LEAST_SIDE:
                    looks.append(look)
        looks.sort(key=lambda look: look.score, reverse=True)
        kept: list[Look] = []
        for look in looks:
            if all(shared(other.spot, look.spot) < COVERED for other in kept):
                kept.append(Look(look.spot, nudge(self._verifier, pyramid, look.spot)))
        sure = [look for look in kept if look.score >= self._settings.confirm]
        faces = [
            describe_face(pyramid, look.spot, number, look.score, self._settings.fov_deg)
            for number, look in enumerate(sure, 1)
        ]
        return sorted(faces, key=lambda face: face.distance_m)


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
