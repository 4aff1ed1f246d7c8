"""The scanner: held to its contract, and what it proposes of the demo person at every turn."""

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
from edge.vision.finders.net import EDGE, SIDE_STEP, STRIDE, TILE, WINDOW, NetFinder
from edge.vision.tflite import models_folder
from edge.vision.views import Pyramid, Spot, wrap_deg


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of the shipped scanner that may be damaged."""
    for name in ("scan.tflite", "scan.json"):
        shutil.copy(models_folder() / name, tmp_path / name)
    return tmp_path / "scan.tflite"


@pytest.mark.parametrize(
    ("edit", "error", "words"),
    [
        (lambda t: t.pop("least"), ContractUnreadable, "no key 'least'"),
        (lambda t: t.update(format=99), ContractUnreadable, "format 99"),
        (lambda t: t["evening"].update(gain=-1.0), ContractUnreadable, "gain above 0"),
        (lambda t: t.update(units=[1]), ContractUnreadable, "expected 3"),
        (lambda t: t.update(sha256="0" * 64), ContractMismatch, "install model and contract together"),
        (
            lambda t: t["outputs"]["pose"].update(shape=[1, 5]),
            ModelShape,
            "its contract has (1, 5) for pose; valid is (1, ",
        ),
        (lambda t: t["input"].update(scale=2.0), ContractMismatch, "its contract has 2.0"),
    ],
)
def test_a_contract_that_is_not_its_models_is_refused_with_the_reason(
    copy: Path, edit: Callable[[dict[str, Any]], None], error: type[CuelensError], words: str
) -> None:
    NetFinder(copy)
    contract = copy.with_suffix(".json")
    table = json.loads(contract.read_text())
    edit(table)
    contract.write_text(json.dumps(table))
    with pytest.raises(error) as refused:
        NetFinder(copy)
    assert words in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_missing_or_foreign_file_is_refused(copy: Path) -> None:
    copy.write_bytes(b"not a model at all")
    with pytest.raises(ModelUnreadable, match="TFL3"):
        NetFinder(copy)
    copy.unlink()
    with pytest.raises(ModelMissing, match=r"scan\.tflite"):
        NetFinder(copy)


@pytest.mark.parametrize(("width", "height"), [(640, 480), (300, 1000), (40, 60), (24, 24)])
def test_every_place_at_every_size_is_in_a_tile_those_cut_by_the_frames_edge_too(width: int, height: int) -> None:
    finder = NetFinder()
    pieces = finder.slices(width, height, (24.0, 1.2 * min(width, height)), (0.0,))
    sides = sorted({piece.side for piece in pieces})
    assert sides[0] == 24.0
    assert sides[-1] * SIDE_STEP**0.5 >= 1.2 * min(width, height) / SIDE_STEP
    rng = np.random.default_rng(0)
    for side in sides:
        zoom = WINDOW * finder.contract.share / side
        reach = (TILE - WINDOW) / 2 / zoom + STRIDE / zoom
        margin = min((WINDOW / 2) / zoom - EDGE * side, min(width, height) / 2 - 1)
        for _ in range(40):
            cx, cy = rng.uniform(margin, width - margin), rng.uniform(margin, height - margin)
            assert any(
                abs(cx - piece.cx) <= reach and abs(cy - piece.cy) <= reach for piece in pieces if piece.side == side
            ), (side, cx, cy)


@pytest.mark.parametrize("turn_deg", range(-180, 180, 30))
def test_the_demo_person_is_proposed_at_every_turn(turn_deg: int) -> None:
    person = DemoSource("1", live=False)
    seq = next(seq for seq in range(600) if person.truth(seq).steady_for > 1.5 and person.truth(seq).expression)
    gray, box = person.render(seq), person.truth(seq).box
    assert box is not None
    centre = (box[0] + box[2] / 2, box[1] + box[3] / 2)
    matrix = cv2.getRotationMatrix2D(centre, -float(turn_deg), 1.0)
    turned = cv2.warpAffine(gray, matrix, gray.shape[::-1], borderMode=cv2.BORDER_REPLICATE).astype(np.uint8)
    finder, pyramid = NetFinder(), Pyramid(turned)
    spots = [spot for piece in finder.slices(640, 480, (48.0, 400.0), (0.0,)) for spot in finder.scan(pyramid, piece)]
    near = [spot for spot in spots if np.hypot(spot.cx - centre[0], spot.cy - centre[1]) < 0.3 * box[2]]
    assert near
    assert min(abs(np.log(spot.side / box[2])) for spot in near) < 0.4
    assert len(spots) < 60, "clutter must not buy time"


def test_around_a_spot_faces_are_proposed_as_it_is_turned() -> None:
    person = DemoSource("1", live=False)
    seq = next(seq for seq in range(600) if person.truth(seq).steady_for > 1.5 and person.truth(seq).expression)
    box = person.truth(seq).box
    assert box is not None
    spot = Spot(box[0] + box[2] / 2, box[1] + box[3] / 2, 2.0 * box[2], 10.0)
    found = list(NetFinder().around(Pyramid(person.render(seq)), spot, (float(box[2]),)))
    assert found
    assert all(wrap_deg(other.roll_deg - 10.0) == 0 for other in found)
    assert min(np.hypot(other.cx - spot.cx, other.cy - spot.cy) for other in found) < 0.3 * box[2]


def test_around_a_spot_the_likeliest_of_every_size_come_first(monkeypatch: pytest.MonkeyPatch) -> None:
    spots = {
        40.0: [Spot(50.0, 50.0, 40.0), Spot(90.0, 50.0, 41.0)],
        60.0: [Spot(50.0, 52.0, 60.0), Spot(500.0, 0.0, 61.0)],
    }
    finder = NetFinder()
    monkeypatch.setattr(finder, "scan", lambda _pyramid, piece, _least: spots[piece.side])
    found = finder.around(Pyramid(np.zeros((80, 160), np.uint8)), Spot(60.0, 50.0, 100.0), (40.0, 60.0))
    assert [spot.side for spot in found] == [40.0, 60.0, 41.0], "and what lies elsewhere is left out"


def test_flat_frames_propose_nothing() -> None:
    finder, pyramid = NetFinder(), Pyramid(np.full((240, 320), 128, np.uint8))
    assert all(finder.scan(pyramid, piece) == [] for piece in finder.slices(320, 240, (24.0, 200.0), (0.0,)))
