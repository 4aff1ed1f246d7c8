"""Whether the release that starts works: the service runs, answers, and has seen a frame through."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import NamedTuple

from deploy.device.programs import ask, ask_apart, base, say, show

UNIT = "cuelens.service"
CRASHES = 3  # restarts by then after which nobody need wait any longer
PAUSE = 0.5  # seconds between two looks


class Clock(NamedTuple):
    """The time that waiting is counted on, in seconds, and the wait."""

    now: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep


def restart() -> None:
    """Stop the service, and start what `current` names."""
    ask("systemctl", "daemon-reload")
    ask("systemctl", "stop", UNIT)  # waited for: the old process must not be taken for the new one
    ask("systemctl", "reset-failed", UNIT)
    ask("systemctl", "start", "--no-block", UNIT)  # whether it works is seen then


def state() -> str:
    """What systemd says of the service: active, failed, ..."""
    return ask("systemctl", "is-active", UNIT)[1].strip()


def complaint(version: str) -> str:
    """What is missing for a release to work, empty where it works."""
    if (seen := state()) != "active":
        return f"it is {seen}"
    # A warning on stderr is no part of the JSON.
    code, output, errors = ask_apart(base() / "current" / "venv" / "bin" / "cuelens", "status", "--json")
    last = errors.strip().rpartition("\n")[2]
    return f"it does not answer ({last})" if code else judge(version, output)


def judge(version: str, output: str) -> str:
    """What is missing by the status that a release answers with, empty where it works."""
    try:
        status = json.loads(output)
        found, paused = status.get("version"), status.get("paused")
    except (ValueError, AttributeError) as error:
        return f"it does not answer ({error})"
    if found != version:
        return f"{found} answers in its place"
    needed = {"frames": "frame", "inferences": "inference", "watchdog": "word to the watchdog"}
    missing = [words for name, words in needed.items() if not status.get(name) and not (paused and name == "frames")]
    return f"no {' and no '.join(missing)} yet" if missing else ""


def wait_for(version: str, deadline: int, clock: Clock) -> str:
    """Wait until a release works, keeps dying, or `deadline` seconds are over; returns why it does not work, if so."""
    end = clock.now() + deadline
    while missing := complaint(version):
        restarts = ask("systemctl", "show", UNIT, "--property=NRestarts", "--value")[1].strip()
        if restarts.isdecimal() and int(restarts) >= CRASHES:
            return f"it died {restarts} times"
        if state() == "failed" or clock.now() >= end:
            return missing
        clock.sleep(PAUSE)
    return ""


def show_log() -> None:
    """Print what the service said last."""
    say(f"the last words of {UNIT}:")
    words = ("journalctl", f"--unit={UNIT}", "--boot", "--lines=12", "--no-pager", "--output=cat")
    show(ask(*words)[1])
