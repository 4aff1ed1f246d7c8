"""FER+'s votes: read only where they fit FER2013's rows, and the labels they make."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edge.errors import (
    CuelensError,
    DataColumnMissing,
    DataMissing,
    DataRowInvalid,
    DataUnreadable,
    SettingsInvalid,
)
from edge.vision.preprocessing import Preprocessing
from lab.datasets.fer2013 import CLASSES
from lab.datasets.ferplus import COLUMNS, drop_no_face, majority, read_votes, relabel, soft_labels
from lab.datasets.labelled import Labelled
from lab.datasets.read import read_data

HEADER = "Usage,Image name," + ",".join(COLUMNS)
NAMES = ("anger", "disgust", "fear", "happiness", "sadness", "surprise", "neutral")
USAGES = ["Training", "PublicTest", "Training"]


def vote(**votes: int) -> list[int]:
    return [votes.get(name, 0) for name in COLUMNS]


def row(usage: str = "Training", name: str = "fer0000000.png", **votes: int) -> str:
    return f"{usage},{name},{','.join(map(str, vote(**votes)))}"


def write(folder: Path, *rows: str, header: str = HEADER) -> Path:
    path = folder / "fer2013new.csv"
    path.write_text("\n".join((header, *rows)) + "\n")
    return path


THREE = (row(anger=6, sadness=4), row("PublicTest", neutral=10), row(name="", NF=10))
FACES = Labelled(
    np.arange(5 * 4, dtype=np.uint8).reshape(5, 2, 2),
    np.array([0, 1, 2, 3, 4]),
    tuple("abcde"),
    np.array(
        [
            vote(anger=6, sadness=4),
            vote(NF=6, fear=4),
            vote(happiness=5, neutral=5),
            vote(contempt=7, neutral=3),
            vote(sadness=3, fear=2, anger=2, unknown=2, NF=1),
        ],
        np.uint8,
    ),
)


def test_votes_are_read_in_the_tables_order(tmp_path: Path) -> None:
    votes = read_votes(write(tmp_path, *THREE), USAGES)
    assert votes.dtype == np.uint8
    assert votes.tolist() == [vote(anger=6, sadness=4), vote(neutral=10), vote(NF=10)]


@pytest.mark.parametrize(
    ("header", "rows", "error", "words"),
    [
        (HEADER.replace("NF", "none"), THREE, DataColumnMissing, ["'NF'"]),
        ("emotion,pixels,Usage", THREE, DataColumnMissing, ["'neutral'", "emotion, pixels, Usage"]),
        (HEADER, THREE[:2], DataUnreadable, ["2 rows", "has 3"]),
        (HEADER, (*THREE, THREE[0]), DataUnreadable, ["4 rows", "has 3"]),
        (HEADER, THREE[::2] + THREE[1:2], DataRowInvalid, ["row 2 (line 3)", "'Training'", "'PublicTest'"]),
        (HEADER, (THREE[0].replace("6", "six"), *THREE[1:]), DataRowInvalid, ["row 1 (line 2)", "six"]),
        (HEADER, (THREE[0].replace("6", "-6"), *THREE[1:]), DataRowInvalid, ["row 1", "-6"]),
        (HEADER, (THREE[0].replace("6", "6.5"), *THREE[1:]), DataRowInvalid, ["row 1", "6.5"]),
        (HEADER, (THREE[0].replace("6", "300"), *THREE[1:]), DataRowInvalid, ["row 1", "300"]),
        (HEADER, ("Training,x,1,2", *THREE[1:]), DataRowInvalid, ["row 1", "10 numbers"]),
    ],
)
def test_votes_that_do_not_fit_are_named_with_their_row(
    tmp_path: Path, header: str, rows: tuple[str, ...], error: type[CuelensError], words: list[str]
) -> None:
    with pytest.raises(error) as caught:
        read_votes(write(tmp_path, *rows, header=header), USAGES)
    assert all(word in str(caught.value) for word in words), str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_table_of_votes_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataMissing, match=r"none\.csv"):
        read_votes(tmp_path / "none.csv", USAGES)


def test_votes_come_to_the_rows_of_their_split(tmp_path: Path) -> None:
    pixels = " ".join(["7"] * (48 * 48))
    faces = tmp_path / "fer2013.csv"
    faces.write_text("emotion,pixels,Usage\n" + "".join(f"{i},{pixels},{usage}\n" for i, usage in enumerate(USAGES)))
    data = read_data(faces, Preprocessing(48), ["choose", "fit"], ferplus=write(tmp_path, *THREE))
    assert data.fit.votes is not None
    assert data.choose.votes is not None
    assert data.fit.votes.tolist() == [vote(anger=6, sadness=4), vote(NF=10)]
    assert data.choose.votes.tolist() == [vote(neutral=10)]
    assert data.fit.labels.tolist() == [0, 2], "FER2013's own: votes change no label"


def test_votes_on_a_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsInvalid, match=r"votes\.csv"):
        read_data(tmp_path, Preprocessing(48), ferplus=tmp_path / "votes.csv")


def test_soft_labels_are_shares_in_fer2013s_order() -> None:
    votes = np.array([vote(anger=3, happiness=1, contempt=4, NF=2), vote(surprise=10), vote(unknown=6, NF=4)], np.uint8)
    shares = soft_labels(votes)
    assert shares.dtype == np.float32
    expected = np.zeros((3, 7))
    expected[0, CLASSES.index("angry")], expected[0, CLASSES.index("happy")] = 0.75, 0.25
    expected[1, CLASSES.index("surprise")] = 1
    assert shares.tolist() == expected.tolist()
    # A single vote for a class may be a mistake.
    expected[0, CLASSES.index("angry")], expected[0, CLASSES.index("happy")] = 1, 0
    assert soft_labels(votes, least=2).tolist() == expected.tolist()


@pytest.mark.parametrize(("name", "label"), list(zip(NAMES, CLASSES, strict=True)))
def test_each_of_the_raters_words_becomes_its_class(name: str, label: str) -> None:
    votes = np.array([vote(**{name: 10})], np.uint8)
    assert CLASSES[majority(votes)[0]] == label
    assert CLASSES[soft_labels(votes).argmax()] == label


def test_a_majority_is_more_votes_than_any_other_word_has() -> None:
    assert FACES.votes is not None
    assert majority(FACES.votes).tolist() == [CLASSES.index("angry"), -1, -1, -1, CLASSES.index("sad")]


def test_only_what_most_call_no_face_is_dropped_as_such() -> None:
    kept = drop_no_face(FACES)
    assert kept.names == ("a", "c", "d", "e")
    assert kept.labels.tolist() == [0, 2, 3, 4]
    assert kept.votes is not None
    assert len(kept.votes) == len(kept.images) == 4


def test_relabelling_keeps_the_rows_that_have_a_majority() -> None:
    kept = relabel(FACES)
    assert kept.names == ("a", "e")
    assert kept.labels.tolist() == [CLASSES.index("angry"), CLASSES.index("sad")]
    assert kept.images.tolist() == FACES.images[[0, 4]].tolist()


def test_labels_from_votes_need_votes() -> None:
    for make in (relabel, drop_no_face):
        with pytest.raises(SettingsInvalid, match="--ferplus"):
            make(Labelled(FACES.images, FACES.labels))


@pytest.mark.shared
def test_real_votes_fit_real_rows(shared: Path) -> None:
    faces, votes = shared / "fer2013" / "fer2013.csv.xz", shared / "fer2013" / "fer2013new.csv"
    data = read_data(faces, Preprocessing(48), ["choose"], ferplus=votes).choose
    assert data.votes is not None
    assert data.votes.sum(axis=1).tolist() == [10] * 3_589
    assert len(drop_no_face(data).labels) == 3_578
    # Rows shifted by one agree in one of four.
    assert (majority(data.votes) == data.labels).mean() > 0.6
    assert (majority(np.roll(data.votes, 1, axis=0)) == data.labels).mean() < 0.3
