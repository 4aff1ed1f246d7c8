"""FER2013's CSV as people have it, read into arrays; the first step of training and evaluation."""

from __future__ import annotations

import csv
import gzip
import io
import lzma
import sys
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from edge.errors import (
    DataColumnMissing,
    DataLabelInvalid,
    DataMissing,
    DataRowInvalid,
    DataSplitEmpty,
    DataUnreadable,
)

CLASSES = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")
"""The seven classes in the order of FER2013's `emotion` column (Goodfellow et al., arXiv 1307.0414)."""

SPLITS = ("Training", "PublicTest", "PrivateTest")
SIDE = 48
_LABELS = {str(label) for label in range(len(CLASSES))}
_COLUMNS = ("emotion", "pixels", "Usage")
# What the unpackers and the parser raise; RuntimeError is a zip with a password.
_BROKEN = (
    OSError,
    EOFError,
    lzma.LZMAError,
    zlib.error,
    zipfile.BadZipFile,
    csv.Error,
    UnicodeDecodeError,
    RuntimeError,
)
_ROWS = 35_887  # of the whole official file: the progress bar's length


@dataclass(frozen=True, slots=True)
class Labelled:
    """Gray faces with their labels: images uint8 (n, 48, 48), labels int64 (n,)."""

    images: npt.NDArray[np.uint8]
    labels: npt.NDArray[np.int64]


@contextmanager
def _open_text(path: Path) -> Iterator[TextIO]:
    with ExitStack() as stack:
        if path.suffix == ".gz":
            yield stack.enter_context(gzip.open(path, "rt", newline=""))
        elif path.suffix == ".xz":
            yield stack.enter_context(lzma.open(path, "rt", newline=""))
        elif path.suffix == ".zip":
            archive = stack.enter_context(zipfile.ZipFile(path))
            tables = [name for name in archive.namelist() if name.lower().endswith(".csv")]
            if len(tables) != 1:
                raise DataUnreadable(f"{path}: {len(tables)} CSV files inside; put exactly one into the zip")
            yield io.TextIOWrapper(stack.enter_context(archive.open(tables[0])), newline="")
        else:
            yield stack.enter_context(path.open(newline=""))


def read_fer2013(path: Path, *splits: str) -> dict[str, Labelled]:
    """Read the named splits of a FER2013 CSV (plain, .gz, .xz or .zip).

    Returns images uint8 (n, 48, 48) and labels int64 (n,) by split, in the file's order.
    Raises DataMissing, DataUnreadable, DataColumnMissing, and with the row's number (the first
    below the header is 1) and line DataRowInvalid or DataLabelInvalid; DataSplitEmpty at the end.
    """
    for split in splits:
        if split not in SPLITS:
            raise DataSplitEmpty(f"{path}: no split {split!r}; valid are {', '.join(SPLITS)}")
    if not path.is_file():
        raise DataMissing(f"{path}: no such file; give the path of fer2013.csv (or .gz, .xz, .zip)")
    images: dict[str, list[npt.NDArray[np.uint8]]] = {split: [] for split in splits}
    labels: dict[str, list[int]] = {split: [] for split in splits}
    csv.field_size_limit(1 << 20)
    try:
        with _open_text(path) as text:
            table = csv.DictReader(text)
            absent = [name for name in _COLUMNS if name not in (table.fieldnames or ())]
            if absent:
                found = ", ".join(table.fieldnames or ("none",))[:200]
                raise DataColumnMissing(
                    f"{path}: no column {absent[0]!r}; found {found}; FER2013 has {', '.join(_COLUMNS)}"
                )
            rows = tqdm(table, f"read {path.name}", _ROWS, disable=not sys.stderr.isatty(), leave=False)
            for number, row in enumerate(rows, 1):
                label, face = _parse_row(path, number, row)
                if row["Usage"] in images:
                    images[row["Usage"]].append(face)
                    labels[row["Usage"]].append(label)
    except _BROKEN as error:
        raise DataUnreadable(f"{path}: {error}; fetch the file again") from error
    for split in splits:
        if not labels[split]:
            raise DataSplitEmpty(f"{path}: no row has Usage {split!r}; the official file has {', '.join(SPLITS)}")
    return {split: Labelled(np.stack(images[split]), np.array(labels[split], np.int64)) for split in splits}


def _parse_row(path: Path, number: int, row: dict[str, str]) -> tuple[int, npt.NDArray[np.uint8]]:
    where = f"{path}: row {number} (line {number + 1})"
    emotion = (row["emotion"] or "").strip()
    if emotion not in _LABELS:
        raise DataLabelInvalid(f"{where}: emotion is {emotion[:20]!r}; valid are 0 to {len(CLASSES) - 1}")
    words = (row["pixels"] or "").strip()
    try:
        # Text mode is by far the fastest parser numpy has; int16 keeps 256 and -1 visible.
        pixels = np.fromstring(words, np.int16, sep=" ")
    except (ValueError, DeprecationWarning):
        pixels = np.empty(0, np.int16)
    if pixels.size != SIDE * SIDE or words.count(" ") != SIDE * SIDE - 1:
        raise DataRowInvalid(
            f"{where}: {len(words.split())} pixels, not all of them numbers"
            if pixels.size == 0
            else f"{where}: {len(words.split())} pixels; {SIDE * SIDE} are needed"
        )
    if pixels.min() < 0 or pixels.max() > 255:
        raise DataRowInvalid(f"{where}: pixels from {pixels.min()} to {pixels.max()}; valid are 0 to 255")
    return int(emotion), pixels.astype(np.uint8).reshape(SIDE, SIDE)
