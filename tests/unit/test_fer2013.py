"""FER2013's CSV in every form people have it, and each way it can be wrong."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import tarfile
import zipfile
from pathlib import Path
from typing import Any

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
from lab.datasets.fer2013 import read_fer2013, read_rows

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
    elif suffix == ".bz2":
        path.write_bytes(bz2.compress(text.encode()))
    elif suffix == ".zip":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("fer2013/fer2013.csv", text)
    elif suffix.startswith(".t"):  # as Kaggle gives it
        mode: Any = {".tar": "w:", ".tgz": "w:gz", ".tar.gz": "w:gz", ".txz": "w:xz"}[suffix]
        with tarfile.open(path, mode) as tape:
            for name, content in (("README", b"x"), ("fer2013.csv", text.encode()), ("fer2013.bib", b"y")):
                entry = tarfile.TarInfo(f"fer2013/{name}")
                entry.size = len(content)
                tape.addfile(entry, io.BytesIO(content))
    else:
        path.write_text(text)
    return path


@pytest.mark.parametrize("suffix", ["", ".gz", ".xz", ".bz2", ".zip", ".tar", ".tgz", ".tar.gz", ".txz"])
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


@pytest.mark.parametrize("suffix", [".gz", ".xz", ".bz2", ".zip", ".tar.gz", ".txz"])
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


def test_the_bytes_say_how_a_table_is_packed_not_its_name(tmp_path: Path) -> None:
    packed = pack(tmp_path, ".gz", table(row(5)))
    assert read_fer2013(packed.rename(tmp_path / "table.csv"), "Training")["Training"].labels.tolist() == [5]


def test_of_several_tables_in_an_archive_the_one_with_the_columns_is_read(tmp_path: Path) -> None:
    path = tmp_path / "mac.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("__MACOSX/._fer2013.csv", b"\0\5\x16\7" + b"\0" * 100)
        archive.writestr("fer2013.csv", table(row(4)))
        archive.writestr("test.csv", table("1 2 3", header="pixels"))
    assert read_fer2013(path, "Training")["Training"].labels.tolist() == [4]


@pytest.mark.parametrize(
    "between",
    ["  ", "\t", " \t ", ";", "\u00a0"],
)
def test_pixels_are_read_whatever_stands_between_them(tmp_path: Path, between: str) -> None:
    pixels = [str(i % 256) for i in range(48 * 48)]
    (face,) = read_fer2013(pack(tmp_path, "", table(row(pixels=between.join(pixels)))), "Training")["Training"].images
    assert face.ravel().tolist() == [int(value) for value in pixels]


def test_a_list_of_pixels_as_python_writes_it_is_read(tmp_path: Path) -> None:
    text = table(row(pixels=f'"{[7] * (48 * 48)}"'))
    assert read_fer2013(pack(tmp_path, "", text), "Training")["Training"].images.max() == 7


def test_a_table_with_semicolons_and_other_capitals_is_read(tmp_path: Path) -> None:
    text = table(row(2).replace(",", ";"), header="Emotion;Pixels;usage")
    assert read_fer2013(pack(tmp_path, "", text), "Training")["Training"].labels.tolist() == [2]


def test_text_of_another_encoding_is_named(tmp_path: Path) -> None:
    path = tmp_path / "fer2013.csv"
    path.write_bytes(table(row()).encode("utf-16"))
    with pytest.raises(DataUnreadable, match="UTF-8"):
        read_fer2013(path, "Training")


def test_what_a_table_shows_of_its_columns_reaches_no_terminal(tmp_path: Path) -> None:
    path = pack(tmp_path, "", "\x1b[2Jemotion,\u202epixels\n")
    with pytest.raises(DataColumnMissing) as caught:
        read_fer2013(path, "Training")
    assert str(caught.value).isprintable()
    assert r"\x1b[2Jemotion, \u202epixels" in str(caught.value)


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
