"""Which pictures a network is explained on, and what it calls its classes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from edge.errors import (
    ContractMismatch,
    SettingsInvalid,
    SourceMissing,
    SourceUnreadable,
)
from edge.vision.model import read_contract
from edge.vision.preprocessing import Preprocessing
from lab.datasets.fer2013 import CLASSES
from lab.datasets.labelled import DataSet
from lab.networks.keras_file import read_about
from training.explain_network import Images

PER_CLASS = 2  # pictures from --data


@dataclass(frozen=True, slots=True)
class Pictures:
    """What the network is watched on: preprocessed pictures, where each came from, and its class where known."""

    images: Images
    names: tuple[str, ...]
    classes: tuple[str | None, ...]

    def join(self, others: Pictures) -> Pictures:
        """Return these pictures with the others behind them."""
        images = np.concatenate([self.images, others.images])
        return Pictures(images, self.names + others.names, self.classes + others.classes)


def read_pictures(paths: Sequence[Path], preprocessing: Preprocessing) -> Pictures:
    """Read picture files as the network takes them; raises SourceMissing or SourceUnreadable."""
    images = []
    for path in paths:
        if not path.is_file():
            raise SourceMissing(f"{path}: no such file; give a picture of a face, cut out as the network was trained")
        coded = np.frombuffer(path.read_bytes(), np.uint8)
        picture = cv2.imdecode(coded, cv2.IMREAD_COLOR) if coded.size else None
        if picture is None:
            raise SourceUnreadable(f"{path}: no picture that can be read; give a PNG or JPEG file")
        images.append(preprocessing.apply(np.asarray(cv2.cvtColor(picture, cv2.COLOR_BGR2RGB), np.uint8)))
    return Pictures(np.stack(images), tuple(path.name for path in paths), (None,) * len(paths))


def draw_pictures(data: DataSet, seed: int) -> Pictures:
    """Draw PER_CLASS pictures of each class from a data set of one split."""
    ((name, labelled),) = data.splits.items()
    rng = np.random.default_rng(seed)
    rows = np.concatenate(
        [rng.permutation(np.flatnonzero(labelled.labels == label))[:PER_CLASS] for label in range(len(data.classes))]
    )
    names = tuple(Path(labelled.names[row]).name if labelled.names else f"{name} {row}" for row in rows)
    return Pictures(labelled.images[rows], names, tuple(data.classes[labelled.labels[row]] for row in rows))


def read_labels(path: Path, width: int, given: str | None = None) -> tuple[str, ...]:
    """Name a model's `width` classes: as `given` (with commas), by the contract beside it, by the file itself.

    FER2013's where there are as many and no option names others, then numbers. Raises SettingsInvalid or
    ContractMismatch for another count, and what `read_contract` raises.
    """
    contract = path.with_suffix(".json")
    if given is not None:
        labels = tuple(name.strip() for name in given.split(","))
        if len(labels) != width:
            raise SettingsInvalid(f"--classes names {len(labels)} classes, {path} has {width}; name each, in its order")
        return labels
    if contract.is_file():
        labels = read_contract(contract).labels
        if len(labels) != width:
            raise ContractMismatch(f"{contract}: {len(labels)} labels, {path.name} has {width} classes; give --classes")
        return labels
    if named := read_about(path).get("classes"):
        return tuple(named)
    return CLASSES if width == len(CLASSES) else tuple(f"class {i}" for i in range(width))
