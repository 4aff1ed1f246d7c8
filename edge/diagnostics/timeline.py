"""A replay along its time, as SVG: the partner's raw probabilities, the cue as logged, the cue now."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from html import escape
from itertools import pairwise

from edge.diagnostics.replay import Decision
from edge.drawing.glyphs import COLOURS
from edge.errors import SettingsInvalid, printable

WIDTH, LEFT, RIGHT = 1280, 110, 20  # pixels
ROW, GAP, TOP, BAND = 64, 8, 34, 46  # of a word's curve, between rows, above them, of a cue's band
MOST_POINTS = 1200  # of a curve: more than its pixels say nothing new
LETTER = 7.5  # pixels that a letter takes, about
DARK = ("no_face", "no_camera", "paused")
STEPS = (0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1800, 3600)  # seconds between ticks


def _show(text: str) -> str:
    return escape(printable(text))


def draw_timeline(decisions: Sequence[Decision], start: float = 0.0, seconds: float = math.inf) -> str:
    """Return an SVG of the decisions from `start` on, for `seconds`; both count from the first one.

    A curve for each word, 0 to 1, broken where the face was not read; below them what was shown, as blocks with their
    word, so that nothing depends on colour alone. Raises SettingsInvalid where nothing lies between.
    """
    begin = decisions[0].t
    span = [item for item in decisions if start <= item.t - begin <= start + seconds]
    if len(span) < 2:
        whole = decisions[-1].t - begin
        raise SettingsInvalid(
            f"--start {start:g} --seconds {seconds:g}: fewer than two frames there; the log lasts {whole:.1f} s"
        )
    first, last = span[0].t, span[-1].t
    scale = (WIDTH - LEFT - RIGHT) / max(last - first, 1e-6)
    words = list(dict.fromkeys(word for item in span if item.words for word in item.words))
    rows_end = TOP + len(words) * (ROW + GAP)
    height = rows_end + 2 * (BAND + GAP) + 30

    def x(t: float) -> float:
        return LEFT + (t - first) * scale

    box = f'viewBox="0 0 {WIDTH} {height}" font-family="sans-serif" font-size="13"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {box}>',
        f"<title>{_show(_describe(span))}</title>",
        f'<rect width="{WIDTH}" height="{height}" fill="#111"/>',
        f'<text x="{LEFT}" y="20" fill="#ddd">raw probabilities of the partner, then what the wearer is shown</text>',
    ]
    for number, word in enumerate(words):
        top = TOP + number * (ROW + GAP)
        parts.append(f'<text x="{LEFT - 8}" y="{top + ROW / 2 + 4}" fill="#ddd" text-anchor="end">{_show(word)}</text>')
        parts.append(f'<rect x="{LEFT}" y="{top}" width="{WIDTH - LEFT - RIGHT}" height="{ROW}" fill="#1c1c1c"/>')
        for run in _runs(span, word):
            points = " ".join(f"{x(t):.1f},{top + ROW * (1 - value):.1f}" for t, value in run)
            line = f"{x(run[0][0]):.1f},{top + ROW} {points} {x(run[-1][0]):.1f},{top + ROW}"
            parts.append(f'<polygon points="{line}" fill="{_colour(word)}" fill-opacity="0.35"/>')
            parts.append(f'<polyline points="{points}" fill="none" stroke="{_colour(word)}" stroke-width="1.3"/>')
    for number, (name, labels) in enumerate(
        (("as logged", [item.logged for item in span]), ("now", [item.shown for item in span]))
    ):
        top = rows_end + number * (BAND + GAP)
        parts.append(f'<text x="{LEFT - 8}" y="{top + BAND / 2 + 4}" fill="#ddd" text-anchor="end">{name}</text>')
        parts += _blocks(span, labels, top, x)
    parts += _ticks(first - begin, last - begin, height, scale)
    return "\n".join([*parts, "</svg>"]) + "\n"


def _describe(span: Sequence[Decision]) -> str:
    now = [item.shown for item in span]
    blocks = [now[0], *(after for before, after in pairwise(now) if after != before)]
    return f"Shown over {span[-1].t - span[0].t:.1f} seconds: {', '.join(blocks[:60])}"


def _colour(name: str) -> str:
    return "#{:02x}{:02x}{:02x}".format(*COLOURS.get(name, (204, 204, 204)))


def _runs(span: Sequence[Decision], word: str) -> Iterator[list[tuple[float, float]]]:
    """Yield the pieces of a word's curve; of frames that share a pixel the middle one stands for all."""
    stride = max(1, len(span) // MOST_POINTS)
    piece: list[tuple[float, float]] = []
    unread = 0.0
    for item in span[::stride]:
        if item.words is not None:
            if piece and unread > 0.3:
                yield piece
                piece = []
            piece.append((item.t, item.words.get(word, 0.0)))
            unread = 0.0
        elif piece:
            unread = item.t - piece[-1][0]
    if piece:
        yield piece


def _blocks(span: Sequence[Decision], labels: Sequence[str], top: float, x: Callable[[float], float]) -> list[str]:
    parts = []
    begin = 0
    for end in range(1, len(labels) + 1):
        if end < len(labels) and labels[end] == labels[begin]:
            continue
        label = labels[begin]
        left, right = x(span[begin].t), x(span[min(end, len(labels) - 1)].t)
        fill, ink = ("#000", "#999") if label in DARK else (_colour(label), "#000")
        parts.append(
            f'<rect x="{left:.1f}" y="{top}" width="{max(right - left, 0.5):.1f}" height="{BAND}" fill="{fill}" '
            f'stroke="#555" stroke-width="0.5"><title>{_show(label)} {span[begin].t - span[0].t:.2f} s</title></rect>'
        )
        word = label.replace("_", " ")
        if right - left > LETTER * len(word) + 4:
            middle = f'x="{(left + right) / 2:.1f}" y="{top + BAND / 2 + 5}"'
            parts.append(f'<text {middle} fill="{ink}" text-anchor="middle">{_show(word)}</text>')
        begin = end
    return parts


def _ticks(first: float, last: float, height: float, scale: float) -> list[str]:
    step = next((step for step in STEPS if step * scale >= 60), max(STEPS[-1], last - first))
    parts = []
    for number in range(math.ceil(first / step), math.floor(last / step) + 1):
        at = LEFT + (number * step - first) * scale
        parts.append(
            f'<line x1="{at:.1f}" x2="{at:.1f}" y1="{TOP}" y2="{height - 24}" stroke="#fff" stroke-opacity="0.12"/>'
        )
        parts.append(f'<text x="{at:.1f}" y="{height - 8}" fill="#ddd" text-anchor="middle">{number * step:g} s</text>')
    return parts
