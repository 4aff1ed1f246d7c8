"""How one looks into a Keras classifier: pictures in, arrays out; training/explain.py draws them.

Gradients are TensorFlow's; what a layer took and gave is recorded while the network runs, nested networks included.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from edge.errors import ModelShape, RuntimeMissing
from lab.networks.foreign import Scaling
from lab.networks.keras_file import as_batch, give_pixels, load_keras, preprocessing_of

# Sides of the dreamt pattern before it is enlarged to the input's side; 1.4 apart as in Mordvintsev et al.,
# "Inceptionism", 2015. The finest is coarser than the pixels: single pixels are where noise would hide.
OCTAVES = tuple(0.7 / 1.4**k for k in (4, 3, 2, 1, 0))
STEPS = 64  # of each octave
RATE = 0.06  # a step's standard deviation, in logits of a pixel (0 is mid-gray, 1 is 186 of 255)
SMOOTH = 1.2  # pixels of the octave, a Gaussian's sigma: of two neighbouring pixels none moves alone
FADE = 0.005  # of the pattern is lost a step: what the network has no use for returns to gray
FAINT = 0.1  # of the noise that a dream starts from, in the same logits
# What a dream must survive (Olah et al., Distill 2017, doi 10.23915/distill.00007), drawn anew at each step.
SHIFT = 1 / 16  # of the side
TURN_DEG = 8.0
SCALE = 0.12  # of the logarithm

PATCH = 1 / 6  # of the side: what occlusion hides
_BATCH = 64

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
        parts = [self._predict(as_batch(images[i : i + _BATCH])) for i in range(0, len(images), _BATCH)]
        return np.concatenate([np.asarray(part, np.float32) for part in parts])

    def ask(self, pixels: Any) -> npt.NDArray[np.float64]:
        """Ask for the outputs (n, width) to pixels of any scale, float32 (n, side, side, channels)."""
        return np.asarray(self.model.predict(pixels, batch_size=_BATCH, verbose=0), np.float64)

    def noise(self, count: int) -> Images:
        """Draw `count` pictures of noise, the same each time."""
        shape = (count, self.preprocessing.side, self.preprocessing.side, self.preprocessing.channels)
        return np.random.default_rng(0).integers(0, 256, shape, np.uint8)

    def looks(self, images: Images) -> bool:
        """Tell whether any logit depends on any pixel of these pictures: a network may ignore what it is given."""
        import tensorflow as tf

        for start in range(0, len(images), _BATCH):
            pixels = tf.constant(as_batch(images[start : start + _BATCH]))
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
            if behind and len(shape) == 3 and shape[0] * shape[1] > 1 and not _is_plain(layer) and not _pools(layer):
                found = i
        return found

    def middle_layer(self) -> int | None:
        """Return the index of the layer halfway to `spatial_layer`, an activation where there is any."""
        last = self.spatial_layer()
        if last is None:
            return None
        maps = [
            i for i, (layer, shape) in enumerate(self.layers[: last + 1]) if len(shape) == 3 and not _is_plain(layer)
        ]
        active = [i for i in maps if _is_activation(self.layers[i][0])]
        return (active or maps)[len(active or maps) // 2]

    def loudest(self, layer: int, images: Images, count: int) -> list[int]:
        """Return the channels of `layers[layer]` that answer these pictures most, in their own order."""
        _, taps = self.run(as_batch(images[:_BATCH]))
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


def _is_plain(layer: Any) -> bool:
    """Tell whether each channel's normalised picture is the same before and after the layer."""
    import keras

    kinds = keras.layers
    same = (kinds.InputLayer, kinds.Rescaling, kinds.Normalization, kinds.BatchNormalization, kinds.Identity)
    return isinstance(layer, (*same, kinds.Flatten, kinds.Reshape)) or "Dropout" in type(layer).__name__


def activations(network: Network, image: npt.NDArray[np.uint8]) -> list[tuple[str, str, Floats]]:
    """Return what each layer makes of one picture: its name, its kind, float32 (h, w, channels) or (units,).

    In the order of the network; without the layers that only scale, shift or reshape each channel.
    """
    _, taps = network.run(as_batch(image[None]))
    return [
        (tap.layer.name, type(tap.layer).__name__, np.asarray(tap.left[0], np.float32))
        for tap in taps
        if tap.left.shape.rank in (2, 4) and not _is_plain(tap.layer)
    ]


def dream(
    network: Network,
    units: Sequence[int],
    start: npt.NDArray[np.uint8] | None = None,
    *,
    layer: int | None = None,
    seed: int = 0,
    steps: int = STEPS,
) -> tuple[Images, Images]:
    """Change a picture until the network reads the class `units[i]` in it, or channel `units[i]` of a layer answers.

    Gradient ascent over octaves (Mordvintsev et al., "Inceptionism", 2015) on logits, each less the mean of all,
    as a softmax does not see what all of them share; or on the mean of a channel of `network.layers[layer]`. The
    pattern is in logits of the pixels, so none leaves 0 to 255; each step sees it shifted, turned and
    scaled at random and moves by the smoothed gradient (Olah et al., Distill 2017,
    doi 10.23915/distill.00007). From `start`, uint8 (side, side[, 3]), or from gray with faint noise.
    Returns the starts and the dreams, uint8 (n, side, side, channels); the same ones for the same seed.
    """
    import tensorflow as tf

    side, channels = network.preprocessing.side, network.preprocessing.channels
    rng = np.random.default_rng(seed)
    sides = [max(2, round(share * side)) for share in OCTAVES]
    pattern = np.zeros((len(units), sides[0], sides[0], channels), np.float32)
    begin = np.zeros((len(units), side, side, channels), np.float32)
    if start is None:
        pattern += rng.normal(0, FAINT, pattern.shape)
    else:
        share = np.clip(as_batch(start[None]) / 255, 0.02, 0.98)
        begin += np.log(share / (1 - share))

    def paint(pattern: Any, enlarge: Floats) -> Any:
        return 255 * tf.sigmoid(begin + tf.einsum("hi,nijc,wj->nhwc", enlarge, pattern, enlarge))

    @tf.function(reduce_retracing=True)
    def climb(pattern: Any, enlarge: Any, views: Any) -> Any:
        with tf.GradientTape() as tape:
            tape.watch(pattern)
            seen = tf.raw_ops.ImageProjectiveTransformV3(
                images=paint(pattern, enlarge),
                transforms=views,
                output_shape=(side, side),
                fill_value=0.0,
                interpolation="BILINEAR",
                fill_mode="REFLECT",
            )
            logits, taps = network.run(seen)
            if layer is None:
                answers = logits - tf.reduce_mean(logits, axis=1, keepdims=True)
            else:
                answers = tf.reduce_mean(tf.cast(taps[layer].left, tf.float32), axis=(1, 2))
            goal = tf.reduce_sum(tf.gather(answers, tf.constant(units), batch_dims=1))
        return tape.gradient(goal, pattern, unconnected_gradients=tf.UnconnectedGradients.ZERO)

    first = np.asarray(paint(pattern, _enlarger(sides[0], side)))
    with tqdm(total=len(sides) * steps, desc="dream", disable=not sys.stderr.isatty(), leave=False) as progress:
        for octave in sides:
            pattern = _each(pattern, lambda p, s=octave: cv2.resize(p, (s, s), interpolation=cv2.INTER_CUBIC))
            enlarge = _enlarger(octave, side)
            for _ in range(steps):
                gradient = np.array(climb(pattern, enlarge, _views(rng, len(units), side)))
                gradient = _each(gradient, lambda g: cv2.GaussianBlur(g, (0, 0), SMOOTH))
                spread = gradient.std(axis=(1, 2, 3), keepdims=True)
                # No slope, no step: nothing is divided by nothing.
                pattern = (1 - FADE) * pattern + RATE * gradient / np.where(spread > 0, spread, np.inf)
                progress.update()
    return _to_pixels(first), _to_pixels(paint(pattern, _enlarger(sides[-1], side)))


def _each(stack: Floats, change: Any) -> Floats:
    changed = [np.asarray(change(part), np.float32) for part in stack]
    return np.stack([part.reshape(*part.shape[:2], stack.shape[3]) for part in changed])  # OpenCV drops one channel


def _enlarger(small: int, side: int) -> Floats:
    """Return bicubic enlargement as a matrix, float32 (side, small): what TensorFlow can differentiate."""
    return np.asarray(cv2.resize(np.eye(small, dtype=np.float32), (small, side), interpolation=cv2.INTER_CUBIC))


def _to_pixels(values: Any) -> Images:
    return np.round(np.asarray(values)).astype(np.uint8)


def _views(rng: np.random.Generator, count: int, side: int) -> Floats:
    """Draw views of a picture, float32 (count, 8), rows of a projective matrix from output to input."""
    turn = np.deg2rad(rng.uniform(-TURN_DEG, TURN_DEG, count))
    scale = np.exp(rng.uniform(-SCALE, SCALE, count))
    shift = rng.uniform(-SHIFT * side, SHIFT * side, (2, count))
    cos, sin, middle = scale * np.cos(turn), scale * np.sin(turn), (side - 1) / 2
    across = middle - cos * middle + sin * middle + shift[0]
    down = middle - sin * middle - cos * middle + shift[1]
    none = np.zeros(count)
    return np.stack([cos, -sin, across, sin, cos, down, none, none], axis=1).astype(np.float32)


def grad_cam(network: Network, images: Images, classes: Sequence[int]) -> Floats:
    """Show where maps of the last spatial layer speak for class `classes[i]` of picture i.

    Selvaraju et al., arXiv 1610.02391: maps weighted by the mean gradient of the class's logit, negative sums cut
    off. Returns float32 (n, side, side) of 0 to 1, each by its own maximum; zeros where nothing speaks
    for the class. Raises ModelShape for a network without a convolution.
    """
    import tensorflow as tf

    index = network.spatial_layer()
    if index is None:
        raise ModelShape("no convolution in this network: Grad-CAM has no maps to weigh; leave gradcam out of --what")
    heats = []
    for start in range(0, len(images), _BATCH):
        pixels, named = tf.constant(as_batch(images[start : start + _BATCH])), classes[start : start + _BATCH]
        with tf.GradientTape() as tape:
            tape.watch(pixels)
            logits, taps = network.run(pixels)
            goal = tf.reduce_sum(tf.gather(logits, tf.constant(named), batch_dims=1))
        maps = taps[index].left
        gradient = tape.gradient(goal, maps, unconnected_gradients=tf.UnconnectedGradients.ZERO)
        weights = np.asarray(gradient, np.float32).mean(axis=(1, 2), keepdims=True)
        heats.append(np.maximum((weights * np.asarray(maps, np.float32)).sum(axis=3), 0))
    side = network.preprocessing.side
    heat = np.stack([cv2.resize(h, (side, side), interpolation=cv2.INTER_LINEAR) for h in np.concatenate(heats)])
    most = heat.max(axis=(1, 2), keepdims=True)
    return np.asarray(heat / np.where(most > 0, most, 1), np.float32)


def occlusion(network: Network, images: Images) -> Floats:
    """Measure what hiding each part of a picture costs each class.

    Zeiler & Fergus, arXiv 1311.2901: a square of PATCH of the side in the picture's mean colour, moved by a third of
    itself. Returns float32 (n, side, side, width): probability lost, the mean over all squares that hid the pixel;
    negative where hiding helps the class.
    """
    side = network.preprocessing.side
    patch = max(1, round(PATCH * side))
    steps = sorted({*range(0, side - patch + 1, max(1, patch // 3)), side - patch})
    squares = [(slice(y, y + patch), slice(x, x + patch)) for y in steps for x in steps]
    maps = np.zeros((len(images), side, side, network.width), np.float32)
    for image, lost in zip(tqdm(images, "occlusion", disable=not sys.stderr.isatty(), leave=False), maps, strict=True):
        hidden, covered = np.repeat(image[None], len(squares), axis=0), np.zeros((side, side, 1), np.float32)
        for copy, square in zip(hidden, squares, strict=True):
            copy[square] = np.round(image.mean(axis=(0, 1)))
        drops = network.predict(image[None]) - network.predict(hidden)
        for drop, square in zip(drops, squares, strict=True):
            lost[square] += drop
            covered[square] += 1
        np.divide(lost, covered, out=lost)
    return maps
