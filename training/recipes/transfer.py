"""InceptionV3 with ImageNet's weights, carried over to new classes: the study's last network."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from edge.vision.preprocessing import Preprocessing
from training.recipes import Recipe

if TYPE_CHECKING:
    import keras

SIDE = 96  # what the network sees; it takes 75 and up (Szegedy et al., arXiv 1512.00567)


def build(preprocessing: Preprocessing, classes: int) -> keras.Model:
    """Build it without weights: enlarging and gray to RGB are layers, so it takes what the others take."""
    import keras
    from keras import layers

    side = preprocessing.side
    pixels = layers.Input((side, side, preprocessing.channels), name="pixels")
    x = layers.Rescaling(1 / 127.5, -1)(pixels)
    if side < SIDE:
        x = layers.Resizing(SIDE, SIDE)(x)
    if preprocessing.channels == 1:
        x = layers.Concatenate()([x, x, x])
    base = keras.applications.InceptionV3(include_top=False, weights=None, input_tensor=x)
    x = layers.GlobalAveragePooling2D()(base.output)
    x = layers.Dropout(0.3, name="features")(x)
    logits = layers.Dense(classes, dtype="float32")(x)
    return keras.Model(pixels, layers.Softmax(dtype="float32", name="probabilities")(logits), name="transfer")


def start(model: keras.Model, path: Path, faces: npt.NDArray[np.uint8]) -> None:
    """Give `model` the convolutions of an InceptionV3 weights file without its top; raises what Keras raises."""
    import keras

    base = keras.applications.InceptionV3(include_top=False, weights=str(path), input_shape=(SIDE, SIDE, 3))
    ours = [layer for layer in model.layers if layer.weights][:-1]
    theirs = [layer for layer in base.layers if layer.weights]
    for layer, source in zip(ours, theirs, strict=True):
        layer.set_weights(source.get_weights())


RECIPE = Recipe(
    build,
    epochs=10,
    batch=64,
    optimizer="adam",
    learning_rate=3e-4,
    weight_decay=0.0,
    start=start,
    start_file="inception_v3_weights_tf_dim_ordering_tf_kernels_notop.h5",
)
