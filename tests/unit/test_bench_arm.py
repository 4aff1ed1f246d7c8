"""cuelens-bench arm: what it makes of counts, and the counts themselves, which are the same in every run."""

from __future__ import annotations

import platform
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from benchmarks import bench
from benchmarks.arm import counts
from benchmarks.report import read_report
from edge.errors import BenchFailed, CostGrown, RuntimeMissing, SettingsInvalid
from tests.support.failures import ended_by, refusal_of

CORE, FRAMES = "cortex-a72", 8

# The same program with a finder that does about a twentieth more.
SLOWED = """
import sys
from benchmarks.arm import stages
from edge.vision.faces import FaceFinder
find = FaceFinder.find
def slowed(self, gray, t, share=1.0):
    for _ in range({turns}):
        pass
    return find(self, gray, t, share)
FaceFinder.find = slowed
stages.main(int(sys.argv[1]))
"""


def result(**means: float) -> dict[str, Any]:
    """Counts of one run by hand, in millions a frame."""
    stages = {"find": 5.0, "read": 7.0, "cue": 0.1, "sink": 0.3, "whole": 12.4} | means
    run = {"runtime": "tflite-runtime", "core": CORE, "start": 1900.0}
    summary = {name: {"first": 10 * mean, "mean": mean, "p95": 2 * mean} for name, mean in stages.items()}
    return {"frames": counts.FRAMES, "runs": [{**run, "stages": summary}]}


def test_what_costs_as_much_or_less_passes() -> None:
    assert refusal_of(counts.hold_counts, result(find=4.0, read=7.06), result()) == ""


def test_a_stage_that_costs_more_is_named_with_both_numbers() -> None:
    with pytest.raises(
        CostGrown, match=r"find with tflite-runtime on cortex-a72 costs 5\.25 million .* 5\.0% more than 5"
    ):
        counts.hold_counts(result(find=5.25), result())


def test_a_start_that_costs_more_is_named() -> None:
    slow = result()
    slow["runs"][0]["start"] = 1960.0
    with pytest.raises(CostGrown, match="start with"):
        counts.hold_counts(slow, result())


@pytest.mark.parametrize(("key", "value", "words"), [("frames", 9, "of 9 frames"), ("runs", [], "no run of")])
def test_a_reference_of_something_else_is_refused(key: str, value: object, words: str) -> None:
    with pytest.raises(SettingsInvalid, match=words):
        counts.hold_counts(result(), result() | {key: value})


def test_a_forecast_is_the_clock_by_the_count() -> None:
    rows = counts.forecast(result(whole=10.0)["runs"])
    assert [row["board"] for row in rows] == ["4"]
    board = next(board for board in counts.BOARDS if board.name == "4")
    low, high = (board.clock_ghz * ipc * 100 for ipc in board.ipc)  # 10 million instructions a frame
    assert rows[0]["expected_fps"] == f"{low:.0f}-{high:.0f}"


def test_without_an_emulator_the_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(counts.shutil, "which", lambda name: None)
    with pytest.raises(RuntimeMissing, match="sudo apt install qemu-user"):
        counts.count(2, CORE, "tflite-runtime")


def test_one_frame_is_too_few(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        bench.main(["arm", "--frames", "1"])
    assert "at least 2" in ended_by(SettingsInvalid, ended.value.code, capsys.readouterr().err)


@pytest.fixture(scope="module")
def reference(repository: Path) -> dict[str, Any]:
    """The committed counts; skips where none can be made."""
    if platform.machine() != "x86_64":
        pytest.skip(f"counts on an emulated Arm; this is {platform.machine()}")
    for tool in ("qemu-aarch64", "cc", "setarch"):
        if shutil.which(tool) is None:
            pytest.skip(f"no {tool} on this system; .ci/run installs it")
    made = subprocess.run([repository / "deploy" / "arm64.sh"], capture_output=True, text=True, check=False)
    if made.returncode:
        pytest.skip(f"no arm64 tree: {made.stderr.strip().splitlines()[-1:]}")
    result: dict[str, Any] = read_report(counts.REFERENCE)["result"]
    return result


@pytest.mark.slow
def test_no_stage_costs_more_than_in_the_reference(reference: Mapping[str, Any]) -> None:
    counted = counts.count_cores(reference["frames"], [CORE], counts.RUNTIMES)
    assert refusal_of(counts.hold_counts, counted, reference) == ""


@pytest.mark.slow
@pytest.mark.usefixtures("reference")
def test_two_runs_count_alike(tmp_path: Path) -> None:
    first, second = (counts.count(FRAMES, CORE, "tflite-runtime") for _ in range(2))
    assert first.printed["cues"] == second.printed["cues"]
    assert len(first.stages["find"]) == FRAMES
    for name, values in first.stages.items():
        assert sum(second.stages[name]) == pytest.approx(sum(values), rel=1e-3), name
    assert second.start == pytest.approx(first.start, rel=1e-3)


@pytest.mark.slow
@pytest.mark.usefixtures("reference")
def test_a_finder_that_does_a_twentieth_more_does_not_pass(tmp_path: Path) -> None:
    def run(turns: int) -> dict[str, Any]:
        program = tmp_path / f"slowed{turns}.py"
        program.write_text(SLOWED.format(turns=turns))
        finds = counts.count(FRAMES, CORE, "tflite-runtime", program).stages["find"]
        return result(find=sum(finds[1:]) / 1e6 / (FRAMES - 1))

    def find(run: Mapping[str, Any]) -> float:
        return float(run["runs"][0]["stages"]["find"]["mean"])

    as_it_is, probe = run(0), run(1000)
    slowed = run(round(0.05 * find(as_it_is) / (find(probe) - find(as_it_is)) * 1000))
    assert find(slowed) / find(as_it_is) == pytest.approx(1.05, abs=0.01)
    with pytest.raises(CostGrown, match="find"):
        counts.hold_counts(slowed, as_it_is)


@pytest.mark.slow
@pytest.mark.usefixtures("reference")
def test_a_program_that_fails_says_how(tmp_path: Path) -> None:
    program = tmp_path / "fails.py"
    program.write_text("raise SystemExit('no such stage')")
    with pytest.raises(
        BenchFailed, match=r"fails\.py on cortex-a72 with tflite-runtime ended with code 1: no such stage"
    ):
        counts.count(2, CORE, "tflite-runtime", program)
