"""Pages of HTML that need no network, with pictures and tables: what every report is written on.

All markup is in the templates beside this file; what goes into them is text that Jinja escapes, or Markup made here.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import numpy.typing as npt

from edge.errors import RuntimeMissing, printable

if TYPE_CHECKING:
    from jinja2 import Environment
    from markupsafe import Markup

TEMPLATES = Path(__file__).parent / "templates"


@cache
def _environment() -> Environment:
    """Return what fills templates; raises RuntimeMissing where Jinja is not installed, as on a device."""
    try:
        from jinja2 import Environment, FileSystemLoader, StrictUndefined
    except ImportError as error:
        raise RuntimeMissing("Jinja is not installed here; run ./deploy.sh host and use .venv-host/bin") from error
    return Environment(
        loader=FileSystemLoader(TEMPLATES),
        undefined=StrictUndefined,
        autoescape=True,
        finalize=_show,
        trim_blocks=True,
        keep_trailing_newline=True,
    )


def _show(value: Any) -> Any:
    """Spell out the control characters of text; our own figures keep their units beside them by no-break spaces."""
    if hasattr(value, "__html__") or not isinstance(value, str):
        return value
    return "\N{NO-BREAK SPACE}".join(map(printable, value.split("\N{NO-BREAK SPACE}")))


def fill(template: str, macro: str, *values: object) -> Markup:
    """Return the HTML that a macro of a template makes of `values`; raises RuntimeMissing without Jinja."""
    made: Markup = getattr(_environment().get_template(template).module, macro)(*values)
    return made


def join(*parts: Markup) -> Markup:
    """Return pieces of HTML as one."""
    from markupsafe import Markup

    return Markup("").join(parts)


def page(title: str, sections: Sequence[tuple[str, Markup]], style: str = "") -> str:
    """Return a page of HTML that needs no network; `sections` are headings (none where empty) with their HTML.

    `style` is CSS beyond that of all pages.
    """
    from markupsafe import Markup

    return _environment().get_template("page.html").render(title=title, sections=sections, style=Markup(style))


def encode(picture: npt.NDArray[np.uint8]) -> bytes:
    """Return a picture, uint8 (h, w) gray or (h, w, 3) RGB, as PNG, small ones enlarged to 160 pixels."""
    if picture.ndim == 3:
        picture = np.asarray(cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), np.uint8)
    times = max(1, round(160 / picture.shape[1]))
    enlarged = cv2.resize(picture, None, fx=times, fy=times, interpolation=cv2.INTER_CUBIC)
    return cv2.imencode(".png", enlarged)[1].tobytes()


def paragraph(text: str, *, strong: bool = False) -> Markup:
    """Return a paragraph of text."""
    return fill("blocks.html", "paragraph", text, strong)


def bullets(lines: Sequence[str]) -> Markup:
    """Return lines of text as a list."""
    return fill("blocks.html", "bullets", lines)


def link(file: str, text: str) -> Markup:
    """Return a paragraph that leads to a file of the folder."""
    return fill("blocks.html", "link", file, text)


def picture(file: str, alt: str, caption: str, small: str) -> Markup:
    """Return a picture, a file of the folder or a data URL, with alt text, caption and smaller line."""
    return fill("blocks.html", "picture", file, alt, caption, small)


def sheet(file: str, words: str) -> Markup:
    """Return a picture as wide as the page, with its words for who cannot see it."""
    return fill("blocks.html", "sheet", file, words)


def gallery(pictures: Sequence[Markup]) -> Markup:
    """Return small pictures side by side; "None." where there are none."""
    return fill("blocks.html", "figures", "gallery", pictures) if pictures else paragraph("None.")


def plots(pictures: Sequence[Markup]) -> Markup:
    """Return large pictures side by side."""
    return fill("blocks.html", "figures", "plots", pictures)


def fold(summary: str, content: Markup) -> Markup:
    """Return what is shown only when its summary is clicked."""
    return fill("blocks.html", "fold", summary, content)


def tabulate(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Markup:
    """Return a table of text, in a box of its own that scrolls where the page is too narrow."""
    return fill("blocks.html", "table", head, rows)
