"""`cuelens-bench arm`: instructions of each stage on an emulated Arm, held to a reference, and a forecast by board.

stages.py runs in an emulated Python (deploy/arm64.sh), count.c counts in the emulator; here both are started and read.
"""

from __future__ import annotations

import argparse
import hashlib
import itertools
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.arm.stages import NUMBERS, READY
from benchmarks.report import Measured, read_report
from benchmarks.result import table
from edge.errors import BenchFailed, CostGrown, RuntimeMissing, SettingsInvalid
from edge.files import replace_file
from edge.runtime.metrics import percentile

ROOT = Path(__file__).resolve().parent.parent.parent
TREE = ROOT / ".cache" / "roots" / "arm64"  # by deploy/arm64.sh
REFERENCE = ROOT / "benchmarks" / "reference" / "emulated-arm" / "arm.json"
PROGRAM = Path(__file__).with_name("stages.py")
PLUGIN = Path(__file__).with_name("count.c")
CORES = ("cortex-a53", "cortex-a72", "cortex-a76")
RUNTIMES = ("tflite-runtime", "ai-edge-litert")
STAGES = ("find", "read", "cue", "sink")
FRAMES = 60
FIXED = ("setarch", "--addr-no-randomize")  # util-linux: objects are hashed by their address
BARE = {"PATH": os.defpath}  # what the emulated program has of this machine's environment
STACK = "0x4000000000"  # where the emulated program's memory begins: addresses, and so counts, are then alike
TOLERANCE = 0.01  # share by which a stage may cost more than in the reference: runs differ by less than a thousandth

DEFINITIONS = {
    "first": "millions of instructions of the demo's first frame, which is searched for new faces as no later one is",
    "mean": "millions of instructions a frame, over the others",
    "p95": "millions of instructions, nearest rank over the others",
    "start": "millions of instructions from the process's begin until the first frame could be taken",
    "sink": "of the log's line; displays cost their own",
    "expected_fps": "clock_ghz x IPC / instructions a frame (all stages, mean), by the lowest and highest IPC: a "
    "forecast for one core without a camera's driver, not a measurement",
}


@dataclass(frozen=True, slots=True)
class Board:
    """A Raspberry Pi's core: `ipc` is the range of instructions a cycle that is assumed for this kind of code.

    Clocks: Raspberry Pi's product briefs. IPC is an assumption, wide on purpose: the A53 starts at most two a cycle,
    in order; the A72 three, the A76 four, out of order (Arm's technical reference manuals); memory takes its share.
    """

    name: str
    core: str
    clock_ghz: float
    ipc: tuple[float, float]


BOARDS = (
    Board("Zero 2 W", "cortex-a53", 1.0, (0.4, 1.0)),
    Board("3B+", "cortex-a53", 1.4, (0.4, 1.0)),
    Board("4", "cortex-a72", 1.5, (0.7, 1.7)),
    Board("5", "cortex-a76", 2.4, (1.1, 2.8)),
)


@dataclass(frozen=True, slots=True)
class Counts:
    """Instructions of a run: `start`, and of each stage one count a frame; `printed` is what stages.py printed."""

    start: int
    stages: Mapping[str, Sequence[int]]
    printed: Mapping[str, Any]


def add_arguments(parser: argparse.ArgumentParser, task: str) -> None:
    """Add what is counted, and --gate."""
    parser.add_argument("--frames", type=int, default=FRAMES, help=f"of the demo; default {FRAMES}")
    parser.add_argument("--core", action="append", choices=CORES, help="several allowed; default all")
    parser.add_argument("--runtime", action="append", choices=RUNTIMES, help="several allowed; default both")
    parser.add_argument(
        "--gate",
        type=Path,
        nargs="?",
        const=REFERENCE,
        help=f"fail where a stage costs more than in this result; default {REFERENCE.relative_to(ROOT)}",
    )


def measure(args: argparse.Namespace) -> Measured:
    """Count every core with every runtime; raises what `count_cores` raises, SettingsInvalid for a wrong option."""
    if args.frames < 2:
        raise SettingsInvalid(f"--frames is {args.frames}; it must be at least 2: the first is counted apart")
    result = count_cores(args.frames, args.core or CORES, args.runtime or RUNTIMES)
    figures = {
        f"whole with {run['runtime']} on {run['core']}, millions": [run["stages"]["whole"]["mean"]]
        for run in result["runs"]
    }
    return Measured({**result, "boards": forecast(result["runs"])}, figures, DEFINITIONS, counted=True)


def describe(report: Mapping[str, Any]) -> str:
    """Lay out the counts, and what boards may make of them."""
    result = report["result"]
    return f"{table([_row(run) for run in result['runs']])}\n\n{table(result['boards'])}"


def finish(args: argparse.Namespace, report: Mapping[str, Any]) -> None:
    """Hold the counts to the reference of --gate."""
    if args.gate:
        hold_counts(report["result"], read_report(args.gate)["result"])
        if not args.json:
            print(f"\nno stage costs over {TOLERANCE:.0%} more than in {args.gate}")


def count_cores(frames: int, cores: Sequence[str], runtimes: Sequence[str]) -> dict[str, Any]:
    """Count every core with every runtime; raises what `count` raises."""
    runs = []
    for runtime in runtimes:
        for core in cores:
            counts = count(frames, core, runtime)
            stages = dict(counts.stages) | {
                "whole": [sum(frame) for frame in zip(*counts.stages.values(), strict=True)]
            }
            printed = dict(counts.printed)
            runs.append(
                {
                    "runtime": runtime,
                    "version": printed["version"],
                    "opencv": printed["opencv"],
                    "core": core,
                    "start": round(counts.start / 1e6, 2),
                    "stages": {name: _summary(values) for name, values in stages.items()},
                }
            )
    return {"frames": frames, "runs": runs}


def count(frames: int, core: str, runtime: str, program: Path = PROGRAM) -> Counts:
    """Run stages.py (or another program that marks as it does) on an emulated core, and count.

    Raises RuntimeMissing without emulator, tree or compiler, BenchFailed when the run fails.
    """
    qemu = shutil.which("qemu-aarch64")  # Debian's static one is built without plugins
    if qemu is None:
        raise RuntimeMissing("no qemu-aarch64 that takes plugins; install it with: sudo apt install qemu-user")
    packages = TREE / "opt" / runtime
    if not (packages / "cv2").is_dir():
        raise RuntimeMissing(f"no {packages} with OpenCV; make it with: ./deploy.sh arm64")
    environment = {
        "PYTHONHOME": TREE / "usr",
        "PYTHONPATH": f"{packages}:{ROOT}",
        "PYTHONHASHSEED": "0",
        "OPENBLAS_NUM_THREADS": "1",  # its threads wait actively, as long as it happens
        "PYTHONPYCACHEPREFIX": ROOT / ".cache" / "arm-bytecode",
    }
    options = [word for name, value in environment.items() for word in ("-E", f"{name}={value}")]
    emulated = [*FIXED, qemu, "-B", STACK, "-cpu", core, *options, "-L", str(TREE)]
    python = str(TREE / "usr" / "bin" / "python3.11")

    def run(*words: str) -> str:
        done = subprocess.run(words, env=BARE, capture_output=True, text=True, check=False)
        if done.returncode:
            said = (done.stderr.strip() or "nothing").splitlines()[-1]
            raise BenchFailed(f"{program.name} on {core} with {runtime} ended with code {done.returncode}: {said}")
        return done.stdout

    run(*emulated, python, str(program), "1")  # compiles what is not compiled yet, as an installation has
    with tempfile.TemporaryDirectory() as folder:
        marks = Path(folder) / "marks"
        printed = run(*emulated, "-plugin", f"{_plugin()},out={marks}", python, str(program), str(frames))
        pairs = [(int(number), int(total)) for number, total in map(str.split, marks.read_text().splitlines())]
    stages: dict[str, list[int]] = {name: [] for name in STAGES}
    names = {number: name for name, number in NUMBERS.items()}
    for (number, before), (_, after) in itertools.pairwise(pairs):
        if names[number] in stages:
            stages[names[number]].append(after - before)
    return Counts(dict(pairs)[NUMBERS[READY]], stages, json.loads(printed.splitlines()[-1]))


def hold_counts(result: Mapping[str, Any], reference: Mapping[str, Any]) -> None:
    """Raise CostGrown, naming each, where a stage or the start costs over TOLERANCE more than in the reference.

    Raises SettingsInvalid where the reference is of other frames, or lacks a run.
    """
    if result["frames"] != reference["frames"]:
        raise SettingsInvalid(f"the reference is of {reference['frames']} frames; count as many: --frames")
    known = {(run["runtime"], run["core"]): run for run in reference["runs"]}
    grown = []
    for run in result["runs"]:
        where = f"{run['runtime']} on {run['core']}"
        before = known.get((run["runtime"], run["core"]))
        if before is None:
            raise SettingsInvalid(f"the reference has no run of {where}; it has {', '.join(map(' on '.join, known))}")
        costs = {name: (values["mean"], before["stages"][name]["mean"]) for name, values in run["stages"].items()}
        costs["start"] = run["start"], before["start"]
        grown += [
            f"{name} with {where} costs {now:.2f} million instructions, {now / then - 1:.1%} more than {then:.2f}"
            for name, (now, then) in costs.items()
            if now > then * (1 + TOLERANCE)
        ]
    if grown:
        raise CostGrown(f"{'; '.join(grown)}; make it cheaper, or take the new counts as reference and say why")


def forecast(runs: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return for each board, by runtime, which frame rates its core's counts make likely; see DEFINITIONS."""
    return [
        {
            "board": board.name,
            "core": board.core,
            "runtime": run["runtime"],
            "clock_ghz": board.clock_ghz,
            "ipc": f"{board.ipc[0]}-{board.ipc[1]}",
            "expected_fps": "{:.0f}-{:.0f}".format(
                *(1000 * board.clock_ghz * ipc / run["stages"]["whole"]["mean"] for ipc in board.ipc)
            ),
        }
        for board in BOARDS
        for run in runs
        if run["core"] == board.core
    ]


def _summary(values: Sequence[int]) -> dict[str, float]:
    later = [value / 1e6 for value in values[1:]]
    numbers = {"first": values[0] / 1e6, "mean": sum(later) / len(later), "p95": percentile(later, 95)}
    return {name: round(number, 4) for name, number in numbers.items()}


def _row(run: Mapping[str, Any]) -> dict[str, str]:
    means = {name: f"{values['mean']:.2f}" for name, values in run["stages"].items()}
    first = run["stages"]["whole"]["first"]
    return {
        "runtime": run["runtime"],
        "core": run["core"],
        **means,
        "first": f"{first:.1f}",
        "start": f"{run['start']:.0f}",
    }


def _plugin() -> Path:
    """Compile count.c once for each of its versions, and return its path."""
    source = PLUGIN.read_bytes()
    plugin = ROOT / ".cache" / f"count-{hashlib.sha256(source).hexdigest()[:12]}.so"
    if not plugin.exists():
        compiler = shutil.which("cc") or shutil.which("gcc")
        if compiler is None:
            raise RuntimeMissing("no C compiler for the emulator's plugin; install it with: sudo apt install gcc")
        plugin.parent.mkdir(exist_ok=True)
        with tempfile.TemporaryDirectory() as folder:
            made = Path(folder) / "count.so"
            done = subprocess.run(
                [compiler, "-O2", "-shared", "-fPIC", "-o", str(made), str(PLUGIN)],
                capture_output=True,
                text=True,
                check=False,
            )
            if done.returncode:
                raise BenchFailed(f"{PLUGIN}: {done.stderr.strip().splitlines()[-1]}; is gcc whole, with libc6-dev?")
            replace_file(plugin, made.read_bytes())
    return plugin
