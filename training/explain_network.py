"""A Keras classifier whose logits and layers can be reached; what a layer took and gave is recorded while it runs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edge.errors import ModelShape, RuntimeMissing
from lab.networks.foreign import Scaling
from lab.networks.keras_file import as_batch, give_pixels, load_keras, preprocessing_of

BATCH = 64
Images = npt.NDArray[np.uint8]  # (n, side, side) gray or (n, side, side, 3) RGB
Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Tap:
    """One layer's part in one run of the network: TensorFlow tensors."""

    layer: Any
    entered: Any
    left: Any


class Network:
    """A Keras classifier whose logits and layers can be reached."""

    def __init__(self, path: Path, scaling: Scaling | None = None) -> None:
        """Load a .keras file; `scaling` is what one that was made elsewhere expects for its pixels.

        Raises RuntimeMissing without Keras or with another backend than TensorFlow, ModelShape for what is
        no classifier of square gray or RGB pictures, ModelMissing and ModelUnreadable.
        """
        self.model = load_keras(path)
        import keras

        if keras.backend.backend() != "tensorflow":
            raise RuntimeMissing(
                f"KERAS_BACKEND is {keras.backend.backend()!r}; gradients are taken with TensorFlow: "
                "set KERAS_BACKEND=tensorflow"
            )
        self.preprocessing = preprocessing_of(self.model, path)
        if scaling is not None:
            self.model = give_pixels(self.model, scaling)
        given = self.model.output_shape
        if not isinstance(given, tuple) or len(given) != 2 or given[1] is None or given[1] < 2:
            raise ModelShape(f"{path}: gives {given}; a classifier gives (None, classes), of 2 classes or more")
        self.width: int = given[1]
        self._leaves = list({id(leaf): leaf for leaf in _leaves(self.model)}.values())
        with _tapped(self._leaves) as taps:
            output = self.model(as_batch(self.noise(8)), training=False)
        # A softmax that something follows is not the end, whatever its name.
        self._softmax_ends = bool(taps) and taps[-1].left is output and _is_softmax(taps[-1].layer)
        given = np.asarray(output, np.float64)
        self._probable = bool((given >= 0).all() and np.allclose(given.sum(1), 1, atol=1e-3))
        self.layers = tuple((tap.layer, tuple(tap.left.shape[1:])) for tap in taps if hasattr(tap.left, "shape"))
        """Each layer in the order of the run, with the shape that it gives for one picture."""

    def run(self, pixels: Any) -> tuple[Any, list[Tap]]:
        """Run a tensor (n, side, side, channels) of 0 to 255 in inference mode; returns logits (n, width) and taps.

        Logits are what enters the last softmax; of probabilities that come otherwise, their logarithm.
        """
        import tensorflow as tf

        with _tapped(self._leaves) as taps:
            output = self.model(pixels, training=False)
        taps = [tap for tap in taps if hasattr(tap.left, "shape")]
        if self._softmax_ends:
            output = _before_softmax(taps[-1])
        output = tf.cast(output, tf.float32)
        return (tf.math.log(tf.maximum(output, 1e-12)) if self._probable and not self._softmax_ends else output), taps

    @cached_property
    def _predict(self) -> Any:
        import tensorflow as tf

        return tf.function(lambda pixels: tf.nn.softmax(self.run(pixels)[0]), reduce_retracing=True)

    def predict(self, images: Images) -> Floats:
        """Read pictures as probabilities, float32 (n, width)."""
        parts = [self._predict(as_batch(images[i : i + BATCH])) for i in range(0, len(images), BATCH)]
        return np.concatenate([np.asarray(part, np.float32) for part in parts])

    def ask(self, pixels: Any) -> npt.NDArray[np.float64]:
        """Ask for the outputs (n, width) to pixels of any scale, float32 (n, side, side, channels)."""
        return np.asarray(self.model.predict(pixels, batch_size=BATCH, verbose=0), np.float64)

    def noise(self, count: int) -> Images:
        """Draw `count` pictures of noise, the same each time."""
        shape = (count, self.preprocessing.side, self.preprocessing.side, self.preprocessing.channels)
        return np.random.default_rng(0).integers(0, 256, shape, np.uint8)

    def looks(self, images: Images) -> bool:
        """Return whether any logit depends on any pixel of these pictures: a network may ignore what it is given."""
        import tensorflow as tf

        for start in range(0, len(images), BATCH):
            pixels = tf.constant(as_batch(images[start : start + BATCH]))
            with tf.GradientTape() as tape:
                tape.watch(pixels)
                logits, _ = self.run(pixels)
                goal = tf.reduce_sum(logits * np.linspace(-1, 1, self.width, dtype=np.float32))
            gradient = tape.gradient(goal, pixels, unconnected_gradients=tf.UnconnectedGradients.ZERO)
            if np.any(gradient):
                return True
        return False

    def spatial_layer(self) -> int | None:
        """Return the index in `layers` of the last that gives maps: behind a convolution, before they are pooled away.

        None where there is no convolution.
        """
        import keras

        kinds = keras.layers
        convolutions = (kinds.Conv2D, kinds.Conv2DTranspose, kinds.DepthwiseConv2D, kinds.SeparableConv2D)
        found, behind = None, False
        for i, (layer, shape) in enumerate(self.layers):
            behind = behind or isinstance(layer, convolutions)
            if behind and len(shape) == 3 and shape[0] * shape[1] > 1 and not is_plain(layer) and not _pools(layer):
                found = i
        return found

    def middle_layer(self) -> int | None:
        """Return the index of the layer halfway to `spatial_layer`, an activation where there is any."""
        last = self.spatial_layer()
        if last is None:
            return None
        maps = [
            i for i, (layer, shape) in enumerate(self.layers[: last + 1]) if len(shape) == 3 and not is_plain(layer)
        ]
        active = [i for i in maps if _is_activation(self.layers[i][0])]
        return (active or maps)[len(active or maps) // 2]

    def loudest(self, layer: int, images: Images, count: int) -> list[int]:
        """Return the channels of `layers[layer]` that answer these pictures most, in their own order."""
        _, taps = self.run(as_batch(images[:BATCH]))
        strength = np.abs(np.asarray(taps[layer].left, np.float32)).mean(axis=(0, 1, 2))
        return sorted(np.argsort(-strength, kind="stable")[:count].tolist())


def _leaves(model: Any) -> Iterator[Any]:
    for layer in model.layers:
        if hasattr(layer, "layers"):
            yield from _leaves(layer)
        else:
            yield layer


@contextmanager
def _tapped(leaves: Sequence[Any]) -> Iterator[list[Tap]]:
    """Record what these layers take and give until the end of the `with`."""
    taps: list[Tap] = []

    def tap(layer: Any) -> None:
        call = layer.call

        def recorded(*args: Any, **settings: Any) -> Any:
            left = call(*args, **settings)
            taps.append(Tap(layer, args[0] if args else None, left))
            return left

        layer.call = recorded

    for leaf in leaves:
        tap(leaf)
    try:
        yield taps
    finally:
        for leaf in leaves:
            del leaf.call


def _is_softmax(layer: Any) -> bool:
    import keras

    if isinstance(layer, keras.layers.Softmax):
        return True
    return isinstance(layer, (keras.layers.Activation, keras.layers.Dense)) and (
        layer.activation is keras.activations.softmax
    )


def _before_softmax(tap: Tap) -> Any:
    import keras

    if not isinstance(tap.layer, keras.layers.Dense):
        return tap.entered
    logits = keras.ops.matmul(tap.entered, tap.layer.kernel)
    return logits if tap.layer.bias is None else logits + tap.layer.bias


def _is_activation(layer: Any) -> bool:
    import keras

    kinds = keras.layers
    return isinstance(layer, (kinds.Activation, kinds.ReLU, kinds.LeakyReLU, kinds.PReLU, kinds.ELU))


def _pools(layer: Any) -> bool:
    return "Pooling" in type(layer).__name__


def is_plain(layer: Any) -> bool:
    """Return whether each channel's normalised picture is the same before and after the layer."""
    import keras

    kinds = keras.layers
    same = (kinds.InputLayer, kinds.Rescaling, kinds.Normalization, kinds.BatchNormalization, kinds.Identity)
    return isinstance(layer, (*same, kinds.Flatten, kinds.Reshape)) or "Dropout" in type(layer).__name__
