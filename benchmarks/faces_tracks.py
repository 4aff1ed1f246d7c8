"""`cuelens-bench faces tracks`: every frame of films beside another detector's boxes: is a face there, and on the face?

The other boxes are MediaPipe's, which benchmarks/peers/boxes.py writes in an environment of its own.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from fnmatch import fnmatch
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.faces_clips import spread
from benchmarks.faces_measures import share, spot_of
from benchmarks.result import table
from edge.errors import DataMissing, DataUnreadable
from edge.settings import FaceSettings
from edge.sources import open_source
from edge.types import Box, Face
from edge.vision.faces import FaceFinder
from edge.vision.views import overlap

ON, WIDE = 0.2, 1.4  # least intersection over union with a true box; most of the film's usual width beside it
COUNTS = ("frames", "with_face", "boxes", "none", "wide", "read", "read_none", "read_wide")
SHARES = ("frames_with_face", "boxes_off", "read_off", "unread")
DEFINITIONS = {
    "with_face": "frames with any box of ours",
    "none": f"boxes of ours that share under {ON:g} (intersection over union) with every box of the reference in that "
    "frame; where it has none, with its newest before",
    "wide": f"others that are over {WIDE:g} times as wide as the reference's, beside the median of the film",
    "read": "boxes whose face may be read; read_none and read_wide count among them",
    "frames_with_face": "with_face of frames",
    "boxes_off": "none and wide of boxes",
    "read_off": "read_none and read_wide of read",
    "unread": "share of boxes that may not be read",
}


def judge_film(film: Sequence[Sequence[Face]], truth: Sequence[Sequence[Box]]) -> dict[str, int]:
    """Count COUNTS over a film: our faces of each frame beside the reference's boxes, likeliest first."""
    newest: Sequence[Box] = ()
    pairs: list[tuple[Face, float, float]] = []  # a face of ours, what it shares with the best of the boxes, widths
    for faces, boxes in zip(film, truth, strict=True):
        newest = boxes or newest
        for face in faces:
            shares = [overlap(spot_of(face.box), spot_of(box)) for box in newest]
            best = int(np.argmax(shares)) if shares else None
            pairs.append(
                (face, 0.0, 0.0) if best is None else (face, shares[best], face.box[2] / max(newest[best][2], 1.0))
            )
    usual = float(np.median([ratio for _, part, ratio in pairs if part >= ON] or [1.0]))
    none = [(face, part < ON) for face, part, _ in pairs]
    wide = [(face, part >= ON and ratio > WIDE * usual) for face, part, ratio in pairs]
    return {
        "frames": len(film),
        "with_face": sum(bool(faces) for faces in film),
        "boxes": len(pairs),
        "none": sum(is_none for _, is_none in none),
        "wide": sum(is_wide for _, is_wide in wide),
        "read": sum(face.readable for face, _, _ in pairs),
        "read_none": sum(is_none and face.readable for face, is_none in none),
        "read_wide": sum(is_wide and face.readable for face, is_wide in wide),
    }


def find_film(path: Path, truth: dict[str, list[list[Box]]]) -> dict[str, Any]:
    """Find the faces of a film's every frame and judge them by the reference's boxes; raises what the source raises."""
    finder = FaceFinder(FaceSettings())
    film = [finder.find(frame.gray, frame.t) for frame in open_source(f"file:{path}", live=False).frames()]
    boxes = truth[path.name]
    length = min(len(film), len(boxes))
    if max(len(film), len(boxes)) - length > 1:  # decoders of two OpenCVs may differ by a frame at a film's end
        raise DataUnreadable(f"{path}: {len(film)} frames, the boxes are of {len(boxes)}; write them of this film")
    return {"film": path.name} | judge_film(film[:length], boxes[:length])


def read_boxes(path: Path) -> dict[str, list[list[Box]]]:
    """Read the boxes of each film's frames that benchmarks/peers/boxes.py wrote; raises DataMissing, DataUnreadable."""
    try:
        films = json.loads(path.read_text(encoding="utf-8"))
        return {name: [[_as_box(*face) for face in faces] for faces in frames] for name, frames in films.items()}
    except OSError as error:
        raise DataMissing(f"{path}: {error.strerror}; write it with benchmarks/peers/boxes.py") from error
    except json.JSONDecodeError as error:
        raise DataUnreadable(f"{path}: not JSON: {error}; write it with benchmarks/peers/boxes.py") from error
    except (ValueError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        raise DataUnreadable(
            f"{path}: not the boxes of films, score, x, y, width and height by film, frame and face ({error}); "
            "write it with benchmarks/peers/boxes.py"
        ) from error


def _as_box(_score: float, x: float, y: float, width: float, height: float) -> Box:
    return round(x), round(y), round(width), round(height)


def measure_tracks(args: argparse.Namespace) -> dict[str, Any]:
    """Judge every film that has boxes of the reference; returns counts by film and over all, and shares over all."""
    truth = read_boxes(args.boxes)
    films = [args.clips / name for name in truth if fnmatch(name, args.only)]
    if not truth:
        raise DataMissing(f"{args.boxes}: has no film; write it with benchmarks/peers/boxes.py")
    if not films:
        raise DataMissing(f"{args.boxes}: no film in it is called {args.only}; it has {', '.join(truth)}")
    rows = spread(partial(find_film, truth=truth), films, "film")
    whole = {name: sum(row[name] for row in rows) for name in COUNTS}
    return {
        "films": rows,
        "whole": whole,
        "frames_with_face": share(whole["with_face"], whole["frames"]),
        "boxes_off": share(whole["none"] + whole["wide"], whole["boxes"]),
        "read_off": share(whole["read_none"] + whole["read_wide"], whole["read"]),
        "unread": share(whole["boxes"] - whole["read"], whole["boxes"]),
    }


def describe_tracks(result: Mapping[str, Any]) -> str:
    """Lay out the counts by film and the shares over all."""
    rows = table([*result["films"], {"film": "all"} | result["whole"]])
    return f"{rows}\n\n{', '.join(f'{name} {result[name]}' for name in SHARES)}"
