"""FER+: ten raters' votes on each picture of FER2013, and the labels they make; read.py uses it.

After Barsoum et al., arXiv 1608.01041.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from edge.errors import DataRowInvalid, DataUnreadable, SettingsInvalid
from lab.datasets.fer2013 import CLASSES
from lab.datasets.labelled import Labelled
from lab.datasets.tables import open_table

COLUMNS = (
    "neutral",
    "happiness",
    "surprise",
    "sadness",
    "anger",
    "disgust",
    "fear",
    "contempt",
    "unknown",
    "NF",
)
"""What a rater could say, in the order of fer2013new.csv; NF is no face."""

EIGHT = (*CLASSES, "contempt")
"""The classes that FER+ publishes figures of, those of FER2013 first."""

_NAMES = {"angry": "anger", "happy": "happiness", "sad": "sadness"}
_OF_EIGHT = [COLUMNS.index(_NAMES.get(name, name)) for name in EIGHT]
_OF_CLASSES = _OF_EIGHT[: len(CLASSES)]
_NO_FACE = COLUMNS.index("NF")


def read_votes(path: Path, usages: Sequence[str]) -> npt.NDArray[np.uint8]:
    """Read fer2013new.csv (plain, .gz, .xz or .zip): uint8 (n, 10), votes in the order of COLUMNS.

    `usages` are FER2013's, row by row: the two tables share nothing else by which a shifted row would show.
    Raises DataMissing, DataColumnMissing, DataUnreadable also for another number of rows, and with the
    row's number (the first below the header is 1) and line DataRowInvalid.
    """
    votes = []
    with open_table(path, ("Usage", *COLUMNS)) as table:
        for number, row in enumerate(table, 1):
            where = f"{path}: row {number} (line {number + 1})"
            usage = (row["Usage"] or "").strip()
            if number <= len(usages) and usage != usages[number - 1]:
                raise DataRowInvalid(
                    f"{where}: Usage {usage!r}, in FER2013's table {usages[number - 1]!r}; "
                    "both tables must be whole and in the same order"
                )
            words = [(row[name] or "").strip() for name in COLUMNS]
            if not all(word.isascii() and word.isdigit() and len(word) <= 2 for word in words):
                raise DataRowInvalid(
                    f"{where}: votes {','.join(words)[:60]}; valid are {len(COLUMNS)} numbers, 0 to 99"
                )
            votes.append([int(word) for word in words])
    if len(votes) != len(usages):
        raise DataUnreadable(f"{path}: {len(votes)} rows, FER2013's table has {len(usages)}; both must be whole")
    return np.array(votes, np.uint8).reshape(-1, len(COLUMNS))


def soft_labels(votes: npt.NDArray[np.uint8], least: int = 1) -> npt.NDArray[np.float32]:
    """Share votes (n, 10) among FER2013's classes: float32 (n, 7) in CLASSES' order, rows that sum to 1.

    Contempt, unknown and no face do not count, nor do fewer votes than `least` for a class: FER+ itself drops single
    ones as mistakes. A row with votes for nothing else is all zeros.
    """
    counts = np.where(votes >= least, votes, 0)[:, _OF_CLASSES].astype(np.float32)
    shares: npt.NDArray[np.float32] = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    return shares


def majority(votes: npt.NDArray[np.uint8]) -> npt.NDArray[np.int64]:
    """Return FER2013's class with more votes than every other column of (n, 10): int64 (n,), -1 where there is none."""
    leader = _leader(votes)
    classes = np.full(len(COLUMNS) + 1, -1, np.int64)  # the last is for no leader
    classes[_OF_CLASSES] = np.arange(len(CLASSES))
    return classes[leader]


def published_majority(votes: npt.NDArray[np.uint8]) -> npt.NDArray[np.int64]:
    """Return the class of EIGHT by FER+'s own rule, by which its figures are published: int64 (n,), -1 for none.

    Single votes are dropped; what then has more than half of the rest is the label, where that is an expression
    (Barsoum et al., arXiv 1608.01041; `_process_data` of github.com/microsoft/FERPlus, mode "majority").
    """
    counted = np.where(votes > 1, votes, 0).astype(np.int64)
    leader = counted.argmax(axis=1)
    alone = 2 * counted.max(axis=1) > counted.sum(axis=1)
    classes = np.full(len(COLUMNS), -1, np.int64)
    classes[_OF_EIGHT] = np.arange(len(EIGHT))
    return np.where(alone, classes[leader], -1)


def drop_no_face(data: Labelled) -> Labelled:
    """Return `data` without the rows that more raters call no face than anything else; raises SettingsInvalid."""
    return data.take(np.flatnonzero(_leader(_votes(data)) != _NO_FACE))


def relabel(data: Labelled) -> Labelled:
    """Return `data` with the majority's labels, without the rows that have none; raises SettingsInvalid."""
    labels = majority(_votes(data))
    return replace(data, labels=labels).take(np.flatnonzero(labels >= 0))


def _leader(votes: npt.NDArray[np.uint8]) -> npt.NDArray[np.int64]:
    """Return the column that has more votes than every other, -1 where two share the most."""
    alone = (votes == votes.max(axis=1, keepdims=True)).sum(axis=1) == 1
    return np.where(alone, votes.argmax(axis=1), -1)


def _votes(data: Labelled) -> npt.NDArray[np.uint8]:
    if data.votes is None:
        raise SettingsInvalid("no FER+ votes were read; name FER+'s table, fer2013new.csv, with --ferplus")
    return data.votes
