"""`cuelens-bench`: one task after the other measures the device's loop, with the machine beside every number.

task -> benchmarks.report -> lines for a person, JSON on standard output, or a file in a folder.
"""

from __future__ import annotations

import argparse
import json
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, cast

from benchmarks.machine import Surroundings
from benchmarks.report import Task, describe_provenance, make_report, write_report
from edge.errors import CuelensError
from edge.files import make_folder
from edge.system.program import command

TASKS = {
    "stages": ("benchmarks.stages", "Measure what a frame costs, stage by stage."),
    "e2e": ("benchmarks.live", "Measure latency from capture to shown, jitter, frames per second and drops."),
    "start": ("benchmarks.start", "Measure the time from the process's start to the first cue."),
    "scale": (
        "benchmarks.scale",
        "Measure by frame size, faces, threads, runtime and delegate, and recommend threads.",
    ),
    "memory": ("benchmarks.live", "Measure memory over ten minutes, and its slope."),
    "idle": ("benchmarks.live", "Measure the CPU with nobody there, beside somebody."),
    "soak": ("benchmarks.live", "Run for half an hour, and fail where memory, threads or descriptors grow."),
    "peers": ("benchmarks.peers.turns", "Measure Cuelens beside what others use, on the same clips in turns."),
    "arm": ("benchmarks.arm.counts", "Count instructions on an emulated Arm, and forecast frames per second by board."),
    "faces turned": ("benchmarks.faces", "Turn frames with a known upright face all the way round, and find it."),
    "faces clips": ("benchmarks.faces", "Find faces in every frame of clips: rate, id switches, false faces."),
    "faces tracks": ("benchmarks.faces", "Judge the boxes of films by another detector's: on the face, or off it."),
    "faces light": ("benchmarks.faces", "Find faces in clips with less light, or lit from behind."),
    "faces stills": ("benchmarks.faces", "Look for faces in pictures without one: what fires."),
    "faces cost": ("benchmarks.faces", "Measure CPU ms a frame, by frame size and by number of faces."),
}
HOST_TASKS = {  # which need lab/; a device is sent the benchmarks alone
    "cue streams": ("benchmarks.cue", "Play made-up streams: changes on noise, onset, end."),
    "cue sequences": ("benchmarks.cue", "Play films of a data set's faces: coverage, and what is right of it."),
    "cue clips": ("benchmarks.cue", "Watch clips: changes a minute and what is right, raw label and cue."),
    "cue people": ("benchmarks.cue", "Watch pictures by person: with each one's own neutral, and without."),
    "cue tune": ("benchmarks.cue", "Choose the settings of each sensitivity on clips, by person."),
    "cue blocked": ("benchmarks.cue", "Block a sink: frames a second without and with it."),
}
GROUPS = {
    "faces": "Measure how well faces are found and at what cost, beside plain Haar.",
    "cue": "Measure how steady and how right the cue is, beside the raw label, and tune its settings.",
}
COMMANDS = {
    "compare": (
        "benchmarks.compare",
        "Compare two reports by ratios with intervals, and fail where a figure got worse.",
    ),
}
HOST_COMMANDS = {
    "all": ("benchmarks.everything", "Run each task but soak, faces and cue, one after the other, then page."),
    "page": (
        "benchmarks.page",
        "Make the table of docs/benchmarks.md, the plots and the page of the repository's reports.",
    ),
}


@command
def main(parser: argparse.ArgumentParser, argv: list[str] | None = None) -> None:
    """Measure what the device's loop costs on this machine."""
    parser.epilog = "example: cuelens-bench stages --source demo --frames 60 --rounds 2"
    tasks, commands = (TASKS | HOST_TASKS, COMMANDS | HOST_COMMANDS) if find_spec("lab") else (TASKS, COMMANDS)
    parsers = {"": parser.add_subparsers(dest="task", required=True, metavar="TASK")}
    for name, (module, about) in tasks.items():
        group, _, part = name.rpartition(" ")
        if group not in parsers:
            of_group = parsers[""].add_parser(group, help=GROUPS[group], description=GROUPS[group])
            parsers[group] = of_group.add_subparsers(required=True, metavar="TASK")
        sub = parsers[group].add_parser(part, help=about, description=about)
        sub.set_defaults(task=name)
        cast(Task, import_module(module)).add_arguments(sub, name)
        sub.add_argument("--json", action="store_true", help="Print one JSON object.")
        sub.add_argument("--out", type=Path, help=f"Folder for {part}.json, and for pictures that go with it.")
        sub.add_argument("--debug", action="store_true", help=argparse.SUPPRESS)
    for name, (module, about) in commands.items():
        sub = parsers[""].add_parser(name, help=about, description=about)
        import_module(module).add_arguments(sub)
        sub.add_argument("--debug", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args(argv)
    if args.task in commands:
        import_module(commands[args.task][0]).run(args)
        return
    if args.out is not None:
        make_folder(args.out)
    task = cast(Task, import_module(tasks[args.task][0]))
    report = run(task, args)
    if args.out:
        write_report(args.out / f"{args.task.rpartition(' ')[2]}.json", report)
    finish = getattr(task, "finish", lambda *_: None)
    if not args.json:
        print(f"{task.describe(report)}\n\n{describe_provenance(report)}")
        finish(args, report)
        return
    try:
        finish(args, report)
    except CuelensError as error:
        print(json.dumps({**report, **error.as_values()}, indent=1))
        error.in_json = True
        raise
    print(json.dumps(report, indent=1))


def run(task: Task, args: argparse.Namespace) -> dict[str, Any]:
    """Measure, and return the report."""
    with Surroundings() as surroundings:
        measured = task.measure(args)
    return make_report(args.task, measured, surroundings)


if __name__ == "__main__":
    main()
