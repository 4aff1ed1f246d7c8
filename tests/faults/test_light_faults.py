"""The camera's light in every fault of the camera, and while it is paused: on exactly while the camera is open."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from edge.errors import LightUnlit
from edge.runtime.control import Control
from edge.runtime.run import run
from edge.settings import Settings
from edge.types import Capabilities, Frame, Update
from edge.vision.model import ExpressionModel
from tests.support.failures import ended_by
from tests.support.light import SETTINGS, Run

pytestmark = pytest.mark.slow  # all of it together


def opened_lit_and_closed_dark(ended: Run) -> None:
    """Nothing was done with the camera in the dark, each that was opened was closed, and now it is dark."""
    assert all(lit for _, lit in ended.events()), ended.events()
    assert ended.count("open") == ended.count("close") >= 1
    assert ended.events()[-1][0] == "close", "no read after it"
    assert not ended.lit()


@pytest.mark.parametrize("fault", ["blocks", "repeats", "is none"])
def test_whatever_the_camera_gives_it_is_lit_while_open_and_dark_after_the_run(tmp_path: Path, fault: str) -> None:
    started = Run(tmp_path, fault=fault)
    until = time.monotonic() + 60
    # Until it has been at its worst for a while, or until the run has ended by itself.
    while started.running and not (tmp_path / "was").exists() and time.monotonic() < until:
        assert not started.count("frame") > 10 or started.lit() or started.count("close")
        time.sleep(0.02)
    time.sleep(0.5)
    started.send(signal.SIGTERM)
    started.end()
    assert started.count("frame") > 20
    opened_lit_and_closed_dark(started)


def test_a_signal_while_it_opens_leaves_it_closed_and_dark(tmp_path: Path) -> None:
    started = Run(tmp_path, fault="opens slowly")
    started.wait_for(lambda: started.count("open") == 1)
    started.send(signal.SIGTERM)
    assert started.lit(), "it opens"
    assert started.end()[0] == 0
    opened_lit_and_closed_dark(started)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_signal_while_paused_finds_it_dark_and_leaves_it_so(tmp_path: Path, number: int) -> None:
    started = Run(tmp_path)
    started.wait_for(lambda: started.count("frame") > 5)
    started.press()
    started.wait_for(lambda: not started.lit())
    started.send(number)
    started.end()
    opened_lit_and_closed_dark(started)


def test_a_light_that_burnt_out_while_paused_opens_no_camera_again(tmp_path: Path) -> None:
    (tmp_path / "pins").mkdir()
    light, sense = tmp_path / "pins" / "17", tmp_path / "pins" / "27"
    light.write_text("0")
    sense.write_text("0")
    burnt_out, ended = threading.Event(), threading.Event()

    def draw_current() -> None:
        with light.open("rb") as pin, sense.open("r+b") as drawn:
            while not ended.wait(0.002):  # as lines are: never empty in between
                os.pwrite(drawn.fileno(), b"0" if burnt_out.is_set() else os.pread(pin.fileno(), 1, 0), 0)

    wire = threading.Thread(target=draw_current)
    wire.start()
    try:
        started = Run(tmp_path, settings=SETTINGS + "light_sense = 27\n")
        started.wait_for(lambda: started.count("frame") > 5)
        started.press()
        started.wait_for(lambda: not started.lit())
        burnt_out.set()
        started.press()
        code, errors = started.end()
    finally:
        ended.set()
        wire.join()
    ended_by(LightUnlit, code, errors)
    assert "light_sense is low; nothing is captured" in errors
    assert started.count("open") == 1
    opened_lit_and_closed_dark(started)


def test_from_a_source_that_stays_open_a_pause_reads_nothing_either() -> None:
    """One read may be under way when it is pressed; the next comes after the pause."""
    reads: list[float] = []
    control, stop = Control(Settings()), threading.Event()

    class Counted:
        live, announced = True, None

        def frames(self) -> object:
            for seq in range(10_000):
                if stop.wait(0.01):
                    return
                reads.append(time.monotonic())
                now = time.monotonic()
                yield Frame(np.full((120, 160), 100 + seq % 9, np.uint8), now, seq, now)

        def close(self) -> None: ...

    class Presser:
        capabilities = Capabilities()
        pressed = released = 0.0

        def show(self, update: Update) -> None:
            now = time.monotonic()
            if update.cue.state == "paused":
                if now - self.pressed > 1.0 and not self.released:
                    self.released = now
                    control.paused = False
            elif not self.pressed and len(reads) > 20:
                self.pressed = now
                control.paused = True
            elif self.released and now - self.released > 0.3:
                stop.set()

        def close(self) -> None: ...

    presser = Presser()
    run(control, Counted(), ExpressionModel(), [("presser", presser)], stop, 60.0, say=lambda _: None)  # type: ignore[arg-type]
    # The loop looks at the pause ten times a second at least.
    assert [t for t in reads if presser.pressed + 0.3 < t < presser.released] == []
    assert [t for t in reads if t < presser.pressed]
    assert [t for t in reads if t > presser.released]
