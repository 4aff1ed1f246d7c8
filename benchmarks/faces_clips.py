"""Labelled clips, and a task spread over them: processes that measure one after the other."""

from __future__ import annotations

import csv
import multiprocessing
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import BrokenExecutor, ProcessPoolExecutor
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import TypeVar

from tqdm import tqdm

from edge.errors import BenchFailed, DataColumnMissing, DataMissing, DataRowInvalid, SettingsInvalid
from edge.system.quiet import tame_opencv

T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Clip:
    """A row of labels.csv; `face_width` in pixels of the clip shrunk to a width of at most 640."""

    path: Path
    n_faces: int
    face_width: float


def read_clips(folder: Path, pattern: str) -> list[Clip]:
    """Read labels.csv of a folder of clips; raises DataMissing, DataColumnMissing, DataRowInvalid, SettingsInvalid."""
    path = folder / "labels.csv"
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        named = [row for row in rows if fnmatch(row["path"], pattern)]
        clips = [_read_clip(path, row) for row in named]
    except OSError as error:
        raise DataMissing(f"{path}: {error.strerror}; give a folder of clips with their labels.csv") from error
    except KeyError as error:
        raise DataColumnMissing(f"{path}: no column {error}; it has {', '.join(rows[0])}") from error
    if not clips:
        raise SettingsInvalid(f"--only {pattern}: none of the {len(rows)} clips of {path} is called so")
    return clips


def _read_clip(labels: Path, row: Mapping[str, str]) -> Clip:
    count, width = row["n_faces"], row["median_face_w_at_max640"]
    try:
        return Clip(labels.parent / row["path"], int(count), float(width))
    except (TypeError, ValueError) as error:  # None where the row ends before
        raise DataRowInvalid(
            f"{labels}: {row['path']} has {count!r} faces of width {width!r}; valid are numbers"
        ) from error


def spread(task: Callable[[T], R], items: Sequence[T], unit: str) -> list[R]:
    """Do a task for each item in two new processes; returns the results in the items' order."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(2, mp_context=context, initializer=tame_opencv) as pool:
        try:
            return list(tqdm(pool.map(task, items), total=len(items), unit=unit, leave=False, disable=None))
        except BrokenExecutor as error:
            raise BenchFailed("a measuring process was killed; is there enough memory?") from error
