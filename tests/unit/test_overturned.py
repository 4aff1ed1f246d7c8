"""A picture that is upside down is noticed, and nobody in it is read."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from itertools import islice

import cv2
import numpy as np
import pytest

from edge.cli import main
from edge.runtime.control import Control
from edge.runtime.run import run
from edge.settings import CameraSettings, FaceSettings, Settings
from edge.sources.demo import DemoSource
from edge.sources.turning import Turn, TurnedSource
from edge.types import Gray
from edge.vision.faces import FaceFinder
from edge.vision.model import ExpressionModel
from edge.vision.mounting import advise
from edge.vision.overturned import ENOUGH, EVERY, OverturnWatch
from edge.vision.pipeline import Effort
from edge.vision.sight import DeviceSight
from edge.vision.verifier import FaceVerifier
from edge.vision.views import Spot
from tests.support.sinks import Kept

FRAMES = 200


@pytest.fixture(scope="module")
def verifier() -> FaceVerifier:
    return FaceVerifier()


def pictures(turn_deg: int) -> Iterator[Gray]:
    """The demo's person, turned clockwise."""
    source = DemoSource("1")
    return (np.rot90(source.render(seq), -turn_deg // 90).copy() for seq in range(FRAMES))


@pytest.mark.parametrize(("turn_deg", "seen"), [(180, 180.0), (90, 90.0), (270, -90.0)])
def test_heads_that_are_turned_are_seen_to_be(turn_deg: int, seen: float, verifier: FaceVerifier) -> None:
    watch = OverturnWatch(FaceSettings(), verifier)
    turns_deg = [turn for gray in pictures(turn_deg) if (turn := watch.look(gray)) is not None]
    assert turns_deg[:1] == [seen]


def test_a_person_who_is_upright_is_none_that_is_turned(verifier: FaceVerifier) -> None:
    watch = OverturnWatch(FaceSettings(), verifier)
    assert {watch.look(gray) for gray in pictures(0)} == {None}


def test_neither_noise_nor_an_empty_room_has_heads_that_are_turned(verifier: FaceVerifier) -> None:
    rng = np.random.default_rng(0)
    watch = OverturnWatch(FaceSettings(), verifier)
    for size in ((120, 160), (480, 640), (10, 10)):
        for _ in range(40):
            noise = cv2.GaussianBlur(rng.integers(0, 256, size, np.uint8), (0, 0), rng.uniform(0.5, 8))
            assert watch.look(cv2.normalize(noise, None, 0, 255, cv2.NORM_MINMAX)) is None


def test_a_rebuilt_finder_also_replaces_what_looks_for_turned_heads(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> list[Spot]:
        raise cv2.error("broken")

    sight = DeviceSight(FaceSettings(), None)
    monkeypatch.setattr(sight._finder.upright, "scan", broken)
    films = pictures(180)
    with pytest.raises(cv2.error):
        for seq, gray in enumerate(films):
            sight.find(gray, seq / 30, Effort())
    sight.rebuild_finder()
    found = (sight.find(gray, seq / 30, Effort()).turned_deg for seq, gray in enumerate(films))
    assert next(turned_deg for turned_deg in found if turned_deg is not None) == 180.0


def test_a_live_run_looks_at_few_of_its_frames(verifier: FaceVerifier, monkeypatch: pytest.MonkeyPatch) -> None:
    watch = OverturnWatch(FaceSettings(), verifier)
    scanned = []
    monkeypatch.setattr(watch, "_finder", watch._finder)
    scan = watch._finder.scan
    monkeypatch.setattr(watch._finder, "scan", lambda *given: scanned.append(given) or scan(*given))
    for gray in islice(pictures(0), 5 * EVERY):
        watch.look(gray, EVERY)
    assert len(scanned) == 5


@pytest.mark.parametrize("settings", [CameraSettings(), CameraSettings(180)])
def test_a_run_on_a_picture_that_is_upside_down_reads_nobody_and_names_the_setting(settings: CameraSettings) -> None:
    said: list[str] = []
    control = Control(Settings(camera=settings))
    sink = Kept()
    source = TurnedSource(DemoSource("1", live=False), Turn(hflip=True, vflip=True))
    stop = threading.Event()

    def stop_when_said(line: str) -> None:
        said.append(line)
        stop.set()

    outcome = run(control, source, ExpressionModel(), [("kept", sink)], stop, 60.0, stop_when_said)
    assert said == [f"cuelens: {advise(180.0, settings)}"]
    assert control.problems == [advise(180.0, settings)]
    assert advise(180.0, settings) in outcome.metrics.summary()
    assert {update.cue.state for update in sink.updates} == {"no_face"}


def test_nobody_who_is_upside_down_is_taken_for_upright(verifier: FaceVerifier) -> None:
    finder = FaceFinder(FaceSettings(), verifier)
    assert not any(finder.find(gray, seq / 30) for seq, gray in enumerate(pictures(180)))


@pytest.mark.shared
def test_the_smiling_man_who_is_upside_down_is_not_shown_as_upset(shared: object, verifier: FaceVerifier) -> None:
    clip = cv2.VideoCapture(str(shared / "clips" / "single_face.mp4"))  # type: ignore[operator]
    finder, watch = FaceFinder(FaceSettings(), verifier), OverturnWatch(FaceSettings(), verifier)
    turns_deg, count = [], 0
    while (got := clip.read())[0]:
        gray = np.asarray(cv2.rotate(cv2.cvtColor(got[1], cv2.COLOR_BGR2GRAY), cv2.ROTATE_180), np.uint8)
        assert not finder.find(gray, count / 30)
        turns_deg.append(watch.look(gray))
        count += 1
    assert count > ENOUGH
    assert next(turn for turn in turns_deg if turn is not None) == 180.0


@pytest.mark.parametrize(("turn_deg", "settings", "words"), [
    (180.0, CameraSettings(), "faces are upside down in the picture; set rotate_deg = 180 in"),
    (90.0, CameraSettings(), "faces are on their sides in the picture; set rotate_deg = 270 in"),
    (-90.0, CameraSettings(270), "rotate_deg = 0 in"),
    (90.0, CameraSettings(0, mirror=True), "rotate_deg = 90 in"),
])  # fmt: skip
def test_the_setting_that_is_named_puts_the_picture_upright(
    turn_deg: float, settings: CameraSettings, words: str
) -> None:
    line = advise(turn_deg, settings)
    assert words in line
    written = CameraSettings(int(line.partition("rotate_deg = ")[2].split()[0]), settings.mirror)
    scene = np.random.default_rng(0).integers(0, 256, (5, 7), np.uint8)
    upright = scene[:, ::-1] if settings.mirror else scene  # as it would be seen
    # What the sensor gave, so that with the settings heads were turned by turn_deg.
    shown = np.rot90(upright, -round(turn_deg) // 90)
    sensor = np.rot90(shown[:, ::-1] if settings.mirror else shown, settings.rotate_deg // 90)
    np.testing.assert_array_equal(Turn.of(written).apply(np.ascontiguousarray(sensor)), upright)


def test_a_run_turns_its_picture_by_an_option(tmp_path: object, capsys: pytest.CaptureFixture[str]) -> None:
    film = str(tmp_path / "film.avi")  # type: ignore[operator]
    writer = cv2.VideoWriter(film, cv2.VideoWriter.fourcc(*"MJPG"), 30, (640, 480))
    for gray in islice(pictures(180), 60):
        writer.write(cv2.cvtColor(gray, cv2.COLOR_GRAY2BGR))
    writer.release()
    with pytest.raises(SystemExit) as ended:
        main(["run", "--source", f"file:{film}", "--pace", "fast", "--rotate", "180"])
    assert not ended.value.code
    assert "no face" not in capsys.readouterr().out
    with pytest.raises(SystemExit):
        main(["run", "--source", f"file:{film}", "--rotate", "45"])
    assert "--rotate is 45; valid are 0, 90, 180, 270" in capsys.readouterr().err
