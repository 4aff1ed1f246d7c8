"""`cuelens-bench-live`: the loop as a device runs it, at a clock's pace: how late its cue is, what rest costs.

A source that writes each frame's number into its pixels -> edge.loop.run -> a sink that reads it back when it is shown.
"""

from __future__ import annotations

import argparse
import itertools
import math
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.machine import state
from benchmarks.result import add_output, make_folder, progress_bar, table, write_result
from edge.command import command
from edge.config import Settings
from edge.control import Control
from edge.errors import BenchFailed, SettingsInvalid, SourceEmpty
from edge.health import peak_rss_mb, percentiles, rss_mb
from edge.model import ExpressionModel
from edge.quiet import tame_opencv
from edge.sources import SOURCES, open_source
from edge.sources.demo import SCENE_FRAMES, DemoSource
from edge.types import Capabilities, Frame, Gray, Sink, Source, Update

BITS = 24  # of a frame's number: six days at 30 a second
CELL = 4  # pixels: side of a bit's square, in the frame's upper left corner
WARMUP = 3.0  # seconds
BINS_MS = (1, 2, 5, 10, 20, 50, 100)  # of the jitter's histogram
SAMPLE = 5.0  # seconds between two looks at memory, threads and descriptors
SETTLED = 330.0  # seconds after which memory should not grow
MOST_SLOPE = 1.0  # MB an hour that a run may grow by
MOST_UNSTEADY = 0.05  # share by which a minute's frame rate may be below the median's

DEFINITIONS = {
    "latency_ms": "from the frame's capture, as its source tells, until a sink has it with its cue; matched by the "
    "number in the frame's pixels",
    "jitter_ms": "by how much the time between two shown frames differs from their captures' own; histogram: frames by "
    "upper bound in ms",
    "fps": "shown frames a second",
    "dropped": "frames that a newer one replaced before the loop took them",
    "cpu_share": "of one core: CPU time of the whole process by elapsed time, the drawing of the demo included",
    "drawing_share": "of one core: CPU time of the source's thread",
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
    """A frame that reached the sink: its number, and when it was captured and shown, on time.monotonic()."""

    number: int
    captured: float
    at: float


class Watcher:
    """The sink: notes each frame's number and time, and every `every` seconds calls `look` with time and count."""

    capabilities = Capabilities(reopens=False)

    def __init__(
        self, source: Numbered, every: float = math.inf, look: Callable[[float, int], None] | None = None
    ) -> None:
        self.shown: list[Shown] = []
        self.count = 0
        self._source = source
        self._every, self._look = every, look
        self._keep = look is None  # hours of them would be the leak
        self._begun = self._looked = time.monotonic()
        self.bar: Any = None

    def show(self, update: Update) -> None:
        """Note it."""
        now = time.monotonic()
        if update.frame is None:
            return
        number = read_number(update.frame.gray)
        captured = self._source.captured.pop(number)
        for older in [other for other in self._source.captured if other < number]:
            del self._source.captured[older]
        self.count += 1
        if self.bar is not None:
            self.bar.update(int(now - self._begun) - self.bar.n)
        if self._keep:
            self.shown.append(Shown(number, captured, now))
        if self._look is not None and now - self._looked >= self._every:
            self._looked = now
            self._look(now - self._begun, self.count)

    def close(self) -> None:
        """Keep what was noted."""


@command
def main(parser: argparse.ArgumentParser, argv: list[str] | None = None) -> None:
    """Measure the loop at a camera's pace."""
    tasks = parser.add_subparsers(dest="task", required=True, metavar="TASK")
    parsers = {
        "e2e": tasks.add_parser("e2e", help="from capture to shown: latency, jitter, frames a second, drops"),
        "idle": tasks.add_parser("idle", help="CPU with nobody there, beside somebody"),
        "memory": tasks.add_parser("memory", help="memory over time, and its slope"),
        "soak": tasks.add_parser("soak", help="the same for longer; fails where memory, threads or descriptors grow"),
    }
    add_output(parsers)
    seconds = {"e2e": 30.0, "idle": 20.0, "memory": 600.0, "soak": 1800.0}
    for name, sub in parsers.items():
        sub.add_argument("--seconds", type=float, default=seconds[name], help="default %(default)s")
        if name != "idle":
            sub.add_argument("--source", default="demo", help=f"one of {', '.join(SOURCES)}; default demo")
    args = parser.parse_args(argv)
    if not args.seconds > 2 * WARMUP:
        raise SettingsInvalid(f"--seconds is {args.seconds:g}; it must be more than {2 * WARMUP:g}")
    make_folder(args.out)
    tame_opencv()
    before = state()
    result = {"e2e": _e2e, "idle": _idle, "memory": _endure, "soak": _endure}[args.task](args)
    print(table([{key: value for key, value in result.items() if not isinstance(value, (list, dict))}]))
    if args.out:
        write_result(args.out / f"{args.task}.json", result, DEFINITIONS, state={"before": before, "after": state()})
    if args.task == "soak" and (grown := growth(result)):
        raise BenchFailed(f"soak of {args.seconds:g} s: {'; '.join(grown)}")


def play(source: Source, seconds: float, watcher_of: Callable[[Numbered], Watcher]) -> tuple[Any, Watcher, Numbered]:
    """Run the loop on a live source for so long; returns its health, the watcher and the source.

    Raises what the loop raises, SourceEmpty where nothing came.
    """
    from edge.loop import run

    numbered = Numbered(source)
    watcher = watcher_of(numbered)
    model = ExpressionModel()
    sinks: list[tuple[str, Sink]] = [("watcher", watcher)]
    with progress_bar(round(seconds), "s") as watcher.bar:
        outcome = run(Control(Settings(sinks=())), numbered, model, sinks, threading.Event(), seconds, lambda _: None)
    if outcome.failures:
        raise outcome.failures[0]
    if not watcher.count:
        raise SourceEmpty("no frame came; give a source that has some")
    return outcome.health, watcher, numbered


def _e2e(args: argparse.Namespace) -> dict[str, Any]:
    health, watcher, _ = play(open_source(args.source, live=True), args.seconds, Watcher)
    return {"source": args.source, "dropped": health.dropped, **timing(watcher.shown)}


def timing(shown: Sequence[Shown]) -> dict[str, Any]:
    """Return latency, jitter and rate of shown frames after the warm-up; raises SourceEmpty for fewer than three."""
    counted = [frame for frame in shown if frame.at - shown[0].at >= WARMUP]
    if len(counted) < 3:
        raise SourceEmpty(f"{len(counted)} frames came after the warm-up of {WARMUP:g} s; measure longer")
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
        "latency_p95_ms": percentiles(latency_ms)["p95"],
        "jitter_ms": percentiles(jitter_ms),
        "jitter_p95_ms": percentiles(jitter_ms)["p95"],
        "jitter_histogram": histogram,
    }


def _idle(args: argparse.Namespace) -> dict[str, Any]:
    shares = {}
    for name, source in (("busy", DemoSource("1", live=True)), ("idle", Still("1", live=True))):
        begun, cpu_s = time.monotonic(), time.process_time()
        health, _, numbered = play(source, args.seconds, Watcher)
        elapsed = time.monotonic() - begun
        shares[name] = {
            "cpu_share": round((time.process_time() - cpu_s) / elapsed, 4),
            "drawing_share": round(numbered.cpu_s / elapsed, 4),
            "fps": round(health.fps, 2),
            "frames_with_face": health.frames_with_face,
        }
    own = {name: share["cpu_share"] - share["drawing_share"] for name, share in shares.items()}
    return {
        **{f"{name}_share": round(value, 4) for name, value in own.items()},
        "ratio": round(own["idle"] / own["busy"], 3),
        "runs": shares,
    }


def _endure(args: argparse.Namespace) -> dict[str, Any]:
    samples: list[dict[str, float]] = []

    def look(t: float, frames: int) -> None:
        samples.append(
            {
                "t": round(t, 2),
                "rss_mb": round(rss_mb() or 0.0, 3),
                "threads": _count("/proc/self/task"),
                "descriptors": _count("/proc/self/fd"),
                "frames": frames,
            }
        )

    health, _, _ = play(open_source(args.source, live=True), args.seconds, lambda source: Watcher(source, SAMPLE, look))
    return {"source": args.source, "seconds": args.seconds, "dropped": health.dropped, **endurance(samples)}


def _count(folder: str) -> int:
    return sum(1 for _ in Path(folder).iterdir())


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
        "threads_more": int(later[-1]["threads"] - later[0]["threads"]),
        "descriptors_more": int(later[-1]["descriptors"] - later[0]["descriptors"]),
        "samples": list(samples),
    }


def growth(result: dict[str, Any]) -> list[str]:
    """Say what grew that should not, or fell; empty where nothing did."""
    grown = []
    if result["slope_mb_per_hour"] - 2 * result["slope_error"] > MOST_SLOPE:
        grown.append(f"memory grows by {result['slope_mb_per_hour']:.2f} MB an hour, of at most {MOST_SLOPE:g}")
    if result["fps_least"] < (1 - MOST_UNSTEADY) * result["fps_median"]:
        grown.append(f"a minute had {result['fps_least']:.1f} frames a second, the median {result['fps_median']:.1f}")
    grown += [
        f"{result[f'{name}_more']} more {name}" for name in ("threads", "descriptors") if result[f"{name}_more"] > 0
    ]
    return grown


if __name__ == "__main__":
    main()
