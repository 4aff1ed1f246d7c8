"""FER2013's CSV in every form people have it, and each way it can be wrong."""

from __future__ import annotations

import gzip
import lzma
import zipfile
from pathlib import Path

import numpy as np
import pytest

from edge.errors import (
    CuelensError,
    DataColumnMissing,
    DataLabelInvalid,
    DataMissing,
    DataRowInvalid,
    DataSplitEmpty,
    DataUnreadable,
)
from training.fer2013 import read_fer2013, read_rows

HEADER = "emotion,pixels,Usage"


def row(label: object = 3, pixels: str | None = None, split: str = "Training") -> str:
    return f"{label},{pixels or ' '.join(str(i % 256) for i in range(48 * 48))},{split}"


def table(*rows: str, header: str = HEADER) -> str:
    return "\n".join((header, *rows)) + "\n"


def pack(folder: Path, suffix: str, text: str) -> Path:
    path = folder / f"fer2013.csv{suffix}"
    if suffix == ".gz":
        path.write_bytes(gzip.compress(text.encode()))
    elif suffix == ".xz":
        path.write_bytes(lzma.compress(text.encode()))
    elif suffix == ".zip":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("fer2013/fer2013.csv", text)
    else:
        path.write_text(text)
    return path


@pytest.mark.parametrize("suffix", ["", ".gz", ".xz", ".zip"])
def test_every_packing_reads_the_same(tmp_path: Path, suffix: str) -> None:
    text = table(row(3), row(6, split="PublicTest"), row(0))
    splits = read_fer2013(pack(tmp_path, suffix, text), "Training", "PublicTest")
    assert splits["Training"].labels.tolist() == [3, 0]
    assert splits["PublicTest"].labels.tolist() == [6]
    assert splits["Training"].images.shape == (2, 48, 48)
    assert splits["Training"].images.dtype == np.uint8
    assert splits["Training"].images[0].ravel().tolist() == [i % 256 for i in range(48 * 48)]


def test_blanks_around_values_do_no_harm(tmp_path: Path) -> None:
    text = table(f" 4 ,{' '.join(['7'] * (48 * 48))} ,Training")
    assert read_fer2013(pack(tmp_path, "", text), "Training")["Training"].labels.tolist() == [4]


def test_columns_may_come_in_another_order_and_with_others(tmp_path: Path) -> None:
    pixels = " ".join(["7"] * (48 * 48))
    text = table(f"Training,x,2,{pixels}", header="Usage,note,emotion,pixels")
    assert read_fer2013(pack(tmp_path, "", text), "Training")["Training"].labels.tolist() == [2]


def test_blanks_and_a_byte_order_mark_in_the_header_do_no_harm(tmp_path: Path) -> None:
    text = table(row(5), header="\ufeffemotion, pixels, Usage")
    assert read_fer2013(pack(tmp_path, "", text), "Training")["Training"].labels.tolist() == [5]


def test_every_row_keeps_its_number_and_the_usages_are_of_all_rows(tmp_path: Path) -> None:
    text = table(row(3), row(6, split="PublicTest"), row(1, split="PrivateTest"), row(0))
    read, usages = read_rows(pack(tmp_path, "", text), ["Training"])
    assert read["Training"].names == ("row 1", "row 4")
    assert usages == ["Training", "PublicTest", "PrivateTest", "Training"]


@pytest.mark.parametrize(
    ("text", "error", "words"),
    [
        (table("3,1 2", header="emotion,pixels"), DataColumnMissing, ["'Usage'", "emotion, pixels"]),
        ("", DataColumnMissing, ["'emotion'"]),
        (table(row(), row(pixels="1 2 3")), DataRowInvalid, ["row 2", "3 pixels", "2304"]),
        (table(row(pixels=" ".join(["1"] * 2305))), DataRowInvalid, ["row 1", "2305"]),
        (table(row(pixels=" ".join(["1"] * 2303 + ["x"]))), DataRowInvalid, ["row 1"]),
        (table(row(pixels=" ".join(["256"] * 2304))), DataRowInvalid, ["row 1", "256"]),
        (table(row(pixels=" ".join(["-1"] * 2304))), DataRowInvalid, ["row 1", "-1"]),
        (table(row(), row(), row(7)), DataLabelInvalid, ["row 3", "'7'", "0 to 6"]),
        (table(row(-1)), DataLabelInvalid, ["row 1", "'-1'"]),
        (table(row("9" * 5000)), DataLabelInvalid, ["row 1 (line 2)"]),
        (table(row("happy")), DataLabelInvalid, ["row 1", "'happy'"]),
        (table("3"), DataRowInvalid, ["row 1"]),
        (table(row(split="PublicTest")), DataSplitEmpty, ["'Training'"]),
    ],
)
def test_a_wrong_table_is_named_with_its_row(
    tmp_path: Path, text: str, error: type[CuelensError], words: list[str]
) -> None:
    with pytest.raises(error) as caught:
        read_fer2013(pack(tmp_path, "", text), "Training")
    assert all(word in str(caught.value) for word in words), str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("suffix", [".gz", ".xz", ".zip"])
def test_a_truncated_archive_is_unreadable(tmp_path: Path, suffix: str) -> None:
    path = pack(tmp_path, suffix, table(*[row(i % 7) for i in range(50)]))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(DataUnreadable, match=r"fer2013\.csv"):
        read_fer2013(path, "Training")


def test_a_zip_with_two_tables_is_not_guessed_at(tmp_path: Path) -> None:
    path = tmp_path / "two.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.csv", "")
        archive.writestr("b.csv", "")
    with pytest.raises(DataUnreadable, match="2 CSV files"):
        read_fer2013(path, "Training")


def test_a_missing_file_and_an_unknown_split_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataMissing, match="none"):
        read_fer2013(tmp_path / "none.csv", "Training")
    with pytest.raises(DataSplitEmpty, match="'Test'"):
        read_fer2013(tmp_path / "none.csv", "Test")


@pytest.mark.shared
def test_the_official_splits_have_their_official_sizes(shared: Path) -> None:
    splits = read_fer2013(shared / "fer2013" / "fer2013.csv.xz", "Training", "PublicTest", "PrivateTest")
    assert {name: len(data.labels) for name, data in splits.items()} == {
        "Training": 28_709,
        "PublicTest": 3_589,
        "PrivateTest": 3_589,
    }
