"""Reads whatever data a user has, in one shape; the first step of training, conversion and evaluation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from edge.errors import SettingsInvalid
from edge.vision.preprocessing import Preprocessing
from lab.datasets.fer2013 import CLASSES, read_rows
from lab.datasets.ferplus import read_votes
from lab.datasets.folder import is_coloured, read_folder
from lab.datasets.labelled import DataSet, split_name, split_names


def native_colour(path: Path) -> str:
    """Name the colour of a data set's pictures, gray or rgb; FER2013's table is gray."""
    return "rgb" if path.is_dir() and is_coloured(path) else "gray"


def read_data(
    path: Path,
    preprocessing: Preprocessing,
    splits: Sequence[str] | None = None,
    *,
    ferplus: Path | None = None,
    seed: int = 0,
    lenient: bool = False,
) -> DataSet:
    """Read splits, asked for by role or own name (None: all), with every picture preprocessed.

    `lenient` is for who only looks: of the splits, those are left out that nothing is in, as long as there is one, and
    a class may have no picture in one; both are for a person to read in the numbers.

    `path` is FER2013's table, or a folder of pictures, which `seed` splits where nothing in it does.
    `ferplus` is FER+'s table of votes on FER2013's rows: it fills `votes`, and changes no label.
    Raises what `split_name`, `read_fer2013`, `read_folder` and `read_votes` raise; SettingsInvalid for
    votes on a folder.
    """
    own = split_names(path)
    asked = own if splits is None else tuple(split_name(path, name) for name in splits)
    wanted = tuple(name for name in own if name in asked)
    if path.is_dir():
        if ferplus is not None:
            raise SettingsInvalid(
                f"{ferplus}: FER+ rates the rows of FER2013's table, {path} is a folder; leave it out"
            )
        return read_folder(path, preprocessing, wanted, seed, lenient=lenient)
    read, usages = read_rows(path, wanted, present=lenient)
    if preprocessing != Preprocessing(48):
        read = {name: replace(data, images=_apply(preprocessing, data.images)) for name, data in read.items()}
    if ferplus is not None:
        votes = read_votes(ferplus, usages)
        rows = np.array(usages)
        read = {name: replace(data, votes=votes[rows == name]) for name, data in read.items()}
    return DataSet("FER2013", CLASSES, read)


def _apply(preprocessing: Preprocessing, faces: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    images = np.empty((len(faces), *preprocessing.apply(faces[0]).shape), np.uint8)
    for image, face in zip(images, faces, strict=True):
        image[:] = preprocessing.apply(face)
    return images
