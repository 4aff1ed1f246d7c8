"""Light and button on the kernel's own GPIO drivers: an emulated Raspberry Pi 3's header, and a chip with a button."""

from __future__ import annotations

import contextlib
import re
import time
from pathlib import Path

import pytest

from edge.sinks.haptic import RHYTHMS
from tests.boards.board import NEEDS, RASPBERRY_PI, VIRT, Board, board_files

PL061 = (*VIRT, "-m", "512")
BUTTON = 3  # the line of virt's chip that QEMU's system_powerdown presses
# Of the BCM2835's GPIO block (BCM2835 ARM Peripherals, chapter 6), where the Raspberry Pi 3 has it.
FUNCTION, LEVEL = 0x3F200000, 0x3F200034
INPUT, OUTPUT = 0, 1

pytestmark = NEEDS


@pytest.fixture(scope="module")
def files() -> Path:
    return board_files()


class Header(Board):
    """A Raspberry Pi whose pins the test reads from outside."""

    def _register(self, address: int) -> int:
        answer = self.command("human-monitor-command", **{"command-line": f"xp /1xw {address:#x}"})
        return int(answer.split()[-1], 16)

    def pin(self, number: int) -> tuple[int, bool]:
        """What the Raspberry Pi's pin is, INPUT or OUTPUT, and whether it is high."""
        function = self._register(FUNCTION + 4 * (number // 10)) >> 3 * (number % 10) & 7
        return function, bool(self._register(LEVEL) >> number & 1)


@pytest.mark.parametrize("keeps", [False, True], ids=["as in mainline", "as in Raspberry Pi's kernel"])
def test_the_light_on_a_raspberry_pis_header(keeps: bool, files: Path, repository: Path, tmp_path: Path) -> None:
    options = f"pinctrl_bcm2835.persist_gpio_outputs={int(keeps)}"
    with contextlib.closing(Header(files, tmp_path, repository, RASPBERRY_PI, options)) as board:
        board.do("import os, signal, time")
        board.do("from edge.settings import PinSettings; from edge.hardware.light import open_light")
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

        board.do("killed = os.fork() or ((lit := open_light(settings)).switch_on(), time.sleep(1000))")
        until = time.monotonic() + 120
        while board.pin(17) != (OUTPUT, True):
            assert time.monotonic() < until
        board.do("os.kill(killed, signal.SIGKILL), os.wait()")
        # QEMU has no pull-downs: a pin that nobody drives keeps its level there.
        assert board.pin(17) == (OUTPUT if keeps else INPUT, True)
        board.do("open_light(settings).close()")  # cuelens dark
        assert not board.pin(17)[1], "out"


def test_a_motor_on_a_raspberry_pis_header_turns_in_its_rhythm(files: Path, repository: Path, tmp_path: Path) -> None:
    with contextlib.closing(Header(files, tmp_path, repository, RASPBERRY_PI)) as board:
        board.value("import threading; from edge.hardware.pins import open_chip")
        board.value("from edge.sinks.haptic import PinMotor, HapticSettings, open_motor")
        # Each wait of the rhythm is the test's, which looks at the pin meanwhile.
        board.value("waited, go_on = [], threading.Semaphore(0)")
        board.value("wait = lambda seconds: (waited.append(seconds), go_on.acquire())")
        board.value("motor = open_motor(HapticSettings(driver='pin', pin=18, strength=0.5), '')")
        assert board.pin(18) == (OUTPUT, False)
        board.value("motor._sleep = wait")
        for name, beats in RHYTHMS.items():
            board.value(
                f"player = threading.Thread(target=motor.play, args=({name!r},)); waited.clear(); player.start()"
            )
            for number, (pulse, pause) in enumerate(beats):
                for step, (seconds, turns) in enumerate(((0.5 * pulse, True), (pause, False))):
                    board.wait(f"len(waited) > {2 * number + step}")
                    assert board.value("waited[-1]") == seconds
                    assert board.pin(18) == (OUTPUT, turns)
                    board.value("go_on.release()")
            board.value("player.join()")
            assert board.pin(18) == (OUTPUT, False)
        board.value("motor.close()")
        assert not board.pin(18)[1]


def test_a_press_on_a_chip_with_interrupts_pauses_and_another_goes_on(
    files: Path, repository: Path, tmp_path: Path
) -> None:
    with contextlib.closing(Board(files, tmp_path, repository, PL061)) as board:
        board.do("from edge.settings import PinSettings; from edge.hardware.button import open_button")
        board.do("from edge.runtime.control import Control; control = Control()")
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
