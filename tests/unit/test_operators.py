"""The table of the oldest runtime's operators against that runtime, and the versions that a file states."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge.errors import OperatorUnsupported, RuntimeMissing
from edge.vision.model import shipped_model

pytest.importorskip("ai_edge_litert.schema_py_generated", reason="ai-edge-litert is the host's")
pytest.importorskip("flatbuffers", reason="flatbuffers is the host's")

from ai_edge_litert import interpreter as litert
from ai_edge_litert import schema_py_generated as schema

from converter import operators, raw_outputs
from converter.graph import count_macs, name_operator, pack, read_graph, unpack
from converter.operators import build_tiny, check_operators, list_operators, measure, read_table
from converter.passes.versions import restate_versions
from converter.runtimes import CHECKOUT, probe

CODES = {name: code for name, code in vars(schema.BuiltinOperator).items() if isinstance(code, int)}


@pytest.fixture(scope="module")
def device_python() -> Path:
    """A Python with the oldest runtime; skips where there is none."""
    python = Path(os.environ.get("CUELENS_DEVICE_PYTHON", CHECKOUT / ".venv" / "bin" / "python"))
    code = "from importlib.metadata import version; print('tflite-runtime', version('tflite-runtime'))"
    try:
        said = subprocess.run((python, "-c", code), capture_output=True, text=True, check=False).stdout.strip()
    except OSError as error:
        said = str(error)
    if said != operators.OLDEST:
        pytest.skip(f"{python} has no {operators.OLDEST} ({said}); name a Python that has in CUELENS_DEVICE_PYTHON")
    return python


def restated(content: bytes) -> bytes:
    model = unpack(content)
    restate_versions(model)
    return pack(model)


def with_version_one(content: bytes) -> bytes:
    """The file as a quantiser leaves it that knows no versions."""
    model = unpack(content)
    for code in model.operatorCodes:
        code.version = 1
    return pack(model)


def versions(content: bytes) -> list[tuple[str, int]]:
    return [(step.name, step.version) for step in read_graph(content).operators]


def change_operator(name: str, code: int, version: int, custom: bytes | None = None) -> Any:
    """The shipped model's graph, one of its operators exchanged for another."""
    model = unpack(shipped_model().read_bytes())
    (entry,) = [entry for entry in model.operatorCodes if name_operator(entry) == name]
    entry.builtinCode, entry.deprecatedBuiltinCode, entry.version = code, min(code, 127), version
    entry.customCode = custom
    return read_graph(pack(model))


def test_the_table_is_true_at_its_edges(device_python: Path) -> None:
    table = read_table()
    last = {f"{name} {most}": build_tiny(CODES[name], most) for name, most in table.items()}
    after = {f"{name} {most + 1}": build_tiny(CODES[name], most + 1) for name, most in table.items()}
    absent = {f"{name} 1": build_tiny(CODES[name], 1) for name in CODES.keys() - table.keys()}
    assert min(map(len, (last, after, absent))) > 40
    answer = probe((str(device_python),), last | after | absent)
    assert f"{answer['runtime']} {answer['version']}" == operators.OLDEST
    assert answer["refused"].keys() == after.keys() | absent.keys()
    assert "Didn't find op for builtin opcode 'CONV_2D' version '8'" in answer["refused"]["CONV_2D 8"]


def test_measuring_again_gives_the_table(device_python: Path) -> None:
    assert measure(device_python)["operators"] == json.loads(operators.TABLE.read_text())["operators"]


def test_only_the_oldest_runtime_is_measured() -> None:
    with pytest.raises(RuntimeMissing, match=r"has ai-edge-litert .*; the oldest runtime supported is tflite-runtime"):
        measure(Path(sys.executable))


def test_the_shipped_model_has_only_operators_of_the_oldest_runtime() -> None:
    graph = read_graph(shipped_model().read_bytes())
    check_operators(graph)
    rows = list_operators(graph)
    assert sum(row["count"] for row in rows) == len(graph.operators)
    assert all(row["version"] <= row["most"] for row in rows)


@pytest.mark.parametrize(
    ("code", "version", "custom", "words"),
    [
        (CODES["CONV_2D"], 8, None, r"CONV_2D version 8; tflite-runtime 2\.14\.0 has it up to version 7: convert"),
        (CODES["DILATE"], 1, None, r"DILATE version 1; tflite-runtime 2\.14\.0 has no such operator: build"),
        (CODES["STABLEHLO_ADD"], 1, None, "STABLEHLO_ADD version 1; .* has no such operator"),
        (CODES["CUSTOM"], 1, b"FlexErf", "FlexErf version 1; .* has no such operator"),
        (CODES["CUSTOM"], 1, b"my_layer", "my_layer version 1; .* has no such operator"),
    ],
)
def test_an_operator_that_the_oldest_runtime_lacks_is_refused_with_its_layer(
    code: int, version: int, custom: bytes | None, words: str
) -> None:
    graph = change_operator("CONV_2D", code, version, custom)
    with pytest.raises(OperatorUnsupported, match=rf"^layer \w+: {words}"):
        check_operators(graph)
    row = next(row for row in list_operators(graph) if row["version"] == version and row["operator"] in words)
    assert row["most"] == read_table().get(row["operator"])


def test_the_shipped_model_takes_what_its_card_shows() -> None:
    card = (shipped_model().parent / "CARD.md").read_text()
    assert f"{count_macs(read_graph(shipped_model().read_bytes())) / 1e6:.1f} M multiply-accumulates" in card


def test_versions_are_restated_as_they_were() -> None:
    content = shipped_model().read_bytes()
    assert {version for _, version in versions(with_version_one(content))} == {1}
    assert versions(restated(with_version_one(content))) == versions(content)
    assert dict(versions(content))["CONV_2D"] == 3
    assert dict(versions(content))["FULLY_CONNECTED"] == 4


def test_a_restated_file_gives_the_same_bytes() -> None:
    before = with_version_one(shipped_model().read_bytes())
    inputs = np.random.default_rng(0).integers(-128, 128, (4, 48, 48, 1), dtype=np.int8)
    for kernels in ("default", "reference"):
        outputs = [raw_outputs.run(litert, content, inputs, kernels)[0] for content in (before, restated(before))]
        assert np.array_equal(*outputs)


def make_steps(*steps: tuple[int, list[int]], shared: Any) -> Any:
    """A ModelT of one operator for all steps, each from two tensors to one: their dtype and shape."""
    model, graph = schema.ModelT(), schema.SubGraphT()
    graph.tensors, graph.operators, graph.inputs, graph.outputs = [], [], [], []
    for dtype, shape in steps:
        step = schema.OperatorT()
        step.inputs, step.outputs = [len(graph.tensors), len(graph.tensors) + 1], [len(graph.tensors) + 2]
        for _ in range(3):
            tensor = schema.TensorT()
            tensor.type, tensor.shape = dtype, shape
            graph.tensors.append(tensor)
        graph.operators.append(step)
    model.subgraphs, model.operatorCodes = [graph], [shared]
    return model


def entry(name: str, version: int, custom: bytes | None = None) -> Any:
    code = schema.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = CODES[name]
    code.version, code.customCode = version, custom
    return code


def test_an_entry_that_steps_of_two_types_share_is_split() -> None:
    int8, float32 = schema.TensorType.INT8, schema.TensorType.FLOAT32
    model = make_steps((int8, [1, 4]), (float32, [1, 4]), (int8, [1, 8]), shared=entry("ADD", 1))
    restate_versions(model)
    stated = [model.operatorCodes[step.opcodeIndex].version for step in model.subgraphs[0].operators]
    assert stated == [2, 1, 2]
    assert [name_operator(code) for code in model.operatorCodes] == ["ADD", "ADD"]


@pytest.mark.parametrize(
    ("code", "dtype", "shape"),
    [
        (entry("CUSTOM", 1, b"ADD"), schema.TensorType.INT8, [1, 4]),
        (entry("ADD", 5), schema.TensorType.INT16, [1, 4]),
        (entry("SUB", 3), schema.TensorType.INT8, [1, 2, 2, 2, 4]),
        (entry("GATHER", 2), schema.TensorType.INT8, [1, 4]),
    ],
)
def test_what_no_rule_is_for_keeps_its_version(code: Any, dtype: int, shape: list[int]) -> None:
    model = make_steps((dtype, shape), shared=code)
    restate_versions(model)
    assert [entry.version for entry in model.operatorCodes] == [code.version]


@pytest.mark.host
@pytest.mark.slow
@pytest.mark.parametrize("int8", [True, False])
def test_versions_are_those_that_tensorflows_converter_states(int8: bool) -> None:
    import keras
    import tensorflow as tf
    from keras import layers

    pixels = keras.Input((16, 16, 4))
    x = layers.Rescaling(1 / 127.5, -1)(pixels)
    x = layers.ZeroPadding2D()(layers.Conv2D(8, 3, activation="relu6")(x))
    x = layers.DepthwiseConv2D(3, padding="same")(x)
    x = layers.Conv2D(8, 3, groups=2, padding="same", activation="hard_swish")(x)
    x = layers.DepthwiseConv2D(3, dilation_rate=2, padding="same")(x)
    y = layers.UpSampling2D(interpolation="bilinear")(layers.MaxPooling2D(2)(x))
    z = layers.UpSampling2D()(layers.AveragePooling2D(2)(x))
    x = layers.Add()([layers.Multiply()([x, layers.Activation("sigmoid")(y)]), layers.Subtract()([x, z])])
    x = layers.Concatenate()([layers.LeakyReLU()(x), layers.PReLU(shared_axes=[1, 2])(y), layers.Activation("tanh")(z)])
    x = layers.Maximum()([layers.Cropping2D(1)(x), layers.ReLU()(layers.Cropping2D(1)(x))])
    x = layers.Permute((2, 1, 3))(layers.Activation("relu")(x))
    x = layers.Concatenate()([layers.GlobalMaxPooling2D()(x), layers.GlobalAveragePooling2D()(x)])
    x = layers.Dense(12, use_bias=False)(layers.Dense(8)(x))
    network = keras.Model(pixels, layers.Softmax()(layers.Reshape((12,))(layers.Reshape((3, 4))(x))))
    converter = tf.lite.TFLiteConverter.from_keras_model(network)
    if int8:
        pictures = np.random.default_rng(0).integers(0, 256, (4, 1, 16, 16, 4)).astype(np.float32)
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = lambda: ([picture] for picture in pictures)
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    content = converter.convert()
    # That one has one entry for all steps of an operator, at the highest of their versions.
    stated = dict(versions(content))
    highest: dict[str, int] = {}
    for name, version in versions(restated(with_version_one(content))):
        highest[name] = max(version, highest.get(name, 0))
    assert len(stated) > 20
    assert highest == stated
