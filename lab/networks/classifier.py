"""A model file of any kind, open to read pictures: the device's .tflite, or Keras'; evaluation and benchmarks use it.

A .tflite file needs no TensorFlow.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edge.errors import ModelMissing, ModelShape, ModelUnreadable, SettingsInvalid
from edge.vision.model import ExpressionModel
from edge.vision.preprocessing import Preprocessing
from lab.calibration import Floats
from lab.networks.foreign import Given, Scaling
from lab.networks.keras_file import as_batch, load_keras, preprocessing_of, read_about, refuse_saved_model
from lab.progress import progress

Images = npt.NDArray[np.uint8]

_BATCH = 256
_CHUNK = 8 * _BATCH  # pictures as float32 at a time


@dataclass(frozen=True, slots=True)
class Classifier:
    """A model file, open to read pictures."""

    path: Path
    runtime: str
    preprocessing: Preprocessing
    width: int  # of its output
    classes: tuple[str, ...]  # empty where neither the file nor the user says
    predict: Callable[[Images], Floats]
    foreign: Any = None  # a Keras network that was made elsewhere, as the file has it
    given: Given = field(default_factory=Given)  # what the user stated of such a one


def predict_tflite(model: ExpressionModel, images: Images, *, flip: bool = False) -> Floats:
    """Read uint8 (n, side, side) or (n, side, side, 3) pictures one by one as the device does; returns (n, labels).

    `flip` averages each with its mirror image: what two readings of a steady face come to.
    """
    pictures = progress(images, "evaluate")
    if not flip:
        return np.array([model.read(picture) for picture in pictures])
    views = ((picture, np.ascontiguousarray(picture[:, ::-1])) for picture in pictures)
    return np.array([np.mean([model.read(view) for view in pair], axis=0) for pair in views])


def predict_keras(model: Any, images: Images, *, flip: bool = False, scaling: Scaling | None = None) -> Floats:
    """Read uint8 (n, side, side) or (n, side, side, 3) pictures with a Keras model; returns (n, labels).

    `flip` averages what it says of each picture with what it says of the mirrored one; `scaling` is what it expects
    where that is not raw pixels.
    """
    starts = progress(range(0, len(images), _CHUNK), "evaluate")
    predicted = []
    for start in starts:
        pixels = as_batch(images[start : start + _CHUNK])
        pixels = pixels if scaling is None else scaling.apply(pixels)
        views = (pixels, pixels[:, :, ::-1]) if flip else (pixels,)
        predicted.append(np.mean([model.predict(view, batch_size=_BATCH, verbose=0) for view in views], axis=0))
    return np.asarray(np.concatenate(predicted), np.float64)


def open_model(path: Path, *, flip: bool = False, given: Given | None = None) -> Classifier:
    """Open a .tflite file with its contract, or a .keras file: its input has the side and colour that it reads.

    What was `given` of networks made elsewhere holds for a file that does not say it itself. Raises ModelMissing,
    ModelUnreadable, ModelShape, RuntimeMissing, and what ExpressionModel raises; SettingsInvalid for what was given of
    another network.
    """
    refuse_saved_model(path)
    if not path.is_file():
        raise ModelMissing(f"{path}: no such file; give a .tflite or .keras file")
    if path.suffix == ".tflite":
        model = ExpressionModel(path)
        labels, preprocessing = model.contract.labels, model.contract.preprocessing
        predict = partial(predict_tflite, model, flip=flip)
        return Classifier(path, model.runtime, preprocessing, len(labels), labels, predict)
    if path.suffix not in (".keras", ".h5"):
        raise ModelUnreadable(f"{path}: {path.suffix or 'no suffix'} is no model's; give a .tflite or .keras file")
    network = load_keras(path)
    import keras

    preprocessing, taken = preprocessing_of(network, path), network.output_shape
    if not isinstance(taken, tuple) or len(taken) != 2:
        raise ModelShape(f"{path}: gives {taken}; a classifier gives (None, classes)")
    about, stated = read_about(path), given or Given()
    runtime = f"keras {keras.__version__}"
    if about:
        predict = partial(predict_keras, network, flip=flip)
        return Classifier(path, runtime, preprocessing, taken[1], tuple(about.get("classes", ())), predict)
    if stated.scaling is not None:
        stated.scaling.check(preprocessing.channels)
    if stated.classes and len(stated.classes) != taken[1]:
        raise SettingsInvalid(
            f"--classes names {len(stated.classes)} classes, {path} has {taken[1]}; name each, in its order"
        )
    predict = partial(predict_keras, network, flip=flip, scaling=stated.scaling)
    return Classifier(path, runtime, preprocessing, taken[1], stated.classes, predict, network, stated)
