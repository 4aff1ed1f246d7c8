"""A real V4L2 device, the kernel's vivid on an emulated board: opened, unplugged while it streams, plugged in again."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from edge.sources.pixels import FORMATS
from tests.boards.board import NEEDS, VIRT, Board, board_files
from tests.support.pixels import tolerance

MACHINE = (*VIRT, "-m", "1024", "-smp", "2")
HUNG = 300.0  # seconds; only to end what would never
FIRST_FRAMES = 10  # a search of the whole frame ends in these; meanwhile the loop may be busy for longer than a loss

pytestmark = NEEDS


class CameraBoard(Board):
    """A board with vivid, where camera.py is at hand."""

    def wait(self, line: str) -> None:
        """Wait until a line is true."""
        until = time.monotonic() + HUNG
        while not self.value(f"bool({line})"):
            assert time.monotonic() < until, f"never true: {line}; {self.do('run.lines()[-20:], run.said()')}"

    def start(self, source: str) -> None:
        """Begin a run, and wait until it sees something, and its first frames are searched."""
        self.value(f"run = Run({source!r})")
        self.wait(f"len(run.lines()) > {FIRST_FRAMES} and run.lines()[-1][0] is not None")
        self.value("line, losses, said = len(run.lines()), run.losses(), len(run.said())")

    def wait_lost(self) -> None:
        """Wait until the run has shown that it has no camera, and has counted it."""
        self.wait("(None, 'no_camera') in run.lines()[line:]")
        self.wait("run.losses() > losses")
        assert self.value("run.ended()") is None, self.do("run.said()")

    def wait_back(self) -> None:
        """Wait until there are frames again, whose numbers go on where they were."""
        self.wait("run.lines()[-1][0] is not None")
        self.wait("'the camera gives frames again' in run.said()[said:]")
        numbers = self.value("[seq for seq, _ in run.lines() if seq is not None]")
        assert numbers == sorted(set(numbers))

    def end(self) -> str:
        """Stop the run by a signal, and return what it said; it must end well."""
        self.value("os.kill(run.pid, signal.SIGTERM)")
        self.wait("(code := run.ended()) is not None")
        said = str(self.value("run.said()"))
        assert self.value("code") == 0, said
        return said


@pytest.fixture(scope="module")
def machine(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[CameraBoard]:
    folder = tmp_path_factory.mktemp("board")
    with contextlib.closing(CameraBoard(board_files(), folder, repository, MACHINE, camera=True)) as board:
        board.value("import os, signal; from camera import *")
        board.value("load()")
        yield board


@pytest.fixture
def board(machine: CameraBoard) -> Iterator[CameraBoard]:
    """The machine with its one camera as it comes, and whatever a test left behind ended."""
    assert machine.value("nodes()") == ["/dev/video0"]
    machine.value("run = held = None")
    yield machine
    machine.do("run is None or run.ended() is not None or (os.kill(run.pid, signal.SIGKILL), os.waitpid(run.pid, 0))")
    machine.do("held is None or os.close(held)")
    machine.do("unbind()")
    machine.value("bind()")


@pytest.mark.parametrize(
    ("asked", "given"),
    [
        ("0,320x180@10", (180, 320)),
        ("/dev/video0,800x600", (480, 640)),
        ("0,320x240@25", (180, 320)),
        (",1280x720@10", (720, 1280)),
    ],
    ids=["its size", "too large", "another shape", "in colour for want of JPEG"],
)
def test_a_camera_gives_luma_of_the_size_that_it_has(asked: str, given: tuple[int, int], board: CameraBoard) -> None:
    board.value(f"seen = frames({asked!r}, 5)")
    assert board.value("[(f.gray.shape, str(f.gray.dtype), f.gray.flags.c_contiguous) for f in seen]") == (
        5 * [(given, "uint8", True)]
    )
    assert board.value("[f.seq for f in seen]") == [0, 1, 2, 3, 4]
    assert board.value("float(seen[0].gray.std())") > 20, "a test picture has bars"
    assert not board.value("bool((seen[0].gray == seen[4].gray).all())"), "it says its number in its corner"


@pytest.mark.parametrize("source", [1, 0], ids=["the start of its exposure", "a moment that is yet to come"])
def test_a_frame_is_of_when_its_driver_reports_but_not_of_the_future(source: int, board: CameraBoard) -> None:
    board.value(f"switch('Timestamp Source', {source})")
    times = board.value("[(f.t, f.t_arrived) for f in frames('0,320x180@10', 20)]")
    taken = [t for t, _ in times]
    assert taken == sorted(taken)
    assert all(0 <= arrived - t <= 1 for t, arrived in times)
    if source:
        assert len(set(taken)) == 20
        assert sum(t < arrived for t, arrived in times) > 10, "a frame is older than its arrival"


GRAY_RAMP, BARS = 20, 0  # of vivid's test patterns
UNREAD = {"FWHT", "MJPG"}  # what vivid's list may have of formats that are not in the table of raw ones


def is_comparable(name: str, pattern: int) -> bool:
    """Whether vivid means the same luma: of colours, HSV has the brightest of three, and gray is by Rec. 709."""
    return pattern == GRAY_RAMP or not name.startswith(("HSV", "GREY", "Y1"))


def check_formats(board: CameraBoard, folders: str, patterns: tuple[int, ...]) -> dict[str, Any]:
    """Compare the luma of all of vivid's formats with YUYV's, in its test patterns; returns what was printed."""
    for control, value in (("OSD Text Mode", 2), ("Quantization", 1)):  # none, full
        board.value(f"switch({control!r}, {value})")
    for pattern in patterns:
        board.value(f"switch('Test Pattern', {pattern})")
        said: dict[str, Any] = board.value(f"formats({folders})")
        assert set(said["offered"]) - UNREAD == set(said["given"])
        assert all(name == given for name, given in said["given"].items())
        assert said["shapes"] == [[360, 640]]
        assert said["stride"] == 2 * 640 + 64
        reference = said["levels"]["YUYV"]
        assert max(reference) - min(reference) > 150
        off = {
            name: round(max(abs(a - b) for a, b in zip(levels, reference, strict=True)), 1)
            for name, levels in said["levels"].items()
            if is_comparable(name, pattern)
        }
        assert {name: by for name, by in off.items() if by > 2.0 + (tolerance(name) if name in FORMATS else 0)} == {}
    return said


@pytest.mark.parametrize(
    ("version", "folders", "patterns"), [("4.14.", "", (GRAY_RAMP, BARS)), ("4.11.", "'/older'", (BARS,))]
)
def test_luma_is_the_same_picture_in_every_format_of_the_driver_with_each_opencv(
    version: str, folders: str, patterns: tuple[int, ...], board: CameraBoard
) -> None:
    said = check_formats(board, folders, patterns)
    assert said["opencv"].startswith(version)
    assert len(said["given"]) > 70


@pytest.mark.parametrize("held", [False, True], ids=["under its number", "under another number"])
def test_a_camera_unplugged_while_it_streams_is_shown_as_lost_and_used_again(held: bool, board: CameraBoard) -> None:
    board.start("v4l2:,320x180@10")
    if held:  # whoever has the old one open keeps its number taken
        board.value("held = os.open('/dev/video0', os.O_RDWR | os.O_NONBLOCK)")
    board.value("unbind()")
    board.wait_lost()
    board.wait("not run.opens()")
    assert board.value("nodes()") == []
    board.value("bind()")
    assert board.value("nodes()") == (["/dev/video1"] if held else ["/dev/video0"])
    board.wait_back()
    assert "the camera was lost " in board.end()


def test_a_device_that_stays_but_answers_nothing_any_more_is_lost(board: CameraBoard) -> None:
    board.start("v4l2:,320x180@10")
    board.value("switch('Disconnect')")
    board.wait_lost()
    assert board.value("nodes()") == ["/dev/video0"]
    board.value("unbind()")
    board.value("bind()")
    board.wait_back()
    board.end()


def test_a_camera_that_stops_delivering_is_lost_until_it_delivers_again(board: CameraBoard) -> None:
    board.start("v4l2:,320x180@10")
    board.value("switch('Percentage of Dropped Buffers', 100)")
    board.wait_lost()
    board.value("switch('Percentage of Dropped Buffers', 0)")
    board.wait_back()
    board.end()


def test_a_stream_that_breaks_is_begun_again(board: CameraBoard) -> None:
    board.start("v4l2:,320x180@10")
    board.value("switch('Inject Fatal Streaming Error')")
    board.wait_lost()
    board.wait_back()
    board.end()


def test_a_stream_that_cannot_be_begun_is_tried_again(board: CameraBoard) -> None:
    board.start("v4l2:,320x180@10")
    board.value("switch('Inject VIDIOC_STREAMON Error')")  # of the next
    board.value("switch('Inject Fatal Streaming Error')")
    board.wait_lost()
    board.wait_back()
    board.end()


@pytest.mark.parametrize("error", ["Inject V4L2_BUF_FLAG_ERROR", "Inject VIDIOC_QBUF Error"])
def test_a_single_damaged_frame_or_failed_call_ends_nothing(error: str, board: CameraBoard) -> None:
    board.start("v4l2:,320x180@10")
    board.value(f"switch({error!r})")
    board.value("seen = run.lines()[-1][0]")
    board.wait("(run.lines()[-1][0] or 0) > seen + 15")
    assert "looking for it again" not in board.end()


def test_a_run_ends_on_a_signal_while_its_camera_gives_nothing(board: CameraBoard) -> None:
    board.start("v4l2:,320x180@10")
    board.value("switch('Percentage of Dropped Buffers', 100)")
    board.wait("(None, 'no_camera') in run.lines()[line:]")  # a second after the last frame: it is still in the read
    board.end()


def test_a_run_ends_on_a_signal_while_it_opens_a_camera_that_gives_nothing(board: CameraBoard) -> None:
    board.start("v4l2:,320x180@10")
    board.value("switch('Percentage of Dropped Buffers', 100)")
    board.wait_lost()
    board.wait("not run.opens()")
    board.wait("run.opens()")  # it waits for the first frame
    board.end()


def test_a_camera_with_a_buffer_for_each_plane_gives_the_same_picture(board: CameraBoard) -> None:
    board.value("load(planes=2)")
    try:
        said = check_formats(board, "", (GRAY_RAMP,))
        assert {"NM12", "YM12", "NM16"} <= set(said["given"])
    finally:
        board.value("load()")
