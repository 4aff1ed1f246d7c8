"""FER2013's CSV as people have it, read into arrays; training/data.py reads it through here."""

from __future__ import annotations

import csv
import gzip
import io
import lzma
import sys
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TextIO

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from edge.errors import (
    CuelensError,
    DataColumnMissing,
    DataLabelInvalid,
    DataMissing,
    DataRowInvalid,
    DataSplitEmpty,
    DataUnreadable,
)
from training.data import ROLES, Labelled

__all__ = ["CLASSES", "SIDE", "SPLITS", "Labelled", "open_table", "read_fer2013", "read_rows"]

CLASSES = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")
"""The seven classes in the order of FER2013's `emotion` column (Goodfellow et al., arXiv 1307.0414)."""

SPLITS = tuple(table for table, _ in ROLES.values())
SIDE = 48
_LABELS = {str(label) for label in range(len(CLASSES))}
_COLUMNS = ("emotion", "pixels", "Usage")
_ROWS = 35_887  # of the whole official file: the progress bar's length


@contextmanager
def open_table(path: Path, columns: Sequence[str]) -> Iterator[csv.DictReader[str]]:
    """Open a CSV, plain or .gz, .xz or .zip, whose header has `columns`; blanks around their names do no harm.

    Raises DataMissing, DataColumnMissing, and DataUnreadable also for what breaks while rows are read.
    """
    if not path.is_file():
        raise DataMissing(f"{path}: no such file; give the path of a CSV (or .gz, .xz, .zip)")
    csv.field_size_limit(1 << 20)
    try:
        with ExitStack() as stack:
            table = csv.DictReader(_open_text(path, stack))
            found = table.fieldnames = [name.strip() for name in table.fieldnames or ()]
            for name in columns:
                if name not in found:
                    listed = ", ".join(found)[:200] or "none"
                    raise DataColumnMissing(
                        f"{path}: no column {name!r}; found {listed}; it needs {', '.join(columns)}"
                    )
            yield table
    except CuelensError:
        raise
    # What the unpackers and the parser raise; RuntimeError is a zip with a password.
    except (
        OSError,
        EOFError,
        lzma.LZMAError,
        zlib.error,
        zipfile.BadZipFile,
        csv.Error,
        UnicodeDecodeError,
        RuntimeError,
    ) as error:
        raise DataUnreadable(f"{path}: {error}; fetch the file again") from error


def _open_text(path: Path, stack: ExitStack) -> TextIO:
    encoding = "utf-8-sig"  # Excel begins a CSV with a byte order mark
    suffix = path.suffix.lower()
    if suffix == ".gz":
        return stack.enter_context(gzip.open(path, "rt", encoding=encoding, newline=""))
    if suffix == ".xz":
        return stack.enter_context(lzma.open(path, "rt", encoding=encoding, newline=""))
    if suffix == ".zip":
        archive = stack.enter_context(zipfile.ZipFile(path))
        tables = [name for name in archive.namelist() if name.lower().endswith(".csv")]
        if len(tables) != 1:
            raise DataUnreadable(
                f"{path}: {len(tables)} CSV files inside; put exactly one into the zip, and unpack pictures to a folder"
            )
        return io.TextIOWrapper(stack.enter_context(archive.open(tables[0])), encoding, newline="")
    return stack.enter_context(path.open(encoding=encoding, newline=""))


def read_fer2013(path: Path, *splits: str) -> dict[str, Labelled]:
    """Read the named splits of a FER2013 CSV (plain, .gz, .xz or .zip).

    Returns images uint8 (n, 48, 48), labels int64 (n,) and the rows' names by split, in the file's order.
    Raises DataMissing, DataUnreadable, DataColumnMissing, and with the row's number (the first
    below the header is 1) and line DataRowInvalid or DataLabelInvalid; DataSplitEmpty at the end.
    """
    return read_rows(path, splits)[0]


def read_rows(path: Path, splits: Sequence[str]) -> tuple[dict[str, Labelled], list[str]]:
    """Read as `read_fer2013` does; returns beside it the Usage of every row, of other splits too."""
    for split in splits:
        if split not in SPLITS:
            raise DataSplitEmpty(f"{path}: no split {split!r}; valid are {', '.join(SPLITS)}")
    images: dict[str, list[npt.NDArray[np.uint8]]] = {split: [] for split in splits}
    labels: dict[str, list[int]] = {split: [] for split in splits}
    names: dict[str, list[str]] = {split: [] for split in splits}
    usages: list[str] = []
    with open_table(path, _COLUMNS) as table:
        rows = tqdm(table, f"read {path.name}", _ROWS, disable=not sys.stderr.isatty(), leave=False)
        for number, row in enumerate(rows, 1):
            label, face = _parse_row(path, number, row)
            usage = (row["Usage"] or "").strip()
            usages.append(usage)
            if usage in images:
                images[usage].append(face)
                labels[usage].append(label)
                names[usage].append(f"row {number}")
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
