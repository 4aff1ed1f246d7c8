"""cuelens-bench scale: its turns, percentiles and recommendation on numbers made by hand, and one short run."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import bench, scale, scale_networks
from benchmarks.films import Film
from benchmarks.scale import LoopPoint, take_turns
from benchmarks.scale_networks import build_networks, describe_costs
from benchmarks.scale_recommend import recommend
from benchmarks.schema import complaints
from edge.errors import CuelensError, ModelMissing, ModelUnreadable, SettingsInvalid, SourceMissing
from edge.sources.demo import DemoSource
from edge.types import Capabilities, Gray, Update
from edge.vision.model import ExpressionModel, shipped_model
from edge.vision.tflite import models_folder
from tests.support.failures import ended_by


class Counted:
    """A point that notes its turns."""

    def __init__(self, name: str, calls: list[str]) -> None:
        self.about: dict[str, Any] = {}
        self._name, self._calls = name, calls

    def warm_up(self) -> None:
        self._calls.append(f"warm {self._name}")

    def take_turn(self) -> scale_networks.Turn:
        self._calls.append(self._name)
        return {"read": [(float(len(self._calls)), 0.0)]}


def test_every_point_is_warmed_up_and_then_has_its_turn_in_every_round(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scale, "REST", 0.0)
    calls: list[str] = []
    turns = take_turns([Counted(name, calls) for name in "abc"], 3)
    assert calls == ["warm c", "warm b", "warm a", *"abc", *"cba", *"abc"]
    assert [[turn["read"][0][0] for turn in own] for own in turns] == [[4, 9, 10], [5, 8, 11], [6, 7, 12]]


def test_percentiles_are_the_median_over_the_rounds() -> None:
    slow = [(100.0, 1.0)] * 10
    steady = [(float(ms), ms / 10) for ms in range(1, 11)]
    answer = describe_costs([steady, slow, steady])
    assert answer["wall_ms"] == {"p50": 5.0, "p90": 9.0, "p99": 10.0}
    assert answer["cpu_ms"] == {"p50": 0.5, "p90": 0.9, "p99": 1.0}


def network(threads: int, wall: float, cpu: float, scatter: float = 0.01, **other: Any) -> dict[str, Any]:
    """A point of the sweep whose rounds scatter by a share."""
    factors = (1.0, 1 + scatter, 1 - scatter, 1 + scatter / 2, 1 - scatter / 2)
    return {
        "model": "emotion",
        "runtime": "runtime 1",
        "delegate": "built-in kernels",
        "threads": threads,
        "setting": True,
        "wall_ms": {"p90": wall},
        "wall_p90_rounds": [wall * factor for factor in factors],
        "cpu_mean_rounds": [cpu * factor for factor in factors],
    } | other


BUSY = [network(3, 9.0, 9.0), network(4, 9.0, 9.0)]


def test_the_present_threads_are_kept_where_they_are_the_best() -> None:
    answer = recommend([network(1, 1.0, 1.0), network(2, 2.0, 1.1), *BUSY], "emotion", 1)
    assert (answer["verdict"], answer["setting"]) == ("keep", "threads = 1")
    assert answer["margin"]["low"] > 1.9
    assert answer["text"].startswith("threads = 1 is best: threads = 2 takes 2.00 times (")


def test_faster_threads_are_recommended_with_their_margin() -> None:
    answer = recommend([network(1, 1.0, 1.0), network(2, 0.6, 1.15), *BUSY], "emotion", 1)
    assert (answer["verdict"], answer["setting"]) == ("change", "threads = 2")
    assert answer["margin"] == {"ratio": 0.6, "low": pytest.approx(0.6, abs=0.02), "high": pytest.approx(0.6, abs=0.02)}
    assert answer["text"].startswith("write threads = 2: threads = 2 takes 0.60 times (")


def test_what_cannot_be_distinguished_is_not_recommended() -> None:
    faster = recommend([network(1, 1.0, 1.0, 0.3), network(2, 0.9, 1.1, 0.3), *BUSY], "emotion", 1)
    assert (faster["verdict"], faster["setting"]) == ("undecided", "threads = 1")
    assert faster["margin"]["low"] < 1 < faster["margin"]["high"]
    slower = recommend([network(1, 0.9, 1.0, 0.3), network(2, 1.0, 1.1, 0.3), *BUSY], "emotion", 1)
    assert (slower["verdict"], slower["setting"]) == ("undecided", "threads = 1")
    assert "keep threads = 1" in slower["text"]


def test_threads_that_cost_too_much_cpu_are_not_recommended() -> None:
    answer = recommend([network(1, 1.0, 1.0), network(2, 0.6, 1.3), *BUSY], "emotion", 1)
    assert answer["verdict"] == "keep"
    assert "threads = 2 takes 1.30 times" in answer["text"]
    assert "the CPU" in answer["text"]


def test_present_threads_that_cost_too_much_cpu_are_to_be_changed() -> None:
    answer = recommend([network(1, 1.0, 1.0), network(2, 0.6, 1.3), *BUSY], "emotion", 2)
    assert (answer["verdict"], answer["setting"]) == ("change", "threads = 1")
    assert answer["margin"]["ratio"] == pytest.approx(1 / 1.3, abs=0.01)


def test_kernels_that_no_setting_chooses_are_reported_but_not_recommended() -> None:
    other = network(1, 0.2, 0.2, setting=False, delegate="XNNPACK")
    answer = recommend([network(1, 1.0, 1.0), network(2, 2.0, 1.1), *BUSY, other], "emotion", 1)
    assert (answer["verdict"], answer["setting"]) == ("keep", "threads = 1")
    assert "runtime 1 with XNNPACK, threads 1, would take 0.20 times" in answer["text"]


def test_another_models_points_do_not_count() -> None:
    other = network(2, 0.1, 0.1, model="face")
    assert recommend([network(1, 1.0, 1.0), network(2, 2.0, 2.0), other], "emotion", 1)["verdict"] == "keep"


def test_a_network_is_built_by_all_who_may_run_it() -> None:
    points, left_out = build_networks(shipped_model(), (1, 2))
    assert left_out == []
    about = [point.about for point in points]
    assert {point["model"] for point in about} == {"emotion"}
    assert [point["threads"] for point in about] == [1, 2] * (len(about) // 2)
    assert [point["setting"] for point in about] == [True, True] + [False] * (len(about) - 2)
    names = [(point["runtime"], point["delegate"]) for point in about[::2]]
    assert len(set(names)) == len(names)
    assert names[0] == (ExpressionModel().runtime, ExpressionModel().delegate)
    assert names[-1][1] == "reference kernels"
    assert len(points[0].take_turn()["read"]) > 0


def test_a_damaged_model_is_refused_before_a_runtime_has_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    broken = tmp_path / "broken.tflite"
    broken.write_bytes(shipped_model().read_bytes()[:2000])
    broken.with_suffix(".json").write_bytes(shipped_model().with_suffix(".json").read_bytes())
    assert "broken.tflite: ends after 2000 of" in ended_by(
        ModelUnreadable, run("--model", str(broken)), capsys.readouterr().err
    )


def test_a_slow_network_ends_its_turn_by_time() -> None:
    (point, *_), _ = build_networks(models_folder() / "face.tflite", (1,))
    clock = itertools.count(0.0, 0.4 * scale_networks.READS_SECONDS)
    assert len(point.take_turn(lambda: next(clock))["read"]) == 3
    assert len(point.take_turn(lambda: next(clock))["read"]) == 3


class Nowhere:
    """A sink that shows nothing."""

    capabilities = Capabilities()

    def show(self, update: Update) -> None: ...

    def close(self) -> None: ...


@pytest.fixture(scope="module")
def model() -> ExpressionModel:
    return ExpressionModel()


def demo() -> Iterator[Gray]:
    return (frame.gray for frame in DemoSource("1", live=False).frames())


def test_a_reading_is_timed_only_where_somebody_was_read(
    monkeypatch: pytest.MonkeyPatch, model: ExpressionModel
) -> None:
    monkeypatch.setattr(scale, "FRAMES_SECONDS", 60.0)
    monkeypatch.setattr(scale, "WARMUP_SECONDS", 60.0)
    monkeypatch.setattr(scale, "WARMUP_FRAMES", 20)
    point = LoopPoint({"faces": 1}, demo(), model, Nowhere())
    point.warm_up()
    answer = point.describe([point.take_turn(), point.take_turn()])
    turn = point.take_turn()
    assert (answer["faces"], answer["warmup_frames"], answer["frames"], answer["found"]) == (1, 20, 60, 1.0)
    assert len(turn["find"]) == len(turn["whole"]) == 30
    assert 10 <= len(turn["read"]) <= 20, "each face is read every 0.05 s, of 30 frames a second"
    assert all(sum(find) < sum(whole) for find, whole in zip(turn["find"], turn["whole"], strict=True))


def test_where_nobody_is_nobody_is_read(monkeypatch: pytest.MonkeyPatch, model: ExpressionModel) -> None:
    monkeypatch.setattr(scale, "WARMUP_FRAMES", 2)
    point = LoopPoint({"faces": 0}, itertools.repeat(np.full((240, 320), 90, np.uint8)), model, Nowhere())
    point.warm_up()
    answer = point.describe([point.take_turn()])
    assert (answer["read"], answer["found"]) == (None, 0.0)


def test_a_film_has_a_clock_of_its_own() -> None:
    frames = list(Film([np.zeros((2, 3), np.uint8)] * 4).frames())
    assert [frame.seq for frame in frames] == [0, 1, 2, 3]
    assert [frame.t for frame in frames] == pytest.approx([0.0, 1 / 30, 2 / 30, 3 / 30])


def run(*words: str) -> int:
    with pytest.raises(SystemExit) as ended:
        bench.main(["scale", *words])
    assert isinstance(ended.value.code, int)
    return ended.value.code


@pytest.mark.parametrize(
    ("words", "cause"),
    [
        (["--rounds", "2"], SettingsInvalid),
        (["--threads", "99"], SettingsInvalid),
        (["--model", "/not/there.tflite"], ModelMissing),
        (["--source", "file:/not/there.mp4"], SourceMissing),
    ],
)
def test_bad_input_has_its_code(
    words: list[str], cause: type[CuelensError], capsys: pytest.CaptureFixture[str]
) -> None:
    assert ended_by(cause, run(*words), capsys.readouterr().err).count("\n") == 1


def test_a_run_sweeps_everything_and_recommends(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, few in {"FOUND_FRAMES": 2, "FRAMES": 2, "WARMUP_FRAMES": 2, "READS": 2, "REST": 0.0}.items():
        monkeypatch.setattr(scale_networks if name == "READS" else scale, name, few)
    monkeypatch.setattr(scale_networks, "READS_SECONDS", 0.01)
    monkeypatch.setattr(scale, "THREADS", (1, 2))
    further = tmp_path / "further.tflite"
    for end in (".tflite", ".json"):
        further.with_suffix(end).write_bytes(shipped_model().with_suffix(end).read_bytes())
    assert run("--rounds", "3", "--out", str(tmp_path), "--model", str(further)) == 0
    said = capsys.readouterr().out
    report = json.loads((tmp_path / "scale.json").read_text())
    assert complaints(report) == []
    result = report["result"]
    assert [(point["width"], point["height"]) for point in result["sizes"]] == list(scale.SIZES)
    assert [point["faces"] for point in result["faces"]] == list(range(9))
    assert [point["threads"] for point in result["threads"]] == [1, 2]
    assert list(dict.fromkeys(point["model"] for point in result["networks"])) == ["emotion", "face", str(further)]
    assert [answer["model"] for answer in result["recommendations"]] == ["emotion", str(further)]
    assert {"sizes", "faces", "threads", "networks", "whole", "warmup", "recommendation"} <= report[
        "definitions"
    ].keys()
    assert all(len(figure["rounds"]) == 3 for figure in report["figures"].values())
    assert {"whole_640x480_cpu_ms", "whole_nobody_cpu_ms", "whole_8_faces_cpu_ms", "read_wall_ms"} <= report[
        "figures"
    ].keys()
    for words in ("1920", "reference kernels", result["recommendations"][0]["text"], "recommended is"):
        assert words in said
