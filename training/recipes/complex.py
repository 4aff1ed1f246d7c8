"""A VGG-like network of the kind that FER2013's best-known notebooks use: large, and no residuals."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge.vision.preprocessing import Preprocessing
from training.recipes import Recipe

if TYPE_CHECKING:
    import keras


def build(preprocessing: Preprocessing, classes: int) -> keras.Model:
    """Build it: 290 M multiply-accumulates and 4.5 M parameters at 48 pixels gray.

    Convolutions, normalised and pooled four times, then two wide dense layers, after Simonyan and Zisserman,
    arXiv 1409.1556.
    """
    import keras
    from keras import layers

    side = preprocessing.side
    pixels = layers.Input((side, side, preprocessing.channels), name="pixels")
    x = layers.Rescaling(1 / 127.5, -1)(pixels)
    for filters, size in ((64, 3), (128, 5), (512, 3), (512, 3)):
        x = layers.Conv2D(filters, size, padding="same", use_bias=False)(x)
        x = layers.ReLU()(layers.BatchNormalization()(x))
        x = layers.Dropout(0.25)(layers.MaxPooling2D()(x))
    x = layers.Flatten()(x)
    for units in (256, 512):
        x = layers.Dense(units, use_bias=False)(x)
        x = layers.ReLU()(layers.BatchNormalization()(x))
        x = layers.Dropout(0.25, name="features" if units == 512 else None)(x)
    logits = layers.Dense(classes, dtype="float32")(x)
    return keras.Model(pixels, layers.Softmax(dtype="float32", name="probabilities")(logits), name="complex")


RECIPE = Recipe(
    build,
    epochs=20,
    optimizer="adam",
    learning_rate=1e-3,
    weight_decay=0.0,
    label_smoothing=0.0,
    distil=0.0,
    votes=0.0,
)
