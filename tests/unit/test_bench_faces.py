"""cuelens-bench faces: its measures on boxes and numbers made by hand. What it measures is not asserted here."""

from __future__ import annotations

import argparse
import copy
import os
from dataclasses import asdict
from pathlib import Path

import cv2
import numpy as np
import pytest

from benchmarks import bench, faces, faces_clips, faces_measures, films
from benchmarks.compare import compare
from benchmarks.faces_measures import Seen, Turned
from benchmarks.report import read_report
from benchmarks.result import table
from edge.errors import BenchFailed, DataColumnMissing, DataMissing, DataRowInvalid, SettingsInvalid
from edge.settings import FaceSettings
from edge.types import Box
from edge.vision.views import Spot

TRUTH = Spot(100.0, 100.0, 40.0)
LEFT, RIGHT = (0, 0, 40, 40), (200, 0, 40, 40)


@pytest.mark.parametrize(
    ("spot", "found"),
    [
        (TRUTH, True),
        (Spot(120.0, 100.0, 40.0), True),
        (Spot(112.0, 116.0, 40.0), True),
        (Spot(121.0, 100.0, 40.0), False),
        (Spot(115.0, 115.0, 40.0), False),
        (Spot(100.0, 100.0, 24.0), True),
        (Spot(100.0, 100.0, 23.0), False),
        (Spot(100.0, 100.0, 64.0), True),
        (Spot(100.0, 100.0, 65.0), False),
    ],
)
def test_a_face_is_found_near_its_middle_and_about_as_wide(spot: Spot, found: bool) -> None:
    assert faces_measures.match([spot], TRUTH) == (spot if found else None)


def test_the_nearest_fitting_spot_is_the_face() -> None:
    too_wide, near, nearer = Spot(100.0, 100.0, 90.0), Spot(110.0, 100.0, 40.0), Spot(97.0, 100.0, 40.0, 5.0)
    assert faces_measures.match([too_wide, near, nearer], TRUTH) == nearer
    assert faces_measures.match([], TRUTH) is None


def test_a_boxs_middle_is_between_its_first_and_last_pixel() -> None:
    assert faces_measures.spot_of((10, 20, 41, 41), 7.0) == Spot(30.0, 40.0, 41.0, 7.0)


def test_no_turn_copies_the_pixels() -> None:
    gray = np.random.default_rng(0).integers(0, 256, (60, 80), np.uint8)
    picture, face = faces_measures.turn(gray, Spot(40.0, 30.0, 20.0, 3.0), 0.0)
    assert np.array_equal(picture, gray)
    assert face == Spot(40.0, 30.0, 20.0, 3.0)


@pytest.mark.parametrize("angle_deg", [-90, -40, 10, 60, 90])
def test_a_turned_point_lands_clockwise_of_where_it_was(angle_deg: int) -> None:
    gray = np.zeros((120, 160), np.uint8)
    cv2.circle(gray, (70, 55), 2, 255, -1)  # 20 pixels to the right of the face's middle
    picture, face = faces_measures.turn(gray, Spot(50.0, 55.0, 30.0, 4.0), angle_deg)
    assert picture.shape == gray.shape
    assert (face.cx, face.cy, face.side) == (80.0, 60.0, 30.0)
    assert face.roll_deg == pytest.approx(4.0 + angle_deg)
    y, x = (float(np.average(places, weights=picture[picture > 0])) for places in np.nonzero(picture))
    turn = np.deg2rad(angle_deg)
    assert (x, y) == pytest.approx((80 + 20 * np.cos(turn), 60 + 20 * np.sin(turn)), abs=0.3)


def test_a_turned_picture_holds_a_large_face_and_its_surroundings() -> None:
    picture, face = faces_measures.turn(np.full((60, 80), 9, np.uint8), Spot(70.0, 10.0, 50.0), 45.0)
    assert picture.shape == (100, 100)
    assert (face.cx, face.cy) == (50.0, 50.0)
    assert np.all(picture == 9)  # edges are repeated, not black


@pytest.mark.parametrize(
    ("eyes", "roll_deg"),
    [
        ([(20, 30, 20, 20), (80, 30, 20, 20)], 0.0),
        ([(80, 36, 20, 20), (20, 30, 20, 20)], 5.71),  # the right one lower: clockwise
        ([(20, 30, 20, 20), (80, 50, 20, 20)], None),  # too far turned to be called upright
        ([(20, 30, 20, 20), (30, 30, 20, 20)], None),  # twice the same eye
        ([(20, 30, 20, 20)], None),
        ([(20, 30, 20, 20), (80, 30, 20, 20), (50, 60, 20, 20)], None),
    ],
)
def test_two_eyes_give_the_roll(eyes: list[Box], roll_deg: float | None) -> None:
    answer = faces_measures.eyes_roll_deg(eyes, 120.0)
    assert answer == (None if roll_deg is None else pytest.approx(roll_deg, abs=0.01))


def test_a_tally_counts_rolls_of_the_found_only() -> None:
    rows = [
        Turned("a", 30.0, {"plain": None, "still": -10.0, "film": 11.0}),
        Turned("a", 30.0, {"plain": 0.0, "still": None, "film": None}),
    ]
    assert faces_measures.tally(rows) == {
        "turned": 2, "plain": 0.5, "still": 0.5, "still_level": 1.0, "film": 0.5, "film_level": 0.0,
    }  # fmt: skip
    assert faces_measures.tally([])["film"] is None


def test_the_nearest_faces_id_switches_over_frames_without_one() -> None:
    film: list[Seen] = [(0.0, [(1, LEFT)]), (0.1, []), (0.2, [(2, LEFT), (1, RIGHT)]), (0.3, [(2, LEFT)])]
    assert faces_measures.nearest_switches(film) == 1
    assert faces_measures.nearest_switches([]) == 0


@pytest.mark.parametrize(
    ("film", "switches"),
    [
        pytest.param([[(1, LEFT), (2, RIGHT)], [(2, RIGHT), (1, LEFT)]], 0, id="they stay"),
        pytest.param([[(1, LEFT), (2, RIGHT)], [(2, LEFT), (1, RIGHT)]], 2, id="they change places"),
        pytest.param([[(1, LEFT)], [(2, LEFT)]], 1, id="a new id in place"),
        pytest.param([[(1, LEFT)], [(1, LEFT), (2, RIGHT)]], 0, id="somebody comes"),
        pytest.param([[(1, LEFT)], [], [(1, LEFT)]], 0, id="lost and known again"),
        pytest.param([[(1, LEFT)], [], [(2, (30, 0, 40, 40))]], 1, id="lost and taken for another"),
        pytest.param([[(1, LEFT)], [], [(2, (60, 0, 40, 40))]], 0, id="another farther than a face away"),
        pytest.param([[(1, LEFT)], *[[]] * 4, [(2, LEFT)]], 0, id="another after more than two seconds"),
        pytest.param([[(1, LEFT)], [(1, (30, 0, 40, 40))]], 0, id="a jump that keeps its id"),
        pytest.param([[(1, LEFT)], [(1, RIGHT), (2, (30, 0, 40, 40))]], 0, id="another where one has just left"),
    ],
)
def test_switches_are_counted_by_place(film: list[list[tuple[int, Box]]], switches: int) -> None:
    assert faces_measures.place_switches((index / 2, found) for index, found in enumerate(film)) == switches


def test_a_clip_with_fewer_faces_than_plain_haars_is_worse() -> None:
    film: list[Seen] = [(0.0, [(1, LEFT)]), (0.1, []), (0.2, [(1, LEFT), (3, RIGHT)])]
    answer = faces_measures.describe_film(film, [1, 1, 2], 2)
    assert (answer["with_face"], answer["rate"], answer["plain_rate"], answer["worse"]) == (2, 0.6667, 1.0, True)
    assert answer["ids"] == [
        {"id": 1, "first": 0, "last": 2, "frames": 2},
        {"id": 3, "first": 2, "last": 2, "frames": 1},
    ]
    assert not faces_measures.describe_film(film, None, 2)["worse"]
    assert not faces_measures.describe_film(film, [1, 1, 2], 0)["worse"]  # nobody is there: a face less is no loss


def test_costs_are_split_into_what_caused_them() -> None:
    rng = np.random.default_rng(0)
    looks, windows = rng.integers(0, 9, 300), rng.integers(0, 5000, 300)
    rows = np.column_stack([0.5 + 0.2 * looks + 0.3 * windows / 1000, looks, windows, looks])
    assert faces_measures.split_cost(rows) == pytest.approx(
        {"frame_ms": 0.5, "look_ms": 0.2, "thousand_windows_ms": 0.3, "r2": 1.0}, abs=1e-3
    )


def test_the_warmup_is_left_out_of_a_cost_but_for_its_first_frame() -> None:
    rows = np.ones((faces_measures.WARMUP_FRAMES + 100, 4))
    rows[0, 0], rows[1, 0], rows[-1, 0] = 50.0, 70.0, 9.0
    answer = faces_measures.describe_cost(rows)
    assert (answer["first_ms"], answer["p50_ms"], answer["p99_ms"], answer["mean_ms"]) == (50.0, 1.0, 1.0, 1.08)


def test_resized_frames_keep_their_proportions() -> None:
    gray = np.zeros((100, 100), np.uint8)
    gray[:, 40:60] = 255
    (wide,) = films.resize([gray], 400, 200)
    assert wide.shape == (200, 400)
    assert np.count_nonzero(wide[100] > 127) == 40


def test_a_film_of_frames_there_and_back_has_no_cut() -> None:
    assert films.sway([1, 2, 3, 4]) == [1, 2, 3, 4, 3, 2]
    assert films.sway([1]) == [1]


def test_as_many_faces_are_drawn_as_asked_for() -> None:
    gray = np.full((200, 200), 50, np.uint8)
    cv2.circle(gray, (100, 100), 20, 255, -1)
    canvas = next(films.draw_crowd([(gray, Spot(100.0, 100.0, 80.0))], 8))
    count, _ = cv2.connectedComponents((canvas > 200).astype(np.uint8))
    assert (canvas.shape, count - 1) == ((480, 640), 8)


def test_a_folder_of_clips_is_read_or_refused(tmp_path: Path) -> None:
    with pytest.raises(DataMissing, match=r"labels\.csv"):
        faces_clips.read_clips(tmp_path, "*")
    labels = tmp_path / "labels.csv"
    labels.write_text("path,n_faces\na.mp4,1\n")
    with pytest.raises(DataColumnMissing, match="median_face_w_at_max640"):
        faces_clips.read_clips(tmp_path, "*")
    labels.write_text("path,n_faces,median_face_w_at_max640\na.mp4,1,80\nb.mp4,0,0\n")
    assert [(clip.path, clip.n_faces, clip.face_width) for clip in faces_clips.read_clips(tmp_path, "a*")] == [
        (tmp_path / "a.mp4", 1, 80.0)
    ]
    with pytest.raises(SettingsInvalid, match="none of the 2 clips"):
        faces_clips.read_clips(tmp_path, "c*")


def test_a_clip_without_its_number_of_faces_is_reported_with_its_row(tmp_path: Path) -> None:
    (tmp_path / "labels.csv").write_text("path,n_faces,median_face_w_at_max640\na.mp4,1,80\nb.mp4,,80\n")
    assert len(faces_clips.read_clips(tmp_path, "a*")) == 1
    with pytest.raises(DataRowInvalid, match=r"labels\.csv: b\.mp4 has '' faces of width '80'; valid are numbers"):
        faces_clips.read_clips(tmp_path, "*")
    (tmp_path / "labels.csv").write_text("path,n_faces,median_face_w_at_max640\nb.mp4,1\n")  # a row too short
    with pytest.raises(DataRowInvalid, match=r"b\.mp4 has '1' faces of width None"):
        faces_clips.read_clips(tmp_path, "*")
    (tmp_path / "labels.csv").write_text("path,n_faces,median_face_w_at_max640\n")
    with pytest.raises(SettingsInvalid, match="none of the 0 clips"):
        faces_clips.read_clips(tmp_path, "*")


def test_a_killed_process_is_a_measurement_that_did_not_finish() -> None:
    with pytest.raises(BenchFailed, match="was killed"):
        faces_clips.spread(os._exit, [9, 9], "clip")


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["turned", "--clips", "nowhere"], 30, "nowhere/labels.csv: No such file"),
        (["turned", "--clips", "nowhere", "--every", "0"], SettingsInvalid.exit_code, "--every is 0"),
        (["stills", "--images", "nowhere"], 30, "nowhere: No such file"),
        (["cost", "--clip", "nowhere.mp4"], 10, "nowhere.mp4: no such file"),
        ([], 2, "the following arguments are required: TASK"),
    ],
)
def test_a_mistake_is_one_line(
    words: list[str], code: int, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as ended:
        bench.main(["faces", *words])
    assert ended.value.code == code
    assert said in capsys.readouterr().err.splitlines()[-1]


def test_a_table_lists_every_row_under_its_keys() -> None:
    assert table([{"clip": "a", "ids": [{}, {}]}, {"clip": "long", "ids": []}]).splitlines() == [
        "clip  ids",
        "   a    2",
        "long    0",
    ]


def test_pictures_without_a_face_make_a_report_and_what_fires_a_sheet(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("wall.png", "other.png"):
        cv2.imwrite(str(tmp_path / name), np.full((120, 160), 90, np.uint8))
    with pytest.raises(SystemExit) as ended:
        bench.main(["faces", "stills", "--images", str(tmp_path), "--out", str(tmp_path)])
    output = capsys.readouterr()
    assert ended.value.code == 0, output.err
    assert "0 false faces in 0 of 2 pictures" in output.out
    report = read_report(tmp_path / "stills.json")
    assert report["figures"]["pictures_without_false"]["rounds"] == [1.0]
    assert report["settings"] == asdict(FaceSettings())
    assert not (tmp_path / "stills.png").exists()

    report["result"]["false"] = [{"path": "wall.png", "score": 7.5, "box": [40, 40, 30, 30], "roll_deg": -20.0}]
    faces.finish(argparse.Namespace(task="faces stills", images=tmp_path, out=tmp_path), report)
    assert cv2.imread(str(tmp_path / "stills.png")).shape == (160, 1280, 3)


REFERENCES = Path(__file__).parents[2] / "benchmarks" / "reference" / "faces"


@pytest.mark.parametrize("path", sorted(REFERENCES.glob("*.json")), ids=lambda path: path.stem)
def test_the_figures_of_a_reference_are_those_of_its_result(path: Path) -> None:
    report = read_report(path)
    made = {
        name: value for name, value in faces.figures_of(report["task"], report["result"]).items() if value is not None
    }
    assert {name: figure["median"] for name, figure in report["figures"].items()} == made
    assert {name: figure["better"] == "higher" for name, figure in report["figures"].items()} == {
        name: faces.is_better_higher(report["task"], name) for name in made
    }


@pytest.mark.parametrize("task", ["clips", "light"])
def test_another_false_face_is_named_as_worse(task: str) -> None:
    before = read_report(REFERENCES / f"{task}.json")
    after = copy.deepcopy(before)
    if task == "light":
        after["result"]["by_light"][2]["false"] += 1
    else:
        next(row for row in after["result"]["clips"] if not row["n_faces"])["with_face"] += 1
    figures = faces.figures_of(after["task"], after["result"])
    for name, figure in after["figures"].items():
        figure.update(median=figures[name], rounds=[figures[name]])
    verdicts = {row["figure"]: row["verdict"] for row in compare(before, after)}
    worse = "false_dim_0.35" if task == "light" else "false_frames"
    assert {name for name, verdict in verdicts.items() if verdict != "the same"} == {worse}
    assert verdicts[worse] == "worse"
