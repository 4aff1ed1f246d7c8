"""Folders of pictures in every layout people have them, and each way they can be wrong."""

from __future__ import annotations

from collections import Counter
from itertools import chain
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from edge.errors import (
    CuelensError,
    DataClassEmpty,
    DataClassSingle,
    DataColumnMissing,
    DataLabelInvalid,
    DataLayoutUnknown,
    DataMissing,
    DataRowInvalid,
    DataSplitEmpty,
    DataUnreadable,
)
from edge.vision.preprocessing import Preprocessing
from lab.datasets.fer2013 import CLASSES
from lab.datasets.folder import list_column, list_patients
from lab.datasets.labelled import DataSet
from lab.datasets.read import native_colour, read_data
from lab.datasets.splits import split_groups

GRAY, COLOUR = Preprocessing(8), Preprocessing(8, "rgb")


def draw(path: Path, value: int = 100, side: int = 8) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), np.full((side, side), value, np.uint8))


def fill(folder: Path, *, each: int = 10, classes: tuple[str, ...] = ("cat", "dog")) -> None:
    """Draw `each` pictures of each class, no two alike, cat's darker than dog's."""
    for label, name in enumerate(classes):
        for i in range(each):
            draw(folder / name / f"{i:02}.png", 1 + label * each + i)


def write(folder: Path, *rows: str, header: str = "path,label") -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "labels.csv").write_text("\n".join((header, *rows)) + "\n")


def counts(data: DataSet) -> dict[str, list[int]]:
    return {name: np.bincount(split.labels).tolist() for name, split in data.splits.items()}


def content(data: DataSet) -> dict[str, list[int]]:
    return {name: split.images[:, 0, 0].tolist() for name, split in data.splits.items()}


def test_a_folder_a_class_is_split_by_class_and_every_picture_comes_once(tmp_path: Path) -> None:
    fill(tmp_path, each=20)
    data = read_data(tmp_path, GRAY)
    assert data.classes == ("cat", "dog")
    assert data.title == tmp_path.name
    assert counts(data) == {"train": [14, 14], "validation": [3, 3], "test": [3, 3]}
    assert sorted(chain(*content(data).values())) == list(range(1, 41))
    for split in data.splits.values():
        assert ((split.images[:, 0, 0] > 20) == split.labels).all()
        assert all((tmp_path / name).is_file() for name in split.names)


def test_the_seed_decides_the_split_and_nothing_else_does(tmp_path: Path) -> None:
    fill(tmp_path, each=20)
    first = content(read_data(tmp_path, GRAY, seed=1))
    assert content(read_data(tmp_path, GRAY, seed=1)) == first
    assert content(read_data(tmp_path, GRAY, seed=2)) != first
    assert content(read_data(tmp_path, GRAY, ["test"], seed=1)) == {"test": first["test"]}


def test_three_pictures_of_a_class_are_enough_for_every_split(tmp_path: Path) -> None:
    fill(tmp_path, each=3)
    assert counts(read_data(tmp_path, GRAY)) == {"train": [1, 1], "validation": [1, 1], "test": [1, 1]}


@pytest.mark.parametrize("middle", ["validation", "val", "valid", "Val"])
def test_train_and_test_folders_are_the_split(tmp_path: Path, middle: str) -> None:
    for number, part in enumerate(("train", middle, "test")):
        fill(tmp_path / part, each=number + 2)
    draw(tmp_path / "notes" / "x" / "0.png")
    data = read_data(tmp_path, GRAY)
    assert counts(data) == {"train": [2, 2], "validation": [3, 3], "test": [4, 4]}
    assert data.skipped == ("notes: neither train, validation nor test",)


def test_a_validation_split_that_is_missing_comes_out_of_train(tmp_path: Path) -> None:
    fill(tmp_path / "train", each=20)
    fill(tmp_path / "test", each=4)
    data = read_data(tmp_path, GRAY)
    assert counts(data) == {"train": [17, 17], "validation": [3, 3], "test": [4, 4]}
    assert sorted(content(data)["train"] + content(data)["validation"]) == list(range(1, 41))
    assert all(name.startswith("train/") for name in data.choose.names)


def test_classes_called_train_and_dog_are_classes(tmp_path: Path) -> None:
    fill(tmp_path, classes=("dog", "train"))
    assert read_data(tmp_path, GRAY).classes == ("dog", "train")


def test_the_seven_expressions_come_in_fer2013s_order_and_under_its_names(tmp_path: Path) -> None:
    names = ("Anger", "disgust", "fearful", "happiness", "Sad", "surprised", "NEUTRAL")
    fill(tmp_path, each=3, classes=names)
    data = read_data(tmp_path, GRAY)
    assert data.classes == CLASSES
    for image, label in zip(data.fit.images, data.fit.labels, strict=True):
        assert (image[0, 0] - 1) // 3 == label


def test_eight_classes_that_hold_the_seven_keep_their_own_names(tmp_path: Path) -> None:
    fill(tmp_path, each=3, classes=(*CLASSES, "contempt"))
    assert read_data(tmp_path, GRAY).classes == tuple(sorted((*CLASSES, "contempt")))


def test_a_table_of_labels_is_read_and_hidden_or_stray_files_are_not(tmp_path: Path) -> None:
    for i in range(8):
        draw(tmp_path / "all" / f"{i}.png", i)
    draw(tmp_path / "all" / ".hidden.png")
    (tmp_path / "Thumbs.db").write_bytes(b"x")
    write(tmp_path, *(f" all\\{i}.png , {'ab'[i % 2]},x" for i in range(8)), header="\ufeffPath, LABEL,note")
    data = read_data(tmp_path, GRAY)
    assert data.classes == ("a", "b")
    assert data.skipped == ()
    assert sorted(chain(*(split.names for split in data.splits.values()))) == [f"all/{i}.png" for i in range(8)]


def test_hidden_and_stray_files_in_class_folders_are_ignored(tmp_path: Path) -> None:
    fill(tmp_path)
    for name in (".DS_Store", "Thumbs.db", "._00.png", "notes.txt"):
        (tmp_path / "cat" / name).write_bytes(b"x")
    (tmp_path / "__MACOSX").mkdir()
    (tmp_path / ".git").mkdir()
    (tmp_path / "readme.md").write_text("x")
    data = read_data(tmp_path, GRAY)
    assert data.classes == ("cat", "dog")
    assert data.skipped == ()


@pytest.mark.parametrize("column", ["patient", "Subject"])
def test_nobody_is_in_two_splits(tmp_path: Path, column: str) -> None:
    rng = np.random.default_rng(0)
    rows = []
    for patient in range(30):
        for i in range(rng.integers(1, 20)):
            name = f"{patient}_{i}.png"
            draw(tmp_path / name, 7)
            rows.append(f"{name},{'ill' if rng.random() < patient / 30 else 'well'},P{patient}")
    write(tmp_path, *rows, header=f"path,label,{column}")
    data, patients = read_data(tmp_path, GRAY), list_patients(tmp_path)
    people = [{patients[name] for name in split.names} for split in data.splits.values()]
    assert sum(map(len, people)) == len(set.union(*people)) == 30
    sizes = [len(split.labels) / len(rows) for split in data.splits.values()]
    assert sizes == pytest.approx([0.70, 0.15, 0.15], abs=0.02)
    ill = [1 - split.labels.mean() for split in data.splits.values()]
    assert max(ill) - min(ill) < 0.05
    assert content(read_data(tmp_path, GRAY)) == content(data)


def test_three_patients_make_three_splits() -> None:
    counts = np.array([[5, 5], [4, 6], [6, 4]])
    for seed in range(20):
        assert sorted(split_groups(counts, (0.70, 0.15, 0.15), seed)) == [0, 1, 2]


def test_patients_of_one_class_each_still_give_every_split_both_classes() -> None:
    counts = np.array([[9, 0], [9, 0], [9, 0], [0, 2], [0, 2], [0, 2]])
    for seed in range(20):
        home = np.array(split_groups(counts, (0.70, 0.15, 0.15), seed))
        assert sorted(home[:3]) == sorted(home[3:]) == [0, 1, 2]


@pytest.mark.parametrize("column", ["split", "Usage"])
def test_a_column_that_splits_is_heeded(tmp_path: Path, column: str) -> None:
    names = ["train", "Training", "val", "PublicTest", "test", "PrivateTest"]
    rows = []
    for i, name in enumerate(names * 2):
        draw(tmp_path / f"{i}.png", i)
        rows.append(f"{i}.png,{'ab'[i // 6]},{name}")
    write(tmp_path, *rows, header=f"path,label,{column}")
    assert content(read_data(tmp_path, GRAY)) == {
        "train": [0, 1, 6, 7],
        "validation": [2, 3, 8, 9],
        "test": [10, 11, 4, 5],  # by name
    }


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff", ".PPM"])
def test_every_format_comes_out_rgb_at_the_size_asked_for(tmp_path: Path, suffix: str) -> None:
    fill(tmp_path)
    red = np.zeros((33, 21, 3), np.uint8)
    red[..., 2] = 255  # OpenCV writes BGR
    assert cv2.imwrite(str(tmp_path / "cat" / f"red{suffix}"), red)
    data = read_data(tmp_path, COLOUR)
    (image,) = [
        split.images[i] for split in data.splits.values() for i, name in enumerate(split.names) if "red" in name
    ]
    assert image.shape == (8, 8, 3)
    assert np.abs(image.astype(int) - [255, 0, 0]).max() <= 2


@pytest.mark.parametrize(
    ("picture", "expected"),
    [
        (np.full((9, 9), 77, np.uint8), 77),
        (np.full((9, 9, 3), 77, np.uint8), 77),
        (np.full((9, 9, 4), 77, np.uint8), 77),
        (np.full((9, 9), 77 * 257, np.uint16), 77),
        (np.full((9, 9, 3), 77 * 257, np.uint16), 77),
        (np.full((1, 500), 77, np.uint8), 77),
    ],
    ids=["gray", "colour", "alpha", "16 bit gray", "16 bit colour", "one row"],
)
def test_every_depth_comes_out_gray(tmp_path: Path, picture: npt.NDArray[np.uint8], expected: int) -> None:
    for name in ("cat/a.png", "cat/b.png", "cat/c.png", "dog/a.png", "dog/b.png", "dog/c.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        assert cv2.imwrite(str(tmp_path / name), picture)
    data = read_data(tmp_path, GRAY)
    assert data.fit.images.shape == (2, 8, 8)
    assert np.abs(data.fit.images.astype(int) - expected).max() <= 1


def test_a_photograph_comes_out_upright(tmp_path: Path) -> None:
    fill(tmp_path, each=3)
    half = np.zeros((16, 16), np.uint8)
    half[:8] = 255
    jpeg = cv2.imencode(".jpg", half)[1].tobytes()
    turned = b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"  # orientation 6: turn it right
    (tmp_path / "cat" / "00.png").unlink()
    photograph = tmp_path / "cat" / "00.jpg"
    photograph.write_bytes(jpeg[:2] + b"\xff\xe1" + (len(turned) + 2).to_bytes(2, "big") + turned + jpeg[2:])
    data = read_data(tmp_path, GRAY)
    (image,) = [s.images[i] for s in data.splits.values() for i, name in enumerate(s.names) if name == "cat/00.jpg"]
    assert image[:, 6:].min() > 200
    assert image[:, :2].max() < 50


def test_pictures_that_cannot_be_read_are_skipped_and_listed(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    fill(tmp_path, each=40)
    noise = np.random.default_rng(0).integers(0, 256, (200, 200), dtype=np.uint8)
    for suffix in (".png", ".jpg"):
        whole = cv2.imencode(suffix, noise)[1].tobytes()
        (tmp_path / "cat" / f"cut{suffix}").write_bytes(whole[: len(whole) * 2 // 3])
        if suffix == ".jpg":  # libjpeg mends this, and says so
            half = len(whole) // 2
            (tmp_path / "cat" / "scratched.jpg").write_bytes(whole[:half] + bytes(40) + whole[half + 40 :])
    (tmp_path / "cat" / "empty.png").write_bytes(b"")
    (tmp_path / "cat" / "text.png").write_bytes(b"no picture at all")
    (tmp_path / "cat" / "text.tif").write_bytes(b"II*\0 no picture at all")
    (tmp_path / "cat" / "deep").mkdir()
    data = read_data(tmp_path, GRAY)
    assert sorted(data.skipped) == [
        "cat/cut.jpg: cut short",
        "cat/cut.png: cut short",
        "cat/deep: a folder in a class's folder",
        "cat/empty.png: empty, 0 bytes",
        "cat/text.png: damaged, or no picture",
        "cat/text.tif: damaged, or no picture",
    ]
    assert sum(len(split.labels) for split in data.splits.values()) == 81
    assert sum(len(split.names) for split in data.splits.values()) == 81
    assert capfd.readouterr() == ("", "")


def test_files_that_the_table_names_and_nobody_has_are_skipped_and_listed(tmp_path: Path) -> None:
    for i in range(8):
        draw(tmp_path / f"{i}.png", i)
    write(tmp_path, *(f"{i}.png,{'ab'[i % 2]}" for i in range(10)), "1.png,b")
    data = read_data(tmp_path, GRAY)
    assert data.skipped == (
        "1.png: a second time in labels.csv",
        "8.png: no such file",
        "9.png: no such file",
    )
    assert sum(len(split.labels) for split in data.splits.values()) == 8


GOOD = [f"{i}.png,{'ab'[i % 2]}" for i in range(8)]


@pytest.mark.parametrize(
    ("header", "rows", "error", "words"),
    [
        ("path,class", GOOD, DataColumnMissing, ["'label'", "path, class"]),
        ("file,label", GOOD, DataColumnMissing, ["'path'", "file, label"]),
        ("path,label", [], DataSplitEmpty, ["no row"]),
        ("path,label", [*GOOD, "0.png,"], DataLabelInvalid, ["row 9 (line 10)", "0.png", "no label"]),
        ("path,label", [*GOOD, "0.png,b"], DataLabelInvalid, ["row 9", "0.png", "another label"]),
        ("path,label", [*GOOD, "../x.png,a"], DataUnreadable, ["row 9", "../x.png", "outside"]),
        ("path,label", [*GOOD, "b/../0.png,a"], DataUnreadable, ["row 9", "outside"]),
        ("path,label", [*GOOD, "..\\x.png,a"], DataUnreadable, ["row 9", "outside"]),
        ("path,label", [*GOOD, "/etc/x.png,a"], DataUnreadable, ["row 9", "/etc/x.png", "outside"]),
        ("path,label", [*GOOD, "link/0.png,a"], DataUnreadable, ["row 9", "link/0.png", "outside"]),
        ("path,label", [*GOOD, "b/0.png,a"], DataLabelInvalid, ["row 9", "b/0.png", "'b'", "'a'"]),
        ("path,label", [*GOOD, "b/deep/0.png,a"], DataLabelInvalid, ["row 9", "'b'", "'a'"]),
        ("path,label", [f"no{i}.png,a" for i in range(9)] + GOOD, DataUnreadable, ["9 of its 17", "no0.png"]),
        ("path,label", [f"{i}.png,a" for i in range(8)], DataClassSingle, ["'a'"]),
        ("path,label,patient", [row + ",P" for row in GOOD] + ["0.png,a, "], DataRowInvalid, ["row 9", "no patient"]),
        (
            "path,label,patient",
            [f"{row},{row[0]}" for row in GOOD[:4]],
            DataClassEmpty,
            ["'a' has 2 patients", "3 or more"],
        ),
        ("path,label,split", [row + ",dev" for row in GOOD], DataRowInvalid, ["row 1", "'dev'", "validation"]),
        ("path,label,split", [row + ",test" for row in GOOD], DataSplitEmpty, ["no picture in train"]),
        (
            "path,label,patient,split",
            [f"{row},P,{['train', 'val', 'test'][i % 3]}" for i, row in enumerate(GOOD)],
            DataRowInvalid,
            ["'P'", "in train and in validation"],
        ),
    ],
)
def test_a_wrong_table_is_named_with_its_row(
    tmp_path: Path, header: str, rows: list[str], error: type[CuelensError], words: list[str]
) -> None:
    folder = tmp_path / "data"
    for i in range(8):
        draw(folder / f"{i}.png", i)
    draw(folder / "b" / "0.png")
    draw(tmp_path / "elsewhere" / "0.png")
    (folder / "link").symlink_to(tmp_path / "elsewhere")
    write(folder, *rows, header=header)
    with pytest.raises(error) as caught:
        read_data(folder, GRAY)
    assert all(word in str(caught.value) for word in words), str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_label_in_its_folder_is_no_mismatch_whatever_its_case(tmp_path: Path) -> None:
    fill(tmp_path, each=4, classes=("Cat", "DOG"))
    write(tmp_path, *(f"{home}/{i:02}.png,{home.lower()}" for home in ("Cat", "DOG") for i in range(4)))
    assert read_data(tmp_path, GRAY).classes == ("cat", "dog")


def test_numbered_parts_of_a_large_set_are_no_classes_though_classes_are_numbers(tmp_path: Path) -> None:
    rows = []
    for i in range(60):
        draw(tmp_path / f"{i % 10}" / f"{i}.png", i)
        rows.append(f"{i % 10}/{i}.png,{i // 10}")
    write(tmp_path, *rows)
    data = read_data(tmp_path, GRAY)
    assert data.classes == tuple("012345")
    assert sum(len(split.labels) for split in data.splits.values()) == 60


def test_classes_folders_whose_labels_are_exchanged_are_named(tmp_path: Path) -> None:
    rows = []
    for i in range(20):
        draw(tmp_path / "ab"[i % 2] / f"{i}.png", i)
        rows.append(f"{'ab'[i % 2]}/{i}.png,{'ba'[i % 2]}")
    write(tmp_path, *rows)
    with pytest.raises(DataLabelInvalid, match=r"folder of 'a', its label is 'b'.*rename"):
        read_data(tmp_path, GRAY)


@pytest.mark.parametrize("around", ["archive", "fer2013/fer2013"])
def test_folders_that_an_archive_left_around_the_data_are_passed(tmp_path: Path, around: str) -> None:
    for part in ("train", "validation", "test"):
        fill(tmp_path / around / part, each=2)
    assert counts(read_data(tmp_path, GRAY)) == {"train": [2, 2], "validation": [2, 2], "test": [2, 2]}


def test_a_class_whose_name_a_terminal_would_obey_is_refused(tmp_path: Path) -> None:
    fill(tmp_path, classes=("cat", "\x1b[2Jdog"))
    with pytest.raises(DataLabelInvalid) as caught:
        read_data(tmp_path, GRAY)
    assert str(caught.value).isprintable()


def test_who_only_looks_gets_the_splits_and_classes_that_there_are(tmp_path: Path) -> None:
    fill(tmp_path / "train", each=2)
    fill(tmp_path / "validation", each=3, classes=("cat",))
    assert counts(read_data(tmp_path, GRAY, lenient=True)) == {"train": [2, 2], "validation": [3]}
    with pytest.raises(DataClassEmpty):
        read_data(tmp_path, GRAY, ["validation"])
    with pytest.raises(DataSplitEmpty, match="test"):
        read_data(tmp_path, GRAY, ["test"], lenient=True)


def test_a_column_of_any_name_says_what_it_says_of_each_picture(tmp_path: Path) -> None:
    write(tmp_path, "x\\0.png,a,P1,old", "1.png,b,P2,young", header="path,label,patient,Age")
    assert list_column(tmp_path, "age") == {"x/0.png": "old", "1.png": "young"}
    with pytest.raises(DataColumnMissing, match="no column 'sex'; found path, label, patient, Age"):
        list_column(tmp_path, "sex")
    with pytest.raises(DataColumnMissing, match=r"labels\.csv"):
        list_column(tmp_path / "none", "age")


def test_a_folder_that_holds_no_data_set_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataMissing, match="none"):
        read_data(tmp_path / "none", GRAY)
    draw(tmp_path / "0.png")
    with pytest.raises(DataLayoutUnknown, match=r"neither labels\.csv nor"):
        read_data(tmp_path, GRAY)
    draw(tmp_path / "cat" / "0.png")
    with pytest.raises(DataClassSingle, match="one class, 'cat'"):
        read_data(tmp_path, GRAY)
    (tmp_path / "dog").mkdir()
    with pytest.raises(DataClassEmpty, match="dog: no picture"):
        read_data(tmp_path, GRAY)
    draw(tmp_path / "dog" / "0.png")
    with pytest.raises(DataClassEmpty, match="'cat' has 1 pictures; train, validation, test need 3 or more"):
        read_data(tmp_path, GRAY)


def test_a_class_without_one_readable_picture_is_named_with_its_split(tmp_path: Path) -> None:
    fill(tmp_path, each=6)
    for path in (tmp_path / "dog").iterdir():
        path.write_bytes(b"")
    with pytest.raises(DataClassEmpty, match="class 'dog' in train: none of its 4 pictures can be read"):
        read_data(tmp_path, GRAY)


def test_a_class_that_test_lacks_stops_only_who_asks_for_test(tmp_path: Path) -> None:
    fill(tmp_path / "train", classes=("cat", "cow", "dog"))
    fill(tmp_path / "test")
    assert list(read_data(tmp_path, GRAY, ["fit", "choose"]).splits) == ["train", "validation"]
    with pytest.raises(DataClassEmpty, match="class 'cow' in test: no picture"):
        read_data(tmp_path, GRAY, ["report"])


@pytest.mark.shared
def test_real_cells_are_split_by_patient(shared: Path) -> None:
    data, patients = read_data(shared / "cells", COLOUR), list_patients(shared / "cells")
    assert data.classes == ("Parasitized", "Uninfected")
    assert data.skipped == ()
    people = [{patients[name] for name in split.names} for split in data.splits.values()]
    assert sum(map(len, people)) == len(set.union(*people)) == len(set(patients.values()))
    for split, size in zip(data.splits.values(), (700, 150, 150), strict=True):
        assert abs(len(split.labels) - size) <= 10
        assert Counter(split.labels.tolist())[0] == pytest.approx(size / 2, abs=10)


def test_a_folder_with_one_coloured_picture_among_gray_ones_is_of_colour(tmp_path: Path) -> None:
    fill(tmp_path)
    assert native_colour(tmp_path) == "gray"
    assert cv2.imwrite(str(tmp_path / "cat" / "00.png"), np.full((8, 8, 3), 90, np.uint8))
    assert native_colour(tmp_path) == "gray"
    assert cv2.imwrite(str(tmp_path / "cat" / "00.png"), np.full((8, 8, 3), (90, 90, 91), np.uint8))
    assert native_colour(tmp_path) == "rgb"
