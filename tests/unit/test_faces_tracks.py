"""cuelens-bench faces tracks: its counts on boxes made by hand, and the files that it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks import bench
from benchmarks.faces_tracks import CHANGES, COUNTS, judge_film, read_boxes
from edge.errors import DataMissing, DataUnreadable
from edge.types import Box, Face, Quality

GOOD = Quality(1.0, 1.0, 1.0, 1.0, 1.0)
BOX: Box = (100, 100, 50, 50)


def face(box: Box, readable: bool = True) -> Face:
    return Face(1, box, 0.0, GOOD, readable=readable)


def counted(film: list[list[Face]], truth: list[list[Box]]) -> tuple[int, ...]:
    return tuple(judge_film(film, truth)[name] for name in COUNTS)


def test_a_box_on_its_face_one_off_it_and_one_too_wide_are_counted_apart() -> None:
    on, off, wide = face(BOX), face((160, 100, 50, 50), readable=False), face((85, 85, 80, 80))
    film = [[on], [on], [on], [off], [wide], []]
    assert counted(film, [[BOX]] * 6) == (6, 5, 5, 1, 1, 4, 0, 1)


def test_the_usual_width_beside_the_reference_is_the_films_own() -> None:
    large = face((85, 85, 80, 80))
    assert counted([[large]] * 3, [[BOX]] * 3) == (3, 3, 3, 0, 0, 3, 0, 0)


def test_where_the_reference_has_no_face_its_newest_counts_and_before_any_none() -> None:
    assert counted([[face(BOX)], [face(BOX)], [face(BOX)]], [[], [BOX], []]) == (3, 3, 3, 1, 0, 3, 1, 0)


def test_of_several_people_each_box_is_held_to_the_nearest() -> None:
    other: Box = (300, 100, 60, 60)
    assert counted([[face(BOX), face(other)]] * 2, [[other, BOX]] * 2) == (2, 2, 4, 0, 0, 4, 0, 0)


@pytest.mark.parametrize("name", CHANGES)
def test_a_change_moves_the_boxes_with_what_is_in_them(name: str) -> None:
    change = CHANGES[name]
    gray = np.full((200, 300), 40, np.uint8)
    x, y, width, height = BOX
    gray[y : y + height, x : x + width] = 120
    changed = change.apply(gray)
    rows, columns = np.nonzero(changed > 100 * change.light)
    assert changed.shape == gray.shape
    assert changed.dtype == np.uint8
    found = (columns.min(), rows.min(), np.ptp(columns) + 1, np.ptp(rows) + 1)
    assert change.place(BOX, 300) == found
    assert {int(level) for level in np.unique(changed)} == {int(40 * change.light), int(120 * change.light)}


def test_boxes_come_from_a_file_by_film(tmp_path: Path) -> None:
    path = tmp_path / "boxes.json"
    path.write_text(json.dumps({"a.avi": [[[0.9, 1.4, 2.6, 30.0, 31.0]], []]}), encoding="utf-8")
    assert read_boxes(path) == {"a.avi": [[(1, 3, 30, 31)], []]}


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "not JSON: Expecting value"),
        *(
            (content, "not the boxes of films, score, x, y, width and height by film, frame and face")
            for content in (
                "[]",
                '{"a.avi": 3}',
                '{"a.avi": [[[1, 2]]]}',
                '{"a.avi": [[[1, 1e999, 0, 1, 1]]]}',
                '{"a.avi": [[[0.9, "x", 0, 1, 1]]]}',
            )
        ),
    ],
)
def test_a_file_of_anything_else_is_refused_with_the_next_step(tmp_path: Path, content: str, words: str) -> None:
    path = tmp_path / "boxes.json"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(DataUnreadable, match=rf"boxes\.json: {words}.*; write it with benchmarks/peers/boxes\.py"):
        read_boxes(path)
    with pytest.raises(DataMissing, match="No such file"):
        read_boxes(tmp_path / "none.json")


def test_a_choice_that_leaves_no_film_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "boxes.json"
    path.write_text('{"a.avi": []}', encoding="utf-8")
    with pytest.raises(SystemExit):
        bench.main(["faces", "tracks", "--clips", str(tmp_path), "--boxes", str(path), "--only", "b*"])
    assert "no film in it is called b*; it has a.avi" in capsys.readouterr().err
    path.write_text("{}", encoding="utf-8")
    with pytest.raises(SystemExit):
        bench.main(["faces", "tracks", "--clips", str(tmp_path), "--boxes", str(path)])
    assert "has no film; write it with benchmarks/peers/boxes.py" in capsys.readouterr().err
