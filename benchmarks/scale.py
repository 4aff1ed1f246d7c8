"""`cuelens-bench scale`: what a frame costs by its size, its faces and the network's threads, and a read by runtime.

Every point goes on a little in each round, so that what else the machine does spreads over all of them.
"""

from __future__ import annotations

import argparse
import itertools
import os
import statistics
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from benchmarks.faces_haar import find_sure
from benchmarks.films import CROWD, MOST_FACES, SIZES, Film, draw_crowd, read_frames, resize, sway
from benchmarks.report import Measured, describe_model
from benchmarks.result import progress_bar, table
from benchmarks.scale_networks import READS, READS_SECONDS, Turn, build_networks, describe_costs, mean_cpu_ms, rounds_of
from benchmarks.scale_recommend import MORE_CPU, cpu_of, recommend
from benchmarks.walk import STAGES, Stopwatch, walk
from edge.errors import SettingsInvalid
from edge.runtime.control import Control
from edge.settings import Settings, check
from edge.sinks.log import LogSink
from edge.sources import SOURCES
from edge.system.quiet import tame_opencv
from edge.types import Gray, Sink
from edge.vision.model import ExpressionModel, shipped_model
from edge.vision.tflite import models_folder
from edge.vision.verifier import FaceVerifier

ROUNDS, LEAST_ROUNDS = 5, 3  # of fewer no interval is known
FOUND_FRAMES = 30  # of the source, that the films are made of
FRAMES, FRAMES_SECONDS = 30, 0.8  # of a point in a round, and after how long it ends without having had so many
WARMUP_FRAMES, WARMUP_SECONDS = 60, 2.4  # before the first round: everybody is found by then
REST = 0.01  # seconds before a point's turn, in which the threads of the one before stop waiting for more
THREADS = range(1, 5)

DEFINITIONS = {
    "sizes": "the source's frames with one sure upright face, resized; one face, one thread",
    "faces": f"so many copies of the source's face, drawn on a blurred frame of {CROWD[0]}x{CROWD[1]}; `found` is the "
    "mean of how many of them were",
    "threads": f"of the expression network, at {CROWD[0]}x{CROWD[1]} with one face",
    "networks": "the network alone: input set, run, outputs taken; by file, runtime, who runs its operators and "
    "threads; `setting` is whether `threads` alone makes the device run it so",
    "find": "to find and track the faces",
    "read": "to cut out a face and run the network on it, over the frames in which one was read; null: in none",
    "whole": "find + read + cue + the log's line of a frame; somebody is read in about every second one, so a p50 may "
    "be of either kind, and figures are means",
    "wall_ms": "elapsed ms of a frame or read; median over the rounds of each round's percentile, by nearest rank",
    "cpu_ms": "CPU ms of the whole process, all threads, in the same time",
    "wall_p90_rounds": "the p90 of wall ms in each round: what is recommended by",
    "cpu_mean_rounds": "the mean of CPU ms in each round",
    "warmup": f"{WARMUP_FRAMES} frames or {WARMUP_SECONDS:g} s of each point, whichever ends first, and {READS} reads "
    f"or {READS_SECONDS:g} s, are not counted",
    "rounds": f"in each every point has {FRAMES} frames or {FRAMES_SECONDS:g} s, or {READS} reads or "
    f"{READS_SECONDS:g} s, whichever ends first; points in turns, every other round from the last to the first",
    "recommendation": f"the lowest p90 of a read's wall ms among the thread numbers whose mean CPU is at most "
    f"{MORE_CPU:.0%} above the least; another than the present one only where the 95 % interval of their ratio, by a "
    "bootstrap over the rounds, is below 1. Where one of the two costs too much CPU, the ratio is that of the CPU",
}


class Point(Protocol):
    """A place in a sweep."""

    about: dict[str, Any]

    def warm_up(self) -> None:
        """Run without being counted."""

    def take_turn(self) -> Turn:
        """Run a little, and return what it took."""


class LoopPoint:
    """The loop's stages on an endless film."""

    def __init__(self, about: dict[str, Any], film: Iterator[Gray], model: ExpressionModel, sink: Sink) -> None:
        self.about = about
        self._watch = Stopwatch()
        self._updates = walk(Film(film), model, Settings(), sink, self._watch)
        self._found: list[int] = []

    def warm_up(self) -> None:
        """Go on until everybody is found."""
        self.about["warmup_frames"] = len(self._go_on(WARMUP_FRAMES, WARMUP_SECONDS))
        self._found.clear()

    def take_turn(self) -> Turn:
        """Take some frames."""
        fresh = self._go_on(FRAMES, FRAMES_SECONDS)
        times = self._watch.times
        later = zip(*(times[name] for name in STAGES[1:]), strict=True)
        return {
            "find": list(times["find"]),
            "read": list(itertools.compress(times["read"], fresh)),
            "whole": [(sum(wall), sum(cpu)) for wall, cpu in (zip(*frame, strict=True) for frame in later)],
        }

    def _go_on(self, frames: int, seconds: float) -> list[bool]:
        """Take frames up to a number or a time; returns whether a face was read in each."""
        for costs in self._watch.times.values():
            costs.clear()
        fresh = []
        end = time.monotonic() + seconds
        for update in itertools.islice(self._updates, frames):
            assert update.frame is not None
            fresh.append(any(reading.t == update.frame.t for reading in update.readings))
            self._found.append(len(update.faces))
            if time.monotonic() >= end:
                break
        return fresh

    def describe(self, turns: Sequence[Turn]) -> dict[str, Any]:
        """Return it for the report."""
        costs = {name: [turn[name] for turn in turns] for name in ("find", "read", "whole")}
        read = [turn for turn in costs["read"] if turn]
        return {
            **self.about,
            "frames": sum(map(len, costs["whole"])),
            "found": round(statistics.mean(self._found), 2),
            "find": describe_costs(costs["find"]),
            "read": describe_costs(read) if read else None,
            "whole": describe_costs(costs["whole"]),
        }


def take_turns(points: Sequence[Point], rounds: int) -> list[list[Turn]]:
    """Warm every point up, then let each go on in every round; returns each point's turns."""
    turns: list[list[Turn]] = [[] for _ in points]
    with progress_bar((rounds + 1) * len(points), unit="turn") as bar:
        for number in range(rounds + 1):
            order = range(len(points)) if number % 2 else reversed(range(len(points)))
            for index in order:
                time.sleep(REST)
                if number:
                    turns[index].append(points[index].take_turn())
                else:
                    points[index].warm_up()
                bar.update()
    return turns


def add_arguments(parser: argparse.ArgumentParser, task: str) -> None:
    """Add source, rounds, models, and what is set now."""
    parser.add_argument(
        "--source",
        default="demo",
        help=f"NAME[:ARGUMENT], one of {', '.join(SOURCES)}, with one large face in its first second; default demo",
    )
    parser.add_argument("--rounds", type=int, default=ROUNDS, help=f"default {ROUNDS}, of half a minute at most")
    parser.add_argument(
        "--model",
        type=Path,
        action="append",
        default=[],
        help="a further .tflite file with its contract beside it; may be given several times",
    )
    parser.add_argument("--threads", type=int, default=1, help="as they are set now; default 1")


def measure(args: argparse.Namespace) -> Measured:
    """Measure all points; raises SettingsInvalid, and what the source and the models raise."""
    if args.rounds < LEAST_ROUNDS:
        raise SettingsInvalid(f"--rounds is {args.rounds}; it must be at least {LEAST_ROUNDS}")
    if complaint := check(Settings, "threads", args.threads):
        raise SettingsInvalid(f"--threads is {args.threads}; {complaint}")
    tame_opencv()
    counts = sorted({*THREADS, args.threads})
    models = {count: ExpressionModel(None, count) for count in counts}
    FaceVerifier()
    for path in args.model:
        ExpressionModel(path)
    files = list(dict.fromkeys([shipped_model(), models_folder() / "face.tflite", *args.model]))
    built = [build_networks(path, counts) for path in files]
    sure = sway(find_sure(args.source, list(itertools.islice(read_frames(args.source), FOUND_FRAMES))))
    model, sink = models[1], LogSink(os.devnull, Control(Settings()))

    def film(size: tuple[int, int]) -> Iterator[Gray]:
        return resize(itertools.cycle(gray for gray, _ in sure), *size)

    sweeps: dict[str, list[LoopPoint]] = {
        "sizes": [LoopPoint({"width": size[0], "height": size[1]}, film(size), model, sink) for size in SIZES],
        "faces": [LoopPoint({"faces": faces}, draw_crowd(sure, faces), model, sink) for faces in range(MOST_FACES + 1)],
        "threads": [LoopPoint({"threads": count}, film(CROWD), models[count], sink) for count in counts],
    }
    networks = [point for points, _ in built for point in points]
    points: list[Point] = [*itertools.chain(*sweeps.values()), *networks]
    turns = dict(zip(map(id, points), take_turns(points, args.rounds), strict=True))
    sink.close()
    described = [point.describe(turns[id(point)]) for point in networks]
    result = {
        "source": args.source,
        "rounds": args.rounds,
        **{name: [point.describe(turns[id(point)]) for point in sweep] for name, sweep in sweeps.items()},
        "networks": described,
        "left_out": [line for _, lines in built for line in lines],
        "recommendations": [
            recommend(described, own[0].about["model"], args.threads)
            for path, (own, _) in zip(files, built, strict=True)
            if path.name != "face.tflite"  # which has one thread whatever is set
        ],
    }
    figures = {
        f"whole_{name}_cpu_ms": [mean_cpu_ms(turn["whole"]) for turn in turns[id(point)]]
        for name, point in {
            **{f"{point.about['width']}x{point.about['height']}": point for point in sweeps["sizes"]},
            "nobody": sweeps["faces"][0],
            f"{MOST_FACES}_faces": sweeps["faces"][-1],
        }.items()
    }
    first = networks[0]
    for place, kind in enumerate(("wall", "cpu")):
        figures[f"read_{kind}_ms"] = rounds_of([turn["read"] for turn in turns[id(first)]], place, 50)
    return Measured(result, figures, DEFINITIONS, model=describe_model(model))


def describe(report: Mapping[str, Any]) -> str:
    """Lay the sweeps out for a person, and say what is recommended."""
    result = report["result"]

    def columns(
        costs: Mapping[str, Any] | None, kinds: Mapping[str, tuple[str, ...]], name: str = ""
    ) -> dict[str, Any]:
        return {
            f"{name}{kind} {key}": "-" if costs is None else f"{costs[f'{kind}_ms'][key]:.2f}"
            for kind, keys in kinds.items()
            for key in keys
        }

    full: dict[str, tuple[str, ...]] = {"wall": ("p50", "p90", "p99"), "cpu": ("p50",)}
    parts = []
    for name in ("sizes", "faces", "threads"):
        rows = [
            {key: point[key] for key in ("width", "height", "faces", "threads", "found", "frames") if key in point}
            | columns(point["find"], {"wall": ("p50",)}, "find ")
            | columns(point["read"], {"wall": ("p50",)}, "read ")
            | columns(point["whole"], full, "whole ")
            for point in result[name]
        ]
        parts.append(f"{name}: {report['definitions'][name]}; ms\n{table(rows)}")
    rows = [
        {key: point[key] for key in ("model", "runtime", "delegate", "threads", "reads")}
        | {f"{kind} {key}": f"{point[f'{kind}_ms'][key]:.3f}" for kind, keys in full.items() for key in keys}
        | {"cpu mean": f"{cpu_of(point):.3f}"}
        for point in result["networks"]
    ]
    parts.append(f"networks: {report['definitions']['networks']}; ms\n{table(rows)}")
    parts += [f"left out  {line}" for line in result["left_out"]]
    parts.append(
        "\n".join(
            [f"{described['model']}: {described['text']}" for described in result["recommendations"]]
            + [f"(recommended is {report['definitions']['recommendation']})"]
        )
    )
    return "\n\n".join(parts)
