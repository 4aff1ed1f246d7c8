"""The V4L2 source on a kernel of the test's: formats, what drivers refuse and its message, failures, deadlines."""

from __future__ import annotations

import errno
import threading
from collections.abc import Iterator
from itertools import cycle, islice, repeat
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge.errors import CameraLost, CameraMissing, SettingsInvalid
from edge.hardware import board
from edge.sources import open_source, v4l2, v4l2_device
from edge.sources.pixels import FORMATS
from edge.sources.v4l2 import FAILED_READS, V4l2Source, cameras, in_order
from tests.support.pixels import MOSAICS, lay_out, tolerance
from tests.unit.kernel import GRAY, METADATA_NODE, WEBCAM, Camera, Kernel

YUYV = lay_out("YUYV", np.dstack([GRAY] * 3)).tobytes()
METADATA = METADATA_NODE & ~1 | 0x800000


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> Kernel:
    return Kernel(monkeypatch)


@pytest.fixture
def machine(kernel: Kernel, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    """Two devices of which the second is a camera; /dev is a folder of the test's."""
    paths = [str(tmp_path / name) for name in ("video0", "video1")]
    kernel.plug(Path(paths[0]), Camera(whole=0x84204000, own=0x04204000, card=b"codec", bus=b"platform"))
    kernel.plug(Path(paths[1]), Camera())
    monkeypatch.setattr(v4l2, "cameras", lambda: [path for path in paths if Path(path).exists()])
    monkeypatch.setattr(v4l2, "SYSTEM", tmp_path)
    monkeypatch.setattr(v4l2, "_opened_as", {})
    monkeypatch.setattr(v4l2, "READ_TIMEOUT", 0.01)
    return paths


@pytest.fixture
def webcam(kernel: Kernel, machine: list[str]) -> Camera:
    return kernel.cameras[machine[1]]


def named(path: str) -> str:
    """Return a device of the test's as --source takes it."""
    return f"/dev/..{path}"


def test_without_a_name_the_first_device_that_is_a_camera_is_taken(
    kernel: Kernel, machine: list[str], webcam: Camera
) -> None:
    source = open_source("v4l2", live=False)
    frames = source.frames()
    frame = next(frames)
    assert source.live, "a camera is live whatever is asked"
    assert source.announced is None
    assert kernel.cameras[machine[0]].calls == ["QUERYCAP"], "what is no camera is only asked what it is"
    np.testing.assert_array_equal(frame.gray, GRAY)
    assert frame.gray.flags.c_contiguous
    assert webcam.streams
    source.close()
    source.close()
    assert not webcam.streams
    assert not kernel.mapped
    assert webcam.calls[-2:] == ["STREAMOFF", "REQBUFS"]


@pytest.mark.parametrize("padding", [0, 16])
@pytest.mark.parametrize("name", FORMATS)
def test_every_format_that_a_driver_gives_alone_is_read(name: str, padding: int, webcam: Camera) -> None:
    webcam.formats, webcam.padding = (name,), padding
    frame = next(V4l2Source("").frames())
    inside = (slice(2, -2),) * 2 if name in MOSAICS else (slice(None),) * 2
    if name in MOSAICS:  # noise has no colours to interpolate: only that it is this picture is seen
        assert np.corrcoef(frame.gray[inside].reshape(-1), GRAY[inside].reshape(-1))[0, 1] > 0.4
    else:
        assert np.abs(frame.gray.astype(int) - GRAY).max() <= tolerance(name)


def test_a_camera_with_a_buffer_for_each_plane_gives_the_first_ones_luma(webcam: Camera) -> None:
    webcam.formats, webcam.planes = ("NM12",), 2
    webcam.own = 0x04201000
    np.testing.assert_array_equal(next(V4l2Source("").frames()).gray, GRAY)


@pytest.mark.parametrize("name", ["MJPG", "JPEG"])
def test_a_camera_that_gives_jpeg_alone_is_read(name: str, webcam: Camera) -> None:
    content = cv2.imencode(".jpg", np.full((48, 64), 77, np.uint8))[1].tobytes()
    webcam.formats, webcam.frames = (name,), cycle([content, None])
    assert (next(V4l2Source("").frames()).gray == 77).all()


@pytest.mark.parametrize("offered", [("H264",), ("H264", "HEVC", "Z16 ")])
def test_a_camera_of_unknown_formats_is_refused_by_their_names(offered: tuple[str, ...], webcam: Camera) -> None:
    webcam.formats = offered
    with pytest.raises(
        CameraMissing, match=f"gives only {', '.join(offered)}; formats that can be read are YUYV, UYVY"
    ):
        V4l2Source("")
    assert "STREAMON" not in webcam.calls


def test_a_driver_that_gives_another_format_than_it_offers_is_believed(webcam: Camera) -> None:
    webcam.formats = ("UYVY",)
    webcam.refuses = {"ENUM_FMT": errno.ENOTTY}
    np.testing.assert_array_equal(next(V4l2Source("").frames()).gray, GRAY)
    webcam.formats = ("H264",)
    with pytest.raises(CameraMissing, match="gives H264; formats that can be read are"):
        V4l2Source("")


def test_formats_whose_luma_lies_ready_come_first_and_jpeg_in_large_pictures() -> None:
    offered = ["H264", "MJPG", "BGR3", "NV12", "YUYV"]
    assert in_order(offered, 640 * 480) == ["YUYV", "NV12", "MJPG", "BGR3"]
    assert in_order(offered, 1280 * 720) == ["MJPG", "YUYV", "NV12", "BGR3"]
    assert in_order(["H264"], 1) == []


@pytest.mark.parametrize(
    ("argument", "asked", "fps"),
    [("", ("YUYV", 640, 480), 30), (",1280x720@15", ("MJPG", 1280, 720), 15), (",320x240", ("YUYV", 320, 240), 30)],
)
def test_size_and_rate_are_set(argument: str, asked: tuple[str, int, int], fps: int, webcam: Camera) -> None:
    content = cv2.imencode(".jpg", GRAY)[1].tobytes()
    webcam.frames = repeat(content if asked[0] == "MJPG" else YUYV)
    V4l2Source(argument).close()
    assert webcam.asked == [asked]
    assert webcam.fps == fps


def test_where_usb_is_full_jpeg_is_tried(webcam: Camera) -> None:
    webcam.refuses_format = {"YUYV": errno.ENOSPC}
    webcam.frames = repeat(cv2.imencode(".jpg", GRAY)[1].tobytes())
    V4l2Source("").close()
    assert [name for name, *_ in webcam.asked] == ["YUYV", "MJPG"]


def test_interlaced_fields_are_woven(webcam: Camera) -> None:
    rows = np.vstack([GRAY[0::2], GRAY[1::2]])
    webcam.interlacing, webcam.formats, webcam.frames = 5, ("GREY",), cycle([rows.tobytes(), None])
    np.testing.assert_array_equal(next(V4l2Source("").frames()).gray, GRAY)


REFUSALS = [
    ("QUERYCAP", errno.ENOTTY, "does not open as a camera"),
    ("S_FMT", errno.EBUSY, r"is in use by another program; sudo fuser -v .*video1 names it"),
    ("REQBUFS", errno.EBUSY, "is in use by another program"),
    (
        "STREAMON",
        errno.ENOSPC,
        r"too little USB bandwidth for 640x480 at 30 fps .*; ask for less \(v4l2:.*,320x240@15\)",
    ),
    ("REQBUFS", errno.ENOMEM, "too little memory"),
    ("STREAMON", errno.EPROTO, "does not answer as USB wants it .* another cable or port"),
    ("S_FMT", errno.ETIMEDOUT, "does not answer as USB wants it"),
    ("STREAMON", errno.EIO, "does not answer as USB wants it"),
    ("STREAMON", errno.EPIPE, "does not answer as USB wants it"),
    ("STREAMON", errno.ENODEV, "was unplugged while it was opened"),
    ("STREAMON", errno.ENOLINK, "has no sensor linked to it; use --source picamera"),
    ("STREAMON", errno.EDOM, "cannot be used: .*dmesg"),
]


@pytest.mark.parametrize(("call", "number", "words"), REFUSALS)
def test_what_the_kernel_refuses_is_reported_in_words(
    call: str, number: int, words: str, kernel: Kernel, webcam: Camera
) -> None:
    webcam.refuses = {call: number}
    with pytest.raises(CameraMissing, match=f"v4l2: .*video1 .*{words}"):
        V4l2Source("")
    assert not webcam.streams
    assert not kernel.mapped


KINDS = [
    (METADATA, "is a camera's metadata node, .*; use v4l2:.*video1"),
    (0x04204000, "is a converter of pictures"),
    (0x04008000, "is a converter of pictures"),
    (0x04200002, "is a device that shows pictures"),
    (0x00010010, "is for teletext"),
    (0x00050000, "is a radio"),
    (0x14000000, "is a touch screen"),
    (0x04000000, "is no device that captures pictures"),
]


@pytest.mark.parametrize(("own", "words"), KINDS)
def test_a_device_that_is_no_camera_is_named_as_what_it_is(
    own: int, words: str, kernel: Kernel, machine: list[str]
) -> None:
    kernel.cameras[machine[0]] = Camera(whole=WEBCAM | 0x800000, own=own)
    with pytest.raises(CameraMissing, match=f"video0 {words}"):
        V4l2Source(named(machine[0]))


def test_the_pis_own_camera_nodes_are_passed_over_unless_named(webcam: Camera, machine: list[str]) -> None:
    webcam.driver = b"rp1-cfe"
    with pytest.raises(CameraMissing, match=r"none of the video devices is a USB camera; .*--source picamera"):
        V4l2Source("")
    V4l2Source(named(machine[1])).close()


def describe(machine: list[str], number: int, name: str, serial: str = "", index: str = "0") -> None:
    """Give the kernel's files of a device what they have of a USB camera."""
    node = v4l2.SYSTEM / board.CAMERAS / Path(machine[number]).name
    interface = v4l2.SYSTEM / "sys" / "devices" / f"usb{name}{serial}" / "1.0"
    interface.mkdir(parents=True, exist_ok=True)
    (interface.parent / "serial").write_text(serial + "\n")
    node.mkdir(parents=True, exist_ok=True)
    (node / "name").write_text(name + "\n")
    (node / "index").write_text(index + "\n")
    (node / "device").unlink(missing_ok=True)
    (node / "device").symlink_to(interface)


def opened(kernel: Kernel, machine: list[str]) -> list[int]:
    """The devices that were opened since, as cameras."""
    seen = [number for number, path in enumerate(machine) if "STREAMON" in kernel.cameras[path].calls]
    for camera in kernel.cameras.values():
        camera.calls.clear()
    return seen


@pytest.mark.parametrize("given", [False, True])
def test_a_camera_that_comes_back_under_another_number_is_found_again(
    given: bool, kernel: Kernel, machine: list[str]
) -> None:
    kernel.cameras[machine[0]] = Camera()
    argument = named(machine[0]) if given else ""
    describe(machine, 0, "Webcam", serial="A7")
    Path(machine[1]).unlink()
    V4l2Source(argument).close()
    assert opened(kernel, machine) == [0]
    Path(machine[1]).touch()
    describe(machine, 0, "Capture card")  # took the number that became free
    describe(machine, 1, "Webcam", serial="A7")
    V4l2Source(argument).close()
    assert opened(kernel, machine) == [1]
    Path(machine[1]).unlink()
    (v4l2.SYSTEM / board.CAMERAS / "video1" / "name").unlink()
    V4l2Source(argument).close()
    assert opened(kernel, machine) == [0], "what was asked for, where the camera that it was is gone"


def test_of_two_alike_the_one_that_was_asked_for_and_not_its_other_node_is_opened(
    kernel: Kernel, machine: list[str]
) -> None:
    second = named(machine[1])
    kernel.cameras[machine[0]] = Camera()
    for number in (0, 1):
        describe(machine, number, "Webcam")
    for _ in range(2):
        V4l2Source(second).close()
    assert opened(kernel, machine) == [1]
    describe(machine, 0, "Webcam", index="1")  # where a camera gives its metadata
    Path(machine[1]).unlink()
    with pytest.raises(CameraMissing, match="video1 does not exist"):
        V4l2Source(second)


def test_time_is_the_drivers_stamp(webcam: Camera) -> None:
    webcam.age = 0.3
    frames = list(islice(V4l2Source("").frames(), 3))
    for frame in frames:
        assert frame.t_arrived - frame.t == pytest.approx(0.3, abs=0.1)
    assert [frame.seq for frame in frames] == [0, 1, 2]


@pytest.mark.parametrize("age", [50.0, -50.0], ids=["stale", "of the future"])
def test_a_stamp_of_another_clock_is_not_believed(age: float, webcam: Camera) -> None:
    webcam.age = age
    frame = next(V4l2Source("").frames())
    assert frame.t == frame.t_arrived


def test_of_the_frames_that_wait_the_newest_is_taken(webcam: Camera) -> None:
    older = lay_out("YUYV", np.zeros((48, 64, 3), np.uint8)).tobytes()
    webcam.frames = iter([YUYV, None, older, YUYV, None])
    frames = V4l2Source("").frames()
    np.testing.assert_array_equal(next(frames).gray, GRAY)
    assert sorted(webcam.queue) == [0, 1, 2], "the driver has all its buffers back"


def test_single_failed_reads_are_passed_over(webcam: Camera) -> None:
    webcam.frames = iter((None, YUYV, None, b"", None, YUYV, None, b"short", None, YUYV, None))
    assert len(list(islice(V4l2Source("").frames(), 2))) == 2


def test_a_camera_that_gives_no_more_pictures_is_lost(webcam: Camera) -> None:
    webcam.frames = iter([YUYV, None, YUYV, None, YUYV, None])
    source = V4l2Source("")
    received = []
    with pytest.raises(CameraLost, match=rf"{FAILED_READS} reads without a picture .* after frame 2 \(no frame came\)"):
        received.extend(source.frames())
    assert len(received) == 2, "the first picture was the trial"
    assert not webcam.streams


def test_frames_that_are_too_short_are_reported(webcam: Camera) -> None:
    webcam.frames = iter([YUYV, None, *cycle_of(b"abc")])
    with pytest.raises(CameraLost, match=r"\(3 bytes in rows of 128, where YUYV of 64x48 has 128 a row, 6144 in all\)"):
        next(V4l2Source("").frames())
    webcam.frames = cycle([b"abc", None])
    with pytest.raises(CameraMissing, match="streams YUYV of 64x48, but gives no picture: 3 bytes in rows"):
        V4l2Source("")


def cycle_of(content: bytes) -> Iterator[bytes | None]:
    return iter([content, None] * 10)


def test_frames_that_the_driver_marks_are_no_pictures(webcam: Camera) -> None:
    webcam.damaged = True
    with pytest.raises(CameraMissing, match="the driver marks its frames as damaged"):
        V4l2Source("")


def test_a_camera_that_is_unplugged_is_reported_as_such(webcam: Camera) -> None:
    source = V4l2Source("")
    webcam.refuses = dict.fromkeys(("DQBUF", "QBUF", "STREAMOFF", "REQBUFS"), errno.ENODEV)
    with pytest.raises(CameraLost, match=r"video1: unplugged after frame 0; plug it in again"):
        next(source.frames())


def test_a_buffer_that_is_not_taken_back_is_offered_again(webcam: Camera) -> None:
    source = V4l2Source("")
    webcam.refuses = {"QBUF": errno.EIO}
    frames = source.frames()
    next(frames)
    webcam.refuses = {}
    next(frames)
    assert sorted(webcam.queue) == [0, 1, 2]


def test_a_device_without_pictures_is_no_camera(machine: list[str], webcam: Camera) -> None:
    webcam.frames = iter([])
    with pytest.raises(CameraMissing, match="video1 streams YUYV of 64x48, but no frame came in 3 s") as caught:
        V4l2Source("")
    assert f"the devices here are {machine[0]}, {machine[1]}" in str(caught.value)


def test_a_machine_without_devices_says_what_to_plug_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(v4l2, "cameras", list)
    with pytest.raises(CameraMissing, match=r"no /dev/video.*--source picamera"):
        V4l2Source("")


def test_a_device_that_may_not_be_opened_names_the_group(machine: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> int:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(v4l2_device.os, "open", refuse)
    with pytest.raises(CameraMissing, match="usermod -aG video"):
        V4l2Source("")


def test_a_number_that_is_not_there_lists_those_that_are(machine: list[str]) -> None:
    with pytest.raises(CameraMissing, match=r"/dev/video97 does not exist; the devices here are .*video1"):
        V4l2Source("97")


@pytest.mark.parametrize("argument", ["camera", "0,640", "0,640x480@", "-1", "0;1", "/tmp/x"])
def test_an_argument_that_is_no_camera_is_refused_with_examples(argument: str, machine: list[str]) -> None:
    with pytest.raises(SettingsInvalid, match="v4l2:0,1280x720@30"):
        V4l2Source(argument)


def test_close_from_another_thread_ends_the_frames(webcam: Camera, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(v4l2_device, "CLOSE_DEADLINE", 60.0)
    source = V4l2Source("")
    reader = threading.Thread(target=lambda: sum(1 for _ in source.frames()))
    reader.start()
    source.close()
    source.close()
    reader.join(60)
    assert not reader.is_alive()
    assert not source.stuck
    assert not webcam.streams


def test_a_driver_that_hangs_in_a_read_does_not_hold_up_the_exit(
    webcam: Camera, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(v4l2_device, "CLOSE_DEADLINE", 0.05)
    source = V4l2Source("")
    hangs, ends = threading.Event(), threading.Event()

    def hang(_: object) -> None:
        hangs.set()
        ends.wait(60)
        raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")

    monkeypatch.setattr(webcam, "dqbuf", hang)
    reader = threading.Thread(target=lambda: next(source.frames(), None))
    reader.start()
    assert hangs.wait(60)
    source.close()
    assert source.stuck
    ends.set()
    reader.join(60)
    source.close()
    assert not source.stuck
    assert not webcam.streams


def test_devices_are_listed_by_number(monkeypatch: pytest.MonkeyPatch) -> None:
    names = [Path("/dev") / name for name in ("video10", "video2", "video-x", "video0")]
    monkeypatch.setattr(Path, "glob", lambda *_: iter(names))
    assert cameras() == ["/dev/video0", "/dev/video2", "/dev/video10"]
