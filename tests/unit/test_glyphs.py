"""The glyphs: distinct by shape alone, steady, dark when there is nothing to show, and right on every display."""

from __future__ import annotations

import itertools
import re
import xml.etree.ElementTree as ET

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.cue.policy import SMALL_VOCABULARY
from edge.drawing.glyphs import (
    COLOURS,
    EXPRESSION_GLYPHS,
    FACE,
    GLYPHS,
    Colours,
    cue_colour,
    draw_cue,
    draw_glyph,
    glyph_name,
    glyph_svg,
    plan_cue,
)
from edge.locale import LANGUAGES, read_locale
from edge.settings import LookSettings
from edge.types import Band, Cue, Reason, State

Bits = npt.NDArray[np.bool_]
Named = tuple[str, Band | None]

SEVEN = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")
STATES: tuple[Named, ...] = tuple((name, None) for name in ("unsure", "no_camera", "paused", "stopped", "other", FACE))
BANDS: tuple[Named, ...] = ((FACE, "near"), (FACE, "middle"), (FACE, "far"))
SMILE = Cue("expression", "smile", 0.8, 1.0)
DISPLAYS: tuple[tuple[int, int, Colours], ...] = (
    (128, 64, "mono"),
    (96, 64, "rgb"),
    (128, 128, "rgb"),
    (640, 400, "rgb"),
    (1280, 720, "rgb"),
    (400, 640, "gray"),
)
LEAST_DIFFERENCE = 0.2


def bits(named: Named, side: int = 32) -> Bits:
    return draw_glyph(named[0], side, band=named[1]) >= 128


def difference(a: Bits, b: Bits) -> float:
    """Return the share of both shapes' lit pixels that the other has nothing within a pixel of, at their best match.

    0: alike; 1: nowhere near each other. Matched within two pixels each way, so that no place on the display counts.
    """
    near = np.ones((3, 3), np.uint8)
    a = np.pad(a, 4)
    wide_a = cv2.dilate(a.astype(np.uint8), near) > 0
    least = 1.0
    for shift in itertools.product(range(-2, 3), repeat=2):
        moved = np.roll(np.pad(b, 4), shift, (0, 1))
        wide_moved = cv2.dilate(moved.astype(np.uint8), near) > 0
        alone = np.count_nonzero(a & ~wide_moved) + np.count_nonzero(moved & ~wide_a)
        least = min(least, alone / (np.count_nonzero(a) + np.count_nonzero(moved)))
    return least


@pytest.mark.parametrize("vocabulary", [tuple(SMALL_VOCABULARY), SEVEN], ids=["small", "full"])
def test_glyphs_shown_together_differ_in_shape_at_32_pixels_and_1_bit(vocabulary: tuple[str, ...]) -> None:
    glyphs: tuple[Named, ...] = tuple((EXPRESSION_GLYPHS[name], None) for name in vocabulary)
    pairs = itertools.combinations((*glyphs, *STATES, *BANDS[1:]), 2)  # a near face is one of no known distance
    differences = {(a, b): difference(bits(a), bits(b)) for a, b in pairs}
    assert {pair: value for pair, value in differences.items() if value < LEAST_DIFFERENCE} == {}


def test_a_faces_distance_is_shown_by_shape() -> None:
    assert all(difference(bits(a), bits(b)) >= LEAST_DIFFERENCE for a, b in itertools.combinations(BANDS, 2))


def test_the_measure_of_shape_takes_no_moved_or_bolder_or_slightly_other_glyph_for_another_one() -> None:
    smile = bits(("smile", None))
    bolder = cv2.dilate(smile.astype(np.uint8), np.ones((2, 2), np.uint8)) > 0
    smaller = np.pad(draw_glyph("smile", 30) >= 128, 1)
    for like in (smile, np.roll(smile, (2, -1), (0, 1)), bolder, smaller):
        assert difference(smile, like) < LEAST_DIFFERENCE / 4
    assert difference(smile, smile[::-1]) > LEAST_DIFFERENCE  # upside down
    assert difference(smile, np.zeros_like(smile)) == 1.0


@pytest.mark.parametrize("named", [*((name, None) for name in GLYPHS), *BANDS, (FACE, None)], ids=str)
def test_a_glyph_is_neither_cut_off_nor_lost_nor_thin_in_1_bit(named: Named) -> None:
    name, band = named
    for side in (32, 44, 81, 276):
        shape = bits(named, side)
        roomy = draw_glyph(name, side * 4, band=band) >= 128
        assert shape.mean() == pytest.approx(roomy.mean(), rel=0.2), "as much is lit as in a large one"
        assert not np.concatenate((roomy[0], roomy[-1], roomy[:, 0], roomy[:, -1])).any(), "the edge is free"
        whole = cv2.connectedComponents(shape.astype(np.uint8), connectivity=8)[0]
        assert whole == cv2.connectedComponents(roomy.astype(np.uint8), connectivity=8)[0], "no part is lost or joined"


def test_a_glyph_has_grey_edges_and_is_the_same_each_time() -> None:
    for name in GLYPHS:
        first = draw_glyph(name, 44)
        assert first.dtype == np.uint8
        assert len(np.unique(first)) > 10
        assert first.max() == 255
        np.testing.assert_array_equal(first, draw_glyph(name, 44))


@pytest.mark.parametrize(
    ("cue", "look", "expected"),
    [
        (SMILE, LookSettings(), "smile"),
        (Cue("expression", "happy", 0.9, 0.0), LookSettings(), "smile"),
        (Cue("expression", "disgust", 0.9, 0.0), LookSettings(), "grimace"),
        (Cue("expression", "contempt", 0.9, 0.0), LookSettings(), "other"),
        (Cue("expression", "neutral", 0.9, 0.0), LookSettings(), None),
        (Cue("expression", "neutral", 0.9, 0.0), LookSettings(neutral=True), "neutral"),
        (Cue("unsure", None, 0.2, 0.0, "new", "far"), LookSettings(), FACE),
        (Cue("unsure", None, 0.2, 0.0, "new", "far"), LookSettings(presence=False), None),
        (Cue("unsure", None, 0.2, 0.0, "poor", "far"), LookSettings(presence=False), "unsure"),
        (Cue("no_face", None, 0.0, 0.0), LookSettings(), None),
        (Cue("no_camera", None, 0.0, 0.0), LookSettings(), "no_camera"),
        (Cue("paused", None, 0.0, 0.0), LookSettings(), "paused"),
    ],
)
def test_each_cue_has_its_glyph_or_is_dark(cue: Cue, look: LookSettings, expected: str | None) -> None:
    assert glyph_name(cue, look) == expected
    for width, height, colours in DISPLAYS[:3]:
        assert draw_cue(cue, width, height, look, colours).any() == (expected is not None)


@pytest.mark.parametrize(("width", "height", "colours"), DISPLAYS)
def test_a_picture_is_of_the_displays_size_and_colours(width: int, height: int, colours: Colours) -> None:
    picture = draw_cue(SMILE, width, height, LookSettings(), colours)
    assert picture.dtype == np.uint8
    assert picture.shape == ((height, width, 3) if colours == "rgb" else (height, width))
    if colours == "mono":
        assert set(np.unique(picture)) == {0, 255}
    if colours == "rgb":
        glyph = picture[: height // 2].reshape(-1, 3)
        assert tuple(glyph[glyph.sum(axis=1).argmax()]) == COLOURS["smile"] == cue_colour(SMILE)


@pytest.mark.parametrize(("width", "height", "colours"), DISPLAYS)
def test_confidence_age_and_reason_change_no_pixel(width: int, height: int, colours: Colours) -> None:
    look = LookSettings(arrow=True)
    for reason in ("faint", "poor", "torn", "away"):
        one = draw_cue(Cue("unsure", None, 0.1, 1.0, reason, "near", "left"), width, height, look, colours)
        other = draw_cue(Cue("unsure", None, 0.4, 9.0, "torn", "far", "left"), width, height, look, colours)
        np.testing.assert_array_equal(one, other)


def test_the_arrow_moves_nothing_else() -> None:
    for width, height, colours in DISPLAYS:
        look = LookSettings(arrow=True)
        plain = draw_cue(SMILE, width, height, look, colours)
        left = draw_cue(Cue("expression", "smile", 0.8, 1.0, None, "near", "left"), width, height, look, colours)
        right = draw_cue(Cue("expression", "smile", 0.8, 1.0, None, "near", "right"), width, height, look, colours)
        ahead = draw_cue(Cue("expression", "smile", 0.8, 1.0, None, "near", "ahead"), width, height, look, colours)
        changed = np.nonzero(left != plain)
        assert changed[0].max() < 0.76 * height
        assert changed[1].max() < 0.18 * width
        assert np.nonzero(right != plain)[1].min() > 0.82 * width
        np.testing.assert_array_equal(ahead, plain)


def test_without_words_the_glyph_is_larger_and_alone() -> None:
    with_word = draw_cue(SMILE, 128, 64, LookSettings(), "mono")
    alone = draw_cue(SMILE, 128, 64, LookSettings(words=False), "mono")
    assert cv2.boundingRect(alone)[2] > 1.2 * cv2.boundingRect(with_word[:48])[2]
    assert cv2.connectedComponents(alone)[0] == 1 + 3  # the dark, two eyes and a mouth


def test_no_word_is_drawn_that_is_too_small_to_read() -> None:
    flat = draw_cue(SMILE, 128, 32, LookSettings(), "mono")
    np.testing.assert_array_equal(flat, draw_cue(SMILE, 128, 32, LookSettings(words=False), "mono"))


@pytest.mark.parametrize(
    ("base", "text", "more"),
    [("aoc", "äöc", 4), ("ec", "éc", 1), ("ec", "èc", 1), ("ec", "êc", 1), ("nc", "ñc", 1), ("sc", "sç", 0)],
)
def test_a_letters_mark_is_drawn(base: str, text: str, more: int) -> None:
    pictures = [
        draw_cue(Cue("expression", word, 0.9, 0.0), 640, 400, LookSettings(), "gray")[300:] >= 128
        for word in (base, text)
    ]
    parts = [cv2.connectedComponents(picture.astype(np.uint8))[0] for picture in pictures]
    assert parts[1] - parts[0] == more
    assert np.count_nonzero(pictures[1] & ~pictures[0]) > 30


def test_every_word_of_every_language_is_drawn_within_the_display() -> None:
    for language in LANGUAGES:
        words = read_locale(language).words
        for key in {*SMALL_VOCABULARY, *SEVEN}:
            cue = Cue("expression", key, 0.9, 0.0)
            for width, height, colours in DISPLAYS:
                look = LookSettings(language=language, neutral=True)
                picture = draw_cue(cue, width, height, look, colours)
                line = picture[-(min(width, height) // 4) :]
                assert line.any()
                assert not line[:, 0].any(), words[key]
                assert not line[:, -1].any(), words[key]
                assert height < 100 or line[-1].max() < 64, words[key]


@given(st.text(min_size=1, max_size=40), st.integers(32, 200), st.integers(32, 200), st.booleans())
@settings(max_examples=60)
def test_any_label_can_be_drawn_on_any_display(label: str, width: int, height: int, arrow: bool) -> None:
    cue = Cue("expression", label, 0.9, 0.0, None, "far", "right")
    for colours in ("mono", "gray", "rgb"):
        assert draw_cue(cue, width, height, LookSettings(arrow=arrow, neutral=True), colours).any()


@pytest.mark.parametrize("named", [*((name, None) for name in GLYPHS), *BANDS, (FACE, None)], ids=str)
def test_a_glyph_on_a_page_is_the_same_drawing(named: Named) -> None:
    """Its SVG, drawn here by hand, covers what the picture does."""
    drawn = np.zeros((800, 800), np.uint8)

    def stroke(points: npt.NDArray[np.float64], closed: bool, width: float) -> None:
        cv2.polylines(drawn, [np.rint(8 * points).astype(np.int32)], closed, 255, round(8 * width))

    for element in ET.fromstring(f"<g>{glyph_svg(*named)}</g>"):
        value = {key: float(text) for key, text in element.attrib.items() if re.fullmatch(r"[\d.]+", text)}
        assert "currentColor" in (element.get("fill"), element.get("stroke"))
        angles = np.radians(np.arange(0, 360, 3))
        circle = np.stack((np.cos(angles), np.sin(angles)), axis=1)
        if element.tag == "circle":
            cv2.circle(drawn, (round(8 * value["cx"]), round(8 * value["cy"])), round(8 * value["r"]), 255, -1)
        elif element.tag == "ellipse":
            ellipse = circle * (value["rx"], value["ry"]) + (value["cx"], value["cy"])
            stroke(ellipse, True, value["stroke-width"])
        elif element.tag == "polyline":
            points = np.array([pair.split(",") for pair in element.attrib["points"].split()], float)
            stroke(points, False, value["stroke-width"])
        else:
            numbers = [float(text) for text in re.findall(r"[\d.]+", element.attrib["d"])]
            stroke(np.array(arc(*numbers)), False, value["stroke-width"])
    picture = draw_glyph(named[0], 800, band=named[1])
    assert np.count_nonzero((drawn >= 128) != (picture >= 128)) < 0.02 * np.count_nonzero(picture >= 128)


def arc(
    x0: float, y0: float, rx: float, ry: float, turned: float, large: float, clockwise: float, x1: float, y1: float
) -> list[tuple[float, float]]:
    """Return points of an SVG arc: its centre is found on the unit circle, where both ends are known."""
    assert (turned, clockwise) == (0, 1)
    a, b = complex(x0 / rx, y0 / ry), complex(x1 / rx, y1 / ry)
    half = (b - a) / 2
    away = np.sqrt(max(0.0, 1 - abs(half) ** 2)) * half / abs(half) * 1j
    centre = a + half + (-away if large else away)
    begin, end = np.angle(a - centre), np.angle(b - centre)
    swept = (end - begin) % (2 * np.pi)
    points = [centre + np.exp(1j * (begin + swept * step / 60)) for step in range(61)]
    return [(point.real * rx, point.imag * ry) for point in points]


def test_every_state_and_reason_has_a_picture_or_is_dark() -> None:
    states: tuple[State, ...] = ("no_camera", "no_face", "unsure", "paused", "stopped")
    reasons: tuple[Reason | None, ...] = (None, "new", "away", "poor", "faint", "torn")
    for state, reason in itertools.product(states, reasons):
        cue = Cue(state, None, 0.1, 0.0, reason if state == "unsure" else None)
        assert draw_cue(cue, 128, 64, LookSettings(), "mono").any() == (state != "no_face")


@pytest.mark.parametrize("size", [(128, 64), (128, 32), (640, 400)])
@pytest.mark.parametrize("colours", ["mono", "gray", "rgb"])
def test_the_mark_distinguishes_a_dark_display_from_one_that_is_off(size: tuple[int, int], colours: Colours) -> None:
    dark = (Cue("no_face", None, 0.0, 0.0), Cue("expression", "neutral", 0.9, 0.0))
    pictures = [draw_cue(cue, *size, LookSettings(mark=True), colours) for cue in dark]
    assert np.array_equal(*pictures)
    lit = pictures[0] if colours != "rgb" else pictures[0].max(axis=2)
    rows, columns = np.nonzero(lit)
    assert 4 <= len(rows) <= 0.01 * lit.size, "small, but there"
    assert rows.min() > 0.9 * size[1] - 3
    assert columns.min() > 0.9 * size[0]
    assert not any(draw_cue(cue, *size, LookSettings(), colours).any() for cue in dark)
    smile = Cue("expression", "smile", 0.9, 0.0)
    assert plan_cue(smile, LookSettings(mark=True)) == plan_cue(smile, LookSettings())
