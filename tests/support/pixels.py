"""Pictures as a driver lays them out in each pixel format, and how near a decoded one must come."""

from __future__ import annotations

import itertools

import numpy as np

from edge.types import Gray

RNG = np.random.default_rng(0)


# Bytes of a group of pixels in the order of memory: Y luma, R G B, and what is not looked at.
BYTES = {
    "YUYV": "YUYV", "YVYU": "YVYU", "UYVY": "UYVY", "VYUY": "VYUY", "YYUV": "YYUV", "Y41P": "UYVYUYVYYYYY",
    "YUV3": "YUV", "YUVA": "YUVA", "YUVX": "YUVX", "YUV4": "AYUV", "AYUV": "AYUV", "XYUV": "XYUV", "VUYA": "VUYA",
    "VUYX": "VUYX", "HSV3": "HSY", "HSV4": "XHSY", "Y8I ": "YU",
    "RGB3": "RGB", "BGR3": "BGR", "RGB4": "XRGB", "BX24": "XRGB", "BA24": "ARGB", "BGR4": "BGRX", "XR24": "BGRX",
    "AR24": "BGRA", "XB24": "RGBX", "AB24": "RGBA", "RX24": "XBGR", "RA24": "ABGR",
}  # fmt: skip


# Bits of a pixel, the highest first: Y luma, r g b, and what is not looked at; < and > are the order of the bytes.
BITS = {
    "Y444": "<xxxxYYYYuuuuvvvv", "YUVO": "<aYYYYYuuuuuvvvvv", "YUVP": "<YYYYYuuuuuuvvvvv",
    "Y04 ": "<xxxxYYYY", "Y06 ": "<xxYYYYYY", "Y10 ": "<" + 6 * "0" + 10 * "Y", "Y12 ": "<" + 4 * "0" + 12 * "Y",
    "Y14 ": "<00" + 14 * "Y", "Y16 ": "<" + 16 * "Y", "Y16 -BE": ">" + 16 * "Y", "Y012": "<" + 12 * "Y" + "0000",
    "RGB1": "<rrrgggbb", "RGBP": "<rrrrrggggggbbbbb", "RGBR": ">rrrrrggggggbbbbb",
    "BGRH": ">bbbbbbggggggrrrrrr" + 14 * "x",
    "RGBO": "<arrrrrgggggbbbbb", "XR15": "<xrrrrrgggggbbbbb", "AR15": "<arrrrrgggggbbbbb", "RGBQ": ">arrrrrgggggbbbbb",
    "XR15-BE": ">xrrrrrgggggbbbbb", "AR15-BE": ">arrrrrgggggbbbbb",
    "XB15": "<xbbbbbgggggrrrrr", "AB15": "<abbbbbgggggrrrrr",
    "RX15": "<rrrrrgggggbbbbbx", "RA15": "<rrrrrgggggbbbbba", "BX15": "<bbbbbgggggrrrrrx", "BA15": "<bbbbbgggggrrrrra",
    "R444": "<xxxxrrrrggggbbbb", "XR12": "<xxxxrrrrggggbbbb", "AR12": "<aaaarrrrggggbbbb", "XB12": "<xxxxbbbbggggrrrr",
    "AB12": "<aaaabbbbggggrrrr", "RX12": "<rrrrggggbbbbxxxx", "RA12": "<rrrrggggbbbbaaaa", "BX12": "<bbbbggggrrrrxxxx",
    "GA12": "<bbbbggggrrrraaaa",
}  # fmt: skip


# Bytes of chroma behind a plane of luma, by rows of the picture.
PLANES = {
    **dict.fromkeys(("NV12", "NV21", "YU12", "YV12", "411P"), 1 / 2), **dict.fromkeys(("NV16", "NV61", "422P"), 1),
    **dict.fromkeys(("NV24", "NV42"), 2), **dict.fromkeys(("YUV9", "YVU9"), 1 / 8),
    **dict.fromkeys(("GREY", "NM12", "NM21", "NM16", "NM61", "YM12", "YM21", "YM16", "YM61", "YM24", "YM42"), 0),
}  # fmt: skip


# Colour filters: pattern and depth; P is MIPI's packing of several pixels' upper bytes before their lower bits.
MOSAICS = {
    "BA81": "BGGR 8", "GBRG": "GBRG 8", "GRBG": "GRBG 8", "RGGB": "RGGB 8",
    "BG10": "BGGR 10", "GB10": "GBRG 10", "BA10": "GRBG 10", "RG10": "RGGB 10",
    "BG12": "BGGR 12", "GB12": "GBRG 12", "BA12": "GRBG 12", "RG12": "RGGB 12",
    "BG14": "BGGR 14", "GB14": "GBRG 14", "GR14": "GRBG 14", "RG14": "RGGB 14",
    "BYR2": "BGGR 16", "GB16": "GBRG 16", "GR16": "GRBG 16", "RG16": "RGGB 16",
    "pBAA": "BGGR 10P", "pGAA": "GBRG 10P", "pgAA": "GRBG 10P", "pRAA": "RGGB 10P",
    "pBCC": "BGGR 12P", "pGCC": "GBRG 12P", "pgCC": "GRBG 12P", "pRCC": "RGGB 12P",
    "pBEE": "BGGR 14P", "pGEE": "GBRG 14P", "pgEE": "GRBG 14P", "pREE": "RGGB 14P",
}  # fmt: skip


STREAMS = {"Y10B": "10B", "Y10P": "10P", "Y12P": "12P", "Y14P": "14P"}


PAIRS = ("P010", "P012")  # words of two bytes in two planes


def deepen(levels: Gray, bits: int) -> np.ndarray:
    """The same levels with more bits, whose lowest are noise."""
    return levels.astype(np.uint32) << (bits - 8) | RNG.integers(0, 1 << (bits - 8), levels.shape, np.uint32)


def pack(levels: Gray, how: str) -> Gray:
    """Lay out gray of a depth (8, 10, ... 16: words; P: MIPI's packing; B: a stream of bits), rows without padding."""
    bits = int(how.strip("PB"))
    if bits == 8:
        return levels
    deep = deepen(levels, bits)
    if how.endswith("B"):
        streams = ["".join(f"{value:0{bits}b}" for value in row) for row in deep]
        rows = [[int(row[at : at + 8].ljust(8, "0"), 2) for at in range(0, len(row), 8)] for row in streams]
        return np.array(rows, np.uint8)
    if how.endswith("P"):
        group = 2 if bits == 12 else 4
        filled = np.pad(deep, ((0, 0), (0, -deep.shape[1] % group)))
        groups = filled.reshape(len(deep), -1, group)
        low = (groups & ((1 << (bits - 8)) - 1)) << (np.arange(group, dtype=np.uint32) * (bits - 8))
        tail = low.sum(axis=2).astype(np.int64)[..., None] >> (8 * np.arange(group * (bits - 8) // 8))
        whole = np.concatenate([groups >> (bits - 8), tail & 0xFF], axis=2)
        return whole.reshape(len(deep), -1).astype(np.uint8)
    return deep.astype("<u2").view(np.uint8)


def lay_out(name: str, picture: Gray) -> Gray:
    """Lay a picture, uint8 (height, width, RGB), out in a format: uint8 rows without padding, chroma below them."""
    gray = picture[..., 1]
    height, width = gray.shape
    channels = {"R": picture[..., 0], "G": gray, "B": picture[..., 2]}
    if name in BYTES:
        letters = BYTES[name]
        pixels = max(letters.count("Y"), 1)
        filled = {key: np.pad(value, ((0, 0), (0, -width % pixels))) for key, value in (channels | {"Y": gray}).items()}
        taken = itertools.count()
        columns = [filled[c][:, (next(taken) if c == "Y" else 0) :: pixels] if c in filled else None for c in letters]
        noise = RNG.integers(0, 256, (height, -(-width // pixels)), np.uint8)
        return np.dstack([noise if column is None else column for column in columns]).reshape(height, -1)
    if name in BITS:
        order, letters = BITS[name][0], BITS[name][1:]
        word = np.zeros(gray.shape, np.uint32)
        for letter, run in itertools.groupby(letters):
            bits = len(list(run))
            value = {"Y": gray, "r": channels["R"], "g": gray, "b": channels["B"], "0": 0 * gray}.get(letter)
            part = RNG.integers(0, 1 << bits, gray.shape, np.uint32) if value is None else value.astype(np.uint32)
            if value is not None:
                part = deepen(value, bits) if bits > 8 else part >> (8 - bits)
            word = word << bits | part
        return word.astype(f"{order}u{len(letters) // 8}").view(np.uint8).reshape(height, -1)
    if name in PLANES:
        chroma = RNG.integers(0, 256, (round(height * PLANES[name]), width), np.uint8)
        return np.vstack([gray, chroma])
    if name in PAIRS:
        return np.vstack([pack(gray, "16"), RNG.integers(0, 256, (height // 2, 2 * width), np.uint8)])
    if name in STREAMS:
        return pack(gray, STREAMS[name])
    pattern, how = MOSAICS[name].split()
    mosaic = np.empty_like(gray)
    for letter, (down, right) in zip(pattern, itertools.product((0, 1), repeat=2), strict=True):
        mosaic[down::2, right::2] = channels[letter][down::2, right::2]
    return pack(mosaic, how)


def tolerance(name: str) -> float:
    """How far from the picture luma may be: half a step of the coarsest channel, or what a mosaic leaves open."""
    if name in MOSAICS:
        return 12.0
    if name in BITS:
        letters = BITS[name][1:]
        bits = min(len(list(run)) for letter, run in itertools.groupby(letters) if letter in "Yrgb")
        return 255 / ((1 << bits) - 1) if bits < 8 else 0
    return 1.0 if set(BYTES.get(name, "")) >= set("RGB") else 0.0
