"""`python -m benchmarks.start`: what a start costs until the first cue, in instructions, which no busy machine changes.

Every step is a process of its own under valgrind that does all before it, too; what a step costs is the difference.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks.result import make_folder, table, write_result
from edge.command import command
from edge.errors import CuelensError, NotRunning, RuntimeMissing

ROOT = Path(__file__).resolve().parent.parent
LIBRARIES = "import numpy, cv2, edge.quiet\nedge.quiet.tame_opencv()\n"
IMPORTS = f"{LIBRARIES}import edge.cli, edge.loop, edge.model, edge.sources.v4l2, edge.sinks.terminal\n"
NETWORKS = f"{IMPORTS}model = edge.model.ExpressionModel()\n"
FINDER = f"{NETWORKS}from edge.faces import FaceFinder\nFaceFinder(edge.config.FaceSettings())\n"
CLI = "from edge.cli import main\nmain({words!r})\n"

DEFINITIONS = {
    "instructions_m": "millions of instructions, user space, all threads, as valgrind's cachegrind counts them",
    "interpreter": "Python itself, doing nothing",
    "libraries": "numpy and OpenCV imported",
    "imports": "all that a run with a V4L2 camera and the terminal imports but the TFLite runtime",
    "networks": "the TFLite runtime and the expression network",
    "finder": "the cascade and the verifier",
    "first cue": "cuelens run on a blank 640x480 picture: one frame, one cue, and the end",
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

    Raises RuntimeMissing without valgrind, CuelensError where it fails.
    """
    valgrind = shutil.which("valgrind")
    if valgrind is None:
        raise RuntimeMissing("valgrind is not installed; sudo apt install valgrind")
    counted = (valgrind, "--tool=cachegrind", "--cache-sim=no", "--cachegrind-out-file=/dev/null")
    words = (sys.executable, "-c", program)
    _run(words)
    told = _run((*counted, *words))
    found = re.search(r"I +refs: +([\d,]+)", told)
    if found is None:
        raise CuelensError(f"valgrind counted nothing: {(told.splitlines() or ['it said nothing'])[-1]}")
    return int(found[1].replace(",", ""))


def _run(words: Sequence[str]) -> str:
    environment = os.environ | {"PYTHONHASHSEED": "0", "PYTHONDONTWRITEBYTECODE": ""}  # the next start need not compile
    pipe = subprocess.PIPE
    done = subprocess.run(words, cwd=ROOT, env=environment, stdout=pipe, stderr=pipe, text=True, check=False)
    if done.returncode not in (0, NotRunning.exit_code):  # which `status` is to end with
        raise CuelensError(f"{words[-1]!r} ended with {done.returncode}: {(done.stderr.splitlines() or [''])[-1]}")
    return done.stderr


def measure() -> Iterator[dict[str, Any]]:
    """Yield each step with its instructions in millions, those of the steps before it included."""
    import cv2
    import numpy as np

    with tempfile.TemporaryDirectory() as folder:
        picture = Path(folder) / "blank.png"
        cv2.imwrite(str(picture), np.full((480, 640), 100, np.uint8))
        for name, program in steps(picture).items():
            yield {"step": name, "instructions_m": round(count_instructions(program) / 1e6, 1)}


@command
def main(parser: argparse.ArgumentParser, argv: list[str] | None = None) -> None:
    """Count the instructions of a start, until the first cue."""
    parser.add_argument("--out", type=Path, help="folder for start.json")
    args = parser.parse_args(argv)
    make_folder(args.out)
    rows = []
    for row in measure():
        rows.append(row)
        if sys.stderr.isatty():
            print(f"{row['step']}: {row['instructions_m']} million", file=sys.stderr)
    print(table(rows))
    if args.out:
        counts = {row["step"]: row["instructions_m"] for row in rows}
        write_result(args.out / "start.json", {"instructions_m": counts}, DEFINITIONS)


if __name__ == "__main__":
    main()
