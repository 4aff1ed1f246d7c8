"""Broken conversions of a real network, made for real: each is refused, and each in words of its own."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge.errors import (
    ConfidenceDrifted,
    ContractMismatch,
    CuelensError,
    GateFailed,
    InputMisread,
    LabelsPermuted,
    ModelUnreadable,
    NetworkForeign,
    NotQuantised,
    OperatorUnsupported,
    RangesForeign,
)
from edge.vision.preprocessing import Preprocessing
from lab.datasets.labelled import DataSet, Labelled

pytestmark = [pytest.mark.host, pytest.mark.slow]

CLASSES = ("red top", "green top", "red middle", "green middle", "red left", "green left")
SIDE = 32
FACTS = Path(__file__).parents[2] / "converter" / "operators.json"


def draw(count: int, seed: int) -> Labelled:
    """Draw pictures with a bright stripe: where it is and its colour are the class."""
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % len(CLASSES)
    images = rng.integers(20, 90, (count, SIDE, SIDE, 3))
    for image, label in zip(images, labels, strict=True):
        place, colour = divmod(int(label), 2)
        stripe = (slice(2, 9), slice(13, 20), slice(None))[place], (slice(None), slice(None), slice(2, 9))[place]
        image[(*stripe, colour)] += rng.integers(25, 120)
    return Labelled(images.astype(np.uint8), labels.astype(np.int64))


@pytest.fixture(scope="module")
def network() -> Any:
    """A small network that knows the stripes, with layers that none of the recipes has."""
    import keras
    from keras import layers

    keras.utils.set_random_seed(0)
    pixels = layers.Input((SIDE, SIDE, 3))
    x = layers.Rescaling(1 / 127.5, -1)(pixels)
    first = layers.Conv2D(8, 3, 2, "same", activation="swish", name="first")(x)
    second = layers.SeparableConv2D(8, 3, padding="same", activation="swish", name="second")(first)
    x = layers.Concatenate(name="joined")([first, second])
    x = layers.Flatten()(layers.AveragePooling2D(4)(x))
    model = keras.Model(pixels, layers.Dense(len(CLASSES), activation="softmax", name="logits")(x), name="stripes")
    data = draw(600, 3)
    model.compile("adam", "sparse_categorical_crossentropy")
    model.optimizer.learning_rate = 0.005
    model.fit(data.images.astype(np.float32), data.labels, epochs=12, verbose=0)
    return model


@pytest.fixture(scope="module")
def task(network: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    from converter.convert import Task
    from converter.gate import read_original
    from converter.quantise import export_float

    path = tmp_path_factory.mktemp("task") / "stripes.keras"
    network.save(path)
    data = DataSet("stripes", CLASSES, {"train": draw(300, 4), "validation": draw(600, 5)})
    original = read_original(path, network, CLASSES, export_float(network), data.choose)
    assert (original.real.argmax(axis=1) == data.choose.labels).mean() > 0.95
    return Task(original, {}, Preprocessing(SIDE, "rgb"), data, network)


@pytest.fixture(scope="module")
def runtimes() -> Any:
    """The host's own runtime, with the kernels that the oldest runtime has too."""
    from converter.runtimes import find_runtimes

    found, _ = find_runtimes(Path(sys.executable))
    return [runtime for runtime in found if runtime.kernels == "built-in" and not runtime.emulated]


@pytest.fixture(scope="module")
def whole(task: Any) -> tuple[bytes, dict[str, Any]]:
    """The conversion as it should be."""
    return build(task)


def build(task: Any, network: Any = None, pictures: Any = None, **changes: Any) -> tuple[bytes, dict[str, Any]]:
    """Convert `network` with calibration on `pictures`, both the task's own where None; returns file and contract."""
    from converter.convert import Steps, draw_calibration, finish, make
    from converter.probe import Probe
    from converter.quantise import export_float, measure_ranges
    from converter.recipe import Calibration, Recipe

    recipe = replace(Recipe(calibration=Calibration(rows=120)), **changes)
    if network is not None:
        task = replace(task, original=replace(task.original, content=export_float(network)), quantised_from=network)
    pictures = draw_calibration(task.data, recipe) if pictures is None else pictures
    ranges = measure_ranges(Probe(task.original.content), pictures, recipe)
    return finish(task, recipe, make(task, recipe, pictures, ranges, (), Steps(0)), (), "stripes")


def write(folder: Path, content: bytes, contract: dict[str, Any]) -> Path:
    file = folder / "stripes.tflite"
    file.write_bytes(content)
    file.with_suffix(".json").write_text(json.dumps(contract))
    return file


def retell(task: Any, content: bytes, contract: dict[str, Any]) -> tuple[bytes, dict[str, Any]]:
    """Finish a file that was changed inside: metadata and contract vouch for it."""
    from converter.convert import finish
    from converter.graph import unpack
    from converter.recipe import Recipe

    return finish(task, Recipe(), unpack(content), (), "stripes")


def before(network: Any, *layers: Any) -> Any:
    """Put layers before a network, as a converter does that prepares pixels once too often."""
    import keras

    pixels = keras.Input(network.input_shape[1:])
    x = pixels
    for layer in layers:
        x = layer(x)
    return keras.Model(pixels, network(x))


def behind(network: Any, layer: Any) -> Any:
    import keras

    return keras.Model(network.inputs, layer(network.output), name=network.name)


def changed(network: Any, layer: str, change: Callable[[list[Any]], list[Any]]) -> Any:
    import keras

    other = keras.models.clone_model(network)
    other.set_weights(network.get_weights())
    other.get_layer(layer).set_weights(change(other.get_layer(layer).get_weights()))
    return other


def scaled_twice(task: Any) -> tuple[bytes, dict[str, Any]]:
    from keras import layers

    return build(task, before(task.original.network, layers.Rescaling(1 / 255)))


def mean_left_out(task: Any) -> tuple[bytes, dict[str, Any]]:
    from keras import layers

    return build(task, before(task.original.network, layers.Rescaling(1, 127.5)))


def not_scaled(task: Any) -> tuple[bytes, dict[str, Any]]:
    from keras import layers

    return build(task, before(task.original.network, layers.Rescaling(127.5, 127.5)))


def inverted(task: Any) -> tuple[bytes, dict[str, Any]]:
    from keras import layers

    return build(task, before(task.original.network, layers.Rescaling(-1, 255)))


def turned(task: Any) -> tuple[bytes, dict[str, Any]]:
    from keras import layers

    return build(task, before(task.original.network, layers.Permute((2, 1, 3))))


def channels_swapped(task: Any) -> tuple[bytes, dict[str, Any]]:
    swapped = changed(task.original.network, "first", lambda weights: [weights[0][:, :, ::-1], *weights[1:]])
    return build(task, swapped)


def calibrated_on_scaled_pictures(task: Any) -> tuple[bytes, dict[str, Any]]:
    return build(task, pictures=(task.data.fit.images / 255).astype(np.uint8))


def calibrated_on_noise(task: Any) -> tuple[bytes, dict[str, Any]]:
    rng = np.random.default_rng(0)
    noise = rng.normal(128, 12, (120, SIDE, SIDE, 3)).clip(0, 255).astype(np.uint8)
    ends = [np.zeros_like(noise[:1]), np.full_like(noise[:1], 255)]
    return build(task, pictures=np.concatenate([noise, *ends]), correct_biases=False)


def outputs_permuted(task: Any) -> tuple[bytes, dict[str, Any]]:
    order = [1, 0, 2, 3, 5, 4]
    return build(task, changed(task.original.network, "logits", lambda weights: [w[..., order] for w in weights]))


def labels_permuted(task: Any) -> tuple[bytes, dict[str, Any]]:
    data = replace(task.data, classes=CLASSES[1:] + CLASSES[:1])
    return build(replace(task, data=data))


def labels_and_contract_differ(task: Any) -> tuple[bytes, dict[str, Any]]:
    content, contract = build(task)
    return content, contract | {"labels": [*CLASSES[1:], CLASSES[0]]}


def stale_contract(task: Any) -> tuple[bytes, dict[str, Any]]:
    return build(task)[0], build(task, per_channel=False)[1]


def not_quantised(task: Any) -> tuple[bytes, dict[str, Any]]:
    return retell(task, task.original.content, {})


def weights_only(task: Any) -> tuple[bytes, dict[str, Any]]:
    import tensorflow as tf

    from converter.quantise import _fix_batch, _run

    converter = tf.lite.TFLiteConverter.from_keras_model(_fix_batch(task.original.network))
    converter.optimizations = [tf.lite.Optimize.DEFAULT]  # without pictures to calibrate on: "dynamic range"
    return retell(task, _run(converter), {})


def softmax_twice(task: Any) -> tuple[bytes, dict[str, Any]]:
    from keras import layers

    return build(task, behind(task.original.network, layers.Softmax()))


def another_network(task: Any) -> tuple[bytes, dict[str, Any]]:
    content, contract = build(task)
    return content, contract | {"training": contract["training"] | {"keras_sha256": "0" * 64}}


def a_damaged_layer(task: Any) -> tuple[bytes, dict[str, Any]]:
    from converter.graph import pack, unpack

    content, contract = build(task)
    model = unpack(content)
    main = model.subgraphs[0]
    weights = next(tensor for tensor in main.tensors if tensor.shape is not None and list(tensor.shape) == [8, 3, 3, 3])
    buffer = model.buffers[weights.buffer]
    buffer.data = np.roll(buffer.data.reshape(8, 27), 1, axis=0).ravel()  # each channel has its neighbour's weights
    return retell(task, pack(model), contract)


def an_operator_too_new(task: Any) -> tuple[bytes, dict[str, Any]]:
    from converter.graph import name_operator, pack, unpack

    content, contract = build(task)
    model = unpack(content)
    code = next(code for code in model.operatorCodes if name_operator(code) == "FULLY_CONNECTED")
    code.version = json.loads(FACTS.read_text())["operators"]["FULLY_CONNECTED"] + 1
    return retell(task, pack(model), contract)


def another_side(task: Any) -> tuple[bytes, dict[str, Any]]:
    content, contract = build(task)
    return content, contract | {"input": contract["input"] | {"shape": [1, 48, 48, 3]}}


def half_a_file(task: Any) -> tuple[bytes, dict[str, Any]]:
    content, contract = build(task)
    return content[: len(content) // 2], contract


BROKEN: dict[Callable[[Any], tuple[bytes, dict[str, Any]]], tuple[type[CuelensError], str]] = {
    scaled_twice: (InputMisread, "scaled twice"),
    mean_left_out: (InputMisread, "the mean is left out"),
    not_scaled: (InputMisread, "not scaled"),
    inverted: (InputMisread, "inverted"),
    turned: (InputMisread, "rows and columns exchanged"),
    channels_swapped: (InputMisread, "BGR"),
    calibrated_on_scaled_pictures: (InputMisread, "pixels go from 0 to 255"),
    calibrated_on_noise: (RangesForeign, "is cut off"),
    outputs_permuted: (LabelsPermuted, "outputs in another order"),
    labels_permuted: (LabelsPermuted, "its labels are"),
    labels_and_contract_differ: (ContractMismatch, "label 1"),
    stale_contract: (ContractMismatch, "sha256"),
    not_quantised: (NotQuantised, "with float32 weights"),
    weights_only: (NotQuantised, "with int8 weights"),
    softmax_twice: (ConfidenceDrifted, "softmax done twice"),
    another_network: (NetworkForeign, "0000"),
    a_damaged_layer: (GateFailed, "worst layer first"),
    an_operator_too_new: (OperatorUnsupported, "FULLY_CONNECTED"),
    another_side: (ContractMismatch, "side is 32"),
    half_a_file: (ModelUnreadable, "ends after"),
}


def refuse(task: Any, runtimes: Any, file: Path) -> CuelensError | None:
    from converter.gate import judge
    from converter.recipe import Recipe

    try:
        return judge(file, task.original, task.data, Recipe(), runtimes).refusal
    except CuelensError as error:
        return error


def test_a_whole_conversion_passes(task: Any, runtimes: Any, whole: Any, tmp_path: Path) -> None:
    assert refuse(task, runtimes, write(tmp_path, *whole)) is None


@pytest.mark.parametrize("breakage", BROKEN, ids=lambda breakage: breakage.__name__)
def test_a_broken_conversion_is_refused_with_its_cause(
    breakage: Callable[[Any], Any], task: Any, runtimes: Any, tmp_path: Path
) -> None:
    refusal = refuse(task, runtimes, write(tmp_path, *breakage(task)))
    assert refusal is not None
    cause, words = BROKEN[breakage]
    assert type(refusal) is cause, refusal
    line = str(refusal)
    assert words in line, line
    assert "\n" not in line
    others = [text for other, (kind, text) in BROKEN.items() if kind is cause and other is not breakage]
    assert not [text for text in others if text in line], line
