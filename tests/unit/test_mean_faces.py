"""The demo person's faces: aligned, of many people, none of them twice; and those that are shipped."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from edge.errors import DataMissing, DataSplitEmpty, SettingsInvalid
from edge.vision.finders.haar import load_cascade
from edge.vision.model import ExpressionModel
from lab.datasets.fer2013 import CLASSES, read_fer2013
from lab.datasets.labelled import Labelled
from tests.support.failures import ended_by
from training import mean_faces as module
from training.mean_faces import EYES_AT, FACE_SIDE, align, choose, find_eyes, main, mean_faces, merge, normalise, oval


def draw(width: float = 0.2, side: int = FACE_SIDE) -> npt.NDArray[np.uint8]:
    """Draw something with eyes and a mouth `width` of the side wide."""
    face = np.full((side * 4, side * 4), 150, np.uint8)
    for x, y in EYES_AT:
        cv2.circle(face, (round(x * side * 4), round(y * side * 4)), side // 4, (40,), -1)
    middle, axes = (side * 2, side * 3), (round(width * side * 4), side // 4)
    cv2.ellipse(face, middle, axes, 0, 0, 360, (60,), -1)
    return np.asarray(cv2.resize(face, (side, side), interpolation=cv2.INTER_AREA), np.uint8)


def unit(face: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """Flatten what is under the mask into a unit vector: products are correlations."""
    mask = np.asarray(cv2.resize(oval(FACE_SIDE), face.shape, interpolation=cv2.INTER_AREA), np.float32)
    flat = (normalise(face[None].astype(np.float32), mask)[0] * np.sqrt(mask)).ravel()
    return np.asarray(flat / max(float(np.linalg.norm(flat)), 1e-6), np.float32)


@pytest.fixture
def shipped(repository: Path) -> dict[str, npt.NDArray[np.uint8]]:
    with np.load(repository / "edge" / "sources" / "demo_faces.npz") as table:
        return dict(zip(table["classes"].tolist(), table["faces"], strict=True))


def test_aligning_puts_the_eyes_in_their_place() -> None:
    upright = draw(side=48)
    turn = cv2.getRotationMatrix2D((24, 24), 14, 0.9)
    tilted = np.asarray(cv2.warpAffine(upright, turn, (48, 48), borderMode=cv2.BORDER_REPLICATE), np.uint8)
    eyes = (np.hstack([EYES_AT * 48, np.ones((2, 1))]) @ turn.T) / 48
    again = align(tilted, eyes, FACE_SIDE)
    for x, y in EYES_AT * FACE_SIDE:
        assert again[round(y), round(x)] < 70
    assert np.abs(again.astype(int) - draw()).mean() < 6


def test_a_blank_picture_has_no_eyes() -> None:
    assert find_eyes(np.full((48, 48), 128, np.uint8), load_cascade("haarcascade_eye.xml")) is None


def test_a_picture_is_chosen_once_however_often_it_is_there() -> None:
    rng = np.random.default_rng(0)
    people = [np.clip(draw() + rng.normal(0, 60, (96, 96)), 0, 255) for _ in range(8)]
    copies = [person + rng.normal(0, 2, (96, 96)) for person in people for _ in range(3)]
    mirrored = [copy[:, ::-1] for copy in copies[::3]]
    mask = oval(FACE_SIDE)
    faces = normalise(np.array([*copies, *mirrored], np.float32), mask)
    chosen = choose(faces, np.linspace(5, 4, len(faces)), 30, mask)
    assert sorted(row // 3 if row < 24 else row - 24 for row in chosen) == list(range(8))


def test_faces_that_are_no_faces_are_never_chosen() -> None:
    rng = np.random.default_rng(0)
    mask = oval(FACE_SIDE)
    faces = normalise(rng.normal(128, 40, (6, 96, 96)).astype(np.float32), mask)
    odds = np.array([1.0, -np.inf, 2.0, -np.inf, 0.5, 3.0])
    assert sorted(choose(faces, odds, 6, mask)) == [0, 2, 4, 5]


def test_merging_bends_mouths_of_different_widths_onto_one_crisp_mouth() -> None:
    mask = oval(FACE_SIDE)
    faces = normalise(np.array([draw(width) for width in (0.12, 0.15, 0.18, 0.21, 0.24)], np.float32), mask)
    plain, merged = faces.mean(0), merge(faces)
    row = slice(68, 76)
    corners = slice(22, 40)  # where the mouths end
    steepest_plain = np.abs(np.diff(plain[row, corners])).max(1).mean()
    steepest_merged = np.abs(np.diff(merged[row, corners])).max(1).mean()
    assert steepest_merged > 1.3 * steepest_plain


def test_too_few_people_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "find_eyes", lambda *_: EYES_AT)
    train = Labelled(np.stack([draw(side=48)] * 7), np.arange(7))
    with pytest.raises(DataSplitEmpty, match="class angry: 1 usable faces; 25 or more are needed"):
        mean_faces(train, load_cascade("haarcascade_eye.xml"), ExpressionModel(), 30)


def test_fewer_members_than_make_nobody_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["--data", str(tmp_path / "none.csv"), "--out", str(tmp_path / "x.npz"), "--members", "10"])
    assert "--members is 10; 25 or more" in ended_by(SettingsInvalid, caught.value.code, capsys.readouterr().err)


def test_a_missing_data_set_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["--data", str(tmp_path / "none.csv"), "--out", str(tmp_path / "x.npz")])
    assert "none.csv" in ended_by(DataMissing, caught.value.code, capsys.readouterr().err)
    assert not (tmp_path / "x.npz").exists()


def test_the_shipped_faces_are_seven_small_and_different(
    shipped: dict[str, npt.NDArray[np.uint8]], repository: Path
) -> None:
    assert tuple(shipped) == CLASSES
    assert (repository / "edge" / "sources" / "demo_faces.npz").stat().st_size < 100_000
    points = np.stack([unit(face) for face in shipped.values()])
    assert np.max(points @ points.T - 2 * np.eye(len(points))) < 0.93
    for face in shipped.values():
        assert face.shape == (FACE_SIDE, FACE_SIDE)
        assert 40 < face.std() < 60
        assert unit(face) @ unit(face[:, ::-1]) > 0.95, "averaged with its mirror image"


def test_every_shipped_face_is_a_face_to_the_finder(shipped: dict[str, npt.NDArray[np.uint8]]) -> None:
    finder = load_cascade()
    for name, face in shipped.items():
        scene = cv2.copyMakeBorder(cv2.resize(face, (160, 160)), 60, 60, 60, 60, cv2.BORDER_CONSTANT, value=(128,))
        boxes = finder.detectMultiScale(scene, 1.1, 4, minSize=(100, 100))
        assert len(boxes) == 1, f"{name}: {boxes}"


@pytest.mark.shared
@pytest.mark.slow
def test_no_shipped_face_is_anybodys(shipped: dict[str, npt.NDArray[np.uint8]], shared: Path) -> None:
    """A person's picture correlates fully with its copies, at 0.7 with the next; a mean is as close to many."""
    train = read_fer2013(shared / "fer2013" / "fer2013.csv.xz", "Training")["Training"]
    people = np.stack([unit(face) for face in train.images])
    for name, face in shipped.items():
        closeness = np.sort(
            people @ unit(np.asarray(cv2.resize(face, (48, 48), interpolation=cv2.INTER_AREA), np.uint8))
        )
        assert closeness[-1] < 0.88, f"{name} looks like one of its members"
        assert closeness[-1] - closeness[-20] < 0.12, name
