"""A cue as a picture: glyphs of lines, arcs and discs, and the whole display with glyph, word and arrow."""

from __future__ import annotations

import math
import unicodedata
from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
import numpy.typing as npt

from edge.config import LookSettings
from edge.types import Band, Cue, Side
from edge.words import is_dark, word

Mask = npt.NDArray[np.uint8]  # (height, width)
Canvas = npt.NDArray[np.uint8]  # (height, width), or RGB (height, width, 3)
Colours = Literal["mono", "gray", "rgb"]
Colour = tuple[int, int, int]  # RGB
Point = tuple[float, float]

STROKE = 10.0  # hundredths of a glyph's side: 3 pixels at 32, which a half mirror and a 1-bit display still show
WORD_SHARE = 0.25  # of the display's shorter side: the word's line
LEAST_LINE = 12  # pixels: no word is drawn that cannot be read
GLYPH_SHARE = 0.92  # of the room above it
ARROW_SHARE = 0.16  # of the display's width, on each side
ARROW_STROKE = 16.0  # hundredths of its side
_SHIFT = 4  # binary digits of a pixel's fraction that OpenCV draws by


@dataclass(frozen=True, slots=True)
class Line:
    """A line through points."""

    points: tuple[Point, ...]


@dataclass(frozen=True, slots=True)
class Arc:
    """A part of an ellipse about (x, y), clockwise as seen from `start_deg` to `end_deg`, 0 being to the right."""

    x: float
    y: float
    rx: float
    ry: float
    start_deg: float = 0.0
    end_deg: float = 360.0

    @property
    def whole(self) -> bool:
        """Whether it is a closed ellipse."""
        return self.end_deg - self.start_deg >= 360

    def at(self, deg: float) -> Point:
        """Return the point at an angle."""
        angle = math.radians(deg)
        return self.x + self.rx * math.cos(angle), self.y + self.ry * math.sin(angle)


@dataclass(frozen=True, slots=True)
class Disc:
    """A filled circle about (x, y)."""

    x: float
    y: float
    r: float


Part = Line | Arc | Disc


def _both(*points: Point) -> tuple[Line, Line]:
    """Return a line and its mirror image: what is on both sides of a face."""
    return Line(points), Line(tuple((100 - x, y) for x, y in points))


_EYES = (Disc(28, 38, 8.5), Disc(72, 38, 8.5))
_BROWS_RAISED = (Arc(27, 24, 18, 16, 205, 335), Arc(73, 24, 18, 16, 205, 335))

# In a square of 100 by 100, y down. A face's features are as large as the square allows, without its outline: the
# outline alone is `face`.
GLYPHS: dict[str, tuple[Part, ...]] = {
    "smile": (*_EYES, Arc(50, 46, 38, 40, 15, 165)),
    "surprise": (*_BROWS_RAISED, Disc(28, 40, 8.5), Disc(72, 40, 8.5), Arc(50, 75, 19, 19)),
    "upset": (*_both((12, 22), (40, 38)), Arc(50, 92, 32, 34, 205, 335)),
    "neutral": (*_EYES, Line(((20, 74), (80, 74)))),
    "scowl": (Line(((8, 12), (50, 34), (92, 12))), Disc(27, 48, 8.5), Disc(73, 48, 8.5), Line(((34, 82), (66, 82)))),
    "grimace": (
        *_both((10, 18), (36, 34), (10, 50)),
        Line(((8, 86), (22, 70), (36, 86), (50, 70), (64, 86), (78, 70), (92, 86))),
    ),
    "wide_eyed": (
        Arc(24, 34, 18, 26),
        Arc(76, 34, 18, 26),
        Disc(24, 34, 7),
        Disc(76, 34, 7),
        Line(((38, 86), (62, 86))),
    ),
    "frown": (*_both((8, 32), (38, 12)), Disc(30, 44, 8.5), Disc(70, 44, 8.5), Arc(50, 98, 36, 30, 200, 340)),
    "unsure": (Arc(50, 31, 23, 22, 185, 395), Line(((68.8, 43.6), (50, 56), (50, 66))), Disc(50, 90, 8)),
    "no_camera": (
        Line(((8, 30), (30, 30), (37, 14), (63, 14), (70, 30), (92, 30), (92, 88), (8, 88), (8, 30))),
        Line(((36, 45), (64, 73))),
        Line(((64, 45), (36, 73))),
    ),
    "paused": _both((29, 16), (37, 16), (37, 84), (29, 84), (29, 16)),
    "stopped": (Line(((50, 8), (94, 90), (6, 90), (50, 8))), Line(((50, 44), (50, 58))), Disc(50, 73, 5)),
    "other": (Arc(50, 50, 43, 43), *(Disc(x, 50, 8) for x in (27, 50, 73))),
}
NOTICE = "notice"  # text in the place of a glyph
MARK = "mark"  # that it works though there is nothing to show: a dot in a corner
MARK_SHARE = 0.05  # of the display's shorter side
FACE = "face"  # that somebody is there: an outline, between corners that tell how near
_FACE_RADIUS: dict[Band | None, float] = {"near": 38.0, "middle": 26.0, "far": 13.0, None: 40.0}
_ARROW: dict[Side, Line] = {
    "left": Line(((66, 14), (30, 50), (66, 86))),
    "right": Line(((34, 14), (70, 50), (34, 86))),
}

# The glyph of each expression: of the small vocabulary, and of the model's own classes.
EXPRESSION_GLYPHS = {
    "smile": "smile",
    "surprise": "surprise",
    "upset": "upset",
    "neutral": "neutral",
    "happy": "smile",
    "angry": "scowl",
    "disgust": "grimace",
    "fear": "wide_eyed",
    "sad": "frown",
}

# Okabe and Ito's colours, which stay apart under every common colour blindness; not their blue, which a half mirror
# swallows. Colour only repeats what shape and word say.
WHITE: Colour = (230, 230, 230)
COLOURS: dict[str, Colour] = {
    "smile": (230, 159, 0),
    "surprise": (86, 180, 233),
    "upset": (213, 94, 0),
    "scowl": (213, 94, 0),
    "grimace": (0, 158, 115),
    "wide_eyed": (240, 228, 66),
    "frown": (204, 121, 167),
    "unsure": (160, 160, 160),
}


@dataclass(frozen=True, slots=True)
class Plan:
    """All that a picture depends on besides its size: equal plans are equal pictures. No glyph is dark."""

    glyph: str | None
    band: Band | None = None
    word: str = ""
    arrow: Side | None = None  # the room for it is kept in `arrows`
    arrows: bool = False
    words: bool = False
    text: str = ""  # in the place of all that


def glyph_name(cue: Cue, look: LookSettings) -> str | None:
    """Return the name of a cue's glyph: one of GLYPHS or `face`; None where the wearer is shown nothing."""
    if is_dark(cue, look):
        return None
    if cue.expression is not None:
        return EXPRESSION_GLYPHS.get(cue.expression, "other")
    return FACE if cue.reason == "new" else cue.state


def cue_colour(cue: Cue) -> Colour:
    """Return a cue's colour, white where it has none of its own."""
    return COLOURS.get(EXPRESSION_GLYPHS.get(cue.expression or "", cue.expression or cue.state), WHITE)


def plan_cue(cue: Cue, look: LookSettings, notice: str = "") -> Plan:
    """Return what is drawn for a cue, or for a notice in its place.

    Confidence and age are not part of it, so that nothing flickers with them.
    """
    if notice:
        return Plan(NOTICE, text=notice)
    glyph = glyph_name(cue, look)
    if glyph is None:
        return Plan(MARK if look.mark else None)
    return Plan(
        glyph,
        cue.distance if glyph == FACE else None,
        word(cue, look) if look.words else "",
        cue.side if look.arrow and cue.side in _ARROW else None,
        look.arrow,
        look.words,
    )


def draw_cue(cue: Cue, width: int, height: int, look: LookSettings, colours: Colours) -> Canvas:
    """Draw what the wearer sees of a cue: uint8 (height, width), or RGB (height, width, 3); black where dark.

    `mono` has only 0 and 255.
    """
    return draw_plan(plan_cue(cue, look), width, height, colours)


def draw_plan(plan: Plan, width: int, height: int, colours: Colours) -> Canvas:
    """Draw a plan: uint8 (height, width), or RGB (height, width, 3)."""
    glyph, rest = draw_layers(plan, width, height, crisp=colours == "mono")
    if colours == "rgb":
        lit = _shades(COLOURS.get(plan.glyph or "", WHITE))[glyph]
        return np.maximum(lit, _shades(WHITE)[rest], out=lit)
    whole = np.maximum(glyph, rest)
    return np.where(whole >= 128, 255, 0).astype(np.uint8) if colours == "mono" else whole


def draw_layers(plan: Plan, width: int, height: int, *, crisp: bool) -> tuple[Mask, Mask]:
    """Draw a plan as coverage, two of uint8 (height, width): the glyph, and what is white: word, arrow, text.

    `crisp` draws letters on whole pixels.
    """
    glyph: Mask = np.zeros((height, width), np.uint8)
    if plan.text:
        return glyph, _draw_page(plan.text, width, height, crisp=crisp)
    rest = np.zeros((height, width), np.uint8)
    if plan.glyph == MARK:
        side = max(3, round(min(width, height) * MARK_SHARE))
        rest[-side:, -side:] = _rasterise((Disc(50, 50, 50),), side)
    elif plan.glyph is not None:
        line = round(min(width, height) * WORD_SHARE) if plan.words else 0
        line = line if line >= LEAST_LINE else 0
        edge = round(width * ARROW_SHARE) if plan.arrows else 0
        side = round(min(height - line, width - 2 * edge) * GLYPH_SHARE)
        top, left = (height - line - side) // 2, (width - side) // 2
        glyph[top : top + side, left : left + side] = draw_glyph(plan.glyph, side, band=plan.band)
        if plan.arrow is not None:
            arrow = _rasterise((_ARROW[plan.arrow],), edge, ARROW_STROKE)
            top, left = (height - line - edge) // 2, 0 if plan.arrow == "left" else width - edge
            rest[top : top + edge, left : left + edge] = arrow
        if plan.word and line:
            rest[height - line :] = _draw_word(plan.word, width, line, crisp=crisp)
    return glyph, rest


def _shades(colour: Colour) -> Canvas:
    """Return a colour by coverage: uint8 (256, 3)."""
    shades: Canvas = np.rint(np.outer(np.arange(256) / 255, colour)).astype(np.uint8)
    return shades


def draw_glyph(name: str, side: int, *, band: Band | None = None) -> Mask:
    """Draw a glyph as coverage: uint8 (side, side), 0 to 255; `band` is of `face` only."""
    return _rasterise(_parts(name, band), side)


def glyph_svg(name: str, band: Band | None = None) -> str:
    """Return a glyph as SVG elements for a viewBox of 0 0 100 100, in currentColor."""
    stroke = (
        f'fill="none" stroke="currentColor" stroke-width="{STROKE:g}" stroke-linecap="round" stroke-linejoin="round"'
    )
    elements = []
    for part in _parts(name, band):
        if isinstance(part, Disc):
            elements.append(f'<circle cx="{part.x:g}" cy="{part.y:g}" r="{part.r:g}" fill="currentColor"/>')
        elif isinstance(part, Line):
            points = " ".join(f"{x:g},{y:g}" for x, y in part.points)
            elements.append(f'<polyline points="{points}" {stroke}/>')
        elif part.whole:
            elements.append(f'<ellipse cx="{part.x:g}" cy="{part.y:g}" rx="{part.rx:g}" ry="{part.ry:g}" {stroke}/>')
        else:
            (x0, y0), (x1, y1) = part.at(part.start_deg), part.at(part.end_deg)
            large = int(part.end_deg - part.start_deg > 180)
            elements.append(
                f'<path d="M{x0:.2f} {y0:.2f}A{part.rx:g} {part.ry:g} 0 {large} 1 {x1:.2f} {y1:.2f}" {stroke}/>'
            )
    return "".join(elements)


def _parts(name: str, band: Band | None) -> tuple[Part, ...]:
    if name != FACE:
        return GLYPHS[name]
    radius = _FACE_RADIUS[band]
    outline = Arc(50, 50, 0.76 * radius, radius)
    if band is None:
        return (outline,)
    return (outline, *_both((6, 26), (6, 6), (26, 6)), *_both((6, 74), (6, 94), (26, 94)))


def _finer(side: int) -> int:
    """Return how many times finer than the picture is drawn: eight times where pixels are few."""
    return 8 if side <= 128 else 4 if side <= 512 else 2


def _rasterise(parts: tuple[Part, ...], side: int, stroke: float = STROKE) -> Mask:
    finer = _finer(side)
    scale = side * finer / 100
    fine = np.zeros((side * finer, side * finer), np.uint8)
    for part in parts:  # OpenCV counts from the middle of the first pixel, we from its edge
        if isinstance(part, Disc):
            centre = _fixed((part.x * scale - 0.5, part.y * scale - 0.5))
            cv2.circle(fine, centre, round(part.r * scale * (1 << _SHIFT)), 255, -1, cv2.LINE_8, _SHIFT)
        else:
            _stroke(fine, part, scale, (-0.5, -0.5), max(1, round(stroke * scale)))
    return cv2.resize(fine, (side, side), interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False)


def _stroke(fine: Mask, part: Line | Arc, scale: float, origin: Point, width: int) -> None:
    whole = isinstance(part, Arc) and part.whole
    if isinstance(part, Line):
        points = part.points
    else:
        steps = np.linspace(part.start_deg, part.end_deg, 60, endpoint=not whole)
        points = tuple(part.at(float(deg)) for deg in steps)
    fixed = np.array([_fixed((origin[0] + x * scale, origin[1] + y * scale)) for x, y in points], np.int32)
    cv2.polylines(fine, [fixed], whole, 255, width, cv2.LINE_8, _SHIFT)


def _fixed(point: Point) -> tuple[int, int]:
    return round(point[0] * (1 << _SHIFT)), round(point[1] * (1 << _SHIFT))


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


def _draw_word(text: str, width: int, height: int, *, crisp: bool) -> Mask:
    """Draw one line of text in the middle of uint8 (height, width), as large as height and width let it be.

    `crisp` draws it on whole pixels, for 1 bit: what is thin there and lies between pixels is lost or runs together.
    """
    letters = _letters(text)
    units = sum(_advance(base) for base, _ in letters)
    above = _CAPITAL + _MARK * any(marks and base.isupper() for base, marks in letters)
    high = above + _TAIL + _LETTER_STROKE
    finer = 1 if crisp else _finer(height)
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
            _stroke(fine, Line(tuple((px, -py) for px, py in _SHARP_S)), scale, (left, line), stroke)
        else:
            cv2.putText(fine, base, (left, line), _FONT, scale, 255, stroke, cv2.LINE_8)
        top = _CAPITAL if base.isupper() else _SMALL
        if marks and base in "ij":  # the dot gives way
            fine[: round(line - (_SMALL + 2) * scale), left:end] = 0
        for mark in marks:
            start = 0.0 if mark == "\N{COMBINING CEDILLA}" else top
            for points in _MARKS[mark]:
                up = Line(tuple((px, -(start + py)) for px, py in points))
                _stroke(fine, up, scale, ((left + end) // 2, line), stroke)
        x += _advance(base) * scale
    return cv2.resize(fine, (width, height), interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False)


def draw_line(text: str, height: int) -> Mask:
    """Draw one line of text as uint8 (height, as wide as it is)."""
    width = math.ceil(_wide(text) * height / (_CAPITAL + _MARK + _TAIL + _LETTER_STROKE) / 0.9)
    return _draw_word(text, max(1, width), height, crisp=False)


def _draw_page(text: str, width: int, height: int, *, crisp: bool) -> Mask:
    """Draw text in lines on uint8 (height, width), as large as all of it fits; what never does is cut."""
    lines: list[str] = []
    high = height
    for count in range(1, max(1, height // LEAST_LINE) + 1):
        high = height // count
        lines = _wrap(text, 0.96 * width * (_CAPITAL + _TAIL + _LETTER_STROKE) / high)  # as _draw_word has it
        if len(lines) <= count:
            break
    else:
        lines = lines[: height // high]
    page: Mask = np.zeros((height, width), np.uint8)
    top = (height - len(lines) * high) // 2
    for number, line in enumerate(lines):
        page[top + number * high : top + (number + 1) * high] = _draw_word(line, width, high, crisp=crisp)
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
