"""A camera's picture is put upright by a setting: turned, mirrored, with distances and sides that follow."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge.errors import SettingsInvalid
from edge.settings import CameraSettings, FaceSettings
from edge.settings_file import load_settings
from edge.sources import open_source
from edge.sources.demo import DemoSource
from edge.sources.turning import Turn, TurnedSource
from edge.types import Frame, Gray
from edge.vision.faces import FaceFinder

PICTURE = np.arange(15, dtype=np.uint8).reshape(3, 5)
ALL = [*itertools.product((0, 90, 180, 270), (False, True))]


def expected(gray: Gray, rotate_deg: int, mirror: bool) -> Gray:
    """Turned clockwise, then mirrored, in numpy's words."""
    turned = np.rot90(gray, -rotate_deg // 90)
    return turned[:, ::-1] if mirror else turned


@pytest.mark.parametrize(("rotate_deg", "mirror"), ALL)
def test_a_picture_is_turned_clockwise_and_then_mirrored(rotate_deg: int, mirror: bool) -> None:
    turn = Turn.of(CameraSettings(rotate_deg, mirror))
    turned = turn.apply(PICTURE)
    np.testing.assert_array_equal(turned, expected(PICTURE, rotate_deg, mirror))
    assert turned.flags.c_contiguous
    # A camera that flips by itself leaves the quarter turn over.
    flipped = PICTURE[:: -1 if turn.vflip else 1, :: -1 if turn.hflip else 1]
    np.testing.assert_array_equal(Turn(rotate_deg=turn.rotate_deg).apply(np.ascontiguousarray(flipped)), turned)


class Broken:
    """A source of frames that are none."""

    live, announced, stuck = True, 7, True

    def __init__(self, *pictures: object) -> None:
        self._pictures = pictures
        self.closed = False

    def frames(self) -> Iterator[Frame]:
        return (Frame(picture, 1.0, seq, 2.0) for seq, picture in enumerate(self._pictures))  # type: ignore[arg-type]

    def close(self) -> None:
        self.closed = True


def test_a_turned_source_is_the_other_in_all_else_and_lets_damaged_frames_through() -> None:
    broken = Broken(None, np.zeros((3, 0), np.uint8), np.zeros((2, 2, 3), np.uint8), PICTURE)
    source = TurnedSource(broken, Turn(hflip=True))
    assert (source.live, source.announced, source.stuck) == (True, 7, True)
    frames = list(source.frames())
    assert frames[0].gray is None
    assert [frame.seq for frame in frames] == [0, 1, 2, 3]
    np.testing.assert_array_equal(frames[3].gray, PICTURE[:, ::-1])
    source.close()
    assert broken.closed


@pytest.mark.parametrize(("rotate_deg", "mirror"), ALL)
def test_a_films_pictures_are_turned_and_the_demos_are_not(rotate_deg: int, mirror: bool, tmp_path: Path) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (48, 64), np.uint8)
    cv2.imwrite(str(tmp_path / "still.png"), picture)
    settings = CameraSettings(rotate_deg, mirror)
    frame = next(open_source(f"file:{tmp_path / 'still.png'}", live=False, camera=settings).frames())
    np.testing.assert_array_equal(frame.gray, expected(picture, rotate_deg, mirror))
    assert isinstance(open_source("demo", live=False, camera=settings), DemoSource)


@pytest.mark.parametrize(("rotate_deg", "mirror"), ALL)
def test_a_person_is_as_far_away_and_on_the_same_side_however_the_camera_is_mounted(
    rotate_deg: int, mirror: bool
) -> None:
    source = DemoSource("1")
    upright = [source.render(seq) for seq in range(12)]
    straight, turned = FaceFinder(FaceSettings()), FaceFinder(FaceSettings(), sideways=rotate_deg % 180 > 0)
    # As the sensor sees it: what puts it upright, backwards.
    mounted = [np.rot90(gray[:, ::-1] if mirror else gray, rotate_deg // 90) for gray in upright]
    turn = Turn.of(CameraSettings(rotate_deg, mirror))
    faces = other = None
    for seq, (gray, seen) in enumerate(zip(upright, mounted, strict=True)):
        put = turn.apply(np.ascontiguousarray(seen))
        np.testing.assert_array_equal(put, gray)
        faces, other = straight.find(gray, seq / 30), turned.find(put, seq / 30)
    assert faces
    assert other
    (face,), (same,) = faces, other
    # A camera on its side has its width from top to bottom.
    share = 640 / 480 if rotate_deg % 180 else 1.0
    assert same.distance_m * share == pytest.approx(face.distance_m, rel=0.02, abs=0.0101)  # given in whole centimetres
    assert same.bearing_deg * face.bearing_deg >= 0


def test_a_turn_by_any_other_angle_is_refused_with_those_that_are_valid(tmp_path: Path) -> None:
    path = tmp_path / "cuelens.toml"
    path.write_text("[camera]\nrotate_deg = 45\n")
    with pytest.raises(SettingsInvalid, match=r"cuelens\.toml:2: camera\.rotate_deg is 45; valid are 0, 90, 180, 270"):
        load_settings(path)
