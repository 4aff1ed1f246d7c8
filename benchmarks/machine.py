"""The machine and software that a measurement was made on; what cannot be read is None, never guessed."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import time
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from types import TracebackType
from typing import Any

from benchmarks.power import BoardMeter, find_sensor
from edge.hardware import board

SYSTEM = board.ROOT
_CHECKOUT = Path(__file__).resolve().parent.parent


# Bits of the Raspberry Pi's firmware: undervoltage, capped clock, throttled, warm; now, and since the boot.
THROTTLED_NOW, THROTTLED_SINCE = 0xF, 0xF0000
MOST_OTHERS = 0.15  # of one core: what a system does that does nothing else


def machine() -> dict[str, object]:
    """Return processor, cores, memory in MB of 10^6 bytes, and board."""
    return {
        "cpu": board.processor_name() or platform.machine(),
        "architecture": platform.machine(),
        "cores": os.cpu_count() or 1,
        "memory_mb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e6),
        "board": board.board_model(),
    }


def state() -> dict[str, object]:
    """Return what changes while measuring: governor, MHz, degrees Celsius, throttling bits in hex, load average."""
    answer = _said("vcgencmd", "get_throttled") if shutil.which("vcgencmd") else None
    return {
        "governor": board.governor(),
        "frequency_mhz": board.frequency_mhz(),
        "temperature_c": board.temperature_c(),
        "throttled": board.throttled() or (answer.partition("=")[2] or None if answer else None),
        "load_average": round(os.getloadavg()[0], 2),
    }


class Surroundings:
    """What was around a measurement, by `with`: the machine before and after, what others took of it, its power."""

    def __enter__(self) -> Surroundings:
        self.machine, self.before = machine(), state()  # before our own work warms the machine up
        self._begun, self._taken = time.monotonic(), _others_s()
        self._meter = BoardMeter(find_sensor(), board.throttled)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._meter.end()
        elapsed, taken = time.monotonic() - self._begun, _others_s()
        if taken is None or self._taken is None:
            self.others = None
        else:  # the kernel counts in ticks: of an idle machine that may come to less than nothing
            self.others = max(0.0, round((taken - self._taken) / elapsed, 3))
        self.after = state()

    def provenance(self) -> dict[str, Any]:
        """Return it as a report has it."""
        return {
            "machine": self.machine,
            "before": self.before,
            "after": self.after,
            "others": self.others,
            "throttled_meanwhile": self._meter.throttled,
            "power": self._meter.power,
            "software": software(),
        }


def voids(provenance: Mapping[str, Any]) -> list[str]:
    """Return why a measurement cannot be trusted: throttled, or beside another load; empty where it can."""
    answer = provenance["before"]["throttled"], provenance["throttled_meanwhile"], provenance["after"]["throttled"]
    before, meanwhile, after = (int(bits or "0", 16) for bits in answer)
    bits = (before | meanwhile | after) & THROTTLED_NOW | (after & ~before) & THROTTLED_SINCE
    reasons = [f"the board was throttled, or its voltage low: {bits:#x}"] if bits else []
    if (others := provenance["others"]) is not None and others > MOST_OTHERS:
        reasons.append(f"other programs, or the host of this machine, took {others:.2f} of a core")
    return reasons


def _others_s() -> float | None:
    """Return the CPU seconds that all but us have taken since the boot; None where the kernel does not say."""
    busy = board.busy_s(SYSTEM)
    return None if busy is None else busy - sum(os.times()[:4])


def software() -> dict[str, object]:
    """Return the versions of system and libraries, and the commit of the checkout, `-dirty` where it was changed."""
    import cv2

    try:
        system = platform.freedesktop_os_release()["PRETTY_NAME"]
    except (OSError, KeyError):
        system = platform.system()
    git = shutil.which("git") if (_CHECKOUT / ".git").exists() else None
    describe = ("describe", "--always", "--dirty", "--abbrev=40", "--exclude=*")
    return {
        "os": system,
        "kernel": platform.release(),
        "python": platform.python_version(),
        "opencv": cv2.__version__,
        "numpy": version("numpy"),
        "commit": _said(git, "-C", str(_CHECKOUT), *describe) if git else None,
    }


def _said(*words: str) -> str | None:
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None if done.returncode == 0 else None
