"""What a cue is called, in the wearer's language (edge/locale): for displays, the page, the terminal and the voice."""

from __future__ import annotations

from edge.locale import read_locale
from edge.settings import LookSettings
from edge.types import Cue


def is_dark(cue: Cue, look: LookSettings) -> bool:
    """Return whether the wearer is shown nothing: nobody, a face that shows nothing, one that is not read yet."""
    if cue.state == "expression":
        return cue.expression == "neutral" and not look.neutral
    if cue.state == "unsure":
        return cue.reason == "new" and not look.presence
    return cue.state == "no_face"


def name_of(key: str, language: str) -> str:
    """Return the word of an expression, a state or a reason in one of LANGUAGES; a class that it lacks is its own."""
    return read_locale(language).words.get(key, key)


def name_cue(cue: Cue, language: str) -> str:
    """Return the one word of a cue, also where it is dark; all reasons but `new` are one word.

    They may change while the cue is steady.
    """
    return name_of("new" if cue.reason == "new" else cue.expression or cue.state, language)


def word(cue: Cue, look: LookSettings) -> str:
    """Return the one word of a cue, empty where it is dark."""
    return "" if is_dark(cue, look) else name_cue(cue, look.language)


def describe(cue: Cue, look: LookSettings) -> str:
    """Return a cue as one sentence; unlike `word` also where it is dark.

    Where somebody is follows only for a face that is not read yet, and the side where the wearer has the arrow: what
    is read aloud must not change with every step.
    """
    locale = read_locale(look.language)
    sentences = locale.sentences
    key = cue.expression or cue.reason or cue.state
    sentence = sentences[key] if key in locale.words else sentences["other"].format(key)
    where: list[str] = []
    if cue.reason == "new" and cue.distance is not None:
        where.append(sentences[cue.distance])
    if cue.side is not None and (cue.reason == "new" or (look.arrow and cue.side != "ahead")):
        where.append(sentences[cue.side])
    return ", ".join([sentence.removesuffix("."), *where]) + "."
