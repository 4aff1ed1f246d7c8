"""The results page: docs/benchmarks.md, plots and page are what reports say, void and missing ones too; and `all`."""

from __future__ import annotations

import copy
import json
import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from benchmarks import bench, everything, page
from benchmarks.machine import Surroundings
from benchmarks.schema import RESULTS, VERSION, complaints
from benchmarks.sections.section import NONE, STAGES
from benchmarks.sections.tasks import SECTIONS
from edge.errors import BenchFailed, ResultsStale, RuntimeMissing, SettingsInvalid
from tests.support.failures import ended_by

PERCENTS = {"p50": 1.5, "p90": 2.0, "p95": 2.5, "p99": 3.0}
P3 = {key: PERCENTS[key] for key in ("p50", "p90", "p99")}
P4 = {key: PERCENTS[key] for key in ("p50", "p95", "p99")}
POINT = {
    "warmup_frames": 60,
    "frames": 60,
    "found": 1.0,
    "find": {"wall_ms": P3, "cpu_ms": P3},
    "read": None,
    "whole": {"wall_ms": P3, "cpu_ms": P3},
}
ENDURED = {
    "source": "demo",
    "seconds": 1800.0,
    "dropped": 0,
    "slope_mb_per_hour": -0.25,
    "slope_error": 0.04,
    "rss_mb": 79.7,
    "peak_rss_mb": 80.4,
    "fps_median": 30.0,
    "fps_least": 29.9,
    "rates": [30.0, 29.9],
    "threads_more": 0,
    "descriptors_more": 0,
    "minutes": [
        {"t": 60.0 * minute, "rss_mb": 79.5 + minute / 100, "threads": 4, "descriptors": 6, "frames": 1800 * minute}
        for minute in (6, 7, 8)
    ],
}
COSTS = {
    "cpu_ms_per_frame": 3.2,
    "wall_ms_per_frame": 4.0,
    "decoding_cpu_ms_per_frame": 1.0,
    "detection_cpu_ms_per_frame": 1.1,
    "share_with_face": 0.995,
    "faces": 60.0,
    "label_changes_per_minute": 60.0,
    "display_changes_per_minute": 30.0,
}
ONCE = {"start_cpu_s": 0.15, "first_result_cpu_s": 0.19, "peak_rss_mb": 88.0}
SYSTEM = {
    "what": "decode, find, read",
    "software": {"runtime": "none 1", "python": "3.11.7", "opencv": "4.11.0", "numpy": "1.26.4"},
    **COSTS,
    **ONCE,
    "clips": {"one.mp4": COSTS},
    "rounds": [COSTS | ONCE] * 2,
    "accuracy": {"share": 0.70103, "interval": [0.68584, 0.71579], "rows": 3589},
}
AGAINST = {"median": 0.08, "least": 0.075, "most": 0.0851}
COUNT = {"first": 75.0, "mean": 3.125, "p95": 5.0}
RESULT: Mapping[str, Mapping[str, Any]] = {
    "stages": {
        "source": "demo",
        "repeat": 1,
        "frames": 600,
        "frames_with_face": 500,
        "width": 640,
        "height": 480,
        "warmup_frames": 60,
        "pace": "fast",
        "dropped": 0,
        "peak_rss_mb": 90.0,
        "stages": {name: {"wall_ms": PERCENTS, "cpu_ms": PERCENTS} for name in (*STAGES, "whole")},
    },
    "scale": {
        "source": "demo",
        "rounds": 3,
        "sizes": [{"width": width, "height": 240, **POINT} for width in (320, 640)],
        "faces": [{"faces": faces, **POINT} for faces in range(3)],
        "threads": [{"threads": threads, **POINT} for threads in (1, 2)],
        "networks": [
            {
                "model": "emotion",
                "runtime": "tflite-runtime 2.14.0",
                "delegate": delegate,
                "threads": threads,
                "setting": True,
                "reads": 9,
                "wall_ms": P3,
                "cpu_ms": P3,
                "wall_p90_rounds": [2.0, 2.0],
                "cpu_mean_rounds": [1.5, 1.5],
            }
            for delegate in ("XNNPACK", "built-in kernels")
            for threads in (1, 2)
        ],
        "left_out": [],
        "recommendations": [
            {
                "model": "emotion",
                "verdict": "keep",
                "setting": "threads = 1",
                "margin": {"ratio": 1.2, "low": 1.1, "high": 1.3},
                "text": "threads = 1 is best",
            }
        ],
    },
    "e2e": {
        "source": "demo",
        "dropped": 1,
        "frames": 800,
        "fps": 29.97,
        "missed": 1,
        "latency_ms": P4,
        "jitter_ms": P4,
        "jitter_histogram": {"1": 700, "2": 90, "5": 10, "inf": 0},
    },
    "start": {
        "elapsed_s": 0.3,
        "cpu_s": 0.2,
        "instructions_m": {"interpreter": 40.0, "first cue": 1264.3, "status": 2.0},
    },
    "memory": ENDURED,
    "idle": {
        "busy_share": 0.048,
        "idle_share": 0.022,
        "ratio": 0.458,
        "runs": {name: {"cpu_share": 0.1, "drawing_share": 0.05, "frames_with_face": 9} for name in ("busy", "idle")},
    },
    "soak": ENDURED,
    "peers": {
        "rounds": 2,
        "frames": 60,
        "warmup": 60,
        "clips": [{"clip": "one.mp4", "width": 640, "height": 480, "frames": 60, "video_s": 2.0}],
        "systems": {
            "cuelens": SYSTEM,
            "fer": {
                **SYSTEM,
                "cpu_ms_per_frame": 40.0,
                "against": dict.fromkeys(("cpu_ms_per_frame", "wall_ms_per_frame", *ONCE), AGAINST),
            },
            "mediapipe": {"missing": "cannot be installed: no wheel"},
        },
    },
    "arm": {
        "frames": 60,
        "runs": [
            {
                "runtime": "tflite-runtime",
                "version": "2.14.0",
                "opencv": "4.11.0",
                "core": "cortex-a72",
                "start": 700.0,
                "stages": dict.fromkeys(("find", "read", "cue", "sink"), COUNT) | {"whole": COUNT | {"mean": 12.5}},
            }
        ],
        "boards": [
            {
                "board": "4",
                "core": "cortex-a72",
                "runtime": "tflite-runtime",
                "clock_ghz": 1.5,
                "ipc": "0.7-1.7",
                "expected_fps": "84-204",
            }
        ],
    },
}
FIGURES = {
    "stages": {"cpu_ms_per_frame": [4.6, 4.5, 4.75], "fps": [200.0, 210.0, 190.0]}
    | {f"{name}_cpu_ms": [0.5, 0.6, 0.7] for name in STAGES},
    "scale": {"whole_1920x1080_cpu_ms": [7.0, 7.0], "whole_8_faces_cpu_ms": [9.0, 9.5]},
    "start": {"elapsed_s": [0.31, 0.3, 0.32], "cpu_s": [0.2]},
}
with Surroundings() as SURROUNDINGS:
    pass


def make(task: str, *, void: tuple[str, ...] = (), board: str | None = None) -> dict[str, Any]:
    """A report of a task."""
    return {
        "version": VERSION,
        "task": task,
        "date": "2026-11-26T12:00:00+00:00",
        "void": list(void),
        "settings": None,
        "result": copy.deepcopy(dict(RESULT[task])),
        "figures": {
            name: {"better": "lower", "median": sorted(rounds)[len(rounds) // 2], "rounds": rounds}
            for name, rounds in FIGURES.get(task, {}).items()
        },
        "definitions": {"warmup": f"what {task} leaves out, with <brackets>"},
        "model": {"sha256": "ab" * 32, "runtime": "tflite-runtime 2.14.0", "delegate": "none", "threads": 1},
        "provenance": {
            **SURROUNDINGS.provenance(),
            "machine": {"cpu": "Made Up 9000", "architecture": "x86_64", "cores": 2, "memory_mb": 4000, "board": board},
            "software": dict.fromkeys(("os", "kernel", "python", "opencv", "numpy"), "1.2.3") | {"commit": "c0ffee"},
        },
    }


def boards(*without: str, **more: dict[str, Any]) -> dict[str, dict[str, dict[str, Any]]]:
    """A board with a report of every task, and the emulated Arm; `more` replace or add reports of the board."""
    kinds = [task for task in SECTIONS if task not in without and task != "arm"]
    return {"pi-x": {task: make(task) for task in kinds} | more, page.EMULATED: {"arm": make("arm")}}


@pytest.fixture
def reference(tmp_path: Path) -> Path:
    """A folder of reports on the disk, of the kinds that this checkout's schema has."""
    folder = tmp_path / "reference"
    (folder / "runs").mkdir(parents=True)
    (folder / "runs" / "other.json").write_text("{}")
    for name, reports in boards().items():
        (folder / name).mkdir()
        for task, report in reports.items():
            if task in RESULTS:
                (folder / name / f"{task}.json").write_text(json.dumps(report))
    return folder


@pytest.fixture
def readme(tmp_path: Path) -> Path:
    path = tmp_path / "README.md"
    path.write_text(f"before\n{page.BEGIN}\nold\n{page.END}\nafter\n")
    return path


def test_every_task_that_measures_a_board_has_its_section() -> None:
    assert {task for task in RESULTS if " " not in task} == SECTIONS.keys()


@pytest.mark.parametrize("task", RESULT)
def test_a_made_up_report_is_one(task: str) -> None:
    report = make(task)
    assert complaints(report) == []


def cells(block: str, what: str) -> list[str]:
    """The cells of the one line of a table that begins with `what`."""
    (line,) = [line for line in block.splitlines() if line.startswith(f"| {what} |")]
    return [cell.strip() for cell in line.strip("|").split("|")][1:]


def test_a_boards_figures_stand_in_its_column_and_lead_to_their_reports() -> None:
    block = page.make_block({**boards(), "pi-y": {"stages": make("stages")}}, "ref")
    assert cells(block, "CPU of a frame, ms") == [
        "[4.60 (4.50 to 4.75)](ref/pi-x/stages.json)",
        "[4.60 (4.50 to 4.75)](ref/pi-y/stages.json)",
    ]
    assert cells(block, "frames of")[0] == "[demo, 640x480](ref/pi-x/stages.json)"
    assert cells(block, "capture to shown, p50 / p95, ms") == ["[1.5 / 2.5](ref/pi-x/e2e.json)", NONE]
    assert cells(block, "memory's growth, MB an hour") == ["[-0.25 ± 0.04](ref/pi-x/memory.json)", NONE]
    assert cells(block, "of a core, with somebody / nobody there")[0].startswith("[4.8 % / 2.2 %]")
    assert "| pi-x: Made Up 9000, 2 cores; 2026-11-26 | pi-y: " in block


def test_what_is_void_is_reported_and_its_figures_are_not() -> None:
    void = {task: make(task, void=("other programs took 1.70 of a core",)) for task in ("stages", "peers")}
    block = page.make_block(boards(**void), "ref")
    assert cells(block, "CPU of a frame, ms") == ["[void](ref/pi-x/stages.json)"]
    assert "4.60" not in block
    assert "([pi-x](ref/pi-x/peers.json), 2026-11-26): void." in block
    assert "plots/pi-x-stages.svg" not in block
    assert "0.080" not in block


def test_a_row_that_no_board_has_is_left_out() -> None:
    assert "half an hour" in page.make_block(boards(), "ref")
    assert "half an hour" not in page.make_block(boards("soak"), "ref")


def test_peers_stand_side_by_side_with_the_ratio_and_why_one_is_missing() -> None:
    block = page.make_block(boards(), "ref")
    assert cells(block, "fer")[:2] == ["40.0", "0.080 (0.075 to 0.085)"]
    assert cells(block, "cuelens")[-1] == "70.1 %"
    assert set(cells(block, "mediapipe: cannot be installed: no wheel")) == {NONE}


def test_the_arms_frame_rates_are_called_a_forecast() -> None:
    block = page.make_block({page.EMULATED: {"arm": make("arm")}}, "ref")
    assert cells(block, "4 (cortex-a72, 1.5 GHz)") == ["12.5", "84 to 204"]
    head = next(line for line in block.splitlines() if line.startswith("| board"))
    assert [word for word in head.split("|") if "fps" in word] == [" tflite-runtime: forecast, fps "]
    assert "Forecast by board, not measured" in block


def test_a_raspberry_pi_among_the_boards_is_known_by_its_name() -> None:
    sentence = "No figure was taken on a Raspberry Pi yet."
    assert sentence in page.make_block(boards(), "ref")
    stages = make("stages", board="Raspberry Pi 4 Model B Rev 1.5")
    block = page.make_block(boards(stages=stages), "ref")
    assert sentence not in block
    assert "Raspberry Pi 4 Model B Rev 1.5, 2 cores" in block


def test_the_networks_accuracy_is_that_recorded_with_the_runtime() -> None:
    record = {
        "model": "emotion.tflite",
        "runtime": "tflite-runtime 2.14.0",
        "split": "PrivateTest",
        "labels": "majority",
    }
    others = [{"runtime": "another"}, {"model": "fer2013.tflite"}, {"split": "PublicTest"}]
    records = [*({**record, **other, "accuracy": 0.1} for other in others), {**record, "accuracy": 0.70103}]
    assert page.accuracy(make("stages"), records) == "70.1 %"
    assert page.accuracy(make("stages"), records[:3]) is None


def test_without_a_report_the_block_says_so() -> None:
    assert page.make_block({}, "ref").strip() == "No board was measured yet."


def test_a_readme_keeps_all_but_its_block(readme: Path) -> None:
    once = page.put_block(readme, "new")
    assert once == f"before\n{page.BEGIN}\nnew\n{page.END}\nafter\n"
    readme.write_text(once)
    assert page.put_block(readme, "new") == once
    readme.write_text(f"{page.END}\n{page.BEGIN}\n")
    with pytest.raises(SettingsInvalid, match="put them where the results are to stand"):
        page.put_block(readme, "new")


def test_a_changed_report_changes_readme_and_page(reference: Path, readme: Path) -> None:
    pytest.importorskip("jinja2", reason="jinja2 is the host's")

    def changed() -> dict[Path, bytes | None]:
        return page.changes(page.wanted(reference, readme, page.read_boards(reference), {}), reference)

    page.write(changed())
    assert changed() == {}
    path = reference / "pi-x" / "stages.json"
    report = json.loads(path.read_text())
    report["figures"]["cpu_ms_per_frame"]["median"] = 4.7
    path.write_text(json.dumps(report))
    assert set(changed()) == {readme, reference / "index.html"}
    assert "index.html" in str(page.stale(changed()))
    page.write(changed())
    (reference / "plots").mkdir()
    (reference / "plots" / "pi-0-stages.svg").write_text("of a board that is gone")
    assert changed() == {reference / "plots" / "pi-0-stages.svg": None}
    page.write(changed())
    assert not list((reference / "plots").iterdir())


def rename(folder: Path) -> None:
    (folder / "idle.json").rename(folder / "e2e.json")


def age(folder: Path) -> None:
    report = make("idle") | {"version": VERSION - 1}
    (folder / "idle.json").write_text(json.dumps(report))


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (rename, "e2e.json is of idle; name it idle.json"),
        (age, "make it again"),
        (lambda folder: (folder / "idle.json").write_text("{"), "give a report of cuelens-bench"),
    ],
)
def test_a_report_that_is_none_is_refused(reference: Path, spoil: Callable[[Path], object], words: str) -> None:
    spoil(reference / "pi-x")
    with pytest.raises(SettingsInvalid, match=words):
        page.read_boards(reference)


def test_the_page_loads_nothing_and_runs_nothing() -> None:
    pytest.importorskip("jinja2", reason="jinja2 is the host's")
    text = page.make_page(boards(), {"pi-x-stages": '<?xml version="1.0"?>\n<svg width="9"></svg>\n'})
    assert not re.search(r"<script|<link|<iframe|\son\w+=|@import|url\(", text)
    assert re.findall(r'\b(?:src|href)="([^"]*)"', text) == [
        f"{name}/{task}.json" for name, reports in boards().items() for task in reports
    ]
    assert '<svg role="img" aria-label="Mean CPU ms: capture 0.60' in text
    assert "<?xml" not in text


def test_the_page_names_where_each_number_comes_from_and_what_is_void() -> None:
    pytest.importorskip("jinja2", reason="jinja2 is the host's")
    text = page.make_page(boards(e2e=make("e2e", void=("other programs took 1.70 of a core",))), {})
    parts = {heading: part for part in text.split("<section>") for heading in re.findall(r"<h2>(.*?)</h2>", part)}
    assert len(parts) == len(SECTIONS)
    for part in parts.values():
        assert "commit c0ffee" in part
        assert "Made Up 9000, 2 cores" in part
        assert "abababababab, tflite-runtime 2.14.0" in part
        assert "with &lt;brackets&gt;" in part
    void = [heading for heading, part in parts.items() if "<strong>Void</strong>: other programs took 1.70" in part]
    assert void == ["pi-x: From capture to shown"]


@pytest.mark.host
def test_plots_are_the_same_each_time_and_say_what_is_void() -> None:
    measured = boards(e2e=make("e2e", void=("it was throttled",)))
    measured["pi-x"]["start"]["result"]["instructions_m"] = None
    plots = page.draw_plots(measured)
    assert plots == page.draw_plots(measured)
    assert "pi-x-start" not in plots  # nothing was counted
    assert len(plots) == sum(len(section.plots) for section in SECTIONS.values()) - 1
    for name, svg in plots.items():
        words = "".join(ElementTree.fromstring(svg).itertext())
        assert len(words.split()) > 10, name
        assert "<dc:date>" not in svg
        assert ("VOID: it was throttled" in words) == (name == "pi-x-jitter"), name


@pytest.mark.host
def test_the_command_writes_checks_and_leaves_the_docs_alone(
    reference: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for path in reference.glob("*/*.json"):
        if path.stem != "memory":  # one plot is enough
            path.unlink()
    before = page.RESULTS_PAGE.read_bytes()

    def run(*words: str) -> int | str | None:
        with pytest.raises(SystemExit) as ended:
            bench.main(["page", "--reference", str(reference), *words])
        return ended.value.code

    ended_by(ResultsStale, run("--check"), capsys.readouterr().err)
    assert not (reference / "plots").exists()
    assert run() == 0
    assert "pi-x-memory.svg" in capsys.readouterr().out
    assert run("--check") == 0
    drawn = reference / "plots" / "pi-x-memory.svg"
    drawn.write_text(drawn.read_text().replace("minutes", "hours"))
    assert "pi-x-memory.svg" in ended_by(ResultsStale, run("--check"), capsys.readouterr().err)
    assert page.RESULTS_PAGE.read_bytes() == before


def test_without_matplotlib_it_says_where_it_is(
    reference: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(SystemExit) as ended:
        bench.main(["page", "--reference", str(reference)])
    assert ".venv-host" in ended_by(RuntimeMissing, ended.value.code, capsys.readouterr().err)
    assert not (reference / "index.html").exists()


def test_the_page_of_all_is_made_where_matplotlib_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    host = tmp_path / "python"
    monkeypatch.setattr(everything, "HOST", host)
    for code, said in ((60, "left out: -m benchmarks.bench page --reference /ref"), (0, "in /ref")):
        host.write_text(f'#!/bin/sh\necho "bench.py: $*" >&2\nexit {code}\n')
        host.chmod(0o755)
        assert everything.make_page(Path("/ref")) == said


def test_all_is_measured_but_soak_within_half_an_hour() -> None:
    assert {task for task in bench.TASKS if " " not in task} - {"soak"} <= set(everything.PLAN)
    assert sum(everything.PLAN.values()) <= 1800


def test_a_task_that_fails_or_cannot_be_here_is_reported_and_the_others_continue(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))  # no emulator there
    more = {"stages": ["--frames", "4", "--warmup", "1", "--rounds", "1"], "e2e": ["--seconds", "1"]}
    plan = dict.fromkeys(("e2e", "arm", "stages"), 1)
    outcomes = everything.measure_all(plan, tmp_path / "board", more)
    assert outcomes["e2e"] == "failed: --seconds is 1; it must be more than 6 [settings-invalid]"
    assert outcomes["arm"].startswith("left out: ")
    assert "qemu-aarch64" in outcomes["arm"]
    assert outcomes["stages"].startswith("done in ")
    assert sorted(path.name for path in (tmp_path / "board").iterdir()) == ["stages.json"]
    report = json.loads((tmp_path / "board" / "stages.json").read_text())
    assert ("VOID" in outcomes["stages"]) == bool(report["void"])


def test_all_ends_with_what_failed_and_what_was_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(everything, "PLAN", {"odd": 1, "peers": 1})
    with pytest.raises(SystemExit) as ended:
        bench.main(["all", "--out", str(tmp_path / "board")])
    said = capsys.readouterr()
    assert "odd: failed: " in ended_by(BenchFailed, ended.value.code, said.err)
    assert "peers   left out: no clips" in said.out
