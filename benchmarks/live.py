"""`cuelens-bench e2e|idle|memory|soak`: the loop at a camera's pace: how late its cue is, what rest costs, what grows.

A source that writes each frame's number into its pixels -> edge.runtime -> a sink that reads it back when it is shown.
"""

from __future__ import annotations

import argparse
import itertools
import math
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from benchmarks.report import Measured, describe_model
from benchmarks.result import progress_bar, table
from edge.errors import BenchFailed, SettingsInvalid, SourceEmpty
from edge.hardware.board import own_descriptors, own_threads, peak_rss_mb, rss_mb
from edge.runtime.control import Control
from edge.runtime.metrics import Metrics, percentiles
from edge.settings import Settings
from edge.sources import SOURCES, open_source
from edge.sources.demo import SCENE_FRAMES, DemoSource
from edge.system.quiet import tame_opencv
from edge.types import Capabilities, Frame, Gray, Sink, Source, Update
from edge.vision.model import ExpressionModel

BITS = 24  # of a frame's number: six days at 30 a second
CELL = 4  # pixels: side of a bit's square, in the frame's upper left corner
SECONDS = {"e2e": 30.0, "idle": 40.0, "memory": 600.0, "soak": 1800.0}
WARMUP = 3.0  # seconds
PARTS = 5  # of a run, that are compared with each other
BINS_MS = (1, 2, 5, 10, 20, 50, 100)  # of the jitter's histogram
SAMPLE = 5.0  # seconds between two looks at memory, threads and descriptors
SETTLED = 330.0  # seconds after which memory should not grow
MOST_SLOPE = 1.0  # MB an hour that a run may grow by
MOST_UNSTEADY = 0.05  # share by which a minute's frame rate may be below the median's

DEFINITIONS = {
    "latency_ms": "from the frame's capture, by its source's clock, until a sink has it with its cue; matched by the "
    "number in the frame's pixels",
    "jitter_ms": "by how much the time between two shown frames differs from their captures' own; histogram: frames by "
    "upper bound in ms",
    "fps": "shown frames a second",
    "dropped": "frames that a newer one replaced before the loop took them",
    "cpu_share": "of one core: CPU time of the whole process by elapsed time, after the warm-up",
    "drawing_share": "of one core: CPU time of the source's thread, which draws the demo; busy and idle are without it",
    "minutes": "the last sample of each; rates: frames a second in each",
    "rss_mb": "resident memory in MB of 10^6 bytes",
    "slope_mb_per_hour": f"least squares over the samples after the first {SETTLED:g} s, when all that is kept for "
    "the status is full; error: the standard error of that",
    "percentiles": "nearest rank, over frames",
    "warmup": f"the first {WARMUP:g} s are not counted",
}


def write_number(gray: Gray, number: int) -> None:
    """Write a frame's number into its upper left corner, as squares of black and white, the lowest bit first."""
    for bit in range(BITS):
        gray[:CELL, bit * CELL : (bit + 1) * CELL] = 255 if number >> bit & 1 else 0


def read_number(gray: Gray) -> int:
    """Return the number that write_number wrote."""
    return sum(int(gray[CELL // 2, bit * CELL + CELL // 2] > 127) << bit for bit in range(BITS))


class Numbered:
    """A live source whose frames carry their number; `captured` has each one's instant on time.monotonic()."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self.live = source.live
        self.announced = source.announced
        self.captured: dict[int, float] = {}
        self.cpu_s = 0.0  # of its thread

    def frames(self) -> Iterator[Frame]:
        """Yield the source's frames, numbered from 0."""
        for number, frame in enumerate(self._source.frames()):
            gray = frame.gray.copy()
            write_number(gray, number)
            self.captured[number] = frame.t
            self.cpu_s = time.thread_time()
            yield replace(frame, gray=gray)

    def close(self) -> None:
        """Close the source."""
        self._source.close()


class Still(DemoSource):
    """The demo's room without anybody in it, as fast as the demo."""

    def render(self, seq: int) -> Gray:
        """Return a frame of the scene's end, when the person has left."""
        return super().render(SCENE_FRAMES - 20)


@dataclass(frozen=True, slots=True)
class Shown:
    """A frame that reached the sink: its number, and when it was captured and shown, on time.monotonic().

    `cpu_s` is what the process has taken of the processor by then, `drawing_s` the source's thread of that.
    """

    number: int
    captured: float
    at: float
    cpu_s: float
    drawing_s: float


class Watcher:
    """The sink: hands each shown frame to `take`."""

    capabilities = Capabilities(reopens=False)

    def __init__(self, source: Numbered, take: Callable[[Shown], None]) -> None:
        self._source = source
        self._take = take

    def show(self, update: Update) -> None:
        """Read the frame's number back, and hand it on."""
        if update.frame is None:
            return
        number, captured = read_number(update.frame.gray), self._source.captured
        for older in [other for other in list(captured) if other < number]:  # the source's thread adds
            del captured[older]
        self._take(Shown(number, captured.pop(number), time.monotonic(), time.process_time(), self._source.cpu_s))

    def close(self) -> None:
        """Nothing was opened."""


def add_arguments(parser: argparse.ArgumentParser, task: str) -> None:
    """Add how long, and of which source."""
    parser.add_argument("--seconds", type=float, default=SECONDS[task], help="default %(default)s")
    if task != "idle":
        parser.add_argument("--source", default="demo", help=f"one of {', '.join(SOURCES)}; default demo")


def measure(args: argparse.Namespace) -> Measured:
    """Run the loop for --seconds; raises SettingsInvalid where they are too few, and what `play` raises."""
    if not args.seconds > 2 * WARMUP:
        raise SettingsInvalid(f"--seconds is {args.seconds:g}; it must be more than {2 * WARMUP:g}")
    tame_opencv()
    model = describe_model(ExpressionModel())
    tasks = {"e2e": _e2e, "idle": _idle, "memory": _endure, "soak": _endure}
    result, figures, higher = tasks[args.task](args)
    return Measured(result, figures, DEFINITIONS, higher, model=model)


def describe(report: Mapping[str, Any]) -> str:
    """Lay out what was measured, without the lists by minute or by frame."""
    short = ("minutes", "rates", "runs", "jitter_histogram")
    return table([{key: value for key, value in report["result"].items() if key not in short}])


def finish(args: argparse.Namespace, report: Mapping[str, Any]) -> None:
    """Raise BenchFailed for a soak in which something grew, or fell."""
    if args.task == "soak" and (grown := growth(report["result"])):
        raise BenchFailed(f"soak of {args.seconds:g} s: {'; '.join(grown)}")


def play(source: Source, seconds: float, take: Callable[[Shown], None]) -> Metrics:
    """Run the loop on a live source for so long, and hand each frame that is shown to `take`.

    Raises what the loop raises, SourceEmpty where nothing came.
    """
    from edge.runtime.run import run

    numbered, model = Numbered(source), ExpressionModel()
    begun = time.monotonic()
    with progress_bar(round(seconds), "s") as bar:

        def taken(frame: Shown) -> None:
            bar.update(int(frame.at - begun) - bar.n)
            take(frame)

        sinks: list[tuple[str, Sink]] = [("watcher", Watcher(numbered, taken))]
        outcome = run(Control(Settings(sinks=())), numbered, model, sinks, threading.Event(), seconds, lambda _: None)
    if outcome.failures:
        raise outcome.failures[0]
    if not outcome.metrics.frames:
        raise SourceEmpty("no frame came; give a source that has some")
    return outcome.metrics


def after_warmup(shown: Sequence[Shown]) -> list[Shown]:
    """Return the frames that count; raises SourceEmpty for fewer than three."""
    counted = [frame for frame in shown if frame.at - shown[0].at >= WARMUP]
    if len(counted) < 3:
        raise SourceEmpty(f"{len(counted)} frames came after the warm-up of {WARMUP:g} s; measure longer")
    return counted


Answer = tuple[dict[str, Any], dict[str, list[float]], frozenset[str]]


def _e2e(args: argparse.Namespace) -> Answer:
    shown: list[Shown] = []
    metrics = play(open_source(args.source, live=True), args.seconds, shown.append)
    counted = after_warmup(shown)
    parts = [timing(part) for part in split(counted)]
    figures = {
        "latency_p50_ms": [part["latency_ms"]["p50"] for part in parts],
        "latency_p95_ms": [part["latency_ms"]["p95"] for part in parts],
        "fps": [part["fps"] for part in parts],
    }
    return {"source": args.source, "dropped": metrics.dropped, **timing(counted)}, figures, frozenset({"fps"})


def split(counted: Sequence[Shown]) -> list[Sequence[Shown]]:
    """Split frames into PARTS of equal length; one that is too short to be measured is left out."""
    size = max(3, len(counted) // PARTS)
    return [part for start in range(0, len(counted), size) if len(part := counted[start : start + size]) == size]


def timing(counted: Sequence[Shown]) -> dict[str, Any]:
    """Return latency, jitter and rate of shown frames."""
    latency_ms = [1000 * (frame.at - frame.captured) for frame in counted]
    jitter_ms = [
        1000 * abs((after.at - before.at) - (after.captured - before.captured))
        for before, after in itertools.pairwise(counted)
    ]
    bounds = (*BINS_MS, math.inf)
    histogram = {
        f"{upper:g}": sum(lower <= value < upper for value in jitter_ms)
        for lower, upper in zip((0.0, *BINS_MS), bounds, strict=True)
    }
    return {
        "frames": len(counted),
        "fps": round((len(counted) - 1) / (counted[-1].at - counted[0].at), 2),
        "missed": counted[-1].number - counted[0].number + 1 - len(counted),
        "latency_ms": percentiles(latency_ms),
        "jitter_ms": percentiles(jitter_ms),
        "jitter_histogram": histogram,
    }


def _idle(args: argparse.Namespace) -> Answer:
    runs = {}
    figures = {}
    for name, source in (("busy", DemoSource("1", live=True)), ("idle", Still("1", live=True))):
        shown: list[Shown] = []
        metrics = play(source, args.seconds / 2, shown.append)
        counted = after_warmup(shown)
        runs[name] = shares(counted) | {"frames_with_face": metrics.frames_with_face}
        parts = [shares(part) for part in split(counted)]
        figures[f"{name}_share"] = [part["cpu_share"] - part["drawing_share"] for part in parts]
    busy, idle = (run["cpu_share"] - run["drawing_share"] for run in runs.values())
    result = {
        "busy_share": round(busy, 4),
        "idle_share": round(idle, 4),
        "ratio": round(idle / busy, 3),
        "runs": runs,
    }
    return result, figures, frozenset()


def shares(counted: Sequence[Shown]) -> dict[str, float]:
    """Return what the process took of a core between the first and the last of these frames, and the source of that."""
    first, last = counted[0], counted[-1]
    elapsed = last.at - first.at
    return {
        "cpu_share": round((last.cpu_s - first.cpu_s) / elapsed, 4),
        "drawing_share": round((last.drawing_s - first.drawing_s) / elapsed, 4),
    }


def _endure(args: argparse.Namespace) -> Answer:
    samples: list[dict[str, float]] = []
    frames = 0
    begun = time.monotonic()

    def take(frame: Shown) -> None:
        nonlocal frames
        frames += 1
        t = frame.at - begun
        if t < SAMPLE * (len(samples) + 1):
            return
        samples.append(
            {
                "t": round(t, 2),
                "rss_mb": round(rss_mb() or 0.0, 3),
                "threads": own_threads(),
                "descriptors": own_descriptors(),
                "frames": frames,
            }
        )

    metrics = play(open_source(args.source, live=True), args.seconds, take)
    endured = endurance(samples)
    figures = {"peak_rss_mb": [endured["peak_rss_mb"]], "fps": endured["rates"]}
    return (
        {"source": args.source, "seconds": args.seconds, "dropped": metrics.dropped, **endured},
        figures,
        frozenset({"fps"}),
    )


def endurance(samples: Sequence[dict[str, float]]) -> dict[str, Any]:
    """Return the slope of memory, the rates by minute, and how threads and descriptors changed, of samples over time.

    Raises SourceEmpty for fewer than three samples after SETTLED.
    """
    later = [sample for sample in samples if sample["t"] >= SETTLED]
    if len(later) < 3:
        raise SourceEmpty(f"{len(later)} samples after the first {SETTLED:g} s; measure longer: --seconds")
    t, rss = (np.array([sample[key] for sample in later]) for key in ("t", "rss_mb"))
    (slope, _), residue, *_ = np.polyfit(t, rss, 1, full=True)
    error = math.sqrt(float(residue[0]) / (len(t) - 2) / float(((t - t.mean()) ** 2).sum())) if len(residue) else 0.0
    minutes: dict[int, list[dict[str, float]]] = {}
    for sample in later:
        minutes.setdefault(int(sample["t"] // 60), []).append(sample)
    rates = [
        (inside[-1]["frames"] - inside[0]["frames"]) / (inside[-1]["t"] - inside[0]["t"])
        for inside in minutes.values()
        if len(inside) > 1
    ]
    return {
        "slope_mb_per_hour": round(3600 * float(slope), 3),
        "slope_error": round(3600 * error, 3),
        "rss_mb": round(float(rss[-1]), 1),
        "peak_rss_mb": round(peak_rss_mb(), 1),
        "fps_median": round(float(np.median(rates)), 2),
        "fps_least": round(min(rates), 2),
        "rates": [round(rate, 2) for rate in rates],
        "threads_more": int(later[-1]["threads"] - later[0]["threads"]),
        "descriptors_more": int(later[-1]["descriptors"] - later[0]["descriptors"]),
        "minutes": [inside[-1] for inside in minutes.values()],
    }


def growth(result: dict[str, Any]) -> list[str]:
    """Return what grew that should not, or fell; empty where nothing did."""
    grown = []
    if result["slope_mb_per_hour"] > MOST_SLOPE:
        grown.append(f"memory grows by {result['slope_mb_per_hour']:.2f} MB an hour, of at most {MOST_SLOPE:g}")
    if result["fps_least"] < (1 - MOST_UNSTEADY) * result["fps_median"]:
        grown.append(f"a minute had {result['fps_least']:.1f} frames a second, the median {result['fps_median']:.1f}")
    grown += [
        f"{result[f'{name}_more']} more {name}" for name in ("threads", "descriptors") if result[f"{name}_more"] > 0
    ]
    return grown
