"""The V4L2 source against a stand-in for OpenCV's capture: formats, failures, deadlines."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge.errors import CameraLost, CameraMissing, SettingsInvalid
from edge.sources import open_source, v4l2
from edge.sources.v4l2 import FAILED_READS, V4l2Source, cameras, luma
from edge.types import Gray

GRAY = np.random.default_rng(0).integers(0, 256, (48, 64), np.uint8)
YUYV = np.dstack([GRAY, np.full_like(GRAY, 128)])


class FakeCapture:
    """cv2.VideoCapture as far as it is used: says what it was opened with, gives what a test put in."""

    opens: tuple[str, ...] = ()
    reads: Callable[[], Iterator[Gray | None]]
    age = 0.02  # seconds between the driver's stamp and the read
    made: list[FakeCapture]

    def __init__(self) -> None:
        self.released = False
        self._reads = type(self).reads()
        type(self).made.append(self)

    def open(self, path: str, backend: int, options: list[int]) -> bool:
        self.path, self.backend = path, backend
        self.options = dict(zip(options[::2], options[1::2], strict=True))
        return path in self.opens

    def get(self, name: int) -> float:
        if name == cv2.CAP_PROP_POS_MSEC:
            return (time.monotonic() - self.age) * 1000
        return {cv2.CAP_PROP_FRAME_WIDTH: 64.0, cv2.CAP_PROP_FRAME_HEIGHT: 48.0}[name]

    def read(self) -> tuple[bool, Gray | None]:
        assert not self.released
        picture = next(self._reads, None)
        return picture is not None, picture

    def release(self) -> None:
        self.released = True


def forever() -> Iterator[Gray | None]:
    while True:
        yield YUYV


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    """Two devices of which the second is a camera; /dev is a folder of the test's."""
    paths = [str(tmp_path / name) for name in ("video0", "video1")]
    for path in paths:
        Path(path).touch()
    monkeypatch.setattr(FakeCapture, "opens", (paths[1],))
    monkeypatch.setattr(FakeCapture, "reads", staticmethod(forever), raising=False)
    monkeypatch.setattr(FakeCapture, "made", [], raising=False)
    monkeypatch.setattr(cv2, "VideoCapture", FakeCapture)
    monkeypatch.setattr(v4l2, "cameras", lambda: [path for path in paths if Path(path).exists()])
    monkeypatch.setattr(v4l2, "SYSFS", tmp_path / "sys")
    monkeypatch.setattr(v4l2, "_opened_as", {})
    return paths


def test_without_a_name_the_first_device_that_gives_pictures_is_taken(machine: list[str]) -> None:
    source = open_source("v4l2", live=False)
    frame = next(source.frames())
    assert source.live, "a camera is live whatever is asked"
    assert source.announced is None
    assert [made.path for made in FakeCapture.made] == machine
    assert FakeCapture.made[0].released, "what is not used is not kept open"
    np.testing.assert_array_equal(frame.gray, GRAY)
    assert frame.gray.flags.c_contiguous
    source.close()
    assert FakeCapture.made[1].released


def describe(machine: list[str], number: int, name: str, serial: str = "", index: str = "0") -> None:
    """Let the kernel tell of a device what it tells of a USB camera."""
    node = v4l2.SYSFS / Path(machine[number]).name
    interface = v4l2.SYSFS.parent / "devices" / f"usb{name}{serial}" / "1.0"
    interface.mkdir(parents=True, exist_ok=True)
    (interface.parent / "serial").write_text(serial + "\n")
    node.mkdir(parents=True, exist_ok=True)
    (node / "name").write_text(name + "\n")
    (node / "index").write_text(index + "\n")
    (node / "device").unlink(missing_ok=True)
    (node / "device").symlink_to(interface)


def named(path: str) -> str:
    """Return a device of the test's as --source takes it."""
    return f"/dev/..{path}"


@pytest.mark.parametrize("given", [False, True])
def test_a_camera_that_comes_back_under_another_number_is_found_again(
    given: bool, machine: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FakeCapture, "opens", (*machine, *map(named, machine)))
    argument = named(machine[0]) if given else ""
    describe(machine, 0, "Webcam", serial="A7")
    Path(machine[1]).unlink()
    V4l2Source(argument).close()
    Path(machine[1]).touch()
    describe(machine, 0, "Capture card")  # took the number that became free
    describe(machine, 1, "Webcam", serial="A7")
    V4l2Source(argument).close()
    assert [made.path.removeprefix("/dev/..") for made in FakeCapture.made] == machine
    Path(machine[1]).unlink()
    (v4l2.SYSFS / "video1" / "name").unlink()
    V4l2Source(argument).close()
    assert FakeCapture.made[-1].path.endswith(machine[0]), "what was asked for, where the camera that it was is gone"


def test_of_two_alike_the_one_that_was_asked_for_and_not_its_other_node_is_opened(
    machine: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    second = named(machine[1])
    monkeypatch.setattr(FakeCapture, "opens", (*machine, second))
    for number in (0, 1):
        describe(machine, number, "Webcam")
    for _ in range(2):
        V4l2Source(second).close()
    assert {made.path for made in FakeCapture.made} == {second}
    describe(machine, 0, "Webcam", index="1")  # where a camera gives its metadata
    Path(machine[1]).unlink()
    with pytest.raises(CameraMissing, match="video1 does not exist"):
        V4l2Source(second)


def test_vga_raw_and_one_buffer_unless_said_otherwise(machine: list[str]) -> None:
    V4l2Source("").close()
    made = FakeCapture.made[-1]
    assert made.backend == cv2.CAP_V4L2
    assert made.options[cv2.CAP_PROP_FOURCC] == cv2.VideoWriter.fourcc(*"YUYV")
    assert made.options[cv2.CAP_PROP_FRAME_WIDTH] == 640
    assert made.options[cv2.CAP_PROP_FRAME_HEIGHT] == 480
    assert made.options[cv2.CAP_PROP_FPS] == 30
    assert made.options[cv2.CAP_PROP_BUFFERSIZE] == 1
    assert made.options[cv2.CAP_PROP_CONVERT_RGB] == 0


def test_a_larger_mode_is_asked_for_as_jpeg(machine: list[str]) -> None:
    V4l2Source(",1280x720@15").close()
    options = FakeCapture.made[-1].options
    assert options[cv2.CAP_PROP_FOURCC] == cv2.VideoWriter.fourcc(*"MJPG")
    assert options[cv2.CAP_PROP_FRAME_WIDTH] == 1280
    assert options[cv2.CAP_PROP_FPS] == 15


def test_time_is_the_drivers_stamp(machine: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FakeCapture, "age", 0.3)
    frames = list(islice(V4l2Source("").frames(), 3))
    for frame in frames:
        assert frame.t_arrived - frame.t == pytest.approx(0.3, abs=0.1)
    assert [frame.seq for frame in frames] == [0, 1, 2]


@pytest.mark.parametrize("age", [50.0, -50.0], ids=["stale", "of the future"])
def test_a_stamp_of_another_clock_is_not_believed(
    age: float, machine: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FakeCapture, "age", age)
    frame = next(V4l2Source("").frames())
    assert frame.t == frame.t_arrived


def test_single_failed_reads_are_passed_over(machine: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def flaky() -> Iterator[Gray | None]:
        yield from (None, YUYV, None, YUYV, None, None, YUYV)

    monkeypatch.setattr(FakeCapture, "reads", staticmethod(flaky))
    assert len(list(islice(V4l2Source("").frames(), 2))) == 2


def test_a_camera_that_gives_no_more_pictures_is_lost(machine: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FakeCapture, "reads", staticmethod(lambda: iter([YUYV, YUYV, YUYV])))
    source = V4l2Source("")
    received = []
    with pytest.raises(CameraLost, match=rf"{FAILED_READS} reads without a picture .* after frame 2"):
        received.extend(source.frames())
    assert len(received) == 2, "the first picture was the trial"
    assert FakeCapture.made[-1].released


def test_a_device_without_pictures_is_no_camera(machine: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FakeCapture, "reads", staticmethod(lambda: iter([])))
    with pytest.raises(CameraMissing, match="video1 opens but gives no picture") as caught:
        V4l2Source("")
    assert f"the devices here are {machine[0]}, {machine[1]}" in str(caught.value)


def test_a_machine_without_devices_says_what_to_plug_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(v4l2, "cameras", list)
    with pytest.raises(CameraMissing, match=r"no /dev/video.*--source picamera"):
        V4l2Source("")


def test_a_device_that_may_not_be_opened_names_the_group(machine: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(v4l2.os, "access", lambda *_: False)
    with pytest.raises(CameraMissing, match="usermod -aG video"):
        V4l2Source("")


def test_a_number_that_is_not_there_lists_those_that_are(machine: list[str]) -> None:
    with pytest.raises(CameraMissing, match=r"/dev/video97 does not exist; the devices here are .*video1"):
        V4l2Source("97")


@pytest.mark.parametrize("argument", ["camera", "0,640", "0,640x480@", "-1", "0;1", "/tmp/x"])
def test_an_argument_that_is_no_camera_is_refused_with_examples(argument: str, machine: list[str]) -> None:
    with pytest.raises(SettingsInvalid, match="v4l2:0,1280x720@30"):
        V4l2Source(argument)


def test_close_from_another_thread_ends_the_frames(machine: list[str]) -> None:
    source = V4l2Source("")
    reader = threading.Thread(target=lambda: sum(1 for _ in source.frames()))
    reader.start()
    source.close()
    source.close()
    reader.join(2)
    assert not reader.is_alive()
    assert FakeCapture.made[-1].released


def test_luma_is_taken_from_every_layout_a_camera_has() -> None:
    _, packed = cv2.imencode(".png", GRAY)
    planar = np.vstack([GRAY, np.full((24, 64), 128, np.uint8)])
    colour = np.repeat(GRAY[..., None], 3, 2)
    for raw in (YUYV, GRAY, planar, colour, packed.reshape(1, -1), packed.reshape(-1)):
        plane = luma(raw, 64, 48)
        assert plane is not None
        assert plane.flags.c_contiguous
        np.testing.assert_array_equal(plane, GRAY)


def test_a_damaged_jpeg_gives_no_luma() -> None:
    assert luma(np.zeros((1, 500), np.uint8), 64, 48) is None
    assert luma(np.zeros((1, 0), np.uint8), 64, 48) is None


def test_devices_are_listed_by_number(monkeypatch: pytest.MonkeyPatch) -> None:
    names = [Path("/dev") / name for name in ("video10", "video2", "video-x", "video0")]
    monkeypatch.setattr(Path, "glob", lambda *_: iter(names))
    assert cameras() == ["/dev/video0", "/dev/video2", "/dev/video10"]
