"""cuelens-bench compare: what is worse is flagged, what only scatters is not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks import bench
from benchmarks.compare import compare, differences, interval
from benchmarks.schema import VERSION
from edge.errors import CostGrown, SettingsInvalid
from tests.support.failures import ended_by

REFERENCE = Path(bench.__file__).parent / "reference"
STATE = {"governor": None, "frequency_mhz": None, "temperature_c": None, "throttled": None, "load_average": 0.1}
SOFTWARE = {"os": "o", "kernel": "k", "python": "3", "opencv": "4", "numpy": "1", "commit": "c"}


def report(cpu: list[float], fps: list[float], **software: str) -> dict[str, Any]:
    """A report of a start by hand, with a figure that should be low and one that should be high."""
    figures = {"cpu_s": (cpu, "lower"), "fps": (fps, "higher")}
    return {
        "version": VERSION,
        "task": "start",
        "date": "2026-01-01T00:00:00+00:00",
        "void": [],
        "settings": None,
        "result": {"elapsed_s": 1.0, "cpu_s": 1.0, "instructions_m": None},
        "figures": {
            name: {"better": better, "median": sorted(rounds)[len(rounds) // 2], "rounds": rounds}
            for name, (rounds, better) in figures.items()
        },
        "definitions": {},
        "model": None,
        "provenance": {
            "machine": {"cpu": "x", "architecture": "x", "cores": 1, "memory_mb": 1, "board": None},
            "before": STATE,
            "after": STATE,
            "others": 0.0,
            "throttled_meanwhile": None,
            "power": None,
            "software": SOFTWARE | software,
        },
    }


BEFORE = report([1.0, 1.01, 0.99, 1.0, 1.02], [30.0, 30.1, 29.9, 30.0, 30.0])


def verdicts(after: dict[str, Any]) -> dict[str, str]:
    return {row["figure"]: row["verdict"] for row in compare(BEFORE, after)}


def test_a_report_is_the_same_as_itself() -> None:
    assert verdicts(BEFORE) == {"cpu_s": "the same", "fps": "the same"}
    assert differences(BEFORE, BEFORE) == []


def test_a_tenth_more_cpu_is_worse_and_a_tenth_more_frames_are_better() -> None:
    after = report([1.1, 1.12, 1.09, 1.1, 1.11], [33.0, 33.1, 32.9, 33.0, 33.0])
    assert verdicts(after) == {"cpu_s": "worse", "fps": "better"}


def test_fewer_frames_are_worse() -> None:
    assert verdicts(report([1.0] * 5, [27.0] * 5))["fps"] == "worse"


def test_what_scatters_more_than_it_differs_is_the_same() -> None:
    assert verdicts(report([0.7, 1.1, 1.5, 0.8, 1.2], [30.0] * 5))["cpu_s"] == "the same"


def test_an_interval_holds_the_ratio_and_is_alike_each_time() -> None:
    ratio, low, high = interval([1.0, 1.2, 1.1], [2.0, 2.2, 2.1])
    assert low < ratio < high
    assert (ratio, low, high) == interval([1.0, 1.2, 1.1], [2.0, 2.2, 2.1])
    assert interval([2.0], [3.0]) == (1.5, 1.5, 1.5), "of single counts there is nothing between"


def run(tmp_path: Path, before: dict[str, Any], after: dict[str, Any], *words: str) -> int:
    paths = []
    for name, content in {"before": before, "after": after}.items():
        path = tmp_path / f"{name}.json"
        path.write_text(json.dumps(content))
        paths.append(str(path))
    with pytest.raises(SystemExit) as ended:
        bench.main(["compare", *paths, *words])
    assert isinstance(ended.value.code, int)
    return ended.value.code


def test_worse_has_its_code_and_names_figure_and_interval(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = run(tmp_path, BEFORE, report([1.3] * 5, [30.0] * 5))
    output = capsys.readouterr()
    assert "cpu_s is 1.3 times 1.0 (" in ended_by(CostGrown, code, output.err)
    assert "worse" in output.out


def test_another_numpy_is_reported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(tmp_path, BEFORE, report([1.0] * 5, [30.0] * 5, numpy="2")) == 0
    assert "not the same  numpy: 1 and 2" in capsys.readouterr().out


def test_a_void_report_is_refused_unless_wanted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    void = BEFORE | {"void": ["throttled"]}
    assert "is void: throttled" in ended_by(SettingsInvalid, run(tmp_path, BEFORE, void), capsys.readouterr().err)
    assert run(tmp_path, BEFORE, void, "--void") == 0


def test_unlike_reports_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = BEFORE | {"figures": {"other": BEFORE["figures"]["fps"]}}
    assert "no figure in common" in ended_by(SettingsInvalid, run(tmp_path, BEFORE, other), capsys.readouterr().err)
    with pytest.raises(SettingsInvalid, match="like with like"):
        compare(BEFORE, BEFORE | {"task": "e2e"})
    clips = BEFORE | {"result": {"clips": [{"clip": "a.mp4"}]}}
    with pytest.raises(SettingsInvalid, match=r"only one of the reports is of b\.mp4"):
        compare(clips, clips | {"result": {"clips": [{"clip": "a.mp4"}, {"clip": "b.mp4"}]}})


def test_a_report_without_figures_is_refused_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = run(tmp_path, BEFORE, BEFORE | {"figures": {}})
    said = ended_by(SettingsInvalid, code, capsys.readouterr().err)
    assert "after.json has no figures" in said
    assert said.count("\n") == 1


def test_a_figure_beside_nothing_is_shown_without_a_ratio() -> None:
    row = compare(BEFORE, report([1.0] * 5, [0.0] * 5))[1]
    assert (row["before"], row["after"], row["ratio"], row["verdict"]) == (30.0, 0.0, "-", "worse")


def test_what_became_worse_from_nothing_is_named_by_its_two_figures(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = run(tmp_path, report([0.0] * 5, [30.0] * 5), report([3.0] * 5, [30.0] * 5))
    said = ended_by(CostGrown, code, capsys.readouterr().err)
    assert "cpu_s is 3.0, was 0.0; of " in said
    assert "times" not in said


@pytest.mark.parametrize("path", sorted(REFERENCE.glob("*/*.json")), ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_every_report_of_the_repository_is_compared(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        bench.main(["compare", str(path), str(path), "--void"])
    output = capsys.readouterr()
    assert ended.value.code == 0, output.err
    assert "the same" in output.out


def test_settings_that_differ_are_reported() -> None:
    assert differences(BEFORE, BEFORE | {"settings": {"margin": 0.5}}) == ["margin: None and 0.5"]
