"""cuelens-bench: its report keeps to the schema, counts every frame, and fails in one line. No test asserts a time."""

from __future__ import annotations

import copy
import json
import math
import os
import pkgutil
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from benchmarks import bench, stages
from benchmarks.machine import machine, software, state
from benchmarks.report import read_report
from benchmarks.schema import RESULTS, VERSION, complaints
from edge.errors import (
    BenchFailed,
    CuelensError,
    ModelMissing,
    SettingsInvalid,
    SourceMissing,
    SourceUnknown,
    SourceUnreadable,
)
from tests.support.failures import ended_by

SCRIPT = "from benchmarks.bench import main; main()"


@pytest.fixture(scope="session")
def bench_run(repository: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """cuelens-bench as a user starts it."""

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", SCRIPT, "stages", *words]
        return subprocess.run(command, cwd=repository, capture_output=True, text=True, timeout=120, check=False)

    return run


@pytest.fixture(scope="session")
def demo_report(bench_run: Callable[..., subprocess.CompletedProcess[str]]) -> dict[str, Any]:
    done = bench_run("--frames", "20", "--warmup", "5", "--rounds", "2", "--json")
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
        bench.main(["stages", *words])
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err.count("\n") == 1, output.err
    assert isinstance(ended.value.code, int)
    return ended.value.code, output.err


def test_report_keeps_to_the_schema(demo_report: dict[str, Any]) -> None:
    assert complaints(demo_report) == []


def test_report_counts_all_frames_but_the_warm_up(demo_report: dict[str, Any]) -> None:
    result = demo_report["result"]
    assert (result["source"], result["frames"], result["warmup_frames"]) == ("demo", 20, 5)
    assert (result["width"], result["height"], result["dropped"]) == (640, 480, 0)
    assert all(len(figure["rounds"]) == 2 for figure in demo_report["figures"].values())


def test_report_names_the_shipped_model(demo_report: dict[str, Any], repository: Path) -> None:
    contract = json.loads((repository / "models" / "emotion.json").read_bytes())
    assert demo_report["model"]["sha256"] == contract["sha256"]


def test_whole_is_no_less_than_any_of_its_parts(demo_report: dict[str, Any]) -> None:
    measured = demo_report["result"]["stages"]
    for kind in ("wall_ms", "cpu_ms"):
        for percent in ("p50", "p90", "p95", "p99"):
            whole = measured["whole"][kind][percent]
            assert all(whole >= measured[part][kind][percent] for part in ("find", "read", "cue", "sink"))


def test_table_is_for_people(bench_run: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    done = bench_run("--frames", "10", "--warmup", "1", "--rounds", "1")
    assert done.returncode == 0, done.stderr
    for word in ("cpu p90", "capture", "whole", "CPU ms a frame", "peak memory", "governor", "power", "commit"):
        assert word in done.stdout
    assert "frame/s" not in done.stderr  # no progress bar where nobody watches


def test_unknown_source_has_its_code_and_one_line(bench_run: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    done = bench_run("--source", "dmo")
    assert "did you mean 'demo'?" in ended_by(SourceUnknown, done.returncode, done.stderr)
    assert (done.stdout, done.stderr.count("\n")) == ("", 1)
    assert "Traceback" in bench_run("--source", "dmo", "--debug").stderr


@pytest.mark.parametrize(
    ("words", "cause"),
    [
        (["--source", "file:/not/there.mp4"], SourceMissing),
        (["--model", "/not/there.tflite"], ModelMissing),
        (["--frames", "0"], SettingsInvalid),
        (["--repeat", "0"], SettingsInvalid),
        (["--warmup", "-1"], SettingsInvalid),
        (["--threads", "99"], SettingsInvalid),
        (["--rounds", "0"], SettingsInvalid),
    ],
)
def test_bad_input_has_its_code(
    capsys: pytest.CaptureFixture[str], words: list[str], cause: type[CuelensError]
) -> None:
    ended_by(cause, *fails(capsys, *words))


def test_damaged_picture_ends_with_the_sources_code(capsys: pytest.CaptureFixture[str], pictures: Path) -> None:
    (pictures / "2.png").write_bytes(b"\x89PNG\r\n\x1a\nno more")
    ended_by(SourceUnreadable, *fails(capsys, "--source", f"file:{pictures}"))


def test_file_is_measured_whole_as_often_as_asked(pictures: Path) -> None:
    answer = stages.measure_here(stages.Plan(f"file:{pictures}", None, 3, 2, 1, None))
    assert (answer["loop"]["frames"], answer["loop"]["frames_with_face"]) == (12, 0)
    assert {name: len(frames) for name, frames in answer["stages"].items()} == dict.fromkeys(
        (*stages.STAGES, "whole"), 12
    )


def test_frames_limit_a_repeated_file(pictures: Path) -> None:
    answer = stages.measure_here(stages.Plan(f"file:{pictures}", 6, 3, 1, 1, None))
    assert (answer["loop"]["frames"], len(answer["stages"]["find"])) == (6, 6)


def test_measuring_process_that_is_killed_is_reported(
    pictures: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(stages, "measure_here", _die)
    assert "was killed" in ended_by(BenchFailed, *fails(capsys, "--source", f"file:{pictures}"))


class _Killed:
    """Kills the process that unpickles it."""

    def __reduce__(self) -> tuple[Callable[[int], Any], tuple[int]]:
        return os._exit, (9,)


_die = _Killed()


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        (("figures", "fps", "median"), math.nan, "report.figures.fps.median is nan"),
        (("result", "peak_rss_mb"), -1.0, "report.result.peak_rss_mb is -1.0"),
        (("result", "frames"), 1.5, "report.result.frames is 1.5; it must be int"),
        (("result", "frames"), True, "report.result.frames is True; it must be int"),
        (
            ("provenance", "software", "commit"),
            3,
            "report.provenance.software.commit is 3; it must be str or null",
        ),
        (("provenance", "before"), 1, "report.provenance.before is 1; it must be an object"),
        (("figures", "fps", "rounds"), ["x"], "report.figures.fps.rounds[0] is 'x'; it must be float"),
        (("result", "stages", "find"), None, "report.result.stages.find is None; it must be an object"),
        (("extra",), 1, "report.extra is not in the schema"),
        (("version",), 99, f"report.version is 99; this version reads {VERSION}"),
        (("task",), "other", "report.task is 'other'; known are "),
        (("task",), [], "report.task is []; known are "),
    ],
)
def test_schema_names_what_is_wrong(
    demo_report: dict[str, Any], path: tuple[str, ...], value: object, said: str, tmp_path: Path
) -> None:
    report = copy.deepcopy(demo_report)
    place = report
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    assert any(line.startswith(said) for line in complaints(report))
    (tmp_path / "report.json").write_text(json.dumps(report))
    with pytest.raises(SettingsInvalid, match="cuelens-bench"):
        read_report(tmp_path / "report.json")


def test_schema_misses_a_key(demo_report: dict[str, Any]) -> None:
    report = copy.deepcopy(demo_report)
    del report["result"]["stages"]["whole"]["cpu_ms"]["p95"]
    assert complaints(report) == ["report.result.stages.whole.cpu_ms.p95 is missing"]


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b"\xff", b'{"version": 3}'])
def test_a_file_that_is_no_report_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "report.json").write_bytes(content)
    with pytest.raises(SettingsInvalid, match=r"report\.json: "):
        read_report(tmp_path / "report.json")


def test_every_number_is_defined(demo_report: dict[str, Any], repository: Path) -> None:
    text = (repository / "benchmarks" / "README.md").read_text(encoding="utf-8")
    assert {*stages.STAGES, "whole_ms"} <= set(demo_report["definitions"])
    for key in ("fps", "cpu_ms_per_frame", "peak_rss_mb", "model_load_ms", *demo_report["result"]["stages"]):
        assert f"`{key}`" in text, key


def test_a_report_is_kept_and_read_back(pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        bench.main(["stages", "--source", f"file:{pictures}", "--warmup", "1", "--rounds", "1", "--out", str(tmp_path)])
    assert ended.value.code == 0, capsys.readouterr().err
    assert read_report(tmp_path / "stages.json")["task"] == "stages"


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


def test_on_a_device_without_the_hosts_rooms_every_task_is_there(repository: Path) -> None:
    script = (
        "import sys\nfor name in ('lab', 'training', 'converter'): sys.modules[name] = None\n"
        "from benchmarks.bench import TASKS, main\n"
    )
    for words in (["stages", "--help"], ["compare", "--help"], ["--help"]):
        command = [sys.executable, "-c", f"{script}main({words!r})"]
        done = subprocess.run(command, cwd=repository, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, "")
    here = {name.partition(" ")[0] for name in (*bench.TASKS, *bench.COMMANDS)}
    assert all(f"\n    {name} " in done.stdout for name in here)
    assert not any(f"\n    {name.partition(' ')[0]} " in done.stdout for name in bench.HOST_TASKS | bench.HOST_COMMANDS)


def test_every_task_is_in_the_schema_and_no_other() -> None:
    assert (bench.TASKS | bench.HOST_TASKS).keys() == RESULTS.keys()


REFERENCE = Path(bench.__file__).parent / "reference"


@pytest.mark.parametrize("path", sorted(REFERENCE.glob("*/*.json")), ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_every_report_of_the_repository_keeps_to_the_schema_and_names_code_that_is_there(path: Path) -> None:
    report = read_report(path)
    for name in re.findall(r"\b(?:edge|benchmarks|lab)(?:\.\w+)+", json.dumps(report)):
        assert pkgutil.resolve_name(name), name
