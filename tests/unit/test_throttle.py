"""The pace: slower step by step while something is wrong, faster again when it has been right for a while."""

from __future__ import annotations

import math
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.diagnostics.status import describe_status, gather_status
from edge.runtime.control import Control
from edge.runtime.metrics import Metrics
from edge.runtime.run import run
from edge.runtime.throttle import (
    EARLY,
    FASTER_AFTER,
    LOOK,
    SLOWER_AFTER,
    STEPS,
    Load,
    Step,
    Throttle,
    ThrottlePolicy,
    read_load,
    strains,
)
from edge.settings import CueSettings, PaceSettings, Settings
from edge.sinks.truth import TruthSink
from edge.sources.demo import DemoSource
from edge.types import Frame
from edge.vision.model import ExpressionModel
from edge.vision.pipeline import Effort

FINE = Load(45.0, 0, 400.0, 0.0, 80.0)
HOT = replace(FINE, temperature_c=84.0)
WARM = replace(FINE, temperature_c=77.0)
LAST = len(STEPS) - 1


def steps(loads: Sequence[tuple[Load, float]], settings: PaceSettings | None = None) -> list[int]:
    """Play loads, each for its seconds, one look every LOOK; returns the step after each."""
    policy, t, after = ThrottlePolicy(settings or PaceSettings()), 1000.0, []
    for load, seconds in loads:
        for _ in range(round(seconds / LOOK)):
            policy.update(load, t)
            t += LOOK
        after.append(policy.step)
    return after


@pytest.mark.parametrize(
    ("load", "why"),
    [
        (HOT, "84 degrees Celsius"),
        (replace(FINE, throttled=0x50005), "under-voltage, throttled"),
        (replace(FINE, throttled=0x2), "frequency capped"),
        (replace(FINE, available_mb=30.0), "30 MB of memory left"),
        (replace(FINE, stalled=25.0), "memory waited for in 25 % of the time"),
        (replace(FINE, battery=9.0), "battery at 9 %"),
    ],
)
def test_each_strain_slows_at_once_and_says_why(load: Load, why: str) -> None:
    policy = ThrottlePolicy(PaceSettings())
    assert (policy.update(load, 0.0), ", ".join(policy.why)) == (1, why)


@pytest.mark.parametrize("load", [FINE, Load(), replace(FINE, throttled=0xF0008), replace(FINE, temperature_c=79.9)])
def test_what_is_in_order_unknown_past_or_only_near_its_limit_does_not(load: Load) -> None:
    assert steps([(load, 600)]) == [0]


def test_it_slows_to_the_last_step_one_at_a_time_and_comes_back_one_at_a_time() -> None:
    assert steps([(HOT, SLOWER_AFTER), (HOT, SLOWER_AFTER)]) == [1, 2]
    there_and_back = [(HOT, 600.0), *[(FINE, FASTER_AFTER)] * LAST]
    assert steps(there_and_back) == list(range(LAST, -1, -1))


def test_between_the_limits_it_stays_as_it_is() -> None:
    assert steps([(HOT, 3 * SLOWER_AFTER), (WARM, 3600), (FINE, FASTER_AFTER + 2 * LOOK)]) == [3, 3, 2]
    assert steps([(WARM, 3600)]) == [0]


def test_a_short_relief_does_not_make_it_faster() -> None:
    assert steps([(HOT, 3 * SLOWER_AFTER), *[(FINE, FASTER_AFTER - 2 * LOOK), (WARM, LOOK)] * 20])[-1] == 3


@pytest.mark.parametrize("slowest", range(LAST + 1))
def test_it_is_never_slower_than_the_settings_allow(slowest: int) -> None:
    assert steps([(HOT, 600)], PaceSettings(slowest=slowest)) == [slowest]


def test_the_slowest_step_that_can_be_set_is_the_last() -> None:
    assert PaceSettings().slowest == LAST


@given(st.lists(st.sampled_from([FINE, WARM, HOT, Load()]), max_size=80))
def test_it_changes_by_one_step_and_not_before_the_last_could_help(loads: list[Load]) -> None:
    policy, changed, before = ThrottlePolicy(PaceSettings()), -math.inf, 0
    for look, load in enumerate(loads):
        step = policy.update(load, t := look * LOOK)
        assert bool(policy.why) == (step > 0)
        if step != before:
            assert abs(step - before) == 1
            assert t - changed >= (SLOWER_AFTER if step > before else FASTER_AFTER)
            changed, before = t, step


def test_the_steps_do_less_each_detection_first_then_reading_then_frames() -> None:
    def cost(step: Step) -> tuple[float, float, float]:  # windows, readings, frames a second of a camera's 30
        fps = min(30.0, step.fps)
        return step.effort.scan * fps, min(fps, 1 / max(step.effort.read_interval, 0.05)), fps

    costs = [cost(step) for step in STEPS]
    for before, after in pairwise(costs):
        assert all(a >= b for a, b in zip(before, after, strict=True))
        assert before != after
    first = [next(n for n, value in enumerate(costs) if value[what] < costs[0][what]) for what in range(3)]
    assert first == sorted(first)
    assert len(set(first)) == 3


def test_the_docs_publish_the_steps(repository: Path) -> None:
    text = (repository / "docs" / "troubleshooting.md").read_text()
    rows = re.findall(r"^\| step (\d) \| (\d+) % \| ([\d.]+) s \| (\S+) \|", text, re.MULTILINE)
    published = {
        int(row): Step(
            Effort(float(scan) / 100, float(interval) * (float(interval) > 0.05)),
            math.inf if fps == "all" else float(fps),
        )
        for row, scan, interval, fps in rows
    }
    assert published == dict(enumerate(STEPS))


class Board:
    """What a board reports, and a clock."""

    def __init__(self) -> None:
        self.load, self.t, self.said = FINE, 0.0, list[str]()
        self.pace = Throttle(PaceSettings(), self.said.append, lambda: self.load, lambda: self.t)

    def pass_by(self, seconds: float) -> None:
        for _ in range(round(seconds / LOOK)):
            self.pace.follow()
            self.t += LOOK


def test_changes_are_reported_with_their_reason_and_counted() -> None:
    board = Board()
    board.pass_by(20)
    assert (board.said, board.pace.slowing().slow_for) == ([], 0.0)
    board.load = HOT
    board.pass_by(2 * SLOWER_AFTER)
    board.load = FINE
    board.pass_by(3 * FASTER_AFTER)
    assert board.said == [
        *(f"slower, step {n} of 6: 84 degrees Celsius" for n in (1, 2)),
        *(f"faster again, step {n} of 6" for n in (1, 0)),
    ]
    slowing = board.pace.slowing()
    assert (slowing.step, slowing.why, slowing.slowest, slowing.skipped) == (0, (), 2, 0)
    assert SLOWER_AFTER < slowing.slow_for < 2 * SLOWER_AFTER + 2 * FASTER_AFTER + 2 * LOOK


def test_status_and_summary_say_the_step_and_why() -> None:
    board, control, network = Board(), Control(Settings()), ExpressionModel()
    control.metrics = Metrics(network.runtime, board.pace.slowing)
    board.pass_by(LOOK)
    assert re.search(r"^pace +full$", describe_status(gather_status(control, network, "1.0")), re.MULTILINE)
    assert "slower" not in control.metrics.summary()
    board.load = replace(HOT, throttled=1)
    board.pass_by(SLOWER_AFTER)
    status = gather_status(control, network, "1.0")
    assert status["pace"] == {
        "step": 1,
        "steps": 6,
        "slowest": 1,
        "skipped": 0,
        "slow_for": SLOWER_AFTER - LOOK,
        "why": ["under-voltage", "84 degrees Celsius"],
    }
    expected = r"^pace +step 1 of 6: under-voltage, 84 degrees Celsius$"
    assert re.search(expected, describe_status(status), re.MULTILINE)
    assert f"slower for {SLOWER_AFTER - LOOK:.0f} s, down to step 1" in control.metrics.summary()


@pytest.mark.parametrize("camera", [30.0, 25.0, 24.0, 60.0, 15.0, 7.5])
@pytest.mark.parametrize("step", range(LAST + 1))
def test_so_many_frames_are_taken_whatever_the_cameras_rate_and_its_jitter(step: int, camera: float) -> None:
    board = Board()
    board.pace.step = step
    times = [n / camera + (0.002 if n % 2 else -0.002) for n in range(round(20 * camera))]
    efforts = {t: effort for t in times if (effort := board.pace.take(t)) is not None}
    taken = list(efforts)
    wanted = min(camera, STEPS[step].fps)
    assert len(taken) / 20 == pytest.approx(wanted, rel=0.1)
    assert board.pace.skipped == len(times) - len(taken)
    assert set(efforts.values()) == {STEPS[step].effort}
    gaps = [b - a for a, b in pairwise(taken)]
    assert max(gaps) <= 1 / STEPS[step].fps * (1 + EARLY) + 1 / camera + 0.0041


def test_a_clock_that_goes_back_and_a_faster_step_cost_no_frame() -> None:
    board = Board()
    board.pace.step = LAST
    assert board.pace.take(100.0) == STEPS[LAST].effort
    assert board.pace.take(100.1) is None
    assert board.pace.take(3.0) == STEPS[LAST].effort
    board.pace.step = 0
    assert board.pace.take(3.01) == STEPS[0].effort


class Recorded:
    """Frames that were made before, as fast as they are taken."""

    live, announced = False, None

    def __init__(self, frames: list[Frame]) -> None:
        self._frames = frames

    def frames(self) -> Iterator[Frame]:
        for frame in self._frames:
            yield replace(frame, t_arrived=time.monotonic())

    def close(self) -> None:
        pass


@pytest.fixture(scope="module")
def person() -> tuple[DemoSource, list[Frame]]:
    """Twelve seconds of the demo person."""
    demo = DemoSource("3", live=False)
    return demo, [frame for frame, _ in zip(demo.frames(), range(360), strict=False)]


@pytest.mark.parametrize("step", [LAST - 2, LAST])
def test_at_any_step_the_cue_stays_true(person: tuple[DemoSource, list[Frame]], step: int) -> None:
    demo, frames = person
    board = Board()
    board.pace.step = step
    control = Control(Settings())
    truth = TruthSink(demo, CueSettings())
    outcome = run(
        control, Recorded(frames), ExpressionModel(), [("truth", truth)], threading.Event(), throttle=board.pace
    )
    assert outcome.failures == ()
    assert outcome.metrics.frames == pytest.approx(STEPS[step].fps * len(frames) / 30, rel=0.05)
    assert float(re.findall(r"([\d.]+)%", truth.summary())[0]) >= 95


def test_a_thread_follows_the_board_and_a_file_that_hangs_stops_nobody() -> None:
    said, looked, hang = threading.Event(), threading.Event(), threading.Event()

    def look() -> Load:
        if looked.is_set():
            hang.wait(60)
        looked.set()
        return HOT

    pace = Throttle(PaceSettings(), lambda line: said.set(), look)
    pace.start()
    assert said.wait(60)
    assert pace.step == 1
    pace.close()
    pace.close()
    hang.set()


def write(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


BOARD = {
    "sys/class/thermal/thermal_zone0/temp": "71234\n",
    "sys/devices/platform/soc/soc:firmware/get_throttled": "50005\n",
    "proc/meminfo": "MemTotal:  425000 kB\nMemFree:  9000 kB\nMemAvailable:     100000 kB\n",
    "proc/pressure/memory": "some avg10=12.34 avg60=3.00 avg300=0.00 total=9\nfull avg10=1.00 avg60=0.00 total=1\n",
    "sys/class/power_supply/AC/type": "Mains\n",
    "sys/class/power_supply/BAT0/type": "Battery\n",
    "sys/class/power_supply/BAT0/status": "Discharging\n",
    "sys/class/power_supply/BAT0/capacity": "12\n",
}


def test_a_boards_files_are_read(tmp_path: Path) -> None:
    assert read_load(write(tmp_path, BOARD)) == Load(71.234, 0x50005, 102.4, 12.34, 12.0)


@pytest.mark.parametrize("status", ["Charging", "Full", "Not charging"])
def test_a_battery_that_is_not_being_emptied_is_none(tmp_path: Path, status: str) -> None:
    write(tmp_path, {**BOARD, "sys/class/power_supply/BAT0/status": status})
    assert read_load(tmp_path).battery is None


def test_what_is_not_there_or_makes_no_sense_is_unknown(tmp_path: Path) -> None:
    assert read_load(tmp_path) == Load()
    assert read_load(write(tmp_path, dict.fromkeys(BOARD, "?\n"))) == Load()
    assert list(strains(Load(), PaceSettings())) == []


def test_this_machine_can_be_read() -> None:
    assert (read_load().available_mb or 0) > 1


LOCK = """
import resource, sys
resource.setrlimit(resource.RLIMIT_MEMLOCK, (int(sys.argv[1]),) * 2)
from edge.system.memory import lock_memory
kept = bytearray(b"1" * 50_000_000) if lock_memory() else b""
later = bytearray(b"2" * 50_000_000)
answer = open("/proc/self/status").read()
print(int(answer.partition("VmLck:")[2].split()[0]) * 1024 > 100_000_000)
"""


@pytest.mark.parametrize(("limit", "locked"), [(-1, "True"), (8 << 20, "False")])
def test_without_a_limit_all_that_is_in_use_is_kept_out_of_the_swap(repository: Path, limit: int, locked: str) -> None:
    words = [sys.executable, "-c", LOCK, str(limit)]
    done = subprocess.run(words, cwd=repository, capture_output=True, text=True, timeout=60, check=False)
    if "not allowed" in done.stderr:
        pytest.skip("this system allows no memory to be locked without a limit")
    assert done.stdout.strip() == locked, done.stderr
