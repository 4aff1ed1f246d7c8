"""The first network of every course: three convolutions, pooled, one dense layer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge.vision.preprocessing import Preprocessing
from training.recipes import Recipe

if TYPE_CHECKING:
    import keras


def build(preprocessing: Preprocessing, classes: int) -> keras.Model:
    """Build it: no normalisation, 17 M multiply-accumulates and 0.35 M parameters at 48 pixels gray."""
    import keras
    from keras import layers

    side = preprocessing.side
    pixels = layers.Input((side, side, preprocessing.channels), name="pixels")
    x = layers.Rescaling(1 / 127.5, -1)(pixels)
    for filters in (32, 64, 64):
        x = layers.Conv2D(filters, 3, padding="same", activation="relu")(x)
        x = layers.MaxPooling2D()(x)
    x = layers.Flatten()(x)
    x = layers.Dense(128, activation="relu")(x)
    x = layers.Dropout(0.5, name="features")(x)
    logits = layers.Dense(classes, dtype="float32")(x)
    return keras.Model(pixels, layers.Softmax(dtype="float32", name="probabilities")(logits), name="simple")


RECIPE = Recipe(
    build, epochs=12, optimizer="adam", learning_rate=1e-3, weight_decay=0.0, label_smoothing=0.0, distil=0.0, votes=0.0
)
