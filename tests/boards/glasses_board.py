"""The emulated board of test_glasses.py, and the glasses in its reach."""

from __future__ import annotations

import ast
import compileall
import json
import os
import py_compile
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from bumble import gatt

from edge.cue.policy import SMALL_VOCABULARY
from edge.drawing.glyphs import plan_cue
from edge.sinks.glasses.halo import draw_halo
from edge.sinks.glasses.stage import DARK
from edge.types import Band, Cue, Reason, Side
from tests.boards.board import HERE, VIRT, Board, board_files, copy_models
from tests.glasses.peripherals import ActiveLookPeripheral, HaloPeripheral
from tests.glasses.worn import LOOK, NOBODY, shows

PATIENCE = 600.0  # seconds until a test stops waiting for what must come: an emulated board on a busy machine
INTERVAL_MS = 200.0  # between advertisements: each costs the emulated board work
SIDES: tuple[Side | None, ...] = ("ahead", "left", "right", None)
BANDS: tuple[Band | None, ...] = ("near", "middle", "far", None)
UNSURE: tuple[Reason | None, ...] = ("faint", "torn", "poor", "away", None)
CUELENS = "/opt/cuelens/current/venv/bin/cuelens"
# Who there is: the service's user lasts, as the installer makes it for the D-Bus.
USERS = """root:x:0:0::/root:/bin/sh
messagebus:x:100:100::/nonexistent:/usr/sbin/nologin
cuelens:x:997:997::/:/usr/sbin/nologin
"""
GROUPS = """root:x:0:
tty:x:5:
video:x:44:
gpio:x:993:
messagebus:x:100:
bluetooth:x:101:
cuelens:x:997:
"""
# Every frame of it is seen, however slow the board is: on a recording's own clock, the cue is as on a real board.
SETTINGS = """source = "demo"
sinks = ["glasses:halo"]
pace = "fast"
"""
SOCKET = "/run/cuelens/status.sock"
STATUS = f"(lambda to: (to.connect({SOCKET!r}), to.makefile().readline())[1])(socket.socket(socket.AF_UNIX))"
INSTALLER = "from deploy.device.units import write_drop_ins; write_drop_ins()"
PROGRAM = """#!/usr/bin/python3
import sys

sys.path[:0] = ["/opt", "/opt/site"]
from edge.cli import main

main()
"""


@dataclass(frozen=True, slots=True)
class Screen:
    """What a Halo's display has after its program changed it."""

    shown: str  # of the cue, as Cue.shown; empty where it is dark, `other` where it is no cue
    heard: bytes  # the kind of the word that the program heard last
    silent: float  # seconds that the program has slept since, on its own clock


def pictures() -> dict[bytes, str]:
    """Return what Halo may show of a face, and what that is."""
    cues = [Cue("expression", word, 1.0, 0.0, None, None, side) for word in SMALL_VOCABULARY for side in SIDES]
    cues += [Cue("unsure", None, 0.0, 0.0, reason, None, side) for reason in UNSURE for side in SIDES]
    cues += [Cue("unsure", None, 0.0, 0.0, "new", band, side) for band in BANDS for side in SIDES]
    found = {draw_halo(plan_cue(cue, LOOK)).tobytes(): cue.shown for cue in cues}
    return found | {draw_halo(DARK).tobytes(): ""}


class BondingHalo(HaloPeripheral):
    """A Halo that takes nothing over a link that is not encrypted, counts bonds, and notes what its display had."""

    interval_ms = INTERVAL_MS

    def __init__(self) -> None:
        super().__init__()
        self.pairings = 0
        self.screens: list[Screen] = []
        self._heard, self._silent = b"", 0.0
        self._pictures = pictures()
        self._rx.permissions |= gatt.Characteristic.Permissions.WRITE_REQUIRES_ENCRYPTION

    def _start(self) -> None:
        make = self._make
        self._make = lambda: self._watch(make())
        super()._start()
        self._make = make

    def _watch(self, emulator: Any) -> Any:
        """Have an emulator note, in the thread of its program, what that hears, sleeps and shows."""
        hear, sleep, show = emulator._system._dispatch_fn, emulator._system.sleep, emulator._display.show

        def heard(event: Any) -> None:
            self._heard, self._silent = event.data[:1], 0.0
            hear(event)

        def slept(seconds: float) -> None:
            sleep(seconds)
            self._silent += seconds

        def shown() -> None:
            show()
            seen = np.asarray(emulator.get_framebuffer())[..., :3].tobytes()
            self.screens.append(Screen(self._pictures.get(seen, "other"), self._heard, self._silent))

        emulator._system._dispatch_fn, emulator._system.sleep, emulator._display.show = heard, slept, shown
        return emulator

    def shown(self) -> set[str]:
        """Return all that was shown since `screens` was emptied."""
        return {screen.shown for screen in tuple(self.screens)}

    def went_dark(self) -> Screen | None:
        """Return what its display had first after the last cue since `screens` was emptied; None while it has that."""
        screens = tuple(self.screens)
        last = max(number for number, screen in enumerate(screens) if screen.shown not in ("", "other"))
        return next((screen for screen in screens[last + 1 :] if not screen.shown), None)

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

    init, longest = "/usr/lib/systemd/systemd", 4 * 2400.0

    def __init__(self, suite: str, folder: Path, repository: Path) -> None:
        self.uart = folder / "uart"
        self.suite = suite
        machine = (*VIRT, "-m", "1536", "-smp", "2", "-device", "pci-serial,chardev=uart")
        machine += ("-chardev", f"socket,id=uart,path={self.uart},server=on,wait=off")
        options = "systemd.show_status=0 quiet"
        super().__init__(board_files("glasses.sh", suite), folder, repository, machine, options)
        self.value("import os, signal, socket, subprocess")

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
        for name in ("cuelens.service", "wearer.service"):
            shutil.copy(repository / "deploy" / "cuelens.service", units / name)
        etc = guest / "etc"
        for name, text in (("passwd", USERS), ("group", GROUPS), ("os-release", f"VERSION_CODENAME={self.suite}\n")):
            (etc / name).write_text(text)
        (etc / "cuelens").mkdir()
        (etc / "cuelens" / "cuelens.toml").write_text(SETTINGS)
        installing = os.environ | {"CUELENS_ROOT": str(guest)}
        subprocess.run([sys.executable, "-c", INSTALLER], cwd=repository, env=installing, check=True)
        copy_models(repository, guest)
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

    def pair_once(self, glasses: BondingHalo, make: str) -> None:
        """Pair, unless it was done."""
        if not glasses.pairings:
            self.pair(glasses, make)

    def wear(self, make: str, cue: Cue) -> None:
        """Give the service the cue, and wait until its sink has it, where it runs."""
        word = cue.expression or "nobody"
        self.value(f"open('/run/next', 'w').write('{make} {word}') and os.replace('/run/next', '/run/worn')")
        if self.run("systemctl is-active wearer.service")[0] == 0:
            self.wait_until(lambda: self.value("open('/run/cuelens/offered').read()") == word, f"{word} in the sink")

    def show(self, glasses: Glasses, cue: Cue, never: Cue = NOBODY) -> None:
        """Wait until glasses show a cue; fails where one that is over is seen meanwhile."""

        def is_shown() -> bool:
            assert never == NOBODY or not shows(glasses, never), f"{never} is over"
            return shows(glasses, cue)

        self.wait_until(is_shown, f"{cue}")

    def process(self, unit: str) -> int:
        """Return the number of a unit's main process, 0 where none runs."""
        return int(self.run(f"systemctl show --property=MainPID --value {unit}")[1])

    def status(self, unit: str) -> dict[str, str]:
        """Return what the kernel has of a unit's main process."""
        process = self.process(unit)
        lines = self.value(f"open('/proc/{process}/status').read()").splitlines()
        return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}

    def link(self) -> dict[str, Any]:
        """Return what the run's status has of the link to Halo; empty where nothing answers."""
        answer = self.do(STATUS)
        try:
            found: dict[str, Any] = json.loads(ast.literal_eval(answer))["links"].get("glasses:halo", {})
        except (SyntaxError, ValueError):
            return {}
        return found
