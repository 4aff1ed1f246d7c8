"""Residual networks, of which the recipes `compact`, `teacher` and `trunk` are made."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from edge.vision.preprocessing import Preprocessing

if TYPE_CHECKING:
    import keras


def build_residual(
    preprocessing: Preprocessing, classes: int, name: str, *, widths: Sequence[int], depths: Sequence[int]
) -> keras.Model:
    """Build a residual network; each stage has `depths` blocks of `widths` channels at half the size of the one before.

    Only operators that int8 TFLite has had since 2.14 (convolution, add, mean pooling, dense, softmax).
    """
    from keras import layers

    side = preprocessing.side
    pixels = layers.Input((side, side, preprocessing.channels), name="pixels")
    x = layers.Rescaling(1 / 127.5, -1)(pixels)
    x = layers.ReLU()(convolve(x, widths[0], strides=2))
    return classify(pixels, add_stages(x, widths, depths), classes, name, dropout=0.1)


def convolve(
    x: keras.KerasTensor, filters: int, size: int = 3, strides: int = 1, padding: str = "same"
) -> keras.KerasTensor:
    """Add a convolution without bias, and its batch normalisation."""
    from keras import layers

    x = layers.Conv2D(filters, size, strides, padding, use_bias=False)(x)
    return layers.BatchNormalization()(x)


def add_stages(x: keras.KerasTensor, widths: Sequence[int], depths: Sequence[int]) -> keras.KerasTensor:
    """Add a stage of `depths` blocks for each of `widths`, every stage but the first at half the size.

    After He et al., arXiv 1512.03385; a shortcut that shrinks averages first, as in He et al., arXiv 1812.01187.
    """
    from keras import layers

    for stage, (width, depth) in enumerate(zip(widths, depths, strict=True)):
        for block in range(depth):
            strides = 2 if stage and not block else 1
            branch = layers.ReLU()(convolve(x, width, strides=strides))
            branch = convolve(branch, width)
            if strides != 1:
                x = convolve(layers.AveragePooling2D(strides, padding="same")(x), width, size=1)
            x = layers.ReLU()(layers.Add()([branch, x]))
    return x


def classify(
    pixels: keras.KerasTensor, x: keras.KerasTensor, classes: int, name: str, *, dropout: float
) -> keras.Model:
    """Return the network from `pixels` to the classes' probabilities, by the means of `x` over the picture."""
    import keras
    from keras import layers

    x = layers.Dropout(dropout, name="features")(layers.GlobalAveragePooling2D()(x))
    # Softmax over logits in float32 also where the rest is fitted in bfloat16.
    logits = layers.Dense(classes, dtype="float32")(x)
    return keras.Model(pixels, layers.Softmax(dtype="float32", name="probabilities")(logits), name=name)
