"""What a .tflite file states of itself: read back by readers that share nothing with the writer."""

from __future__ import annotations

import io
import json
import struct
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies

from edge.errors import DataLabelInvalid
from edge.vision.model import ExpressionModel, shipped_model
from edge.vision.preprocessing import Preprocessing
from edge.vision.tflite import load_interpreter

pytestmark = pytest.mark.host

CLASSES = ("sky", "sea", "sand", "snow", "soil", "scree", "salt")
FILES = ["labels.txt", "preprocessing.json"]


def described(
    labels: Sequence[str] = CLASSES, content: bytes | None = None, side: int = 48, colour: str = "gray", **other: str
) -> bytes:
    from converter.graph import pack, unpack
    from converter.passes.metadata import append_files, describe

    said = {"name": "grounds", "description": "Seven grounds", "version": "1.2.3"} | other
    model, preprocessing = unpack(content or shipped_model().read_bytes()), Preprocessing(side, colour)
    describe(model, preprocessing, labels, **said)
    return append_files(pack(model), preprocessing, labels)


def entries(content: bytes) -> dict[bytes, bytes]:
    """Every entry of the model's own list of metadata, name to buffer."""
    from ai_edge_litert import schema_py_generated as schema

    model = schema.Model.GetRootAsModel(bytearray(content), 0)
    listed = [model.Metadata(number) for number in range(model.MetadataLength())]
    assert len({entry.Name() for entry in listed}) == len(listed)
    return {entry.Name(): model.Buffers(entry.Buffer()).DataAsNumpy().tobytes() for entry in listed}


class Table:
    """A table of any flatbuffer, by the numbers of its slots."""

    def __init__(self, content: bytes, place: int | None = None) -> None:
        from flatbuffers.table import Table as Raw

        self.content = content
        self.raw = Raw(content, struct.unpack_from("<I", content)[0] if place is None else place)

    def _place(self, slot: int) -> int:
        offset = self.raw.Offset(4 + 2 * slot)
        assert offset, f"nothing in slot {slot}"
        return int(self.raw.Pos + offset)

    def text(self, slot: int) -> str:
        return str(self.raw.String(self._place(slot)).decode())

    def number(self, slot: int) -> int:
        return self.content[self._place(slot)]

    def table(self, slot: int) -> Table:
        return Table(self.content, self.raw.Indirect(self._place(slot)))

    def tables(self, slot: int) -> list[Table]:
        first, count = self._vector(slot)
        return [Table(self.content, self.raw.Indirect(first + 4 * number)) for number in range(count)]

    def floats(self, slot: int) -> list[float]:
        first, count = self._vector(slot)
        return list(struct.unpack_from(f"<{count}f", self.content, first))

    def _vector(self, slot: int) -> tuple[int, int]:
        offset = self.raw.Offset(4 + 2 * slot)
        return self.raw.Vector(offset), self.raw.VectorLen(offset)


@pytest.mark.parametrize(("colour", "space"), [("gray", 2), ("rgb", 1)])
def test_the_flatbuffer_says_what_goes_in_and_what_comes_out_as_tflite_lays_it_down(colour: str, space: int) -> None:
    content = entries(described(colour=colour))[b"TFLITE_METADATA"]
    assert content[4:8] == b"M001"
    root = Table(content)
    assert [root.text(slot) for slot in (0, 1, 2, 7)] == ["grounds", "Seven grounds", "1.2.3", "1.0.0"]
    (subgraph,) = root.tables(3)
    (given,), (taken,) = subgraph.tables(2), subgraph.tables(3)

    assert given.text(0) == "picture"
    assert given.text(1) == f"48 x 48 pixels in {colour}, 0 to 255 as they are"
    assert given.table(3).number(0) == 2  # the content is an image
    assert given.table(3).table(1).number(0) == space
    (unit,) = given.tables(4)
    assert unit.number(0) == 1  # a normalisation: (x - mean) / std
    assert (unit.table(1).floats(0), unit.table(1).floats(1)) == ([0.0], [1.0])
    assert (given.table(5).floats(0), given.table(5).floats(1)) == ([255.0], [0.0])  # most, least
    (file,) = given.tables(6)
    assert (file.text(0), file.number(2)) == ("preprocessing.json", 1)  # a description

    assert (taken.text(0), taken.text(1)) == ("classes", "One number for each of 7 classes")
    (file,) = taken.tables(6)
    assert (file.text(0), file.number(2)) == ("labels.txt", 2)  # the labels of an axis


def test_the_zip_behind_the_model_holds_the_labels_and_the_preprocessing_plainly(tmp_path: Path) -> None:
    path = tmp_path / "grounds.tflite"
    path.write_bytes(described(side=64, colour="rgb"))
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        assert archive.namelist() == FILES
        assert archive.read("labels.txt").decode() == "sky\nsea\nsand\nsnow\nsoil\nscree\nsalt\n"
        said = json.loads(archive.read("preprocessing.json"))
        assert {(entry.compress_type, entry.date_time) for entry in archive.infolist()} == {(0, (1980, 1, 1, 0, 0, 0))}
    assert said == {"colour": "rgb", "range": [0, 255], "resize": "area", "side": 64}


def test_the_network_is_left_as_it_is() -> None:
    pictures = np.random.default_rng(0).integers(-128, 128, (16, 1, 48, 48, 1), dtype=np.int8)

    def run(content: bytes) -> list[bytes]:
        interpreter, _ = load_interpreter(content)
        interpreter.allocate_tensors()
        (given,), (taken,) = interpreter.get_input_details(), interpreter.get_output_details()
        said = []
        for picture in pictures:
            interpreter.set_tensor(given["index"], picture)
            interpreter.invoke()
            said.append(interpreter.get_tensor(taken["index"]).tobytes())
        return said

    plain = shipped_model().read_bytes()
    assert run(described()) == run(plain)
    kept = {name: said for name, said in entries(plain).items() if name != b"TFLITE_METADATA"}
    assert kept
    assert kept.items() <= entries(described()).items()


def test_the_same_words_give_the_same_bytes() -> None:
    assert described() == described()
    assert described() != described(version="1.2.4")


def test_describing_a_described_file_replaces_what_it_said() -> None:
    once = described()
    again = described(("a", "b", "c", "d", "e", "f", "g"), once, name="letters")
    assert described(content=again) == once
    assert b"scree" in once
    assert b"scree" not in again
    assert entries(again).keys() == entries(once).keys()
    with zipfile.ZipFile(io.BytesIO(again)) as archive:
        assert archive.namelist() == FILES
        assert archive.read("labels.txt").split() == [b"a", b"b", b"c", b"d", b"e", b"f", b"g"]


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        (["sky", ""], "label 2, '', is not one line of text"),
        (["  ", "sea"], "label 1, '  ', is not one line of text"),
        (["sky", "s\nea"], r"label 2, 's\\nea', is not one line of text"),
        (["sky\r", "sea"], "label 1, .* is not one line of text"),
        (["sky", "sea\u2028sand"], "label 2, .* is not one line of text"),
        (["sky", "sea", "sky"], "label 3, 'sky', is label 1 too"),
        (["sky", "s\udcffa"], "label 2, .* cannot be written as UTF-8"),
    ],
)
def test_labels_that_are_not_a_line_each_are_refused(labels: list[str], words: str) -> None:
    with pytest.raises(DataLabelInvalid, match=words + "; rename the class and train again") as refused:
        described(labels)
    assert len(str(refused.value).splitlines()) == 1


def write(path: Path, content: bytes, labels: Sequence[str]) -> dict[str, Any]:
    """Write a described model of 48 x 48 gray pixels with its contract."""
    from converter.contract import make_contract

    interpreter, _ = load_interpreter(content)
    contract = make_contract(
        content, interpreter, Preprocessing(48), labels, training={}, recipe={"rows": 1}, gives="probabilities"
    )
    path.write_bytes(content)
    path.with_suffix(".json").write_text(json.dumps(contract))
    return contract


@hypothesis.settings(max_examples=40)
@hypothesis.given(
    labels=strategies.lists(strategies.text(min_size=1, max_size=40), min_size=7, max_size=7, unique=True)
)
def test_any_seven_lines_survive_as_labels_on_the_device_and_elsewhere(
    tmp_path_factory: pytest.TempPathFactory, labels: list[str]
) -> None:
    try:
        content = described(labels)
    except DataLabelInvalid:
        assert any(not label.strip() or not label.isprintable() for label in labels)
        return
    path = tmp_path_factory.getbasetemp() / "lines.tflite"
    write(path, content, labels)
    assert ExpressionModel(path).contract.labels == tuple(labels)
    with zipfile.ZipFile(path) as archive:
        assert archive.read("labels.txt").decode().splitlines() == labels


def test_the_contract_states_what_was_written_and_how(tmp_path: Path) -> None:
    content = described()
    contract = write(tmp_path / "grounds.tflite", content, CLASSES)
    assert contract["size"] == len(content)
    assert contract["output"]["gives"] == "probabilities"
    assert contract["recipe"] == {"rows": 1}
    assert "calibration" not in contract
    assert json.loads(json.dumps(contract)) == contract
    model = ExpressionModel(tmp_path / "grounds.tflite")
    picture = np.random.default_rng(2).integers(0, 256, (60, 50), dtype=np.uint8)
    assert model.contract.labels == CLASSES
    assert model.read(picture) == ExpressionModel().read(picture)
