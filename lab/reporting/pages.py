"""Pages of HTML that need no network, with pictures and tables: what every report is written on."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import cv2
import numpy as np
import numpy.typing as npt

from edge.errors import printable

_STYLE = """
:root { color-scheme: light dark }
body { font: 1rem/1.45 system-ui, sans-serif; max-width: 60rem; margin: 0 auto; padding: 0 1rem 3rem }
h1 { font-size: 1.4rem; overflow-wrap: anywhere } h2 { font-size: 1.1rem; margin: 2rem 0 .5rem }
.plots, .gallery { display: flex; flex-wrap: wrap; gap: 1rem }
.plots figure { flex: 1 1 20rem; max-width: 32rem } .gallery figure { width: 7.5rem }
.scroll { overflow-x: auto }
figure { margin: 0 } figcaption { font-size: .85rem; overflow-wrap: anywhere }
img { width: 100%; border-radius: .4rem; display: block }
table { border-collapse: collapse; font-variant-numeric: tabular-nums }
th, td { padding: .2rem .7rem; text-align: right; border-bottom: 1px solid #8886; vertical-align: top }
th:first-child, td:first-child { text-align: left; min-width: 8rem }
details { margin: .5rem 0 }
"""


def as_html(text: str) -> str:
    """Return text as HTML that shows it and does nothing: markup escaped, control characters spelt out."""
    # Our own figures keep their units beside them by no-break spaces.
    return escape("\N{NO-BREAK SPACE}".join(map(printable, text.split("\N{NO-BREAK SPACE}"))))


def page(title: str, sections: Sequence[tuple[str, str]], style: str = "") -> str:
    """Return a page of HTML that needs no network; `sections` are headings (none where empty) with their HTML.

    `style` is CSS beyond that of all pages.
    """
    body = "".join(
        f"<section>{f'<h2>{as_html(heading)}</h2>' if heading else ''}{content}</section>\n"
        for heading, content in sections
    )
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{as_html(title)}</title>\n<style>{_STYLE}{style}</style>\n</head>\n"
        f"<body>\n<h1>{as_html(title)}</h1>\n{body}</body>\n</html>\n"
    )


def encode(picture: npt.NDArray[np.uint8]) -> bytes:
    """Return a picture, uint8 (h, w) gray or (h, w, 3) RGB, as PNG, small ones enlarged to 160 pixels."""
    if picture.ndim == 3:
        picture = np.asarray(cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), np.uint8)
    times = max(1, round(160 / picture.shape[1]))
    enlarged = cv2.resize(picture, None, fx=times, fy=times, interpolation=cv2.INTER_CUBIC)
    return cv2.imencode(".png", enlarged)[1].tobytes()


def show_picture(file: str, alt: str, caption: str, small: str) -> str:
    """Return the HTML of a picture, a file of the folder or a data URL, with alt text, caption and smaller line."""
    image = f'<img src="{as_html(file)}" alt="{as_html(alt)}" loading="lazy">'
    return f"<figure>{image}<figcaption>{as_html(caption)}<br><small>{as_html(small)}</small></figcaption></figure>"


def tabulate(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table of text as HTML, in a box of its own that scrolls where the page is too narrow."""
    cells = "".join(f"<tr>{''.join(f'<td>{as_html(cell)}</td>' for cell in row)}</tr>" for row in rows)
    names = "".join(f"<th>{as_html(name)}</th>" for name in head)
    return f'<div class="scroll"><table><thead><tr>{names}</tr></thead><tbody>{cells}</tbody></table></div>'
