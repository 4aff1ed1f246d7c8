"""What the board draws while it is measured, by its sensor: a Raspberry Pi 5's PMIC, or an INA219 or INA260 on I2C."""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import subprocess
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Protocol

from edge.hardware import board

INTERVAL = 0.5  # seconds between two looks
BUSES = Path("/dev")
ADDRESSES = range(0x40, 0x50)  # that the chips' two address pins choose, by both data sheets
I2C_SLAVE = 0x0703  # linux/i2c-dev.h
# INA219's data sheet (SBOS448G): registers, their steps, and what the configuration is after a reset.
INA219_CONFIGURATION, INA219_SHUNT, INA219_BUS = 0x00, 0x01, 0x02
INA219_RESET = 0x399F
INA219_SHUNT_V, INA219_BUS_V = 10e-6, 4e-3
SHUNT_OHM = 0.1  # of the usual breakout boards
# INA260's (SBOS656C): it has its shunt inside, and a register that says which chip it is.
INA260_POWER, INA260_DIE = 0x03, 0xFF
INA260_DIE_ID = 0x227  # above four bits of its revision
INA260_POWER_W = 10e-3

Read = Callable[[], "float | None"]  # watts


class Registers(Protocol):
    """What chips are read through: a Bus, or a test's."""

    def read(self, address: int, register: int) -> int:
        """Return a register's value; raises OSError where nothing answers."""


class Bus:
    """An I2C bus, read a register of 16 bits at a time."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = os.open(path, os.O_RDWR)

    def read(self, address: int, register: int) -> int:
        """Return a register's value; raises OSError where nothing answers, or a driver has the chip."""
        fcntl.ioctl(self._file, I2C_SLAVE, address)
        os.write(self._file, bytes([register]))
        return int.from_bytes(os.read(self._file, 2), "big")

    def close(self) -> None:
        """Let go of the bus."""
        os.close(self._file)


def ina219_w(bus: Registers, address: int) -> float:
    """Return the watts that an INA219 sees, wired either way round; its shunt is taken to be SHUNT_OHM."""
    shunt = bus.read(address, INA219_SHUNT)
    volts = (bus.read(address, INA219_BUS) >> 3) * INA219_BUS_V
    return volts * abs(shunt - (shunt >> 15 << 16)) * INA219_SHUNT_V / SHUNT_OHM


def ina260_w(bus: Registers, address: int) -> float:
    """Return the watts that an INA260 sees."""
    return bus.read(address, INA260_POWER) * INA260_POWER_W


def find_chip(bus: Registers) -> tuple[str, Read] | None:
    """Look for a chip on a bus; an INA219 cannot say what it is, and is known by what a reset leaves in it."""
    for address in ADDRESSES:
        try:
            if bus.read(address, INA260_DIE) >> 4 == INA260_DIE_ID:
                return f"INA260 at {address:#x}", partial(ina260_w, bus, address)
            if bus.read(address, INA219_CONFIGURATION) == INA219_RESET:
                return f"INA219 at {address:#x}", partial(ina219_w, bus, address)
        except OSError:
            continue
    return None


def pmic_w(printed: str) -> float | None:
    """Return the watts of all rails in what `vcgencmd pmic_read_adc` prints, None where it prints none.

    A rail is a line `NAME_A current(N)=1.5A` and another `NAME_V volt(N)=3.3V`. The input, EXT5V, has no current: what
    hangs on 5 V directly (USB devices, a fan), and what the regulators lose, is not in the sum.
    """
    found = re.findall(r"(\w+)_([AV]) \w+\(\d+\)=([\d.]+)[AV]", printed)
    amperes = {name: float(value) for name, kind, value in found if kind == "A"}
    volts = {name: float(value) for name, kind, value in found if kind == "V"}
    rails = amperes.keys() & volts.keys()
    return sum(amperes[name] * volts[name] for name in rails) if rails else None


def find_sensor(root: Path = board.ROOT, buses: Path = BUSES) -> tuple[str, Read] | None:
    """Return the board's own sensor, by name, with what reads its watts; None where it has none."""
    for name, folder in board.power_sensors(root):  # the kernel's driver has the chip
        if name.startswith("ina"):
            return f"{name.upper()} ({folder})", partial(board.sensor_w, folder, root)
    if (tool := shutil.which("vcgencmd")) and pmic_w(_said(tool)) is not None:
        return "PMIC (vcgencmd pmic_read_adc: its rails, without what hangs on 5 V)", lambda: pmic_w(_said(tool))
    for device in sorted(buses.glob("i2c-*")):
        try:
            bus = Bus(device)
        except OSError:
            continue
        if chip := find_chip(bus):
            return f"{chip[0]} on {device}", chip[1]
        bus.close()
    return None


def _said(tool: str) -> str:
    try:
        return subprocess.run([tool, "pmic_read_adc"], capture_output=True, text=True, timeout=2, check=False).stdout
    except (OSError, subprocess.TimeoutExpired):
        return ""


class BoardMeter:
    """Looks at power sensor and throttling bits while something is measured, on a thread of its own.

    Where the board has neither it does nothing. What ends between two looks is missed.
    """

    def __init__(self, sensor: tuple[str, Read] | None, throttled: Callable[[], str | None]) -> None:
        self._name, self._read = sensor or ("none", lambda: None)
        self._throttled = throttled
        self._watts: list[float] = []
        self._bits: int | None = None
        self._ended = threading.Event()
        self._thread = None
        if sensor is not None or throttled() is not None:
            self._thread = threading.Thread(target=self._run, name="board", daemon=True)
            self._thread.start()

    def _run(self) -> None:
        while not self._ended.wait(INTERVAL):
            if bits := self._throttled():
                self._bits = (self._bits or 0) | int(bits, 16)
            try:
                watts = self._read()
            except (OSError, ValueError):  # the bus is another's for a moment
                continue
            if watts is not None:
                self._watts.append(watts)

    def end(self) -> None:
        """Stop looking."""
        self._ended.set()
        if self._thread is not None:
            self._thread.join()

    @property
    def throttled(self) -> str | None:
        """The throttling bits of all looks, in hex; None where the board has none."""
        return None if self._bits is None else f"{self._bits:#x}"

    @property
    def power(self) -> dict[str, object] | None:
        """Sensor, samples, mean and most watts; None without a sensor or a sample."""
        if not self._watts:
            return None
        return {
            "sensor": self._name,
            "samples": len(self._watts),
            "mean_w": round(sum(self._watts) / len(self._watts), 3),
            "most_w": round(max(self._watts), 3),
        }
