"""What the wearer sees is what was looked at and found good; CUELENS_UPDATE_GOLDEN=1 draws it again.

A sheet for each display class and language, and one of all glyphs as the colour-blind see them.
"""

from __future__ import annotations

import itertools
import os
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from edge.drawing.glyphs import COLOURS, FACE, GLYPHS, WHITE, Canvas, Colours, draw_cue, draw_glyph
from edge.locale import LANGUAGES
from edge.settings import LookSettings
from edge.types import Band, Cue

FOLDER = Path(__file__).with_name("cues")
COLUMNS = 4
# By how much a pixel must differ to count, and which share of a tile's may: OpenCV 4.11 and 4.14 round letters
# differently, in 1 bit by up to 0.43 % of the tile.
UNLIKE, SHARE = 90, 0.008
STEP = 63.75  # between the five levels that are stored of each colour: the repository is not for soft edges
CLASSES: dict[str, tuple[int, int, Colours]] = {
    "oled": (128, 64, "mono"),
    "small": (128, 128, "rgb"),
    "hdmi": (640, 400, "rgb"),
}
TILES = {"oled": (128, 64), "small": (128, 128), "hdmi": (320, 200)}
EXPRESSIONS = ("smile", "surprise", "upset", "neutral", "angry", "disgust", "fear", "sad")
CUES = (
    *(Cue("expression", name, 0.8, 0.0) for name in EXPRESSIONS),
    Cue("expression", "contempt", 0.8, 0.0),
    Cue("expression", "smile", 0.8, 0.0, None, "near", "left"),
    Cue("unsure", None, 0.3, 0.0, "torn", "near", "right"),
    *(Cue("unsure", None, 0.1, 0.0, "new", band) for band in ("near", "middle", "far")),
    Cue("no_camera", None, 0.0, 0.0),
    Cue("paused", None, 0.0, 0.0),
)

# Simulated colour vision, on linear light: Machado, Oliveira, Fernandes (IEEE TVCG 15, 2009), severity 1.
VISION = {
    "all cones": np.eye(3),
    "protanopia": np.array(
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
    ),
    "deuteranopia": np.array(
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
    ),
    "tritanopia": np.array(
        [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]]
    ),
    "luminance only": np.tile([0.2126, 0.7152, 0.0722], (3, 1)),  # of sRGB's primaries, IEC 61966-2-1
}


def linear(picture: Canvas) -> npt.NDArray[np.float64]:
    """Return sRGB uint8 as linear light, 0 to 1 (IEC 61966-2-1)."""
    value = picture / 255
    return np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)


def seen(picture: Canvas, vision: str) -> Canvas:
    """Return an RGB picture as somebody with that vision sees it."""
    light = np.clip(linear(picture) @ VISION[vision].T, 0, 1)
    value = np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
    return np.rint(255 * value).astype(np.uint8)


def brightness(picture: Canvas) -> npt.NDArray[np.float64]:
    """Return the relative luminance of an RGB picture, 0 to 1."""
    light: npt.NDArray[np.float64] = linear(picture) @ np.array([0.2126, 0.7152, 0.0722])
    return light


def all_glyphs() -> list[tuple[str, Band | None]]:
    bands: tuple[Band, ...] = ("near", "middle", "far")
    return [*((name, None) for name in GLYPHS), (FACE, None), *((FACE, band) for band in bands)]


def coloured(name: str, band: Band | None, side: int) -> Canvas:
    """Draw a glyph in its colour: uint8 (side, side, 3)."""
    return np.rint(draw_glyph(name, side, band=band)[..., None] / 255 * COLOURS.get(name, WHITE)).astype(np.uint8)


def draw_sheet(display: str, language: str) -> Canvas:
    """Draw all cues as a display shows them, the large one at half its size, COLUMNS a row: gray or RGB."""
    width, height, colours = CLASSES[display]
    look = LookSettings(language=language, neutral=True, arrow=True)
    tiles = [draw_cue(cue, width, height, look, colours) for cue in CUES]
    if display == "hdmi":
        tiles = [cv2.resize(tile, TILES[display], interpolation=cv2.INTER_AREA).astype(np.uint8) for tile in tiles]
    return coarse(np.vstack([np.hstack(tiles[i : i + COLUMNS]) for i in range(0, len(tiles), COLUMNS)]))


def coarse(picture: Canvas) -> Canvas:
    """Return a picture with the levels that are stored."""
    return np.rint(np.rint(picture / STEP) * STEP).astype(np.uint8)


def draw_visions() -> Canvas:
    """Draw a row of all glyphs at 32 pixels in 1 bit, and one for each vision: RGB."""
    rows = [
        [
            np.repeat(np.where(draw_glyph(name, 32, band=band) >= 128, 255, 0)[..., None], 3, axis=2)
            for name, band in all_glyphs()
        ]
    ]
    rows += [[seen(coloured(*glyph, 32), vision) for glyph in all_glyphs()] for vision in VISION]
    padded = [[np.pad(tile, ((4, 4), (4, 4), (0, 0))) for tile in row] for row in rows]
    return coarse(np.vstack([np.hstack(row) for row in padded]))


def unlike(golden: Canvas, drawn: Canvas, tile: tuple[int, int]) -> list[tuple[int, int]]:
    """Return the row and column of each tile (width, height) in which the two differ."""
    if golden.shape != drawn.shape:
        return [(-1, -1)]
    width, height = tile
    other = np.abs(golden.astype(int) - drawn) > UNLIKE
    rows, columns = drawn.shape[0] // height, drawn.shape[1] // width
    return [
        (row, column)
        for row, column in itertools.product(range(rows), range(columns))
        if other[row * height : (row + 1) * height, column * width : (column + 1) * width].mean() > SHARE
    ]


def check(name: str, drawn: Canvas, tile: tuple[int, int], folder: Path) -> None:
    """Compare with the golden picture; where they differ, leave both and the difference side by side in `folder`."""
    path = FOLDER / name
    flags = cv2.IMREAD_GRAYSCALE if drawn.ndim == 2 else cv2.IMREAD_COLOR
    if os.environ.get("CUELENS_UPDATE_GOLDEN"):
        picture = drawn if drawn.ndim == 2 else cv2.cvtColor(drawn, cv2.COLOR_RGB2BGR)
        bilevel = int(set(np.unique(drawn)) <= {0, 255} and drawn.ndim == 2)
        cv2.imwrite(str(path), picture, [cv2.IMWRITE_PNG_COMPRESSION, 9, cv2.IMWRITE_PNG_BILEVEL, bilevel])
    stored = cv2.imread(str(path), flags)
    assert stored is not None, f"{path} is missing; CUELENS_UPDATE_GOLDEN=1 draws it"
    golden = stored if drawn.ndim == 2 else cv2.cvtColor(stored, cv2.COLOR_BGR2RGB)
    different = unlike(golden.astype(np.uint8), drawn, tile)
    if different:
        beside = folder / f"golden-drawn-difference-{name}"
        cv2.imwrite(str(beside), side_by_side(golden.astype(np.uint8), drawn))
        pytest.fail(f"{name}: not as it was at (row, column) {different}; see {beside}, or CUELENS_UPDATE_GOLDEN=1")


def side_by_side(golden: Canvas, drawn: Canvas) -> Canvas:
    """Return golden, drawn and their difference in one BGR picture; the difference only where both are of one size."""
    colour = cv2.COLOR_GRAY2BGR if drawn.ndim == 2 else cv2.COLOR_RGB2BGR
    pictures = [cv2.cvtColor(golden, colour), cv2.cvtColor(drawn, colour)]
    if golden.shape == drawn.shape:
        pictures.append(cv2.absdiff(*pictures))
    high = max(picture.shape[0] for picture in pictures)
    return np.hstack([np.pad(p, ((0, high - p.shape[0]), (0, 8), (0, 0)), constant_values=96) for p in pictures])


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("display", CLASSES)
def test_every_glyph_and_word_looks_as_it_did(display: str, language: str, tmp_path: Path) -> None:
    check(f"{display}-{language}.png", draw_sheet(display, language), TILES[display], tmp_path)


def test_every_glyph_looks_to_the_colour_blind_as_it_did(tmp_path: Path) -> None:
    check("vision.png", draw_visions(), (40, 40), tmp_path)


def test_a_golden_picture_that_differs_is_shown_beside_what_is_drawn(tmp_path: Path) -> None:
    drawn = draw_sheet("oled", "en")
    changed = drawn.copy()
    changed[64:128, 128:256] = draw_cue(CUES[4], 128, 64, LookSettings(language="de", arrow=True), "mono")
    assert unlike(drawn, drawn, (128, 64)) == []
    assert unlike(drawn, changed, (128, 64)) == [(1, 1)]
    assert unlike(drawn, changed[:-1], (128, 64)) == [(-1, -1)]
    if not os.environ.get("CUELENS_UPDATE_GOLDEN"):
        with pytest.raises(pytest.fail.Exception, match=r"oled-en\.png: not as it was at \(row, column\) \[\(1, 1\)\]"):
            check("oled-en.png", changed, (128, 64), tmp_path)
        beside = cv2.imread(str(next(tmp_path.iterdir())))
        assert beside is not None
        assert beside.shape[1] == 3 * (drawn.shape[1] + 8)


def test_the_golden_pictures_are_small_and_all_used() -> None:
    names = {f"{display}-{language}.png" for display, language in itertools.product(CLASSES, LANGUAGES)} | {
        "vision.png"
    }
    assert {path.name for path in FOLDER.iterdir()} == names
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) < 300_000


@pytest.mark.parametrize("vision", VISION)
def test_every_colour_stands_out_from_black_to_every_eye(vision: str) -> None:
    """WCAG 2.2 asks 3 to 1 of signs; protanopia, which dims red most, leaves `upset` 4.3."""
    for name in (*COLOURS, "other"):
        colour = np.array(COLOURS.get(name, WHITE), np.uint8)[None, None]
        contrast = (float(brightness(seen(colour, vision))[0, 0]) + 0.05) / 0.05
        assert contrast >= 4, (name, round(contrast, 2))


@pytest.mark.parametrize("vision", VISION)
def test_every_eye_sees_the_same_shape(vision: str) -> None:
    """What a half-lit threshold leaves of a coloured glyph is the shape that the unit tests tell apart in 1 bit."""
    for name, band in all_glyphs():
        light = brightness(seen(coloured(name, band, 32), vision))
        # 128 of 255, undone from sRGB, is this share of full light.
        shape = light >= light.max() * brightness(np.full((1, 1, 3), 128, np.uint8))[0, 0]
        differing = np.count_nonzero(shape != (draw_glyph(name, 32, band=band) >= 128))
        assert differing <= 0.06 * np.count_nonzero(shape), name


def test_the_simulated_eyes_see_what_they_should() -> None:
    red, green = np.array([[[213, 94, 0]]], np.uint8), np.array([[[0, 158, 115]]], np.uint8)

    def apart(vision: str) -> float:
        one, other = seen(red, vision)[0, 0].astype(int), seen(green, vision)[0, 0].astype(int)
        return float(np.abs((one - one.mean()) - (other - other.mean())).max())

    assert apart("all cones") > 100
    assert apart("deuteranopia") < apart("all cones") / 2
    assert apart("luminance only") == 0
    white = np.full((1, 1, 3), 255, np.uint8)
    for vision in VISION:
        assert np.abs(seen(white, vision).astype(int) - 255).max() <= 1
