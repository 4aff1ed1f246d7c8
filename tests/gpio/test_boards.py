"""Light and button on the kernel's own GPIO drivers: an emulated Raspberry Pi 3's header, and a chip with a button."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
RASPBERRY_PI = ("-machine", "raspi3b", "-serial", "null")  # its first UART is Bluetooth's, the second the console
PL061 = ("-machine", "virt", "-cpu", "cortex-a53", "-m", "512", "-nic", "none")
BUTTON = 3  # the line of virt's chip that QEMU's system_powerdown presses
# Of the BCM2835's GPIO block (BCM2835 ARM Peripherals, chapter 6), where the Raspberry Pi 3 has it.
FUNCTION, LEVEL = 0x3F200000, 0x3F200034
INPUT, OUTPUT = 0, 1

pytestmark = [
    pytest.mark.slow,
    *(
        pytest.mark.skipif(shutil.which(tool) is None, reason=f"no {tool} on this system; .ci/run installs it")
        for tool in ("mmdebstrap", "qemu-system-aarch64", "qemu-aarch64-static", "cpio")
    ),
]


class Board:
    """An emulated board whose only program is guest.py; its pins are looked at from outside."""

    def __init__(
        self, files: Path, folder: Path, repository: Path, machine: tuple[str, ...], options: str = ""
    ) -> None:
        guest = folder / "guest"
        (guest / "opt").mkdir(parents=True)
        shutil.copy(HERE / "guest.py", guest / "init")
        shutil.copytree(repository / "edge", guest / "opt" / "edge", ignore=shutil.ignore_patterns("__pycache__"))
        names = "\n".join(str(path.relative_to(guest)) for path in sorted(guest.rglob("*")))
        pack = ("cpio", "--quiet", "--create", "--format=newc", "--owner=0:0")
        packed = subprocess.run(pack, cwd=guest, input=names.encode(), capture_output=True, check=True).stdout
        (folder / "initrd").write_bytes((files / "initrd").read_bytes() + packed)
        tree = ("-dtb", str(files / "pi3.dtb")) if machine == RASPBERRY_PI else ()
        # Python needs no random numbers then: the board has none so early.
        boot = f"console=ttyAMA0 console=ttyS1 loglevel=0 rdinit=/init PYTHONHASHSEED=0 {options}"
        command = ["qemu-system-aarch64", *machine, *tree, "-kernel", str(files / "kernel"), "-append", boot]
        command += ["-initrd", str(folder / "initrd"), "-display", "none", "-serial", "stdio", "-no-reboot"]
        command += ["-qmp", f"unix:{folder / 'qmp'},server,nowait"]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        self._ends = threading.Timer(240, self._process.kill)
        self._ends.start()
        self._monitor: socket.socket | None = None
        assert self._answer() == "ready"
        self._monitor = socket.socket(socket.AF_UNIX)
        self._monitor.connect(str(folder / "qmp"))
        self._replies = self._monitor.makefile()
        self._replies.readline()
        self.command("qmp_capabilities")

    def _answer(self) -> str:
        assert self._process.stdout is not None
        seen = []
        for line in self._process.stdout:
            text = line.decode(errors="replace").strip()
            if text.startswith("=> "):
                return text[3:]
            seen.append(text)
        raise AssertionError("the board ended: " + "\n".join(seen[-30:]))

    def do(self, line: str) -> str:
        """Run a line of Python on the board, and return its value as it prints."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{line}\n".encode())
        self._process.stdin.flush()
        return self._answer()

    def command(self, name: str, **arguments: object) -> Any:
        """Ask QEMU."""
        assert self._monitor is not None
        self._monitor.sendall(json.dumps({"execute": name, "arguments": arguments}).encode())
        while "return" not in (reply := json.loads(self._replies.readline())):
            assert "error" not in reply, reply
        return reply["return"]

    def _register(self, address: int) -> int:
        told = self.command("human-monitor-command", **{"command-line": f"xp /1xw {address:#x}"})
        return int(told.split()[-1], 16)

    def pin(self, number: int) -> tuple[int, bool]:
        """What the Raspberry Pi's pin is, INPUT or OUTPUT, and whether it is high."""
        function = self._register(FUNCTION + 4 * (number // 10)) >> 3 * (number % 10) & 7
        return function, bool(self._register(LEVEL) >> number & 1)

    def close(self) -> None:
        self._ends.cancel()
        self._process.kill()
        self._process.communicate()
        if self._monitor is not None:
            self._replies.close()
            self._monitor.close()


@pytest.fixture(scope="module")
def files() -> Path:
    environment = {**os.environ, "PYTHON": sys.executable}
    made = subprocess.run([HERE / "board.sh"], env=environment, capture_output=True, text=True, check=False)
    if made.returncode:
        pytest.skip(f"no board can be made here: {made.stderr.strip().splitlines()[-1:]}")
    return Path(made.stdout.strip())


@pytest.mark.parametrize("keeps", [False, True], ids=["as in mainline", "as in Raspberry Pi's kernel"])
def test_the_light_on_a_raspberry_pis_header(keeps: bool, files: Path, repository: Path, tmp_path: Path) -> None:
    options = f"pinctrl_bcm2835.persist_gpio_outputs={int(keeps)}"
    with contextlib.closing(Board(files, tmp_path, repository, RASPBERRY_PI, options)) as board:
        board.do("import os, signal, time")
        board.do("from edge.config import PinSettings; from edge.light import open_light")
        board.do("settings = PinSettings(light=17)")
        assert board.pin(17) == (INPUT, False)
        board.do("light = open_light(settings)")
        assert board.pin(17) == (OUTPUT, False), "the header was found among two chips, by its label"
        assert "its pin is low" in board.do("light.check()")
        assert board.do("light.switch_on()") == "None"
        assert board.pin(17) == (OUTPUT, True)
        assert board.do("light.check()") == "None"
        assert "PinBusy" in (busy := board.do("open_light(settings)"))
        assert "line 17 of /dev/gpiochip0 is in use by 'cuelens'" in busy
        board.do("light.switch_off()")
        assert board.pin(17) == (OUTPUT, False)
        board.do("light.close()")
        assert board.pin(17) == (OUTPUT if keeps else INPUT, False)
        assert "line 99 of /dev/gpiochip0 cannot be had" in board.do("open_light(PinSettings(light=99))")
        board.do("os.seteuid(65534)")
        assert "Permission denied" in board.do("open_light(PinSettings(light=18))")
        assert "permission denied; sudo usermod -aG gpio" in board.do(
            "open_light(PinSettings(light=18, chip='/dev/gpiochip0'))"
        )
        board.do("os.seteuid(0)")

        board.do("killed = os.fork() or (open_light(settings).switch_on(), time.sleep(1000))")
        until = time.monotonic() + 120
        while board.pin(17) != (OUTPUT, True):
            assert time.monotonic() < until
        board.do("os.kill(killed, signal.SIGKILL), os.wait()")
        # QEMU has no pull-downs: a pin that nobody drives keeps its level there.
        assert board.pin(17) == (OUTPUT if keeps else INPUT, True)
        board.do("open_light(settings).close()")  # cuelens dark
        assert not board.pin(17)[1], "out"


def test_a_press_on_a_chip_with_interrupts_pauses_and_another_goes_on(
    files: Path, repository: Path, tmp_path: Path
) -> None:
    with contextlib.closing(Board(files, tmp_path, repository, PL061)) as board:
        board.do("from edge.config import PinSettings; from edge.button import open_button")
        board.do("from edge.control import Control; control = Control()")
        board.do(f"settings = PinSettings(chip='/dev/gpiochip0', pause={BUTTON})")
        assert re.search(
            r"found: /dev/gpiochip0 \(.*pl061\)", board.do(f"open_button(PinSettings(pause={BUTTON}), control, print)")
        )
        board.do("button = open_button(settings, control, print)")
        for paused in ("True", "False"):
            board.command("system_powerdown")
            until = time.monotonic() + 120
            while board.do("control.paused") != paused:
                assert time.monotonic() < until
        assert board.do("button.close()") == "None"
