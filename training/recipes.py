"""Recipes as data: which network, fitted how. `cuelens-train NAME` looks them up here."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import keras


@dataclass(frozen=True, slots=True)
class Recipe:
    """One network and how it is fitted; rates are per step, the schedule is warm-up and cosine."""

    build: Callable[[int, int], keras.Model]  # (side, classes) -> softmax classifier of raw gray pixels
    epochs: int
    batch: int = 128
    learning_rate: float = 0.08
    warmup_epochs: int = 2
    momentum: float = 0.9
    weight_decay: float = 5e-4
    label_smoothing: float = 0.1
    average: float = 0.998  # of the weights, a step: about two epochs' memory at batch 128


def build_compact(side: int, classes: int) -> keras.Model:
    """Build the shipped network: residual, 38 M multiply-accumulates, 0.6 M parameters.

    Input float32 (n, side, side, 1), raw gray of 0 to 255: scaling is the first layer, so that nobody
    can scale wrongly. Output float32 (n, classes), probabilities. Only operators that int8 TFLite has
    had since 2.14 (convolution, add, mean pooling, dense, softmax). After He et al., arXiv 1512.03385.
    """
    import keras
    from keras import layers

    def convolve(x: keras.KerasTensor, filters: int, size: int = 3, strides: int = 1) -> keras.KerasTensor:
        x = layers.Conv2D(filters, size, strides, "same", use_bias=False)(x)
        return layers.BatchNormalization()(x)

    def residual(x: keras.KerasTensor, filters: int, strides: int = 1) -> keras.KerasTensor:
        branch = layers.ReLU()(convolve(x, filters, strides=strides))
        branch = convolve(branch, filters)
        if strides != 1:
            x = convolve(layers.AveragePooling2D(strides)(x), filters, size=1)
        return layers.ReLU()(layers.Add()([branch, x]))

    pixels = layers.Input((side, side, 1), name="gray")
    x = layers.Rescaling(1 / 127.5, -1)(pixels)
    x = layers.ReLU()(convolve(x, 32, strides=2))
    x = residual(x, 32)
    x = residual(x, 64, strides=2)
    x = residual(x, 128, strides=2)
    x = residual(x, 128)
    x = layers.GlobalAveragePooling2D()(x)
    x = layers.Dropout(0.3)(x)
    # Softmax over logits in float32 also where the rest is fitted in bfloat16.
    logits = layers.Dense(classes, dtype="float32")(x)
    return keras.Model(pixels, layers.Softmax(dtype="float32", name="probabilities")(logits), name="compact")


def count_macs(model: keras.Model) -> int:
    """Count the multiply-accumulates of one inference in convolutions and dense layers."""
    import keras

    total = 0
    for layer in model.layers:
        if isinstance(layer, keras.layers.Conv2D):
            _, height, width, _ = layer.output.shape
            total += height * width * math.prod(layer.kernel.shape)
        elif isinstance(layer, keras.layers.Dense):
            total += math.prod(layer.kernel.shape)
    return total


RECIPES = {"compact": Recipe(build_compact, epochs=48)}
