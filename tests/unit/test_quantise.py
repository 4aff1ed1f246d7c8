"""The steps of quantisation on a small residual network: ranges, lifted sums, corrected biases."""

from __future__ import annotations

import platform
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from edge.errors import ModelUnreadable, SettingsInvalid

pytestmark = pytest.mark.host

SIDE = 24


def pictures(count: int, seed: int = 0) -> np.ndarray:
    """Blurred noise: its values go from dark to bright, as in a photograph."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (count, SIDE // 4, SIDE // 4))
    fine = np.kron(coarse, np.ones((4, 4))) + rng.normal(0, 12, (count, SIDE, SIDE))
    return np.clip(fine, 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def network() -> Any:
    import keras
    from keras import layers

    keras.utils.set_random_seed(1)
    pixels = layers.Input((SIDE, SIDE, 1))
    x = layers.Conv2D(16, 3, 2, "same", activation="relu", name="first")(layers.Rescaling(1 / 127.5, -1)(pixels))
    branch = layers.Conv2D(16, 3, padding="same", activation="relu", name="inner")(x)
    branch = layers.Conv2D(16, 3, padding="same", name="linear")(branch)
    x = layers.ReLU(name="sum")(layers.Add()([branch, layers.Conv2D(16, 1, name="shortcut")(x)]))
    x = layers.GlobalAveragePooling2D()(x)
    return keras.Model(pixels, layers.Dense(4, activation="softmax", name="last")(x), name="small")


@pytest.fixture(scope="module")
def exported(network: Any) -> bytes:
    from converter.quantise import export_float

    return export_float(network)


def ranges_of(content: bytes, **changes: Any) -> dict[str, tuple[float, float]]:
    from converter.probe import Probe
    from converter.quantise import measure_ranges
    from converter.recipe import Recipe

    seen = pictures(40)
    ends = [np.zeros_like(seen[:1]), np.full_like(seen[:1], 255)]
    return measure_ranges(Probe(content), np.concatenate([seen, *ends]), Recipe(**changes))


def quantise(content: bytes, ranges: dict[str, tuple[float, float]]) -> bytes:
    from converter.graph import unpack
    from converter.quantise import quantise_ai_edge
    from converter.recipe import Recipe

    return quantise_ai_edge(unpack(content), ranges, Recipe(), ())


def lift(content: bytes, ranges: dict[str, tuple[float, float]]) -> tuple[bytes, dict[str, tuple[float, float]]]:
    from converter.graph import pack, unpack
    from converter.passes.lift import lift_negatives

    model = unpack(content)
    moved = lift_negatives(model, ranges)
    return pack(model), moved


def read(content: bytes, images: np.ndarray) -> np.ndarray:
    from converter.probe import Probe

    probe, said = Probe(content), []
    for image in images:
        probe.run(image)
        said.append(probe.real(probe.graph.outputs[0])[0].copy())
    return np.array(said)


values = arrays(np.float32, st.integers(1, 200), elements=st.floats(-50, 50, width=32))


@given(values)
def test_a_cut_range_holds_zero_and_errs_no_more_than_the_whole(seen: np.ndarray) -> None:
    from converter.quantise import cut_range

    def error(low: float, high: float) -> float:
        step = max((high - low) / 255, 1e-12)
        zero_point = np.round(-low / step)
        rounded = (np.clip(np.round(seen / step) + zero_point, 0, 255) - zero_point) * step
        return float(np.square(rounded - seen).mean())

    low, high = min(float(seen.min()), 0.0), max(float(seen.max()), 0.0)
    cut_low, cut_high = cut_range(low, high, seen)
    assert low <= cut_low <= 0 <= cut_high <= high
    assert error(cut_low, cut_high) <= error(low, high)


def test_a_lone_outlier_is_cut_off() -> None:
    from converter.quantise import cut_range

    seen = np.append(np.abs(np.random.default_rng(0).normal(0, 1, 1_000_000)), 12).astype(np.float32)
    assert cut_range(0, 12, seen)[1] < 8


def test_pixels_and_what_goes_into_softmax_keep_their_whole_range(exported: bytes) -> None:
    from converter.graph import read_graph

    cut, whole = ranges_of(exported), ranges_of(exported, ranges="extremes")
    graph = read_graph(exported)
    (pixels,) = graph.inputs
    assert cut[graph.tensors[pixels].name] == (0, 255)
    logits = graph.tensors[graph.operators[-1].inputs[0]].name
    assert cut[logits] == whole[logits]
    narrower = [name for name, (low, high) in cut.items() if (low, high) != whole[name]]
    assert len(narrower) >= 3


def test_a_lifted_file_states_the_same_and_no_negative_sum_is_rounded(exported: bytes) -> None:
    from converter.graph import WEIGHTED, read_graph

    lifted, ranges = lift(exported, ranges_of(exported))
    images = pictures(20, seed=5)
    assert read(lifted, images) == pytest.approx(read(exported, images), abs=1e-5)
    graph = read_graph(quantise(lifted, ranges))
    weighted = [graph.tensors[step.outputs[0]] for step in graph.operators if step.name in WEIGHTED]
    assert {int(tensor.zero_point[0]) for tensor in weighted} == {-128}
    assert sum(tensor.lift > 0 for tensor in weighted) == 3, "linear, shortcut and the logits"


def test_lowering_copies_bytes(exported: bytes) -> None:
    from converter.probe import Probe

    probe = Probe(quantise(*lift(exported, ranges_of(exported))))
    tensors = probe.graph.tensors
    sums = [step for step in probe.graph.operators if step.name == "ADD" and tensors[step.inputs[0]].lift]
    assert len(sums) == 2
    for image in pictures(5, seed=6):
        probe.run(image)
        for step in sums:
            assert np.array_equal(probe.stored(step.inputs[0]), probe.stored(step.outputs[0]))


def test_a_layer_without_a_bias_gets_one(exported: bytes) -> None:
    from converter.graph import read_graph

    def dense(content: bytes) -> tuple[int, ...]:
        return next(step.inputs for step in read_graph(content).operators if step.name == "FULLY_CONNECTED")

    assert dense(exported)[2:] in ((), (-1,)), "a bias of zeros is none"
    assert dense(lift(exported, ranges_of(exported))[0])[2] >= 0


def test_layers_that_share_a_bias_are_lifted_each_by_its_own(exported: bytes) -> None:
    from converter.graph import WEIGHTED, pack, read_graph, unpack

    model = unpack(exported)
    steps = [step for step, known in zip(model.subgraphs[0].operators, read_graph(exported).operators, strict=True)
             if known.name in WEIGHTED and len(model.subgraphs[0].tensors[step.outputs[0]].shape) == 4]  # fmt: skip
    linear, shortcut = steps[-1], steps[-2]
    shortcut.inputs[2] = linear.inputs[2]
    shared = pack(model)
    lifted, _ = lift(shared, ranges_of(shared))
    images = pictures(10, seed=7)
    assert read(lifted, images) == pytest.approx(read(shared, images), abs=1e-5)


@pytest.mark.skipif(platform.machine() != "x86_64", reason="the kernels of x86-64 are those that round otherwise")
def test_built_in_and_reference_kernels_agree_to_the_byte_on_a_lifted_file(exported: bytes) -> None:
    from ai_edge_litert.interpreter import OpResolverType

    from converter.probe import Probe

    def differing(content: bytes) -> int:
        """Bytes that differ in what convolutions and sums give: LiteRT's reference of dense layers is another since."""
        built_in, reference = Probe(content), Probe(content, OpResolverType.BUILTIN_REF)
        made = [step.outputs[0] for step in built_in.graph.operators if step.name in ("CONV_2D", "ADD")]
        count = 0
        for image in pictures(60, seed=8):
            built_in.run(image)
            reference.run(image)
            count += sum(int((built_in.stored(t) != reference.stored(t)).sum()) for t in made)
        return count

    ranges = ranges_of(exported)
    assert differing(quantise(exported, ranges)) > 100, "nothing to prove here"
    assert differing(quantise(*lift(exported, ranges))) == 0


def test_a_corrected_bias_takes_a_channels_mean_error_away(exported: bytes) -> None:
    from converter.graph import pack, unpack
    from converter.passes.bias import correct_biases
    from converter.probe import Probe

    content = quantise(exported, ranges_of(exported))
    model = unpack(content)
    probe = Probe(content)
    step = next(step for step in probe.graph.operators if probe.graph.tensors[step.outputs[0]].name.find("linear") >= 0)
    buffer = model.buffers[model.subgraphs[0].tensors[step.inputs[2]].buffer]
    scale = probe.graph.tensors[step.inputs[2]].scale
    moved = np.frombuffer(buffer.data.tobytes(), np.int32) + np.round(0.2 / scale).astype(np.int32)
    buffer.data = moved.view(np.uint8)
    wrong = pack(model)
    seen = pictures(60, seed=9)
    truth = Probe(exported)
    names = {truth.graph.tensors[t].name: t for known in truth.graph.operators for t in known.outputs}

    def error(content: bytes) -> np.ndarray:
        made, sums = Probe(content), np.zeros(16)
        for image in seen:
            made.run(image)
            truth.run(image)
            expected = truth.real(names[made.graph.tensors[step.outputs[0]].name])
            sums += (made.real(step.outputs[0]) - expected).mean(axis=(0, 1, 2)) / len(seen)
        return np.abs(sums)

    assert error(wrong).mean() > 0.1
    correct_biases(model, truth, seen)
    assert error(pack(model)).mean() < 0.01


def test_softmax_is_cut_off_and_nothing_else(network: Any) -> None:
    import keras

    from converter.quantise import cut_softmax

    images = pictures(5)[..., None].astype(np.float32)
    logits = cut_softmax(network).predict(images, verbose=0)
    powers = np.exp(logits)
    assert powers / powers.sum(axis=1, keepdims=True) == pytest.approx(network.predict(images, verbose=0), abs=1e-5)
    with pytest.raises(SettingsInvalid, match="ends in last, no softmax"):
        cut_softmax(cut_softmax(network))
    layered = keras.Model(network.inputs, keras.layers.Softmax()(cut_softmax(network)(network.inputs[0])))
    assert cut_softmax(layered).predict(images, verbose=0) == pytest.approx(logits, abs=1e-5)


def test_what_tensorflow_cannot_convert_is_one_line(network: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    import tensorflow as tf

    from converter.quantise import export_float

    def refuse(_: object) -> bytes:
        raise RuntimeError("first line\nsecond line")

    monkeypatch.setattr(tf.lite.TFLiteConverter, "convert", refuse)
    monkeypatch.setattr(type(tf.lite.TFLiteConverter.from_keras_model(network)), "convert", refuse)
    with pytest.raises(ModelUnreadable, match=r"refuses the network: first line$"):
        export_float(network)
