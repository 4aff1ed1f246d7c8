"""Where is searched next: all of a frame soon while nobody is there, and then no more than the budget buys."""

from __future__ import annotations

import pytest

from edge.settings import FaceSettings
from edge.vision.finders.haar import HaarFinder
from edge.vision.finders.net import NetFinder
from edge.vision.search import Search

SETTINGS = FaceSettings()


@pytest.fixture
def search() -> Search:
    search = Search(SETTINGS, HaarFinder(), NetFinder())
    search.begin(640, 480, 0.0)
    return search


def spend(search: Search, frame: int, *, known: bool = False, share: float = 1.0) -> set[int]:
    """Take what a frame buys; returns the slices' numbers."""
    search.earn(share, known=known)
    taken = set()
    while (number := search.next_slice(frame / 30, 0.0)) is not None:
        taken.add(number)
    return taken


def upright(search: Search) -> set[int]:
    return {number for number, piece in enumerate(search.pieces) if piece.roll_deg == 0.0}


def test_all_is_searched_for_upright_faces_within_eight_frames(search: Search) -> None:
    first = [spend(search, frame) for frame in range(8)]
    assert upright(search) <= set().union(*first)


def test_no_frame_of_the_first_scan_costs_more_than_the_first(search: Search) -> None:
    costs = [sum(search.pieces[number].cost for number in spend(search, frame)) for frame in range(8)]
    assert max(costs) <= SETTINGS.burst


@pytest.mark.parametrize("known", [False, True])
def test_what_is_lent_is_one_scan_and_after_it_a_frame_has_its_budget(search: Search, known: bool) -> None:
    once = sum(search.pieces[number].cost for number in upright(search))
    hurried = [number for frame in range(8) for number in spend(search, frame)]
    assert sum(search.pieces[number].cost for number in hurried) <= SETTINGS.burst + 8 * SETTINGS.budget + once
    taken = [number for frame in range(8, 308) for number in spend(search, frame, known=known)]
    windows = sum(search.pieces[number].cost for number in taken)
    assert windows <= 300 * SETTINGS.budget * (0.4 if known else 1.0) + SETTINGS.burst


def test_a_face_that_is_there_ends_the_hurry(search: Search) -> None:
    spend(search, 0)
    taken = [number for frame in range(1, 31) for number in spend(search, frame, known=True)]
    assert sum(search.pieces[number].cost for number in taken) <= 30 * 0.4 * SETTINGS.budget + SETTINGS.burst / 4


def test_a_slow_board_hurries_as_much_less_as_it_searches_less(search: Search) -> None:
    spend(search, 0, share=0.25)
    search.credit = 0.0
    search.earn(0.25, known=False)
    assert search.credit == SETTINGS.burst / 4
