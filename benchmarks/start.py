"""`cuelens-bench start`: how long until the first cue, and how many instructions, which no busy machine changes.

Every counted step is a process of its own under valgrind that does all before it, too; its cost is the difference.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.report import Measured
from benchmarks.result import progress_bar, table
from edge.errors import BenchFailed, NotRunning, RuntimeMissing, SettingsInvalid
from edge.hardware.board import process_cpu_s
from edge.sources.file import STILL_FRAMES

ROOT = Path(__file__).resolve().parent.parent
LIBRARIES = "import numpy, cv2, edge.system.quiet\nedge.system.quiet.tame_opencv()\n"
IMPORTS = f"{LIBRARIES}import edge.cli, edge.commands.run, edge.runtime.run\n"
IMPORTS += "import edge.vision.model, edge.sources.v4l2, edge.sinks.terminal\n"
NETWORKS = f"{IMPORTS}model = edge.vision.model.ExpressionModel()\n"
FINDER = f"{NETWORKS}from edge.vision.faces import FaceFinder\nFaceFinder(edge.settings.FaceSettings())\n"
CLI = "from edge.cli import main\nmain({words!r})\n"

ROUNDS = 5

DEFINITIONS = {
    "elapsed_s": "seconds from the process's begin to the log's line of the first cue, of a blank picture; its files "
    "are in the system's cache",
    "cpu_s": "CPU seconds of that process until then, in steps of the kernel's clock (10 ms)",
    "instructions_m": "millions of instructions, user space, all threads, as valgrind's cachegrind counts them",
    "interpreter": "Python itself, doing nothing",
    "libraries": "numpy and OpenCV imported",
    "imports": "all that a run with a V4L2 camera and the terminal imports but the TFLite runtime",
    "networks": "the TFLite runtime and the expression network",
    "finder": "the cascade and the verifier",
    "first cue": f"cuelens run on a blank 640x480 picture, as {STILL_FRAMES} frames, to its end; the first of them "
    "gives the first cue",
    "status": "cuelens status, where nothing runs",
}


def steps(picture: Path) -> dict[str, str]:
    """Return the Python program of each step; `picture` is a frame."""
    return {
        "interpreter": "pass",
        "libraries": LIBRARIES,
        "imports": IMPORTS,
        "networks": NETWORKS,
        "finder": FINDER,
        "first cue": CLI.format(words=["run", "--source", f"file:{picture}", "--pace", "fast"]),
        "status": CLI.format(words=["status", "--socket", f"{picture}.none"]),
    }


def count_instructions(program: str) -> int:
    """Return the instructions of a Python program, run a first time uncounted so that all is compiled.

    Raises RuntimeMissing without valgrind, BenchFailed where it fails.
    """
    valgrind = shutil.which("valgrind")
    if valgrind is None:
        raise RuntimeMissing("valgrind is not installed; sudo apt install valgrind")
    counted = (valgrind, "--tool=cachegrind", "--cache-sim=no", "--cachegrind-out-file=/dev/null")
    words = (sys.executable, "-c", program)
    _run(words)
    printed = _run((*counted, *words))
    found = re.search(r"I +refs: +([\d,]+)", printed)
    if found is None:
        raise BenchFailed(f"valgrind counted nothing: {(printed.splitlines() or ['it printed nothing'])[-1]}")
    return int(found[1].replace(",", ""))


def _run(words: Sequence[str]) -> str:
    environment = os.environ | {"PYTHONHASHSEED": "0", "PYTHONDONTWRITEBYTECODE": ""}  # the next start need not compile
    pipe = subprocess.PIPE
    done = subprocess.run(words, cwd=ROOT, env=environment, stdout=pipe, stderr=pipe, text=True, check=False)
    if done.returncode not in (0, NotRunning.exit_code):  # which `status` is to end with
        raise BenchFailed(f"{words[-1]!r} ended with {done.returncode}: {(done.stderr.splitlines() or [''])[-1]}")
    return done.stderr


def time_start(picture: Path) -> tuple[float, float]:
    """Start cuelens on a picture, and return elapsed and CPU seconds until the log's line of its first cue.

    Raises BenchFailed where none comes.
    """
    words = (
        sys.executable,
        "-c",
        CLI.format(words=["run", "--source", f"file:{picture}", "--pace", "fast", "--sink", "log"]),
    )
    pipe = subprocess.PIPE
    with subprocess.Popen(words, cwd=ROOT, stdout=pipe, stderr=subprocess.DEVNULL, text=True) as process:
        try:
            begun = time.perf_counter()
            assert process.stdout is not None
            line = process.stdout.readline()
            elapsed = time.perf_counter() - begun
            cpu_s = process_cpu_s(process.pid)
            process.stdout.read()
        except BaseException:
            process.kill()
            raise
    if not line.startswith("{"):
        raise BenchFailed(f"cuelens run on a picture ended with {process.returncode} and no cue")
    if cpu_s is None:
        raise BenchFailed("the kernel does not report the CPU time of cuelens run")
    return elapsed, cpu_s


def count_steps(picture: Path) -> dict[str, float] | None:
    """Return each step's instructions in millions, those of the steps before it included; None without valgrind."""
    if shutil.which("valgrind") is None:
        return None
    printed = {}
    programs = steps(picture)
    with progress_bar(len(programs), unit="step") as bar:
        for name, program in programs.items():
            printed[name] = round(count_instructions(program) / 1e6, 1)
            bar.update()
    return printed


def add_arguments(parser: argparse.ArgumentParser, task: str) -> None:
    """Add how often, and whether instructions are counted."""
    parser.add_argument("--rounds", type=int, default=ROUNDS, help=f"starts; default {ROUNDS}")
    parser.add_argument("--no-count", action="store_true", help="count no instructions, which takes half a minute")


def measure(args: argparse.Namespace) -> Measured:
    """Start it --rounds times, a first one uncounted, and count a start where valgrind is."""
    import cv2
    import numpy as np

    if args.rounds < 1:
        raise SettingsInvalid(f"--rounds is {args.rounds}; it must be at least 1")
    with tempfile.TemporaryDirectory() as folder:
        picture = Path(folder) / "blank.png"
        cv2.imwrite(str(picture), np.full((480, 640), 100, np.uint8))
        time_start(picture)
        times = [time_start(picture) for _ in range(args.rounds)]
        counts = None if args.no_count else count_steps(picture)
    elapsed, cpu = zip(*times, strict=True)
    result = {
        "elapsed_s": round(statistics.median(elapsed), 3),
        "cpu_s": round(statistics.median(cpu), 3),
        "instructions_m": counts,
    }
    return Measured(result, {"elapsed_s": elapsed, "cpu_s": cpu}, DEFINITIONS)


def describe(report: Mapping[str, Any]) -> str:
    """Return how long a start takes, and lay out its steps."""
    result = report["result"]
    line = f"{result['elapsed_s']:.2f} s until the first cue, {result['cpu_s']:.2f} s of CPU"
    counts = result["instructions_m"]
    if counts is None:
        return f"{line}; instructions were not counted"
    return f"{line}\n\n{table([{'step': name, 'instructions_m': count} for name, count in counts.items()])}"
