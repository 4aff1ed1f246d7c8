"""The emulated board of test_glasses.py, and the glasses in its reach."""

from __future__ import annotations

import compileall
import py_compile
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bumble import gatt

from edge.types import Cue
from tests.boards.board import HERE, VIRT, Board
from tests.glasses.peripherals import ActiveLookPeripheral, HaloPeripheral
from tests.glasses.worn import NOBODY, shows

PATIENCE = 600.0  # seconds until a test stops waiting for what must come: an emulated board on a busy machine
INTERVAL_MS = 200.0  # between advertisements: each costs the emulated board work
CUELENS = "/opt/cuelens/current/venv/bin/cuelens"
PROGRAM = """#!/usr/bin/python3.11
import sys

sys.path[:0] = ["/opt", "/opt/site"]
from edge.cli import main

main()
"""


class BondingHalo(HaloPeripheral):
    """A Halo that takes nothing over a link that is not encrypted, and counts bonds."""

    interval_ms = INTERVAL_MS

    def __init__(self) -> None:
        super().__init__()
        self.pairings = 0
        self._rx.permissions |= gatt.Characteristic.Permissions.WRITE_REQUIRES_ENCRYPTION

    def _connected(self, connection: Any) -> None:
        super()._connected(connection)
        connection.on("pairing", self._paired)

    def _paired(self, _: object) -> None:
        self.pairings += 1

    def is_encrypted(self) -> bool:
        """Return whether there is a link, and it is."""
        return self._connection is not None and bool(self._connection.is_encrypted)


class ActiveLook(ActiveLookPeripheral):
    """ActiveLook glasses that advertise as often."""

    interval_ms = INTERVAL_MS


Glasses = BondingHalo | ActiveLook


class GlassesBoard(Board):
    """A board with systemd, D-Bus and bluetoothd, and Cuelens as the installer leaves it."""

    init, longest = "/usr/lib/systemd/systemd", 2100.0

    def __init__(self, files: Path, folder: Path, repository: Path) -> None:
        self.uart = folder / "uart"
        machine = (*VIRT, "-m", "1536", "-smp", "2", "-device", "pci-serial,chardev=uart")
        machine += ("-chardev", f"socket,id=uart,path={self.uart},server=on,wait=off")
        super().__init__(files, folder, repository, machine, "systemd.show_status=0 quiet")
        self.value("import os, subprocess")

    def lay_out(self, guest: Path, repository: Path) -> None:
        super().lay_out(guest, repository)
        shutil.copy(HERE / "wearer.py", guest / "opt")
        # Where this Python is the board's: compiled there, it takes longer than what is tested.
        compileall.compile_dir(
            guest / "opt" / "edge", quiet=2, invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH
        )
        (guest / "init").rename(guest / "opt" / "guest.py")
        units = guest / "etc" / "systemd" / "system"
        shutil.copytree(HERE / "glasses", units)
        shutil.copy(repository / "deploy" / "cuelens.service", units)
        command = guest / CUELENS.lstrip("/")
        command.parent.mkdir(parents=True)
        command.write_text(PROGRAM)
        command.chmod(0o755)

    def run(self, words: str) -> tuple[int, str]:
        """Run a command; returns its exit code, and what it printed."""
        started = f"subprocess.run({words.split()}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)"
        code, printed = self.value(f"(lambda done: (done.returncode, done.stdout))({started})")
        return int(code), str(printed)

    def ask(self, path: str, interface: str, name: str) -> str:
        """Return a property of bluetoothd, as busctl prints it, or why there is none."""
        return self.run(f"busctl get-property org.bluez {path} org.bluez.{interface} {name}")[1].strip()

    def wait_until(self, holds: Callable[[], Any], what: str) -> None:
        """Wait until something holds; fails after PATIENCE with the journal."""
        end = time.monotonic() + PATIENCE
        while not holds():
            assert time.monotonic() < end, f"never came: {what}; {self.run('journalctl --no-pager --lines=40')[1]}"
            time.sleep(0.1)

    def start_bluetooth(self) -> None:
        """Attach the UART, and start bluetoothd when the kernel has its adapter, as udev does."""
        self.run("systemctl start uart.service")
        self.wait_until(lambda: self.value("os.path.exists('/sys/class/bluetooth/hci0')"), "an adapter of the kernel")
        assert self.run("systemctl start bluetooth.service")[0] == 0
        self.wait_until(lambda: self.ask("/org/bluez/hci0", "Adapter1", "Powered") == "b true", "an adapter with power")

    def pair(self, glasses: Glasses, make: str) -> None:
        """Pair as a user does, again where a step was too slow for it."""

        def is_paired() -> bool:
            code, printed = self.run(f"{CUELENS} pair {make} --seconds 10")
            return code == 0 and f"paired {glasses.name} ({glasses.address.upper()}), battery 80 %" in printed

        self.wait_until(is_paired, f"paired {make}")

    def wear(self, make: str, cue: Cue) -> None:
        """Give the service the cue, and wait until its sink has it, where it runs."""
        word = cue.expression or "nobody"
        self.value(f"open('/run/next', 'w').write('{make} {word}') and os.replace('/run/next', '/run/worn')")
        if self.run("systemctl is-active cuelens.service")[0] == 0:
            self.wait_until(lambda: self.value("open('/run/cuelens/offered').read()") == word, f"{word} in the sink")

    def show(self, glasses: Glasses, cue: Cue, never: Cue = NOBODY) -> None:
        """Wait until glasses show a cue; fails where one that is over is seen meanwhile."""

        def is_shown() -> bool:
            assert never == NOBODY or not shows(glasses, never), f"{never} is over"
            return shows(glasses, cue)

        self.wait_until(is_shown, f"{cue}")

    def status(self, unit: str) -> dict[str, str]:
        """Return what the kernel has of a unit's main process."""
        process = self.run(f"systemctl show --property=MainPID --value {unit}")[1].strip()
        lines = self.value(f"open('/proc/{process}/status').read()").splitlines()
        return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}
