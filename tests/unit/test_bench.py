"""cuelens-bench: its report keeps to the schema, counts every frame, and fails in one line. No test asserts a time."""

from __future__ import annotations

import copy
import json
import math
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from benchmarks import bench
from benchmarks.machine import machine, software, state
from benchmarks.schema import complaints

SCRIPT = "from benchmarks.bench import main; main()"


@pytest.fixture(scope="session")
def bench_run(repository: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """cuelens-bench as a user starts it."""

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", SCRIPT, *words]
        return subprocess.run(command, cwd=repository, capture_output=True, text=True, timeout=120, check=False)

    return run


@pytest.fixture(scope="session")
def demo_report(bench_run: Callable[..., subprocess.CompletedProcess[str]]) -> dict[str, Any]:
    done = bench_run("--frames", "20", "--warmup", "5", "--json")
    assert done.returncode == 0, done.stderr
    report: dict[str, Any] = json.loads(done.stdout)  # all of standard output: nothing but JSON
    return report


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Four frames of a gray wall."""
    folder = tmp_path / "film"
    folder.mkdir()
    for index in range(4):
        cv2.imwrite(str(folder / f"{index}.png"), np.full((120, 160), 90, np.uint8))
    return folder


def fails(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str]:
    """Exit code and the one line of a run that fails."""
    with pytest.raises(SystemExit) as ended:
        bench.main(list(words))
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err.count("\n") == 1, output.err
    assert isinstance(ended.value.code, int)
    return ended.value.code, output.err


def test_report_keeps_to_the_schema(demo_report: dict[str, Any]) -> None:
    assert complaints(demo_report) == []


def test_report_counts_all_frames_but_the_warm_up(demo_report: dict[str, Any]) -> None:
    assert (demo_report["source"], demo_report["frames"], demo_report["warmup_frames"]) == ("demo", 20, 5)
    assert (demo_report["width"], demo_report["height"], demo_report["dropped"]) == (640, 480, 0)


def test_report_names_the_shipped_model(demo_report: dict[str, Any], repository: Path) -> None:
    contract = json.loads((repository / "models" / "emotion.json").read_bytes())
    assert demo_report["model"]["sha256"] == contract["sha256"]
    assert demo_report["model"]["runtime"].startswith(tuple(bench.DELEGATES))


def test_whole_is_no_less_than_any_of_its_parts(demo_report: dict[str, Any]) -> None:
    stages = demo_report["stages_ms"]
    for percent in ("p50", "p95", "p99"):
        assert all(stages["whole"][percent] >= stages[part][percent] for part in ("capture", "find", "read", "cue"))


def test_table_is_for_people(bench_run: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    done = bench_run("--frames", "10", "--warmup", "1")
    assert done.returncode == 0, done.stderr
    for word in ("p95", "capture", "whole", "CPU ms a frame", "peak memory", "governor", "commit"):
        assert word in done.stdout
    assert "frame/s" not in done.stderr  # no progress bar where nobody watches


def test_unknown_source_has_its_code_and_one_line(bench_run: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    done = bench_run("--source", "dmo")
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (16, "", 1)
    assert "did you mean 'demo'?" in done.stderr
    assert "Traceback" in bench_run("--source", "dmo", "--debug").stderr


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["--source", "file:/not/there.mp4"], 10),
        (["--model", "/not/there.tflite"], 20),
        (["--frames", "0"], 50),
        (["--repeat", "0"], 50),
        (["--warmup", "-1"], 50),
        (["--threads", "99"], 50),
    ],
)
def test_bad_input_has_its_code(capsys: pytest.CaptureFixture[str], words: list[str], code: int) -> None:
    assert fails(capsys, *words)[0] == code


def test_damaged_picture_ends_with_the_sources_code(capsys: pytest.CaptureFixture[str], pictures: Path) -> None:
    (pictures / "2.png").write_bytes(b"\x89PNG\r\n\x1a\nno more")
    assert fails(capsys, "--source", f"file:{pictures}")[0] == 12


def test_file_is_measured_whole_as_often_as_asked(pictures: Path) -> None:
    report = bench.measure(bench.Plan(f"file:{pictures}", None, 3, 2, 1, None))
    assert complaints(report) == []
    assert (report["frames"], report["frames_with_face"], report["repeat"]) == (12, 0, 3)


def test_frames_limit_a_repeated_file(pictures: Path) -> None:
    assert bench.measure(bench.Plan(f"file:{pictures}", 6, 3, 1, 1, None))["frames"] == 6


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        (("fps",), math.nan, "report.fps is nan"),
        (("cpu_ms_per_frame",), -1.0, "report.cpu_ms_per_frame is -1.0"),
        (("frames",), 1.5, "report.frames is 1.5; it must be int"),
        (("frames",), True, "report.frames is True; it must be int"),
        (("software", "commit"), 3, "report.software.commit is 3; it must be str or null"),
        (("machine", "load_average"), ["x"], "report.machine.load_average[0] is 'x'; it must be float"),
        (("stages_ms", "find"), None, "report.stages_ms.find is None; it must be an object"),
        (("extra",), 1, "report.extra is not in the schema"),
        (("schema",), 99, "report.schema is 99; this version reads 1"),
        (("peers",), {"x": {}}, "report.peers.x.ratio is missing"),
    ],
)
def test_schema_names_what_is_wrong(
    demo_report: dict[str, Any], path: tuple[str, ...], value: object, said: str
) -> None:
    report = copy.deepcopy(demo_report)
    place = report
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    assert said in complaints(report)


def test_schema_misses_a_key(demo_report: dict[str, Any]) -> None:
    report = copy.deepcopy(demo_report)
    del report["stages_ms"]["whole"]["p95"]
    assert complaints(report) == ["report.stages_ms.whole.p95 is missing"]


def test_every_number_is_defined(demo_report: dict[str, Any], repository: Path) -> None:
    text = (repository / "benchmarks" / "README.md").read_text(encoding="utf-8")
    assert set(demo_report["stages_ms"]) <= set(demo_report["definitions"])
    for key in ("fps", "cpu_ms_per_frame", "peak_rss_mb", "model_load_ms", *demo_report["stages_ms"]):
        assert f"`{key}`" in text or f"`stages_ms.{key}`" in text, key


def test_throttling_bits_come_from_vcgencmd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tool = tmp_path / "vcgencmd"
    tool.write_text("#!/bin/sh\necho throttled=0x50005\n", encoding="utf-8")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    assert state()["throttled"] == "0x50005"
    tool.write_text("#!/bin/sh\nexit 255\n", encoding="utf-8")
    assert state()["throttled"] is None


def test_without_git_there_is_no_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert software()["commit"] is None
    assert machine()["cpu"]
