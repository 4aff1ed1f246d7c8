"""Films to measure on, from a source's frames: in other sizes, there and back, and with several faces drawn."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import TypeVar

import cv2
import numpy as np

from edge.sources import open_source
from edge.types import Frame, Gray
from edge.vision.views import Pyramid, Spot

T = TypeVar("T")

SIZES = ((320, 240), (640, 480), (1280, 720), (1920, 1080))
CROWD = (640, 480)  # pixels of the frame that faces are drawn into
MOST_FACES, CELL, CROP, DRIFT = 8, 160, 132, 6.0  # pixels: a face's place, what is drawn there, its sway
CROP_SHARE = 0.6  # of what is drawn, the face's
FPS = 30.0


class Film:
    """A source of pictures that it makes on demand, FPS of them a second of its own clock."""

    def __init__(self, pictures: Iterable[Gray]) -> None:
        self.live = False
        self.announced: int | None = None
        self._pictures = pictures

    def frames(self) -> Iterator[Frame]:
        """Yield the pictures as frames."""
        for seq, gray in enumerate(self._pictures):
            yield Frame(gray, seq / FPS, seq, time.monotonic())

    def close(self) -> None:
        """Nothing was opened."""


def read_frames(spec: str) -> Iterator[Gray]:
    """Yield a source's luma frames; raises what the source raises."""
    return (frame.gray for frame in open_source(spec, live=False).frames())


def sway(items: Sequence[T]) -> list[T]:
    """Return items there and back, so that a film which repeats them has no cut."""
    return [*items, *items[-2:0:-1]]


def resize(frames: Iterable[Gray], width: int, height: int) -> Iterator[Gray]:
    """Yield frames as uint8 (height, width), in their own proportions; where those differ, edges are repeated."""
    for gray in frames:
        tall, wide = gray.shape
        zoom = min(width / wide, height / tall)
        yield Pyramid(gray).window((wide - 1) / 2, (tall - 1) / 2, 0.0, zoom, width, height)


def draw_crowd(sure: Sequence[tuple[Gray, Spot]], faces: int) -> Iterator[Gray]:
    """Yield uint8 (480, 640) without an end: a blurred frame, on it `faces` copies of the frames' face that sway."""
    blurred = cv2.resize(
        cv2.resize(sure[0][0], (8, 6), interpolation=cv2.INTER_AREA), CROWD, interpolation=cv2.INTER_CUBIC
    )
    mask = np.pad(np.ones((CROP - 24, CROP - 24)), 12)
    weight = cv2.GaussianBlur(mask, (0, 0), 5.0).astype(np.float64)
    for index in itertools.count():
        canvas = blurred.astype(np.float64)
        for number in range(faces):
            gray, face = sure[(index + 7 * number) % len(sure)]
            view = Pyramid(gray).view(Spot(face.cx, face.cy, face.side), CROP, CROP_SHARE)
            row, column = divmod(number, CROWD[0] // CELL)
            x = round((column + 0.5) * CELL - CROP / 2 + DRIFT * np.sin(index / 9 + number))
            y = round((row + 1) * CELL - CROP / 2 + DRIFT * np.cos(index / 11 + number))
            part = canvas[y : y + CROP, x : x + CROP]
            part += weight * (view - part)
        yield canvas.round().astype(np.uint8)
