"""Every word that the wearer or the helper reads or hears, a file a language; a new file is a new language."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

_FOLDER = Path(__file__).parent

LANGUAGES = tuple(
    sorted(
        (path.stem for path in _FOLDER.glob("*.toml")),
        key=lambda code: (code != "en", code),
    )
)
"""Codes of ISO 639-1, English first."""


@dataclass(frozen=True, slots=True)
class Locale:
    """One language's words by their keys."""

    name: str
    """The language's own name."""

    words: dict[str, str]
    """Of a cue, one each: expressions, states, reasons for `unsure`, distances, sides."""

    sentences: dict[str, str]
    """The same as whole sentences; `other` takes the name of a class that the table lacks."""

    page: dict[str, str]
    """The page's own."""


@cache
def read_locale(language: str) -> Locale:
    """Return the words of one of LANGUAGES; they are read once."""
    import tomllib  # only here: a start counts its imports

    table = tomllib.loads((_FOLDER / f"{language}.toml").read_text(encoding="utf-8"))
    return Locale(**table)
