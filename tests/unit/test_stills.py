"""`cuelens faces`: stills at every turn, as lines or as JSON, and one line for each picture that cannot be read."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge.cli import main
from edge.errors import SourceUnreadable
from edge.settings import FaceSettings
from edge.sources.demo import DemoSource
from edge.stills import finder as stills
from edge.stills.finder import StillFinder
from edge.types import Gray
from edge.vision.finders.net import NetFinder


@pytest.fixture(scope="module")
def portrait() -> tuple[Gray, tuple[float, float], int]:
    """A frame of the demo person turned upright, the middle of her face and its width."""
    person = DemoSource("1", live=False)
    seq = next(seq for seq in range(600) if person.truth(seq).steady_for > 1.5 and person.truth(seq).expression)
    truth = person.truth(seq)
    assert truth.box is not None
    x, y, side, _ = truth.box
    return turned(person.render(seq), -truth.roll_deg, (x + side / 2, y + side / 2)), (x + side / 2, y + side / 2), side


def turned(gray: Gray, roll_deg: float, centre: tuple[float, float]) -> Gray:
    matrix = cv2.getRotationMatrix2D(centre, -roll_deg, 1.0)
    return cv2.warpAffine(gray, matrix, gray.shape[::-1], borderMode=cv2.BORDER_REPLICATE).astype(np.uint8)


@pytest.mark.parametrize("roll_deg", range(-60, 61, 15))
def test_a_turned_face_is_found_with_its_turn(portrait: tuple[Gray, tuple[float, float], int], roll_deg: float) -> None:
    gray, centre, side = portrait
    (face,) = StillFinder(FaceSettings()).find(turned(gray, roll_deg, centre))
    assert face.roll_deg == pytest.approx(roll_deg, abs=10)
    assert np.hypot(face.box[0] + face.box[2] / 2 - centre[0], face.box[1] + face.box[3] / 2 - centre[1]) < 0.2 * side
    assert face.box[2] == pytest.approx(side, rel=0.25)


def test_walls_and_stripes_are_no_faces() -> None:
    finder = StillFinder(FaceSettings())
    y, x = np.mgrid[0:240, 0:320]
    for pattern in (
        np.full((240, 320), 128),
        (x // 8 % 2) * 255,
        ((x + y) // 12 % 2) * 200,
        (x // 9 + y // 9) % 2 * 255,
    ):
        assert finder.find(pattern.astype(np.uint8)) == []


def test_the_command_prints_a_line_of_json_a_picture_and_goes_on_after_a_bad_one(
    portrait: tuple[Gray, tuple[float, float], int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good, wall, bad = tmp_path / "good.png", tmp_path / "wall.png", tmp_path / "bad.png"
    cv2.imwrite(str(good), portrait[0])
    cv2.imwrite(str(wall), np.full((60, 80), 90, np.uint8))
    bad.write_bytes(good.read_bytes()[:2000])
    with pytest.raises(SystemExit) as end:
        main(["faces", str(good), str(bad), str(tmp_path / "none.png"), str(wall), "--json"])
    assert end.value.code == SourceUnreadable.exit_code, "the first failure's"
    out, err = capsys.readouterr()
    first, torn, missing, second = (json.loads(line) for line in out.splitlines())
    assert first["path"] == str(good)
    (face,) = first["faces"]
    assert {"box", "roll_deg", "score", "distance_m"} <= face.keys()
    assert face["distance_m"] > face["distance_error_m"] > 0
    assert second == {"path": str(wall), "faces": []}
    assert [(record["path"], record["error"]) for record in (torn, missing)] == [
        (str(bad), "source-unreadable"),
        (str(tmp_path / "none.png"), "source-missing"),
    ]
    for record, line in zip((torn, missing), err.splitlines(), strict=True):
        assert line == f"cuelens: {record['message']} [{record['error']}]"
    assert [line.partition(": ")[2].partition(":")[0] for line in err.splitlines()] == [
        str(bad),
        str(tmp_path / "none.png"),
    ]


def test_a_person_reads_where_how_far_and_what_is_poor(
    portrait: tuple[Gray, tuple[float, float], int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    blurred = cv2.GaussianBlur(portrait[0], (0, 0), portrait[2] / 13)
    path = tmp_path / "blurred.png"
    cv2.imwrite(str(path), blurred)
    with pytest.raises(SystemExit) as end:
        main(["faces", str(path)])
    assert not end.value.code
    out = capsys.readouterr().out
    assert out.startswith(f"{path}: 1 face\n")
    assert "m away" in out
    assert "poor sharpness" in out


def test_a_wider_lens_in_the_settings_brings_faces_nearer(
    portrait: tuple[Gray, tuple[float, float], int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    picture, settings = tmp_path / "one.png", tmp_path / "wide.toml"
    cv2.imwrite(str(picture), portrait[0])
    settings.write_text("[faces]\nfov_deg = 120.0\n")
    distances = []
    for words in ([], ["--config", str(settings)]):
        with pytest.raises(SystemExit):
            main(["faces", str(picture), "--json", *words])
        distances.append(json.loads(capsys.readouterr().out)["faces"][0]["distance_m"])
    assert distances[1] < 0.5 * distances[0]


def test_a_long_search_shows_how_far_it_is_on_a_terminal_alone(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(stills, "PROGRESS_AFTER", -1.0)
    path = Path("large.jpg")
    with stills.watching(path) as progress:
        assert progress is None
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    with stills.watching(path) as progress:
        StillFinder(FaceSettings()).find(np.full((600, 800), 90, np.uint8), progress)
    out, err = capsys.readouterr()
    assert out == ""
    assert "large.jpg: 0% searched" in err
    assert err.endswith("\r\x1b[K"), "and the line goes"


@pytest.mark.parametrize("roll_deg", [-120, 90, 150, 180])
def test_a_face_on_its_side_or_head_is_found(portrait: tuple[Gray, tuple[float, float], int], roll_deg: int) -> None:
    gray, centre, side = portrait
    (face,) = StillFinder(FaceSettings()).find(turned(gray, roll_deg, centre))
    assert abs((face.roll_deg - roll_deg + 180) % 360 - 180) < 12
    assert face.box[2] == pytest.approx(side, rel=0.3)


def test_a_large_picture_takes_no_more_looks_for_its_small_faces_than_a_smaller_one() -> None:
    tiles = [
        len(NetFinder().slices(width, height, (stills.least_side(width, height), height), ()))
        for width, height in ((8000, 6000), (16000, 12000))
    ]
    assert tiles[1] < 1.3 * tiles[0]
    assert stills.least_side(4000, 3000) == stills.LEAST_SIDE
