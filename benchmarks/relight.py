"""`cuelens-bench faces light`: clips with less light, or lit from behind, by known factors; what is found beside Haar.

A frame is darkened as a sensor without automatic exposure would see it: fewer levels, their noise, whole levels again.
"""

from __future__ import annotations

import argparse
import functools
import itertools
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np

from benchmarks.faces_clips import Clip, read_clips, spread
from benchmarks.faces_haar import find_plain
from benchmarks.faces_measures import share, spot_of
from edge.settings import FaceSettings
from edge.sources import open_source
from edge.types import Box, Gray
from edge.vision.faces import FaceFinder

FACTORS = (1.0, 0.5, 0.35, 0.25)  # of the light that is left
KINDS = ("dim", "behind")
READ_NOISE, SHOT_NOISE = 1.5, 0.2  # levels, and levels by the root of a level: standard deviations of a small sensor's
WINDOW_LIGHT = 0.25  # of a background's darkness that is left where it is a window
GLARE = 10.0  # levels that a window adds to what stands before it
HEAD, SHOULDERS = (0.62, 0.8), 1.4  # sides from a face's middle: half the head's width and height, half the shoulders'
EDGE = 0.12  # sides: how soft the outline is
# What plain Haar finds there is a shelf: the faces are 20 pixels wide, less than either of the two looks for.
NO_FACE_SEEN = frozenset({"classroom.mp4"})
DEFINITIONS = {
    "dim": "every level times the factor, then noise of a small sensor, whole levels again",
    "behind": f"the same on the person (an oval and shoulders by plain Haar's box at full light), {GLARE:g} levels of "
    "glare on it, a bright window around",
    "of_frames": "measured frames of clips that show faces; not of classroom.mp4, whose faces neither looks for",
    "found": "share of them with any face; plain: by plain Haar in the same frames",
    "false": "faces in clips without any, and more faces in a frame than the clip has; plain: plain Haar's",
}


def dim(gray: Gray, factor: float, rng: np.random.Generator) -> Gray:
    """Return a frame, uint8 (height, width), with `factor` of its light."""
    return expose(gray * np.float32(factor), rng)


def expose(levels: np.typing.NDArray[np.float32], rng: np.random.Generator) -> Gray:
    """Add a sensor's noise to levels, float32 (height, width), and return them as whole ones, uint8."""
    deviation = np.sqrt(READ_NOISE**2 + SHOT_NOISE**2 * np.maximum(levels, 0))
    noisy = levels + rng.standard_normal(levels.shape, np.float32) * deviation
    return np.clip(np.round(noisy), 0, 255).astype(np.uint8)


def outline(shape: tuple[int, ...], box: Box) -> np.typing.NDArray[np.float32]:
    """Return how much of each pixel, float32 (height, width) of 0 to 1, the person of a face's box covers."""
    face = spot_of(box)
    mask = np.zeros(shape[:2], np.float32)
    middle = round(face.cx), round(face.cy)
    axes = round(HEAD[0] * face.side), round(HEAD[1] * face.side)
    cv2.ellipse(mask, middle, axes, 0.0, 0.0, 360.0, 1.0, -1)
    left, right = (round(face.cx + sign * SHOULDERS * face.side) for sign in (-1, 1))
    neck, shoulders = round(face.cy + 0.5 * face.side), round(face.cy + 1.1 * face.side)
    inner = [round(face.cx + sign * 0.4 * face.side) for sign in (-1, 1)]
    corners = [
        (inner[0], neck),
        (inner[1], neck),
        (right, shoulders),
        (right, shape[0]),
        (left, shape[0]),
        (left, shoulders),
    ]
    cv2.fillPoly(mask, [np.array(corners, np.int32)], 1.0)
    return np.asarray(cv2.GaussianBlur(mask, (0, 0), max(EDGE * face.side, 0.5)), np.float32)


def light_from_behind(gray: Gray, boxes: Sequence[Box], factor: float, rng: np.random.Generator) -> Gray:
    """Return a frame whose people have `factor` of their light and stand in front of a window."""
    persons = np.zeros(gray.shape, np.float32)
    for box in boxes:
        persons = np.maximum(persons, outline(gray.shape, box))
    levels = gray.astype(np.float32)
    window = 255 - (255 - levels) * np.float32(WINDOW_LIGHT)
    return expose((levels * np.float32(factor) + np.float32(GLARE)) * persons + window * (1 - persons), rng)


def measure_clip(clip: Clip, frames: int, every: int) -> list[dict[str, Any]]:
    """Find the faces of a clip's first `frames` in every light; plain Haar looks at one frame of `every`."""
    film = list(itertools.islice(open_source(f"file:{clip.path}", live=False).frames(), frames))
    boxes: list[list[Box]] = []
    for index, frame in enumerate(film):
        found = find_plain(frame.gray) if index % every == 0 else []
        boxes.append(found or (boxes[-1] if boxes else []))
    rows, shown = [], clip.n_faces > 0 and clip.path.name not in NO_FACE_SEEN
    for kind, factor in itertools.product(KINDS, FACTORS):
        rng, finder = np.random.default_rng((int(100 * factor), KINDS.index(kind))), FaceFinder(FaceSettings())
        ours, plain = [], []
        for index, (frame, persons) in enumerate(zip(film, boxes, strict=True)):
            gray = (
                dim(frame.gray, factor, rng) if kind == "dim" else light_from_behind(frame.gray, persons, factor, rng)
            )
            faces = len(finder.find(gray, frame.t))
            if index % every == 0:
                ours.append(faces)
                plain.append(len(find_plain(gray)))
        rows.append(
            {"clip": clip.path.name, "light": kind, "factor": factor} | count(ours, plain, clip.n_faces, shown=shown)
        )
    return rows


def count(ours: Sequence[int], plain: Sequence[int], n_faces: int, *, shown: bool) -> dict[str, int]:
    """Count frames with a face, where one is `shown`, and faces beyond those that are there: ours and plain Haar's."""
    return {
        "of_frames": len(ours) if shown else 0,
        "found": sum(map(bool, ours)) if shown else 0,
        "plain_found": sum(map(bool, plain)) if shown else 0,
        "false": sum(max(0, number - n_faces) for number in ours),
        "plain_false": sum(max(0, number - n_faces) for number in plain),
    }


def sum_up(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Sum the clips' counts by light and factor, and return shares of the frames with a face, beside plain Haar's."""
    result = []
    for kind, factor in itertools.product(KINDS, FACTORS):
        of = [row for row in rows if (row["light"], row["factor"]) == (kind, factor)]
        total = {name: sum(row[name] for row in of) for name in count([], [], 0, shown=False)}
        result.append(
            {
                "light": kind,
                "factor": factor,
                "of_frames": total["of_frames"],
                "found": share(total["found"], total["of_frames"]),
                "plain_found": share(total["plain_found"], total["of_frames"]),
                "false": total["false"],
                "plain_false": total["plain_false"],
            }
        )
    return result


def measure_light(args: argparse.Namespace) -> dict[str, Any]:
    """Find the faces of clips in less and less light; returns shares by light, beside plain Haar's."""
    clips = read_clips(args.clips, args.only)
    parts = spread(functools.partial(measure_clip, frames=args.frames, every=args.every), clips, "clip")
    rows = [row for part in parts for row in part]
    return {"frames": args.frames, "every": args.every, "by_light": sum_up(rows), "by_clip": rows}
