"""What `cuelens read --out` draws: a picture with boxes, words and probabilities, and contact sheets of many."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt

from edge.drawing.boxes import corners_of
from edge.drawing.lettering import draw_line
from edge.locale.words import name_of
from edge.settings import LookSettings
from edge.stills.reader import StillReading
from edge.types import Gray

Picture = npt.NDArray[np.uint8]  # BGR (height, width, 3)

_INK, _GROUND, _UNSURE = (255, 255, 255), (32, 32, 32), (150, 150, 150)
_TILE = (320, 240)  # pixels, width and height of a picture on a sheet
_CAPTION = 22  # pixels below each
_COLUMNS, _ROWS = 4, 6


def draw_readings(gray: Gray, readings: Sequence[StillReading], look: LookSettings) -> Picture:
    """Draw what was read into a luma picture, uint8 (height, width): BGR of the same size."""
    picture: Picture = cv2.cvtColor(gray, cv2.COLOR_GRAY2BGR).astype(np.uint8, copy=False)
    for reading in readings:
        side = reading.face.box[2]
        thick = max(1, round(side / 60))
        corners = corners_of(reading.face)
        cv2.polylines(picture, [corners], True, _INK if reading.word else _UNSURE, thick, cv2.LINE_AA)
        tall = max(14, side // 6)
        left, top = int(corners[:, 0].min()), int(corners[:, 1].min())
        caption = f"{reading.name(look)} {reading.confidence:.0%}"
        _write(picture, caption, (left, top - tall - thick), tall)
        _draw_bars(picture, reading, look, (left, int(corners[:, 1].max()) + thick))
    return picture


def _draw_bars(picture: Picture, reading: StillReading, look: LookSettings, at: tuple[int, int]) -> None:
    """Draw each label's probability as a bar below the face, likeliest first, as far as they can be read there."""
    side = reading.face.box[2]
    tall = max(11, side // 12)
    left, top = at
    for value, label in sorted(zip(reading.probabilities, reading.labels, strict=True), reverse=True):
        if top + tall > picture.shape[0] or value < 0.005:
            return
        cv2.rectangle(picture, (left, top), (left + side, top + tall - 1), _GROUND, -1)
        cv2.rectangle(picture, (left, top + 1), (left + round(side * value), top + tall - 2), (110, 110, 110), -1)
        _write(picture, f"{name_of(label, look.language)} {value:.2f}", (left, top), tall, ground=None)
        top += tall


def _write(
    picture: Picture, text: str, at: tuple[int, int], tall: int, ground: tuple[int, int, int] | None = _GROUND
) -> None:
    """Write a line of text, its upper left corner `at`, moved as far as it takes to be seen whole."""
    mask = draw_line(text, tall)
    height, width = picture.shape[:2]
    left = max(0, min(at[0], width - mask.shape[1]))
    top = max(0, min(at[1], height - mask.shape[0]))
    place = picture[top : top + mask.shape[0], left : left + mask.shape[1]]
    ink = (mask[: place.shape[0], : place.shape[1], None] / 255.0).astype(np.float32)
    under = place if ground is None else np.full_like(place, ground)
    place[:] = np.round(under * (1 - ink) + np.array(_INK, np.float32) * ink).astype(np.uint8)


def draw_sheets(pictures: Sequence[tuple[str, Picture]]) -> list[Picture]:
    """Lay named pictures out on contact sheets, so many that each is large enough to be looked at."""
    each = _COLUMNS * _ROWS
    return [_draw_sheet(pictures[begun : begun + each]) for begun in range(0, len(pictures), each)]


def shrink_to_tile(picture: Picture) -> Picture:
    """Shrink a picture to what it takes on a sheet; BGR uint8."""
    scale = min(_TILE[0] / picture.shape[1], _TILE[1] / picture.shape[0], 1.0)
    size = max(1, round(picture.shape[1] * scale)), max(1, round(picture.shape[0] * scale))
    return np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), np.uint8)


def _draw_sheet(pictures: Sequence[tuple[str, Picture]]) -> Picture:
    columns = min(_COLUMNS, len(pictures))
    rows = -(-len(pictures) // columns)
    wide, tall = _TILE[0] + 8, _TILE[1] + _CAPTION + 8
    sheet: Picture = np.full((rows * tall + 8, columns * wide + 8, 3), _GROUND, np.uint8)
    for index, (name, picture) in enumerate(pictures):
        left, top = 8 + index % columns * wide, 8 + index // columns * tall
        height, width = picture.shape[:2]
        sheet[top : top + height, left : left + width] = picture
        short = name if len(name) <= 28 else f"{name[:12]}...{name[-13:]}"
        _write(sheet, short, (left, top + _TILE[1]), _CAPTION - 4)
    return sheet
