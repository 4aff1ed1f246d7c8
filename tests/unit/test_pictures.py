"""Pictures of files as a viewer shows them: turned, square pixels, on white, alike on every OpenCV."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge.errors import SourceUnreadable
from edge.sources.file import STILL_FRAMES, FileSource
from edge.sources.headers import is_whole
from edge.sources.pictures import load_picture
from edge.types import Gray

EXIF = b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0%c\0\0\0\0\0\0\0"
CORNERS = {1: (0, 0), 2: (0, -1), 3: (-1, -1), 4: (-1, 0), 5: (0, 0), 6: (0, -1), 7: (-1, -1), 8: (-1, 0)}


def plane() -> Gray:
    """A picture of 60x40 with a bright left upper corner."""
    gray = np.full((40, 60), 50, np.uint8)
    gray[:20, :30] = 230
    return gray


def coded(suffix: str, picture: np.ndarray) -> bytes:
    options = [cv2.IMWRITE_WEBP_QUALITY, 101] if suffix == ".webp" else []
    return bytes(cv2.imencode(suffix, picture, options)[1])


def png_chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def jpeg_with(*segments: tuple[int, bytes]) -> bytes:
    content = coded(".jpg", plane())
    begin = 4 + int.from_bytes(content[4:6], "big")  # behind OpenCV's own APP0
    added = b"".join(bytes((0xFF, marker)) + struct.pack(">H", len(data) + 2) + data for marker, data in segments)
    return content[:2] + added + content[begin:]


def png_with(kind: bytes, data: bytes) -> bytes:
    content = coded(".png", plane())
    return content[:33] + png_chunk(kind, data) + content[33:]


def webp_chunk(kind: bytes, data: bytes) -> bytes:
    return kind + struct.pack("<I", len(data)) + data + b"\0" * (len(data) % 2)


def webp(flags: int, size: tuple[int, int], *chunks: bytes) -> bytes:
    three = b"".join((side - 1).to_bytes(3, "little") for side in size)
    body = b"WEBP" + webp_chunk(b"VP8X", bytes((flags, 0, 0, 0)) + three) + b"".join(chunks)
    return b"RIFF" + struct.pack("<I", len(body)) + body


def tiff(*pictures: Gray, orientation: int = 1, dpi: tuple[int, int] = (72, 72), smaller: bool = False) -> bytes:
    """Write gray pages; `smaller` marks the last as a copy of another."""
    content, place = b"II*\0", 4
    for index, gray in enumerate(pictures):
        pixels = gray.tobytes() + b"\0" * (gray.size % 2)
        fractions = struct.pack("<4I", dpi[0], 1, dpi[1], 1)
        entries = [
            (254, 4, int(smaller and index == len(pictures) - 1)),
            (256, 4, gray.shape[1]),
            (257, 4, gray.shape[0]),
            (258, 3, 8),
            (259, 3, 1),
            (262, 3, 1),
            (273, 4, place + 4),
            (274, 3, orientation),
            (277, 3, 1),
            (278, 4, gray.shape[0]),
            (279, 4, gray.size),
            (282, 5, place + 4 + len(pixels)),
            (283, 5, place + 12 + len(pixels)),
        ]
        directory = place + 4 + len(pixels) + 16
        content += struct.pack("<I", directory) + pixels + fractions + struct.pack("<H", len(entries))
        content += b"".join(struct.pack("<HHII", tag, kind, 1, value) for tag, kind, value in entries)
        place = directory + 2 + 12 * len(entries)
    return content + struct.pack("<I", 0)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("form", ["jpg", "png", "webp", "tif"])
def test_a_picture_is_turned_as_it_says_itself(form: str, orientation: int, tmp_path: Path) -> None:
    exif = EXIF % orientation
    content = {
        "jpg": lambda: jpeg_with((0xE1, b"Exif\0\0" + exif)),
        "png": lambda: png_with(b"eXIf", exif),
        "webp": lambda: webp(8, (60, 40), coded(".webp", plane())[12:], webp_chunk(b"EXIF", exif)),
        "tif": lambda: tiff(plane(), orientation=orientation),
    }[form]()
    path = tmp_path / f"picture.{form}"
    path.write_bytes(content)
    gray = load_picture(path)
    assert gray.shape == ((40, 60) if orientation < 5 else (60, 40))
    assert gray[CORNERS[orientation]] > 200
    assert np.count_nonzero(gray > 200) == pytest.approx(600, abs=40)
    assert gray.flags.c_contiguous


@pytest.mark.parametrize(
    ("name", "content", "shape"),
    [
        ("density.jpg", jpeg_with((0xE0, b"JFIF\0\1\1\1" + struct.pack(">HHH", 100, 200, 0))), (40, 120)),
        ("aspect.jpg", jpeg_with((0xE0, b"JFIF\0\1\1\0" + struct.pack(">HHH", 4, 3, 0))), (40, 80)),
        ("density.png", png_with(b"pHYs", struct.pack(">IIB", 4000, 2000, 1)), (80, 60)),
        ("density.tif", tiff(plane(), dpi=(204, 98)), (83, 60)),
        ("turned.tif", tiff(plane(), dpi=(100, 200), orientation=6), (120, 40)),
        ("square.png", png_with(b"pHYs", struct.pack(">IIB", 2835, 2835, 1)), (40, 60)),
        ("mistake.jpg", jpeg_with((0xE0, b"JFIF\0\1\1\1" + struct.pack(">HHH", 72, 1, 0))), (40, 60)),
        ("none.jpg", jpeg_with((0xE0, b"JFIF\0\1\1\1" + struct.pack(">HHH", 0, 0, 0))), (40, 60)),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_pixels_that_are_not_square_are_made_so(
    name: str, content: bytes, shape: tuple[int, int], tmp_path: Path
) -> None:
    (tmp_path / name).write_bytes(content)
    assert load_picture(tmp_path / name).shape == shape


@pytest.mark.parametrize("suffix", [".png", ".webp"])
def test_what_is_see_through_is_white(suffix: str, tmp_path: Path) -> None:
    picture = np.dstack([plane()] * 3 + [np.full((40, 60), 255, np.uint8)])
    picture[20:, :, 3] = 0
    picture[20:, :, :3] = np.random.default_rng(0).integers(0, 255, (20, 60, 3))
    picture[:, 30:, 3] //= 2
    path = tmp_path / f"cut{suffix}"
    path.write_bytes(coded(suffix, picture))
    gray = load_picture(path)
    assert gray[5, 5] == pytest.approx(230, abs=2)
    assert gray[5, 50] == pytest.approx(0.5 * 50 + 0.5 * 255, abs=3)
    assert (gray[20:] == 255).all()


def test_bits_and_palettes_make_no_difference(tmp_path: Path) -> None:
    gray = plane()
    forms = {
        "8.png": gray,
        "16.png": gray.astype(np.uint16) * 257,
        "16.tif": gray.astype(np.uint16) * 257,
        "float.tif": gray.astype(np.float32) / 255,
        "colour.bmp": cv2.cvtColor(gray, cv2.COLOR_GRAY2BGR),
        "16c.png": cv2.cvtColor(gray, cv2.COLOR_GRAY2BGR).astype(np.uint16) * 257,
    }
    for name, picture in forms.items():
        (tmp_path / name).write_bytes(coded(f".{name.partition('.')[2]}", picture))
        np.testing.assert_allclose(load_picture(tmp_path / name).astype(int), gray, atol=2, err_msg=name)
    palette = png_chunk(b"PLTE", bytes((50, 50, 50, 230, 230, 230)))
    rows = b"".join(b"\0" + bytes(row) for row in (gray > 100).astype(np.uint8))
    header = png_chunk(b"IHDR", struct.pack(">IIBBBBB", 60, 40, 8, 3, 0, 0, 0))
    body = header + palette + png_chunk(b"IDAT", zlib.compress(rows)) + png_chunk(b"IEND", b"")
    (tmp_path / "palette.png").write_bytes(b"\x89PNG\r\n\x1a\n" + body)
    np.testing.assert_allclose(load_picture(tmp_path / "palette.png").astype(int), gray, atol=2)


def animated_webp(shades: list[int], alpha: bool = False) -> bytes:
    """Frames of 20x20, each 10 further to the right on a canvas of 60x40, laid one on the other."""
    frames = []
    for index, shade in enumerate(shades):
        picture = np.full((20, 20, 4 if alpha else 3), shade, np.uint8)
        if alpha:
            picture[..., 3] = 255
            picture[:10, :, 3] = 0
        head = b"".join(value.to_bytes(3, "little") for value in (5 * index, 0, 19, 19, 100 * (index + 1)))
        chunks = coded(".webp", picture)[12:]
        frames.append(webp_chunk(b"ANMF", head + b"\0" + chunks))
    return webp(0x12 if alpha else 2, (60, 40), webp_chunk(b"ANIM", bytes(6)), *frames)


def test_an_animated_webp_is_a_film(tmp_path: Path) -> None:
    path = tmp_path / "film.webp"
    path.write_bytes(animated_webp([30, 90, 160]))
    frames = list(FileSource(str(path), live=False).frames())
    assert [frame.t for frame in frames] == pytest.approx([0, 0.1, 0.3])
    assert [frame.gray.shape for frame in frames] == [(40, 60)] * 3
    assert [int(value) for value in frames[-1].gray[5, [5, 15, 25, 45]]] == [30, 90, 160, 255]
    path.write_bytes(animated_webp([30, 90, 160], alpha=True))
    (*_, last) = FileSource(str(path), live=False).frames()
    assert [int(value) for value in last.gray[[5, 15], 25]] == [255, 160]
    said: list[str] = []
    assert load_picture(path, said.append)[15, 5] == 30
    assert len(said) == 1
    assert "first" in said[0]


def test_a_tiffs_pages_are_a_film_but_for_smaller_copies(tmp_path: Path) -> None:
    path = tmp_path / "pages.tif"
    pages = [np.full((40, 60), shade, np.uint8) for shade in (30, 120, 210)]
    path.write_bytes(tiff(*pages))
    assert [int(frame.gray[0, 0]) for frame in FileSource(str(path), live=False).frames()] == [30, 120, 210]
    path.write_bytes(tiff(pages[0], pages[1][::2, ::2].copy(), smaller=True))
    assert len(list(FileSource(str(path), live=False).frames())) == STILL_FRAMES


@pytest.mark.parametrize(
    ("name", "head", "word"),
    [
        ("a.heic", b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "HEIC"),
        ("renamed.jpg", b"\0\0\0\x18ftypmif1\0\0\0\0mif1heic", "HEIC"),
        ("a.jxl", b"\xff\x0a" + bytes(30), "JPEG XL"),
        ("a.psd", b"8BPS\0\1", "Photoshop"),
        ("a.pdf", b"%PDF-1.7\n", "PDF"),
        ("a.svg", b"<svg xmlns=", "SVG"),
        ("a.nef", b"II*\0\x08\0\0\0", "raw picture"),
        ("a.cr3", b"\0\0\0\x18ftypcrx \0\0\0\1crx isom", "raw picture"),
    ],
)
def test_a_format_that_is_not_read_is_named_with_what_to_do(name: str, head: bytes, word: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(head + bytes(200))
    for read in (lambda: load_picture(path), lambda: list(FileSource(str(path), live=False).frames())):
        with pytest.raises(SourceUnreadable, match=rf"{word}.*convert it to JPEG"):
            read()


@pytest.mark.parametrize("size", [(1, 1), (8, 8), (15, 300)])
def test_a_picture_in_which_no_face_can_be_is_named(size: tuple[int, int], tmp_path: Path) -> None:
    path = tmp_path / "tiny.png"
    cv2.imwrite(str(path), np.full(size, 90, np.uint8))
    for read in (lambda: load_picture(path), lambda: list(FileSource(str(path), live=False).frames())):
        with pytest.raises(SourceUnreadable, match=rf"{size[1]}x{size[0]} pixels; valid are"):
            read()


def test_what_hangs_behind_a_picture_is_nobodys_loss_and_what_lacks_its_end_is_not_whole() -> None:
    noise = np.random.default_rng(0).integers(0, 255, (60, 80), np.uint8)
    for suffix in (".jpg", ".png"):
        content = coded(suffix, noise)
        assert is_whole(content)
        assert is_whole(content + bytes(10 * len(content)) + b"ftypmp42")
        for share in (0.05, 0.5, 0.9):
            assert not is_whole(content[: int(share * len(content))])
    thumbnail = jpeg_with((0xE1, b"Exif\0\0" + EXIF % 1 + coded(".jpg", noise[:16, :16])))
    assert is_whole(thumbnail)
    assert not is_whole(thumbnail[: len(thumbnail) - 20]), "its thumbnail's end is not its own"


@pytest.mark.parametrize("content", [b"GIF87a", b"GIF89a" + bytes(7), b"GIF89a\x20\0\x20\0\0\0\0;"])
def test_a_gif_without_a_picture_is_one_line(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "empty.gif"
    path.write_bytes(content)
    for read in (lambda: load_picture(path), lambda: list(FileSource(str(path), live=False).frames())):
        with pytest.raises(SourceUnreadable, match=r"empty\.gif: "):
            read()


@pytest.mark.parametrize("seed", range(4))
def test_headers_that_lie_end_in_one_line(seed: int, tmp_path: Path) -> None:
    rng = np.random.default_rng(seed)
    path = tmp_path / "hostile"
    for content in (animated_webp([30, 90]), tiff(plane(), plane()), jpeg_with((0xE1, b"Exif\0\0" + EXIF % 6))):
        for _ in range(25):
            hostile = bytearray(content)
            for at in rng.integers(0, min(len(hostile), 200), 4):
                hostile[at] = rng.integers(0, 256)
            path.write_bytes(hostile)
            try:
                gray = load_picture(path)
            except SourceUnreadable as error:
                assert "\n" not in str(error)  # noqa: PT017 most are damaged, some are not
            else:
                assert gray.ndim == 2
