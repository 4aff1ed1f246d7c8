"""A camera's raw bytes to luma: one table of V4L2's pixel formats, by their FOURCC; pure on arrays.

Names, layouts and bit orders are those of the kernel's documentation (userspace-api/media/v4l/pixfmt.html).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np
import numpy.typing as npt

from edge.types import Gray

Words = npt.NDArray[np.uint8 | np.uint16 | np.uint32]
Field = tuple[int, int]  # of a pixel's word: its lowest bit, and how many it has

RED, GREEN, BLUE = 0.299, 0.587, 0.114  # ITU-R BT.601: what luma is of
BIG_ENDIAN = 1 << 31  # of a FOURCC
SEQUENTIAL = (5, 6)  # enum v4l2_field: both fields, one after the other; the second begins with the lower
ONE_FIELD = (2, 3, 7)  # top, bottom, alternate: every other row of the picture


class PixelsInvalid(ValueError):
    """The bytes are no picture of the format that they are given as."""


@dataclass(frozen=True, slots=True)
class Groups:
    """Luma is whole bytes: `at` of each group of `size` bytes, one a pixel; what follows the rows is chroma."""

    size: int
    at: tuple[int, ...]

    def row_bytes(self, width: int) -> int:
        """Return the bytes of a row that has no padding."""
        return -(-width // len(self.at)) * self.size

    def luma(self, rows: Gray, width: int) -> Gray:
        """Take the luma out of rows, uint8 (height, row_bytes): uint8 contiguous (height, width)."""
        if self.size == 1:
            return rows.copy()
        if len(self.at) == 1:
            return np.asarray(cv2.extractChannel(rows.reshape(len(rows), -1, self.size), self.at[0]), np.uint8)
        groups = rows.reshape(len(rows), -1, self.size)[..., list(self.at)]
        return np.ascontiguousarray(groups.reshape(len(rows), -1)[:, :width])


@dataclass(frozen=True, slots=True)
class Channels:
    """Bytes of red, green and blue, of which luma is `weights`' sum."""

    weights: tuple[float, ...]

    def row_bytes(self, width: int) -> int:
        """Return the bytes of a row that has no padding."""
        return width * len(self.weights)

    def luma(self, rows: Gray, width: int) -> Gray:
        """Weigh rows, uint8 (height, row_bytes): uint8 contiguous (height, width)."""
        pixels = rows.reshape(len(rows), width, len(self.weights))
        return np.asarray(cv2.transform(pixels, np.array([self.weights], np.float32)), np.uint8)


@dataclass(frozen=True, slots=True)
class Fields:
    """A word a pixel, of which luma is the weighted sum of some bits: of one field for gray, of three for colours."""

    bytes: int
    fields: tuple[Field, ...]
    weights: tuple[float, ...] = (1.0,)
    big: bool = False

    def row_bytes(self, width: int) -> int:
        """Return the bytes of a row that has no padding."""
        return width * self.bytes

    def luma(self, rows: Gray, width: int) -> Gray:
        """Look rows up, uint8 (height, row_bytes): uint8 contiguous (height, width)."""
        words = rows.view(np.dtype(f"{'>' if self.big else '<'}u{self.bytes}"))
        if self.weights == (1.0,) and self.fields[0][1] >= 8:  # gray of ten bits and more: its upper eight
            low, bits = self.fields[0]
            return (words >> (low + bits - 8)).clip(0, 255).astype(np.uint8)  # what drivers leave above it is noise
        return self.weigh(words) if self.bytes > 2 else _table(self)[words]

    def weigh(self, words: Words) -> Gray:
        """Return each word's luma; what has fewer bits reaches from 0 to 255 too."""
        wide = words.astype(np.uint32)
        parts = [((wide >> low) & ((1 << bits) - 1)) * (255.0 / ((1 << bits) - 1)) for low, bits in self.fields]
        return np.rint(sum(part * by for part, by in zip(parts, self.weights, strict=True))).astype(np.uint8)


@cache
def _table(fields: Fields) -> Gray:
    return fields.weigh(np.arange(1 << 8 * fields.bytes, dtype=np.uint32))


@dataclass(frozen=True, slots=True)
class BitStream:
    """Gray of `bits` a pixel, one behind the other, the highest bit first; a row begins with a whole byte."""

    bits: int

    def row_bytes(self, width: int) -> int:
        """Return the bytes of a row that has no padding."""
        return -(-width * self.bits // 8)

    def luma(self, rows: Gray, width: int) -> Gray:
        """Cut the upper eight bits out of rows, uint8 (height, row_bytes): uint8 contiguous (height, width)."""
        first = np.arange(width) * self.bits
        padded = np.pad(rows, ((0, 0), (0, 1))).astype(np.uint16)
        pairs = padded[:, first // 8] << 8 | padded[:, first // 8 + 1]
        return np.ascontiguousarray((pairs >> (8 - first % 8)) & 0xFF, np.uint8)


@dataclass(frozen=True, slots=True)
class Mosaic:
    """A colour filter's mosaic: `samples` are its bytes, `code` is OpenCV's to gray."""

    samples: Groups | Fields
    code: int

    def row_bytes(self, width: int) -> int:
        """Return the bytes of a row that has no padding."""
        return self.samples.row_bytes(width)

    def luma(self, rows: Gray, width: int) -> Gray:
        """Interpolate rows, uint8 (height, row_bytes): uint8 contiguous (height, width)."""
        return np.asarray(cv2.cvtColor(self.samples.luma(rows, width), self.code), np.uint8)


Layout = Groups | Channels | Fields | BitStream | Mosaic


_PLANE = Groups(1, (0,))


def _samples() -> dict[str, Layout]:
    """Return the formats whose luma or colours stand in bytes or words of their own."""
    return {
        # Four pixels' worth of the bytes' names, as FOURCCs have it. Cameras give the first ones.
        **dict.fromkeys(("YUYV", "YVYU"), Groups(2, (0,))),
        **dict.fromkeys(("UYVY", "VYUY"), Groups(2, (1,))),
        # A plane of luma, then chroma: in one plane, in two, in buffers of their own (M), behind every second row.
        **dict.fromkeys(("NV12", "NV21", "NV16", "NV61", "NV24", "NV42", "YU12", "YV12", "422P", "411P"), _PLANE),
        **dict.fromkeys(("YUV9", "YVU9", "NM12", "NM21", "NM16", "NM61", "YM12", "YM21", "YM16", "YM61"), _PLANE),
        **dict.fromkeys(("YM24", "YM42", "GREY"), _PLANE),
        **dict.fromkeys(("P010", "P012"), Fields(2, ((0, 16),))),
        "YYUV": Groups(4, (0, 1)),
        "Y41P": Groups(12, (1, 3, 5, 7, 8, 9, 10, 11)),
        "YUV3": Groups(3, (0,)),
        **dict.fromkeys(("YUVA", "YUVX"), Groups(4, (0,))),
        **dict.fromkeys(("YUV4", "AYUV", "XYUV"), Groups(4, (1,))),
        **dict.fromkeys(("VUYA", "VUYX"), Groups(4, (2,))),
        "Y444": Fields(2, ((8, 4),)),
        "YUVO": Fields(2, ((10, 5),)),
        "YUVP": Fields(2, ((11, 5),)),
        "HSV3": Groups(3, (2,)),  # value, the brightest of the three
        "HSV4": Groups(4, (3,)),
        "Y04 ": Fields(1, ((0, 4),)),
        "Y06 ": Fields(1, ((0, 6),)),
        **{f"Y{bits} ": Fields(2, ((0, bits),)) for bits in (10, 12, 14, 16)},
        "Y012": Fields(2, ((0, 16),)),
        "Y16 -BE": Fields(2, ((0, 16),), big=True),
        "Y10B": BitStream(10),
        "Y10P": Groups(5, (0, 1, 2, 3)),
        "Y12P": Groups(3, (0, 1)),
        "Y14P": Groups(7, (0, 1, 2, 3)),
        "Y8I ": Groups(2, (0,)),  # the left one of two cameras
        "RGB3": Channels((RED, GREEN, BLUE)),
        "BGR3": Channels((BLUE, GREEN, RED)),
        **dict.fromkeys(("RGB4", "BX24", "BA24"), Channels((0, RED, GREEN, BLUE))),
        **dict.fromkeys(("BGR4", "XR24", "AR24"), Channels((BLUE, GREEN, RED, 0))),
        **dict.fromkeys(("XB24", "AB24"), Channels((RED, GREEN, BLUE, 0))),
        **dict.fromkeys(("RX24", "RA24"), Channels((0, BLUE, GREEN, RED))),
        "RGB1": Fields(1, ((5, 3), (2, 3), (0, 2)), (RED, GREEN, BLUE)),
        "BGRH": Fields(4, ((26, 6), (20, 6), (14, 6)), (BLUE, GREEN, RED), big=True),
    }


def _colour_words() -> dict[str, Layout]:
    """Return the formats of three colours in words of two bytes."""
    table: dict[str, Layout] = {}
    # Where the highest, the middle and the lowest colour's bits begin, and in which order they are.
    deep = {"565": ((11, 5), (5, 6), (0, 5)), "555": ((10, 5), (5, 5), (0, 5)), "444": ((8, 4), (4, 4), (0, 4))}
    high = {"555": ((11, 5), (6, 5), (1, 5)), "444": ((12, 4), (8, 4), (4, 4))}
    rgb, bgr = (RED, GREEN, BLUE), (BLUE, GREEN, RED)
    for names, fields, weights, big in (
        (("RGBP",), deep["565"], rgb, False),
        (("RGBR",), deep["565"], rgb, True),
        (("RGBO", "XR15", "AR15"), deep["555"], rgb, False),
        (("RGBQ", "XR15-BE", "AR15-BE"), deep["555"], rgb, True),
        (("XB15", "AB15"), deep["555"], bgr, False),
        (("RX15", "RA15"), high["555"], rgb, False),
        (("BX15", "BA15"), high["555"], bgr, False),
        (("R444", "XR12", "AR12"), deep["444"], rgb, False),
        (("XB12", "AB12"), deep["444"], bgr, False),
        (("RX12", "RA12"), high["444"], rgb, False),
        (("BX12", "GA12"), high["444"], bgr, False),
    ):
        table |= dict.fromkeys(names, Fields(2, fields, weights, big))
    return table


def _mosaics() -> dict[str, Layout]:
    """Return the formats of a sensor's own mosaic of colours."""
    table: dict[str, Layout] = {}
    for code, eight, ten, twelve, fourteen, sixteen, packed in (
        (cv2.COLOR_BayerBGGR2GRAY, "BA81", "BG10", "BG12", "BG14", "BYR2", "pB"),
        (cv2.COLOR_BayerGBRG2GRAY, "GBRG", "GB10", "GB12", "GB14", "GB16", "pG"),
        (cv2.COLOR_BayerGRBG2GRAY, "GRBG", "BA10", None, "GR14", "GR16", "pg"),
        (cv2.COLOR_BayerRGGB2GRAY, "RGGB", "RG10", "RG12", "RG14", "RG16", "pR"),
    ):
        samples: dict[str, Groups | Fields] = {
            eight: _PLANE,
            ten: Fields(2, ((0, 10),)),
            fourteen: Fields(2, ((0, 14),)),
            sixteen: Fields(2, ((0, 16),)),
            f"{packed}AA": Groups(5, (0, 1, 2, 3)),
            f"{packed}CC": Groups(3, (0, 1)),
            f"{packed}EE": Groups(7, (0, 1, 2, 3)),
        }
        # BA12 is the kernel's name of this mosaic, and none of the BGRA of four bits, which is GA12.
        samples["BA12" if twelve is None else twelve] = Fields(2, ((0, 12),))
        table |= {name: Mosaic(taken, code) for name, taken in samples.items()}
    return table


FORMATS = _samples() | _colour_words() | _mosaics()
COMPRESSED = ("MJPG", "JPEG")
KNOWN = (*FORMATS, *COMPRESSED)
# Formats whose luma costs least, and which cameras have, before others.
CHEAP = ("YUYV", "UYVY", "YVYU", "VYUY", "NV12", "NV21", "YU12", "YV12", "NV16", "NV61", "422P", "NV24", "NV42", "GREY")
VALID = f"{', '.join((*CHEAP, *COMPRESSED))}, and {len(KNOWN) - len(CHEAP) - len(COMPRESSED)} more"


def name_of(fourcc: int) -> str:
    """Name a FOURCC as the kernel does: four characters, and `-BE` where it says that its words are big-endian."""
    raw = (fourcc & ~BIG_ENDIAN & 0xFFFFFFFF).to_bytes(4, "little")
    return "".join(chr(c) if 32 <= c < 127 else "?" for c in raw) + ("-BE" if fourcc & BIG_ENDIAN else "")


def fourcc_of(name: str) -> int:
    """Return the FOURCC of a name."""
    big = name.endswith("-BE")
    return int.from_bytes(name.removesuffix("-BE").encode("latin-1"), "little") | (BIG_ENDIAN if big else 0)


def luma(
    raw: Gray,
    name: str,
    width: int,
    height: int,
    stride: int = 0,
    decode: Callable[[Gray], Gray | None] | None = None,
) -> Gray:
    """Take the luma out of a frame's bytes, uint8 (n,) in the format `name`: uint8 contiguous (height, width).

    `stride` is the bytes from row to row, 0 where rows have no padding; `decode` takes JPEG, whose size is its own.
    Raises PixelsInvalid where the format is unknown, or the bytes are too few or no picture.
    """
    if name in COMPRESSED and decode is not None:
        gray = decode(raw)
        if gray is None:
            raise PixelsInvalid(f"{raw.size} bytes that are no whole JPEG")
        return gray
    layout = FORMATS.get(name)
    if layout is None:
        raise PixelsInvalid(f"pixel format {name}; valid are {VALID}")
    least = layout.row_bytes(width)
    stride = stride or least
    wanted = stride * (height - 1) + least
    if min(width, height) < 1 or stride < least or raw.size < wanted:
        raise PixelsInvalid(
            f"{raw.size} bytes in rows of {stride}, where {name} of {width}x{height} has {least} a row, {wanted} in all"
        )
    rows = np.lib.stride_tricks.as_strided(raw, (height, least), (stride, 1), writeable=False)
    return layout.luma(rows if stride == least else np.ascontiguousarray(rows), width)


def weave(gray: Gray, field: int) -> Gray:
    """Put the rows of an interlaced picture, uint8 (height, width), where they belong; `field` is V4L2's v4l2_field.

    A single field's rows are doubled: (2 * height, width).
    """
    if field in ONE_FIELD:
        return np.repeat(gray, 2, axis=0)
    if field not in SEQUENTIAL:
        return gray
    woven = np.empty_like(gray)
    upper = -(-len(gray) // 2)
    woven[0::2], woven[1::2] = (gray[:upper], gray[upper:]) if field == 5 else (gray[-upper:], gray[:-upper])
    return woven
