"""An hour of a camera's time with a fault in every minute, chosen and timed at random: the cue comes back after each.

The loop's clock runs PACE times as fast as ours, and leaps over most of the time in which nobody is there.
"""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge.errors import CameraLost, SinkFailed
from edge.runtime import capture, runner, sink_worker
from edge.sources.demo import SCENE_FRAMES, WALK_FRAMES, DemoSource
from edge.types import Capabilities, Frame, Sink, Update
from tests.faults.stage import RESULTS, TRUE, Result, Stage, failing, pictures, resized, wait_until

PACE = 20.0
HOUR = 3600.0
LEAP = 0.6  # seconds between two frames while nobody is there: less than a stall
QUIET = 50.0  # seconds of each minute
WAITS = {
    runner: ("WAIT",),
    capture: ("FIRST_LOOK", "LAST_LOOK"),
    sink_worker: ("WAIT", "FIRST_DELAY", "LONGEST_DELAY"),
}


class FastClock:
    """A monotonic clock that runs faster than ours and can leap."""

    def __init__(self) -> None:
        self._begun, self._ahead = time.monotonic(), 0.0

    def monotonic(self) -> float:
        return self._begun + PACE * (time.monotonic() - self._begun) + self._ahead

    def leap(self, seconds: float) -> None:
        self._ahead += seconds


class Flaky:
    """A display that is unplugged or falls asleep at the test's command."""

    capabilities = Capabilities(deadline=0.5)
    fault = ""  # of whichever is open

    def show(self, update: Update) -> None:
        fault, Flaky.fault = Flaky.fault, ""
        if fault == "sleeps":
            time.sleep(3 / PACE)
        elif fault:
            raise SinkFailed(fault)

    def close(self) -> None:
        pass


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> FastClock:
    fast = FastClock()
    for module, names in WAITS.items():
        for name in names:
            monkeypatch.setattr(module, name, getattr(module, name) / PACE)
    return fast


def hang(stage: Stage) -> None:
    stage.device.hangs = "read"


def gone(stage: Stage) -> None:
    stage.device.unplug()


def freeze(stage: Stage) -> None:
    stage.device.alters = lambda frame: replace(frame, gray=stage.device.film[0].copy())


def alter(how: Callable[[Frame], Any]) -> Callable[[Stage], None]:
    return lambda stage: setattr(stage.device, "alters", how)


def infer(times: int) -> Callable[[Stage], None]:
    return lambda stage: setattr(stage.network, "fault", failing(RuntimeError("bad node"), times))


def stand_still(stage: Stage) -> None:
    def wait() -> None:
        stage.network.fault = None
        time.sleep(4 / PACE)

    stage.network.fault = wait


def trouble(fault: str) -> Callable[[Stage], None]:
    return lambda stage: setattr(Flaky, "fault", fault)


# What is done, and whether the wearer must see that there is no camera.
FAULTS: dict[str, tuple[Callable[[Stage], None], bool]] = {
    "hangs": (hang, True),
    "is gone": (gone, True),
    "raises": (lambda stage: setattr(stage.device, "raises", CameraLost("select timeout")), True),
    "gives None": (alter(lambda frame: None), True),
    "gives nothing but a line": (alter(lambda frame: replace(frame, gray=frame.gray[:1])), True),
    "freezes": (freeze, True),
    "goes black": (alter(lambda frame: replace(frame, gray=np.full_like(frame.gray, 16))), True),
    "changes its size": (alter(lambda frame: resized(frame, 320, 240)), False),
    "has a clock that leaps": (alter(lambda frame: replace(frame, t=frame.t + (-50, 7, 1e9)[frame.seq % 3])), False),
    "is paused": (lambda stage: setattr(stage.control, "paused", True), False),
    "network raises": (infer(1), False),
    "network must be loaded again": (infer(1_000), False),
    "network stands still": (stand_still, True),
    "display is unplugged": (trouble("unplugged"), False),
    "display sleeps": (trouble("sleeps"), False),
}


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.mark.slow
def test_for_an_hour_the_cue_comes_back_after_every_fault_and_nothing_is_left(
    tmp_path: Path, clock: FastClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    nobody = DemoSource("1").render(SCENE_FRAMES - WALK_FRAMES - 10)
    film, chance = pictures(), random.Random(1)
    threads, files = set(threading.enumerate()), descriptors()

    def reopen(spec: str) -> Sink:
        return Flaky()

    stage = Stage(tmp_path, film, [("flaky", Flaky())], reopen=reopen, clock=clock.monotonic)
    stage.device.clock, stage.device.fps = clock.monotonic, 10 * PACE
    stage.start()
    begun = clock.monotonic()
    settled, slowest, played = 0.0, 0.0, Counter[str]()

    def quieten(frame: Frame) -> Frame:
        clock.leap(LEAP)
        noise = np.random.default_rng(frame.seq).integers(0, 2, nobody.shape, np.uint8)
        return replace(frame, gray=nobody + noise, t=clock.monotonic())

    faults: Iterator[str] = iter(())
    while clock.monotonic() - begun < HOUR:
        # All of them in turn, in another order every time.
        name = next(faults, "")
        if not name:
            faults = iter(chance.sample(sorted(FAULTS), len(FAULTS)))
            continue
        stage.wait_shown(TRUE, settled)
        act, noticed = FAULTS[name]
        before = time.monotonic()
        act(stage)
        if noticed:
            stage.wait_shown("no_camera", before)
        time.sleep(chance.uniform(0, 3) / PACE)
        back = time.monotonic()
        stage.device.alters, stage.device.plugged, stage.control.paused = lambda frame: frame, True, False
        if name == "network must be loaded again":
            stage.network = stage.model.hinder()  # which is whole by now
        slowest = max(slowest, PACE * (stage.wait_shown(TRUE, back) - back))
        stage.device.release.set()  # a call that hung returns long after its thread was abandoned
        stage.device.release = threading.Event()
        played[name] += 1
        quiet = clock.monotonic() + QUIET
        stage.device.alters = quieten
        stage.wait_shown("no_face", time.monotonic())
        wait_until(lambda quiet=quiet: clock.monotonic() > quiet)
        assert stage.watcher.shown[-1][1] != TRUE, f"a frozen label: {stage.story()}"
        stage.device.alters, settled = lambda frame: frame, time.monotonic()
    stage.end()
    assert stage.outcome is not None, stage.story()
    assert stage.outcome.failures == ()
    assert played.keys() == FAULTS.keys()
    wait_until(lambda: set(threading.enumerate()) <= threads)
    assert descriptors() <= files
    health = stage.outcome.metrics
    RESULTS.append(
        Result(
            f"an hour with {played.total()} faults at random",
            "the truth",
            to_recover=slowest,
            logged=f"{health.frames} frames, {health.camera_losses} losses {dict(health.camera_causes)}",
        )
    )
