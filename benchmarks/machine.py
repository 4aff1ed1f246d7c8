"""The machine and software that a measurement was made on; what cannot be read is None, never guessed."""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
from importlib.metadata import version
from pathlib import Path

from edge.health import temperature_c

_CPUFREQ = Path("/sys/devices/system/cpu/cpu0/cpufreq")
_BOARD = Path("/proc/device-tree/model")
_CHECKOUT = Path(__file__).resolve().parent.parent


def machine() -> dict[str, object]:
    """Return processor, cores, board, frequency governor and the load averages of 1, 5 and 15 minutes."""
    return {
        "cpu": _cpu(),
        "architecture": platform.machine(),
        "cores": os.cpu_count() or 1,
        "board": _text(_BOARD),
        "governor": _text(_CPUFREQ / "scaling_governor"),
        "load_average": [round(load, 2) for load in os.getloadavg()],
    }


def state() -> dict[str, object]:
    """Return what changes while measuring: degrees Celsius, MHz, and vcgencmd's throttling bits in hex."""
    kilohertz = _text(_CPUFREQ / "scaling_cur_freq")
    throttled = _said("vcgencmd", "get_throttled") if shutil.which("vcgencmd") else None
    return {
        "temperature_c": temperature_c(),
        "frequency_mhz": int(kilohertz) / 1000 if kilohertz and kilohertz.isdecimal() else None,
        "throttled": throttled.partition("=")[2] or None if throttled else None,
    }


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


def _cpu() -> str:
    told = _text(Path("/proc/cpuinfo")) or ""
    for key in ("model name", "CPU part"):  # Arm's kernel tells numbers only: 0xd08 is a Cortex-A72
        if found := re.search(rf"^{key}\s*:\s*(.+)$", told, re.MULTILINE):
            return found[1] if key == "model name" else f"{key} {found[1]}"
    return platform.machine()


def _text(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip("\0\n ") or None
    except OSError:
        return None


def _said(*words: str) -> str | None:
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None if done.returncode == 0 else None
