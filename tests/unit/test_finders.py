"""The finders: a scan in slices misses no place, and finds what a cascade finds."""

from __future__ import annotations

import itertools

import cv2
import numpy as np
import pytest

from edge.errors import RuntimeMissing
from edge.sources.demo import DemoSource
from edge.vision.finders import Slice
from edge.vision.finders.haar import MOST_WINDOWS, WINDOW, HaarFinder, load_cascade
from edge.vision.views import Pyramid, Spot


@pytest.fixture(scope="module")
def finder() -> HaarFinder:
    return HaarFinder()


def inside(piece: Slice, spot: Spot) -> bool:
    """Return whether the slice's part of the frame holds the spot whole, turned as the slice is."""
    zoom = WINDOW / piece.side
    angle = np.deg2rad(piece.roll_deg)
    x, y = spot.cx - piece.cx, spot.cy - piece.cy
    right, down = np.cos(angle) * x + np.sin(angle) * y, -np.sin(angle) * x + np.cos(angle) * y
    room = piece.side / 2 - 2 / zoom  # windows are two pixels of the copy apart
    return abs(right) + room <= piece.width / zoom / 2 and abs(down) + room <= piece.height / zoom / 2


@pytest.mark.parametrize(("width", "height"), [(640, 480), (480, 640), (320, 240)])
@pytest.mark.parametrize("roll_deg", [0.0, 30.0, -60.0])
def test_every_place_at_every_size_is_in_a_slice(finder: HaarFinder, width: int, height: int, roll_deg: float) -> None:
    pieces = finder.slices(width, height, (40.0, 200.0), (roll_deg,))
    assert all(0 < piece.cost <= MOST_WINDOWS for piece in pieces)
    sides = sorted({piece.side for piece in pieces})
    assert sides[0] == 40.0
    assert all(big / small == pytest.approx(1.26) for small, big in itertools.pairwise(sides))
    rng = np.random.default_rng(0)
    for side in sides:
        for _ in range(40):
            reach = side * 0.5 * np.sqrt(2) if roll_deg else side / 2
            spot = Spot(rng.uniform(reach, width - reach), rng.uniform(reach, height - reach), side, roll_deg)
            assert any(inside(piece, spot) for piece in pieces if piece.side == side), spot


def test_a_frame_smaller_than_a_face_has_no_slices(finder: HaarFinder) -> None:
    assert finder.slices(30, 30, (48.0, 27.0), (0.0,)) == []
    assert finder.slices(40, 40, (90.0, 100.0), (0.0,)) == []


@pytest.mark.parametrize("roll_deg", [0.0, 30.0, -60.0])
def test_a_slice_proposes_the_demo_person_where_and_as_turned_as_she_is(finder: HaarFinder, roll_deg: float) -> None:
    person = DemoSource("1", live=False)
    seq = next(seq for seq in range(600) if person.truth(seq).steady_for > 1.5 and person.truth(seq).expression)
    gray, truth = person.render(seq), person.truth(seq)
    assert truth.box is not None
    x, y, side, _ = truth.box
    centre = (x + side / 2, y + side / 2)
    matrix = cv2.getRotationMatrix2D(centre, truth.roll_deg - roll_deg, 1.0)
    turned = cv2.warpAffine(gray, matrix, gray.shape[::-1], borderMode=cv2.BORDER_REPLICATE).astype(np.uint8)
    pyramid = Pyramid(turned)
    proposals = [
        spot for piece in finder.slices(640, 480, (48.0, 400.0), (roll_deg,)) for spot in finder.scan(pyramid, piece)
    ]
    near = [spot for spot in proposals if np.hypot(spot.cx - centre[0], spot.cy - centre[1]) < 0.2 * side]
    assert near
    assert all(spot.roll_deg == roll_deg for spot in near)
    assert min(abs(np.log(spot.side / side)) for spot in near) < 0.3


def test_flat_frames_propose_nothing(finder: HaarFinder) -> None:
    pyramid = Pyramid(np.full((240, 320), 128, np.uint8))
    assert all(finder.scan(pyramid, piece) == [] for piece in finder.slices(320, 240, (30.0, 200.0), (0.0, 30.0)))


def test_an_opencv_without_cascades_names_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge.vision.finders.haar._CASCADE_FOLDERS", ())
    monkeypatch.delattr(cv2, "data")
    with pytest.raises(RuntimeMissing, match="opencv-data"):
        load_cascade()
