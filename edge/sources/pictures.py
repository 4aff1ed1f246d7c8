"""Pictures of files as luma, as a viewer shows them: turned by what they say of it, pixels square, on white.

OpenCV's versions differ in what they turn, and all drop what says that a pixel is see-through; both are done here.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

import cv2
import numpy as np

from edge import MOST_PIXELS
from edge.errors import SourceEmpty, SourceMissing, SourceUnreadable
from edge.files import read_file
from edge.sources.animation import avif_frames, in_eight_bits, webp_frames
from edge.sources.geometry import stretch, turn
from edge.sources.headers import (
    GIF,
    TIFF,
    UNREAD,
    foreign_format,
    is_animated,
    is_avif,
    is_film,
    is_whole,
    may_be_see_through,
    pages,
    shown,
)
from edge.types import LEAST_SIDE, Gray

PICTURES = (".bmp", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")
PICTURE_FPS = 30.0  # pictures of a folder, or of a TIFF, are the frames of a film
LARGEST_PICTURE = 1 << 27  # bytes of a picture's file

_NUMBER = re.compile(r"([0-9]+)")


def pictures_in(folder: Path) -> list[Path]:
    """Return a folder's pictures in the order of their names, numbers by their value, and those that are not read too.

    Raises SourceEmpty, SourceUnreadable.
    """
    try:
        found = [item for item in folder.iterdir() if not item.name.startswith(".") and not item.is_dir()]
    except OSError as error:
        raise SourceUnreadable(f"{folder}: {error.strerror}; give a folder that may be read") from error
    pictures = [item for item in found if item.suffix.lower() in PICTURES + UNREAD]
    if not pictures:
        raise SourceEmpty(f"{folder}: no picture in this folder; pictures end in {', '.join(PICTURES)}")
    return sorted(pictures, key=lambda item: in_order(item.name))


def in_order(name: str) -> tuple[list[str | int], str]:
    """Return what a name sorts by, so that frame2 comes before frame10: text and numbers by turns, then the name."""
    parts = _NUMBER.split(name)  # every other one is a number
    return [int(part) if index % 2 else part for index, part in enumerate(parts)], name


def refuse_foreign(path: Path, head: bytes) -> None:
    """Raise SourceUnreadable for a picture in a format that is not read, with what to do."""
    name = foreign_format(path, head, avif=cv2.haveImageWriter(".avif"))
    if name is not None:
        raise SourceUnreadable(
            f"{path}: {name}, which OpenCV {cv2.__version__} does not read; convert it to JPEG or PNG"
        )


def load_picture(path: Path, say: Callable[[str], None] | None = None) -> Gray:
    """Read one picture as luma, uint8 (height, width), and `say` where it is the first of several.

    Raises SourceMissing, SourceEmpty, SourceUnreadable.
    """
    content = read_picture(path)
    gray = next((gray for gray, _ in decode_pictures(path, content)), None)
    if gray is None:
        raise damaged(path)
    if say is not None and (is_film(content) or is_animated(content) or len(pages(content)) > 1):
        say(f"{path}: has several pictures, of which only the first is used; play them with --source file:")
    return gray


def read_picture(path: Path) -> bytes:
    """Return a picture's bytes; raises SourceMissing, SourceEmpty, SourceUnreadable."""
    try:
        content = read_file(path, LARGEST_PICTURE)
    except FileNotFoundError as error:
        raise SourceMissing(f"{path}: no such picture; give the path of one") from error
    except OSError as error:
        raise SourceUnreadable(f"{path}: {error.strerror}; give pictures that may be read") from error
    if not content:
        raise SourceEmpty(f"{path}: the file is empty (0 bytes); copy it again or take it out of the folder")
    refuse_foreign(path, content[:4096])
    return content


def damaged(path: Path) -> SourceUnreadable:
    """Name the error of a picture that does not decode."""
    return SourceUnreadable(
        f"{path}: a damaged picture, or one of more than {MOST_PIXELS / 1e6:.0f} million pixels; copy it again or "
        "take it out of the folder"
    )


def decode_pictures(path: Path, content: bytes) -> Iterator[tuple[Gray, float]]:
    """Yield the pictures in a file's bytes as luma, uint8 (height, width), with the seconds that each is shown.

    More than one are in an animated WebP or AVIF and in a TIFF with pages. Raises SourceUnreadable.
    """
    if not is_whole(content):
        raise damaged(path)
    if is_animated(content):
        found = avif_frames(content) if is_avif(content) else webp_frames(content)
    elif content.startswith(GIF) and not cv2.haveImageWriter(".gif"):
        found = _first_of_film(path)
    else:
        found = _decode_pages(content)
    orientation, aspect = shown(content)
    seen = False
    for flat, seconds in found:
        seen = True
        gray = np.ascontiguousarray(turn(stretch(flat, aspect), orientation))
        refuse_tiny(path, gray)
        yield gray, seconds
    if not seen:
        raise damaged(path)


def refuse_tiny(name: object, gray: Gray) -> None:
    """Raise SourceUnreadable for a picture in which no face could be."""
    height, width = gray.shape
    if min(height, width) < LEAST_SIDE:
        raise SourceUnreadable(
            f"{name}: a picture of {width}x{height} pixels; valid are pictures of at least {LEAST_SIDE} on each side"
        )


def _decode_pages(content: bytes) -> Iterator[tuple[Gray, float]]:
    for page in pages(content):
        gray = on_white(content, page)
        if gray is None:
            return
        yield gray, 1 / PICTURE_FPS


def _first_of_film(path: Path) -> Iterator[tuple[Gray, float]]:
    from edge.sources.film import Film

    film = Film(path, str(path))
    try:
        yield from islice(film.frames(), 1)
    finally:
        film.close()


def on_white(content: bytes, page: int = 0) -> Gray | None:
    """Decode a picture's bytes to luma on white, uint8 (height, width), not turned; None where they are none."""
    coded = np.frombuffer(content, np.uint8)
    if not may_be_see_through(content):
        return decode(coded)
    try:
        if content.startswith(TIFF):
            _, several = cv2.imdecodemulti(coded, cv2.IMREAD_UNCHANGED, range=(page, page + 1))
            picture = several[0] if several else None
        else:
            picture = cv2.imdecode(coded, cv2.IMREAD_UNCHANGED)
    except cv2.error:
        return None
    return None if picture is None else in_eight_bits(picture)


def decode(content: Gray) -> Gray | None:
    """Decode a picture's bytes, uint8 (n,) or (1, n), to luma as it lies there, uint8 (height, width); None of none."""
    try:
        gray = cv2.imdecode(content, cv2.IMREAD_GRAYSCALE | cv2.IMREAD_IGNORE_ORIENTATION) if content.size else None
    except cv2.error:  # how OpenCV takes a picture that says it is too large
        return None
    return None if gray is None else np.ascontiguousarray(gray, np.uint8)
