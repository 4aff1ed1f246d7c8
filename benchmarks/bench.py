"""`cuelens-bench`: the device's own loop, as fast as it goes, with the machine beside every number.

source -> edge.loop.run -> a sink that only counts; then edge.health's measurements -> report -> table or JSON.
"""

from __future__ import annotations

import argparse
import json
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.machine import machine, software, state
from benchmarks.result import progress_bar
from benchmarks.schema import VERSION
from edge.command import command
from edge.config import Settings, check
from edge.control import Control
from edge.errors import SettingsInvalid, SourceEmpty
from edge.health import peak_rss_mb, percentiles
from edge.quiet import tame_opencv
from edge.sources import SOURCES, open_source
from edge.types import Capabilities

if TYPE_CHECKING:
    from edge.health import Health
    from edge.types import Frame, Update

ENDLESS_FRAMES = 600  # of a source without an end: twenty seconds of a camera
WARMUP_FRAMES = 60
DELEGATES = {"tflite-runtime": "built-in kernels", "ai-edge-litert": "XNNPACK"}  # by default, which is what we load

DEFINITIONS = {
    "capture": "CPU ms of the capture thread to get the frame; videos are decoded in it",
    "find": "elapsed ms to find and track the faces",
    "read": "elapsed ms to cut out the faces and run the network on each",
    "cue": "elapsed ms of the temporal policy",
    "whole": "ms a frame costs: its capture + find + read + cue, without waits between the threads",
    "cpu_ms_per_frame": "CPU ms of the whole process, all threads and the source's work included, by frame; "
    "start, loading and warm-up excluded",
    "model_load_ms": "elapsed ms from the file to an interpreter that is ready, the runtime's import included",
    "peak_rss_mb": "most resident memory of the measuring process in MB of 10^6 bytes, start included",
    "percentiles": "nearest rank, over frames",
}
LIVE_WHOLE = "elapsed ms from a frame's capture, as its driver tells, to its cue; waits included"


@dataclass(frozen=True, slots=True)
class Plan:
    """What to measure; `frames` None is all that the source has."""

    source: str
    frames: int | None
    repeat: int
    warmup: int
    threads: int
    model: Path | None


@command
def main(parser: argparse.ArgumentParser, argv: list[str] | None = None) -> None:
    """Measure what the device's loop costs on this machine."""
    parser.add_argument("--source", default="demo", help=f"NAME[:ARGUMENT], one of {', '.join(SOURCES)}; default demo")
    parser.add_argument("--frames", type=int, help=f"at most so many; default {ENDLESS_FRAMES}, of a file all")
    parser.add_argument("--repeat", type=int, default=1, help="times a file is played, for short clips")
    parser.add_argument(
        "--warmup", type=int, default=WARMUP_FRAMES, help=f"frames before, not measured; default {WARMUP_FRAMES}"
    )
    parser.add_argument("--threads", type=int, default=1, help="of the interpreter; more than 1 is rarely faster")
    parser.add_argument(
        "--model", type=Path, help="a .tflite file with its contract beside it; default the shipped one"
    )
    parser.add_argument("--json", action="store_true", help="one JSON object on standard output")
    args = parser.parse_args(argv)
    least = {"frames": 1, "repeat": 1, "warmup": 1}
    for name, low in least.items():
        value = getattr(args, name)
        if value is not None and value < low:
            raise SettingsInvalid(f"--{name} is {value}; it must be at least {low}")
    if complaint := check(Settings, "threads", args.threads):
        raise SettingsInvalid(f"--threads is {args.threads}; {complaint}")
    plan = Plan(args.source, args.frames, args.repeat, args.warmup, args.threads, args.model)
    report = measure(plan)
    if args.json:
        print(json.dumps(report, indent=1, allow_nan=False))
    else:
        print(table(report))


def measure(plan: Plan, *, progress: bool = True) -> dict[str, Any]:
    """Run the loop by the plan, in this process, and return the report (benchmarks/schema.py).

    Raises what the source, the model or the loop raises.
    """
    load, before = machine(), state()  # before our own work warms the machine up

    from edge.loop import run
    from edge.model import ExpressionModel

    tame_opencv()
    settings = Settings(source=plan.source, sinks=(), pace="fast", threads=plan.threads)
    warm = _Played(replace(plan, repeat=1, frames=plan.warmup))
    begun = time.perf_counter()
    try:
        model = ExpressionModel(plan.model, plan.threads)
    except BaseException:
        warm.close()
        raise
    model_load_ms = 1000 * (time.perf_counter() - begun)

    def play(source: _Played, sink: _Counter) -> Health:
        outcome = run(Control(settings), source, model, [("counter", sink)], threading.Event(), say=lambda line: None)
        if outcome.failures:
            raise outcome.failures[0]
        return outcome.health

    warmup_frames = play(warm, _Counter(None, progress=False)).frames
    source = _Played(plan)
    counter = _Counter(source.announced, progress=progress)
    health = play(source, counter)
    cpu_ms_per_frame, peak_mb = health.cpu_ms_per_frame(), peak_rss_mb()
    if not health.frames:
        raise SourceEmpty(f"--source {plan.source}: no frame came; give a source that has some")
    stages = health.measurements()
    if source.live:
        stages["whole"] = stages["total"]
    else:
        parts = (stages[name] for name in ("capture", "find", "read", "cue"))
        stages["whole"] = [sum(frame) for frame in zip(*parts, strict=True)]
    return {
        "schema": VERSION,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "source": plan.source,
        "frames": health.frames,
        "frames_with_face": health.frames_with_face,
        "dropped": health.dropped,
        "width": counter.width,
        "height": counter.height,
        "repeat": plan.repeat,
        "warmup_frames": warmup_frames,
        "pace": "live" if source.live else "fast",
        "fps": round(health.fps, 2),
        "stages_ms": {name: percentiles(stages[name]) for name in ("capture", "find", "read", "cue", "whole")},
        "cpu_ms_per_frame": round(cpu_ms_per_frame, 3),
        "peak_rss_mb": round(peak_mb, 1),
        "model_load_ms": round(model_load_ms, 1),
        "definitions": DEFINITIONS | ({"whole": LIVE_WHOLE} if source.live else {}),
        "model": {
            "sha256": model.contract.sha256,
            "runtime": model.runtime,
            "delegate": DELEGATES[model.runtime.partition(" ")[0]],
            "threads": plan.threads,
        },
        "machine": load | {"before": before, "after": state()},
        "software": software(),
        "peers": {},
    }


class _Played:
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
        return islice(self._turns(), self._limit)

    def _turns(self) -> Iterator[Frame]:
        yield from self._source.frames()
        for _ in range(self._plan.repeat - 1):
            if self._closed:
                return
            self._source = open_source(self._plan.source, live=False)
            yield from self._source.frames()

    def close(self) -> None:
        self._closed = True
        self._source.close()


class _Counter:
    """The sink: it keeps nothing but the picture's size, and moves the progress bar."""

    capabilities = Capabilities(every_frame=True, reopens=False)

    def __init__(self, total: int | None, *, progress: bool) -> None:
        self.width = self.height = 0
        self._bar = progress_bar(total, unit="frame", wanted=progress)

    def show(self, update: Update) -> None:
        if update.frame is not None:
            self.height, self.width = update.frame.gray.shape
            self._bar.update()

    def close(self) -> None:
        self._bar.close()


def table(report: dict[str, Any]) -> str:
    """Say a report in lines for a person."""
    rows = [f"{'ms':<8}{'p50':>9}{'p95':>9}{'p99':>9}"]
    for name, values in report["stages_ms"].items():
        numbers = "".join(f"{values[key]:9.2f}" for key in ("p50", "p95", "p99"))
        rows.append(f"{name:<8}{numbers}  {report['definitions'][name]}")
    stages = "\n".join(rows)
    against = "".join(
        f"against {name} {peer['version']}: {peer['ours_cpu_ms_per_frame']:.2f} to {peer['cpu_ms_per_frame']:.2f} "
        f"CPU ms a frame, ratio {peer['ratio']:.3f} (medians of {len(peer['rounds'])} rounds); "
        f"its peak memory {peer['peak_rss_mb']:.0f} MB\n"
        for name, peer in report["peers"].items()
    )
    model, device, system = report["model"], report["machine"], report["software"]
    before, after = device["before"], device["after"]
    return f"""\
{report["source"]}: {report["frames"]} frames of {report["width"]}x{report["height"]} \
after {report["warmup_frames"]} of warm-up, {report["frames_with_face"]} with a face, {report["dropped"]} dropped

{stages}

frames a second   {report["fps"]:.1f}
CPU ms a frame    {report["cpu_ms_per_frame"]:.2f}
peak memory       {report["peak_rss_mb"]:.0f} MB
model loaded in   {report["model_load_ms"]:.0f} ms
{against}
model     {model["sha256"][:12]}, {model["runtime"]}, {model["delegate"]}, threads {model["threads"]}
machine   {device["board"] or device["cpu"]}, {device["cores"]} cores, {device["architecture"]}, \
load before {device["load_average"][0]}
state     governor {_known(device["governor"])}, {_change(before, after, "frequency_mhz")} MHz, \
{_change(before, after, "temperature_c")} degrees C, throttled {_change(before, after, "throttled")}
software  {system["os"]}, kernel {system["kernel"]}, Python {system["python"]}, OpenCV {system["opencv"]}, \
numpy {system["numpy"]}, commit {_known(system["commit"])}"""


def _known(value: object) -> str:
    return "unknown" if value is None else str(value)


def _change(before: dict[str, Any], after: dict[str, Any], key: str) -> str:
    return " to ".join(dict.fromkeys(_known(item[key]) for item in (before, after)))


if __name__ == "__main__":
    main()
