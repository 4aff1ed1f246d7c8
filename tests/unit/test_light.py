"""The camera's light: what happened in which order, whatever goes wrong."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from edge import settings_file
from edge.cli import main
from edge.errors import CameraLost, CameraMissing, LightUnlit, SettingsInvalid
from edge.files import read_file
from edge.hardware.light import Light, LitCamera, open_light
from edge.settings import PinSettings
from edge.types import Frame

GONE = OSError(19, "No such device")


@dataclass
class Wire:
    """A line whose every change is noted; it may be stuck at a level, or of a chip that does not answer."""

    events: list[str] = field(default_factory=list)
    level: bool = False
    stuck: bool | None = None
    gone: bool = False
    closed: bool = False

    def is_high(self) -> bool:
        if self.gone:
            raise GONE
        return self.level if self.stuck is None else self.stuck

    def drive(self, high: bool) -> None:
        if self.gone:
            raise GONE
        if high != self.level:
            self.events.append("lit" if high else "dark")
        self.level = high

    def count_falls(self, seconds: float) -> int:
        raise AssertionError("no button")

    def close(self) -> None:
        self.closed = True


class Camera:
    """A camera of three frames that then ends, raises or hangs; what it does is noted beside the light's changes."""

    live = True
    announced = None
    stuck = False

    def __init__(self, events: list[str], end: Exception | None = None, *, hangs: bool = False) -> None:
        self.events = events
        self.closing = threading.Event()
        self.end = end
        self.hangs = hangs
        events.append("open")

    def frames(self) -> Iterator[Frame]:
        for seq in range(3):
            self.events.append("frame")
            yield Frame(np.zeros((2, 2), np.uint8), 0.0, seq, 0.0)
        if self.end:
            raise self.end
        if self.hangs:
            self.closing.wait(20)

    def close(self) -> None:
        self.closing.set()
        self.events.append("close")


def encloses(events: list[str]) -> bool:
    """Return whether it is lit from before the camera opens until after it is closed, each time."""
    lit = opened = False
    for event in events:
        if event in ("open", "frame", "close") and not lit:
            return False
        if event in ("lit", "dark") and opened:
            return False
        lit = {"lit": True, "dark": False}.get(event, lit)
        opened = {"open": True, "close": False}.get(event, opened)
    return not lit and not opened


def test_what_these_tests_ask_can_be_answered_no() -> None:
    assert encloses(["lit", "open", "frame", "close", "dark"] * 2)
    for wrong in (
        ["open", "lit", "close", "dark"],
        ["lit", "open", "dark", "close"],
        ["lit", "open", "close"],
        ["lit", "open", "frame", "dark"],
        ["lit", "dark", "open", "frame"],
    ):
        assert not encloses(wrong)


def take_all(camera: LitCamera) -> None:
    list(camera.frames())


def take_one_and_close(camera: LitCamera) -> None:
    next(camera.frames())
    camera.close()
    camera.close()


def drop_a_generator(camera: LitCamera) -> None:
    next(camera.frames())  # nobody keeps it: Python closes it


def close_from_another_thread(camera: LitCamera) -> None:
    thread = threading.Thread(target=take_all, args=(camera,))
    thread.start()
    time.sleep(0.05)
    camera.close()
    thread.join()


@pytest.mark.parametrize("end", [take_all, take_one_and_close, drop_a_generator, close_from_another_thread])
def test_the_light_is_on_from_before_the_camera_opens_until_after_it_is_closed(
    end: Callable[[LitCamera], None],
) -> None:
    wire = Wire()
    end(LitCamera(Light(wire), lambda: Camera(wire.events, hangs=end is close_from_another_thread)))
    assert encloses(wire.events), wire.events
    assert wire.events.count("lit") == wire.events.count("dark") == 1


@pytest.mark.parametrize("error", [CameraLost("unplugged"), ZeroDivisionError(), KeyboardInterrupt()])
def test_a_camera_that_fails_leaves_it_dark(error: Exception) -> None:
    wire = Wire()
    camera = LitCamera(Light(wire), lambda: Camera(wire.events, error))
    with pytest.raises(type(error)):
        take_all(camera)
    assert wire.events.count("frame") == 3
    assert encloses(wire.events), wire.events


@pytest.mark.parametrize("error", [CameraMissing("none"), ZeroDivisionError(), KeyboardInterrupt()])
def test_a_camera_that_does_not_open_leaves_it_dark(error: BaseException) -> None:
    def fail() -> Camera:
        raise error

    wire = Wire()
    with pytest.raises(type(error)):
        LitCamera(Light(wire), fail)
    assert wire.events == ["lit", "dark"]


@pytest.mark.parametrize(
    ("line", "sense", "words"),
    [
        (Wire(stuck=False), None, "it is switched on, its pin is low"),
        (Wire(stuck=True), None, "it is switched off, its pin is high"),
        (Wire(gone=True), None, r"cannot be switched on \(\[Errno 19\] No such device\)"),
        (Wire(), Wire(stuck=False), "it is switched on, light_sense is low"),
        (Wire(), Wire(stuck=True), "it is switched off, light_sense is high"),
        (Wire(), Wire(gone=True), r"light_sense cannot be read \(\[Errno 19\] No such device\)"),
    ],
    ids=["short to ground", "short to 3.3 V", "chip gone", "burnt out", "sense stuck", "sense gone"],
)
def test_a_light_that_cannot_be_seen_to_light_opens_no_camera(line: Wire, sense: Wire | None, words: str) -> None:
    with pytest.raises(LightUnlit, match=rf"{words}.*nothing is captured"):
        LitCamera(Light(line, sense), lambda: pytest.fail("the camera was opened"))
    assert not line.level


def test_a_light_that_takes_a_moment_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge.hardware.light.SETTLE", 60.0)
    looks: list[bool] = []

    class Slow(Wire):
        def is_high(self) -> bool:
            looks.append(line.level)
            return looks.count(True) > 20

    line, sense = Wire(), Slow()
    light = Light(line, sense)
    light.switch_on()
    assert looks.count(True) > 20
    light.check()
    assert line.events == ["lit"]


@pytest.mark.parametrize("fault", ["pin", "sense", "chip"])
def test_a_light_that_fails_while_it_runs_ends_it_before_another_frame_is_given(fault: str) -> None:
    class Current(Wire):
        def is_high(self) -> bool:
            return line.level and self.stuck is None

    line, sense = Wire(), Current()
    camera = LitCamera(Light(line, sense), lambda: Camera(line.events))
    frames = camera.frames()
    assert len(list(islice(frames, 2))) == 2
    if fault == "pin":
        line.stuck = False
    elif fault == "sense":
        sense.stuck = False
    else:
        line.gone = True
    with pytest.raises(LightUnlit, match="nothing is captured"):
        next(frames)
    assert line.events[-1] == ("close" if fault == "chip" else "dark")
    assert line.events.count("frame") == 3, "the third was taken, and given to nobody"
    assert list(frames) == []


def test_a_driver_that_hangs_with_the_camera_open_keeps_it_lit_until_the_end() -> None:
    wire = Wire()
    light = Light(wire)
    camera = LitCamera(light, lambda: Camera(wire.events))
    camera._camera.stuck = True
    camera.close()
    assert wire.level
    light.close()
    assert not wire.level
    assert wire.closed


def test_two_that_close_put_it_out_only_when_the_camera_is_closed() -> None:
    wire = Wire()

    class Slow(Camera):
        def close(self) -> None:
            time.sleep(0.1)
            super().close()

    camera = LitCamera(Light(wire), lambda: Slow(wire.events))
    threads = [threading.Thread(target=camera.close) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert encloses(wire.events), wire.events


def test_a_camera_that_is_closed_already_does_not_put_out_the_next_ones_light() -> None:
    wire = Wire()
    light = Light(wire)
    first = LitCamera(light, lambda: Camera(wire.events))
    frames = first.frames()
    next(frames)
    first.close()
    second = LitCamera(light, lambda: Camera(wire.events))
    first.close()
    del frames
    assert wire.level
    second.close()
    assert encloses(wire.events), wire.events


def test_without_a_light_there_is_none_and_a_sense_alone_is_a_mistake() -> None:
    assert open_light(PinSettings()) is None
    with pytest.raises(SettingsInvalid, match=r"pins\.light_sense is 5, of no light; set pins\.light too"):
        open_light(PinSettings(light_sense=5))


def test_a_camera_that_hangs_says_so_and_its_light_stays_on() -> None:
    wire, events = Wire(), list[str]()
    camera = Camera(events)
    lit = LitCamera(Light(wire), lambda: camera)
    assert not lit.stuck
    camera.stuck = True
    lit.close()
    assert lit.stuck
    assert wire.level


def test_dark_puts_it_out_whatever_else_is_wrong_in_the_settings_and_names_that(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "5").write_bytes(b"1")
    settings = tmp_path / "settings.toml"
    settings.write_text(f'threads = 99\nwhat = 1\n[pins]\nchip = "mock:{tmp_path}"\nlight = 5\n[oled]\nchip = "none"\n')
    with pytest.raises(SystemExit) as ended:
        main(["dark", "--config", str(settings)])
    assert (tmp_path / "5").read_bytes() == b"0"
    assert ended.value.code == SettingsInvalid.exit_code
    assert "settings.toml:1: threads is 99" in capsys.readouterr().err


def test_dark_reads_the_settings_file_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[Path] = []

    def counted(path: Path, most: int) -> bytes:
        read.append(path)
        return read_file(path, most)

    monkeypatch.setattr(settings_file, "read_file", counted)
    (tmp_path / "5").write_bytes(b"1")
    settings = tmp_path / "settings.toml"
    settings.write_text(f'[pins]\nchip = "mock:{tmp_path}"\nlight = 5\n')
    with pytest.raises(SystemExit) as ended:
        main(["dark", "--config", str(settings)])
    assert not ended.value.code
    assert ((tmp_path / "5").read_bytes(), read) == (b"0", [settings])
