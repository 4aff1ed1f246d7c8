"""What a picture's own header states: its format, whether it is whole, how it is turned, how wide its pixels are.

Pure on bytes, which may be hostile: every length is checked against what is there, and every walk has an end.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from pathlib import Path

from edge.sources.geometry import TRANSPOSED, UPRIGHT

JPEG, PNG, RIFF = b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"RIFF"
TIFF = (b"II*\0", b"MM\0*")
GIF = (b"GIF87a", b"GIF89a")
MOST_PARTS = 10_000  # chunks, segments or pages that it reads

_HEIC_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"}
_AVIF_BRANDS = {b"avif", b"avis"}
_FOREIGN = {
    b"\xff\x0a": "JPEG XL",
    b"\0\0\0\x0cJXL ": "JPEG XL",
    b"8BPS": "a Photoshop file",
    b"%PDF": "PDF",
    b"%!PS": "PostScript",
    b"<svg": "SVG",
    b"gimp xcf": "a GIMP file",
    b"qoif": "QOI",
    b"BPG\xfb": "BPG",
    b"DDS ": "DDS",
    b"\0\0\1\0": "an icon",
    b"II\xbc": "JPEG XR",
    b"FUJIFILMCCD-RAW": "a camera's raw picture",
    b"IIRO": "a camera's raw picture",
    b"IIU\0": "a camera's raw picture",
}
_RAW = (".3fr", ".arw", ".cr2", ".cr3", ".dng", ".erf", ".kdc", ".nef", ".nrw", ".orf", ".pef", ".raf", ".rw2", ".srw")
UNREAD = (".avif", ".heic", ".heif", ".hif", ".jxl", *_RAW)  # names of pictures that a folder must not hide

# A marker of a JPEG that ends a scan: no stuffing, filling or restart (ITU-T T.81, B.1.1).
_MARKER = re.compile(rb"\xff+[^\x00\xff\xd0-\xd7]")
_SIZES = (0xC0, 0xC1, 0xC2, 0xC3, 0xC5, 0xC6, 0xC7, 0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF)  # markers: SOF0 to SOF15
_ORIENTATION, _WIDE, _HIGH, _UNIT, _KIND = 0x0112, 0x011A, 0x011B, 0x0128, 0x00FE  # tags of TIFF 6.0 and EXIF


def foreign_format(path: Path, head: bytes, *, avif: bool) -> str | None:
    """Name the format of a picture that is not read, by its first bytes and its name; None where it may be read."""
    if path.suffix.lower() in _RAW:
        return "a camera's raw picture"
    found = brands(head)
    if found & _AVIF_BRANDS:
        return None if avif else "AVIF"
    if found & _HEIC_BRANDS:
        return "HEIC"
    return next((name for start, name in _FOREIGN.items() if head.startswith(start)), None)


def brands(head: bytes) -> set[bytes]:
    """Return what a file's first box says that it is (ISO/IEC 14496-12), its major brand among them."""
    if head[4:8] != b"ftyp":
        return set()
    end = min(int.from_bytes(head[:4], "big"), len(head))
    return {head[8:12], *(head[at : at + 4] for at in range(16, end - 3, 4))}


def is_avif(head: bytes) -> bool:
    """Return whether a file begins as AVIF does."""
    return bool(brands(head) & _AVIF_BRANDS)


def is_film(content: bytes) -> bool:
    """Return whether what begins like a picture is for FFmpeg: a GIF, an animated PNG, or JPEGs in a row.

    A second JPEG behind the first is a frame (`rpicam-vid --codec mjpeg` writes no container) where it has the same
    size; where the first says that there are several (CIPA DC-007), it is a preview or a map of the light.
    """
    if content.startswith(PNG):
        return any(kind == b"acTL" for kind, _ in _png_chunks(content))
    if content.startswith(JPEG):
        end = _jpeg_end(content)
        following = b"\xff" + content[end:].lstrip(b"\0\xff") if end else b""
        return following.startswith(JPEG) and _jpeg_size(content) == _jpeg_size(following)
    return content.startswith(GIF)


def is_animated(content: bytes) -> bool:
    """Return whether a WebP or AVIF has several pictures."""
    if content.startswith(RIFF):
        return content[8:16] == b"WEBPVP8X" and bool(content[20:21] and content[20] & 2)
    return b"avis" in brands(content)


def pages(content: bytes) -> list[int]:
    """Return the numbers of a TIFF's pages that are no smaller copy of another; the only one of anything else."""
    if not content.startswith(TIFF):
        return [0]
    kinds = [int(tags.get(_KIND, 0)) for tags in _directories(content)]
    return [number for number, kind in enumerate(kinds) if not kind & 1] or [0]


def is_whole(content: bytes) -> bool:
    """Return whether a JPEG or PNG has its end: some decoders fill what is missing with gray and report nothing.

    What somebody hung on behind the end, as telephones do the film of a motion photo, is nobody's loss.
    """
    if content.startswith(b"\xff\xd8"):
        return _jpeg_end(content) > 0
    if content.startswith(PNG[:4]):
        return any(kind == b"IEND" for kind, _ in _png_chunks(content))
    return True


def may_be_see_through(content: bytes) -> bool:
    """Return whether a picture may have an alpha channel, or more than 8 bits of which only OpenCV's reader knows."""
    if content.startswith(PNG):
        return content[25:26] in (b"\4", b"\6") or any(kind == b"tRNS" for kind, _ in _png_chunks(content))
    if content.startswith(RIFF):
        return content[12:16] == b"VP8L" or (content[12:16] == b"VP8X" and bool(content[20:21] and content[20] & 0x10))
    return content.startswith((*TIFF, *GIF)) or is_avif(content)


def shown(content: bytes) -> tuple[int, float]:
    """Return how a picture is to be shown: EXIF's number of its orientation, and a pixel's width by its height.

    Of a TIFF 1: OpenCV turns it in every version. Densities without a unit are the pixel's aspect itself, as JFIF has
    it and FFmpeg writes into PNG; with one they are pixels a length.
    """
    if content.startswith(JPEG):
        return _shown_jpeg(content)
    if content.startswith(PNG):
        return _shown_png(content)
    if content.startswith(RIFF):
        exif = next((data for kind, data in webp_chunks(content[12:]) if kind == b"EXIF"), b"")
        return _exif(exif.removeprefix(b"Exif\0\0"))[0], 1.0
    if content.startswith(TIFF):
        lies, aspect = _exif(content)
        return UPRIGHT, aspect if lies < TRANSPOSED else 1 / aspect
    return (_heif_orientation(content) if is_avif(content) else UPRIGHT), 1.0


def _shown_jpeg(content: bytes) -> tuple[int, float]:
    orientation, aspect = UPRIGHT, 1.0
    for marker, data in _jpeg_segments(content):
        if marker == 0xE0 and data.startswith(b"JFIF\0") and len(data) >= 12:
            aspect = _aspect(data[7], *struct.unpack(">HH", data[8:12]))
        elif marker == 0xE1 and data.startswith(b"Exif\0\0"):
            orientation = _exif(data[6:])[0]
        elif marker == 0xDA:
            break
    return orientation, aspect


def _shown_png(content: bytes) -> tuple[int, float]:
    orientation, aspect = UPRIGHT, 1.0
    for kind, data in _png_chunks(content):
        if kind == b"pHYs" and len(data) == 9:
            wide, high, unit = struct.unpack(">IIB", data)
            aspect = _aspect(unit, wide, high)
        elif kind == b"eXIf":
            orientation = _exif(data)[0]
    return orientation, aspect


def _aspect(unit: int, wide: float, high: float) -> float:
    if not wide or not high:
        return 1.0
    return high / wide if unit else wide / high


def _jpeg_segments(content: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield a JPEG's markers with their segments' data, a scan as its header alone, to its end or as far as it goes."""
    for marker, begin, end in _jpeg_markers(content):
        yield marker, content[begin:end]


def _jpeg_markers(content: bytes) -> Iterator[tuple[int, int, int]]:
    at = 2
    while (found := _MARKER.match(content, at)) is not None:
        marker, begin = content[found.end() - 1], found.end()
        if marker == 0xD9:
            yield marker, begin, begin
            return
        if marker == 0x01:  # the only other one without a length
            at = begin
            continue
        length = int.from_bytes(content[begin : begin + 2], "big")
        if length < 2 or begin + length > len(content):
            return
        yield marker, begin + 2, begin + length
        at = begin + length
        if marker == 0xDA:
            following = _MARKER.search(content, at)
            if following is None:
                return
            at = following.start()


def _jpeg_end(content: bytes) -> int:
    """Return where a JPEG ends, 0 where it does not."""
    return next((end for marker, _, end in _jpeg_markers(content) if marker == 0xD9), 0)


def _jpeg_size(content: bytes) -> bytes | None:
    """Return a JPEG's height and width as they are coded; None where it has several pictures that are not frames."""
    for marker, data in _jpeg_segments(content):
        if marker == 0xE2 and data.startswith(b"MPF\0"):
            return None
        if marker in _SIZES:
            return data[1:5]
    return None


def _png_chunks(content: bytes) -> Iterator[tuple[bytes, bytes]]:
    at = 8
    for _ in range(MOST_PARTS):
        length, kind = int.from_bytes(content[at : at + 4], "big"), content[at + 4 : at + 8]
        end = at + 12 + length
        if len(kind) < 4 or end > len(content):
            return
        yield kind, b"" if kind == b"IDAT" else content[at + 8 : end - 4]
        if kind == b"IEND":
            return
        at = end


def webp_chunks(content: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield the chunks of a WebP's body, or of one of its frames, as far as they are there."""
    at = 0
    for _ in range(MOST_PARTS):
        kind, length = content[at : at + 4], int.from_bytes(content[at + 4 : at + 8], "little")
        if len(kind) < 4 or at + 8 + length > len(content):
            return
        yield kind, content[at + 8 : at + 8 + length]
        at += 8 + length + length % 2


def _directories(content: bytes) -> Iterator[dict[int, float]]:
    """Yield the directories of a TIFF, or of EXIF, which is one: the tags that matter here, with their values."""
    order = ">" if content.startswith(b"MM") else "<"
    at, seen = int(_number(content, 4, order + "I")), set[int]()
    while 8 <= at <= len(content) - 6 and at not in seen and len(seen) < MOST_PARTS:
        seen.add(at)
        tags = {}
        count = int(_number(content, at, order + "H"))
        for entry in range(at + 2, min(at + 2 + 12 * count, len(content) - 11), 12):
            tag, kind = struct.unpack_from(order + "HH", content, entry)
            if tag not in (_ORIENTATION, _WIDE, _HIGH, _UNIT, _KIND):
                continue
            if kind == 5:  # a fraction, elsewhere
                where = int(_number(content, entry + 8, order + "I"))
                below = _number(content, where + 4, order + "I")
                tags[tag] = _number(content, where, order + "I") / below if below else 0.0
            else:
                tags[tag] = _number(content, entry + 8, order + ("H" if kind == 3 else "I"))
        yield tags
        at = int(_number(content, at + 2 + 12 * count, order + "I"))


def _number(content: bytes, at: int, form: str) -> float:
    """Return the whole number at an offset, 0 where that is outside."""
    return float(struct.unpack_from(form, content, at)[0]) if 0 <= at <= len(content) - struct.calcsize(form) else 0.0


def _exif(content: bytes) -> tuple[int, float]:
    """Return the orientation of EXIF or TIFF, and the aspect of its pixels."""
    tags = next(_directories(content), {}) if content.startswith(TIFF) else {}
    orientation = int(tags.get(_ORIENTATION, UPRIGHT))
    aspect = _aspect(1, tags.get(_WIDE, 0.0), tags.get(_HIGH, 0.0))
    return (orientation if 1 <= orientation <= 8 else UPRIGHT), aspect


def _heif_orientation(content: bytes) -> int:
    """Return how an AVIF is turned: its `irot` counter-clockwise, then its `imir` (ISO/IEC 23008-12, 6.5)."""
    head = content[: 1 << 16]
    turned = re.search(rb"\0\0\0\x09irot(.)", head, re.DOTALL)
    mirrored = re.search(rb"\0\0\0\x09imir(.)", head, re.DOTALL)
    quarters = turned[1][0] & 3 if turned else 0
    if mirrored is None:
        return (1, 8, 3, 6)[quarters]
    return (2, 7, 4, 5)[quarters] if mirrored[1][0] & 1 else (4, 5, 2, 7)[quarters]
