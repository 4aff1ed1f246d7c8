"""The shipped model, and the refusal of every model that is not what its contract says."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge.errors import (
    ContractMismatch,
    ContractUnreadable,
    CuelensError,
    ModelMissing,
    ModelShape,
    ModelUnreadable,
    RuntimeMissing,
)
from edge.model import ExpressionModel, shipped_model


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


def test_the_shipped_model_keeps_its_contract_and_reads_probabilities() -> None:
    model = ExpressionModel()
    assert model.contract.labels == ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")
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
    assert np.array_equal(model._quantised[levels], levels.astype(np.int16) - 128)


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
    garbage = b"\x10\0\0\0TFL3" + bytes(2000)
    copied.write_bytes(garbage)
    change_contract(copied, lambda table: table.update(sha256=hashlib.sha256(garbage).hexdigest(), size=len(garbage)))
    with pytest.raises(ModelUnreadable):
        ExpressionModel(copied)


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        (lambda table: table["input"].update(shape=[1, 64, 64, 1]), ModelShape, "64"),
        (lambda table: table["output"].update(dtype="float32"), ModelShape, "float32"),
        (lambda table: table["labels"].pop(), ModelShape, "6 labels"),
        (lambda table: table["input"].update(scale=0.5), ContractMismatch, "scale"),
        (lambda table: table["output"].update(zero_point=0), ContractMismatch, "zero point"),
        (lambda table: table.update(preprocessing={"colour": "rgb"}), ContractUnreadable, "rgb"),
        (lambda table: table.update(format=99), ContractUnreadable, "99"),
        (lambda table: table.pop("sha256"), ContractUnreadable, "sha256"),
        (lambda table: table.update(input=None), ContractUnreadable, "emotion.json"),
    ],
)
def test_a_contract_that_says_otherwise_is_refused_with_the_reason(
    copied: Path, change: Callable[[dict[str, Any]], None], error: type[CuelensError], words: str
) -> None:
    change_contract(copied, change)
    with pytest.raises(error, match=words):
        ExpressionModel(copied)


@pytest.mark.parametrize("text", ["", "[]", "{", "\xff"])
def test_a_broken_contract_is_refused(copied: Path, text: str) -> None:
    copied.with_suffix(".json").write_text(text, encoding="latin-1")
    with pytest.raises(ContractUnreadable):
        ExpressionModel(copied)


def test_a_runtime_that_another_numpy_broke_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def die(**_: object) -> None:
        raise SystemError("returned a result with an exception set")  # tflite-runtime 2.14 with numpy 2

    model = ExpressionModel()
    module = type(model._interpreter).__module__
    monkeypatch.setattr(f"{module}.Interpreter", die)
    with pytest.raises(RuntimeMissing, match=f"numpy {np.__version__}"):
        ExpressionModel()
