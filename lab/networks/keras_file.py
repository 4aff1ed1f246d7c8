"""A .keras file that says what it reads: classes, colour, side and data travel inside it, beside Keras' own parts."""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edge.errors import ModelMissing, ModelShape, ModelUnreadable, RuntimeMissing
from edge.files import sink_error
from edge.system.quiet import quiet
from edge.vision.preprocessing import COLOURS, Preprocessing
from lab.networks.foreign import Scaling
from lab.networks.keras_2 import is_keras_2, load_keras_2
from lab.staging import stage

_ABOUT = "cuelens.json"


def as_batch(images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """Turn uint8 (n, h, w) or (n, h, w, 3) into what a network takes: float32 (n, h, w, channels) of 0 to 255."""
    return images.reshape(*images.shape[:3], -1).astype(np.float32)


def save_keras(model: Any, path: Path, about: Mapping[str, Any]) -> Path:
    """Write `model` and what it reads to `path`, whole or not at all; raises SinkUnwritable or DiskFull."""
    try:
        with stage(path, ".keras") as staged:
            model.save(staged)
            with zipfile.ZipFile(staged, "a") as archive:
                archive.writestr(_ABOUT, json.dumps(about))
    except OSError as error:
        raise sink_error(path, error) from error
    return path


def import_keras() -> Any:
    """Import Keras without its backend's greetings on standard error; raises RuntimeMissing."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # errors come as exceptions too
    try:
        with quiet():
            import keras
    except ImportError as error:
        raise RuntimeMissing("keras is not installed here; run ./deploy.sh host and use .venv-host/bin") from error
    return keras


def refuse_saved_model(path: Path) -> None:
    """Raise ModelUnreadable for a SavedModel folder, or its own file: Keras 3 does not read it as a network."""
    folder = path if path.is_dir() else path.parent
    if path.is_dir() or path.name in ("saved_model.pb", "keras_metadata.pb"):
        what = "a SavedModel" if (folder / "saved_model.pb").is_file() else "a folder, no model"
        raise ModelUnreadable(
            f"{path}: {what}; one file is read, .keras or .h5: save it so where it was made, "
            "keras.models.load_model(FOLDER).save('model.keras') with the TensorFlow that wrote it"
        )


def load_keras(path: Path) -> Any:
    """Load a .keras (or legacy .h5) file; raises RuntimeMissing, ModelMissing or ModelUnreadable."""
    refuse_saved_model(path)
    keras = import_keras()
    if not path.is_file():
        raise ModelMissing(f"{path}: no such file; cuelens-train writes one")
    try:
        return keras.saving.load_model(path, compile=False)  # an optimizer of another version is no reason
    except Exception as error:  # zipfile, h5py, json and Keras each raise their own
        if is_keras_2(path):
            with suppress(Exception):  # the first reason counts
                return load_keras_2(keras, path)
        raise ModelUnreadable(f"{path}: {_explain(path, error)}") from error


def _explain(path: Path, error: Exception) -> str:
    """Return why Keras cannot load a file, and what helps."""
    words = next(iter(str(error).splitlines()), "") or type(error).__name__
    if "Lambda" in words:
        # Keras' own advice, to load it unsafely, runs whatever code the file brings: no option of ours does that.
        return (
            "has a Lambda layer, which is code inside the file and is not run here; build the network with a layer in "
            "its place (Rescaling, Resizing, Normalization), load the weights into it and save that"
        )
    if is_keras_2(path):
        return (
            f"was written by Keras 2 in a form that Keras 3 does not read ({words[:200]}); save it again where it was "
            "made as weights, build the same network in Keras 3, load_weights and save it as .keras"
        )
    if "Unknown layer" in words or "Could not locate" in words:
        return (
            f"has a layer of somebody's own ({words[:200]}); build the network of Keras' own layers and save it again"
        )
    return f"{words[:300]}; it must be a whole .keras file"


def read_about(path: Path) -> dict[str, Any]:
    """Return what `save_keras` was given; nothing for a file that was made elsewhere."""
    try:
        with zipfile.ZipFile(path) as archive:
            about: dict[str, Any] = json.loads(archive.read(_ABOUT))
            return about
    except (OSError, KeyError, ValueError, zipfile.BadZipFile):
        return {}


def give_pixels(network: Any, scaling: Scaling) -> Any:
    """Put what it expects for its pixels before a Keras network that does not scale them itself.

    Raises SettingsInvalid for a scaling of other channels.
    """
    import keras

    shape = network.inputs[0].shape[1:]
    scaling.check(shape[-1])
    times, plus = scaling.factors(shape[-1])
    pixels = keras.Input(shape, name="pixels")
    if scaling.channels == "rgb" and len({*times.tolist()}) == len({*plus.tolist()}) == 1:
        scaled = keras.layers.Rescaling(float(times[0]), float(plus[0]), name="scaling")(pixels)
        return keras.Model(pixels, network(scaled), name=network.name)
    # Channels that are swapped or scaled each in its own way: a 1 x 1 convolution, which every runtime has in int8.
    layer = keras.layers.Conv2D(shape[-1], 1, name="scaling")
    scaled = layer(pixels)
    kernel = np.diag(times)[::-1] if scaling.channels == "bgr" else np.diag(times)
    layer.set_weights([np.ascontiguousarray(kernel)[None, None], plus])
    return keras.Model(pixels, network(scaled), name=network.name)


def preprocessing_of(model: Any, path: Path) -> Preprocessing:
    """Return what pictures a Keras model's input takes; raises ModelShape for one that takes no pictures."""
    inputs: Sequence[Any] = model.inputs or ()  # None for a subclassed model that saw no picture yet
    shape = tuple(inputs[0].shape) if len(inputs) == 1 else ()
    colours = {channels: colour for colour, channels in COLOURS.items()}
    if len(shape) != 4 or shape[1] != shape[2] or shape[1] is None or shape[3] not in colours:
        raise ModelShape(
            f"{path}: takes {[tuple(taken.shape) for taken in inputs]}; a classifier takes (None, side, side, 1 or 3)"
        )
    return Preprocessing(shape[1], colours[shape[3]])
