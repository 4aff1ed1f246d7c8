"""The machine that is examined: files below a root, commands, and trials that may hang, each with a deadline."""

from __future__ import annotations

import contextlib
import grp
import importlib.util
import json
import os
import pwd
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from edge.hardware import board

COMMAND_DEADLINE = 5.0  # seconds
TRIAL_DEADLINE = 40.0  # seconds: a Zero 2 W reads OpenCV and the runtime from a cold card in ten
UNIT = "cuelens.service"

CheckState = Literal["ok", "note", "do"]


@dataclass(frozen=True, slots=True)
class CheckLine:
    """What was found: `ok`, `note` (worth knowing, and no reason to act), or `do`, with what is to be done."""

    name: str
    state: CheckState
    says: str
    todo: str = ""
    cause: str = ""  # the identifier of what failed, where it is one of edge.errors


def run_command(*words: str) -> str | None:
    """Return what a command prints; None where it is not there, fails, or takes longer than COMMAND_DEADLINE."""
    code, out, _ = run_within(COMMAND_DEADLINE, *words)
    return out if code == 0 else None


def run_trial(name: str, *arguments: str) -> dict[str, Any]:
    """Run a trial of `trials` in a process of its own and return its answer, `error` where it fails."""
    # -P: what lies in the folder that root happens to stand in is not imported.
    code, out, err = run_within(
        TRIAL_DEADLINE, sys.executable, "-Pm", "edge.diagnostics.checks.trials", name, *arguments
    )
    if code is None:
        return {"error": f"no answer within {TRIAL_DEADLINE:.0f} s"}
    if code < 0:
        return {"error": f"died by {signal.Signals(-code).name}"}
    try:
        facts: dict[str, Any] = json.loads(out.splitlines()[-1])
    except (ValueError, IndexError):
        return {"error": (err.strip() or f"ended with {code} and printed nothing").splitlines()[-1]}
    return facts


def run_within(seconds: float, *words: str) -> tuple[int | None, str, str]:
    """Run a command to its exit code, output and errors; the code is None where it was killed at the deadline.

    One that cannot be started has 127, as in a shell.
    """
    nothing, pipe = subprocess.DEVNULL, subprocess.PIPE
    environment = os.environ | {"LC_ALL": "C.UTF-8"}
    try:
        process = subprocess.Popen(
            words, stdin=nothing, stdout=pipe, stderr=pipe, env=environment, start_new_session=True
        )
    except OSError as error:
        return 127, "", str(error)
    try:
        out, err = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        with contextlib.suppress(subprocess.TimeoutExpired):  # a process in a driver's hands outlives SIGKILL
            process.communicate(timeout=1)
        return None, "", ""
    return process.returncode, out.decode(errors="replace"), err.decode(errors="replace")


def has_module(name: str) -> bool:
    """Return whether this Python has a module, without running it."""
    try:
        return importlib.util.find_spec(name) is not None
    except (ImportError, ValueError):
        return False


def free_bytes(path: Path) -> int | None:
    """Return the bytes that are free for anybody on the file system of `path`; None where that is unknown."""
    try:
        found = os.statvfs(path)
    except OSError:
        return None
    return found.f_bavail * found.f_frsize


def may_use(path: Path) -> bool:
    """Return whether this process may read and write `path`."""
    return os.access(path, os.R_OK | os.W_OK)


def own_user() -> tuple[str, frozenset[str]]:
    """Return the name of the user who asks, and of the groups that this process has."""
    with contextlib.suppress(KeyError):
        names = set()
        for number in {os.getegid(), *os.getgroups()}:
            with contextlib.suppress(KeyError):
                names.add(grp.getgrgid(number).gr_name)
        return pwd.getpwuid(os.geteuid()).pw_name, frozenset(names)
    return str(os.geteuid()), frozenset()


@dataclass(slots=True)
class Machine:
    """All that a check may look at; tests put a folder, tables and functions in its place."""

    root: Path = Path("/")
    command: Callable[..., str | None] = run_command
    trial: Callable[..., dict[str, Any]] = run_trial
    has_module: Callable[[str], bool] = has_module
    free_bytes: Callable[[Path], int | None] = free_bytes
    may_use: Callable[[Path], bool] = may_use
    architecture: str = field(default_factory=lambda: os.uname().machine)
    now: float = field(default_factory=time.time)
    user: tuple[str, frozenset[str]] = field(default_factory=own_user)
    status: Mapping[str, Any] | None = None  # of the running Cuelens, where it answers
    _unit: dict[str, str] | None = None

    def path(self, name: str) -> Path:
        """Return where an absolute path lies below the root."""
        return self.root / name.lstrip("/")

    def text(self, name: str) -> str | None:
        """Return a file's text without what pads it; None where it cannot be read or is empty."""
        return board.read_text(name, self.root)

    def paths(self, folder: str, pattern: str) -> list[Path]:
        """Return the paths in a folder that match, in order of length, then name: video2 before video10."""
        return sorted(self.path(folder).glob(pattern), key=lambda path: (len(path.name), path.name))

    @property
    def board(self) -> str | None:
        """The Raspberry Pi's or other board's own name for itself; None for a PC."""
        return board.board_model(self.root)

    @property
    def is_raspberry_pi(self) -> bool:
        """Whether the device tree names a Raspberry Pi."""
        return "Raspberry Pi" in (self.board or "")

    @property
    def unit(self) -> Mapping[str, str]:
        """What systemd says of the service; empty where it says nothing."""
        if self._unit is None:
            keys = (
                "LoadState,ActiveState,SubState,Result,NRestarts,UnitFileState,User,DynamicUser,SupplementaryGroups,"
                "RestrictAddressFamilies,WantedBy"
            )
            facts = self.command("systemctl", "show", UNIT, f"--property={keys}") or ""
            self._unit = dict(line.split("=", 1) for line in facts.splitlines() if "=" in line)
        return self._unit

    @property
    def installed(self) -> bool:
        """Whether systemd knows the service."""
        return self.unit.get("LoadState") == "loaded"

    @property
    def running(self) -> bool:
        """Whether a Cuelens answers, or the service is active."""
        return self.status is not None or self.unit.get("ActiveState") == "active"
