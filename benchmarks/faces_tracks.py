"""`cuelens-bench faces tracks`: every frame of films beside another detector's boxes: is a face there, and on the face?

The other boxes are MediaPipe's, which benchmarks/peers/boxes.py writes in an environment of its own. Each film is also
played with small changes, which move no box off its face: a tracker that is right once may be so by luck.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.faces_clips import spread
from benchmarks.faces_measures import share, spot_of
from benchmarks.result import table
from edge.errors import DataMissing, DataUnreadable
from edge.settings import FaceSettings
from edge.sources import open_source
from edge.types import Box, Face, Gray
from edge.vision.faces import FaceFinder
from edge.vision.views import overlap

ON, WIDE = 0.2, 1.4  # least intersection over union with a true box; most of the film's usual width beside it
COUNTS = ("frames", "with_face", "boxes", "none", "wide", "read", "read_none", "read_wide")
SHARES = ("frames_with_face", "boxes_off", "read_off", "unread")


@dataclass(frozen=True, slots=True)
class Change:
    """What is changed of each frame of a film: mirrored, then moved by pixels, its borders repeated, then lit."""

    mirrored: bool = False
    right: int = 0
    down: int = 0
    light: float = 1.0

    def apply(self, gray: Gray) -> Gray:
        """Return the changed frame, uint8 (height, width)."""
        frame = gray[:, ::-1] if self.mirrored else gray
        rows, columns = (
            np.clip(np.arange(length) - by, 0, length - 1)
            for length, by in zip(gray.shape, (self.down, self.right), strict=True)
        )
        moved = frame[np.ix_(rows, columns)]
        return moved if self.light == 1 else np.clip(moved * self.light, 0, 255).astype(np.uint8)

    def place(self, box: Box, width: int) -> Box:
        """Return where a box is in the changed frame, which is `width` pixels wide."""
        x, y, wide, tall = box
        return (width - x - wide if self.mirrored else x) + self.right, y + self.down, wide, tall


CHANGES = {
    "none": Change(),
    "mirrored": Change(mirrored=True),
    "moved": Change(right=5, down=3),
    "moved back": Change(right=-3, down=-4),
    "darker": Change(light=0.7),
    "lighter": Change(light=1.25),
}
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
    "changes": "the same over all films, each played once with each change: mirrored, moved by a few pixels, with less "
    "and more light; `none` is the films as they are, to which the shares without `changed_` belong",
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


def find_film(task: tuple[Path, str], truth: dict[str, list[list[Box]]]) -> dict[str, Any]:
    """Find the faces of every frame of a film with one of CHANGES, and judge them by the reference's boxes.

    Raises what the source raises, and DataUnreadable for boxes of another film.
    """
    path, name = task
    change, finder, width = CHANGES[name], FaceFinder(FaceSettings()), 0
    film = []
    for frame in open_source(f"file:{path}", live=False).frames():
        film.append(finder.find(change.apply(frame.gray), frame.t))
        width = frame.gray.shape[1]
    boxes = [[change.place(box, width) for box in there] for there in truth[path.name]]
    length = min(len(film), len(boxes))
    if max(len(film), len(boxes)) - length > 1:  # decoders of two OpenCVs may differ by a frame at a film's end
        raise DataUnreadable(f"{path}: {len(film)} frames, the boxes are of {len(boxes)}; write them of this film")
    return {"film": path.name, "change": name} | judge_film(film[:length], boxes[:length])


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
    """Judge every film that has boxes of the reference, as it is and changed; returns counts, and shares over all."""
    truth = read_boxes(args.boxes)
    films = [args.clips / name for name in truth if fnmatch(name, args.only)]
    if not truth:
        raise DataMissing(f"{args.boxes}: has no film; write it with benchmarks/peers/boxes.py")
    if not films:
        raise DataMissing(f"{args.boxes}: no film in it is called {args.only}; it has {', '.join(truth)}")
    rows = spread(partial(find_film, truth=truth), list(product(films, CHANGES)), "film")
    changes = [{"change": name} | _sum([row for row in rows if row["change"] == name]) for name in CHANGES]
    plain, changed = _sum(changes[:1]), _sum(changes)
    return {
        "films": rows,
        "changes": changes,
        "whole": plain,
        "changed": changed,
        **_shares(plain),
        **{f"changed_{name}": value for name, value in _shares(changed).items()},
    }


def _sum(rows: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    return {name: sum(row[name] for row in rows) for name in COUNTS}


def _shares(whole: Mapping[str, int]) -> dict[str, float | None]:
    values = (
        share(whole["with_face"], whole["frames"]),
        share(whole["none"] + whole["wide"], whole["boxes"]),
        share(whole["read_none"] + whole["read_wide"], whole["read"]),
        share(whole["boxes"] - whole["read"], whole["boxes"]),
    )
    return dict(zip(SHARES, values, strict=True))


def describe_tracks(result: Mapping[str, Any]) -> str:
    """Lay out the counts by film and by change, and the shares over all."""
    plain = [{key: row[key] for key in row if key != "change"} for row in result["films"] if row["change"] == "none"]
    rows = table([*plain, {"film": "all"} | result["whole"]])
    changes = table([*result["changes"], {"change": "all"} | result["changed"]])
    shares = (
        ", ".join(f"{name} {result[name]}" for name in (f"{of}{name}" for name in SHARES)) for of in ("", "changed_")
    )
    return "\n\n".join([rows, changes, *shares])
