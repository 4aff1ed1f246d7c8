"""Labelled pictures and their splits in one shape, whatever they were read from; lab.datasets.read makes them.

A file is FER2013's table (fer2013.py), a folder is pictures of any classes (folder.py).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from edge.errors import DataMissing, DataSplitEmpty, DataUnreadable

ROLES = {"fit": ("Training", "train"), "choose": ("PublicTest", "validation"), "report": ("PrivateTest", "test")}
"""What a split is for, with its name in FER2013's table and in a folder."""

TABLES = (".csv", ".gz", ".tgz", ".xz", ".txz", ".bz2", ".tbz2", ".tar", ".zip")
WHOLE = "all"  # asks for all splits as one


@dataclass(frozen=True, slots=True)
class Labelled:
    """Pictures with their labels, all preprocessed alike."""

    images: npt.NDArray[np.uint8]  # (n, side, side) gray or (n, side, side, 3) RGB
    labels: npt.NDArray[np.int64]  # (n,), indices into the data set's classes
    names: tuple[str, ...] = ()  # where each came from: a path in the folder, or "row 17" of a table
    votes: npt.NDArray[np.uint8] | None = None  # (n, 10), FER+'s raters in FER+'s own column order

    def take(self, rows: npt.NDArray[np.int64]) -> Labelled:
        """Return the pictures of these rows, int64 (m,), with all that belongs to them."""
        return Labelled(
            self.images[rows],
            self.labels[rows],
            tuple(self.names[row] for row in rows) if self.names else (),
            None if self.votes is None else self.votes[rows],
        )


@dataclass(frozen=True, slots=True)
class DataSet:
    """A data set's splits by role: fit on one, choose everything on another, report the third once."""

    title: str  # of the data, for contracts and cards
    classes: tuple[str, ...]
    splits: dict[str, Labelled]  # by the data set's own names: Training, PublicTest, PrivateTest or train, ...
    skipped: tuple[str, ...] = ()  # what could not be read, a line each: "path: reason"

    def _of_role(self, role: str) -> Labelled:
        for name in ROLES[role]:
            if name in self.splits:
                return self.splits[name]
        read = ", ".join(self.splits) or "none"
        raise DataSplitEmpty(
            f"{self.title}: no split to {role} on was read, only {read}; read {' or '.join(ROLES[role])}"
        )

    @property
    def fit(self) -> Labelled:
        """The split to fit on; raises DataSplitEmpty where it was not read."""
        return self._of_role("fit")

    @property
    def choose(self) -> Labelled:
        """The split to choose recipe, epoch and thresholds on; raises DataSplitEmpty where it was not read."""
        return self._of_role("choose")

    @property
    def report(self) -> Labelled:
        """The split to report once; raises DataSplitEmpty where it was not read."""
        return self._of_role("report")


def split_names(path: Path) -> tuple[str, ...]:
    """Name the splits of the data set at `path` in the order fit, choose, report.

    Raises DataMissing where nothing is there, DataUnreadable for a file that is no table.
    """
    if path.is_dir():
        return tuple(folder for _, folder in ROLES.values())
    if not path.exists():
        raise DataMissing(
            f"{path}: no such file or folder; give fer2013.csv (or .gz, .xz, .zip) or a folder of pictures"
        )
    if path.suffix.lower() not in TABLES:
        raise DataUnreadable(f"{path}: not a table ({', '.join(TABLES)}); give FER2013's, or a folder of pictures")
    return tuple(table for table, _ in ROLES.values())


def split_name(path: Path, asked: str) -> str:
    """Turn a role (fit, choose, report) or a split's own name into the own name at `path`.

    Raises DataSplitEmpty for what is neither, and what `split_names` raises.
    """
    own = split_names(path)
    if asked in own:
        return asked
    if asked in ROLES:
        return own[list(ROLES).index(asked)]
    raise DataSplitEmpty(f"{path}: no split {asked!r}; valid are {', '.join(own)}, or {', '.join(ROLES)}")


def join_splits(data: DataSet, name: str = WHOLE) -> DataSet:
    """Return a data set with all splits that were read as one, in their order, called `name`."""
    parts = list(data.splits.values())
    votes = [part.votes for part in parts if part.votes is not None]
    joined = Labelled(
        np.concatenate([part.images for part in parts]),
        np.concatenate([part.labels for part in parts]),
        tuple(each for part in parts for each in part.names),
        np.concatenate(votes) if len(votes) == len(parts) else None,
    )
    return replace(data, splits={name: joined})
