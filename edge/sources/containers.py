"""A film's own headers: whether all of it is there, and how it is turned.

FFmpeg plays what there is and says neither; a header's number of frames is no proof of either: edit lists hide some.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import BinaryIO

from edge.sources.geometry import of_matrix

MOST_BOXES = 10_000  # that it reads: a hostile file must not take long
SLACK_BYTES = 64  # that writers were seen to be wrong by, at a file's end
_KNOWN_BOXES = (
    b"ftyp",
    b"moov",
    b"mdat",
    b"moof",
    b"free",
    b"skip",
    b"wide",
    b"uuid",
    b"meta",
    b"sidx",
    b"styp",
    b"pnot",
)
_EBML, _SEGMENT = b"\x1a\x45\xdf\xa3", b"\x18\x53\x80\x67"
Matrix = tuple[float, float, float, float]  # QuickTime's a, b, c, d
UNTURNED: Matrix = (1, 0, 0, 1)
_UNKNOWN_RIFF = (0, 0xFFFFFFFF)  # of a recording that never ended


def missing_bytes(file: BinaryIO, size: int) -> int:
    """Return how many of the bytes that its container announces a film's file of `size` bytes lacks.

    Reads MP4 and QuickTime (ISO/IEC 14496-12), AVI (RIFF) and Matroska (RFC 9559); 0 for others, and for a recording
    whose writer had not announced any.
    """
    file.seek(0)
    head = file.read(12)
    end = 0
    if head[4:8] in _KNOWN_BOXES:
        for kind, _, box_end in boxes(file, 0, size):
            if kind not in _KNOWN_BOXES:
                break  # what somebody hung on behind
            end = box_end
    elif head[:4] == b"RIFF" and head[8:] == b"AVI ":
        end = _riff_end(file, size)
    elif head.startswith(_EBML):
        end = _matroska_end(file)
    return end - size if end - size > SLACK_BYTES else 0


def boxes(file: BinaryIO, begin: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """Yield the boxes that begin between two offsets, as type, offset of the content and of the box's end."""
    for _ in range(MOST_BOXES):
        file.seek(begin)
        head = file.read(16)
        if begin + 8 > end or len(head) < 8:
            return
        length, kind = struct.unpack(">I4s", head[:8])
        content = begin + 8
        if length == 1 and len(head) == 16:
            length, content = struct.unpack(">Q", head[8:])[0], begin + 16
        elif length == 0:  # up to the end, wherever that is
            length = end - begin
        if length < content - begin:
            return
        yield kind, content, begin + length
        begin += length


def _riff_end(file: BinaryIO, size: int) -> int:
    """Return where the last of an AVI's RIFF chunks ends; beyond 1 GB it has several (OpenDML)."""
    end = 0
    for _ in range(MOST_BOXES):
        file.seek(end)
        head = file.read(8)
        if len(head) < 8 or head[:4] != b"RIFF":
            return end
        length = int(struct.unpack("<I", head[4:])[0])
        if length in _UNKNOWN_RIFF:
            return 0
        end += 8 + length
        if end >= size:
            return end
        end += end % 2
    return end


def _matroska_end(file: BinaryIO) -> int:
    """Return where a Matroska file's segment ends, 0 where its header leaves that open, as a live recording does."""
    file.seek(4)
    header = _vint(file)
    if header is None:
        return 0
    file.seek(header, 1)
    if file.read(4) != _SEGMENT:
        return 0
    length = _vint(file)
    return 0 if length is None else file.tell() + length


def _vint(file: BinaryIO) -> int | None:
    """Read one of EBML's lengths (RFC 8794); None where it is unknown, or none."""
    first = file.read(1)
    if not first or not first[0]:
        return None
    width = 9 - first[0].bit_length()
    rest = file.read(width - 1)
    value = int.from_bytes(bytes([first[0] & (0xFF >> width)]) + rest, "big")
    return None if len(rest) < width - 1 or value == (1 << 7 * width) - 1 else value


def orientation(file: BinaryIO, size: int) -> int | None:
    """Return EXIF's number of how an MP4's or QuickTime's first video track is to be shown, None where it has none.

    OpenCV reports an angle alone, and of a mirrored film, as telephones' front cameras make them, a wrong one.
    """
    file.seek(0)
    if file.read(8)[4:] not in _KNOWN_BOXES:
        return None
    movie = UNTURNED
    for kind, content, end in _path(file, 0, size, b"moov"):
        if kind == b"mvhd":
            movie = _matrix(file, content, 36)
        elif kind == b"trak" and (track := _video_matrix(file, content, end)) is not None:
            (a, b, c, d), (e, f, g, h) = track, movie
            return of_matrix(a * e + b * g, a * f + b * h, c * e + d * g, c * f + d * h)
    return None


def _path(file: BinaryIO, begin: int, end: int, wanted: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Yield the boxes inside the first box of a type."""
    for kind, content, box_end in boxes(file, begin, end):
        if kind == wanted:
            yield from boxes(file, content, min(box_end, end))
            return


def _video_matrix(file: BinaryIO, begin: int, end: int) -> Matrix | None:
    """Return the matrix of a track of video, None of another."""
    for kind, content, _ in _path(file, begin, end, b"mdia"):
        if kind == b"hdlr":
            file.seek(content + 8)
            if file.read(4) != b"vide":
                return None
    for kind, content, _ in boxes(file, begin, end):
        if kind == b"tkhd":
            return _matrix(file, content, 40)
    return None


def _matrix(file: BinaryIO, content: int, at: int) -> Matrix:
    """Read the matrix of a header `at` bytes into it, or 12 further where its times have 64 bits; without u, v, w."""
    file.seek(content)
    wide = file.read(1) == b"\1"
    file.seek(content + at + (12 if wide else 0))
    numbers = file.read(20)
    if len(numbers) < 20:
        return UNTURNED
    a, b, _, c, d = struct.unpack(">5i", numbers)
    return a, b, c, d
