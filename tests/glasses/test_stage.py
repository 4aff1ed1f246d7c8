"""What glasses are to show next, on a clock made by hand: nothing waits in a queue, nothing stale is sent."""

from __future__ import annotations

import threading
import time

import pytest

from edge.drawing.glyphs import Plan
from edge.sinks.glasses.stage import (
    DARK,
    FIRST_WAIT,
    KEEP,
    LONGEST_WAIT,
    LOOK_EVERY,
    STALE,
    STEADY,
    Order,
    Stage,
    Waits,
    plan_for_glasses,
)
from edge.types import Cue, State

SMILE, UPSET = Plan("smile"), Plan("upset")


def stage(least_interval: float = 0.1, *, blanks_itself: bool = False) -> Stage:
    return Stage(least_interval, blanks_itself=blanks_itself)


def test_a_new_link_first_makes_the_glasses_dark_and_then_sends_nothing_more() -> None:
    new = stage()
    assert new.take(0.0) == Order("blank")
    assert [new.take(t) for t in (0.1, 1.0, 100.0)] == [None] * 3


def test_a_cue_is_sent_once_and_the_same_one_not_again() -> None:
    new = stage()
    assert new.offer(SMILE, 0.0)
    assert new.take(0.0) == Order("draw", SMILE)
    for t in (0.5, 1.0, 1.5):
        assert not new.offer(SMILE, t)
        assert new.take(t) is None


def test_the_newest_cue_wins() -> None:
    new = stage()
    new.offer(SMILE, 0.0)
    new.offer(UPSET, 0.01)
    assert new.take(0.02) == Order("draw", UPSET)
    assert new.take(0.03) is None


def test_pictures_keep_the_displays_least_interval_and_going_dark_does_not_wait() -> None:
    new = stage(0.5)
    new.offer(SMILE, 0.0)
    assert new.take(0.0) == Order("draw", SMILE)
    new.offer(UPSET, 0.1)
    assert new.take(0.1) is None
    assert 0.39 < new.wait(0.1) < 0.41
    assert new.take(0.51) == Order("draw", UPSET)
    new.offer(DARK, 0.52)
    assert new.take(0.52) == Order("blank")


def test_a_cue_that_is_old_when_it_could_be_sent_is_not_sent() -> None:
    new = stage()
    new.take(0.0)
    new.offer(SMILE, 1.0)
    assert new.take(1.0 + STALE + 0.01) is None, "it is dark already"


def test_a_cue_that_nobody_repeats_goes_dark() -> None:
    new = stage()
    new.offer(SMILE, 0.0)
    assert new.take(0.0) == Order("draw", SMILE)
    assert new.take(STALE - 0.01) is None
    assert new.wait(STALE - 0.2) <= 0.21
    assert new.take(STALE + 0.01) == Order("blank")


def test_glasses_that_blank_by_themselves_hear_a_word_as_long_as_a_cue_stands() -> None:
    new = stage(blanks_itself=True)
    new.offer(SMILE, 0.0)
    assert new.take(0.0) == Order("draw", SMILE)
    new.offer(SMILE, KEEP)
    assert new.take(KEEP - 0.01) is None
    assert new.take(KEEP) == Order("keep")
    assert new.take(KEEP + 0.01) is None
    new.offer(DARK, 2 * KEEP)
    assert new.take(2 * KEEP) == Order("blank")
    assert new.take(9 * KEEP) is None, "nobody need hold the dark"


def test_glasses_that_keep_their_picture_are_asked_now_and_then_while_a_cue_stands() -> None:
    new = stage()
    new.offer(SMILE, 0.0)
    assert new.take(0.0) == Order("draw", SMILE)
    new.offer(SMILE, LOOK_EVERY)
    assert new.take(LOOK_EVERY - 0.01) is None
    assert new.take(LOOK_EVERY) == Order("keep")
    new.offer(SMILE, LOOK_EVERY + 1)
    assert new.take(LOOK_EVERY + 1) is None


def test_after_a_lost_link_all_is_sent_again() -> None:
    new = stage()
    new.offer(SMILE, 0.0)
    new.take(0.0)
    new.forget()
    new.offer(SMILE, 1.0)
    assert new.take(1.0) == Order("draw", SMILE)


@pytest.mark.parametrize("state", ["no_camera", "paused", "stopped"])
def test_glasses_are_dark_while_the_camera_or_the_run_is_not_there(state: State) -> None:
    assert plan_for_glasses(Cue(state, None, 0.0, 0.0), Plan(state)) == DARK
    words = Plan("notice", text="the settings are damaged")
    assert plan_for_glasses(Cue(state, None, 0.0, 0.0), words) == words
    assert plan_for_glasses(Cue("expression", "smile", 1.0, 0.0), SMILE) == SMILE


def test_waits_grow_to_their_longest_never_end_and_begin_again_after_a_link_that_held() -> None:
    waits = Waits()
    grown = [waits.after(0.0) for _ in range(50)]
    assert grown[:5] == [FIRST_WAIT * 2**n for n in range(5)]
    assert set(grown[5:]) == {LONGEST_WAIT}
    assert waits.after(STEADY - 0.1) == LONGEST_WAIT, "a link that comes and goes is no better than none"
    assert waits.after(STEADY) == FIRST_WAIT


def test_two_threads_that_offer_and_take_lose_nothing_that_is_newest() -> None:
    new = stage(0.0)
    plans = [Plan("smile", word=str(number)) for number in range(300)]
    taken: list[Plan] = []
    done = threading.Event()

    def take() -> None:
        while not done.is_set():
            if (order := new.take(0.0)) is not None and order.plan != DARK:
                taken.append(order.plan)
            time.sleep(0.0005)

    taker = threading.Thread(target=take)
    taker.start()
    for plan in plans:
        new.offer(plan, 0.0)
        time.sleep(0)
    while not taken or taken[-1] != plans[-1]:
        time.sleep(0.001)
    done.set()
    taker.join()
    order = [plans.index(plan) for plan in taken]
    assert order == sorted(set(order)), "none twice, none out of turn"
