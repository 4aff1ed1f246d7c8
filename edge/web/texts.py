"""The page's own words in the wearer's languages; what a cue is called is in edge/words.py."""

from __future__ import annotations

from edge.web.locale import de, en, es, fr

# {n} is a number and {name} an address that are filled in. Settings and their choices are named `setting.NAME` and
# `choice.VALUE`.
TEXTS: dict[str, dict[str, str]] = {"en": en.TEXTS, "de": de.TEXTS, "es": es.TEXTS, "fr": fr.TEXTS}

LANGUAGES = {"en": "English", "de": "Deutsch", "es": "Español", "fr": "Français"}


def preferred(accept_language: str) -> str:
    """Return the first language of an Accept-Language header that the page knows, English where there is none."""
    offered = (part.partition(";")[0].strip()[:2].lower() for part in accept_language.split(","))
    return next((language for language in offered if language in TEXTS), "en")
