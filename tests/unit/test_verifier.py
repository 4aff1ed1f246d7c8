"""The verifier: held to its contract, and right about the demo person."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from edge.errors import ContractMismatch, ContractUnreadable, CuelensError, ModelMissing, ModelShape, ModelUnreadable
from edge.sources.demo import DemoSource
from edge.vision.tflite import models_folder
from edge.vision.verifier import Evening, FaceVerifier
from edge.vision.views import Pyramid, Spot


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of the shipped verifier that may be damaged."""
    for name in ("face.tflite", "face.json"):
        shutil.copy(models_folder() / name, tmp_path / name)
    return tmp_path / "face.tflite"


def change(path: Path, edit: Callable[[dict[str, Any]], None]) -> None:
    contract = path.with_suffix(".json")
    table = json.loads(contract.read_text())
    edit(table)
    contract.write_text(json.dumps(table))


def test_the_shipped_verifier_is_what_its_contract_states(copy: Path) -> None:
    assert FaceVerifier(copy).contract == FaceVerifier().contract


@pytest.mark.parametrize(
    ("edit", "error", "words"),
    [
        (lambda t: t.pop("units"), ContractUnreadable, "no key 'units'"),
        (lambda t: t.update(format=99), ContractUnreadable, "format 99"),
        (lambda t: t.update(units=[1, 2]), ContractUnreadable, "expected 4"),
        (lambda t: t.update(share=1.5), ContractUnreadable, "share 1.5"),
        (lambda t: t.pop("evening"), ContractUnreadable, "no key 'evening'"),
        (lambda t: t["evening"].update(reach=4), ContractUnreadable, "odd reach"),
        (lambda t: t["evening"].update(floor=0.0), ContractUnreadable, "floor and gain above 0"),
        (lambda t: t["evening"].update(other=1), ContractUnreadable, "other"),
        (lambda t: t.update(sha256="0" * 64), ContractMismatch, "install model and contract together"),
        (lambda t: t["input"].update(scale=2.0), ContractMismatch, "its contract has 2.0"),
        (lambda t: t["input"].update(shape=[1, 16, 16, 1]), ModelShape, "(1, 16, 16, 1)"),
        (
            lambda t: t["outputs"]["face"].update(shape=[1, 2]),
            ModelShape,
            "its contract has (1, 2) for face; valid is (1, 1)",
        ),
        (lambda t: t["outputs"]["pose"].update(zero_point=99), ContractMismatch, "99"),
        (lambda t: t["outputs"].pop("pose"), ContractUnreadable, "no key 'pose'"),
    ],
)
def test_a_contract_that_is_not_its_models_is_refused_with_the_reason(
    copy: Path, edit: Callable[[dict[str, Any]], None], error: type[CuelensError], words: str
) -> None:
    change(copy, edit)
    with pytest.raises(error) as refused:
        FaceVerifier(copy)
    assert words in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_contract_of_the_release_before_is_read_and_its_views_stay_as_they_are(copy: Path) -> None:
    change(copy, lambda t: (t.update(format=1), t.pop("evening")))  # type: ignore[func-returns-value]
    assert FaceVerifier(copy).contract.evening is None


def test_a_missing_truncated_or_foreign_file_is_refused(copy: Path) -> None:
    whole = copy.read_bytes()
    copy.write_bytes(whole[:-100])
    with pytest.raises(ModelUnreadable, match="ends after"):
        FaceVerifier(copy)
    copy.write_bytes(b"not a model at all")
    with pytest.raises(ModelUnreadable, match="TFL3"):
        FaceVerifier(copy)
    copy.with_suffix(".json").unlink()
    copy.write_bytes(whole)
    with pytest.raises(ModelMissing, match=r"face\.json"):
        FaceVerifier(copy)
    copy.unlink()
    with pytest.raises(ModelMissing, match=r"face\.tflite"):
        FaceVerifier(copy)


@pytest.fixture(scope="module")
def scene() -> tuple[Pyramid, Spot]:
    person = DemoSource("1", live=False)
    seq = next(seq for seq in range(600) if person.truth(seq).steady_for > 1.5 and person.truth(seq).expression)
    truth = person.truth(seq)
    assert truth.box is not None
    x, y, side, _ = truth.box
    return Pyramid(person.render(seq)), Spot(x + (side - 1) / 2, y + (side - 1) / 2, side, truth.roll_deg)


@pytest.mark.parametrize("right", [-0.2, 0.0, 0.2])
@pytest.mark.parametrize("turn_deg", [-30.0, 0.0, 30.0])
@pytest.mark.parametrize("zoom", [0.8, 1.0, 1.25])
def test_a_look_that_is_off_is_mended(scene: tuple[Pyramid, Spot], right: float, turn_deg: float, zoom: float) -> None:
    pyramid, truth = scene
    verifier = FaceVerifier()
    look = verifier.look(pyramid, truth.moved(right, 0.0, zoom, turn_deg))
    for _ in range(2):
        look = verifier.look(pyramid, look.spot)
    assert look.score > 2
    assert np.hypot(look.spot.cx - truth.cx, look.spot.cy - truth.cy) < 0.15 * truth.side
    assert abs(look.spot.roll_deg - truth.roll_deg) < 10
    assert abs(np.log(look.spot.side / truth.side)) < 0.2


def test_walls_noise_and_a_face_upside_down_are_no_faces(scene: tuple[Pyramid, Spot]) -> None:
    pyramid, truth = scene
    verifier = FaceVerifier()
    assert verifier.look(pyramid, truth.moved(0.0, 0.0, 1.0, 180.0)).score < 0
    assert verifier.look(pyramid, Spot(60, 60, 80)).score < 0
    noise = np.random.default_rng(0).integers(0, 256, (200, 200), dtype=np.uint8)
    assert verifier.look(Pyramid(cv2.GaussianBlur(noise, (0, 0), 3).astype(np.uint8)), Spot(100, 100, 80)).score < 0


def shade(pyramid: Pyramid, kind: str) -> Pyramid:
    """Take most of the light from a frame, evenly or from one side, and add a small sensor's noise."""
    gray = pyramid.window((pyramid.width - 1) / 2, (pyramid.height - 1) / 2, 0.0, 1.0, pyramid.width, pyramid.height)
    exposure = {
        "a quarter": np.full(pyramid.width, 0.25),
        "an eighth": np.full(pyramid.width, 0.125),
        "from one side": np.linspace(0.05, 1.0, pyramid.width),
    }[kind]
    noise = np.random.default_rng(0).normal(0, 1.5, gray.shape)
    return Pyramid(np.clip(np.round(gray * exposure + noise), 0, 255).astype(np.uint8))


@pytest.mark.parametrize("kind", ["a quarter", "an eighth", "from one side"])
def test_a_face_in_little_or_uneven_light_is_one_and_a_dark_wall_is_none(
    scene: tuple[Pyramid, Spot], kind: str
) -> None:
    (pyramid, truth), verifier = scene, FaceVerifier()
    dark = shade(pyramid, kind)
    assert verifier.look(dark, truth).score > 2
    assert verifier.look(dark, Spot(60, 60, 80)).score < 0


def test_an_evened_view_has_the_same_pixels_at_every_exposure_and_none_where_nothing_is() -> None:
    view = np.random.default_rng(0).integers(60, 250, (32, 32)).astype(np.uint8)
    view = cv2.GaussianBlur(view, (0, 0), 2).astype(np.uint8)
    view = cv2.normalize(view, None, 60, 250, cv2.NORM_MINMAX).astype(np.uint8)  # type: ignore[call-overload]
    even = Evening().apply
    assert even(view).mean() == pytest.approx(128, abs=8)
    dim = even((view // 3).astype(np.uint8)).astype(int)
    assert np.abs(dim - even(view)).mean() < 5
    assert (even(np.full((32, 32), 77, np.uint8)) == 128).all()


@pytest.mark.parametrize(
    "wrong", [{"reach": 2}, {"middle": 0.0}, {"reach": 8}, {"floor": 0.0}, {"share": 1.5}, {"gain": 0.0}]
)
def test_what_no_view_can_be_evened_by_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="valid are"):
        Evening(**wrong)  # type: ignore[arg-type]
