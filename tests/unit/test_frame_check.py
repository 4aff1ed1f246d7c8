"""What is recognised in a camera's frames: damaged, frozen, black, stamped by a broken clock."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import pytest

from edge.runtime.frame_check import BLACK, DAMAGED, FROZEN, Fault, FrameWatch, complaint, is_black
from edge.types import OLDEST_STAMP, Frame, Gray

RNG = np.random.default_rng(0)
SCENE = np.tile(np.linspace(40, 200, 160), (120, 1))


def picture(level: float = 1.0) -> Gray:
    """A scene with a sensor's noise, brighter or darker."""
    return np.clip(SCENE * level + RNG.normal(0, 2, SCENE.shape), 0, 255).astype(np.uint8)


def at(now: float, gray: object = None, t: float | None = None) -> Frame:
    shown = picture() if gray is None else gray
    return Frame(shown, now if t is None else t, 0, now)  # type: ignore[arg-type]


def watch(*, camera: bool = True) -> FrameWatch:
    return FrameWatch(live=True, camera=camera)


def instants(seconds: float, start: float = 100.0) -> Iterator[float]:
    return (start + number / 30 for number in range(round(seconds * 30)))


def test_a_camera_that_works_is_let_through_as_it_is() -> None:
    judge = watch()
    for now in instants(3):
        frame = at(now)
        assert judge.check(frame, now) is frame
        assert judge.fresh == now
    assert not judge.black


@pytest.mark.parametrize(
    ("bad", "named"),
    [
        (None, "NoneType instead of a frame"),
        (at(0.0, [[1, 2], [3, 4]]), "list instead of a picture"),
        (at(0.0, np.zeros((120, 160))), r"float64 \(120, 160\) instead of uint8"),
        (at(0.0, np.zeros((120, 160, 3), np.uint8)), r"uint8 \(120, 160, 3\) instead of uint8 \(height, width\)"),
        (at(0.0, np.zeros((0, 160), np.uint8)), "160x0 pixels"),
    ],
)
def test_damaged_frames_are_skipped_and_after_a_while_the_camera_counts_as_lost(bad: object, named: str) -> None:
    judge = watch()
    judge.check(at(99.9), 99.9)
    with pytest.raises(Fault, match=named) as caught:
        for now in instants(DAMAGED + 1):
            assert judge.check(bad, now) is None
    assert now - 99.9 > DAMAGED
    assert caught.value.cause == "damaged"
    assert complaint(bad)
    assert judge.check(at(200.0), 200.0) is not None


def test_a_frame_that_is_not_contiguous_is_copied() -> None:
    checked = watch().check(at(1.0, picture()[:, ::-1]), 1.0)
    assert checked is not None
    assert checked.gray.flags.c_contiguous


def test_a_picture_that_stands_still_is_a_frozen_camera_and_not_believed_again_until_it_moves() -> None:
    judge, still = watch(), picture()
    for _ in range(2):
        judge.begin(100.0)
        with pytest.raises(Fault, match="the same picture for 2 s") as caught:
            for now in instants(FROZEN + 1):
                passed = judge.check(at(now, still.copy()), now)
                assert (passed is None) == bool(_), "what it froze at is shown no second time"
        assert now - 100.0 >= FROZEN
        assert caught.value.cause == "frozen"
    assert judge.check(at(200.0), 200.0) is not None
    assert judge.fresh == 200.0


def test_a_picture_that_is_repeated_for_a_moment_is_no_frozen_camera() -> None:
    judge = watch()
    for number, now in enumerate(instants(6)):
        if number % 10 == 0:
            kept = picture()
        assert judge.check(at(now, kept), now) is not None


@pytest.mark.parametrize("level", [0, 16, 128, 255])
def test_a_flat_picture_is_not_frozen_it_has_nothing_that_could_be(level: int) -> None:
    judge = watch()
    for now in instants(FROZEN + 2):
        assert judge.check(at(now, np.full((120, 160), level, np.uint8)), now) is not None


def test_no_recording_and_no_demo_is_frozen_or_black() -> None:
    judge, still = watch(camera=False), picture(0.02)
    for now in instants(FROZEN + BLACK + 2):
        assert judge.check(at(now, still), now) is not None
    assert not judge.black


@pytest.mark.parametrize("noise", [0.0, 3.0])
def test_a_covered_lens_is_black_after_a_moment_whether_its_noise_is_seen_or_not(noise: float) -> None:
    judge = watch()
    for now in instants(3):
        dark = np.clip(RNG.normal(16, noise, (120, 160)), 0, 255).astype(np.uint8)
        judge.check(at(now, dark), now)
        assert judge.black == (now - 100.0 > BLACK)
    judge.check(at(200.0), 200.0)
    assert not judge.black


def test_a_dim_room_with_a_face_in_the_light_of_a_lamp_is_not_black() -> None:
    dim = picture(0.05)
    dim[40:60, 60:80] = 120
    assert not is_black(dim)
    assert is_black(picture(0.05))


@pytest.mark.parametrize("stamp", [math.nan, math.inf, -math.inf, 0.0, 1e9, 100.0 - OLDEST_STAMP - 0.1])
def test_a_stamp_of_a_broken_clock_gives_way_to_arrival(stamp: float) -> None:
    checked = watch().check(at(100.0, t=stamp), 100.0)
    assert checked is not None
    assert checked.t == 100.0


def test_time_never_steps_back_or_stands_still_for_the_policy() -> None:
    judge = watch()
    stamps = [100.0, 99.9, 99.9, 100.0, 100.2, 100.1]
    checked = [judge.check(at(100.3, t=t), 100.3) for t in stamps]
    times = [frame.t for frame in checked if frame]
    assert len(times) == len(stamps)
    assert all(after > before for before, after in pairwise(times))
    assert round(times[-1], 6) > round(times[-2], 6), "also with as many digits as the log has"


def test_a_recordings_own_time_is_left_alone() -> None:
    judge = FrameWatch(live=False, camera=False)
    for t in (5.0, 0.0, 7.0):
        checked = judge.check(at(100.0, t=t), 100.0)
        assert checked is not None
        assert checked.t == t
