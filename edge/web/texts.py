"""Which of the wearer's languages a browser is answered in before the page knows the setting."""

from __future__ import annotations

from edge.locale import LANGUAGES


def preferred(accept_language: str) -> str:
    """Return the first language of an Accept-Language header that the page knows, English where there is none."""
    offered = (part.partition(";")[0].strip()[:2].lower() for part in accept_language.split(","))
    return next((language for language in offered if language in LANGUAGES), "en")
