"""FER2013's CSV as people have it, read into arrays; read.py uses it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from edge.errors import DataLabelInvalid, DataRowInvalid, DataSplitEmpty, printable
from lab.datasets.labelled import ROLES, Labelled
from lab.datasets.tables import open_table
from lab.progress import progress

CLASSES = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")
"""The seven classes in the order of FER2013's `emotion` column (Goodfellow et al., arXiv 1307.0414)."""

SPLITS = tuple(table for table, _ in ROLES.values())
SIDE = 48
_LABELS = {str(label) for label in range(len(CLASSES))}
_COLUMNS = ("emotion", "pixels", "Usage")
_BETWEEN = re.compile(r"[\s,;\[\]]+")  # what may stand between pixels, and around them
_ROWS = 35_887  # of the whole official file: the progress bar's length


def read_fer2013(path: Path, *splits: str) -> dict[str, Labelled]:
    """Read the named splits of a FER2013 CSV, plain or packed.

    Returns images uint8 (n, 48, 48), labels int64 (n,) and the rows' names by split, in the file's order.
    Raises DataMissing, DataUnreadable, DataColumnMissing, and with the row's number (the first
    below the header is 1) and line DataRowInvalid or DataLabelInvalid; DataSplitEmpty at the end.
    """
    return read_rows(path, splits)[0]


def read_rows(path: Path, splits: Sequence[str], *, present: bool = False) -> tuple[dict[str, Labelled], list[str]]:
    """Read as `read_fer2013` does; returns beside it the Usage of every row, of other splits too.

    With `present`, a split that no row is in is left out, as long as there is one.
    """
    for split in splits:
        if split not in SPLITS:
            raise DataSplitEmpty(f"{path}: no split {split!r}; valid are {', '.join(SPLITS)}")
    images: dict[str, list[npt.NDArray[np.uint8]]] = {split: [] for split in splits}
    labels: dict[str, list[int]] = {split: [] for split in splits}
    names: dict[str, list[str]] = {split: [] for split in splits}
    usages: list[str] = []
    with open_table(path, _COLUMNS) as table:
        rows = progress(table, f"read {printable(path.name)}", _ROWS)
        for number, row in enumerate(rows, 1):
            label, face = _parse_row(path, number, row)
            usage = (row["Usage"] or "").strip()
            usages.append(usage)
            if usage in images:
                images[usage].append(face)
                labels[usage].append(label)
                names[usage].append(f"row {number}")
    if present and any(labels.values()):
        splits = [split for split in splits if labels[split]]
    for split in splits:
        if not labels[split]:
            raise DataSplitEmpty(f"{path}: no row has Usage {split!r}; the official file has {', '.join(SPLITS)}")
    return {
        split: Labelled(np.stack(images[split]), np.array(labels[split], np.int64), tuple(names[split]))
        for split in splits
    }, usages


def _parse_row(path: Path, number: int, row: dict[str, str]) -> tuple[int, npt.NDArray[np.uint8]]:
    where = f"{path}: row {number} (line {number + 1})"
    emotion = (row["emotion"] or "").strip()
    if emotion not in _LABELS:
        raise DataLabelInvalid(f"{where}: emotion is {emotion[:20]!r}; valid are 0 to {len(CLASSES) - 1}")
    words = (row["pixels"] or "").strip()
    pixels = _parse_pixels(words)
    if pixels is None:
        words = " ".join(_BETWEEN.sub(" ", words).split())
        pixels = _parse_pixels(words)
    if pixels is None:
        count = len(words.split())
        wrong = "not all of them numbers" if count == SIDE * SIDE else f"{SIDE * SIDE} are needed"
        raise DataRowInvalid(f"{where}: {count} pixels{', ' if count == SIDE * SIDE else '; '}{wrong}")
    if pixels.min() < 0 or pixels.max() > 255:
        raise DataRowInvalid(f"{where}: pixels from {pixels.min()} to {pixels.max()}; valid are 0 to 255")
    return int(emotion), pixels.astype(np.uint8).reshape(SIDE, SIDE)


def _parse_pixels(words: str) -> npt.NDArray[np.int16] | None:
    """Parse as many numbers as a face has pixels, single blanks between them; None for anything else."""
    if words.count(" ") != SIDE * SIDE - 1:
        return None
    try:
        # Text mode is by far the fastest parser numpy has; int16 keeps 256 and -1 visible.
        pixels = np.fromstring(words, np.int16, sep=" ")
    except (ValueError, DeprecationWarning):
        return None
    return pixels if pixels.size == SIDE * SIDE else None
