"""Which face is which: the assignment against brute force, motion as physics has it."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from edge.vision.tracks import FORGET, RESERVE, SURE, Track, appearance_of, assign, distances
from edge.vision.views import Spot

SPOT = Spot(100.0, 80.0, 50.0)


@given(
    arrays(float, st.tuples(st.integers(1, 5), st.integers(1, 5)), elements=st.floats(0, 10)),
)
def test_an_assignment_is_the_cheapest_of_all(cost: np.ndarray) -> None:
    pairs = assign(cost, 100.0)
    short, long = sorted(cost.shape)
    wide = cost if cost.shape[0] <= cost.shape[1] else cost.T
    best = min(sum(wide[row, column] for row, column in enumerate(order)) for order in permutations(range(long), short))
    assert len(pairs) == short
    assert len({row for row, _ in pairs}) == len({column for _, column in pairs}) == short
    assert sum(cost[row, column] for row, column in pairs) == pytest.approx(best, abs=1e-9)


@given(arrays(float, st.tuples(st.integers(0, 5), st.integers(0, 5)), elements=st.floats(0, 10)))
def test_no_pair_is_dearer_than_allowed_and_no_cheap_row_stays_alone_for_a_dear_one(cost: np.ndarray) -> None:
    pairs = assign(cost, 3.0)
    assert all(cost[row, column] <= 3.0 for row, column in pairs)
    rows, columns = {row for row, _ in pairs}, {column for _, column in pairs}
    free = [(r, c) for r in range(cost.shape[0]) for c in range(cost.shape[1]) if r not in rows and c not in columns]
    assert all(cost[row, column] > 3.0 for row, column in free)


def test_nearest_first_would_be_wrong_where_the_assignment_is_right() -> None:
    assert assign(np.array([[0.1, 0.2], [0.15, 5.0]]), 1.0) == [(0, 1), (1, 0)]


def walk(track: Track, fps: float, seconds: float, speed: float) -> float:
    """Move a face to the right at `speed` faces a second; returns how far off the last prediction was, in faces."""
    off = 0.0
    for frame in range(1, round(seconds * fps) + 1):
        t = frame / fps
        true = Spot(100 + speed * 80 * t, 100, 80)
        off = abs(track.predict(t).cx - true.cx) / 80
        track.correct(true, t)
    return off


@pytest.mark.parametrize("fps", [5.0, 12.0, 30.0, 60.0])
def test_a_steadily_moving_face_is_predicted_at_any_frame_rate(fps: float) -> None:
    track = Track(1, Spot(100, 100, 80), 0.0, 5.0)
    assert walk(track, fps, 2.0, 1.5) < 0.05


def test_a_hidden_face_goes_on_as_it_went_and_then_slows_down() -> None:
    track = Track(1, Spot(100, 100, 80), 0.0, 5.0)
    walk(track, 30.0, 1.0, 2.0)
    seen = track.spot.cx
    for frame in range(31, 46):
        track.predict(frame / 30)
        track.miss()
    assert not track.present
    gone = (track.spot.cx - seen) / 80
    assert 0.2 < gone < 1.0, "2 faces a second for half a second would be 1.0"


def test_noise_in_a_still_face_is_damped() -> None:
    track, rng, middles = Track(1, Spot(100, 100, 80), 0.0, 5.0), np.random.default_rng(0), []
    for frame in range(1, 200):
        track.predict(frame / 30)
        track.correct(Spot(100 + 80 * 0.04 * rng.normal(), 100, 80, 4 * rng.normal()), frame / 30)
        middles.append(track.spot.cx)
    assert np.std(middles[50:]) < 0.85 * 80 * 0.04


def test_a_clock_that_stands_still_or_goes_back_moves_nothing() -> None:
    track = Track(1, Spot(100, 100, 80), 5.0, 5.0)
    track.velocity = np.array([1.0, 1.0, 0.1])
    assert track.predict(5.0) == Spot(100, 100, 80)
    assert track.predict(2.0) == Spot(100, 100, 80)


def test_a_face_is_nearer_to_its_own_track_by_place_size_and_looks() -> None:
    rng = np.random.default_rng(1)
    one, other = (appearance_of(rng.integers(0, 256, (12, 12), dtype=np.uint8)) for _ in range(2))
    track = Track(1, Spot(100, 100, 80), 0.0, 5.0)
    track.remember(one)
    here = Spot(100, 100, 80)
    cost = distances([track], [here, Spot(140, 100, 80), Spot(100, 100, 120), here], [one, one, one, other])
    assert cost[0, 0] == pytest.approx(0.0, abs=1e-9)
    assert cost[0, 1] == pytest.approx(0.5)
    assert (cost[0, 1:] > 0.3).all()


def test_appearance_does_not_depend_on_the_light() -> None:
    view = np.random.default_rng(2).integers(60, 120, (12, 12), dtype=np.uint8)
    brighter = (view * 1.5 + 20).astype(np.uint8)
    assert appearance_of(view) @ appearance_of(brighter) > 0.99
    assert not appearance_of(np.full((12, 12), 9, np.uint8)).any()


def test_evidence_fades_is_bounded_and_stays_below_what_a_denial_outweighs() -> None:
    track = Track(1, SPOT, 0.0, 6.0)
    for number in range(1, 300):
        track.weigh(4.0, number / 30, confirm=6.0)
    assert track.confirmed
    assert track.evidence == 6.0 + RESERVE
    track.weigh(0.0, 299 / 30 + 10 * FORGET, confirm=6.0)
    assert 0 < track.evidence < 0.01


def test_looks_from_its_own_place_do_not_speak_for_a_track_that_a_fresh_look_doubts() -> None:
    track = Track(1, SPOT, 0.0, 6.0)
    track.doubt(1.0, 3.0)
    assert not track.readable
    before = track.evidence
    track.weigh(4.0, 1.0, confirm=6.0)
    assert track.evidence <= before
    track.weigh(-1.0, 1.0, confirm=6.0)
    assert track.evidence <= before - 1.0
    track.believe(1.1)
    assert track.readable
    track.weigh(4.0, 1.1, confirm=6.0)
    assert track.evidence > before


def test_a_denied_face_that_comes_back_is_confirmed_again() -> None:
    track = Track(1, SPOT, 0.0, 12.0, confirmed=True)
    track.denied = True
    track.welcome(3.0, 1.0, confirm=6.0)
    assert not track.confirmed
    track.weigh(4.0, 1.03, confirm=6.0)
    assert track.confirmed


def test_the_less_sure_a_look_is_the_less_it_moves_and_widens_a_track() -> None:
    moved = []
    for score in (SURE, 1.0, -1.0):
        track = Track(1, SPOT, 0.0, 6.0)
        track.predict(0.03)
        track.correct(Spot(SPOT.cx + 0.2 * SPOT.side, SPOT.cy, 1.3 * SPOT.side, 20.0), 0.03, score)
        moved.append((track.spot.cx - SPOT.cx, track.spot.side - SPOT.side, track.spot.roll_deg))
    assert moved == sorted(moved, reverse=True)
    assert all(0 < last < first for last, first in zip(moved[-1], moved[0], strict=True))


def test_a_track_that_is_denied_is_sought_where_it_last_was_a_face() -> None:
    track = Track(1, Spot(100.0, 100.0, 50.0), 0.0, 9.0, confirmed=True)
    track.correct(Spot(160.0, 100.0, 40.0), 0.1)
    assert track.spot != track.home
    track.deny()
    assert (track.spot, track.present, track.denied) == (Spot(100.0, 100.0, 50.0), False, True)
    assert track.predict(0.2) == Spot(100.0, 100.0, 50.0)
    track.welcome(9.0, 0.3, 5.0)
    track.believe(0.3)
    assert (track.denied, track.home) == (False, track.spot)
