"""The cue on made-up streams at every frame rate: what the issue of a steady cue promises, as properties."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks import streams
from benchmarks.streams import (
    LABELS,
    PARTNER,
    RATES,
    Step,
    Stream,
    changes,
    clear,
    delay_until,
    film,
    flicker,
    follow,
    nobody,
    play,
    steady,
)
from edge.cue.policy import WORD_OF
from edge.settings import SENSITIVITIES, CueSettings, with_sensitivity
from edge.types import Cue
from tests.support.streams import crossing, drift, spikes

SETTINGS = CueSettings()
MOST_CHANGES = 6  # a minute, on noise
ONSET, GONE = 0.6, 0.5  # seconds

rates = pytest.mark.parametrize("fps", RATES)


def words(cues: list[Cue]) -> list[str]:
    """Return what was shown, each once for as long as it stayed."""
    shown = [cue.shown for cue in cues]
    return [shown[0], *(after for before, after in pairwise(shown) if before != after)]


@rates
@pytest.mark.parametrize(
    ("before", "label"),
    [
        (before, label)
        for before in (None, "neutral", "happy", "sad")
        for label in LABELS
        if before is None or WORD_OF[before] != WORD_OF[label]
    ],
)
def test_a_clear_expression_is_shown_in_time_and_stays(fps: int, before: str | None, label: str) -> None:
    first = nobody(1, fps) if before is None else steady(before, 5, fps)
    stream = follow(first, steady(label, 10, fps))
    cues = play(stream, SETTINGS)
    begun = first[-1].t + 1 / fps
    assert delay_until(stream, cues, begun, lambda cue: cue.expression == WORD_OF[label]) < ONSET
    assert words(cues)[-1] == WORD_OF[label]
    assert words(cues).count(WORD_OF[label]) == 1


@rates
@given(
    concentration=st.floats(0.05, 5.0),
    seed=st.integers(0, 2**32 - 1),
)
@settings(max_examples=8)
def test_noise_hardly_ever_changes_the_cue(fps: int, concentration: float, seed: int) -> None:
    noise = streams.dirichlet(concentration, 60, fps, np.random.default_rng(seed))
    assert changes(play(noise, SETTINGS)) <= MOST_CHANGES


@rates
@pytest.mark.parametrize("seed", range(3))
def test_readings_that_wander_faster_than_a_face_can_hardly_ever_change_the_cue(fps: int, seed: int) -> None:
    noise = streams.wandering(0.1, 2.0, 60, fps, np.random.default_rng(seed))
    assert changes(play(noise, SETTINGS)) <= MOST_CHANGES


@rates
@pytest.mark.parametrize(("first", "second"), [("happy", "sad"), ("neutral", "surprise"), ("angry", "neutral")])
@pytest.mark.parametrize("frames", [1, 2])
def test_two_classes_in_turn_are_no_expression(fps: int, first: str, second: str, frames: int) -> None:
    cues = play(flicker(first, second, 60, fps, frames), SETTINGS)
    assert changes(cues) <= MOST_CHANGES


@rates
@pytest.mark.parametrize("spike", ["sad", "surprise", "neutral"])
def test_one_wrong_frame_a_second_does_not_change_the_cue(fps: int, spike: str) -> None:
    cues = play(spikes("happy", spike, 30, fps), SETTINGS)
    assert WORD_OF[spike] not in words(cues)
    assert changes(cues[2 * fps :]) <= MOST_CHANGES / 2


@rates
def test_a_slow_change_is_one_change_with_at_most_one_unsure_between(fps: int) -> None:
    for first, second in (("neutral", "happy"), ("happy", "sad"), ("surprise", "neutral")):
        cues = play(follow(steady(first, 3, fps), drift(first, second, 20, fps), steady(second, 3, fps)), SETTINGS)
        seen = [word for word in words(cues) if word not in ("face", "unsure")]
        assert seen == [WORD_OF[first], WORD_OF[second]]
        assert words(cues).count("unsure") <= 1


@rates
@pytest.mark.parametrize("sensitivity", SENSITIVITIES)
def test_the_cue_is_gone_in_time_after_the_face(fps: int, sensitivity: str) -> None:
    stream = follow(steady("happy", 5, fps), nobody(3, fps))
    cues = play(stream, with_sensitivity(SETTINGS, sensitivity))
    dark = [step.t for step, cue in zip(stream, cues, strict=True) if step.t > 5 and cue.state == "no_face"]
    assert dark[0] - 5 <= GONE + 1e-9
    assert all(cue.state == "no_face" for step, cue in zip(stream, cues, strict=True) if step.t >= dark[0])


@rates
@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=5)
def test_a_face_that_is_lost_and_back_shows_its_expression_again_and_no_other(fps: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    parts: list[Stream] = [steady("happy", 3, fps)]
    for _ in range(5):
        parts += [nobody(rng.uniform(0.1, 3.0), fps), steady("happy", rng.uniform(1.0, 3.0), fps)]
    cues = play(follow(*parts), SETTINGS)
    assert set(words(cues)) <= {"face", "smile", "no_face"}
    assert cues[-1].expression == "smile"


@rates
def test_when_two_people_cross_the_cue_goes_over_once_and_is_never_mixed(fps: int) -> None:
    cues = play(crossing("happy", "sad", 12, fps), SETTINGS)
    seen = [word for word in words(cues) if word not in ("face", "unsure")]
    assert seen == ["smile", "upset"]


@rates
def test_two_people_side_by_side_never_take_the_cue_from_each_other(fps: int) -> None:
    rng = np.random.default_rng(0)
    stream = []
    for number in range(1, 30 * fps):
        people = tuple(
            (replace(PARTNER, id=who, distance_m=1.0 * float(np.exp(rng.normal(0, 0.08)))), clear(label))
            for who, label in ((1, "happy"), (2, "sad"))
        )
        stream.append(Step(number / fps, people))
    shown_words = {word for word in words(play(stream, SETTINGS)) if word != "face"}
    assert shown_words in ({"smile"}, {"upset"})


def test_the_sensitivities_are_ordered_calm_is_slower_and_steadier() -> None:
    calm, normal, quick = (with_sensitivity(SETTINGS, name) for name in ("calm", "normal", "quick"))

    def onset(tried: CueSettings) -> float:
        stream = follow(steady("neutral", 5, 30), steady("happy", 5, 30))
        return delay_until(stream, play(stream, tried), 5 + 1 / 30, lambda cue: cue.expression == "smile")

    assert onset(quick) < onset(normal) < onset(calm)
    noise = [streams.wandering(0.3, 2.0, 120, 30, np.random.default_rng(seed)) for seed in range(3)]
    steadiness = [sum(changes(play(stream, tried)) for stream in noise) for tried in (calm, normal, quick)]
    assert steadiness == sorted(steadiness)
    assert steadiness[0] < steadiness[2]


def test_an_even_vote_is_never_upset_though_four_of_seven_classes_are() -> None:
    assert "upset" not in words(play(film([np.full(7, 1 / 7)] * 300, 30), SETTINGS))
