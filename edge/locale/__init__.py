"""Every word that the wearer or the helper reads or hears, a file a language; a new file is a new language."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

LANGUAGES = tuple(
    sorted(
        (item.name.removesuffix(".toml") for item in files(__name__).iterdir() if item.name.endswith(".toml")),
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
    table = tomllib.loads((files(__name__) / f"{language}.toml").read_text(encoding="utf-8"))
    return Locale(**table)
