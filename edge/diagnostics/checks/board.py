"""The board: what it is, and its disk, memory, heat, power and clock."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator

from edge.diagnostics.checks.machine import CheckLine, Machine
from edge.hardware import board
from edge.hardware.board import THROTTLING
from edge.needs import from_system
from edge.settings import Settings
from edge.system.systemd import STATE_FOLDER

LEAST_DISK_MB = 100.0  # a log of hours, a journal that is not in RAM
LEAST_MEMORY_MB = 150.0  # the budget of a run
SMALL_BOARD_MB = 1000.0
WARM_C, HOT_C = 70.0, 80.0  # from 80 degrees on the firmware slows a Raspberry Pi down, from 85 hard
FOLDERS = ("/", str(STATE_FOLDER))
FIRST_YEAR = 2026  # of Cuelens: an earlier clock is wrong

SINCE = 16  # bits by which those since the start are higher
_POWER = "use the power supply made for this board, and a short cable"
_HEAT = "give it air or a heat sink"


def check_board(machine: Machine, settings: Settings) -> Iterator[CheckLine]:
    """Yield what the board and its system are."""
    says = system_name(machine)
    if machine.architecture in ("aarch64", "x86_64"):
        yield CheckLine("board", "ok", says)
    else:
        yield CheckLine("board", "do", says, "install a 64-bit system: TFLite is for aarch64 and x86_64")


def system_name(machine: Machine) -> str:
    """Return board, architecture and system in words."""
    name = machine.board or board.product_name(machine.root) or "an unknown board"
    release = re.search(r'^PRETTY_NAME="?([^"\n]+)', machine.text("/etc/os-release") or "", re.MULTILINE)
    return f"{name}, {machine.architecture}, {release[1] if release else 'an unknown system'}"


def check_disk(machine: Machine, settings: Settings) -> Iterator[CheckLine]:
    """Look for free space, and say where the root file system keeps nothing."""
    kind, options = board.root_mount(machine.root)
    free = {name: machine.free_bytes(path) for name in FOLDERS if (path := machine.path(name)).is_dir()}
    low = [
        f"{count / 1e6:.0f} MB free in {name}" for name, count in free.items() if count and count < LEAST_DISK_MB * 1e6
    ]
    full = [f"nothing free in {name}" for name, count in free.items() if count == 0]
    if low or full:
        todo = "free some: sudo apt clean; sudo journalctl --vacuum-size=20M"
        yield CheckLine("disk", "do", ", ".join(full + low), todo)
        return
    kept = min((count for count in free.values() if count is not None), default=None)
    says = f"{kept / 1e9:.1f} GB free" if kept is not None else "the free space is unknown"
    if kind == "overlay":
        yield CheckLine("disk", "note", f"{says}; the root is an overlay: what is changed is gone at the next start")
    elif "ro" in options:
        yield CheckLine("disk", "note", f"{says}; the root is read-only")
    else:
        yield CheckLine("disk", "ok", says)


def check_memory(machine: Machine, settings: Settings) -> Iterator[CheckLine]:
    """Look whether a run has room; of a small board, whether others can give way to it."""
    facts = board.memory_kib(machine.root)
    if "MemTotal" not in facts:
        yield CheckLine("memory", "note", "the kernel does not report it")
        return
    total, available = (facts.get(key, 0) * 1024 / 1e6 for key in ("MemTotal", "MemAvailable"))
    swaps = board.swaps(machine.root)
    swap = " and ".join("zram" if "zram" in name else "a swap file" for name in swaps) or "no swap"
    says = f"{available:.0f} of {total:.0f} MB available, {swap}"
    if available < LEAST_MEMORY_MB and not machine.running:
        yield CheckLine(
            "memory",
            "do",
            says,
            f"end what you do not need, or use the Lite system: a run takes {LEAST_MEMORY_MB:.0f} MB",
        )
    elif total < SMALL_BOARD_MB and not swaps:
        yield CheckLine(
            "memory", "note", f"{says}: an update beside a run may need it ({from_system('systemd-zram-generator')})"
        )
    else:
        yield CheckLine("memory", "ok", says)


def check_heat(machine: Machine, settings: Settings) -> Iterator[CheckLine]:
    """Look at the processor's temperature."""
    degrees_c = board.temperature_c(machine.root)
    if degrees_c is None:
        yield CheckLine("temperature", "note", "the board does not report it")
        return
    says = f"{degrees_c:.0f} degrees Celsius"
    if degrees_c >= HOT_C:
        yield CheckLine("temperature", "do", f"{says}: it is slowed down from {HOT_C:.0f} on", _HEAT)
    elif degrees_c >= WARM_C:
        yield CheckLine("temperature", "note", f"{says}: it is slowed down from {HOT_C:.0f} on")
    else:
        yield CheckLine("temperature", "ok", says)


def check_throttling(machine: Machine, settings: Settings) -> Iterator[CheckLine]:
    """Decode what the Raspberry Pi's firmware reports of power and heat, now and since the start."""
    if not machine.is_raspberry_pi:
        yield CheckLine("throttling", "ok", "not a Raspberry Pi: nothing to report")
        return
    bits, source = _throttling_bits(machine)
    if bits is None:
        yield CheckLine(
            "throttling", "note", "neither vcgencmd (which needs the group video or sudo) nor the kernel reports it"
        )
        return
    now = [name for bit, name in THROTTLING.items() if bits >> bit & 1]
    before = [name for bit, name in THROTTLING.items() if bits >> (bit + SINCE) & 1 and name not in now]
    facts = [f"{', '.join(now)} now"] if now else []
    facts += [f"{', '.join(before)} since the start"] if before else []
    says = f"{'; '.join(facts) or 'none, now or since the start'} (0x{bits:x}, {source})"
    if not now and not before:
        yield CheckLine("throttling", "ok", says)
    elif "under-voltage" in now + before:
        yield CheckLine("throttling", "do", says, _POWER)
    elif now:
        yield CheckLine("throttling", "do", says, _HEAT)
    else:
        yield CheckLine("throttling", "note", says)


def _throttling_bits(machine: Machine) -> tuple[int | None, str]:
    facts = re.search(r"throttled=0x([0-9a-fA-F]+)", machine.command("vcgencmd", "get_throttled") or "")
    if facts:
        return int(facts[1], 16), "vcgencmd"
    bits = board.throttled(machine.root)
    return (int(bits, 16), "the kernel") if bits else (None, "")


def check_clock(machine: Machine, settings: Settings) -> Iterator[CheckLine]:
    """Yield where the clock is wrong: nothing here runs by it, but the journal's times are its."""
    year = time.gmtime(machine.now).tm_year
    synchronised = machine.command("timedatectl", "show", "--property=NTPSynchronized", "--value")
    if year < FIRST_YEAR:
        yield CheckLine(
            "clock", "note", f"it says {year}; Cuelens does not run by it, but the journal's times are wrong"
        )
    elif (synchronised or "").strip() == "no":
        yield CheckLine("clock", "note", "not set by a network; Cuelens does not run by it")
    else:
        yield CheckLine("clock", "ok", f"it says {time.strftime('%Y-%m-%d', time.gmtime(machine.now))}")
