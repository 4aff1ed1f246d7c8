"""A cue as a picture: glyphs of lines, arcs and discs, and the whole display with glyph, word and arrow."""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from edge.drawing.lettering import LEAST_LINE, draw_page, draw_word
from edge.drawing.strokes import STROKE, Arc, Disc, Mask, Part, Point, Polyline, rasterise
from edge.locale.words import is_dark, word
from edge.settings import LookSettings
from edge.types import Band, Cue, Side

Canvas = npt.NDArray[np.uint8]  # (height, width), or RGB (height, width, 3)
Colours = Literal["mono", "gray", "rgb"]
Colour = tuple[int, int, int]  # RGB

WORD_SHARE = 0.25  # of the display's shorter side: the word's line
GLYPH_SHARE = 0.92  # of the room above it
ARROW_SHARE = 0.16  # of the display's width, on each side
ARROW_STROKE = 16.0  # hundredths of its side


def _both(*points: Point) -> tuple[Polyline, Polyline]:
    """Return a line and its mirror image: what is on both sides of a face."""
    return Polyline(points), Polyline(tuple((100 - x, y) for x, y in points))


_EYES = (Disc(28, 38, 8.5), Disc(72, 38, 8.5))
_BROWS_RAISED = (Arc(27, 24, 18, 16, 205, 335), Arc(73, 24, 18, 16, 205, 335))

# In a square of 100 by 100, y down. A face's features are as large as the square allows, without its outline: the
# outline alone is `face`.
GLYPHS: dict[str, tuple[Part, ...]] = {
    "smile": (*_EYES, Arc(50, 46, 38, 40, 15, 165)),
    "surprise": (*_BROWS_RAISED, Disc(28, 40, 8.5), Disc(72, 40, 8.5), Arc(50, 75, 19, 19)),
    "upset": (*_both((12, 22), (40, 38)), Arc(50, 92, 32, 34, 205, 335)),
    "neutral": (*_EYES, Polyline(((20, 74), (80, 74)))),
    "scowl": (
        Polyline(((8, 12), (50, 34), (92, 12))),
        Disc(27, 48, 8.5),
        Disc(73, 48, 8.5),
        Polyline(((34, 82), (66, 82))),
    ),
    "grimace": (
        *_both((10, 18), (36, 34), (10, 50)),
        Polyline(((8, 86), (22, 70), (36, 86), (50, 70), (64, 86), (78, 70), (92, 86))),
    ),
    "wide_eyed": (
        Arc(24, 34, 18, 26),
        Arc(76, 34, 18, 26),
        Disc(24, 34, 7),
        Disc(76, 34, 7),
        Polyline(((38, 86), (62, 86))),
    ),
    "frown": (*_both((8, 32), (38, 12)), Disc(30, 44, 8.5), Disc(70, 44, 8.5), Arc(50, 98, 36, 30, 200, 340)),
    "unsure": (Arc(50, 31, 23, 22, 185, 395), Polyline(((68.8, 43.6), (50, 56), (50, 66))), Disc(50, 90, 8)),
    "no_camera": (
        Polyline(((8, 30), (30, 30), (37, 14), (63, 14), (70, 30), (92, 30), (92, 88), (8, 88), (8, 30))),
        Polyline(((36, 45), (64, 73))),
        Polyline(((64, 45), (36, 73))),
    ),
    "paused": _both((29, 16), (37, 16), (37, 84), (29, 84), (29, 16)),
    "stopped": (Polyline(((50, 8), (94, 90), (6, 90), (50, 8))), Polyline(((50, 44), (50, 58))), Disc(50, 73, 5)),
    "other": (Arc(50, 50, 43, 43), *(Disc(x, 50, 8) for x in (27, 50, 73))),
}
NOTICE = "notice"  # text in the place of a glyph
MARK = "mark"  # that it works though there is nothing to show: a dot in a corner
MARK_SHARE = 0.05  # of the display's shorter side
FACE = "face"  # that somebody is there: an outline, between corners that show how near
_FACE_RADIUS: dict[Band | None, float] = {"near": 38.0, "middle": 26.0, "far": 13.0, None: 40.0}
_ARROW: dict[Side, Polyline] = {
    "left": Polyline(((66, 14), (30, 50), (66, 86))),
    "right": Polyline(((34, 14), (70, 50), (34, 86))),
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


class Plan(NamedTuple):
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
        return glyph, draw_page(plan.text, width, height, crisp=crisp)
    rest = np.zeros((height, width), np.uint8)
    if plan.glyph == MARK:
        side = max(3, round(min(width, height) * MARK_SHARE))
        rest[-side:, -side:] = rasterise((Disc(50, 50, 50),), side)
    elif plan.glyph is not None:
        line = round(min(width, height) * WORD_SHARE) if plan.words else 0
        line = line if line >= LEAST_LINE else 0
        edge = round(width * ARROW_SHARE) if plan.arrows else 0
        side = round(min(height - line, width - 2 * edge) * GLYPH_SHARE)
        top, left = (height - line - side) // 2, (width - side) // 2
        glyph[top : top + side, left : left + side] = draw_glyph(plan.glyph, side, band=plan.band)
        if plan.arrow is not None:
            arrow = rasterise((_ARROW[plan.arrow],), edge, ARROW_STROKE)
            top, left = (height - line - edge) // 2, 0 if plan.arrow == "left" else width - edge
            rest[top : top + edge, left : left + edge] = arrow
        if plan.word and line:
            rest[height - line :] = draw_word(plan.word, width, line, crisp=crisp)
    return glyph, rest


def _shades(colour: Colour) -> Canvas:
    """Return a colour by coverage: uint8 (256, 3)."""
    shades: Canvas = np.rint(np.outer(np.arange(256) / 255, colour)).astype(np.uint8)
    return shades


def draw_glyph(name: str, side: int, *, band: Band | None = None) -> Mask:
    """Draw a glyph as coverage: uint8 (side, side), 0 to 255; `band` is of `face` only."""
    return rasterise(_parts(name, band), side)


def glyph_svg(name: str, band: Band | None = None) -> str:
    """Return a glyph as SVG elements for a viewBox of 0 0 100 100, in currentColor."""
    stroke = (
        f'fill="none" stroke="currentColor" stroke-width="{STROKE:g}" stroke-linecap="round" stroke-linejoin="round"'
    )
    elements = []
    for part in _parts(name, band):
        if isinstance(part, Disc):
            elements.append(f'<circle cx="{part.x:g}" cy="{part.y:g}" r="{part.r:g}" fill="currentColor"/>')
        elif isinstance(part, Polyline):
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
