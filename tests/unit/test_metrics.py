"""What a run measured: percentiles, and counts."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.runtime import metrics
from edge.runtime.metrics import Metrics, percentile, percentiles
from edge.types import Cue, Face

FACE = Face(1, (0, 0, 80, 80), 0.0)
DARK = Cue("no_face", None, 1.0, 0.0)
SMILE = Cue("expression", "smile", 0.9, 0.0)


@pytest.mark.parametrize(
    ("percent", "expected"),
    [(0, 15.0), (5, 15.0), (30, 20.0), (40, 20.0), (50, 35.0), (95, 50.0), (100, 50.0)],
)
def test_percentile_is_the_nearest_rank(percent: float, expected: float) -> None:
    assert percentile([35.0, 20.0, 15.0, 50.0, 40.0], percent) == expected


def test_percentile_of_a_hundred_is_its_rank() -> None:
    assert percentiles([float(number) for number in range(100, 0, -1)]) == {"p50": 50.0, "p95": 95.0, "p99": 99.0}


def test_percentile_of_nothing_is_zero() -> None:
    assert percentile([], 95) == 0.0


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=300), st.integers(1, 100))
def test_percentile_is_the_least_value_that_so_many_do_not_exceed(values: list[float], percent: int) -> None:
    found = percentile(values, percent)
    assert found in values
    assert 100 * sum(value <= found for value in values) >= percent * len(values)
    assert 100 * sum(value < found for value in values) < percent * len(values)


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=50))
def test_percentiles_rise(values: list[float]) -> None:
    p50, p95, p99 = percentiles(values).values()
    assert p50 <= p95 <= p99


def test_counts_frames_faces_and_how_often_a_cue_came_up() -> None:
    measured = Metrics("none 0")
    for index, (cue, faces) in enumerate([(DARK, []), (SMILE, [FACE]), (SMILE, [FACE]), (DARK, []), (SMILE, [FACE])]):
        measured.count(cue, faces, {"find": float(index)}, 10.0 + index / 4)
    assert (measured.frames, measured.frames_with_face) == (5, 3)
    assert measured.cues == {"no_face": 2, "smile": 2}
    assert measured.fps == pytest.approx(4.0)
    assert measured.measurements() == {"find": [0.0, 1.0, 2.0, 3.0, 4.0]}
    assert measured.percentiles()["find"]["p50"] == 2.0


def test_every_change_of_the_cue_is_kept_with_its_time_and_no_more_than_the_newest() -> None:
    measured = Metrics("none 0")
    new, unsure = Cue("unsure", None, 0.0, 0.0, "new"), Cue("unsure", None, 0.0, 0.0, "faint")
    for t, cue in enumerate([DARK, DARK, new, unsure, SMILE, Cue("paused", None, 0.0, 0.0)]):
        measured.show(cue, float(t))
    assert list(measured.changes) == [(0.0, "no_face"), (2.0, "face"), (3.0, "unsure"), (4.0, "smile"), (5.0, "paused")]
    for t in range(2 * metrics.CHANGES):
        measured.show((DARK, SMILE)[t % 2], float(t))
    assert len(measured.changes) == metrics.CHANGES


@pytest.mark.parametrize("frames", [0, 1])
def test_too_few_frames_have_no_rate(frames: int) -> None:
    measured = Metrics("none 0")
    for _ in range(frames):
        measured.count(DARK, [], {}, 5.0)
    assert measured.fps == 0.0
    assert measured.cpu_ms_per_frame() >= 0.0
    assert f"{frames} frames, 0.0 fps" in measured.summary()


def test_keeps_the_newest_measurements(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics, "KEPT", 3)
    measured = Metrics("none 0")
    for value in range(5):
        measured.record("capture", float(value))
    assert measured.measurements() == {"capture": [2.0, 3.0, 4.0]}


def test_summary_says_when_no_face_was_seen() -> None:
    measured = Metrics("none 0")
    measured.count(DARK, [], {"total": 7.0}, 1.0)
    assert "p95 latency 7.0 ms" in measured.summary()
    assert "no face was seen" in measured.summary()
    measured.count(SMILE, [FACE], {"total": 7.0}, 2.0)
    assert "no face was seen" not in measured.summary()


def test_summary_counts_losses_of_the_camera_by_cause_and_says_how_slow_they_were() -> None:
    measured = Metrics("none 0")
    assert "camera" not in measured.summary()
    for causes in (("silent", "stuck"), ("frozen",), ("silent",)):
        for cause in causes:
            measured.miss_camera(cause)
        measured.notice_camera(1.1)
        measured.find_camera(len(causes) * 3.25)
    for _ in range(2):
        measured.count_fault("network")
    measured.count_stall()
    assert measured.camera_losses == 3
    assert measured.camera_trouble is None
    summary = measured.summary()
    assert (
        "the camera was lost 3 times (silent 2x, stuck 1x, frozen 1x), which was shown after 1.1 s at most and over "
        "after 6.5 s" in summary
    )
    assert "failed: network 2x" in summary
    assert "the loop was blocked 1 times" in summary
