"""The cue policy, as stories of what the wearer sees."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.cue.policy import CuePolicy
from edge.settings import CueSettings
from edge.types import Cue, Face, Quality, Reading

LABELS = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")
FPS = 30
SETTINGS = CueSettings()


def probabilities(label: str, share: float = 0.9) -> tuple[float, ...]:
    rest = (1 - share) / (len(LABELS) - 1)
    return tuple(share if name == label else rest for name in LABELS)


def face(identity: int = 1, side: int = 120, quality: float = 1.0, frontal: float = 1.0) -> Face:
    seen = Quality(sharpness=quality, frontal=frontal)
    return Face(identity, (100, 100, side, side), 0.0, seen, distance_m=90 / side)


class Story:
    """Feeds a policy frame by frame and keeps every cue with its instant."""

    def __init__(self, settings: CueSettings = SETTINGS) -> None:
        self.policy = CuePolicy(settings, LABELS)
        self.t = 0.0
        self.cues: list[tuple[float, Cue]] = []

    def show(self, seconds: float, *people: tuple[Face, tuple[float, ...]]) -> Cue:
        for _ in range(round(seconds * FPS)):
            self.t += 1 / FPS
            faces = [person for person, _ in people]
            readings = [Reading(person.id, values, self.t) for person, values in people]
            self.cues.append((self.t, self.policy.update(faces, readings, self.t)))
        return self.cues[-1][1]

    def changes(self) -> list[tuple[float, str]]:
        seen = [(t, cue.expression or cue.state) for t, cue in self.cues]
        return [seen[0]] + [later for earlier, later in pairwise(seen) if earlier[1] != later[1]]


@pytest.mark.parametrize(
    ("label", "word"),
    [
        ("happy", "smile"),
        ("surprise", "surprise"),
        ("neutral", "neutral"),
        ("angry", "upset"),
        ("disgust", "upset"),
        ("fear", "upset"),
        ("sad", "upset"),
    ],
)
def test_a_steady_clear_expression_is_shown_within_the_published_delay(label: str, word: str) -> None:
    story = Story()
    cue = story.show(SETTINGS.delay, (face(), probabilities(label)))
    assert (cue.state, cue.expression) == ("expression", word)
    assert cue.confidence > 0.8


def test_an_expression_whose_evidence_fades_to_an_even_vote_becomes_unsure() -> None:
    story = Story()
    story.show(3, (face(), probabilities("sad")))
    story.show(3, (face(), (1 / 7,) * 7))
    assert [word for _, word in story.changes()] == ["unsure", "upset", "unsure"]


def test_four_upset_classes_that_share_the_vote_still_read_as_upset() -> None:
    shared = (0.3, 0.1, 0.25, 0.05, 0.2, 0.05, 0.05)
    assert Story().show(3, (face(), shared)).expression == "upset"


def test_the_full_vocabulary_shows_the_models_own_class() -> None:
    assert Story(CueSettings(vocabulary="full")).show(3, (face(), probabilities("fear"))).expression == "fear"


def test_nothing_in_view_is_no_face_from_the_first_frame() -> None:
    cue = Story().show(1 / FPS)
    assert (cue.state, cue.expression, cue.confidence) == ("no_face", None, 0.0)
    assert math.isfinite(cue.since)


def test_a_new_face_is_unsure_before_it_is_anything() -> None:
    story = Story()
    story.show(1)
    story.show(2, (face(), probabilities("happy")))
    assert [word for _, word in story.changes()] == ["no_face", "unsure", "smile"]


def test_an_even_vote_is_unsure_and_never_a_guess() -> None:
    assert Story().show(5, (face(), (1 / 7,) * 7)).state == "unsure"
    three = (0.0, 0.0, 0.0, 0.34, 0.0, 0.33, 0.33)
    assert Story().show(5, (face(), three)).state == "unsure"


def test_a_poor_face_is_unsure_however_loud_the_model_is() -> None:
    assert Story().show(5, (face(quality=0.1), probabilities("happy", 0.99))).state == "unsure"


def test_one_wrong_frame_does_not_change_the_cue() -> None:
    story = Story()
    story.show(3, (face(), probabilities("happy")))
    story.show(1 / FPS, (face(), probabilities("angry")))
    story.show(1, (face(), probabilities("happy")))
    assert [word for _, word in story.changes()] == ["unsure", "smile"]


def test_a_flickering_model_gives_a_cue_that_holds() -> None:
    story = Story()
    for turn in range(200):
        story.show(0.1, (face(), probabilities("happy" if turn % 2 else "sad")))
    instants = [t for t, _ in story.changes()]
    assert all(later - earlier >= SETTINGS.hold - 1e-6 for earlier, later in pairwise(instants))


def test_a_face_that_left_goes_dark_within_vanish_and_is_not_averaged_on() -> None:
    story = Story()
    story.show(3, (face(), probabilities("happy")))
    left = story.t
    assert story.show(SETTINGS.vanish + 2 / FPS).state == "no_face"
    dark = next(t for t, word in story.changes() if word == "no_face")
    assert dark - left <= SETTINGS.vanish + 2 / FPS
    assert story.show(1 / FPS, (face(2), probabilities("sad"))).state == "unsure"


def test_a_blink_of_the_finder_keeps_the_cue() -> None:
    story = Story()
    story.show(3, (face(), probabilities("happy")))
    story.show(SETTINGS.vanish / 2)
    story.show(1, (face(), probabilities("happy")))
    assert [word for _, word in story.changes()] == ["unsure", "smile"]


def test_a_lost_camera_shows_at_once_and_forgets() -> None:
    story = Story()
    story.show(3, (face(), probabilities("happy")))
    assert story.policy.lose_camera(story.t).state == "no_camera"
    assert story.show(1 / FPS, (face(), probabilities("happy"))).state == "unsure"


def test_a_passer_by_who_comes_nearer_for_a_moment_does_not_take_the_cue() -> None:
    story = Story()
    story.show(3, (face(1), probabilities("happy")))
    story.show(SETTINGS.partner_hold / 2, (face(1), probabilities("happy")), (face(2, 300), probabilities("sad")))
    story.show(2, (face(1), probabilities("happy")))
    assert "upset" not in [word for _, word in story.changes()]


def test_a_face_that_stays_nearer_becomes_the_partner() -> None:
    story = Story()
    story.show(3, (face(1), probabilities("happy")))
    cue = story.show(SETTINGS.partner_hold + 3, (face(1), probabilities("happy")), (face(2, 300), probabilities("sad")))
    assert cue.expression == "upset"


def test_two_faces_of_about_one_size_never_swap() -> None:
    story = Story()
    for turn in range(100):
        first, second = (120, 126) if turn % 2 else (126, 120)
        story.show(0.1, (face(1, first), probabilities("happy")), (face(2, second), probabilities("sad")))
    assert [word for _, word in story.changes()] == ["unsure", "smile"]


def test_a_face_that_is_turned_away_is_not_the_partner_though_it_is_nearer() -> None:
    away = (face(1, 300, frontal=0.0), probabilities("sad"))
    assert Story().show(3, away, (face(2, 100), probabilities("happy"))).expression == "smile"


def test_a_partner_who_turns_away_keeps_the_cue_for_the_hold_and_then_loses_it_to_one_who_faces() -> None:
    story = Story()
    other = (face(2, 100), probabilities("sad"))
    story.show(3, (face(1, 200), probabilities("happy")), other)
    away = (face(1, 200, frontal=0.1), probabilities("happy"))
    assert story.show(0.8 * SETTINGS.partner_hold, away, other).expression == "smile"
    assert story.show(SETTINGS.delay + SETTINGS.partner_hold, away, other).expression == "upset"
    assert story.policy.partner == 2


def test_a_face_seen_from_the_side_is_unsure_because_it_is_turned_away() -> None:
    cue = Story().show(3, (face(frontal=0.0), probabilities("happy")))
    assert (cue.state, cue.reason) == ("unsure", "away")


@pytest.mark.parametrize(("smile", "shown"), [(0.03, "neutral"), (0.1, "unsure")])
def test_neutral_is_shown_only_beside_a_trace_of_a_smile(smile: float, shown: str) -> None:
    rest = (0.1 - smile) / (len(LABELS) - 2)
    reading = tuple({"neutral": 0.9, "happy": smile}.get(name, rest) for name in LABELS)
    assert Story().show(30, (face(), reading)).shown == shown
    assert Story(CueSettings(trace=1.0)).show(30, (face(), reading)).shown == "neutral"


def test_what_does_not_lead_enough_is_not_bridged_either() -> None:
    reading = tuple({"happy": 0.75, "neutral": 0.25}.get(name, 0.0) for name in LABELS)
    assert Story().show(30, (face(), reading)).shown == "unsure"
    assert Story(CueSettings(margin=0.4)).show(30, (face(), reading)).shown == "smile"


def test_an_old_word_does_not_stay_while_a_new_one_is_made_to_wait_for_flickering() -> None:
    story = Story(CueSettings(restless=10.0, lively=0.0, hold=0.2))
    for label in ("happy", "sad"):
        story.show(0.7, (face(), probabilities(label)))
    begun = story.t
    story.show(3, (face(), probabilities("surprise")))
    seen = [(t - begun, cue.shown) for t, cue in story.cues if t > begun]
    old = [t for t, word in seen if word not in ("surprise", "unsure")]
    assert max(old) < SETTINGS.onset + SETTINGS.decay + 0.2
    assert "unsure" in [word for _, word in seen]


def test_unsure_says_why() -> None:
    assert Story().show(3, (face(quality=0.1), probabilities("happy"))).reason == "poor"
    assert Story().show(3, (face(), (1 / 7,) * 7)).reason == "faint"
    torn = CueSettings(enter=0.5, leave=0.5, margin=0.3)
    assert Story(torn).show(3, (face(), (0.0, 0.0, 0.0, 0.55, 0.0, 0.45, 0.0))).reason == "torn"
    assert Story().show(1 / FPS, (face(), probabilities("happy"))).reason == "new"


def test_distance_and_side_are_shown_and_do_not_flutter_at_their_limits() -> None:
    story = Story()
    seen = [
        story.show(1 / FPS, (replace(face(), distance_m=distance, bearing_deg=bearing), probabilities("happy")))
        for distance, bearing in [
            (0.8, 0.0),
            (1.25, 10.5),
            (1.15, 9.5),
            (1.25, 10.5),
            (1.6, 14.0),
            (1.25, 9.0),
            (4.5, -14.0),
        ]
    ]
    assert [cue.distance for cue in seen] == ["near", "near", "near", "near", "middle", "middle", "far"]
    assert [cue.side for cue in seen] == ["ahead", "ahead", "ahead", "ahead", "right", "right", "left"]


def test_a_pause_shows_at_once_and_forgets() -> None:
    story = Story()
    story.show(3, (face(), probabilities("happy")))
    assert story.policy.pause(story.t).state == "paused"
    assert story.policy.partner is None
    assert story.show(1 / FPS, (face(), probabilities("happy"))).shown == "face"


def test_where_nobody_faces_the_nearest_is_the_partner() -> None:
    story = Story()
    story.show(
        1, (face(1, 100, frontal=0.0), probabilities("sad")), (face(2, 200, frontal=0.0), probabilities("happy"))
    )
    assert story.policy.partner == 2


def test_a_partner_who_is_read_every_other_frame_has_a_steady_cue() -> None:
    story = Story()
    for turn in range(90):
        story.t += 1 / FPS
        readings = [Reading(1, probabilities("happy"), story.t)] if turn % 2 else []
        story.cues.append((story.t, story.policy.update([face(), face(2, 100)], readings, story.t)))
    assert [word for _, word in story.changes()] == ["unsure", "smile"]


def test_the_cue_does_not_depend_on_the_frame_rate() -> None:
    def first_smile(fps: int) -> float:
        policy = CuePolicy(SETTINGS, LABELS)
        for frame in range(10 * fps):
            cue = policy.update([face()], [Reading(1, probabilities("happy", 0.8), frame / fps)], frame / fps)
            if cue.expression == "smile":
                return frame / fps
        raise AssertionError("no smile")

    # Of ten frames a second one may pass until it is clear, and one until it was so for the onset.
    assert first_smile(10) == pytest.approx(first_smile(60), abs=2 / 10)


@given(
    st.lists(
        st.tuples(st.floats(0.001, 2.0), st.lists(st.floats(0, 1), min_size=7, max_size=7), st.booleans()),
        min_size=1,
        max_size=60,
    )
)
def test_whatever_comes_a_cue_is_well_formed_and_never_from_the_future(
    steps: list[tuple[float, list[float], bool]],
) -> None:
    policy, t = CuePolicy(SETTINGS, LABELS), 0.0
    for step, values, present in steps:
        t += step
        total = sum(values) or 1.0
        readings = [Reading(1, tuple(value / total for value in values), t)] if present else []
        cue = policy.update([face()] if present else [], readings, t)
        assert cue.since <= t
        assert 0 <= cue.confidence <= 1.0001
        assert (cue.expression is not None) == (cue.state == "expression")
        if cue.state == "expression" and not present:
            assert step <= SETTINGS.vanish
