"""The cue in conversation: it bridges speech, judges people against their own neutral, and is not led astray."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.streams import (
    LABELS,
    PARTNER,
    Probabilities,
    Step,
    clear,
    delay_until,
    film,
    flicker,
    follow,
    nobody,
    play,
    steady,
    talk,
)
from edge.cue.policy import CuePolicy
from edge.cue.rest import Rest
from edge.settings import SENSITIVITIES, CueSettings, with_sensitivity
from edge.types import Cue, Reading

SETTINGS = CueSettings()
RATES = (10, 15, 30)
STERN = np.array([0.22, 0.02, 0.03, 0.02, 0.25, 0.03, 0.43])  # a face at rest that is read as upset by half

rates = pytest.mark.parametrize("fps", RATES)


def words(cues: list[Cue]) -> list[str]:
    """Return what was shown, each once for as long as it stayed."""
    shown = [cue.shown for cue in cues]
    return [shown[0], *(after for before, after in pairwise(shown) if before != after)]


def person(identity: int, values: Probabilities, t: float, *, x: int = 260, side: int = 120) -> Step:
    """Return a frame of one face at a place."""
    face = replace(PARTNER, id=identity, box=(x, 180, side, side), distance_m=96 / side)
    return Step(t, ((face, values),))


@rates
@pytest.mark.parametrize(
    ("label", "word", "mouth"), [("happy", "smile", "neutral"), ("neutral", "neutral", "surprise")]
)
def test_what_a_talking_face_shows_is_shown_without_a_flicker(fps: int, label: str, word: str, mouth: str) -> None:
    cues = play(talk(label, mouth, 20, fps), SETTINGS)
    late = cues[2 * fps :]
    assert sum(cue.expression == word for cue in late) > 0.9 * len(late)
    assert len(words(late)) <= 3


@rates
def test_a_plain_smile_of_three_seconds_between_words_is_shown_and_goes(fps: int) -> None:
    around = talk("neutral", "surprise", 10, fps, share=0.25)
    stream = follow(around, steady("happy", 3, fps), around)
    cues = play(stream, SETTINGS)
    assert delay_until(stream, cues, 10 + 1 / fps, lambda cue: cue.expression == "smile") < 1.0
    assert words(cues).count("smile") == 1
    gone = delay_until(stream, cues, 13 + 1 / fps, lambda cue: cue.expression != "smile")
    assert gone <= SETTINGS.bridge_reach + SETTINGS.decay + 0.2
    assert cues[-1].expression != "smile"


@rates
def test_a_smile_is_not_bridged_into_a_faint_surprise_that_lasts(fps: int) -> None:
    faint = film([np.array([0.04, 0.02, 0.08, 0.2, 0.04, 0.5, 0.12])] * 4 * fps, fps)
    stream = follow(talk("happy", "neutral", 8, fps), faint)
    gone = delay_until(stream, play(stream, SETTINGS), 8 + 1 / fps, lambda cue: cue.expression != "smile")
    assert gone <= SETTINGS.bridge_turn + SETTINGS.decay + 0.3
    never = replace(SETTINGS, bridge_turn=30.0)
    assert delay_until(stream, play(stream, never), 8 + 1 / fps, lambda cue: cue.expression != "smile") > gone


@rates
@pytest.mark.parametrize("sensitivity", SENSITIVITIES)
def test_a_word_does_not_outlive_its_expression(fps: int, sensitivity: str) -> None:
    tried = with_sensitivity(SETTINGS, sensitivity)
    for label, word in (("happy", "smile"), ("sad", "upset"), ("surprise", "surprise")):
        stream = follow(talk(label, "neutral", 8, fps), film([np.full(7, 1 / 7)] * 5 * fps, fps))
        gone = delay_until(stream, play(stream, tried), 8 + 1 / fps, lambda cue, word=word: cue.expression != word)
        assert gone <= tried.bridge_reach + max(tried.decay, tried.hold) + 0.5


@pytest.mark.parametrize("fps", [10, 20, 30, 60])
@pytest.mark.parametrize(("first", "second"), [("happy", "sad"), ("neutral", "happy"), ("surprise", "angry")])
def test_two_expressions_in_turn_at_five_hertz_are_neither(fps: int, first: str, second: str) -> None:
    cues = play(flicker(first, second, 30, fps, max(1, round(fps / 10))), SETTINGS)
    late = [cue.shown for cue in cues[2 * fps :]]
    assert late.count("unsure") > 0.9 * len(late)


@rates
def test_a_frozen_face_is_one_word_for_as_long_as_it_lasts(fps: int) -> None:
    for label, word in (("happy", "smile"), ("neutral", "neutral")):
        assert words(play(steady(label, 60, fps, 0.8), SETTINGS)) == ["face", word]
    assert words(play(film([STERN] * 5 * fps, fps), replace(SETTINGS, rest_most=0.0))) == ["face", "unsure"]


def test_nobody_for_an_hour_is_dark_and_costs_nothing_that_grows() -> None:
    policy = CuePolicy(SETTINGS, LABELS)
    assert {policy.update([], [], t).state for t in np.arange(1.0, 3600.0, 0.5)} == {"no_face"}


@rates
def test_twenty_people_give_the_nearest_ones_word_alone(fps: int) -> None:
    rng = np.random.default_rng(0)
    steps = []
    for number in range(1, 10 * fps):
        crowd = []
        for who in range(20):
            face = replace(PARTNER, id=who + 1, box=(60 * who, 10, 50, 50), distance_m=1.0 + 0.5 * who)
            due = number % 20 == who or who == 0
            label = "happy" if who == 0 else str(rng.choice(["sad", "angry", "surprise"]))
            crowd.append((face, clear(label) if due else None))
        steps.append(Step(number / fps, tuple(crowd)))
    assert words(play(steps, SETTINGS)) == ["face", "smile"]


def test_a_face_that_is_upset_at_rest_becomes_neutral_and_its_smile_and_anger_still_show() -> None:
    fps = 10
    stream = follow(
        film([STERN] * 60 * fps, fps),
        steady("happy", 3, fps, 0.8),
        film([STERN] * 5 * fps, fps),
        steady("angry", 4, fps, 0.92),
    )
    cues = play(stream, SETTINGS)
    at = {round(step.t, 3): cue for step, cue in zip(stream, cues, strict=True)}
    assert at[59.0].expression == "neutral"
    assert at[62.5].expression == "smile"
    assert at[67.5].expression == "neutral"
    assert at[71.5].expression == "upset"
    judged_alike = play(stream, replace(SETTINGS, rest_most=0.0))
    assert judged_alike[59 * fps].expression != "neutral"


@rates
@pytest.mark.parametrize("label", ["happy", "surprise"])
@given(certainty=st.floats(0.4, 0.98))
@settings(max_examples=10)
def test_however_long_it_lasts_a_smile_is_not_learnt_away(fps: int, label: str, certainty: float) -> None:
    rest = Rest()
    before = dict(zip(("smile", "surprise", "upset", "neutral"), (0.8, 0.02, 0.08, 0.1), strict=True))
    word = {"happy": "smile"}.get(label, label)
    long = dict.fromkeys(before, (1 - certainty) / 3) | {word: certainty}
    for _ in range(600 * fps):
        rest.learn(long, 1 / fps, SETTINGS)
    after = rest.judge(before, SETTINGS)
    assert after["smile"] >= before["smile"]
    assert after["surprise"] >= before["surprise"]


def test_what_rest_takes_off_is_bounded_and_nothing_is_learnt_of_an_upset_face() -> None:
    rest = Rest()
    mild = {"smile": 0.02, "surprise": 0.03, "upset": 0.6, "neutral": 0.35}
    for _ in range(10_000):
        rest.learn(mild, 0.1, SETTINGS)
    off = np.log(mild["upset"] / mild["neutral"]) - np.log(
        (judged := rest.judge(mild, SETTINGS))["upset"] / judged["neutral"]
    )
    assert off == pytest.approx(SETTINGS.rest_most)
    strong = {"smile": 0.02, "surprise": 0.02, "upset": 0.86, "neutral": 0.1}
    other = Rest()
    for _ in range(10_000):
        other.learn(strong, 0.1, SETTINGS)
    assert other.judge(strong, SETTINGS) == pytest.approx(strong)


def test_a_rest_goes_with_its_track_and_is_not_another_persons() -> None:
    fps = 10
    mild = np.array([0.28, 0.02, 0.03, 0.02, 0.3, 0.02, 0.33])  # read as upset, but no more than a stern face at rest

    def after(*between: Step) -> Cue:
        policy = CuePolicy(SETTINGS, LABELS)
        steps = [person(1, STERN, number / fps) for number in range(1, 60 * fps)]
        steps += [replace(step, t=60 + number / fps) for number, step in enumerate(between)]
        cue = None
        for step in steps:
            faces = [face for face, _ in step.people]
            readings = [Reading(face.id, tuple(values), step.t) for face, values in step.people if values is not None]
            cue = policy.update(faces, readings, step.t)
        assert cue is not None
        return cue

    assert after(*[person(1, mild, 0.0)] * 3 * fps).expression == "neutral"  # the same person, still at rest
    assert after(*[person(2, mild, 0.0)] * 3 * fps).expression != "neutral"  # another one
    assert after(*[person(1, mild, 0.0, x=20)] * 3 * fps).expression != "neutral"  # the track leapt to another one
    assert after(*[person(1, mild, 0.0, side=300)] * 3 * fps).expression != "neutral"
    other = replace(PARTNER, id=9, box=(300, 200, 100, 100), distance_m=1.4)
    crossing = [Step(0.0, (*person(1, STERN, 0.0).people, (other, None)))] * 3
    assert after(*crossing, *[person(1, mild, 0.0)] * 3 * fps).expression != "neutral"  # it may have been swapped
    gone = [Step(0.0)] * 9 * fps
    assert after(*gone, *[person(1, mild, 0.0)] * 3 * fps).expression != "neutral"  # forgotten as the finder forgets


@rates
def test_a_track_that_leaps_to_another_face_does_not_bring_its_word_along(fps: int) -> None:
    steps = [person(1, clear("happy"), number / fps) for number in range(1, 5 * fps)]
    steps += [person(1, clear("neutral"), 5 + number / fps, x=20) for number in range(3 * fps)]
    cues = play(steps, SETTINGS)
    assert cues[5 * fps - 2].expression == "smile"
    assert all(cue.expression != "smile" for cue in cues[5 * fps - 1 :])
    assert cues[-1].expression == "neutral"


@rates
def test_the_rest_of_a_pause_or_a_new_recording_is_forgotten(fps: int) -> None:
    policy = CuePolicy(SETTINGS, LABELS)
    learnt = [person(1, STERN, number / fps) for number in range(1, 60 * fps)]

    def see(step: Step, t: float) -> Cue:
        faces = [face for face, _ in step.people]
        return policy.update(faces, [Reading(1, tuple(step.people[0][1]), t)], t)  # type: ignore[arg-type]

    for step in learnt:
        see(step, step.t)
    assert see(learnt[0], 60.0).expression == "neutral"
    policy.pause(60.5)
    assert {see(step, 61 + step.t).expression for step in learnt[: 3 * fps]} == {None}
    assert {see(step, step.t).expression for step in learnt[: 3 * fps]} == {None}  # the clock went back


def test_empty_frames_between_change_nothing_of_a_word() -> None:
    stream = follow(steady("happy", 3, 30), nobody(0.2, 30), talk("happy", "neutral", 5, 30))
    assert words(play(stream, SETTINGS)) == ["face", "smile"]


@pytest.mark.parametrize("fps", [2, 5, 10])
@pytest.mark.parametrize("sensitivity", SENSITIVITIES)
@pytest.mark.parametrize("wrong", ["sad", "surprise", "neutral"])
def test_one_wrong_reading_shows_nothing_at_any_sensitivity(fps: int, sensitivity: str, wrong: str) -> None:
    stream = follow(steady("happy", 5, fps), film([clear(wrong)], fps), steady("happy", 5, fps))
    assert set(words(play(stream, with_sensitivity(SETTINGS, sensitivity)))) <= {"face", "smile"}


@rates
@pytest.mark.parametrize("bridge_enter", [0.0, 0.65, 0.99])
def test_the_bridge_shows_nothing_that_enter_forbids(fps: int, bridge_enter: float) -> None:
    tried = replace(SETTINGS, enter=0.99, bridge_enter=bridge_enter)
    stream = talk("happy", "neutral", 20, fps)
    assert "smile" not in words(play(stream, tried))
    assert "smile" in words(play(stream, SETTINGS))
