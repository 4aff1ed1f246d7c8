"""Pictures that hold several, which FFmpeg does not play: animated WebP and AVIF."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from edge import MOST_PIXELS
from edge.sources.headers import webp_chunks
from edge.types import Gray

WHITE = 255
BATCH = 8  # pictures that are in memory at a time
SHORTEST, USUAL = 0.011, 0.1  # seconds: what shows a picture for less was made for players that show it for a tenth


def webp_frames(content: bytes) -> Iterator[tuple[Gray, float]]:
    """Yield an animated WebP's pictures on white, uint8 (height, width), with the seconds that each is shown.

    Each frame of the container (RFC 9649, 2.7.1.1) is decoded as a picture of its own and laid on the canvas, so that
    one is in memory at a time. What is damaged ends it.
    """
    width, height = _three(content, 24) + 1, _three(content, 27) + 1
    if width * height > MOST_PIXELS:
        return
    canvas = np.full((height, width), WHITE, np.uint8)
    for kind, data in webp_chunks(content[12:]):
        if kind != b"ANMF" or len(data) < 16:
            continue
        x, y, lasting = 2 * _three(data, 0), 2 * _three(data, 3), _three(data, 12) / 1000
        blend, dispose = not data[15] & 2, bool(data[15] & 1)
        frame = _decode_frame(data)
        if frame is None or y + frame.shape[0] > height or x + frame.shape[1] > width:
            return
        place = canvas[y : y + frame.shape[0], x : x + frame.shape[1]]
        place[:] = lay(frame, place if blend else np.full_like(place, WHITE))
        yield canvas.copy(), lasting if lasting >= SHORTEST else USUAL
        if dispose:
            place[:] = WHITE


def avif_frames(content: bytes) -> Iterator[tuple[Gray, float]]:
    """Yield an animated AVIF's pictures on white, uint8 (height, width), with the seconds that each is shown.

    FFmpeg plays its cover alone. What is damaged ends it, and an OpenCV that cannot read it yields none.
    """
    decode = getattr(cv2, "imdecodeanimation", None)
    coded = np.frombuffer(content, np.uint8)[None]
    start = 0
    while decode is not None:
        try:
            _, found = decode(coded, start=start, count=BATCH)
        except cv2.error:
            return
        for picture, lasting_ms in zip(found.frames, found.durations, strict=False):
            gray = in_eight_bits(picture)
            if gray is None:
                return
            yield gray, int(lasting_ms) / 1000 if lasting_ms > 1000 * SHORTEST else USUAL
        if len(found.frames) < BATCH:
            return
        start += BATCH


def _three(data: bytes, at: int) -> int:
    return int.from_bytes(data[at : at + 3], "little")


def _decode_frame(data: bytes) -> Gray | None:
    """Decode a frame's chunks as a WebP of its own: BGR or BGRA, uint8 (height, width, channels)."""
    body = data[16:]
    if body.startswith(b"ALPH"):
        body = b"VP8X\x0a\0\0\0\x10\0\0\0" + data[6:12] + body  # its size is coded as a frame's is
    whole = b"RIFF" + (4 + len(body)).to_bytes(4, "little") + b"WEBP" + body
    try:
        picture = cv2.imdecode(np.frombuffer(whole, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error:
        return None
    return None if picture is None else np.asarray(picture, np.uint8)


def in_eight_bits(picture: npt.NDArray[Any]) -> Gray | None:
    """Lay a decoded picture of 8 or 16 bits or of floats on white: luma, uint8 (height, width); None of other numbers.

    Floats are 0 to 1, or up to the brightest where that is more.
    """
    if picture.dtype == np.uint16:
        picture = picture >> 8
    elif picture.dtype.kind == "f":
        known = np.nan_to_num(picture, posinf=0.0, neginf=0.0)
        picture = (255 / max(1.0, float(known.max())) * np.maximum(known, 0.0)).round()
    elif picture.dtype != np.uint8:
        return None
    eight = picture.astype(np.uint8)
    return lay(eight, np.full(eight.shape[:2], WHITE, np.uint8))


def lay(picture: Gray, below: Gray) -> Gray:
    """Lay a decoded picture, uint8 (height, width[, channels]), on luma, uint8 (height, width), and return the luma."""
    if picture.ndim == 2:
        return picture
    if picture.shape[2] != 4:
        return np.asarray(cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY), np.uint8)
    gray = cv2.cvtColor(picture, cv2.COLOR_BGRA2GRAY).astype(np.uint16)
    alpha = picture[..., 3].astype(np.uint16)
    return ((gray * alpha + below.astype(np.uint16) * (255 - alpha) + 127) // 255).astype(np.uint8)
