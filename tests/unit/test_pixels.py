"""Every pixel format of the table against frames that are laid out as the kernel's documentation draws them."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from edge.sources.pictures import decode
from edge.sources.pixels import (
    CHEAP,
    COMPRESSED,
    FORMATS,
    KNOWN,
    PixelsInvalid,
    fourcc_of,
    luma,
    name_of,
    weave,
)
from tests.support.pixels import BITS, BYTES, MOSAICS, PAIRS, PLANES, RNG, STREAMS, lay_out, tolerance

WIDTH, HEIGHT = 48, 30
GRAY = np.asarray(cv2.GaussianBlur(RNG.integers(0, 256, (HEIGHT, WIDTH), np.uint8), (0, 0), 4), np.uint8)
GRAY = ((GRAY - GRAY.min()) * (255.0 / np.ptp(GRAY))).astype(np.uint8)  # all levels, and smooth: a mosaic is too
COLOURS = {"red": (255, 0, 0), "green": (0, 255, 0), "blue": (0, 0, 255), "white": (255, 255, 255), "black": (0, 0, 0)}


def test_every_format_of_the_table_is_laid_out_here() -> None:
    assert set(FORMATS) == {*BYTES, *BITS, *PLANES, *MOSAICS, *STREAMS, *PAIRS}
    assert set(CHEAP) < set(FORMATS)


@pytest.mark.parametrize("padding", [0, 1, 24])
@pytest.mark.parametrize("size", [(WIDTH, HEIGHT), (WIDTH - 1, HEIGHT - 1), (WIDTH - 3, HEIGHT)])
@pytest.mark.parametrize("name", FORMATS)
def test_luma_is_the_picture_whatever_the_format_size_and_padding(
    name: str, size: tuple[int, int], padding: int
) -> None:
    width, height = size
    gray = GRAY[:height, :width]
    rows = lay_out(name, np.dstack([gray] * 3))
    padded = np.pad(rows, ((0, 0), (0, padding)), constant_values=0xEE)
    known = padded.shape[1] == FORMATS[name].row_bytes(width)  # drivers say it, and have to where it is not
    plane = luma(padded.reshape(-1), name, width, height, 0 if known else padded.shape[1])
    assert (plane.dtype, plane.shape, plane.flags.c_contiguous) == (np.uint8, (height, width), True)
    apart = np.abs(plane.astype(int) - gray)
    assert (apart[2:-2, 2:-2] if name in MOSAICS else apart).max() <= tolerance(name)
    padded[:] = 0
    assert plane.any(), "the driver's memory is its own again"


@pytest.mark.parametrize("name", [*(n for n in FORMATS if {"r", "R"} & set((BITS | BYTES).get(n, ""))), *MOSAICS])
def test_a_colour_is_as_bright_as_the_eye_has_it(name: str) -> None:
    for colour, (red, green, blue) in COLOURS.items():
        picture = np.full((16, 16, 3), (red, green, blue), np.uint8)
        plane = luma(lay_out(name, picture).reshape(-1), name, 16, 16)
        expected = 0.299 * red + 0.587 * green + 0.114 * blue
        assert np.abs(plane[2:-2, 2:-2] - expected).max() <= 2, colour


@pytest.mark.parametrize("name", COMPRESSED)
def test_a_jpeg_is_decoded_and_a_damaged_one_refused(name: str) -> None:
    smooth = np.tile(np.arange(64, dtype=np.uint8) * 3, (48, 1))
    content = cv2.imencode(".jpg", smooth)[1].reshape(-1)
    assert np.abs(luma(content, name, 64, 48, 0, decode).astype(int) - smooth).max() < 8
    for damaged in (content[:0], np.zeros(500, np.uint8)):
        with pytest.raises(PixelsInvalid, match="no whole JPEG"):
            luma(damaged, name, 64, 48, 0, decode)


@pytest.mark.parametrize("name", ["H264", "HEVC", "HM12", "Z16 ", "????"])
def test_an_unknown_format_is_refused_by_name_with_those_that_are_valid(name: str) -> None:
    with pytest.raises(PixelsInvalid, match=f"pixel format {name.replace('?', '.')}; valid are YUYV, .*MJPG"):
        luma(np.zeros(64 * 48 * 4, np.uint8), name, 64, 48)


@pytest.mark.parametrize("name", FORMATS)
def test_bytes_that_are_too_few_are_no_picture(name: str) -> None:
    whole = FORMATS[name].row_bytes(WIDTH) * HEIGHT
    for raw, stride in ((whole - 1, 0), (0, 0), (whole, FORMATS[name].row_bytes(WIDTH) - 1), (whole, 10**6)):
        with pytest.raises(PixelsInvalid, match=rf"{raw} bytes in rows of .*{name} of 48x30 has "):
            luma(np.zeros(raw, np.uint8), name, WIDTH, HEIGHT, stride)


def test_a_fourcc_is_named_as_the_kernel_names_it() -> None:
    assert name_of(int.from_bytes(b"YUYV", "little")) == "YUYV"
    assert name_of(int.from_bytes(b"Y16 ", "little") | 1 << 31) == "Y16 -BE"
    assert name_of(0x01020304) == "????"
    for name in KNOWN:
        assert name_of(fourcc_of(name)) == name


def test_the_fields_of_an_interlaced_picture_are_woven() -> None:
    rows = np.repeat(np.arange(7, dtype=np.uint8)[:, None], 4, 1)
    upper, lower = rows[0::2], rows[1::2]
    assert (weave(np.vstack([upper, lower]), 5) == rows).all()
    assert (weave(np.vstack([lower, upper]), 6) == rows).all()
    assert (weave(rows, 1) == rows).all()
    assert weave(rows, 7).shape == (14, 4)
