"""The camera source against a stand-in for picamera2 with its real shapes: padded rows, jobs, signal functions."""

from __future__ import annotations

import mmap
import sys
import threading
import time
import types
from collections.abc import Callable
from concurrent.futures import Future
from itertools import islice
from typing import Any

import numpy as np
import pytest

from edge.errors import CameraLost, CameraMissing, RuntimeMissing, SettingsInvalid
from edge.settings import CameraSettings
from edge.sources import open_source, picamera
from edge.sources.picamera import PicameraSource, monotonic_of

WIDTH, HEIGHT, STRIDE = 640, 480, 704
LUMA = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH), np.uint8)


class FakeJob:
    def __init__(self, request: FakeRequest) -> None:
        self._future: Future[FakeRequest] = Future()
        self._future.set_result(request)

    def get_result(self) -> FakeRequest:  # older versions know no timeout
        return self._future.result()


class FakeRequest:
    def __init__(self, camera: FakePicamera2) -> None:
        self.camera = camera
        rows = np.full((HEIGHT * 3 // 2, STRIDE), 7, np.uint8)
        rows[:HEIGHT, :WIDTH] = LUMA
        self.buffer = rows.reshape(-1)
        camera.held += 1

    def get_metadata(self) -> dict[str, Any]:
        return self.camera.metadata()

    def release(self) -> None:
        self.camera.held -= 1
        self.buffer[:] = 0  # the camera writes the next frame into it


class FakeMappedArray:
    def __init__(self, request: FakeRequest, stream: str, reshape: bool = True) -> None:
        assert (stream, reshape) == ("lores", False)
        self._memory = mmap.mmap(-1, request.buffer.size)
        self._memory[:] = request.buffer.tobytes()
        self.array = np.frombuffer(self._memory, np.uint8)

    def __enter__(self) -> FakeMappedArray:
        return self

    def __exit__(self, *_: object) -> None:
        del self.array
        self._memory.close()  # refuses while a view is left


class FakePicamera2:
    """Completes a capture at once, on a thread of its own, as long as `healthy`."""

    made: list[FakePicamera2]
    info: tuple[dict[str, Any], ...] = ({"Model": "imx708", "Num": 0},)
    stream_format = "YUV420"
    fails_to_start = False
    flips = (True, True)  # whether its sensor can
    controls: tuple[str, ...] = ("FrameDurationLimits",)

    def __init__(self, number: int) -> None:
        self.number = number
        self.calls: list[str] = []
        self.held = 0
        self.healthy = True
        self.stamp: Callable[[], object] = lambda: time.clock_gettime_ns(time.CLOCK_BOOTTIME) - 40_000_000
        self.camera_controls = dict.fromkeys(self.controls)
        type(self).made.append(self)

    @classmethod
    def global_camera_info(cls) -> list[dict[str, Any]]:
        return list(cls.info)

    def create_preview_configuration(self, **settings: Any) -> dict[str, Any]:
        self.settings = settings
        return settings

    def configure(self, settings: dict[str, Any]) -> None:
        self.calls.append("configure")

    def camera_configuration(self) -> dict[str, Any]:
        asked = self.settings.get("transform")
        did = (
            types.SimpleNamespace(hflip=asked.hflip and self.flips[0], vflip=asked.vflip and self.flips[1])
            if asked
            else None
        )
        return {"transform": did, "lores": {"format": self.stream_format, "size": (WIDTH, HEIGHT), "stride": STRIDE}}

    def start(self) -> None:
        if self.fails_to_start:
            raise RuntimeError("Failed to acquire camera: Device or resource busy")
        self.calls.append("start")

    def metadata(self) -> dict[str, Any]:
        stamp = self.stamp()
        return {} if stamp is None else {"SensorTimestamp": stamp}

    def capture_request(self, wait: object = None, signal_function: Callable[[FakeJob], None] | None = None) -> None:
        assert wait is False
        assert signal_function is not None
        if self.healthy:
            job = FakeJob(FakeRequest(self))
            thread = threading.Thread(target=signal_function, args=(job,))
            thread.start()
            thread.join()

    def cancel_all_and_flush(self) -> None:
        self.calls.append("flush")

    def close(self) -> None:
        self.calls.append("close")


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> type[FakePicamera2]:
    module = types.ModuleType("picamera2")
    module.Picamera2 = FakePicamera2  # type: ignore[attr-defined]
    module.MappedArray = FakeMappedArray  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "picamera2", module)
    monkeypatch.setattr(FakePicamera2, "made", [], raising=False)
    return FakePicamera2


def test_frames_are_the_luma_plane_without_the_padding_of_its_rows(fake: type[FakePicamera2]) -> None:
    source = open_source("picamera", live=False)
    frames = list(islice(source.frames(), 3))
    assert source.live
    assert source.announced is None
    assert [frame.seq for frame in frames] == [0, 1, 2]
    for frame in frames:
        np.testing.assert_array_equal(frame.gray, LUMA)
        assert frame.gray.flags.c_contiguous
        assert frame.gray.base is None, "a view would be overwritten by the camera's next frame"
    source.close()
    assert fake.made[0].held == 0, "every request went back to the camera"


def test_the_stream_read_is_small_planar_and_paced(fake: type[FakePicamera2]) -> None:
    PicameraSource("").close()
    settings = fake.made[0].settings
    assert settings["lores"] == {"size": (640, 480), "format": "YUV420"}
    assert settings["main"] == {"size": (640, 480)}
    assert settings["controls"] == {"FrameDurationLimits": (33333, 33333)}


def test_a_camera_without_frame_rate_control_is_not_asked_for_it(
    fake: type[FakePicamera2], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fake, "controls", ())
    PicameraSource("").close()
    assert fake.made[0].settings["controls"] == {}


def test_time_is_the_sensors_own(fake: type[FakePicamera2]) -> None:
    frame = next(PicameraSource("0").frames())
    assert 0.03 < frame.t_arrived - frame.t < 0.3


@pytest.mark.parametrize(
    "stamp",
    [lambda: None, lambda: 0, lambda: "soon", lambda: 123, lambda: time.clock_gettime_ns(time.CLOCK_BOOTTIME) + 10**12],
    ids=["absent", "zero", "no number", "of another clock", "of the future"],
)
def test_an_implausible_sensor_time_gives_way_to_arrival(
    stamp: Callable[[], object], fake: type[FakePicamera2]
) -> None:
    source = PicameraSource("")
    fake.made[0].stamp = stamp
    frame = next(source.frames())
    assert frame.t == frame.t_arrived


def test_sensor_time_is_right_on_either_clock_after_a_suspend(monkeypatch: pytest.MonkeyPatch) -> None:
    asleep = 3600.0
    monkeypatch.setattr(picamera.time, "clock_gettime", lambda _: time.monotonic() + asleep)
    now = time.monotonic()
    assert monotonic_of(int((now + asleep - 0.05) * 1e9), now) == pytest.approx(now - 0.05, abs=0.01)
    assert monotonic_of(int((now - 0.05) * 1e9), now) == pytest.approx(now - 0.05, abs=0.01)


def test_time_never_steps_back(fake: type[FakePicamera2]) -> None:
    source = PicameraSource("")
    ages = iter((0.0, 0.5, 0.1))
    fake.made[0].stamp = lambda: time.clock_gettime_ns(time.CLOCK_BOOTTIME) - int(next(ages) * 1e9)
    times = [frame.t for frame in islice(source.frames(), 3)]
    assert times == sorted(times)


def test_a_camera_that_hangs_is_lost_within_the_deadline(
    fake: type[FakePicamera2], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(picamera, "FRAME_DEADLINE", 0.1)
    source = PicameraSource("")
    frames = source.frames()
    next(frames)
    fake.made[0].healthy = False
    with pytest.raises(CameraLost, match=r"no frame for 0\.1 s after frame 1; check the ribbon cable"):
        next(frames)
    assert fake.made[0].calls[-2:] == ["flush", "close"], "a stuck capture is cancelled before the camera is stopped"


def test_an_error_inside_picamera2_is_a_lost_camera(fake: type[FakePicamera2]) -> None:
    source = PicameraSource("")

    def fail() -> object:
        raise RuntimeError("failed to find buffer\nsecond line")

    fake.made[0].stamp = fail
    with pytest.raises(CameraLost, match="failed to find buffer after frame 0") as caught:
        next(source.frames())
    assert "\n" not in str(caught.value)
    assert fake.made[0].held == 0


def test_close_from_another_thread_ends_a_waiting_capture_at_once(fake: type[FakePicamera2]) -> None:
    source = PicameraSource("")
    fake.made[0].healthy = False
    ended: list[int] = []
    reader = threading.Thread(target=lambda: ended.append(sum(1 for _ in source.frames())))
    reader.start()
    source.close()
    source.close()
    reader.join(60)
    assert ended == [0], "by the close; a frame's deadline raises"
    assert fake.made[0].calls.count("close") == 1


def test_a_driver_that_hangs_in_close_does_not_hold_up_the_exit(
    fake: type[FakePicamera2], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(picamera, "CLOSE_DEADLINE", 0.1)
    release = threading.Event()
    monkeypatch.setattr(fake, "close", lambda self: release.wait(60))
    source = PicameraSource("")
    source.close()
    assert source.stuck, "the driver has not come back, and close() has"
    release.set()


def test_an_old_picamera2_without_flush_is_closed_too(
    fake: type[FakePicamera2], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(fake, "cancel_all_and_flush")
    PicameraSource("").close()
    assert fake.made[0].calls[-1] == "close"


def test_no_camera_says_what_to_check(fake: type[FakePicamera2], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fake, "info", ())
    with pytest.raises(CameraMissing, match="no camera 0; found: none; power off, check the ribbon cable"):
        PicameraSource("")


def test_a_second_camera_that_is_not_there_names_the_first(fake: type[FakePicamera2]) -> None:
    with pytest.raises(CameraMissing, match="no camera 1; found: 0 imx708"):
        PicameraSource("1")


def test_a_busy_camera_is_reported_as_held(fake: type[FakePicamera2], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fake, "fails_to_start", True)
    with pytest.raises(CameraMissing, match=r"does not start \(Failed to acquire camera.*another program may hold it"):
        PicameraSource("")
    assert fake.made[0].calls[-1] == "close"


def test_whoever_closes_it_returns_when_it_is_closed(
    fake: type[FakePicamera2], monkeypatch: pytest.MonkeyPatch
) -> None:
    def close_slowly(camera: FakePicamera2) -> None:
        time.sleep(0.3)
        camera.calls.append("closed")

    monkeypatch.setattr(fake, "close", close_slowly)
    monkeypatch.setattr(picamera, "CLOSE_DEADLINE", 60.0)
    source = PicameraSource("")
    other = threading.Thread(target=source.close)
    other.start()
    time.sleep(0.05)
    source.close()
    assert fake.made[0].calls[-1] == "closed"
    assert not source.stuck
    other.join()
    assert fake.made[0].calls.count("closed") == 1


@pytest.mark.parametrize("stream_format", ["NV12", "YVU420"])
def test_any_stream_that_begins_with_a_luma_plane_is_taken(
    stream_format: str, fake: type[FakePicamera2], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fake, "stream_format", stream_format)
    frame = next(PicameraSource("").frames())
    np.testing.assert_array_equal(frame.gray, LUMA)


@pytest.mark.parametrize("stream_format", ["MJPEG", "YUYV"])
def test_a_stream_without_a_luma_plane_is_refused(
    stream_format: str, fake: type[FakePicamera2], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fake, "stream_format", stream_format)
    with pytest.raises(CameraMissing, match=f"gives {stream_format}, no YUV420; try --source v4l2"):
        PicameraSource("")


@pytest.mark.parametrize("argument", ["front", "-1", "0.5"])
def test_an_argument_that_is_no_number_is_refused(argument: str, fake: type[FakePicamera2]) -> None:
    with pytest.raises(SettingsInvalid, match="valid are picamera, picamera:1"):
        PicameraSource(argument)


def test_without_picamera2_the_package_to_install_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "picamera2", None)
    with pytest.raises(RuntimeMissing, match="sudo apt install python3-picamera2, in a venv made with --system-site"):
        PicameraSource("")


def test_picamera2_built_for_another_numpy_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    def incompatible(name: str) -> object:
        raise ValueError("numpy.dtype size changed, may indicate binary incompatibility")

    monkeypatch.setattr(picamera, "import_module", incompatible)
    with pytest.raises(RuntimeMissing, match=r"numpy\.dtype size changed"):
        PicameraSource("")


@pytest.mark.parametrize("able", [(True, True), (True, False), (False, False)])
@pytest.mark.parametrize(("rotate_deg", "mirror"), [(180, False), (180, True), (0, True), (90, False), (90, True)])
def test_the_sensor_flips_where_it_can_and_the_rest_is_turned_here(
    rotate_deg: int, mirror: bool, able: tuple[bool, bool], fake: type[FakePicamera2], monkeypatch: pytest.MonkeyPatch
) -> None:
    libcamera = types.SimpleNamespace(Transform=lambda hflip, vflip: types.SimpleNamespace(hflip=hflip, vflip=vflip))
    monkeypatch.setitem(sys.modules, "libcamera", libcamera)
    monkeypatch.setattr(fake, "flips", able)
    source = open_source("picamera", live=True, camera=CameraSettings(rotate_deg, mirror))
    asked = fake.made[0].settings.get("transform")
    assert (asked is None) == (rotate_deg == 90 and not mirror)
    did = (bool(asked and asked.hflip and able[0]), bool(asked and asked.vflip and able[1]))
    # The sensor gave LUMA, which is the scene as far as it flipped that.
    scene = LUMA[:: -1 if did[1] else 1, :: -1 if did[0] else 1]
    expected = np.rot90(scene, -rotate_deg // 90)
    frame = next(source.frames())
    np.testing.assert_array_equal(frame.gray, expected[:, ::-1] if mirror else expected)
    assert frame.gray.flags.c_contiguous


def test_a_picture_that_is_as_it_is_meant_to_be_asks_for_no_transform(fake: type[FakePicamera2]) -> None:
    open_source("picamera", live=True, camera=CameraSettings()).close()
    assert "transform" not in fake.made[0].settings
