"""What ships: a residual network for one slow core."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from edge.preprocessing import Preprocessing
from training.recipes import Recipe

if TYPE_CHECKING:
    import keras


def build_residual(
    preprocessing: Preprocessing, classes: int, name: str, *, widths: Sequence[int], depths: Sequence[int]
) -> keras.Model:
    """Build a residual network; each stage has `depths` blocks of `widths` channels at half the size of the one before.

    Only operators that int8 TFLite has had since 2.14 (convolution, add, mean pooling, dense, softmax).
    After He et al., arXiv 1512.03385; a shortcut that shrinks averages first, as in He et al., arXiv 1812.01187.
    """
    import keras
    from keras import layers

    def convolve(x: keras.KerasTensor, filters: int, size: int = 3, strides: int = 1) -> keras.KerasTensor:
        x = layers.Conv2D(filters, size, strides, "same", use_bias=False)(x)
        return layers.BatchNormalization()(x)

    def residual(x: keras.KerasTensor, filters: int, strides: int) -> keras.KerasTensor:
        branch = layers.ReLU()(convolve(x, filters, strides=strides))
        branch = convolve(branch, filters)
        if strides != 1:
            x = convolve(layers.AveragePooling2D(strides, padding="same")(x), filters, size=1)
        return layers.ReLU()(layers.Add()([branch, x]))

    side = preprocessing.side
    pixels = layers.Input((side, side, preprocessing.channels), name="pixels")
    x = layers.Rescaling(1 / 127.5, -1)(pixels)
    x = layers.ReLU()(convolve(x, widths[0], strides=2))
    for stage, (width, depth) in enumerate(zip(widths, depths, strict=True)):
        for block in range(depth):
            x = residual(x, width, strides=2 if stage and not block else 1)
    x = layers.GlobalAveragePooling2D()(x)
    x = layers.Dropout(0.1, name="features")(x)
    # Softmax over logits in float32 also where the rest is fitted in bfloat16.
    logits = layers.Dense(classes, dtype="float32")(x)
    return keras.Model(pixels, layers.Softmax(dtype="float32", name="probabilities")(logits), name=name)


def build(preprocessing: Preprocessing, classes: int) -> keras.Model:
    """Build it: 39.7 M multiply-accumulates and 0.43 M parameters at 48 pixels gray."""
    return build_residual(preprocessing, classes, "compact", widths=(32, 64, 144), depths=(1, 2, 1))


def start(model: keras.Model, path: Path, faces: npt.NDArray[np.uint8]) -> None:
    """Give `model` the weights of one that was fitted before (restarts: Loshchilov and Hutter, arXiv 1608.03983)."""
    from lab.networks.keras_file import load_keras

    model.set_weights(load_keras(path).get_weights())


RECIPE = Recipe(build, epochs=130, weight_decay=3e-4, start=start)
