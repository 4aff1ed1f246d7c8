"""`cuelens read`: the expression of each face in pictures, as lines, as JSON, drawn, and on contact sheets."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge.cli import main
from edge.cue.policy import WORD_OF
from edge.errors import SettingsInvalid, SourceEmpty, SourceUnreadable
from edge.settings import CueSettings, LookSettings, Settings
from edge.sources.demo import DemoSource
from edge.stills.drawing import draw_readings, draw_sheets, shrink_to_tile
from edge.stills.reader import StillReader, describe_readings, judge_still, reading_record
from edge.types import Face, Gray, Quality
from edge.vision.model import ExpressionModel, shipped_model
from tests.support.failures import ended_by

SHOWN = ("smile", "surprise", "upset")


@pytest.fixture(scope="module")
def portraits() -> dict[str, Gray]:
    """A frame of the demo person for each word that she shows."""
    person = DemoSource("1", live=False)
    found: dict[str, Gray] = {}
    for seq in range(600):
        truth = person.truth(seq)
        word = WORD_OF.get(truth.expression or "", "")
        if word in SHOWN and word not in found and truth.steady_for > 1.0:
            found[word] = person.render(seq)
    return found


@pytest.fixture(scope="module")
def reader() -> StillReader:
    return StillReader(Settings(), ExpressionModel(shipped_model()))


@pytest.mark.parametrize("word", SHOWN)
def test_the_demo_persons_expression_is_read(reader: StillReader, portraits: dict[str, Gray], word: str) -> None:
    (reading,) = reader.read(portraits[word])
    assert (reading.word, reading.reason) == (word, None)
    assert sum(reading.probabilities) == pytest.approx(1, abs=0.02)
    assert len(reading.probabilities) == len(reading.labels) == 7


def test_a_mirrored_picture_reads_alike(reader: StillReader, portraits: dict[str, Gray]) -> None:
    (one,) = reader.read(portraits["smile"])
    (other,) = reader.read(np.ascontiguousarray(portraits["smile"][:, ::-1]))
    assert other.word == one.word
    assert other.probabilities == pytest.approx(one.probabilities, abs=0.15)


@pytest.mark.parametrize(
    ("best", "second", "quality", "reason"),
    [
        (0.95, 0.03, Quality(), None),
        (0.65, 0.1, Quality(), "faint"),
        (0.72, 0.4, Quality(), "torn"),
        (0.95, 0.03, Quality(sharpness=0.2), "poor"),
        (0.95, 0.03, Quality(frontal=0.0), "away"),
    ],
)
def test_what_is_not_clear_is_unsure_and_says_why(
    best: float, second: float, quality: Quality, reason: str | None
) -> None:
    settings = replace(CueSettings(), enter=0.7, margin=0.4, least_quality=0.4, away=0.02)
    words = {"smile": best, "upset": second, "neutral": 0.0}
    assert judge_still(Face(1, (0, 0, 80, 80), 0.0, quality), words, settings) == reason


@pytest.mark.parametrize(("smile", "reason"), [(0.05, None), (0.06, "torn")])
def test_a_still_is_neutral_where_the_cue_would_be_beside_a_trace_of_a_smile(smile: float, reason: str | None) -> None:
    face = Face(1, (0, 0, 80, 80), 0.0, Quality())
    assert judge_still(face, {"neutral": 0.9, "smile": smile, "upset": 0.0}, CueSettings()) == reason


def test_a_record_has_the_face_the_word_and_every_probability(reader: StillReader, portraits: dict[str, Gray]) -> None:
    look = LookSettings(language="de")
    readings = reader.read(portraits["smile"])
    (face,) = reading_record(Path("her.png"), readings, look)["faces"]
    assert (face["expression"], face["word"], face["reason"]) == ("smile", "Lächeln", None)
    assert max(face["probabilities"], key=face["probabilities"].get) == "happy"
    assert {"box", "roll_deg", "distance_m", "quality"} <= face.keys()
    text = describe_readings(Path("her.png"), readings, look)
    assert text.splitlines()[0] == "her.png: 1 face"
    assert "Lächeln" in text


def test_a_drawing_changes_the_picture_around_the_face_alone(reader: StillReader, portraits: dict[str, Gray]) -> None:
    gray = portraits["surprise"]
    readings = reader.read(gray)
    drawn = draw_readings(gray, readings, LookSettings())
    changed = (drawn != cv2.cvtColor(gray, cv2.COLOR_GRAY2BGR)).any(axis=2)
    assert changed.any()
    x, y, side, _ = readings[0].face.box
    assert not changed[:, : max(0, x - side)].any()
    inside = changed[y + side // 4 : y + 3 * side // 4, x + side // 4 : x + 3 * side // 4]
    assert not inside.any(), "the face itself stays to be seen"


def test_a_face_at_the_edge_is_drawn_inside_the_picture(reader: StillReader, portraits: dict[str, Gray]) -> None:
    gray = portraits["smile"]
    (reading,) = reader.read(gray)
    for box in ((-20, -20, 90, 90), (gray.shape[1] - 40, gray.shape[0] - 40, 90, 90), (0, 0, 900, 900)):
        moved = replace(reading, face=replace(reading.face, box=box))
        assert draw_readings(gray, [moved], LookSettings()).shape == (*gray.shape, 3)


def test_sheets_hold_every_picture() -> None:
    tile = shrink_to_tile(np.full((960, 1280, 3), 200, np.uint8))
    assert tile.shape == (240, 320, 3)
    small = np.full((20, 30, 3), 200, np.uint8)
    assert shrink_to_tile(small).shape == small.shape
    sheets = draw_sheets([(f"{number}.png", tile) for number in range(25)])
    assert len(sheets) == 2
    lit = [int((sheet == 200).all(axis=2).sum()) for sheet in sheets]
    assert lit == [24 * 320 * 240, 320 * 240]


def test_the_command_reads_a_folder_and_goes_on_after_a_bad_picture(
    portraits: dict[str, Gray], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, out = tmp_path / "album", tmp_path / "drawn"
    folder.mkdir()
    for word, gray in portraits.items():
        cv2.imwrite(str(folder / f"{word}.png"), gray)
    (folder / "torn.png").write_bytes((folder / "smile.png").read_bytes()[:900])
    with pytest.raises(SystemExit) as end:
        main(["read", str(folder), "--json", "--out", str(out)])
    printed, complaints = capsys.readouterr()
    ended_by(SourceUnreadable, end.value.code, complaints)  # the bad one's
    records = [json.loads(line) for line in printed.splitlines()]
    (torn,) = [record for record in records if "error" in record]
    assert (Path(torn["path"]).name, torn["error"]) == ("torn.png", "source-unreadable")
    records.remove(torn)
    assert {Path(record["path"]).stem: record["faces"][0]["word"] for record in records} == {
        word: word for word in SHOWN
    }
    assert "torn.png" in complaints
    assert sorted(path.name for path in out.iterdir()) == [
        "sheet-01.png",
        "smile.png",
        "surprise.png",
        "upset.png",
    ]


def test_one_picture_is_drawn_into_a_file_and_never_over_itself(
    portraits: dict[str, Gray], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    picture, out = tmp_path / "smile.png", tmp_path / "drawn.jpg"
    cv2.imwrite(str(picture), portraits["smile"])
    before = picture.read_bytes()
    for wrong in (picture, tmp_path):
        with pytest.raises(SystemExit) as end:
            main(["read", str(picture), "--out", str(wrong)])
        ended_by(SettingsInvalid, end.value.code, capsys.readouterr().err)
    assert picture.read_bytes() == before
    with pytest.raises(SystemExit) as end:
        main(["read", str(picture), "--out", str(out)])
    assert not end.value.code
    assert cv2.imread(str(out)).shape == (*portraits["smile"].shape, 3)
    assert "smile" in capsys.readouterr().out


def test_faces_with_read_prints_what_read_prints(
    portraits: dict[str, Gray], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    picture = tmp_path / "upset.png"
    cv2.imwrite(str(picture), portraits["upset"])
    printed = []
    for words in (["read", str(picture)], ["faces", str(picture), "--read"]):
        with pytest.raises(SystemExit) as end:
            main(words)
        assert not end.value.code
        printed.append(capsys.readouterr().out)
    assert printed[0] == printed[1]


def test_an_empty_folder_is_reported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["read", str(tmp_path)])
    assert "no picture" in ended_by(SourceEmpty, end.value.code, capsys.readouterr().err)
