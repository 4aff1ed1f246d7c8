"""Films as a player shows them, on every OpenCV: turned, square pixels, whole, whatever their name and container."""

from __future__ import annotations

import os
import struct
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge.errors import SourceTruncated, SourceUnreadable
from edge.sources import containers, film, open_source
from edge.sources.file import STILL_FRAMES, FileSource
from edge.sources.geometry import of_matrix, turn
from edge.sources.pictures import in_order
from edge.types import Frame, Gray

WIDTH, HEIGHT = 64, 48
ODD_NAMES = [
    "2026-11-29T12:30:00",
    "http:clip",
    "caf\udce9",
    "-clip",
    "a b",
    "100%",
    "clip%03d",
    "[a]*?",
    "new\nline",
    "'\"",
    "ü" * 120,
]


def play(path: Path | str) -> list[Frame]:
    return list(FileSource(str(path), live=False).frames())


def shades(count: int) -> list[Gray]:
    """Frames that differ, with a bright left upper corner."""
    pictures = []
    for index in range(count):
        plane = np.full((HEIGHT, WIDTH), 40 + 10 * index, np.uint8)
        plane[: HEIGHT // 2, : WIDTH // 2] = 230
        pictures.append(plane)
    return pictures


def y4m(path: Path, pictures: Sequence[Gray], header: str = "Ip A1:1") -> Path:
    """Write YUV4MPEG2, in which a film can say anything of itself."""
    height, width = pictures[0].shape
    content = f"YUV4MPEG2 W{width} H{height} F25:1 {header} C420jpeg\n".encode()
    for plane in pictures:
        content += b"FRAME\n" + plane.tobytes() + bytes([128]) * (2 * ((width + 1) // 2) * ((height + 1) // 2))
    path.write_bytes(content)
    return path


def mp4(path: Path, count: int = 10) -> Path:
    writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*"mp4v"), 25.0, (WIDTH, HEIGHT))
    assert writer.isOpened()
    for plane in shades(count):
        writer.write(cv2.cvtColor(plane, cv2.COLOR_GRAY2BGR))
    writer.release()
    return path


def with_matrix(path: Path, a: int, b: int, c: int, d: int) -> Path:
    """Write another matrix into the header of an MP4's only track."""
    content = bytearray(path.read_bytes())
    at = content.index(b"tkhd") + 4 + 40
    content[at : at + 20] = struct.pack(">5i", a << 16, b << 16, 0, c << 16, d << 16)
    path.write_bytes(content)
    return path


def bright_corner(gray: Gray) -> str:
    height, width = gray.shape
    return max(
        ("left upper", gray[: height // 2, : width // 2]),
        ("right upper", gray[: height // 2, width // 2 :]),
        ("left lower", gray[height // 2 :, : width // 2]),
        ("right lower", gray[height // 2 :, width // 2 :]),
        key=lambda corner: float(corner[1].mean()),
    )[0]


@pytest.mark.parametrize(
    ("matrix", "shape", "corner"),
    [
        ((1, 0, 0, 1), (HEIGHT, WIDTH), "left upper"),
        ((0, 1, -1, 0), (WIDTH, HEIGHT), "right upper"),
        ((-1, 0, 0, -1), (HEIGHT, WIDTH), "right lower"),
        ((0, -1, 1, 0), (WIDTH, HEIGHT), "left lower"),
        ((-1, 0, 0, 1), (HEIGHT, WIDTH), "right upper"),
        ((1, 0, 0, -1), (HEIGHT, WIDTH), "left lower"),
        ((0, 1, 1, 0), (WIDTH, HEIGHT), "left upper"),
        ((0, -1, -1, 0), (WIDTH, HEIGHT), "right lower"),
    ],
    ids=["upright", "clockwise", "upside down", "counter", "mirrored", "flipped", "transposed", "transversed"],
)
def test_a_film_is_turned_and_mirrored_as_its_header_states(
    matrix: tuple[int, int, int, int], shape: tuple[int, int], corner: str, tmp_path: Path
) -> None:
    frames = play(with_matrix(mp4(tmp_path / "turned.mp4"), *matrix))
    assert len(frames) == 10
    assert all(frame.gray.shape == shape and bright_corner(frame.gray) == corner for frame in frames)


def test_a_turn_in_the_header_of_the_whole_film_counts_as_well(tmp_path: Path) -> None:
    path = with_matrix(mp4(tmp_path / "turned.mp4"), 0, 1, -1, 0)
    content = bytearray(path.read_bytes())
    at = content.index(b"mvhd") + 4 + 36
    content[at : at + 20] = struct.pack(">5i", 0, 1 << 16, 0, -1 << 16, 0)
    path.write_bytes(content)
    with path.open("rb") as file:
        assert containers.orientation(file, len(content)) == 3


@pytest.mark.parametrize(
    ("aspect", "shape"),
    [("4:3", (48, 85)), ("1:2", (96, 64)), ("1:1", (48, 64)), ("0:0", (48, 64)), ("90:1", (48, 64))],
)
def test_pixels_are_made_square_where_a_film_says_that_they_are_not(
    aspect: str, shape: tuple[int, int], tmp_path: Path
) -> None:
    (frame, *_) = play(y4m(tmp_path / "film.y4m", shades(5), f"Ip A{aspect}"))
    assert frame.gray.shape == shape
    assert bright_corner(frame.gray) == "left upper"


@pytest.mark.parametrize("count", [1, 8])
def test_interlaced_video_is_decoded_or_refused_by_name_and_never_black(count: int, tmp_path: Path) -> None:
    path = y4m(tmp_path / "interlaced.y4m", shades(count), "It A1:1")
    refusal = None
    frames = []
    try:
        frames = play(path)
    except SourceUnreadable as error:  # OpenCV 4.11 decodes it, 4.14 does not
        refusal = str(error)
    if refusal is not None:
        assert "interlaced video" in refusal
        assert "yadif" in refusal
    else:
        assert len(frames) == (count if count > 1 else STILL_FRAMES)
        assert all(bright_corner(frame.gray) == "left upper" for frame in frames)


def test_what_turns_interlaced_in_its_middle_is_not_shown_as_a_picture_that_stands_still(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = y4m(tmp_path / "film.y4m", [*shades(4), *[shades(4)[3]] * 4])
    asked = []

    def complain(target: str, number: int, descriptors: tuple[int, ...]) -> bytes:
        asked.append(number)
        return b"[swscaler @ 0x1] Cannot convert interlaced to progressive frames or vice versa.\n"

    monkeypatch.setattr(film, "_look_again", complain)
    with pytest.raises(SourceUnreadable, match="interlaced video"):
        play(path)
    assert asked == [4]


@pytest.mark.parametrize("shade", [0, 120])
def test_a_film_that_stands_still_is_played(shade: int, tmp_path: Path) -> None:
    frames = play(y4m(tmp_path / "still.y4m", [np.full((HEIGHT, WIDTH), shade, np.uint8)] * 6))
    assert [frame.t for frame in frames] == pytest.approx([index / 25 for index in range(6)])


def test_a_film_of_one_frame_is_a_picture(tmp_path: Path) -> None:
    frames = play(y4m(tmp_path / "one.y4m", shades(1)))
    assert len(frames) == STILL_FRAMES
    assert [frame.seq for frame in frames] == list(range(STILL_FRAMES))
    assert frames[-1].t == pytest.approx((STILL_FRAMES - 1) / 30)


@pytest.mark.parametrize("size", [(1, 1), (8, 8), (320, 12), (12, 320)])
def test_frames_in_which_no_face_can_be_are_named(size: tuple[int, int], tmp_path: Path) -> None:
    with pytest.raises(SourceUnreadable, match=f"{size[0]}x{size[1]}.*valid are"):
        play(y4m(tmp_path / "tiny.y4m", [np.full(size[::-1], shade, np.uint8) for shade in (10, 90, 170)]))


def jpegs(path: Path, pictures: Sequence[Gray]) -> Path:
    path.write_bytes(b"".join(cv2.imencode(".jpg", plane)[1].tobytes() for plane in pictures))
    return path


@pytest.mark.parametrize("name", ["test.mjpeg", "test.jpg", "test"])
def test_jpegs_in_a_row_are_a_film(name: str, tmp_path: Path) -> None:
    frames = play(jpegs(tmp_path / name, shades(7)))
    assert [round(float(frame.gray[-5:, -5:].mean()), -1) for frame in frames] == [40, 50, 60, 70, 80, 90, 100]


def test_a_picture_with_a_smaller_one_or_a_film_behind_it_is_a_picture(tmp_path: Path) -> None:
    plane = shades(1)[0]
    for name, behind in (
        ("preview", cv2.imencode(".jpg", plane[:20, :20])[1].tobytes()),
        ("motion", os.urandom(50_000)),
    ):
        path = tmp_path / f"{name}.jpg"
        path.write_bytes(cv2.imencode(".jpg", plane)[1].tobytes() + behind)
        assert len(play(path)) == STILL_FRAMES


@pytest.mark.parametrize("name", ODD_NAMES)
@pytest.mark.parametrize("make", [mp4, lambda path: jpegs(path, shades(10))], ids=["mp4", "mjpeg"])
def test_a_film_plays_whatever_it_is_called(
    make: Callable[[Path], Path], name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = make(tmp_path / "plain.mp4")
    whole.rename(tmp_path / f"{name}.mp4")
    monkeypatch.chdir(tmp_path)
    for given in (f"{name}.mp4", str(tmp_path / f"{name}.mp4")):
        assert len(list(open_source(f"file:{given}", live=False).frames())) == 10


def test_a_files_address_is_its_path(tmp_path: Path) -> None:
    mp4(tmp_path / "a b.mp4")
    assert len(play(f"file://{tmp_path}/a%20b.mp4")) == 10


def test_a_name_that_no_file_can_have_is_a_missing_file() -> None:
    for name in ("a" * 5000, "a\0b"):
        with pytest.raises(FileNotFoundError, match="no such file"):
            FileSource(name, live=False)


def test_numbers_in_names_are_sorted_by_their_value() -> None:
    names = ["frame10.jpg", "frame2.jpg", "frame1.jpg", "b.jpg", "frame01.jpg", "a 2 b 10.jpg", "a 2 b 9.jpg"]
    assert sorted(names, key=in_order) == [
        "a 2 b 9.jpg",
        "a 2 b 10.jpg",
        "b.jpg",
        "frame01.jpg",
        "frame1.jpg",
        "frame2.jpg",
        "frame10.jpg",
    ]


def test_a_folder_plays_in_that_order_and_hides_no_picture_that_is_not_read(tmp_path: Path) -> None:
    for number in range(1, 13):
        cv2.imwrite(str(tmp_path / f"frame{number}.png"), np.full((HEIGHT, WIDTH), 10 * number, np.uint8))
    (tmp_path / "._frame1.png").write_bytes(b"\0\5\x16\7")
    (tmp_path / "folder.png").mkdir()
    assert [int(frame.gray[0, 0]) for frame in play(tmp_path)] == [10 * number for number in range(1, 13)]
    (tmp_path / "IMG_13.HEIC").write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(100))
    with pytest.raises(SourceUnreadable, match=r"IMG_13\.HEIC: HEIC.*convert it to JPEG"):
        play(tmp_path)


def trimmed(path: Path, media_time: int) -> Path:
    """Let an MP4's edit list begin later, as a cut without coding again does."""
    content = bytearray(path.read_bytes())
    at = content.index(b"elst") + 4
    assert content[at] == 0  # its version
    content[at + 12 : at + 16] = struct.pack(">i", media_time)
    path.write_bytes(content)
    return path


def test_frames_that_an_edit_list_hides_are_no_loss(tmp_path: Path) -> None:
    path = mp4(tmp_path / "trim.mp4", 20)
    source = FileSource(str(path), live=False)
    scale = struct.unpack(">I", path.read_bytes()[path.read_bytes().index(b"mdhd") + 16 :][:4])[0]
    assert source.announced == 20
    frames = play(trimmed(path, round(scale * 0.48)))
    assert len(frames) == 8
    assert frames[0].t == 0


@pytest.mark.parametrize("suffix", [".avi", ".mkv"])
@pytest.mark.parametrize("share", [0.6, 0.95])
def test_a_file_that_lacks_some_of_its_bytes_is_cut_short(suffix: str, share: float, tmp_path: Path) -> None:
    path = tmp_path / f"cut{suffix}"
    code = cv2.VideoWriter.fourcc(*"MJPG")
    writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, code, 25.0, (WIDTH, HEIGHT))
    for plane in shades(20):
        writer.write(cv2.cvtColor(plane, cv2.COLOR_GRAY2BGR))
    writer.release()
    assert len(play(path)) == 20
    size = path.stat().st_size
    os.truncate(path, int(share * size))
    with pytest.raises(SourceTruncated, match=rf"{int(share * size)} of the {size} bytes"):
        play(path)


def test_what_a_container_states_of_its_length() -> None:
    from io import BytesIO

    def missing(content: bytes) -> int:
        return containers.missing_bytes(BytesIO(content), len(content))

    movie = b"\0\0\0\x10ftypisom\0\0\0\0"
    assert missing(movie + b"\0\0\x10\0mdat" + bytes(1000)) == 4096 - 1008
    assert missing(movie + b"\0\0\0\0mdat" + bytes(1000)) == 0, "up to the end"
    assert missing(movie + b"\0\0\0\1mdat" + (5000).to_bytes(8, "big") + bytes(1000)) == 5000 - 1016
    assert missing(movie + b"\0\0\0\x10mdat" + bytes(8) + b"\x7f\xff\xff\xffSEFH") == 0, "what a telephone hangs on"
    assert missing(b"RIFF\0\0\0\0AVI " + bytes(500)) == 0, "a recording that never ended"
    assert missing(b"RIFF\0\x10\0\0AVI " + bytes(500)) == 4096 + 8 - 512
    live = b"\x1a\x45\xdf\xa3\x80\x18\x53\x80\x67\x01\xff\xff\xff\xff\xff\xff\xff"
    assert missing(live + bytes(500)) == 0, "of unknown length"
    assert missing(b"\x1a\x45\xdf\xa3\x80\x18\x53\x80\x67\x50\x00" + bytes(96)) == 4096 - 96
    for junk in (b"", b"\0" * 40, b"\x1a\x45\xdf\xa3", movie + b"\0\0\0\1mdat", b"RIFF" * 10, b"\0\0\0\4moov" * 9):
        assert missing(junk) == 0
        assert containers.orientation(BytesIO(junk), len(junk)) is None


@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation_is_what_its_matrix_is(orientation: int) -> None:
    picture = np.arange(6, dtype=np.uint8).reshape(2, 3)
    turned = turn(picture, orientation)
    found = []
    for matrix in ((1, 0, 0, 1), (-1, 0, 0, 1), (-1, 0, 0, -1), (1, 0, 0, -1), (0, 1, 1, 0), (0, 1, -1, 0)):
        if of_matrix(*matrix) == orientation:
            a, b, c, d = matrix
            for y, x in np.ndindex(2, 3):
                found.append((a * x + c * y, b * x + d * y, picture[y, x]))
    left, top = min((x for x, _, _ in found), default=0), min((y for _, y, _ in found), default=0)
    assert all(turned[y - top, x - left] == value for x, y, value in found)
    assert sorted(turned.ravel()) == list(range(6))
    np.testing.assert_array_equal(turn(turned, {6: 8, 8: 6}.get(orientation, orientation)), picture)
