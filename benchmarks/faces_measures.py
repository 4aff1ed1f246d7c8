"""Measures of found faces, pure functions of boxes or numbers: turned frames, ids and their switches, cost."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from edge.runtime.metrics import percentile
from edge.types import Box, Gray
from edge.vision.views import Spot, overlap, wrap_deg

Seen = tuple[float, Sequence[tuple[int, Box]]]  # t of a frame, and the ids and boxes in it, nearest first
EYES_SHARE, EYES_APART = 0.6, 0.25  # of the face's height, from the top; of its side
LARGEST_OWN_DEG = 12.0  # roll of a face that is called upright
ANGLES_DEG = range(-180, 180, 20)
SURROUNDINGS = 2.0  # faces: the least side of a turned picture
METHODS = {"plain": "plain Haar", "still": "one picture", "film": "30 frames"}
OFF, NARROWEST, WIDEST = 0.5, 0.6, 1.6  # of the true face's side: how far from it a box may be, and how wide
LEVEL_DEG = 10.0  # roll error up to which a face is cut out upright
SAME_PLACE, LOST_S = 0.3, 2.0  # intersection over union; seconds for which a lost face's place is its own
WARMUP_FRAMES, KEPT_FRAMES = 60, 150


@dataclass(frozen=True, slots=True)
class Turned:
    """A turned frame of a clip: each method's roll error in degrees, None where it did not find the face."""

    clip: str
    angle_deg: float
    error_deg: Mapping[str, float | None]


def spot_of(box: Box, roll_deg: float = 0.0) -> Spot:
    """Return the square of a box, turned by `roll_deg`."""
    x, y, width, height = box
    return Spot(x + (width - 1) / 2, y + (height - 1) / 2, float(width), roll_deg)


def match(spots: Sequence[Spot], truth: Spot) -> Spot | None:
    """Return the nearest of the spots that are near and alike enough to be the true face; None without one."""

    def off(spot: Spot) -> float:
        return float(np.hypot(spot.cx - truth.cx, spot.cy - truth.cy)) / truth.side

    fitting = (spot for spot in spots if off(spot) <= OFF and NARROWEST <= spot.side / truth.side <= WIDEST)
    return min(fitting, key=off, default=None)


def eyes_roll_deg(eyes: Sequence[Box], side: float) -> float | None:
    """Return the roll by exactly two eyes in a face of `side` pixels; None where they are no level pair."""
    if len(eyes) != 2:
        return None
    left, right = sorted((spot_of(eye) for eye in eyes), key=lambda eye: eye.cx)
    roll_deg = float(np.rad2deg(np.arctan2(right.cy - left.cy, right.cx - left.cx)))
    return roll_deg if right.cx - left.cx >= EYES_APART * side and abs(roll_deg) < LARGEST_OWN_DEG else None


def tally(rows: Sequence[Turned]) -> dict[str, Any]:
    """Count turned frames: each method's share found, and of those the share level (None without any)."""
    result: dict[str, Any] = {"turned": len(rows)}
    for method in METHODS:
        errors_deg = [error for row in rows if (error := row.error_deg[method]) is not None]
        result[method] = share(len(errors_deg), len(rows))
        if method != "plain":  # which finds no roll
            result[f"{method}_level"] = share(sum(abs(error) <= LEVEL_DEG for error in errors_deg), len(errors_deg))
    return result


def share(part: float, whole: float) -> float | None:
    """Return part of whole, None where there is nothing."""
    return round(part / whole, 4) if whole else None


def nearest_switches(film: Iterable[Seen]) -> int:
    """Count how often the nearest face's id changes from one frame with a face to the next such frame."""
    ids = [faces[0][0] for _, faces in film if faces]
    return sum(a != b for a, b in itertools.pairwise(ids))


def place_switches(film: Iterable[Seen]) -> int:
    """Count how often a face in its place has another id: from frame to frame, or where a lost one was last seen."""
    switches = 0
    last: dict[int, tuple[float, Spot]] = {}
    before: dict[int, Spot] = {}
    for t, faces in film:
        now = {number: spot_of(box) for number, box in faces}
        for number, spot in now.items():
            there = max(before, key=lambda other: overlap(before[other], spot), default=number)
            if there in before and overlap(before[there], spot) > SAME_PLACE:
                switches += there != number
            elif number not in before:
                lost = {
                    other: np.hypot(place.cx - spot.cx, place.cy - spot.cy)
                    for other, (seen, place) in last.items()
                    if t - seen <= LOST_S and (other == number or other not in now)
                }
                nearest = min(lost, key=lost.__getitem__, default=number)
                switches += nearest != number and bool(lost[nearest] <= spot.side)
        last |= {number: (t, spot) for number, spot in now.items()}
        before = now
    return switches


def describe_film(film: Sequence[Seen], plain: Sequence[int] | None, n_faces: int) -> dict[str, Any]:
    """Measure what was found in each frame of a clip; `plain` is how many faces plain Haar found in each, if it ran."""
    frames: dict[int, list[int]] = {}
    for index, (_, faces) in enumerate(film):
        for number, _ in faces:
            frames.setdefault(number, []).append(index)
    with_face = sum(bool(faces) for _, faces in film)
    plain_with_face = None if plain is None else sum(count > 0 for count in plain)
    return {
        "n_faces": n_faces,
        "frames": len(film),
        "with_face": with_face,
        "plain_rate": None if plain_with_face is None else share(plain_with_face, len(film)),
        "rate": share(with_face, len(film)),
        "plain_faces_a_frame": None if plain is None else share(sum(plain), len(film)),
        "faces_a_frame": share(sum(len(faces) for _, faces in film), len(film)),
        "ids": [{"id": n, "first": at[0], "last": at[-1], "frames": len(at)} for n, at in sorted(frames.items())],
        "switches": nearest_switches(film) if n_faces == 1 else place_switches(film),
        "worse": n_faces > 0 and plain_with_face is not None and with_face < plain_with_face,
    }


def describe_cost(rows: npt.NDArray[np.float64]) -> dict[str, float]:
    """Summarise float (frames, 4): CPU ms, looks, windows and faces of each frame, the first ones the warm-up."""
    steady = rows[WARMUP_FRAMES:]
    ms, looks, windows, found = steady.mean(axis=0).tolist()
    p50, p99 = (percentile(steady[:, 0].tolist(), percent) for percent in (50, 99))
    values = {"p50_ms": p50, "p99_ms": p99, "mean_ms": ms, "first_ms": float(rows[0, 0])}
    return {name: round(v, 3) for name, v in (values | {"looks": looks, "windows": windows, "found": found}).items()}


def split_cost(rows: npt.NDArray[np.float64]) -> dict[str, float]:
    """Split the CPU ms of float (frames, 4), as in `describe_cost`, by least squares; `r2` is what that explains."""
    terms = np.column_stack([np.ones(len(rows)), rows[:, 1], rows[:, 2] / 1000])
    parts, *_ = np.linalg.lstsq(terms, rows[:, 0], rcond=None)
    r2 = 1 - np.var(rows[:, 0] - terms @ parts) / max(np.var(rows[:, 0]), 1e-12)
    names = ("frame_ms", "look_ms", "thousand_windows_ms", "r2")
    return {name: round(value, 4) for name, value in zip(names, [*parts.tolist(), float(r2)], strict=True)}


def turn(gray: Gray, face: Spot, angle_deg: float) -> tuple[Gray, Spot]:
    """Turn a frame clockwise about the middle of its face, which comes to the picture's middle; edges are repeated.

    The picture is as large as the frame, or SURROUNDINGS faces where that is more; returns it and the face in it.
    """
    cx, cy = round(face.cx), round(face.cy)
    height, width = (max(side, round(SURROUNDINGS * face.side)) for side in gray.shape)
    matrix = cv2.getRotationMatrix2D((cx, cy), -angle_deg, 1.0)  # OpenCV turns counter-clockwise
    matrix[:, 2] += width // 2 - cx, height // 2 - cy
    turned = cv2.warpAffine(gray, matrix, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    truth = Spot(float(width // 2), float(height // 2), face.side, wrap_deg(face.roll_deg + angle_deg))
    return turned.astype(np.uint8, copy=False), truth
