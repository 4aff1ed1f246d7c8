"""Letters of strokes, which no font file is needed for: words, lines and pages of a display."""

from __future__ import annotations

import math
import unicodedata

import cv2
import numpy as np

from edge.drawing.strokes import Mask, Point, Polyline, draw_stroke, finer_by

LEAST_LINE = 12  # pixels: no word is drawn that cannot be read
# OpenCV's letters are Hershey's, of ASCII only. At scale 1 its capitals are 21 units high, with the dot of an i 22, its
# small letters 14, its tails 7; one more keeps the display's edge free.
_FONT = cv2.FONT_HERSHEY_SIMPLEX
_CAPITAL, _SMALL, _TAIL, _MARK = 22.0, 14.0, 8.0, 7.0
_LETTER_STROKE = 3.0
# What is above a letter, about its middle, y up from its top; a cedilla from the line down.
_MARKS: dict[str, tuple[tuple[Point, ...], ...]] = {
    "\N{COMBINING GRAVE ACCENT}": (((-3.5, 8), (1.5, 4)),),
    "\N{COMBINING ACUTE ACCENT}": (((3.5, 8), (-1.5, 4)),),
    "\N{COMBINING CIRCUMFLEX ACCENT}": (((-4, 4), (0, 8), (4, 4)),),
    "\N{COMBINING TILDE}": (((-5, 4.5), (-3, 6.5), (-1, 6.5), (1, 5), (3, 5), (5, 7)),),
    "\N{COMBINING DIAERESIS}": (((-4, 5.5), (-4, 6)), ((4, 5.5), (4, 6))),
    "\N{COMBINING CEDILLA}": (((0, 0), (2, -3), (0, -6), (-3, -6)),),
}
_SHARP_S: tuple[Point, ...] = (
    (3, 0), (3, 16), (4, 19), (7, 21), (10, 21), (13, 19), (13, 16), (11, 13), (8, 12),
    (12, 11), (14, 8), (14, 4), (12, 1), (9, 0), (7, 0.5),
)  # fmt: skip
_SHARP_S_WIDTH = 18.0


def draw_word(text: str, width: int, height: int, *, crisp: bool) -> Mask:
    """Draw one line of text in the middle of uint8 (height, width), as large as height and width let it be.

    `crisp` draws it on whole pixels, for 1 bit: what is thin there and lies between pixels is lost or runs together.
    """
    letters = _letters(text)
    units = sum(_advance(base) for base, _ in letters)
    above = _CAPITAL + _MARK * any(marks and base.isupper() for base, marks in letters)
    high = above + _TAIL + _LETTER_STROKE
    finer = 1 if crisp else finer_by(height)
    scale = min(height / high, 0.96 * width / units) * finer
    if crisp:
        scale = max(math.floor(scale * _SMALL), 1) / _SMALL
    fine = np.zeros((height * finer, width * finer), np.uint8)
    x = (width * finer - units * scale) / 2
    line = math.floor((height * finer - high * scale) / 2 + (above + _LETTER_STROKE / 2) * scale)
    stroke = max(1, math.floor(_LETTER_STROKE * scale) if crisp else round(_LETTER_STROKE * scale))
    for base, marks in letters:
        left, end = round(x), round(x + _advance(base) * scale)
        if base == "ß":
            draw_stroke(fine, Polyline(tuple((px, -py) for px, py in _SHARP_S)), scale, (left, line), stroke)
        else:
            cv2.putText(fine, base, (left, line), _FONT, scale, 255, stroke, cv2.LINE_8)
        top = _CAPITAL if base.isupper() else _SMALL
        if marks and base in "ij":  # the dot gives way
            fine[: round(line - (_SMALL + 2) * scale), left:end] = 0
        for mark in marks:
            start = 0.0 if mark == "\N{COMBINING CEDILLA}" else top
            for points in _MARKS[mark]:
                up = Polyline(tuple((px, -(start + py)) for px, py in points))
                draw_stroke(fine, up, scale, ((left + end) // 2, line), stroke)
        x += _advance(base) * scale
    return cv2.resize(fine, (width, height), interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False)


def draw_line(text: str, height: int) -> Mask:
    """Draw one line of text as uint8 (height, as wide as it is)."""
    width = math.ceil(_wide(text) * height / (_CAPITAL + _MARK + _TAIL + _LETTER_STROKE) / 0.9)
    return draw_word(text, max(1, width), height, crisp=False)


def draw_page(text: str, width: int, height: int, *, crisp: bool) -> Mask:
    """Draw text in lines on uint8 (height, width), as large as all of it fits; what never does is cut."""
    lines: list[str] = []
    high = height
    for count in range(1, max(1, height // LEAST_LINE) + 1):
        high = height // count
        lines = _wrap(text, 0.96 * width * (_CAPITAL + _TAIL + _LETTER_STROKE) / high)  # as draw_word has it
        if len(lines) <= count:
            break
    else:
        lines = lines[: height // high]
    page: Mask = np.zeros((height, width), np.uint8)
    top = (height - len(lines) * high) // 2
    for number, line in enumerate(lines):
        page[top + number * high : top + (number + 1) * high] = draw_word(line, width, high, crisp=crisp)
    return page


def _wrap(text: str, units: float) -> list[str]:
    """Break text into lines of so many of the font's units, between words where they are not too long for that."""
    lines = [""]
    for rest in text.split():
        if lines[-1] and _wide(f"{lines[-1]} {rest}") <= units:
            lines[-1] += f" {rest}"
            continue
        lines += [""] if lines[-1] else []
        for letter in rest:
            if lines[-1] and _wide(lines[-1] + letter) > units:
                lines.append("")
            lines[-1] += letter
    return lines


def _wide(text: str) -> float:
    return sum(_advance(base) for base, _ in _letters(text))


def _letters(text: str) -> list[tuple[str, str]]:
    """Return each letter with its marks; what the font lacks becomes a question mark."""
    letters: list[tuple[str, str]] = []
    for char in unicodedata.normalize("NFD", text):
        if char in _MARKS and letters:
            letters[-1] = (letters[-1][0], letters[-1][1] + char)
        elif not unicodedata.combining(char):
            letters.append((char if char == "ß" or " " <= char <= "~" else "?", ""))
    return letters


def _advance(base: str) -> float:
    """Return how far the next letter is, in the font's units."""
    if base == "ß":
        return _SHARP_S_WIDTH
    (width, _), _ = cv2.getTextSize(base, _FONT, 16.0, 1)  # at a size where its rounding does not matter
    return (width - 1) / 16.0
