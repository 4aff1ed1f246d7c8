"""The words: every language has all of them, and no two that must be distinct are alike."""

from __future__ import annotations

import re
from dataclasses import fields
from typing import get_args

import pytest

from edge.cue.policy import SMALL_VOCABULARY
from edge.locale import LANGUAGES, read_locale
from edge.locale.words import describe, word
from edge.settings import LookSettings
from edge.types import Band, Cue, Reason, Side, State

SEVEN = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")
REASONS = get_args(Reason)
STATES = tuple(state for state in get_args(State) if state != "expression")
PLACES = (*get_args(Band), *get_args(Side))
EVERYTHING = {*SMALL_VOCABULARY, *SEVEN, *REASONS, *STATES, *PLACES}


def test_every_language_that_can_be_set_has_every_word_and_sentence() -> None:
    choices = next(item for item in fields(LookSettings) if item.name == "language").metadata["choices"]
    assert choices == LANGUAGES
    assert len({read_locale(language).name for language in LANGUAGES}) == len(LANGUAGES) >= 4
    for language in LANGUAGES:
        locale = read_locale(language)
        assert set(locale.words) == EVERYTHING
        assert set(locale.sentences) == EVERYTHING | {"other"}
        assert set(locale.page) == set(read_locale("en").page)


def test_every_text_of_the_page_has_what_is_filled_in_in_every_language() -> None:
    for language in LANGUAGES:
        for key, text in read_locale("en").page.items():
            other = read_locale(language).page[key]
            assert other.strip() == other != "", key
            assert re.findall(r"{\w*}", other) == re.findall(r"{\w*}", text), key


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("vocabulary", [tuple(SMALL_VOCABULARY), SEVEN], ids=["small", "full"])
def test_what_the_wearer_must_tell_apart_has_different_words(language: str, vocabulary: tuple[str, ...]) -> None:
    for table in (read_locale(language).words, read_locale(language).sentences):
        together = [table[key] for key in (*vocabulary, *REASONS, *STATES)]
        assert len(set(together)) == len(together)
        assert len({table[key] for key in PLACES}) == len(PLACES)


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_word_is_one_word_and_fits_a_small_display(language: str) -> None:
    for key, text in read_locale(language).words.items():
        assert 0 < len(text) <= 12
        assert len(text.split()) == (2 if key == "no_camera" else 1), "what is missing is named, and that it is missing"


@pytest.mark.parametrize("language", LANGUAGES)
def test_no_word_or_sentence_says_what_somebody_feels(language: str) -> None:
    """The model's own names of classes say it; only `surprise` and `neutral` can be seen, too."""
    locale = read_locale(language)
    said = " ".join((*locale.words.values(), *locale.sentences.values())).lower()
    for name in ("angry", "anger", "disgusted", "afraid", "fear", "happy", "sad", "wütend", "traurig", "angst", "ekel"):
        assert name not in said.replace(".", " ").split()
    for name in ("feliz", "triste", "miedo", "asco", "enojo", "heureux", "peur", "colère", "dégoût"):
        assert name not in said.replace(".", " ").split()


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_sentence_is_one(language: str) -> None:
    for key, text in read_locale(language).sentences.items():
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
        (Cue("no_camera", None, 0.0, 0.0), LookSettings(language="es"), "sin cámara"),
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
