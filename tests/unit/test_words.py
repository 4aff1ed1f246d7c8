"""The words: every language has all of them, and no two that must be told apart are alike."""

from __future__ import annotations

from dataclasses import fields
from typing import get_args

import pytest

from edge.config import LookSettings
from edge.cue import SMALL_VOCABULARY
from edge.types import Band, Cue, Reason, Side, State
from edge.words import SENTENCES, WORDS, describe, word

LANGUAGES = next(item for item in fields(LookSettings) if item.name == "language").metadata["choices"]
SEVEN = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")
REASONS = get_args(Reason)
STATES = tuple(state for state in get_args(State) if state != "expression")
PLACES = (*get_args(Band), *get_args(Side))
EVERYTHING = {*SMALL_VOCABULARY, *SEVEN, *REASONS, *STATES, *PLACES}


def test_every_language_that_can_be_set_has_every_word_and_sentence() -> None:
    assert set(WORDS) == set(SENTENCES) == set(LANGUAGES)
    for language in LANGUAGES:
        assert set(WORDS[language]) == EVERYTHING
        assert set(SENTENCES[language]) == EVERYTHING | {"other"}


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("vocabulary", [tuple(SMALL_VOCABULARY), SEVEN], ids=["small", "full"])
def test_what_the_wearer_must_tell_apart_has_different_words(language: str, vocabulary: tuple[str, ...]) -> None:
    for table in (WORDS[language], SENTENCES[language]):
        together = [table[key] for key in (*vocabulary, *REASONS, *STATES)]
        assert len(set(together)) == len(together)
        assert len({table[key] for key in PLACES}) == len(PLACES)


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_word_is_one_word_and_fits_a_small_display(language: str) -> None:
    for text in WORDS[language].values():
        assert 0 < len(text) <= 12
        assert len(text.split()) == 1


@pytest.mark.parametrize("language", LANGUAGES)
def test_no_word_or_sentence_says_what_somebody_feels(language: str) -> None:
    """The model's own names of classes say it; only `surprise` and `neutral` can be seen, too."""
    said = " ".join((*WORDS[language].values(), *SENTENCES[language].values())).lower()
    for name in ("angry", "anger", "disgusted", "afraid", "fear", "happy", "sad", "wütend", "traurig", "angst", "ekel"):
        assert name not in said.replace(".", " ").split()
    for name in ("feliz", "triste", "miedo", "asco", "enojo", "heureux", "peur", "colère", "dégoût"):
        assert name not in said.replace(".", " ").split()


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_sentence_is_one(language: str) -> None:
    for key, text in SENTENCES[language].items():
        if key not in PLACES:
            assert text[0].isupper()
            assert text.endswith(".")
            assert text.count(".") == 1


@pytest.mark.parametrize(
    ("cue", "look", "expected"),
    [
        (Cue("expression", "smile", 0.9, 0.0), LookSettings(), "smile"),
        (Cue("expression", "happy", 0.9, 0.0), LookSettings(language="de"), "Lächeln"),
        (Cue("expression", "contempt", 0.9, 0.0), LookSettings(language="fr"), "contempt"),
        (Cue("expression", "neutral", 0.9, 0.0), LookSettings(), ""),
        (Cue("expression", "neutral", 0.9, 0.0), LookSettings(neutral=True), "neutral"),
        (Cue("unsure", None, 0.2, 0.0, "new", "near"), LookSettings(), "face"),
        (Cue("unsure", None, 0.2, 0.0, "new", "near"), LookSettings(presence=False), ""),
        (Cue("unsure", None, 0.2, 0.0, "torn"), LookSettings(), "unsure"),
        (Cue("unsure", None, 0.2, 0.0, "away"), LookSettings(presence=False), "unsure"),
        (Cue("unsure", None, 0.2, 0.0), LookSettings(), "unsure"),
        (Cue("no_face", None, 0.0, 0.0), LookSettings(), ""),
        (Cue("no_camera", None, 0.0, 0.0), LookSettings(language="es"), "cámara"),
        (Cue("paused", None, 0.0, 0.0), LookSettings(), "paused"),
    ],
)
def test_a_cue_is_at_most_one_word(cue: Cue, look: LookSettings, expected: str) -> None:
    assert word(cue, look) == expected


@pytest.mark.parametrize(
    ("cue", "look", "expected"),
    [
        (Cue("expression", "smile", 0.9, 0.0, None, "near", "left"), LookSettings(), "The face shows a smile."),
        (
            Cue("expression", "smile", 0.9, 0.0, None, "near", "left"),
            LookSettings(arrow=True),
            "The face shows a smile, on the left.",
        ),
        (Cue("expression", "sad", 0.9, 0.0, None, "far", "ahead"), LookSettings(arrow=True), "The face shows a frown."),
        (Cue("expression", "contempt", 0.9, 0.0), LookSettings(language="de"), "Das Gesicht zeigt: contempt."),
        (Cue("expression", "other", 0.9, 0.0), LookSettings(), "The face shows: other."),
        (Cue("expression", "neutral", 0.9, 0.0), LookSettings(), "The face is neutral."),
        (
            Cue("unsure", None, 0.2, 0.0, "new", "middle", "right"),
            LookSettings(language="fr"),
            "Un visage est tourné vers vous, à moyenne distance, à droite.",
        ),
        (Cue("unsure", None, 0.2, 0.0, "poor"), LookSettings(), "Unsure: the face is not clear enough."),
        (Cue("no_face", None, 0.0, 0.0), LookSettings(language="es"), "No hay ninguna cara."),
    ],
)
def test_a_cue_is_one_sentence(cue: Cue, look: LookSettings, expected: str) -> None:
    assert describe(cue, look) == expected
