"""The file source: every frame once, whatever was recorded, and each way it can be broken named."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge.errors import CameraLost, CuelensError, SourceEmpty, SourceMissing, SourceTruncated, SourceUnreadable
from edge.sources import film as film_module
from edge.sources import open_source
from edge.sources.file import STILL_FRAMES, FileSource
from edge.types import Frame, Gray

WHOLE_CLIPS = 33


def play(path: Path | str) -> list[Frame]:
    return list(FileSource(str(path), live=False).frames())


def picture(shade: int) -> Gray:
    plane = np.full((48, 64), shade, np.uint8)
    plane[::4, ::3] = 255 - shade
    return plane


def record(path: Path, frames: int, fps: float = 25.0) -> Path:
    writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*"MJPG"), fps, (64, 48))
    assert writer.isOpened()
    for index in range(frames):
        writer.write(np.full((48, 64, 3), 10 * index, np.uint8))
    writer.release()
    return path


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    return record(tmp_path / "clip.avi", 10)


def test_a_video_gives_every_frame_with_its_position(clip: Path) -> None:
    source = FileSource(str(clip), live=False)
    assert source.announced == 10
    assert not source.live
    frames = list(source.frames())
    assert [frame.seq for frame in frames] == list(range(10))
    assert [frame.t for frame in frames] == pytest.approx([index / 25 for index in range(10)], abs=0.002)
    for index, frame in enumerate(frames):
        assert frame.gray.shape == (48, 64)
        assert frame.gray.dtype == np.uint8
        assert frame.gray.flags.c_contiguous
        assert frame.gray.mean() == pytest.approx(10 * index, abs=3)


def test_live_play_keeps_the_recorded_pace_on_the_monotonic_clock(clip: Path) -> None:
    before = time.monotonic()
    frames = list(FileSource(str(clip), live=True).frames())
    assert len(frames) == 10
    for index, frame in enumerate(frames):
        assert frame.t == frame.t_arrived
        assert frame.t - before >= index / 25 - 0.005
    assert frames[-1].t - frames[0].t < 2.0


def test_closing_from_another_thread_ends_a_live_play(tmp_path: Path) -> None:
    source = FileSource(str(record(tmp_path / "slow.avi", 10, fps=1.0)), live=True)
    reader = threading.Thread(target=lambda: list(source.frames()))
    reader.start()
    time.sleep(0.05)
    source.close()
    source.close()
    reader.join(60)
    assert not reader.is_alive()


def test_one_picture_is_a_still_film_long_enough_for_a_cue(tmp_path: Path) -> None:
    path = tmp_path / "one.png"
    cv2.imwrite(str(path), picture(40))
    source = FileSource(str(path), live=False)
    frames = list(source.frames())
    assert source.announced == len(frames) == STILL_FRAMES
    assert frames[-1].t == pytest.approx((STILL_FRAMES - 1) / 30)
    np.testing.assert_array_equal(frames[-1].gray, picture(40))


def test_a_folder_gives_its_pictures_in_the_order_of_their_names(tmp_path: Path) -> None:
    for name, shade in (("b.png", 60), ("a.png", 30), ("c.BMP", 90)):
        cv2.imwrite(str(tmp_path / name), picture(shade))
    (tmp_path / "notes.txt").write_text("not a picture")
    source = FileSource(str(tmp_path), live=False)
    frames = list(source.frames())
    assert source.announced == 3
    assert [int(frame.gray[1, 1]) for frame in frames] == [30, 60, 90]
    assert [frame.t for frame in frames] == pytest.approx([0, 1 / 30, 2 / 30])


def test_pictures_of_different_sizes_keep_their_sizes(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "1.png"), picture(1))
    cv2.imwrite(str(tmp_path / "2.png"), picture(1)[:20])
    assert [frame.gray.shape for frame in play(tmp_path)] == [(48, 64), (20, 64)]


def make_missing(folder: Path) -> Path:
    return folder / "missing.mp4"


def make_empty_file(folder: Path) -> Path:
    (folder / "empty.mp4").touch()
    return folder / "empty.mp4"


def make_empty_folder(folder: Path) -> Path:
    (folder / "readme.txt").write_text("no pictures here")
    return folder


def make_text(folder: Path) -> Path:
    (folder / "text.txt").write_text("FFmpeg would play this as a terminal session\n" * 200)
    return folder / "text.txt"


def make_noise(folder: Path) -> Path:
    (folder / "noise.mp4").write_bytes(np.random.default_rng(0).bytes(50_000))
    return folder / "noise.mp4"


def make_cut_picture(folder: Path, suffix: str) -> Path:
    path = folder / f"cut{suffix}"
    cv2.imwrite(str(path), np.random.default_rng(0).integers(0, 255, (60, 80), np.uint8))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    return path


def make_cut_jpeg(folder: Path) -> Path:
    return make_cut_picture(folder, ".jpg")


def make_cut_png_in_a_folder(folder: Path) -> Path:
    return make_cut_picture(folder, ".png").parent


def make_empty_picture_in_a_folder(folder: Path) -> Path:
    (folder / "empty.jpg").touch()
    return folder


def make_fifo(folder: Path) -> Path:
    os.mkfifo(folder / "fifo")
    return folder / "fifo"


BROKEN = [
    (make_missing, SourceMissing, "no such file"),
    (make_empty_file, SourceEmpty, "0 bytes"),
    (make_empty_folder, SourceEmpty, "no picture in this folder"),
    (make_text, SourceUnreadable, "text"),
    (make_noise, SourceUnreadable, "neither a video nor a picture"),
    (make_cut_jpeg, SourceUnreadable, r"cut\.jpg: a damaged picture"),
    (make_cut_png_in_a_folder, SourceUnreadable, r"cut\.png: a damaged picture"),
    (make_empty_picture_in_a_folder, SourceEmpty, r"empty\.jpg"),
    (make_fifo, SourceUnreadable, "not a file or folder"),
]


@pytest.mark.parametrize(("make", "error", "words"), BROKEN, ids=[make.__name__[5:] for make, _, _ in BROKEN])
def test_what_is_broken_is_named_in_one_line(
    make: object, error: type[CuelensError], words: str, tmp_path: Path
) -> None:
    path = make(tmp_path)  # type: ignore[operator]
    with pytest.raises(error, match=words) as caught:
        play(path)
    assert str(tmp_path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_no_argument_is_a_missing_file() -> None:
    with pytest.raises(SourceMissing, match="give a video, picture or folder"):
        open_source("file", live=False)


def test_a_stream_that_does_not_open_is_refused_within_its_deadline() -> None:
    before = time.monotonic()
    with pytest.raises(SourceUnreadable, match="no video stream opens there"):
        FileSource("http://127.0.0.1:9/none", live=True)
    assert time.monotonic() - before < 10


class FakeStream:
    """An endless stream in the place of ClosableCapture: three frames, then nothing."""

    opened = True

    def __init__(self, *_: object) -> None:
        self.left = 3
        self.closing = threading.Event()

    def get(self, name: int) -> float:
        return 0.0

    def set(self, name: int, value: float) -> bool:
        return True

    def read(self) -> Gray | None:
        self.left -= 1
        return picture(self.left) if self.left >= 0 else None

    def close(self) -> None:
        pass


def test_an_endless_stream_is_live_and_its_end_is_a_lost_camera(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(film_module, "ClosableCapture", FakeStream)
    source = FileSource("rtsp://camera/stream", live=False)
    assert source.live
    assert source.announced is None
    received = []
    with pytest.raises(CameraLost, match="stopped after 3 frames"):
        received.extend(source.frames())
    frames = source.frames()
    assert list(frames) == [], "a closed source ends"


class FakeVideo(FakeStream):
    """Five frames whose header and clock are what a test says."""

    stamps = (0.0, 0.0, 0.0, 0.0, 0.0)
    header_fps = 0.0
    header_count = 5.0

    def __init__(self, *_: object) -> None:
        self.at = -1
        self.closing = threading.Event()

    def get(self, name: int) -> float:
        if name == cv2.CAP_PROP_POS_MSEC:
            return self.stamps[self.at] * 1000
        return {cv2.CAP_PROP_FPS: self.header_fps, cv2.CAP_PROP_FRAME_COUNT: self.header_count}.get(name, 0.0)

    def read(self) -> Gray | None:
        self.at += 1
        return picture(self.at) if self.at < len(self.stamps) else None


@pytest.mark.parametrize(
    ("stamps", "fps", "expected"),
    [
        ((0, 0.1, 0.2, 0.3, 0.4), 10.0, (0, 0.1, 0.2, 0.3, 0.4)),
        ((0, 0, 0, 0, 0), 20.0, (0, 0.05, 0.10, 0.15, 0.20)),
        ((0, 0, 0, 0, 0), 0.0, (0, 1 / 30, 2 / 30, 3 / 30, 4 / 30)),
        ((0, 0, 0, 0, 0), float("nan"), (0, 1 / 30, 2 / 30, 3 / 30, 4 / 30)),
        ((0, 0, 0, 0, 0), 90_000.0, (0, 1 / 30, 2 / 30, 3 / 30, 4 / 30)),
        ((5, 5.1, 4.0, 4.1, 4.2), 10.0, (0, 0.1, 0.2, 0.3, 0.4)),
        ((0, 0.1, 9_000.0, 9_000.1, 9_000.2), 10.0, (0, 0.1, 0.2, 0.3, 0.4)),
    ],
    ids=["whole", "no clock", "no clock, no rate", "rate is nan", "rate is a time base", "steps back", "leaps"],
)
def test_time_always_advances_whatever_the_header_states(
    stamps: tuple[float, ...], fps: float, expected: tuple[float, ...], clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FakeVideo, "stamps", stamps)
    monkeypatch.setattr(FakeVideo, "header_fps", fps)
    monkeypatch.setattr(film_module, "ClosableCapture", FakeVideo)
    assert [frame.t for frame in play(clip)] == pytest.approx(expected)


@pytest.mark.parametrize("count", [0.0, -1.0, float("nan"), 9.2e18])
def test_an_implausible_length_is_not_announced(count: float, clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FakeVideo, "header_count", count)
    monkeypatch.setattr(film_module, "ClosableCapture", FakeVideo)
    source = FileSource(str(clip), live=False)
    assert source.announced is None
    assert len(list(source.frames())) == 5


def test_a_video_without_one_decodable_frame_is_unreadable(clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FakeVideo, "stamps", ())
    monkeypatch.setattr(film_module, "ClosableCapture", FakeVideo)
    with pytest.raises(SourceUnreadable, match="no frame of this video can be decoded"):
        play(clip)


def test_a_film_over_http_without_a_frame_says_what_its_server_may_lack(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FakeVideo, "stamps", ())
    monkeypatch.setattr(film_module, "ClosableCapture", FakeVideo)
    with pytest.raises(SourceUnreadable, match="HTTP ranges"):
        play("http://server/film.mp4")


QUIET = """
import sys
from edge.errors import CuelensError
from edge.sources import open_source
for path in sys.argv[1:]:
    try:
        print(sum(1 for _ in open_source("file:" + path, live=False).frames()))
    except CuelensError as error:
        print(type(error).__name__)
"""


def test_opencv_and_ffmpeg_keep_off_the_terminal(clip: Path, tmp_path: Path, repository: Path) -> None:
    """In a process of its own: FFmpeg's level is set once, by whoever uses it first."""
    cut = tmp_path / "cut.avi"
    cut.write_bytes(clip.read_bytes()[: clip.stat().st_size * 3 // 4])
    makers = (make_text, make_noise, make_cut_jpeg, make_cut_png_in_a_folder)
    broken = []
    for make in makers:
        (tmp_path / make.__name__).mkdir()
        broken.append(make(tmp_path / make.__name__))
    words = [sys.executable, "-c", QUIET, str(clip), *map(str, broken), str(cut)]
    done = subprocess.run(words, capture_output=True, text=True, cwd=repository, timeout=60, check=True)
    assert done.stdout.split()[:-1] == ["10", *["SourceUnreadable"] * 4]
    assert done.stderr == ""


@pytest.mark.shared
def test_every_whole_clip_plays_to_its_end_in_order(shared: Path) -> None:
    clips = sorted(path for path in (shared / "clips").iterdir() if path.suffix in (".mkv", ".mov", ".mp4"))
    assert len(clips) == WHOLE_CLIPS
    for path in clips:
        source = FileSource(str(path), live=False)
        assert source.announced is not None
        count, last = 0, -1.0
        for frame in source.frames():
            assert frame.t > last, f"{path.name}: time stands still at frame {frame.seq}"
            count, last = count + 1, frame.t
        assert abs(count - source.announced) <= 3, path.name


@pytest.mark.shared
@pytest.mark.parametrize("name", ["asl_gestures_eat.mkv", "cap13_edit2.mp4"])
def test_half_a_clip_gives_its_frames_and_then_says_that_it_is_cut(name: str, shared: Path, tmp_path: Path) -> None:
    whole = shared / "clips" / name
    half = tmp_path / name
    shutil.copyfile(whole, half)
    half.chmod(0o600)
    os.truncate(half, whole.stat().st_size // 2)
    source = FileSource(str(half), live=False)
    assert source.announced is not None
    seen = []
    with pytest.raises(SourceTruncated, match=rf"{half.stat().st_size} of the {whole.stat().st_size} bytes"):
        seen.extend(frame.seq for frame in source.frames())
    assert 0.2 * source.announced < len(seen) < 0.7 * source.announced


@pytest.mark.shared
def test_half_a_clip_whose_index_comes_last_cannot_be_opened(shared: Path, tmp_path: Path) -> None:
    whole = shared / "clips" / "classroom.mp4"
    half = tmp_path / "half.mp4"
    half.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    with pytest.raises(SourceUnreadable, match="or cut short"):
        FileSource(str(half), live=False)
