"""`cuelens-bench stages`: what a frame costs, in the device's own loop as fast as it goes, and stage by stage.

source -> edge.runtime -> a sink that only counts; then the same frames through its pipeline alone, in one thread.
"""

from __future__ import annotations

import argparse
import gc
import multiprocessing
import os
import threading
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import BrokenExecutor, ProcessPoolExecutor
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.report import Measured, describe_model
from benchmarks.result import progress_bar
from benchmarks.walk import STAGES, Cost, Stopwatch, walk
from edge.errors import BenchFailed, SettingsInvalid, SourceEmpty
from edge.hardware.board import peak_rss_mb
from edge.runtime.control import Control
from edge.runtime.metrics import percentile
from edge.settings import Settings, check
from edge.sources import SOURCES, open_source
from edge.system.quiet import tame_opencv
from edge.types import Capabilities

if TYPE_CHECKING:
    from edge.runtime.metrics import Metrics
    from edge.types import Frame, Update
    from edge.vision.model import ExpressionModel

ENDLESS_FRAMES = 600  # of a source without an end: twenty seconds of a camera
WARMUP_FRAMES = 60
ROUNDS = 5

DEFINITIONS = {
    "capture": "to get the frame: a file is decoded in it, the demo drawn, a camera waited for",
    "find": "to find and track the faces",
    "read": "to cut out the faces and run the network on those whose turn it is",
    "cue": "the temporal policy",
    "sink": "to write the log's line for the frame; displays cost their own",
    "wall_ms": "elapsed ms of a stage by frame; the stages one after the other in one thread",
    "cpu_ms": "CPU ms of the whole process in a stage by frame",
    "whole_ms": "find + read + cue + sink of a frame, elapsed",
    "fps": "frames a second from the first cue to the last, in the loop as fast as it goes",
    "cpu_ms_per_frame": "CPU ms of the whole process, all threads and the source's work included, by frame of the "
    "loop; start, loading and warm-up excluded",
    "model_load_ms": "elapsed ms from the file to an interpreter that is ready, the runtime's import included",
    "peak_rss_mb": "most resident memory of the measuring process in MB of 10^6 bytes, start included",
    "percentiles": "nearest rank, over the frames of all rounds",
    "warmup_frames": "frames before, in a run of their own, that are not counted",
}
PERCENTS = (50, 90, 95, 99)


@dataclass(frozen=True, slots=True)
class Plan:
    """What to measure; `frames` None is all that the source has."""

    source: str
    frames: int | None
    repeat: int
    warmup: int
    threads: int
    model: Path | None


def add_arguments(parser: argparse.ArgumentParser, task: str) -> None:
    """Add source, lengths, threads and model."""
    parser.add_argument("--source", default="demo", help=f"NAME[:ARGUMENT], one of {', '.join(SOURCES)}; default demo")
    parser.add_argument("--frames", type=int, help=f"at most so many; default {ENDLESS_FRAMES}, of a file all")
    parser.add_argument("--repeat", type=int, default=1, help="times a file is played, for short clips")
    parser.add_argument(
        "--warmup", type=int, default=WARMUP_FRAMES, help=f"frames before, not measured; default {WARMUP_FRAMES}"
    )
    parser.add_argument("--rounds", type=int, default=ROUNDS, help=f"each in a process of its own; default {ROUNDS}")
    parser.add_argument("--threads", type=int, default=1, help="of the interpreter; more than 1 is rarely faster")
    parser.add_argument(
        "--model", type=Path, help="a .tflite file with its contract beside it; default the shipped one"
    )


def measure(args: argparse.Namespace) -> Measured:
    """Measure --rounds times; raises SettingsInvalid, and what the source, the model or the loop raises."""
    for name in ("frames", "repeat", "warmup", "rounds"):
        value = getattr(args, name)
        if value is not None and value < 1:
            raise SettingsInvalid(f"--{name} is {value}; it must be at least 1")
    if complaint := check(Settings, "threads", args.threads):
        raise SettingsInvalid(f"--threads is {args.threads}; {complaint}")
    plan = Plan(args.source, args.frames, args.repeat, args.warmup, args.threads, args.model)
    open_source(plan.source, live=False).close()  # its faults are reported before anything is measured
    with progress_bar(args.rounds, unit="round") as bar:
        rounds = []
        for _ in range(args.rounds):
            rounds.append(apart(plan))
            bar.update()
    loops = [each["loop"] for each in rounds]
    times = {name: [frame for each in rounds for frame in each["stages"][name]] for name in (*STAGES, "whole")}
    result = {
        "source": plan.source,
        "repeat": plan.repeat,
        **{key: loops[0][key] for key in ("frames", "frames_with_face", "width", "height", "warmup_frames", "pace")},
        "dropped": max(loop["dropped"] for loop in loops),
        "peak_rss_mb": max(loop["peak_rss_mb"] for loop in loops),
        "stages": {
            name: {
                kind: {
                    f"p{percent}": round(percentile([frame[place] for frame in frames], percent), 4)
                    for percent in PERCENTS
                }
                for place, kind in enumerate(("wall_ms", "cpu_ms"))
            }
            for name, frames in times.items()
        },
    }
    figures = {
        "cpu_ms_per_frame": [loop["cpu_ms_per_frame"] for loop in loops],
        "fps": [loop["fps"] for loop in loops],
        "peak_rss_mb": [loop["peak_rss_mb"] for loop in loops],
        "model_load_ms": [loop["model_load_ms"] for loop in loops],
        **{
            f"{name}_cpu_ms": [
                sum(cpu for _, cpu in each["stages"][name]) / len(each["stages"][name]) for each in rounds
            ]
            for name in STAGES
        },
    }
    return Measured(result, figures, DEFINITIONS, frozenset({"fps"}), model=rounds[0]["model"])


def apart(plan: Plan) -> dict[str, Any]:
    """Run measure_here in a new interpreter, not a fork: memory and processor time begin at nothing."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        try:
            return pool.submit(measure_here, plan).result()
        except BrokenExecutor as error:
            raise BenchFailed("the measuring process was killed; is there enough memory?") from error


def measure_here(plan: Plan) -> dict[str, Any]:
    """Run the loop by the plan, then its stages, in this process; returns `loop`, `stages` by frame and `model`.

    Raises what the source, the model or the loop raises.
    """
    from edge.runtime.run import run
    from edge.vision.model import ExpressionModel

    tame_opencv()
    settings = Settings(source=plan.source, sinks=(), pace="fast", threads=plan.threads)
    warm = Played(replace(plan, repeat=1, frames=plan.warmup))
    begun = time.perf_counter()
    try:
        model = ExpressionModel(plan.model, plan.threads)
    except BaseException:
        warm.close()
        raise
    model_load_ms = 1000 * (time.perf_counter() - begun)

    def play(source: Played, sink: _Counter) -> Metrics:
        outcome = run(Control(settings), source, model, [("counter", sink)], threading.Event(), say=lambda line: None)
        if outcome.failures:
            raise outcome.failures[0]
        return outcome.metrics

    warmup_frames = play(warm, _Counter()).frames
    gc.collect()  # a run's parts hold each other: its networks would count beside the next one's
    source, counter = Played(plan), _Counter()
    metrics = play(source, counter)
    cpu_ms_per_frame, peak_mb = metrics.cpu_ms_per_frame(), peak_rss_mb()
    if not metrics.frames:
        raise SourceEmpty(f"--source {plan.source}: no frame came; give a source that has some")
    loop = {
        "frames": metrics.frames,
        "frames_with_face": metrics.frames_with_face,
        "dropped": metrics.dropped,
        "width": counter.width,
        "height": counter.height,
        "warmup_frames": warmup_frames,
        "pace": "live" if source.live else "fast",
        "fps": round(metrics.fps, 2),
        "cpu_ms_per_frame": round(cpu_ms_per_frame, 4),
        "peak_rss_mb": round(peak_mb, 1),
        "model_load_ms": round(model_load_ms, 1),
    }
    stages = _by_stage(plan, model, settings)
    return {"loop": loop, "stages": stages, "model": describe_model(model, plan.threads)}


def _by_stage(plan: Plan, model: ExpressionModel, settings: Settings) -> dict[str, list[Cost]]:
    """Return (wall ms, CPU ms) of each frame by stage, and of `whole`."""
    from edge.sinks.log import LogSink

    watch = Stopwatch()
    source, sink = Played(plan), LogSink(os.devnull, Control(settings))
    try:
        frames = sum(1 for _ in walk(source, model, settings, sink, watch))
    finally:
        source.close()
        sink.close()
    times = watch.times
    del times["capture"][frames:]  # the last look, which found the end
    later = (times[name] for name in STAGES[1:])
    times["whole"] = [
        (sum(wall), sum(cpu)) for wall, cpu in (zip(*frame, strict=True) for frame in zip(*later, strict=True))
    ]
    return times


class Played:
    """The plan's source, played `repeat` times as one, up to the plan's frames."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._closed = False
        self._source = open_source(plan.source, live=False)
        self.live = self._source.live
        endless = self.live or not plan.source.startswith("file:")
        self._limit = ENDLESS_FRAMES if plan.frames is None and endless else plan.frames
        known = self._source.announced
        counts = [count for count in (self._limit, known and known * plan.repeat) if count]
        self.announced = min(counts, default=None)

    def frames(self) -> Iterator[Frame]:
        """Yield the frames of every turn."""
        return islice(self._turns(), self._limit)

    def _turns(self) -> Iterator[Frame]:
        yield from self._source.frames()
        for _ in range(self._plan.repeat - 1):
            if self._closed:
                return
            self._source = open_source(self._plan.source, live=False)
            yield from self._source.frames()

    def close(self) -> None:
        """Close the source, and open it no more."""
        self._closed = True
        self._source.close()


class _Counter:
    """The sink: it keeps nothing but the picture's size."""

    capabilities = Capabilities(every_frame=True, reopens=False)

    def __init__(self) -> None:
        self.width = self.height = 0

    def show(self, update: Update) -> None:
        if update.frame is not None:
            self.height, self.width = update.frame.gray.shape

    def close(self) -> None:
        pass


def describe(report: Mapping[str, Any]) -> str:
    """Return a report in lines for a person."""
    result, figures = report["result"], report["figures"]
    head = "".join(f"{f'{kind} {key}':>10}" for kind in ("wall", "cpu") for key in ("p50", "p90", "p99"))
    rows = [f"{'ms':<8}{head}"]
    for name, values in result["stages"].items():
        numbers = "".join(
            f"{values[f'{kind}_ms'][key]:10.3f}" for kind in ("wall", "cpu") for key in ("p50", "p90", "p99")
        )
        rows.append(f"{name:<8}{numbers}  {report['definitions'].get(name, report['definitions']['whole_ms'])}")
    stages = "\n".join(rows)
    middle = {name: figure["median"] for name, figure in figures.items()}
    return f"""\
{result["source"]}: {result["frames"]} frames of {result["width"]}x{result["height"]} \
after {result["warmup_frames"]} of warm-up, {result["frames_with_face"]} with a face, {result["dropped"]} dropped; \
{len(figures["fps"]["rounds"])} rounds

{stages}

frames a second   {middle["fps"]:.1f}
CPU ms a frame    {middle["cpu_ms_per_frame"]:.2f}
peak memory       {result["peak_rss_mb"]:.0f} MB
model loaded in   {middle["model_load_ms"]:.0f} ms"""
