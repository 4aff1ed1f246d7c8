"""The first half of a face-recognition network, fitted to expressions: its features know faces before the fit begins.

The weights to start from are dlib's (King, CC0): the face-recognition ResNet of the package face-recognition-models.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from edge.vision.preprocessing import Preprocessing
from lab.networks.keras_file import as_batch, load_keras
from training.recipes import Recipe
from training.recipes.residual import add_stages, classify, convolve

if TYPE_CHECKING:
    import keras

SIDE = 64  # what the first convolution sees: a picture of 48 pixels is enlarged to it
WIDTHS = (32, 64, 128)
DEPTHS = (3, 4, 2)
MEANS = (122.782, 117.001, 104.298)  # of red, green and blue: what dlib's input layer takes off a pixel
SCALE = 1 / 256  # and what it then multiplies by
NOISE = 0.01  # of a shortcut's filters beside the identity that dlib has there

Floats = npt.NDArray[np.float32]


def build(preprocessing: Preprocessing, classes: int) -> keras.Model:
    """Build it: 34 M multiply-accumulates and 0.87 M parameters at 48 pixels gray.

    A residual network (He et al., arXiv 1512.03385) with dlib's stem; a shortcut that shrinks is mean pooling, as
    there, and then a convolution of 1x1 where dlib fills up with channels of zeros.
    """
    from keras import layers

    side = preprocessing.side
    pixels = layers.Input((side, side, preprocessing.channels), name="pixels")
    x = layers.Rescaling(SCALE, -SCALE * float(np.mean(MEANS)))(pixels)
    if side != SIDE:
        x = layers.Resizing(SIDE, SIDE)(x)
    x = layers.ReLU()(convolve(x, WIDTHS[0], size=7, strides=2, padding="valid"))
    x = layers.MaxPooling2D(3, 2)(x)
    return classify(pixels, add_stages(x, WIDTHS, DEPTHS), classes, "trunk", dropout=0.2)


def read_dlib(content: bytes) -> Iterator[tuple[Floats, Floats, Floats, Floats]]:
    """Read a serialised dlib network, from its input on: filters (h, w, in, out), biases, scales, offsets (out,).

    A layer is its version's name, its parameters' version and four sizes as integers of variable length, then float32;
    a convolution's are filters (out, in, h, w) and biases, an affine layer's scales and offsets. Raises ValueError.
    """
    found = {
        name: [_read_tensor(content, match.end()) for match in re.finditer(mark, content)]
        for name, mark in (("convolutions", rb"\x05con_4\x01\x02"), ("affine", rb"\x07affine_\x01\x02"))
    }
    if not found["convolutions"] or len(found["convolutions"]) != len(found["affine"]):
        counts = ", ".join(f"{len(tensors)} {name}" for name, tensors in found.items())
        raise ValueError(f"{counts} in it; a dlib network for faces has as many of both")
    channels = 3
    for number, (convolution, affine) in enumerate(zip(found["convolutions"], found["affine"], strict=True)):
        width = len(affine) // 2
        side = np.sqrt((len(convolution) / width - 1) / channels)
        if side not in (1, 3, 5, 7):
            raise ValueError(
                f"convolution {number + 1} has {len(convolution)} numbers for {channels} to {width} channels"
            )
        filters = convolution[:-width].reshape(width, channels, int(side), int(side)).transpose(2, 3, 1, 0)
        yield filters, convolution[-width:], affine[:width], affine[width:]
        channels = width


def _read_tensor(content: bytes, at: int) -> Floats:
    """Return the float32 of a tensor whose four sizes begin at `at`, flat."""
    begun, count = at, 1
    for _ in range(4):
        # The low half of the first byte counts the bytes that follow, the lowest first.
        length = content[at] & 0x0F if at < len(content) else len(content)
        count *= int.from_bytes(content[at + 1 : at + 1 + length], "little")
        at += 1 + length
    if at + 4 * count > len(content):
        raise ValueError(f"{len(content)} bytes, the layer at {begun} needs more: it is cut off")
    return np.frombuffer(content, "<f4", count, at)


def start(model: keras.Model, path: Path, faces: npt.NDArray[np.uint8]) -> None:
    """Give `model` dlib's weights, or all those of a .keras file that was fitted before.

    dlib's affine layers become batch normalisation with the statistics of `faces`, uint8 (n, side, side) or (n, side,
    side, 3): before the first step it computes what dlib's network does. Raises OSError and ValueError.
    """
    if path.suffix == ".keras":
        model.set_weights(load_keras(path).get_weights())
        return
    carry(model, read_dlib(path.read_bytes()), faces)


def carry(
    model: keras.Model,
    source: Iterator[tuple[Floats, Floats, Floats, Floats]],
    faces: npt.NDArray[np.uint8],
    noise: float = NOISE,
) -> None:
    """Put what `read_dlib` gives into `model`, whose layers are in the same order; `noise` goes into shortcuts.

    Raises ValueError where the source ends early or a layer has another shape.
    """
    import keras
    from keras import layers

    rng = np.random.default_rng(0)
    pixels = as_batch(faces)
    convolutions = [layer for layer in model.layers if isinstance(layer, layers.Conv2D)]
    for number, convolution in enumerate(convolutions):
        normal = _next_layer(convolution)
        high, _, channels, width = convolution.kernel.shape
        biases, scales, offsets = np.zeros(width, np.float32), np.ones(width, np.float32), np.zeros(width, np.float32)
        if high == 1:
            filters = np.eye(channels, width, dtype=np.float32)[None, None]
            filters = filters + rng.normal(0, noise, filters.shape).astype(np.float32)
        else:
            try:
                filters, biases, scales, offsets = next(source)
            except StopIteration:
                raise ValueError(f"too few layers for the network's {len(convolutions)} convolutions") from None
        if not number:
            # Our input takes the mean over the colours off, dlib's each colour's own; gray is all three at once.
            away = np.float32(SCALE) * (np.array(MEANS, np.float32) - np.float32(np.mean(MEANS)))
            biases = biases - np.einsum("hwio,i->o", filters, away)
            filters = filters if channels == 3 else filters.sum(axis=2, keepdims=True)
        convolution.set_weights([filters])
        before: Any = keras.Model(model.input, convolution.output)
        values = np.asarray(keras.ops.convert_to_numpy(before(pixels)), np.float64)
        mean, variance = values.mean(axis=(0, 1, 2)), values.var(axis=(0, 1, 2))
        gamma = scales * np.sqrt(variance + normal.epsilon)
        normal.set_weights([gamma, offsets + scales * (biases + mean), mean, variance])


def _next_layer(layer: Any) -> Any:
    return layer._outbound_nodes[0].operation


RECIPE = Recipe(
    build, epochs=90, optimizer="adam", learning_rate=1e-3, weight_decay=0.1, label_smoothing=0.0, start=start
)
