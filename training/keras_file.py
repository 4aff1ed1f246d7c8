"""A .keras file that says what it reads: classes, colour, side and data travel inside it, beside Keras' own parts."""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edge.errors import ModelMissing, ModelShape, ModelUnreadable, RuntimeMissing
from edge.files import sink_error
from edge.preprocessing import COLOURS, Preprocessing
from edge.quiet import quiet
from training.data import DataSet

_ABOUT = "cuelens.json"


def as_batch(images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """Turn uint8 (n, h, w) or (n, h, w, 3) into what a network takes: float32 (n, h, w, channels) of 0 to 255."""
    return images.reshape(*images.shape[:3], -1).astype(np.float32)


def save_keras(model: Any, path: Path, about: Mapping[str, Any]) -> Path:
    """Write `model` and what it reads to `path`, whole or not at all; raises SinkUnwritable or DiskFull."""
    staged = path.with_name("staged.keras")
    try:
        model.save(staged)
        with zipfile.ZipFile(staged, "a") as archive:
            archive.writestr(_ABOUT, json.dumps(about))
        return staged.replace(path)
    except OSError as error:
        staged.unlink(missing_ok=True)
        raise sink_error(path, error) from error


def import_keras() -> Any:
    """Import Keras without its backend's greetings on standard error; raises RuntimeMissing."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # errors come as exceptions too
    try:
        with quiet():
            import keras
    except ImportError as error:
        raise RuntimeMissing("keras is not installed here; run ./deploy.sh host and use .venv-host/bin") from error
    return keras


def load_keras(path: Path) -> Any:
    """Load a .keras (or legacy .h5) file; raises RuntimeMissing, ModelMissing or ModelUnreadable."""
    keras = import_keras()
    if not path.is_file():
        raise ModelMissing(f"{path}: no such file; cuelens-train writes one")
    try:
        return keras.saving.load_model(path, compile=False)  # an optimizer of another version is no reason
    except Exception as error:  # zipfile, h5py, json and Keras each raise their own
        raise ModelUnreadable(f"{path}: {str(error).splitlines()[0]}; it must be a whole .keras file") from error


def read_about(path: Path) -> dict[str, Any]:
    """Return what `save_keras` was told; nothing for a file that was made elsewhere."""
    try:
        with zipfile.ZipFile(path) as archive:
            about: dict[str, Any] = json.loads(archive.read(_ABOUT))
            return about
    except (OSError, KeyError, ValueError, zipfile.BadZipFile):
        return {}


def preprocessing_of(model: Any, path: Path) -> Preprocessing:
    """Tell from a Keras model's input what its pictures must be; raises ModelShape for one that takes no pictures."""
    inputs: Sequence[Any] = model.inputs or ()  # None for a subclassed model that saw no picture yet
    shape = tuple(inputs[0].shape) if len(inputs) == 1 else ()
    colours = {channels: colour for colour, channels in COLOURS.items()}
    if len(shape) != 4 or shape[1] != shape[2] or shape[1] is None or shape[3] not in colours:
        raise ModelShape(
            f"{path}: takes {[tuple(taken.shape) for taken in inputs]}; a classifier takes (None, side, side, 1 or 3)"
        )
    return Preprocessing(shape[1], colours[shape[3]])


def check_classes(path: Path, model: Sequence[str], data: DataSet) -> None:
    """Raise ModelShape unless the model's classes are the data's, in their order."""
    if tuple(model) != data.classes:
        raise ModelShape(
            f"{path}: knows {', '.join(model)[:200]}; {data.title} has {', '.join(data.classes)[:200]}: "
            "give the data it was made for"
        )
