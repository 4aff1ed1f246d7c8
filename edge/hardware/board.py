"""The kernel's facts on the board and on this process: every read of /proc and /sys, for run, checks and benchmarks.

`root` is where the file system begins, so that tests can make up boards. What cannot be read is None, never guessed.
"""

from __future__ import annotations

import contextlib
import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path

ROOT = Path("/")
# https://www.raspberrypi.com/documentation/computers/os.html#get_throttled; 16 bits higher: since the start
THROTTLING = {0: "under-voltage", 1: "frequency capped", 2: "throttled", 3: "soft temperature limit"}
CONNECTORS = "sys/class/drm"  # card1-HDMI-A-1/status is `connected` or `disconnected`
CAMERAS = "sys/class/video4linux"  # video0/name, video0/index, video0/device
SENSORS = "sys/class/hwmon"
_CPUFREQ = "sys/devices/system/cpu/cpu0/cpufreq"


def read_text(name: str, root: Path = ROOT) -> str | None:
    """Return the text of a file below `root` without what pads it; None where it cannot be read or is empty."""
    try:
        return (root / name.lstrip("/")).read_text(encoding="utf-8", errors="replace").strip("\0\n\t ") or None
    except OSError:  # not there, or, as pressure on some kernels, turned off
        return None


def _number(text: str | None) -> float | None:
    try:
        return float(text or "")
    except ValueError:
        return None


def board_model(root: Path = ROOT) -> str | None:
    """Return the Raspberry Pi's or other board's own name for itself; None for a PC."""
    return read_text("proc/device-tree/model", root)


def product_name(root: Path = ROOT) -> str | None:
    """Return maker and product of a PC, by its firmware; None where that says nothing."""
    names = (read_text(f"sys/class/dmi/id/{name}", root) for name in ("sys_vendor", "product_name"))
    return " ".join(name for name in names if name) or None


def processor_name(root: Path = ROOT) -> str | None:
    """Return the processor's name, or, as Arm's kernel gives numbers only, its part: 0xd08 is a Cortex-A72."""
    text = read_text("proc/cpuinfo", root) or ""
    for key in ("model name", "CPU part"):
        if found := re.search(rf"^{key}\s*:\s*(.+)$", text, re.MULTILINE):
            return found[1] if key == "model name" else f"{key} {found[1]}"
    return None


def governor(root: Path = ROOT) -> str | None:
    """Return the name of what sets the first core's clock."""
    return read_text(f"{_CPUFREQ}/scaling_governor", root)


def frequency_mhz(root: Path = ROOT) -> float | None:
    """Return the first core's clock."""
    kilohertz = read_text(f"{_CPUFREQ}/scaling_cur_freq", root)
    return int(kilohertz) / 1000 if kilohertz and kilohertz.isdecimal() else None


def busy_s(root: Path = ROOT) -> float | None:
    """Return the seconds that all cores have worked since the boot.

    Of a virtual machine that is also what its host took from it (proc(5): steal).
    """
    text = read_text("proc/stat", root)
    if text is None:
        return None
    user, nice, system, _, _, irq, softirq, steal = map(int, text.split()[1:9])
    return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")


def temperature_c(root: Path = ROOT) -> float | None:
    """Return the processor's temperature in degrees Celsius."""
    millidegrees = _number(read_text("sys/class/thermal/thermal_zone0/temp", root))
    return None if millidegrees is None else millidegrees / 1000


def throttled(root: Path = ROOT) -> str | None:
    """Return the Raspberry Pi firmware's throttling bits in hex, None on other boards.

    The kernel calls this file deprecated, but its successor in hwmon knows the voltage alone, and vcgencmd needs a
    device that the service has not.
    """
    for path in (root / "sys/devices/platform").glob("soc*/soc*:firmware/get_throttled"):
        try:
            return f"0x{int(path.read_text(), 16):x}"
        except (OSError, ValueError):
            return None
    return None


def memory_kib(root: Path = ROOT) -> Mapping[str, int]:
    """Return the table of memory in KiB, by the kernel's names; empty where the kernel gives none."""
    rows = re.findall(r"^(\w+):\s+(\d+) kB", read_text("proc/meminfo", root) or "", re.MULTILINE)
    return {name: int(kib) for name, kib in rows}


def available_mb(root: Path = ROOT) -> float | None:
    """Return the memory for programs, in MB of 10^6 bytes."""
    kib = memory_kib(root).get("MemAvailable")
    return None if kib is None else kib * 1024 / 1e6


def memory_stalled(root: Path = ROOT) -> float | None:
    """Return in how many per cent of the last ten seconds somebody waited for memory."""
    text = read_text("proc/pressure/memory", root) or ""
    return _number(text.partition("some avg10=")[2].partition(" ")[0])


def swaps(root: Path = ROOT) -> list[str]:
    """Return what memory is swapped out to."""
    return [line.split()[0] for line in (read_text("proc/swaps", root) or "").splitlines()[1:] if line.split()]


def battery(root: Path = ROOT) -> float | None:
    """Return the per cent of the emptiest battery that is being emptied."""
    levels = []
    for supply in sorted((root / "sys/class/power_supply").glob("*")):
        name = str(supply.relative_to(root))
        if read_text(f"{name}/type", root) == "Battery" and read_text(f"{name}/status", root) == "Discharging":
            levels.append(_number(read_text(f"{name}/capacity", root)))
    return min((level for level in levels if level is not None), default=None)


def root_mount(root: Path = ROOT) -> tuple[str, list[str]]:
    """Return kind and options of what is mounted at the root, the topmost of several."""
    kind, options = "", ""
    for line in (read_text("proc/mounts", root) or "").splitlines():
        fields = line.split()
        if len(fields) >= 4 and fields[1] == "/":
            kind, options = fields[2], fields[3]
    return kind, options.split(",")


def connectors(root: Path = ROOT) -> dict[str, str]:
    """Return the state of each screen's connector, `?` where the kernel gives none."""
    names = sorted(path.parent.name for path in (root / CONNECTORS).glob("card*-*/status"))
    return {name: read_text(f"{CONNECTORS}/{name}/status", root) or "?" for name in names}


def has_picture(connector: str) -> bool:
    """Return whether a display can be plugged into a connector of that name.

    `Writeback` is a buffer in memory, whose state is `unknown` whatever is plugged in: every Raspberry Pi has one.
    """
    return "Writeback" not in connector


def serial_number(root: Path = ROOT) -> str | None:
    """Return the board's own number."""
    return read_text("sys/firmware/devicetree/base/serial-number", root)


def camera_identity(name: str, root: Path = ROOT) -> tuple[str, ...] | None:
    """Return what identifies the camera of a node, as video0: name, place among its nodes, USB's ids, serial.

    None where the kernel reports nothing of it.
    """
    node = root / CAMERAS / name
    device = (node / "device").resolve().parent  # of a USB camera, whose interface the node's device is
    files = (node / "name", node / "index", *(device / key for key in ("idVendor", "idProduct", "serial")))
    identity = tuple(read_text(str(file), Path("/")) or "" for file in files)
    return identity if identity[0] else None


def power_sensors(root: Path = ROOT) -> list[tuple[str, str]]:
    """Return name and folder of each sensor of power whose chip a kernel's driver has."""
    paths = sorted((root / SENSORS).glob("hwmon*/power1_input"))
    return [(read_text(f"{SENSORS}/{path.parent.name}/name", root) or "", path.parent.name) for path in paths]


def sensor_w(folder: str, root: Path = ROOT) -> float | None:
    """Return the watts that a sensor of power sees."""
    microwatts = _number(read_text(f"{SENSORS}/{folder}/power1_input", root))
    return None if microwatts is None else microwatts / 1e6


def bluetooth_adapters(root: Path = ROOT) -> list[str]:
    """Return the names of the Bluetooth adapters, as hci0."""
    return sorted(path.name for path in (root / "sys/class/bluetooth").glob("hci*"))


def is_bluetooth_blocked(root: Path = ROOT) -> bool:
    """Return whether a switch of rfkill blocks Bluetooth, by software or by hand."""
    switches = (str(path.parent.relative_to(root)) for path in (root / "sys/class/rfkill").glob("rfkill*/type"))
    return any(
        read_text(f"{switch}/{way}", root) == "1"
        for switch in switches
        if read_text(f"{switch}/type", root) == "bluetooth"
        for way in ("soft", "hard")
    )


def sound_cards(root: Path = ROOT) -> str | None:
    """Return the kernel's table of sound cards."""
    return read_text("proc/asound/cards", root)


def module_parameter(name: str, root: Path = ROOT) -> str | None:
    """Return the value of a kernel module's parameter, MODULE/parameters/NAME."""
    return read_text(f"sys/module/{name}", root)


def peak_rss_mb(root: Path = ROOT) -> float:
    """Return the most memory this process has held, in MB of 10^6 bytes; 0 on Windows, whose figure is not read."""
    # getrusage's maximum begins with the memory of whoever started this process; this one is our own.
    own = _own_memory_mb("VmHWM", root)
    if own is not None or sys.platform == "win32":
        return own or 0.0
    import resource  # not on Windows

    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most / 1e6 if sys.platform == "darwin" else most * 1024 / 1e6


def rss_mb(root: Path = ROOT) -> float | None:
    """Return the memory this process holds, in MB of 10^6 bytes."""
    return _own_memory_mb("VmRSS", root)


def swapped_mb(root: Path = ROOT) -> float | None:
    """Return the memory of this process that is swapped out, in MB of 10^6 bytes."""
    return _own_memory_mb("VmSwap", root)


def _own_memory_mb(key: str, root: Path) -> float | None:
    fields = (read_text("proc/self/status", root) or "").partition(f"{key}:")[2].split()
    kib = _number(fields[0]) if fields else None
    return None if kib is None else kib * 1024 / 1e6


def own_threads(root: Path = ROOT) -> int:
    """Return the number of this process' threads."""
    return _count("proc/self/task", root)


def own_descriptors(root: Path = ROOT) -> int:
    """Return the number of files that this process has open."""
    return _count("proc/self/fd", root)


def _count(name: str, root: Path) -> int:
    with contextlib.suppress(OSError):
        return sum(1 for _ in (root / name).iterdir())
    return 0


def process_cpu_s(number: int, root: Path = ROOT) -> float | None:
    """Return the seconds of processor time that a process has taken; None where it is gone."""
    text = read_text(f"proc/{number}/stat", root)
    if text is None:
        return None
    ticks = text.rpartition(")")[2].split()  # proc(5): from `state` on
    return sum(map(int, ticks[11:13])) / os.sysconf("SC_CLK_TCK")
