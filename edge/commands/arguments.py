"""The command line of `cuelens`: each command with a sentence, what it takes, and an example."""

from __future__ import annotations

import argparse
import math
from pathlib import Path
from typing import TYPE_CHECKING

from edge.commands import dark, pair, preview, read
from edge.diagnostics.status import SERVICE_SOCKET
from edge.settings import SENSITIVITIES
from edge.sinks.table import SINKS
from edge.sources import SOURCES

if TYPE_CHECKING:
    from argparse import ArgumentParser

    Commands = argparse._SubParsersAction[ArgumentParser]

SERVICE_CONFIG = "Settings file (TOML). The default is the service's, if there is one."


def add_commands(parser: ArgumentParser) -> None:
    """Add every command to the parser; the one that was given is in `command`."""
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    parser.epilog = "example: cuelens demo --seconds 5; the documentation is in docs/"
    _add_run(commands)
    _add_pictures(commands)
    _add_replay(commands)
    _add_care(commands)


def _add(commands: Commands, name: str, sentence: str, example: str) -> ArgumentParser:
    """Add a command with its sentence and an example, and --debug."""
    parser = commands.add_parser(name, help=sentence, description=sentence, epilog=f"example: {example}")
    parser.add_argument("--debug", action="store_true", help=argparse.SUPPRESS)
    return parser


def _add_run(commands: Commands) -> None:
    runner = _add(
        commands,
        "run",
        "Show the expression of the person in front of a camera, or in a recording, until it ends or a signal comes.",
        "cuelens run --source v4l2 --sink display --sink web",
    )
    runner.add_argument("--config", type=Path, help="Settings file (TOML). The options here overrule it.")
    runner.add_argument(
        "--source", help=f"Where frames come from, as NAME[:ARGUMENT]: {', '.join(SOURCES)}. The default is picamera."
    )
    runner.add_argument("--rotate", type=int, metavar="DEGREES", help="Turn the picture clockwise: 0, 90, 180 or 270.")
    runner.add_argument("--mirror", action="store_true", default=None, help="Exchange left and right, after turning.")
    demo = _add(
        commands,
        "demo",
        "Show Cuelens at work on a computer-made person, and print how often the cue was true.",
        "cuelens demo --seconds 5",
    )
    demo.add_argument("--seed", type=int, default=1, help="Number that chooses what the person does. The default is 1.")
    demo.add_argument(
        "--open", action="store_true", help="Open a page with the person beside what the wearer sees in a browser."
    )
    for sub in (runner, demo):
        sub.add_argument(
            "--sink",
            action="append",
            help=f"Where the cue goes, as NAME[:ARGUMENT], repeatable: {', '.join(SINKS)}.",
        )
        sub.add_argument("--pace", choices=("live", "fast"), help="Drop late frames (live), or take each frame (fast).")
        sub.add_argument("--model", help="A .tflite file with its contract beside it. The default is the shipped one.")
        sub.add_argument("--threads", type=int, help="Threads of the interpreter. More than 1 is rarely faster.")
        sub.add_argument("--seconds", type=float, help="End after this many seconds.")
        sub.add_argument("--go-on", action="store_true", help="End a pause that an earlier run left.")
        sub.add_argument("--saved", type=Path, help="File for settings that are changed and saved during the run.")
        sub.add_argument("--status", type=Path, metavar="PATH", help="Socket that answers `cuelens status`.")


def _add_pictures(commands: Commands) -> None:
    faces = _add(commands, "faces", "Find the faces in pictures.", "cuelens faces family.jpg --json")
    faces.add_argument("pictures", nargs="+", type=Path, metavar="IMAGE", help="A picture: .jpg, .png, .webp, ...")
    faces.add_argument("--json", action="store_true", help="Print one line of JSON for each picture.")
    faces.add_argument("--config", type=Path, help="Settings file (TOML), of which [faces] is used.")
    faces.add_argument("--read", action="store_true", help="Also read the expressions, as `cuelens read` does.")
    reader = _add(
        commands, "read", "Name the expression of each face in pictures.", "cuelens read holidays/ --out drawn/"
    )
    read.add_arguments(reader)


def _add_replay(commands: Commands) -> None:
    again = _add(
        commands,
        "replay",
        "Decide the cues of a log again, without pixels, and print what differs.",
        "cuelens replay demo.jsonl --sensitivity calm --timeline timeline.svg",
    )
    again.add_argument("log", type=Path, metavar="LOG", help="A file that --sink log:PATH wrote.")
    again.add_argument(
        "--settings", type=Path, help="Settings file (TOML), of which [cue] is used. The default is the log's own."
    )
    again.add_argument(
        "--sensitivity", choices=tuple(SENSITIVITIES), help="Use this instead of the settings of the log."
    )
    again.add_argument("--out", type=Path, help="Write the log with the new cues to this file.")
    again.add_argument("--timeline", type=Path, help="Draw readings, logged and new cues to this .svg file.")
    again.add_argument(
        "--start", type=float, default=0.0, help="Begin the drawing this many seconds after the log's begin."
    )
    again.add_argument(
        "--seconds", type=float, default=math.inf, help="Draw this many seconds. The default is to the end."
    )
    again.add_argument("--json", action="store_true", help="Print the counts as JSON.")


def _add_care(commands: Commands) -> None:
    """Add the commands that look after a device."""
    check = _add(commands, "check", "Examine this device, and print what to do.", "sudo cuelens check")
    check.add_argument("--config", type=Path, help=SERVICE_CONFIG)
    check.add_argument("--json", action="store_true", help="Print one JSON object.")
    status = _add(commands, "status", "Print how the running Cuelens is doing.", "sudo cuelens status --json")
    status.add_argument(
        "--socket", type=Path, default=SERVICE_SOCKET, help="Socket of the run. The default is %(default)s."
    )
    status.add_argument("--json", action="store_true", help="Print one JSON object.")
    needs = _add(commands, "needs", "Print what the service's settings need.", "cuelens needs --json")
    needs.add_argument("--config", type=Path, help=SERVICE_CONFIG)
    needs.add_argument("--json", action="store_true", help="Print one JSON object.")
    report = _add(
        commands,
        "report",
        "Write a file that helps to find a fault, without personal data.",
        "sudo cuelens report --out report.tar.gz",
    )
    report.add_argument(
        "--out", type=Path, default=Path("cuelens-report.tar.gz"), help="File to write. The default is %(default)s."
    )
    report.add_argument("--config", type=Path, help=SERVICE_CONFIG)
    dark.add_arguments(
        _add(commands, "dark", "Put out the camera light or glasses that a killed run left on.", "sudo cuelens dark")
    )
    pair.add_arguments(_add(commands, "pair", "Find glasses, bond with them, and remember them.", "sudo cuelens pair"))
    preview.add_arguments(
        _add(commands, "preview", "Draw what glasses show of each cue.", "cuelens preview halo --out halo.png")
    )
    safe = _add(
        commands, "safe", "Show on the displays that the service stopped, and why.", "cuelens safe --seconds 10"
    )
    safe.add_argument("--config", type=Path, help=SERVICE_CONFIG)
    safe.add_argument("--seconds", type=float, help="End after this many seconds.")
