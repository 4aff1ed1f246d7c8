"""The verifier fitted for real, on a small scale: the demo's faces, a few scenes, and a file that the device loads."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from edge.errors import CheckpointUnusable, DataMissing, SettingsInvalid
from edge.sources.demo import FACES
from edge.vision.finders.net import TILE, WINDOW, NetFinder
from edge.vision.tflite import models_folder
from edge.vision.verifier import FaceVerifier, read_contract
from edge.vision.views import Pyramid, Spot
from lab.datasets.fer2013 import CLASSES
from tests.support.failures import ended_by
from training import loop, scanner, verifier
from training.faces import exam as faces_exam
from training.faces import material as faces_material
from training.faces.material import FALSE_ALARMS, MISPLACED, PATCHES
from training.faces.scenes import Scene
from training.faces.views import BOX_SHARE, FACE_SIDE, PATCH_SIDE, SIDE, UNITS

SCENES = 20


def read_faces() -> npt.NDArray[np.uint8]:
    with np.load(FACES) as table:
        return np.asarray(table["faces"], np.uint8)


def draw_scene(number: int) -> npt.NDArray[np.uint8]:
    """Draw a wall with bait for the cascade at every turn."""
    rng, faces = np.random.default_rng(number), read_faces()
    coarse = rng.integers(60, 200, (28, 50)).astype(np.uint8)
    wall = np.asarray(cv2.resize(coarse, (400, 220), interpolation=cv2.INTER_CUBIC), np.uint8)
    for cell in range(8):
        left, top = cell % 4 * 100, cell // 4 * 110
        turn = cv2.getRotationMatrix2D((47.5, 47.5), 45.0 * cell, 0.9)
        bait = cv2.warpAffine(faces[cell % len(faces)], turn, (96, 96), borderMode=cv2.BORDER_REPLICATE)
        wall[top : top + 96, left : left + 96] = bait
    return wall


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scenes")
    for number in range(SCENES):
        cv2.imwrite(str(folder / f"scene{number}.png"), draw_scene(number))
    return folder


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("data") / "fer2013.csv"
    rng, faces = np.random.default_rng(0), read_faces()
    lines = ["emotion,pixels,Usage"]
    for split, count in (("Training", 56), ("PublicTest", 21)):
        for row in range(count):
            face = cv2.resize(faces[row % len(CLASSES)], (FACE_SIDE, FACE_SIDE), interpolation=cv2.INTER_AREA)
            noisy = np.clip(face + rng.normal(0, 4, face.shape), 0, 255).astype(int)
            lines.append(f"{row % len(CLASSES)},{' '.join(map(str, noisy.ravel()))},{split}")
    path.write_text("\n".join(lines) + "\n")
    return path


Run = Callable[..., int]


@pytest.fixture
def run(table: Path, scenes: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Return a call of cuelens-verifier on very little, which gives its exit code."""
    for name, value in {"FIRST_EPOCHS": 1, "HARD_DRAWS": 1, "HARD_ROWS": 200}.items():
        monkeypatch.setattr(verifier, name, value)
    monkeypatch.setattr(faces_exam, "EXAM_ROWS", 60)
    monkeypatch.setattr(faces_material, "CALIBRATION", (20, 10))

    def call(out: Path, *words: str) -> int:
        with pytest.raises(SystemExit) as end:
            verifier.main(["--data", str(table), "--scenes", str(scenes), "--out", str(out), *words])
        return int(end.value.code or 0)

    return call


def draw_material(count: int = 60) -> faces_material.Material:
    rng = np.random.default_rng(0)

    def noise(*shape: int) -> npt.NDArray[np.uint8]:
        return rng.integers(0, 256, shape).astype(np.uint8)

    hard = noise(9, PATCH_SIDE, PATCH_SIDE)
    return faces_material.Material(noise(count, FACE_SIDE, FACE_SIDE), [Scene("a", noise(150, 150))], hard[:4], hard)


def test_an_epoch_sees_each_face_once_and_the_rest_by_their_shares() -> None:
    material = draw_material()
    order = faces_material.order_epoch(material, np.random.default_rng(0))
    assert sorted(order[order >= 0]) == list(range(60))
    assert {code: int((order == code).sum()) for code in set(order[order < 0].tolist())} == {
        -1: 30,
        -2: 30,
        -3: 20,
        -4: 20,
        -5: 7,
    }
    first = faces_material.order_epoch(
        faces_material.Material(material.faces, material.scenes, material.false_alarms, material.hard[:0]),
        np.random.default_rng(0),
    )
    assert -3 not in first


def test_a_batch_has_a_target_for_each_view_and_is_the_same_for_the_same_seed() -> None:
    material = draw_material()
    order = np.array([5, -1, -2, 7, -3, -4, -2, 0])
    pixels, targets = faces_material.draw_batch(material, order, np.random.default_rng(1))
    assert pixels.shape == (8, SIDE, SIDE, 1)
    assert pixels.dtype == targets.dtype == np.float32
    assert targets[:, 0].tolist() == [1, 1, 1, 0, 0, 0, 0, 0]
    assert not targets[3:].any()
    assert targets[:3, 1:].all()
    again = faces_material.draw_batch(material, order, np.random.default_rng(1))
    assert np.array_equal(pixels, again[0])
    assert np.array_equal(targets, again[1])
    faceless = faces_material.draw_batch(material, np.array([-1, -4]), np.random.default_rng(1))
    assert faceless[0].shape == (2, SIDE, SIDE, 1)
    assert not faceless[1].any()


def test_a_verifier_that_knows_all_is_judged_perfect_and_one_that_guesses_is_not() -> None:
    rng = np.random.default_rng(0)
    views = rng.integers(0, 256, (4, 200, SIDE, SIDE)).astype(np.uint8)
    exam = faces_exam.Exam(views[0], rng.uniform(-1, 1, (200, 4)).astype(np.float32), views[1], views[2], views[3])

    def know(asked: Any) -> faces_exam.Answers:
        return np.full(200, 5.0 if asked is exam.faces else -5.0), np.asarray(exam.poses, np.float64) + 0.1

    judged = faces_exam.judge(know, exam)
    assert set(judged["recall"].values()) == {1.0}
    assert judged["patches"] == judged["misplaced"] == 0
    assert judged["roll_deg"]["median"] == pytest.approx(0.1 * UNITS[0])
    assert judged["log_size"]["p90"] == pytest.approx(0.1 * UNITS[3])
    guessed = faces_exam.judge(lambda asked: (rng.normal(size=200), np.zeros((200, 4))), exam)
    assert guessed["recall"]["0.1"] < 0.3


@pytest.mark.host
@pytest.mark.slow
def test_one_epoch_ends_in_a_file_that_the_device_loads(run: Run, tmp_path: Path) -> None:
    out = tmp_path / "face"
    assert run(out, "--epochs", "1", "--debug") == 0
    contract = read_contract(out / "face.json")
    assert contract.share == BOX_SHARE
    assert contract.units == UNITS
    written = json.loads((out / "face.json").read_text())
    assert written["training"]["rows"] == 56
    assert written["training"]["data"] == "FER2013"
    assert written["measured"]["split"] == "PublicTest"
    assert written["measured"]["faces"] == 21
    for name in ("float", "int8"):
        assert set(written["measured"][name]["recall"]) == {"0.1", "0.03", "0.01"}
        assert set(written["measured"][name]["roll_deg"]) == {"median", "p90"}
    assert 0.8 <= written["measured"]["agreement"]["share"] <= 1
    assert [row["round"] for row in json.loads((out / "history.json").read_text())] == ["first", "long"]
    assert (out / "history.png").read_bytes().startswith(b"\x89PNG")

    device = FaceVerifier(out / "face.tflite")
    pyramid = Pyramid(draw_scene(3))
    look = device.look(pyramid, Spot(47.5, 47.5, 80.0))
    # What the device reads of a view is what was measured here.
    answer = faces_exam.answer_int8((out / "face.tflite").read_bytes())
    log_odds, poses = answer(faces_material.EVENING.apply(pyramid.view(Spot(47.5, 47.5, 80.0), SIDE, BOX_SHARE))[None])
    assert look.score == pytest.approx(log_odds[0])
    assert look.spot.roll_deg == pytest.approx(poses[0, 0] * UNITS[0])
    assert look.spot.side == pytest.approx(80.0 * np.exp(poses[0, 3] * UNITS[3]))


@pytest.mark.host
@pytest.mark.slow
def test_a_fit_that_was_cut_off_goes_on_from_its_last_epoch_to_the_same_network(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    assert run(whole, "--epochs", "2") == 0
    save, saved = loop.save_checkpoint, []

    def save_and_die(path: Path, *rest: Any) -> None:
        save(path, *rest)
        saved.append(path.name)
        if saved == ["first.npz", "long.npz"]:
            raise KeyboardInterrupt

    monkeypatch.setattr(loop, "save_checkpoint", save_and_die)
    assert run(cut, "--epochs", "2") == 130
    assert not (cut / "face.keras").exists()
    before = json.loads((cut / "history.json").read_text())
    assert [(row["round"], row["epoch"]) for row in before] == [("first", 1), ("long", 1)]
    mined = (cut / "mined-fit.npz").stat().st_mtime_ns
    capsys.readouterr()

    assert run(cut, "--epochs", "2") == 0
    said = capsys.readouterr().out
    assert "long epoch 1/2" not in said
    assert "long epoch 2/2" in said
    after = json.loads((cut / "history.json").read_text())
    assert after[:2] == before
    assert (cut / "mined-fit.npz").stat().st_mtime_ns == mined
    straight = json.loads((whole / "history.json").read_text())
    assert after[2]["loss"] == pytest.approx(straight[2]["loss"], rel=0.05)


@pytest.mark.host
@pytest.mark.slow
def test_what_another_seed_or_another_number_of_epochs_left_is_refused(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(tmp_path, "--epochs", "1") == 0
    capsys.readouterr()
    assert "mined-fit.npz: made of" in ended_by(
        CheckpointUnusable, run(tmp_path, "--epochs", "1", "--seed", "1"), capsys.readouterr().err
    )
    assert "long.npz: of a fit with epochs 1" in ended_by(
        CheckpointUnusable, run(tmp_path, "--epochs", "2"), capsys.readouterr().err
    )
    (tmp_path / "history.json").write_text("[{]")
    assert len(ended_by(CheckpointUnusable, run(tmp_path, "--epochs", "1"), capsys.readouterr().err).splitlines()) == 1


def test_missing_data_and_impossible_settings_are_one_line(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "training/scenes.sh" in ended_by(
        DataMissing, run(tmp_path, "--scenes", str(tmp_path / "none")), capsys.readouterr().err
    )
    code = run(tmp_path, "--data", str(tmp_path / "none.csv"))
    assert ended_by(DataMissing, code, capsys.readouterr().err).count("\n") == 1
    assert ended_by(SettingsInvalid, run(tmp_path, "--epochs", "0"), capsys.readouterr().err).count("\n") == 1


def test_windows_turned_by_quarters_have_their_faces_where_and_as_turned_as_they_say() -> None:
    view = np.zeros((SIDE, SIDE), np.uint8)
    view[4:8, 20:24] = 255  # up and to the right of the middle
    poses = np.array([[10.0, 6.0, -10.0, 0.0]], np.float32) / np.array([UNITS[0], 0.3 * 25.6, 0.3 * 25.6, 1.0])
    for seed in range(12):
        (turned,), (pose,) = scanner.turn_views(view[None], poses.astype(np.float32), np.random.default_rng(seed))
        rows, columns = np.nonzero(turned)
        right, down = (columns.mean() - (SIDE - 1) / 2) / 25.6, (rows.mean() - (SIDE - 1) / 2) / 25.6
        assert (pose[2:4] * UNITS[1:3]) == pytest.approx((right, down), abs=0.03)
        roll_deg = np.rad2deg(np.arctan2(pose[1], pose[0]))
        assert (roll_deg - 10.0) % 90 == pytest.approx(0, abs=0.01) or (roll_deg - 10.0) % 90 == pytest.approx(90)
        quarter = round((roll_deg - 10.0) / 90) % 4
        assert np.array_equal(np.rot90(turned, quarter), view), "turned back, it is what it was"


@pytest.mark.parametrize(("name", "command", "more"), [("face", verifier, ()), ("scan", scanner, ("least",))])
def test_a_contract_that_ships_is_made_again_of_its_file(name: str, command: ModuleType, more: tuple[str, ...]) -> None:
    table = json.loads((models_folder() / f"{name}.json").read_bytes())
    known = [table[key] for key in (*more, "training", "measured")]
    content = command.make_contract((models_folder() / f"{name}.tflite").read_bytes(), *known)
    made = json.loads(content)
    assert content == json.dumps(made, indent=1).encode() + b"\n"
    assert list(made) == list(table)
    assert made == table


@pytest.mark.host
@pytest.mark.slow
def test_a_scanner_of_what_the_verifier_mined_is_one_that_the_device_loads(
    table: Path, scenes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    patches = np.random.default_rng(0).integers(0, 256, (30, PATCH_SIDE, PATCH_SIDE)).astype(np.uint8)
    for name in ("mined-fit.npz", "mined-held-out.npz"):
        np.savez(tmp_path / name, about=np.array("{}"), pictures=patches)
    for name, value in {"EXAM_ROWS": 100, "CALIBRATION_TILES": 2}.items():
        monkeypatch.setattr(scanner, name, value)
    assert 56 * (1 + MISPLACED + FALSE_ALARMS + PATCHES) < scanner.BATCH  # fewer views than a batch are one batch
    words = ["--data", str(table), "--scenes", str(scenes), "--verifier", str(tmp_path), "--epochs", "2"]
    out = tmp_path / "out"
    with pytest.raises(SystemExit) as end:
        scanner.main([*words, "--out", str(out)])
    assert not end.value.code
    finder = NetFinder(out / "scan.tflite")
    assert finder.contract.evening == scanner.EVENING
    written = json.loads((out / "scan.json").read_text())
    assert written["measured"]["faces"] == 21
    assert written["training"]["epochs"] == 2
    views = np.random.default_rng(1).integers(0, 256, (60, WINDOW, WINDOW)).astype(np.uint8)
    network = scanner.import_keras().saving.load_model(out / "scan.keras", compile=False)
    whole = np.full((1, TILE, TILE, 1), 128, np.float32)
    whole[0, :WINDOW, :WINDOW, 0] = views[0]
    in_float = float(network.predict(whole, verbose=0)[0][0, 0, 0, 0])
    assert scanner.answer_windows((out / "scan.tflite").read_bytes(), views)[0][0] == pytest.approx(in_float, abs=0.5)
    with pytest.raises(SystemExit) as end:
        scanner.main([*words[:4], "--verifier", str(out), "--epochs", "2", "--out", str(out)])
    assert end.value.code == DataMissing.exit_code, "nothing was mined there"
