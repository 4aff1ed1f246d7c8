"""What makes a measurement void: a board that was throttled, another load; and what counts as another."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from benchmarks import machine
from benchmarks.machine import MOST_OTHERS, Surroundings, voids
from benchmarks.report import Measured, make_report
from benchmarks.schema import complaints
from edge.hardware import board

TICKS = os.sysconf("SC_CLK_TCK")
COLUMNS = ("user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal", "guest", "guest_nice")


def seen(
    before: str | None = None, after: str | None = None, others: float | None = 0.0, meanwhile: str | None = None
) -> dict[str, Any]:
    states = {name: {"throttled": bits} for name, bits in {"before": before, "after": after}.items()}
    return {**states, "throttled_meanwhile": meanwhile, "others": others}


@pytest.mark.parametrize(
    ("before", "after", "bits"),
    [
        ("0x0", "0x1", "0x1"),  # the voltage is low
        ("0x2", "0x0", "0x2"),  # the clock was capped when it began
        ("0x0", "0x4", "0x4"),
        ("0x0", "0x8", "0x8"),  # the soft limit of temperature
        ("0x0", "0x10000", "0x10000"),  # it was low in between
        ("0x10000", "0x50000", "0x40000"),
        ("0x50005", "0x50005", "0x5"),
    ],
)
def test_a_board_that_was_throttled_voids(before: str, after: str, bits: str) -> None:
    (reason,) = voids(seen(before, after))
    assert reason.endswith(f": {bits}")


@pytest.mark.parametrize(
    ("before", "after"), [("0x0", "0x0"), ("0x50000", "0x50000"), ("0xf0000", "0xf0000"), (None, None)]
)
def test_what_was_before_since_the_boot_voids_nothing(before: str | None, after: str | None) -> None:
    assert voids(seen(before, after)) == []


def test_a_throttling_that_began_and_ended_meanwhile_voids() -> None:
    (reason,) = voids(seen("0x50000", "0x50000", meanwhile="0x50004"))
    assert reason.endswith(": 0x4")
    assert voids(seen("0x50000", "0x50000", meanwhile="0x50000")) == []


def test_another_load_voids() -> None:
    assert voids(seen(others=MOST_OTHERS)) == []
    assert voids(seen(others=None)) == []
    (reason,) = voids(seen(others=MOST_OTHERS + 0.01))
    assert "0.16 of a core" in reason
    assert len(voids(seen("0x0", "0x1", 1.0))) == 2


@pytest.fixture
def stat(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """A /proc/stat of an idle machine; called with seconds by column, it takes them."""
    path = tmp_path / "proc" / "stat"
    path.parent.mkdir()
    taken = dict.fromkeys(COLUMNS, 100 * TICKS)

    def take(**seconds: float) -> None:
        for column, more in seconds.items():
            taken[column] += round(more * TICKS)
        path.write_text(f"cpu  {' '.join(map(str, taken.values()))}\ncpu0 1 2 3\nintr 5\n", encoding="ascii")

    take()
    monkeypatch.setattr(machine, "SYSTEM", tmp_path)
    return take


@pytest.fixture
def ten_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes what is measured last ten seconds."""
    clock: Iterator[float] = iter((50.0, 60.0))
    monkeypatch.setattr(machine, "time", SimpleNamespace(monotonic=lambda: next(clock)))  # other threads have theirs


def own_s() -> float:
    return sum(os.times()[:4])


@pytest.mark.usefixtures("ten_seconds")
@pytest.mark.parametrize("column", ["user", "nice", "system", "irq", "softirq", "steal"])
def test_what_another_program_or_the_host_takes_is_counted(stat: Callable[..., None], column: str) -> None:
    with Surroundings() as around:
        begun = own_s()
        stat(**{column: 5.0})
        stat(user=own_s() - begun)
    assert around.others == pytest.approx(0.5, abs=0.02)
    assert voids(around.provenance())


@pytest.mark.usefixtures("ten_seconds")
def test_an_idle_machine_is_no_load(stat: Callable[..., None]) -> None:
    with Surroundings() as around:
        stat(idle=10.0, iowait=3.0, guest=2.0)  # a guest's time is in its user column, too
    assert around.others == pytest.approx(0.0, abs=0.02)


@pytest.mark.usefixtures("ten_seconds", "stat")
def test_ticks_that_the_kernel_has_not_counted_yet_are_nobodys() -> None:
    with Surroundings() as around:
        begun = own_s()
        while own_s() < begun + 0.05:
            pass
    assert around.others == 0.0


@pytest.mark.usefixtures("ten_seconds")
def test_what_our_own_processes_take_is_not_another_load(stat: Callable[..., None]) -> None:
    with Surroundings() as around:
        begun = own_s()
        burn = "import time\nwhile time.process_time() < 0.2: pass"
        subprocess.run([sys.executable, "-S", "-c", burn], timeout=60, check=True)
        taken = own_s() - begun
        assert taken > 0.15
        stat(user=taken)
    assert around.others == pytest.approx(0.0, abs=0.01)


@pytest.mark.usefixtures("ten_seconds")
def test_a_machine_without_counters_voids_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "SYSTEM", tmp_path / "nowhere")
    with Surroundings() as around:
        pass
    assert around.others is None
    assert voids(around.provenance()) == []


@pytest.mark.usefixtures("ten_seconds")
def test_a_report_shows_why_it_is_void(stat: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> None:
    bits = ["0x0"]
    monkeypatch.setattr(board, "throttled", lambda: bits[-1])
    with Surroundings() as around:
        bits.append("0x50000")
        stat(user=3.0)
    result = {"elapsed_s": 1.0, "cpu_s": 1.0, "instructions_m": None}
    report = make_report("start", Measured(result, {"cpu_s": [1.0]}, {}), around)
    assert complaints(report) == []
    assert [line.split(":")[0].split(",")[0] for line in report["void"]] == [
        "the board was throttled",
        "other programs",
    ]


def test_this_machines_own_counters_can_be_read() -> None:
    before = machine._others_s()
    after = machine._others_s()
    assert before is not None
    assert after is not None
    assert after >= before - 0.1  # both in the kernel's steps
