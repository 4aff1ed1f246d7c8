"""`cuelens demo --open`: the demo's page in a browser, where the person is beside what the wearer sees."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from edge.settings import Settings
from edge.sinks.table import with_table

if TYPE_CHECKING:
    from edge.types import Sink

SECONDS, OPEN_SECONDS = 20.0, 120.0  # that a demo lasts, and one that somebody watches in a browser
HINT = (
    "to see the person beside what the wearer sees, in a browser: cuelens demo --open; "
    "in a checkout: ./deploy.sh demo --open"
)


def with_page(settings: Settings) -> Settings:
    """Return the settings with the page, at any free port of this machine, and the demo's picture on it."""
    from edge.sinks.web import WebSettings  # only here: a start counts its imports

    page = replace(settings.of(WebSettings), picture=True)
    return with_table(replace(settings, sinks=(*settings.sinks, "web:127.0.0.1:0")), "web", page)


def open_page(sinks: Sequence[tuple[str, Sink]]) -> str | None:
    """Open the page of the `web` sink in the user's browser, with its picture; return a line where that fails."""
    import webbrowser  # only here: a start counts its imports

    for _, sink in sinks:
        if url := getattr(sink, "url", None):
            if webbrowser.open(f"{url}#picture"):
                return None
            # Without the fragment, which a printed line leaves out as it may be a secret.
            return f"no browser opens here; open {url} yourself, and turn on the camera's picture there"
    return "no sink serves a page; add --sink web"
