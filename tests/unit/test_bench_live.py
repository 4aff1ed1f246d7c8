"""cuelens-bench e2e, idle, memory, soak: their measures on numbers made by hand, and the number in a frame."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks import bench, live
from benchmarks.live import (
    Shown,
    Still,
    after_warmup,
    endurance,
    growth,
    read_number,
    shares,
    split,
    timing,
    write_number,
)
from benchmarks.report import read_report
from edge.errors import BenchFailed, SettingsInvalid, SourceEmpty
from edge.settings import FaceSettings
from edge.vision.faces import FaceFinder
from tests.support.failures import ended_by


@pytest.mark.parametrize("number", [0, 1, 0b1010, 2**live.BITS - 1])
def test_a_number_comes_back_from_the_pixels(number: int) -> None:
    gray = np.full((240, 320), 90, np.uint8)
    write_number(gray, number)
    assert read_number(gray) == number
    assert (gray[live.CELL :] == 90).all()


def film(frames: int, late: dict[int, float]) -> list[Shown]:
    """Frames of 20 a second, shown 0.01 s after their capture, some later."""
    return [
        Shown(number, number / 20, number / 20 + 0.01 + late.get(number, 0.0), 5.0 + number / 100, number / 200)
        for number in range(frames)
    ]


def test_latency_is_from_capture_to_shown() -> None:
    answer = timing(after_warmup(film(200, {})))
    assert answer["latency_ms"] == {"p50": 10.0, "p95": 10.0, "p99": 10.0}
    assert answer["jitter_ms"]["p99"] == pytest.approx(0.0, abs=1e-6)
    assert (answer["fps"], answer["missed"]) == (20.0, 0)
    assert answer["frames"] == 200 - 20 * live.WARMUP


def test_the_warm_up_is_not_counted() -> None:
    assert timing(after_warmup(film(200, {5: 0.4, 6: 0.4})))["latency_ms"]["p99"] == 10.0


def test_a_late_frame_is_jitter_before_and_after_it() -> None:
    answer = timing(after_warmup(film(200, {150: 0.03})))
    assert answer["jitter_histogram"]["50"] == 2
    assert sum(answer["jitter_histogram"].values()) == answer["frames"] - 1


def test_frames_that_were_never_shown_are_missed() -> None:
    shown = [frame for frame in film(200, {}) if frame.number not in (120, 121, 130)]
    assert timing(after_warmup(shown))["missed"] == 3


def test_too_few_frames_are_refused() -> None:
    with pytest.raises(SourceEmpty, match="measure longer"):
        after_warmup(film(61, {}))


def test_a_share_of_the_core_is_of_the_time_between_frames_without_what_the_start_took() -> None:
    assert shares(after_warmup(film(200, {}))) == {"cpu_share": 0.2, "drawing_share": 0.1}


def samples(slope_mb_per_hour: float = 0.0, fps: float = 30.0, **last: float) -> list[dict[str, float]]:
    """Half an hour by hand, at 5 s a sample; `last` overrules what the last one has."""
    made = [
        {"t": t, "rss_mb": 80 + slope_mb_per_hour * t / 3600, "threads": 5, "descriptors": 20, "frames": round(fps * t)}
        for t in np.arange(5.0, 1800.0, 5.0)
    ]
    made[-1] |= last
    return made


def test_a_steady_run_has_grown_in_nothing() -> None:
    answer = endurance(samples())
    assert growth(answer) == []
    assert (answer["slope_mb_per_hour"], answer["fps_median"], answer["fps_least"]) == (0.0, 30.0, 30.0)


def test_what_settles_in_the_beginning_is_no_leak() -> None:
    made = samples()
    for sample in made:
        sample["rss_mb"] -= max(0.0, live.SETTLED - sample["t"]) / 20
    assert growth(endurance(made)) == []


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (samples(slope_mb_per_hour=1.1), "memory grows by 1.10 MB an hour"),
        (samples(threads=6), "1 more threads"),
        (samples(descriptors=22), "2 more descriptors"),
    ],
)
def test_what_grows_is_reported(made: list[dict[str, float]], said: str) -> None:
    assert any(said in line for line in growth(endurance(made)))


def test_a_minute_that_is_slower_is_reported() -> None:
    made = samples()
    for sample in made:
        sample["frames"] -= 200 * min(1.0, max(0.0, (sample["t"] - 900) / 50))
    assert any("a minute had" in line for line in growth(endurance(made)))


def test_a_run_shorter_than_it_takes_to_settle_is_refused() -> None:
    with pytest.raises(SourceEmpty, match="--seconds"):
        endurance(samples()[:40])


def test_nobody_is_in_the_still_room() -> None:
    source, finder = Still("1"), FaceFinder(FaceSettings())
    assert (source.render(0) == source.render(500)).all()
    assert [finder.find(source.render(seq), seq / 30) for seq in range(10)] == [[]] * 10


def run(*words: str) -> int:
    with pytest.raises(SystemExit) as ended:
        bench.main(list(words))
    assert isinstance(ended.value.code, int)
    return ended.value.code


def test_what_ends_with_the_warm_up_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    ended_by(SettingsInvalid, run("e2e", "--seconds", "5"), capsys.readouterr().err)
    picture = Path(__file__).parents[1] / "golden" / "demo.png"
    code = run("e2e", "--seconds", "10", "--source", f"file:{picture}")
    ended_by(SourceEmpty, code, capsys.readouterr().err)


def test_the_demo_is_shown_at_its_pace_with_every_number_matched(tmp_path: Path) -> None:
    assert run("e2e", "--seconds", "7", "--out", str(tmp_path)) == 0
    report = read_report(tmp_path / "e2e.json")
    answer = report["result"]
    assert answer["frames"] > 10
    assert answer["latency_ms"]["p50"] > 0
    assert sum(answer["jitter_histogram"].values()) == answer["frames"] - 1
    assert {"latency_ms", "jitter_ms", "fps", "dropped"} <= report["definitions"].keys()
    assert len(report["figures"]["fps"]["rounds"]) == live.PARTS


def test_parts_are_of_equal_length_and_none_is_too_short() -> None:
    assert [len(part) for part in split(film(52, {}))] == [10] * 5
    assert [len(part) for part in split(film(7, {}))] == [3, 3]


def test_a_soak_that_grows_fails_and_says_in_what(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    answer = {"source": "demo", "seconds": 1800.0, "dropped": 0, **endurance(samples(descriptors=22))}
    monkeypatch.setattr(live, "_endure", lambda args: (answer, {}, frozenset()))
    assert "2 more descriptors" in ended_by(BenchFailed, run("soak", "--out", str(tmp_path)), capsys.readouterr().err)
    assert (tmp_path / "soak.json").exists(), "what failed is kept"
