"""`cuelens-bench all`: the tasks of PLAN in turn, each in a process of its own, peers where clips are given; the page.

Left out are soak, for its length, and the tasks of faces and cue, which need data sets.

PLAN -> `cuelens-bench TASK --out DIR` -> benchmarks.page.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks import page
from benchmarks.page import EMULATED
from benchmarks.report import read_report
from benchmarks.result import progress_bar
from edge.errors import BenchFailed, RuntimeMissing
from edge.files import make_folder

# Seconds that each takes on a machine of two cores, about: for the progress.
PLAN = {"stages": 15, "e2e": 30, "start": 25, "idle": 40, "scale": 35, "peers": 270, "arm": 65, "memory": 600}
COMMAND = (sys.executable, "-m", "benchmarks.bench")
HOST = page.ROOT / ".venv-host" / "bin" / "python"
POLL = 1.0  # seconds between two looks at whether a task has ended


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add where the reports go, and what the peers are measured on."""
    parser.add_argument(
        "--out",
        type=Path,
        required=True,
        help=f"folder for the board's reports; the emulated Arm's go to {EMULATED} beside it, and so do page and plots",
    )
    parser.add_argument("--clips", type=Path, help="folder of clips, for peers; see cuelens-bench peers --help")
    parser.add_argument("--data", type=Path, help="FER2013's CSV, for peers")


def run(args: argparse.Namespace) -> None:
    """Measure all, and make the page; raises BenchFailed at the end, naming each task that failed."""
    out = args.out.resolve()
    peers = [
        word
        for name in ("clips", "data")
        if (path := getattr(args, name))
        for word in (f"--{name}", str(path.resolve()))
    ]
    more = {"peers": peers} if args.clips else {}
    plan = {task: seconds for task, seconds in PLAN.items() if task != "peers" or more}
    if not more:
        print(_line("peers", "left out: no clips; give them with --clips"))
    outcomes = measure_all(plan, out, more)
    outcomes["page"] = make_page(out.parent)
    print(_line("page", outcomes["page"]))
    if failed := [f"{task}: {said}" for task, said in outcomes.items() if said.startswith("failed")]:
        raise BenchFailed(f"{'; '.join(failed)}; the others are in {args.out}")


def measure_all(plan: Mapping[str, int], out: Path, more: Mapping[str, Sequence[str]]) -> dict[str, str]:
    """Run each task of the plan, with its further words, and return what became of it; one that fails ends no other.

    `plan` has the seconds that each is thought to take. Raises SinkUnwritable or DiskFull for the folders.
    """
    outcomes: dict[str, str] = {}
    with progress_bar(sum(plan.values()), "s") as bar:
        before = 0
        for task, seconds in plan.items():
            folder = out.parent / EMULATED if task == "arm" else out
            make_folder(folder)
            bar.set_postfix_str(f"{task}, {len(outcomes) + 1} of {len(plan)}")
            outcomes[task] = _run(task, [*more.get(task, ()), "--out", str(folder)], bar, before, seconds)
            bar.write(_line(task, outcomes[task]))
            before += seconds
    return outcomes


def _line(task: str, outcome: str) -> str:
    return f"{task:<8}{outcome}"


def _run(task: str, words: Sequence[str], bar: Any, before: int, seconds: int) -> str:
    """Run a task to its end, moving the bar on by at most the seconds that it is thought to take; say how it ended."""
    begun = time.monotonic()
    pipe = subprocess.PIPE
    with subprocess.Popen((*COMMAND, task, *words), cwd=page.ROOT, stdout=pipe, stderr=pipe, text=True) as process:
        try:
            while True:
                try:
                    _, said = process.communicate(timeout=POLL)
                    break
                except subprocess.TimeoutExpired:
                    bar.n = before + min(round(time.monotonic() - begun), seconds)
                    bar.refresh()
        except BaseException:
            process.kill()
            raise
    if process.returncode:
        return _why(process.returncode, said)
    report = read_report(Path(words[-1]) / f"{task}.json")
    void = f"; VOID: {'; '.join(report['void'])}" if report["void"] else ""
    return f"done in {time.monotonic() - begun:.0f} s{void}"


def _why(code: int, said: str) -> str:
    reason = (said.strip() or f"ended with code {code}, silent").splitlines()[-1].removeprefix("bench.py: ")
    return f"{'left out' if code == RuntimeMissing.exit_code else 'failed'}: {reason}"


def make_page(reference: Path) -> str:
    """Make the page of all that is in the folder, where matplotlib is: in .venv-host or here; say how that ended."""
    command = (str(HOST) if HOST.exists() else sys.executable, *COMMAND[1:], "page", "--reference", str(reference))
    done = subprocess.run(command, cwd=page.ROOT, capture_output=True, text=True, check=False)
    return _why(done.returncode, done.stderr) if done.returncode else f"in {reference}"
