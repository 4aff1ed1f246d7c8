"""`cuelens check`: what is right with this device, and what to do about the rest; each look has a deadline."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

from edge.diagnostics.checks.board import (
    check_board,
    check_clock,
    check_disk,
    check_heat,
    check_memory,
    check_throttling,
)
from edge.diagnostics.checks.camera import check_camera, check_camera_memory, check_picture
from edge.diagnostics.checks.machine import TRIAL_DEADLINE, CheckLine, Machine
from edge.diagnostics.checks.network import check_faces, check_network
from edge.diagnostics.checks.outputs import check_pins, check_sinks
from edge.diagnostics.checks.service import check_groups, check_release, check_unit, read_settings_file
from edge.errors import CuelensError
from edge.settings import Settings

Check = Callable[[Machine, Settings], Iterator[CheckLine]]

DEADLINE = TRIAL_DEADLINE + 10  # seconds for one look: a file of a driver that hangs is left behind
CHECKS: dict[str, Check] = {
    "board": check_board,
    "groups": check_groups,
    "camera": check_camera,
    "camera memory": check_camera_memory,
    "picture": check_picture,
    "network": check_network,
    "faces": check_faces,
    "sinks": check_sinks,
    "pins": check_pins,
    "disk": check_disk,
    "memory": check_memory,
    "temperature": check_heat,
    "throttling": check_throttling,
    "clock": check_clock,
    "service": check_unit,
    "release": check_release,
}


def examine(machine: Machine, config: Path | None = None) -> Iterator[CheckLine]:
    """Yield a line for everything that was looked at, with the settings of `config` or of the service."""
    settings, line = read_settings_file(machine, config)
    yield line
    for name, check in CHECKS.items():
        yield from _within(DEADLINE, name, check, machine, settings)


def _within(seconds: float, name: str, check: Check, machine: Machine, settings: Settings) -> list[CheckLine]:
    """Return a check's lines; one that does not end in time, or breaks, is a line itself."""
    lines: list[CheckLine] = []
    ended = threading.Event()

    def look() -> None:
        try:
            lines.extend(check(machine, settings))
        except Exception as error:  # no fault of ours may hide what the others find
            says = f"this check broke: {type(error).__name__}: {error}"
            todo = "a fault of ours: report it with cuelens report"
            lines.append(CheckLine(name, "do", says, todo, CuelensError.identify()))
        finally:
            ended.set()

    threading.Thread(target=look, name=f"check {name}", daemon=True).start()
    if ended.wait(seconds):
        return lines
    return [
        CheckLine(name, "do", f"no answer within {seconds:.0f} s: a driver hangs", "power off and on, then check again")
    ]


def describe(line: CheckLine) -> list[str]:
    """Return a line for a person; what is to be done stands below what was found."""
    cause = f" [{line.cause}]" if line.cause else ""
    return [f"{line.state:4}  {line.name:13}  {line.says}{cause}", *([f"{'':21}-> {line.todo}"] if line.todo else [])]
