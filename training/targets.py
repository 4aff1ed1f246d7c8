"""What a network is fitted to: labels, smoothed, mixed with soft labels that teachers left; and FER+'s votes."""

from __future__ import annotations

import hashlib
import io
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from edge.errors import DataMissing, DataUnreadable
from edge.files import replace_file
from lab.datasets.labelled import Labelled

Floats = npt.NDArray[np.float32]


def make_targets(
    data: Labelled, shares: Floats | None, classes: int, smoothing: float, soft: Floats | None, weight: float
) -> Floats:
    """Return float32 (n, classes), rows summing to one: labels smoothed, then `weight` of them given to `soft`.

    `shares` (n, classes), of raters' votes, stand in the place of the labels where given.

    Smoothing as in Szegedy et al., arXiv 1512.00567; distillation as in Hinton et al., arXiv 1503.02531, at
    temperature 1.
    """
    given = np.eye(classes, dtype=np.float32)[data.labels] if shares is None else shares
    hard = given * (1 - smoothing) + smoothing / classes
    return hard if soft is None else (1 - weight) * hard + weight * soft


def vote_shares(votes: npt.NDArray[np.uint8]) -> Floats:
    """Turn FER+ votes (n, 10) into shares of the raters: float32 (n, 10)."""
    counted = votes.astype(np.float32)
    return np.asarray(counted / np.maximum(counted.sum(axis=1, keepdims=True), 1), np.float32)


def _identify(data: Labelled) -> str:
    return hashlib.sha256(data.images.tobytes() + data.labels.tobytes()).hexdigest()


def write_soft_labels(path: Path, probabilities: Floats, data: Labelled, classes: Sequence[str]) -> None:
    """Leave a teacher's probabilities (n, classes) for the pictures of `data`; raises SinkUnwritable or DiskFull."""
    content = io.BytesIO()
    np.savez(
        content, probabilities=probabilities.astype(np.float16), data=np.array(_identify(data)), classes=list(classes)
    )
    replace_file(path, content.getvalue())


def read_soft_labels(paths: Sequence[Path], data: Labelled, classes: Sequence[str]) -> Floats | None:
    """Return the mean of several teachers' soft labels, float32 (n, classes); None without teachers.

    Raises DataMissing, or DataUnreadable for a damaged file and one of other pictures or classes.
    """
    read = []
    for path in paths:
        try:
            with np.load(io.BytesIO(path.read_bytes())) as content:
                identity, of_classes = str(content["data"]), content["classes"].tolist()
                read.append(content["probabilities"].astype(np.float32))
        except FileNotFoundError as error:
            raise DataMissing(f"{path}: no such file; `cuelens-train teacher` leaves soft-labels.npz") from error
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
            raise DataUnreadable(f"{path}: {error}; it must be a soft-labels.npz of `cuelens-train teacher`") from error
        if of_classes != list(classes) or identity != _identify(data):
            raise DataUnreadable(
                f"{path}: soft labels of other pictures or classes; fit the teacher on the same --data and options"
            )
    return np.mean(read, axis=0, dtype=np.float32) if read else None
