"""How one looks into a Keras classifier: pictures in, arrays out; training/explain.py draws them.

Gradients are TensorFlow's; what a layer took and gave is recorded while the network runs, nested networks included.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, cast

import cv2
import numpy as np
import numpy.typing as npt

from edge.errors import ModelShape
from lab.networks.keras_file import as_batch
from lab.progress import progress
from training.explain_network import BATCH, Floats, Images, Network, is_plain

# Sides of the dreamt pattern before it is enlarged to the input's side; 1.4 apart as in Mordvintsev et al.,
# "Inceptionism", 2015. The finest is coarser than the pixels: single pixels are where noise would hide.
OCTAVES = tuple(0.7 / 1.4**k for k in (4, 3, 2, 1, 0))
STEPS = 64  # of each octave
RATE = 0.06  # a step's standard deviation, in logits of a pixel (0 is mid-gray, 1 is 186 of 255)
SMOOTH = 1.2  # pixels of the octave, a Gaussian's sigma: of two neighbouring pixels none moves alone
FADE = 0.005  # of the pattern is lost a step: what the network has no use for returns to gray
FAINT = 0.1  # of the noise that a dream starts from, in the same logits
# What a dream must survive (Olah et al., Distill 2017, doi 10.23915/distill.00007), drawn again at each step.
SHIFT = 1 / 16  # of the side
TURN_DEG = 8.0
SCALE = 0.12  # of the logarithm

PATCH = 1 / 6  # of the side: what occlusion hides


def activations(network: Network, image: npt.NDArray[np.uint8]) -> list[tuple[str, str, Floats]]:
    """Return what each layer makes of one picture: its name, its kind, float32 (h, w, channels) or (units,).

    In the order of the network; without the layers that only scale, shift or reshape each channel.
    """
    _, taps = network.run(as_batch(image[None]))
    return [
        (tap.layer.name, type(tap.layer).__name__, np.asarray(tap.left[0], np.float32))
        for tap in taps
        if tap.left.shape.rank in (2, 4) and not is_plain(tap.layer)
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
    side, channels = network.preprocessing.side, network.preprocessing.channels
    rng = np.random.default_rng(seed)
    sides = [max(2, round(share * side)) for share in OCTAVES]
    pattern: npt.NDArray[Any] = np.zeros((len(units), sides[0], sides[0], channels), np.float32)
    begin = np.zeros((len(units), side, side, channels), np.float32)
    if start is None:
        pattern += rng.normal(0, FAINT, pattern.shape)
    else:
        share = np.clip(as_batch(start[None]) / 255, 0.02, 0.98)
        begin += np.log(share / (1 - share))

    paint = _painter(begin)
    climb = _climber(network, units, layer, paint)
    first = np.asarray(paint(pattern, _enlarger(sides[0], side)))
    with progress(range(len(sides) * steps), "dream") as bar:
        for octave in sides:
            pattern = _each(pattern, lambda p, s=octave: cv2.resize(p, (s, s), interpolation=cv2.INTER_CUBIC))
            enlarge = _enlarger(octave, side)
            for _ in range(steps):
                gradient = np.array(climb(pattern, enlarge, _views(rng, len(units), side)))
                gradient = _each(gradient, lambda g: cv2.GaussianBlur(g, (0, 0), SMOOTH))
                spread = gradient.std(axis=(1, 2, 3), keepdims=True)
                # No slope, no step: nothing is divided by nothing.
                pattern = (1 - FADE) * pattern + RATE * gradient / np.where(spread > 0, spread, np.inf)
                bar.update()
    return _to_pixels(first), _to_pixels(paint(pattern, _enlarger(sides[-1], side)))


def _painter(begin: Floats) -> Callable[[Any, Floats], Any]:
    """Return what turns a pattern, enlarged over `begin` (n, side, side, channels), both in logits, into pixels."""
    import tensorflow as tf

    def paint(pattern: Any, enlarge: Floats) -> Any:
        return 255 * tf.sigmoid(begin + tf.einsum("hi,nijc,wj->nhwc", enlarge, pattern, enlarge))

    return paint


def _climber(
    network: Network, units: Sequence[int], layer: int | None, paint: Callable[[Any, Floats], Any]
) -> Callable[[Any, Floats, Floats], Any]:
    """Return what gives the slope of the answers of `units` over a pattern that is seen in given views."""
    import tensorflow as tf

    side = network.preprocessing.side

    @tf.function(reduce_retracing=True)  # type: ignore[untyped-decorator]  # TensorFlow has no types
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

    return cast(Callable[[Any, Floats, Floats], Any], climb)


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
    for start in range(0, len(images), BATCH):
        pixels, named = tf.constant(as_batch(images[start : start + BATCH])), classes[start : start + BATCH]
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
    for image, lost in zip(progress(images, "occlusion"), maps, strict=True):
        hidden, covered = np.repeat(image[None], len(squares), axis=0), np.zeros((side, side, 1), np.float32)
        for copy, square in zip(hidden, squares, strict=True):
            copy[square] = np.round(image.mean(axis=(0, 1)))
        drops = network.predict(image[None]) - network.predict(hidden)
        for drop, square in zip(drops, squares, strict=True):
            lost[square] += drop
            covered[square] += 1
        np.divide(lost, covered, out=lost)
    return maps
