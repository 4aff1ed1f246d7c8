"""Whole runs with light and button on a stand-in chip, ended in every way: dark at the end, lit at every frame."""

from __future__ import annotations

import fcntl
import os
import signal
import time
from pathlib import Path

import pytest

from edge.errors import CameraLost, CameraMissing, CuelensError, LightUnlit, PinBusy, PinMissing
from tests.support.failures import ended_by
from tests.support.light import SETTINGS, Run


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGTERM, 0), (signal.SIGINT, 0), (signal.SIGKILL, -signal.SIGKILL)]
)
def test_a_signal_leaves_it_dark_and_after_a_kill_the_next_command_does(tmp_path: Path, number: int, code: int) -> None:
    started = Run(tmp_path)
    started.wait_for(lambda: started.count("frame") > 10)
    assert started.lit()
    started.send(number)
    assert started.end()[0] == code
    assert started.lit() == (number == signal.SIGKILL), "a Raspberry Pi keeps the pin's level, and so does its stand-in"
    started.put_out()
    assert not started.lit()
    assert all(lit for _, lit in started.events())


@pytest.mark.parametrize(
    ("fault", "cause", "frames"),
    [("lost", CameraLost, 21), ("bug", CuelensError, 21), ("loop", CuelensError, 21), ("missing", CameraMissing, 0)],
)
def test_a_camera_or_a_loop_that_fails_leaves_it_dark(
    tmp_path: Path, fault: str, cause: type[CuelensError], frames: int
) -> None:
    failed = Run(tmp_path, fault=fault)
    ended_by(cause, *failed.end())
    assert not failed.lit()
    assert failed.count("frame") >= frames
    assert all(lit for _, lit in failed.events())


def test_a_camera_that_comes_back_is_found_again_with_its_light_off_in_between(tmp_path: Path) -> None:
    started = Run(tmp_path, fault="back")
    started.wait_for(lambda: started.count("open") == 2 and started.count("frame") > 30)
    started.send(signal.SIGTERM)
    code, errors = started.end()
    assert code == 0
    assert "unplugged; looking for it again" in errors
    assert "the camera gives frames again" in errors
    assert all(lit for _, lit in started.events())
    states = [cue["state"] for cue in started.cues()]
    assert "no_camera" in states
    assert states[-1] == "no_face"


def test_a_light_that_goes_dark_ends_the_run(tmp_path: Path) -> None:
    failed = Run(tmp_path)
    failed.wait_for(lambda: failed.count("frame") > 10)
    failed.light.write_text("0")
    code, errors = failed.end()
    ended_by(LightUnlit, code, errors)
    assert "its pin is low; nothing is captured" in errors
    assert [lit for name, lit in failed.events() if name == "frame"].count(False) <= 1, "at most the one in the making"
    assert failed.cues()[-1]["state"] == "no_camera"


def test_where_it_cannot_be_lit_no_camera_is_opened(tmp_path: Path) -> None:
    unlit = Run(tmp_path, settings=SETTINGS + "light_sense = 27\n")
    code, errors = unlit.end()
    ended_by(LightUnlit, code, errors)
    assert "it is switched on, light_sense is low; nothing is captured" in errors
    assert unlit.events() == []
    assert not unlit.lit()


def test_a_light_of_another_program_is_left_alone_and_no_camera_opened(tmp_path: Path) -> None:
    (tmp_path / "pins").mkdir()
    with (tmp_path / "pins" / "17").open("w") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        refused = Run(tmp_path)
        code, errors = refused.end()
    ended_by(PinBusy, code, errors)
    assert "is in use" in errors
    assert refused.events() == []


@pytest.mark.parametrize("line", ["light = 17", "pause = 4"])
def test_without_its_chip_no_camera_is_opened(tmp_path: Path, line: str) -> None:
    without = Run(tmp_path, settings=f'[pins]\nchip = "mock:nowhere"\n{line}\n')
    ended_by(PinMissing, *without.end())
    assert without.events() == []


def test_a_press_closes_the_camera_and_puts_the_light_out_and_another_goes_on(tmp_path: Path) -> None:
    pressed = Run(tmp_path)
    for times in (1, 2):
        pressed.wait_for(lambda: pressed.events()[-10:] == [("frame", True)] * 10)
        assert pressed.lit()
        pressed.press()
        pressed.wait_for(lambda: not pressed.lit())
        assert pressed.events()[-1] == ("close", True)
        assert pressed.count("open") == pressed.count("close") == times
        pressed.wait_for(lambda: pressed.cues()[-1]["state"] == "paused")
        before = pressed.count("frame")
        time.sleep(0.3)
        assert pressed.count("frame") == before
        pressed.press()
        pressed.wait_for(lambda: pressed.cues()[-1]["state"] == "no_face")
    pressed.send(signal.SIGTERM)
    code, errors = pressed.end()
    assert code == 0, errors
    assert not pressed.lit()
    assert all(lit for _, lit in pressed.events())
    assert "no_camera" not in {cue["state"] for cue in pressed.cues()}
    numbers = [cue["seq"] for cue in pressed.cues() if cue["seq"] is not None]
    assert numbers == sorted(set(numbers)), "no number twice"


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_pause_outlasts_the_run_and_the_camera_is_not_opened(tmp_path: Path, number: int) -> None:
    environment = {**os.environ, "STATE_DIRECTORY": str(tmp_path / "state")}
    first = Run(tmp_path, env=environment)
    first.wait_for(lambda: first.count("frame") > 3)
    first.press()
    first.wait_for(lambda: first.cues()[-1]["state"] == "paused")
    first.send(number)
    first.end()
    opened = first.count("open")
    again = Run(tmp_path, env=environment)
    again.wait_for(lambda: "paused" in again.log() and "no_face" not in again.log())
    assert again.count("open") == opened
    assert not again.lit()
    again.press()
    again.wait_for(lambda: "no_face" in again.log())
    assert again.count("open") == opened + 1
    again.send(signal.SIGTERM)
    code, errors = again.end()
    assert code == 0
    assert errors.startswith(
        "cuelens: still paused since an earlier run; the camera stays closed until somebody resumes"
    )
    last = Run(tmp_path, env=environment)
    last.wait_for(lambda: last.count("open") == opened + 2)
    last.send(signal.SIGTERM)
    last.end()


def test_a_pause_is_ended_by_an_option(tmp_path: Path) -> None:
    state = tmp_path / "state"
    state.mkdir()
    (state / "paused").write_text("paused\n")
    started = Run(tmp_path, more=("--go-on",), env={**os.environ, "STATE_DIRECTORY": str(state)})
    started.wait_for(lambda: started.count("frame") > 3)
    started.send(signal.SIGTERM)
    assert started.end() == (0, "")
    assert list(state.iterdir()) == []
