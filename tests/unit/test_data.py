"""Any data set in one shape: roles and split names, preprocessing, and `cuelens-data` on both kinds."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge.errors import DataMissing, DataSplitEmpty, DataUnreadable, RuntimeMissing, SinkUnwritable
from edge.vision.preprocessing import Preprocessing
from lab.datasets.fer2013 import CLASSES
from lab.datasets.fer2013 import SPLITS as TABLE_SPLITS
from lab.datasets.ferplus import COLUMNS
from lab.datasets.folder import SPLITS as FOLDER_SPLITS
from lab.datasets.labelled import DataSet, Labelled, split_name, split_names
from lab.datasets.read import read_data
from tests.support.failures import ended_by
from training.distribution import main, plot_distribution, plot_sheet, table


@pytest.fixture
def faces(tmp_path: Path) -> Path:
    """A FER2013 table of each class once in each split; PublicTest comes last."""
    lines = ["emotion,pixels,Usage"]
    for usage in ("Training", "PrivateTest", "PublicTest"):
        lines += [f"{label},{' '.join([str(label * 30)] * (48 * 48))},{usage}" for label in range(7)]
    path = tmp_path / "fer2013.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.fixture
def cells(tmp_path: Path) -> Path:
    """A folder of 2 x 10 colour pictures, one of them damaged, of 10 patients."""
    folder, rows = tmp_path / "cells", ["path,label,patient"]
    for label, colour in (("ill", (200, 0, 200)), ("well", (0, 0, 200))):
        (folder / label).mkdir(parents=True)
        for i in range(10):
            assert cv2.imwrite(str(folder / label / f"{i}.png"), np.full((20, 30, 3), colour, np.uint8))
            rows.append(f"{label}/{i}.png,{label},C{i}")
    (folder / "labels.csv").write_text("\n".join(rows))
    return folder


def test_roles_and_own_names_ask_for_the_same_splits(faces: Path, cells: Path) -> None:
    assert [split_name(faces, role) for role in ("fit", "choose", "report")] == list(TABLE_SPLITS)
    assert [split_name(cells, role) for role in ("fit", "choose", "report")] == list(FOLDER_SPLITS)
    assert all(split_name(path, name) == name for path in (faces, cells) for name in split_names(path))


def test_a_split_that_is_neither_is_named_with_what_is_valid(faces: Path, cells: Path) -> None:
    with pytest.raises(DataSplitEmpty, match="'train'; valid are Training, PublicTest, PrivateTest, or fit, choose,"):
        split_name(faces, "train")
    with pytest.raises(DataSplitEmpty, match="'Training'; valid are train, validation, test, or fit"):
        read_data(cells, Preprocessing(8), ["Training"])


def test_what_is_no_data_set_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataMissing, match="none: no such file or folder"):
        split_names(tmp_path / "none")
    model = tmp_path / "emotion.keras"
    model.write_bytes(b"x")
    with pytest.raises(DataUnreadable, match=r"emotion\.keras: not a table"):
        read_data(model, Preprocessing(48))


def test_a_table_comes_by_its_own_names_in_the_roles_order(faces: Path) -> None:
    data = read_data(faces, Preprocessing(48))
    assert (data.title, data.classes, list(data.splits)) == ("FER2013", CLASSES, list(TABLE_SPLITS))
    assert data.fit.names[:2] == ("row 1", "row 2")
    assert data.choose.names[0] == "row 15"
    assert data.report.names[-1] == "row 14"
    assert data.choose.images[3].tolist() == [[90] * 48] * 48


def test_only_the_splits_asked_for_are_there(faces: Path) -> None:
    data = read_data(faces, Preprocessing(48), ["PublicTest", "fit"])
    assert list(data.splits) == ["Training", "PublicTest"]
    with pytest.raises(DataSplitEmpty, match="no split to report on was read, only Training, PublicTest"):
        data.report  # noqa: B018


@pytest.mark.parametrize(("colour", "shape"), [("gray", (7, 32, 32)), ("rgb", (7, 32, 32, 3))])
def test_a_table_is_preprocessed_like_any_picture(faces: Path, colour: str, shape: tuple[int, ...]) -> None:
    data = read_data(faces, Preprocessing(32, colour), ["fit"])
    assert data.fit.images.shape == shape
    assert data.fit.images.dtype == np.uint8
    assert (data.fit.images.reshape(7, -1) == np.arange(7)[:, None] * 30).all()


def test_taking_rows_takes_all_that_belongs_to_them() -> None:
    data = Labelled(np.arange(12, dtype=np.uint8).reshape(3, 2, 2), np.array([5, 6, 7]), ("a", "b", "c"))
    taken = data.take(np.array([2, 0]))
    assert taken.images[:, 0, 0].tolist() == [8, 0]
    assert taken.labels.tolist() == [7, 5]
    assert (taken.names, taken.votes) == (("c", "a"), None)
    assert Labelled(data.images, data.labels).take(np.array([1])).names == ()


def test_the_table_for_a_person_counts_what_is_there() -> None:
    images = np.zeros((4, 8, 8), np.uint8)
    train = Labelled(images, np.array([0, 0, 0, 1]), tuple("abcd"))
    test = Labelled(images[:1], np.array([1]), ("e",))
    data = DataSet("pets", ("cat", "dog"), {"train": train, "test": test})
    lines = table(data, {"a": "P1", "b": "P1", "c": "P2", "d": "P2", "e": "P3"}).splitlines()
    assert [line.split() for line in lines] == [
        ["pets", "train", "test"],
        ["cat", "3", "0"],
        ["dog", "1", "1"],
        ["all", "4", "1"],
        ["patients", "2", "1"],
    ]


def run(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as caught:
        main([str(word) for word in words])
    out, err = capsys.readouterr()
    return int(caught.value.code or 0), out, err


def test_the_command_shows_counts_patients_and_what_was_skipped(
    cells: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (cells / "ill" / "3.png").write_bytes(b"")
    code, out, err = run(capsys, cells)
    assert (code, err) == (0, "")
    lines = {line.split()[0]: line.split()[1:] for line in out.splitlines()}
    assert lines["cells"] == ["train", "validation", "test"]
    assert sum(map(int, lines["all"])) == 19
    assert sum(map(int, lines["patients"])) == 10
    assert out.endswith("1 pictures skipped:\n  ill/3.png: empty, 0 bytes\n")


def test_the_command_shows_what_raters_say(faces: Path, capsys: pytest.CaptureFixture[str]) -> None:
    votes = faces.with_name("votes.csv")
    rows = ["10" + ",0" * 9] * 5 + ["0," * 9 + "10", "5,5" + ",0" * 8]
    usages = [usage for usage in ("Training", "PrivateTest", "PublicTest") for _ in range(7)]
    lines = [f"{usage},x,{row}" for usage, row in zip(usages, rows * 3, strict=True)]
    votes.write_text("\n".join(["Usage,Image name," + ",".join(COLUMNS), *lines]) + "\n")
    code, out, _ = run(capsys, faces, "--ferplus", votes)
    assert code == 0
    neutral = [line.split()[1:] for line in out.splitlines() if line.startswith("neutral")]
    assert neutral == [["1", "1", "1"], ["5", "5", "5"]]
    assert "PublicTest: 2 of 7 rows without a majority, 1 of them no face" in out


def test_a_failure_is_one_line_and_its_own_code(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capsys, tmp_path / "none")
    assert ended_by(DataMissing, code, err).count("\n") == 1
    assert out == ""


def test_both_pictures_are_drawn_for_faces_and_for_cells(
    faces: Path, cells: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("matplotlib", reason="the host's: the device has no matplotlib")
    for path in (faces, cells):
        out = tmp_path / "deep" / path.stem
        code, text, err = run(capsys, path, "--out", out)
        assert (code, err) == (0, "")
        assert sorted(file.name for file in out.iterdir()) == ["distribution.png", "sheet.png"]
        assert str(out / "sheet.png") in text
        for file in out.iterdir():
            picture = cv2.imread(str(file))
            assert picture is not None
            assert picture.shape[1] > 600
            assert picture.std() > 20, "it is not blank"


@pytest.mark.parametrize("name", ["caf\udce9", "a\nb", "100%", "$\\frac{$", "ü" * 125])
def test_a_set_of_any_name_is_drawn_into_a_folder_of_any_name(
    name: str, cells: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("matplotlib", reason="the host's: the device has no matplotlib")
    shutil.copytree(cells, tmp_path / name / name)
    code, _, err = run(capsys, tmp_path / name / name, "--out", tmp_path / name / "out")
    assert (code, err) == (0, "")
    for file in ("distribution.png", "sheet.png"):
        assert cv2.imdecode(np.fromfile(tmp_path / name / "out" / file, np.uint8), 0) is not None


def test_the_sheet_shows_pictures_of_the_split_to_fit_on_and_in_their_colours(cells: Path, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="the host's: the device has no matplotlib")
    data = read_data(cells, Preprocessing(16, "rgb"), ["fit"])
    plot_sheet(data, tmp_path / "sheet.png")
    sheet = cv2.imread(str(tmp_path / "sheet.png"))
    assert sheet is not None
    red, violet = ((sheet == colour).all(axis=2).sum() for colour in ((0, 0, 200), (200, 0, 200)))
    assert violet / red == pytest.approx((data.fit.labels == 0).sum() / (data.fit.labels == 1).sum(), rel=0.1)


def test_a_path_that_cannot_be_written_keeps_its_own_code(cells: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("matplotlib", reason="the host's: the device has no matplotlib")
    code, _, err = run(capsys, cells, "--out", cells / "labels.csv")
    assert "labels.csv" in ended_by(SinkUnwritable, code, err)


def test_without_matplotlib_the_next_step_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    data = DataSet("pets", ("cat", "dog"), {"train": Labelled(np.zeros((1, 8, 8), np.uint8), np.array([0]))})
    with pytest.raises(RuntimeMissing, match=r"deploy\.sh host"):
        plot_distribution(data, tmp_path / "distribution.png")
    assert list(tmp_path.iterdir()) == []
