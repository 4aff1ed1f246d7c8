"""The shipped model, and the refusal of every model that is not what its contract states."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import struct
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies

from edge.errors import (
    ContractMismatch,
    ContractUnreadable,
    CuelensError,
    ModelMissing,
    ModelShape,
    ModelUnreadable,
    RuntimeMissing,
)
from edge.vision.model import ExpressionModel, shipped_model
from edge.vision.preprocessing import Preprocessing
from edge.vision.tflite import load_interpreter

LABELS = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")
SAID = {"colour": "gray", "range": [0, 255], "resize": "area", "side": 48}


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    """A copy of the shipped model and its contract, to damage."""
    for suffix in (".tflite", ".json"):
        shutil.copy(shipped_model().with_suffix(suffix), tmp_path)
    return tmp_path / "emotion.tflite"


def change_contract(path: Path, change: Callable[[dict[str, Any]], None]) -> None:
    contract = path.with_suffix(".json")
    table = json.loads(contract.read_text())
    change(table)
    contract.write_text(json.dumps(table))


def vouch(path: Path) -> None:
    """Let the contract know the file as it is now."""
    content = path.read_bytes()
    change_contract(path, lambda table: table.update(sha256=hashlib.sha256(content).hexdigest(), size=len(content)))


def graph_of(path: Path) -> bytes:
    """The model without the zip behind it."""
    with zipfile.ZipFile(path) as archive:
        return path.read_bytes()[: min(entry.header_offset for entry in archive.infolist())]


def carry(path: Path, *files: tuple[str, bytes], compression: int = zipfile.ZIP_STORED) -> None:
    """Put other files behind the model, and let the contract vouch for them."""
    path.write_bytes(graph_of(path))
    with zipfile.ZipFile(path, "a", compression) as archive:
        for name, content in files:
            archive.writestr(name, content)
    vouch(path)


def labels_file(labels: Sequence[str]) -> tuple[str, bytes]:
    return "labels.txt", "".join(f"{label}\n" for label in labels).encode()


def preprocessing_file(**other: object) -> tuple[str, bytes]:
    return "preprocessing.json", json.dumps(SAID | other).encode()


def test_the_shipped_model_keeps_its_contract_and_reads_probabilities() -> None:
    model = ExpressionModel()
    assert model.contract.labels == LABELS
    assert model.contract.input.shape == (1, 48, 48, 1)
    probabilities = model.read(np.full((48, 48), 90, np.uint8))
    assert len(probabilities) == 7
    assert sum(probabilities) == pytest.approx(1)
    assert min(probabilities) >= 0


def test_the_shipped_model_is_at_most_a_megabyte() -> None:
    assert shipped_model().stat().st_size <= 1_000_000


def test_pixels_go_in_as_they_are() -> None:
    model = ExpressionModel()
    levels = np.arange(256, dtype=np.uint8)
    picture = np.resize(levels, (48, 48))
    given = model.prepare(picture)
    assert (given.shape, given.dtype) == ((1, 48, 48, 1), np.int8)
    assert np.array_equal(given[0, :, :, 0], picture.astype(np.int16) - 128)


def test_raw_outputs_of_many_pictures_become_the_probabilities_of_each() -> None:
    model = ExpressionModel()
    pictures = np.random.default_rng(1).integers(0, 256, (5, 48, 48), dtype=np.uint8)
    raw = np.stack([model.read_raw(picture) for picture in pictures])
    assert raw.dtype == np.int8
    assert model.contract.to_probabilities(raw).tolist() == [list(model.read(picture)) for picture in pictures]


def test_the_same_face_reads_the_same_twice_and_whatever_came_between() -> None:
    model = ExpressionModel()
    rng = np.random.default_rng(0)
    first, second = rng.integers(0, 256, (2, 48, 48), dtype=np.uint8)
    before = model.read(first)
    model.read(second)
    assert model.read(first) == before


def test_a_missing_model_or_contract_is_named(copied: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelMissing, match="none"):
        ExpressionModel(tmp_path / "none.tflite")
    copied.with_suffix(".json").unlink()
    with pytest.raises(ModelMissing, match=r"emotion\.json"):
        ExpressionModel(copied)


@pytest.mark.parametrize("keep", [0, 3, 8, 1000, -1])
def test_a_truncated_model_is_refused_at_any_length(copied: Path, keep: int) -> None:
    copied.write_bytes(copied.read_bytes()[:keep])
    with pytest.raises(ModelUnreadable):
        ExpressionModel(copied)


def test_one_changed_byte_is_refused(copied: Path) -> None:
    content = bytearray(copied.read_bytes())
    content[len(content) // 2] ^= 1
    copied.write_bytes(content)
    with pytest.raises(ContractMismatch, match="sha256"):
        ExpressionModel(copied)


def test_garbage_that_its_contract_vouches_for_is_still_one_line(copied: Path) -> None:
    files = labels_file(LABELS), preprocessing_file()
    graph = b"\x10\0\0\0TFL3" + bytes(2000)
    carry(copied, *files)
    copied.write_bytes(graph + copied.read_bytes()[len(graph_of(copied)) :])
    vouch(copied)
    with pytest.raises(ModelUnreadable):
        ExpressionModel(copied)


def test_a_file_that_says_what_its_contract_states_is_loaded_whoever_wrote_it(copied: Path) -> None:
    carry(copied, ("README", b"more"), preprocessing_file(), labels_file(LABELS))
    assert ExpressionModel(copied).contract.labels == LABELS
    carry(copied, ("labels.txt", "\n".join(LABELS).encode()), preprocessing_file())
    assert ExpressionModel(copied).contract.labels == LABELS


def deep(path: Path) -> None:
    carry(path, labels_file(LABELS), ("preprocessing.json", b"[" * 60_000))


def doubled(path: Path) -> None:
    with pytest.warns(UserWarning, match="Duplicate name"):
        carry(path, labels_file(LABELS), labels_file(LABELS[::-1]), preprocessing_file())


def lying_about_its_size(path: Path) -> None:
    carry(path, labels_file(LABELS), preprocessing_file())
    content = bytearray(path.read_bytes())
    struct.pack_into("<I", content, content.rindex(b"PK\1\2", 0, content.rindex(b"PK\1\2")) + 24, 2**32 - 2)
    path.write_bytes(content)
    vouch(path)


def one_letter_changed(path: Path) -> None:
    path.write_bytes(path.read_bytes().replace(b"happy\n", b"hippy\n"))
    vouch(path)


def encrypted(path: Path) -> None:
    content = bytearray(path.read_bytes())
    for mark, flags in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        content[content.index(mark, len(graph_of(path))) + flags] |= 1
    path.write_bytes(content)
    vouch(path)


def without_its_directory(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content.replace(b"PK\1\2", b"PK\1\1"))
    vouch(path)


def of_many_disks(path: Path) -> None:
    content = path.read_bytes()
    end = content.rindex(b"PK\5\6")
    path.write_bytes(content[:end] + struct.pack("<4sLQL", b"PK\6\7", 0, 0, 9) + content[end:])
    vouch(path)


def many_names(path: Path) -> None:
    carry(path, labels_file(LABELS), preprocessing_file(), *((f"{number:05}", b"") for number in range(5000)))


def carrying(*files: tuple[str, bytes], compression: int = zipfile.ZIP_STORED) -> Callable[[Path], None]:
    return lambda path: carry(path, *files, compression=compression)


@pytest.mark.parametrize(
    ("damage", "error", "words"),
    [
        (carrying(), ContractMismatch, "no labels.txt"),
        (carrying(preprocessing_file()), ContractMismatch, "no labels.txt"),
        (carrying(labels_file(LABELS)), ContractMismatch, "no preprocessing.json"),
        (
            carrying(labels_file(("angry", "disgust", "sad", "happy", "fear", *LABELS[5:])), preprocessing_file()),
            ContractMismatch,
            "label 3 is 'sad' in the file, 'fear' in its contract",
        ),
        (
            carrying(labels_file((*LABELS[:6], "calm")), preprocessing_file()),
            ContractMismatch,
            "label 7 is 'calm' in the file, 'neutral' in its contract",
        ),
        (
            carrying(labels_file(LABELS[:6]), preprocessing_file()),
            ContractMismatch,
            "label 7 is missing in the file, 'neutral' in its contract",
        ),
        (
            carrying(labels_file((*LABELS, "calm")), preprocessing_file()),
            ContractMismatch,
            "label 8 is 'calm' in the file, missing in its contract",
        ),
        (carrying(("labels.txt", b""), preprocessing_file()), ContractMismatch, "label 1 is '' in the file"),
        (carrying(labels_file(["a\r", *LABELS[1:]]), preprocessing_file()), ContractMismatch, r"label 1 is 'a\r' in"),
        (
            carrying(labels_file(LABELS), preprocessing_file(colour="rgb")),
            ContractMismatch,
            "colour is 'rgb' in the file, 'gray' in its contract",
        ),
        (
            carrying(labels_file(LABELS), preprocessing_file(side=64)),
            ContractMismatch,
            "side is 64 in the file, 48 in its contract",
        ),
        (
            carrying(labels_file(LABELS), preprocessing_file(equalise=True)),
            ContractMismatch,
            "equalise is True in the file, missing in its contract",
        ),
        (
            carrying(labels_file(LABELS), ("preprocessing.json", b"{}")),
            ContractMismatch,
            "colour is missing in the file, 'gray' in its contract",
        ),
        (carrying(("labels.txt", b"a\n" * 40_000), preprocessing_file()), ModelUnreadable, "80000 bytes"),
        (carrying(("labels.txt", b"\xff\n" * 7), preprocessing_file()), ModelUnreadable, "utf-8"),
        (
            carrying(labels_file(LABELS), ("preprocessing.json", b"[1]")),
            ModelUnreadable,
            "preprocessing.json is no table",
        ),
        (carrying(labels_file(LABELS), ("preprocessing.json", b"{")), ModelUnreadable, "the zip behind the model"),
        (
            carrying(labels_file(LABELS), preprocessing_file(), compression=zipfile.ZIP_DEFLATED),
            ModelUnreadable,
            "labels.txt is compressed",
        ),
        (deep, ModelUnreadable, "recursion"),
        (doubled, ModelUnreadable, "labels.txt is in it twice"),
        (lying_about_its_size, ModelUnreadable, "4294967294 bytes"),
        (one_letter_changed, ModelUnreadable, "CRC"),
        (encrypted, ModelUnreadable, "encrypted"),
        (without_its_directory, ModelUnreadable, "central directory"),
        (of_many_disks, ModelUnreadable, "multiple disks"),
        (many_names, ModelUnreadable, "the zip behind the model"),
    ],
)
def test_a_file_that_carries_something_else_is_refused_with_what_differs_and_what_to_do(
    copied: Path, damage: Callable[[Path], None], error: type[CuelensError], words: str
) -> None:
    damage(copied)
    with pytest.raises(error, match=re.escape(words)) as refused:
        ExpressionModel(copied)
    assert type(refused.value) is error
    assert str(refused.value).startswith(f"{copied}: ")
    assert str(refused.value).endswith("; convert it again with cuelens-convert")
    assert len(str(refused.value).splitlines()) == 1


def test_a_contract_that_disagrees_with_the_file_is_not_believed_either(copied: Path) -> None:
    change_contract(copied, lambda table: table["labels"].reverse())
    with pytest.raises(ContractMismatch, match="label 1 is 'angry' in the file, 'neutral' in its contract"):
        ExpressionModel(copied)


def test_nothing_is_parsed_before_file_and_contract_agree(copied: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def parse(*_: object) -> None:
        raise AssertionError("parsed")

    monkeypatch.setattr("edge.vision.tflite.load_interpreter", parse)
    carry(copied, labels_file(LABELS[::-1]), preprocessing_file())
    with pytest.raises(ContractMismatch, match="label 1"):
        ExpressionModel(copied)
    monkeypatch.setattr("edge.vision.model._check_carried", parse)
    copied.write_bytes(copied.read_bytes() + b"\0")
    with pytest.raises(ContractMismatch, match="sha256"):
        ExpressionModel(copied)


def test_a_cut_anywhere_in_the_zip_is_refused_even_where_a_contract_vouches_for_it(copied: Path) -> None:
    whole, start = copied.read_bytes(), len(graph_of(copied))
    assert len(whole) - start > 200
    for length in (*range(start, len(whole)), start // 2, start - 1):
        copied.write_bytes(whole[:length])
        vouch(copied)
        with pytest.raises((ContractMismatch, ModelUnreadable)):
            ExpressionModel(copied)


@hypothesis.given(cut=strategies.integers(min_value=0))
def test_a_cut_anywhere_at_all_is_refused_by_the_contract(tmp_path_factory: pytest.TempPathFactory, cut: int) -> None:
    path = tmp_path_factory.getbasetemp() / "cut.tflite"
    shutil.copy(shipped_model().with_suffix(".json"), path.with_suffix(".json"))
    whole = shipped_model().read_bytes()
    path.write_bytes(whole[: cut % len(whole)])
    with pytest.raises(ModelUnreadable):
        ExpressionModel(path)


@hypothesis.given(changes=strategies.lists(strategies.tuples(strategies.integers(0, 999), strategies.integers(0, 255))))
def test_whatever_stands_behind_the_model_it_agrees_or_is_refused_in_one_line(
    tmp_path_factory: pytest.TempPathFactory, changes: list[tuple[int, int]]
) -> None:
    path = tmp_path_factory.getbasetemp() / "changed.tflite"
    for suffix in (".tflite", ".json"):
        shutil.copy(shipped_model().with_suffix(suffix), path.with_suffix(suffix))
    graph, content = graph_of(path), bytearray(path.read_bytes())
    room = len(content) - len(graph)
    for place, value in changes:
        content[len(graph) + place % room] = value
    path.write_bytes(content)
    vouch(path)
    said = ""
    try:
        assert ExpressionModel(path).contract.labels == LABELS
    except (ContractMismatch, ModelUnreadable) as error:
        said = str(error)
    assert len(said.splitlines()) <= 1


def test_too_few_classes_or_outputs_are_refused_where_file_and_contract_agree_on_them(copied: Path) -> None:
    carry(copied, labels_file(LABELS[:6]), preprocessing_file())
    change_contract(copied, lambda table: table["labels"].pop())
    with pytest.raises(ModelShape, match="6 labels"):
        ExpressionModel(copied)


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        (lambda table: table["input"].update(shape=[1, 64, 64, 1]), ContractMismatch, "side is 48 in the file, 64 in"),
        (lambda table: table["input"].update(shape=[1, 48, 48, 3]), ModelShape, "48, 48, 3"),
        (lambda table: table["output"].update(dtype="float32", scale=1.0, zero_point=0), ModelShape, "float32"),
        (lambda table: table["output"].update(dtype="float32"), ContractUnreadable, "float32 with scale 0.0039"),
        (lambda table: table["output"].update(dtype="uint8"), ModelShape, "uint8"),
        (lambda table: table["labels"].pop(), ContractMismatch, "label 7 is 'neutral' in the file, missing"),
        (lambda table: table["input"].update(scale=0.5), ContractMismatch, "scale"),
        (lambda table: table["output"].update(zero_point=0), ContractMismatch, "zero point"),
        (
            lambda table: table["input"].update(scale=0.0),
            ContractUnreadable,
            "scale 0.0; .* write the contract with cuelens-convert",
        ),
        (lambda table: table["input"].update(scale=float("nan")), ContractUnreadable, "scale nan"),
        (lambda table: table["input"].update(zero_point=float("inf")), ContractUnreadable, "infinity"),
        (lambda table: table["output"].update(gives="odds"), ContractUnreadable, "'odds'; valid are probabilities and"),
        (lambda table: table["output"].pop("gives"), ContractUnreadable, "gives"),
        (lambda table: table.update(format=2), ContractUnreadable, "format 2; .* make the model again"),
        (lambda table: table.update(preprocessing={"colour": "rgb"}), ContractUnreadable, "rgb"),
        (lambda table: table.update(format=99), ContractUnreadable, "99"),
        (lambda table: table.pop("sha256"), ContractUnreadable, "sha256"),
        (lambda table: table.update(input=None), ContractUnreadable, "emotion.json: not of a contract's form"),
    ],
)
def test_a_contract_that_says_otherwise_is_refused_with_the_reason(
    copied: Path, change: Callable[[dict[str, Any]], None], error: type[CuelensError], words: str
) -> None:
    change_contract(copied, change)
    with pytest.raises(error, match=words):
        ExpressionModel(copied)


def test_how_the_file_was_made_is_for_people_only(copied: Path) -> None:
    contract = ExpressionModel(copied).contract
    change_contract(copied, lambda table: table.update(recipe=None))
    assert ExpressionModel(copied).contract == contract
    change_contract(copied, lambda table: table.pop("recipe"))
    assert ExpressionModel(copied).contract == contract


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "Expecting value"),
        ("[]", "no table"),
        ("null", "no table"),
        ("{", "Expecting property name"),
        ("\xff", "can't decode"),
        pytest.param("[" * 60_000, "recursion", id="deep"),
    ],
)
def test_a_broken_contract_is_refused(copied: Path, text: str, words: str) -> None:
    copied.with_suffix(".json").write_text(text, encoding="latin-1")
    with pytest.raises(ContractUnreadable, match=rf"{words}.*; write the contract with cuelens-convert"):
        ExpressionModel(copied)


def test_a_runtime_that_another_numpy_broke_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def die(**_: object) -> None:
        raise SystemError("returned a result with an exception set")  # tflite-runtime 2.14 with numpy 2

    model = ExpressionModel()
    module = type(model._interpreter).__module__
    monkeypatch.setattr(f"{module}.Interpreter", die)
    with pytest.raises(RuntimeMissing, match=f"numpy {np.__version__}"):
        ExpressionModel()


def build(given: str, taken: str) -> bytes:
    """A described TFLite file that gives the first two of a picture's four pixels; ends of int8 or float32."""
    from ai_edge_litert import schema_py_generated as schema

    from converter.graph import pack
    from converter.passes.metadata import append_files, describe

    model, graph, weights = schema.ModelT(), schema.SubGraphT(), schema.BufferT()
    model.version, model.subgraphs, model.buffers = 3, [graph], [schema.BufferT(), weights]
    model.operatorCodes, graph.tensors, graph.operators = [], [], []
    weights.data = np.eye(2, 4, dtype=np.float32).view(np.uint8).reshape(-1)

    def tensor(name: str, shape: list[int], dtype: str, *, scale: float = 0.0, buffer: int = 0) -> int:
        made = schema.TensorT()
        made.name, made.shape, made.buffer, made.type = name, shape, buffer, vars(schema.TensorType)[dtype.upper()]
        if dtype == "int8":
            made.quantization = schema.QuantizationParametersT()
            made.quantization.scale, made.quantization.zeroPoint = [scale], [-128]
        graph.tensors.append(made)
        return len(graph.tensors) - 1

    def operator(name: str, version: int, inputs: list[int], output: int) -> None:
        code, step = schema.OperatorCodeT(), schema.OperatorT()
        code.builtinCode = code.deprecatedBuiltinCode = vars(schema.BuiltinOperator)[name]
        code.version, step.opcodeIndex = version, len(model.operatorCodes)
        step.inputs, step.outputs = inputs, [output]
        if name == "FULLY_CONNECTED":
            step.builtinOptionsType = schema.BuiltinOptions.FullyConnectedOptions
            step.builtinOptions = schema.FullyConnectedOptionsT()
        model.operatorCodes.append(code)
        graph.operators.append(step)

    pixels = first = tensor("pixels", [1, 2, 2, 1], given, scale=1.0)
    if given == "int8":
        first = tensor("real pixels", [1, 2, 2, 1], "float32")
        operator("DEQUANTIZE", 2, [pixels], first)
    last = scores = tensor("scores", [1, 2], "float32")
    operator("FULLY_CONNECTED", 1, [first, tensor("weights", [2, 4], "float32", buffer=1), -1], last)
    if taken == "int8":
        scores = tensor("quantised scores", [1, 2], taken, scale=1.0)
        operator("QUANTIZE", 1, [last], scores)
    graph.inputs, graph.outputs = [pixels], [scores]
    labels = ("left", "right")
    describe(model, Preprocessing(2), labels, name="tiny", description="two pixels", version="1")
    return append_files(pack(model), Preprocessing(2), labels)


@pytest.mark.host
@pytest.mark.parametrize("gives", ["probabilities", "logits"])
@pytest.mark.parametrize(
    ("given", "taken"), [("float32", "float32"), ("int8", "float32"), ("float32", "int8"), ("int8", "int8")]
)
def test_ends_of_either_kind_are_read_as_the_contract_has_them(
    tmp_path: Path, given: str, taken: str, gives: str
) -> None:
    from converter.contract import make_contract

    path, content = tmp_path / "tiny.tflite", build(given, taken)
    interpreter, _ = load_interpreter(content)
    contract = make_contract(
        content, interpreter, Preprocessing(2), ("left", "right"), training={}, recipe={"seed": 0}, gives=gives
    )
    assert (contract["format"], contract["recipe"]) == (3, {"seed": 0})
    ends = {"float32": ("float32", 1.0, 0), "int8": ("int8", 1.0, -128)}
    for end, dtype in (("input", given), ("output", taken)):
        assert tuple(contract[end][key] for key in ("dtype", "scale", "zero_point")) == ends[dtype]
    path.write_bytes(content)
    path.with_suffix(".json").write_text(json.dumps(contract))
    model = ExpressionModel(path)

    for left, right in ((0, 255), (90, 30), (7, 7), (101, 100)):
        picture = np.array([[left, right], [200, 3]], np.uint8)
        raw = model.read_raw(picture)
        assert raw.dtype == taken
        assert raw.tolist() == ([left, right] if taken == "float32" else [left - 128, right - 128])
        expected = left / (left + right) if gives == "probabilities" else 1 / (1 + np.exp(np.float64(right - left)))
        assert model.read(picture) == pytest.approx((expected, 1 - expected), abs=1e-6)
