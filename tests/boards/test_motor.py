"""The motor's chip on a real I2C bus: the kernel's i2c-stub, in user-mode Linux, has the registers of a DRV2605L."""

from __future__ import annotations

import contextlib
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge.sinks.haptic import (
    ADDRESS,
    CLAMP,
    CONTROL_3,
    EFFECTS,
    ERM_LIBRARY,
    FEEDBACK,
    FULL_CLAMP,
    GO,
    LIBRARY,
    MODE,
    OPEN_LOOP,
    READY,
    SEQUENCE,
    STANDBY,
    STATUS,
)
from tests.boards.board import HERE, Machine

USER_MODE_LINUX = shutil.which("linux.uml")
FINIT_MODULE = 313  # of x86-64's system calls
MODULES = ("i2c-core", "i2c-dev", "i2c-stub")  # in the order in which they need each other
# What the chip has when it is switched on (data sheet SLOS854D, chapter 7.6), of the registers that are read first.
SWITCHED_ON = {STATUS: 0xE0, MODE: STANDBY, FEEDBACK: 0x36, CONTROL_3: 0xA0, CLAMP: FULL_CLAMP}

pytestmark = [pytest.mark.slow, pytest.mark.once]


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory, repository: Path) -> Iterator[Machine]:
    """Linux as a process, on this machine's own file system, with an I2C bus and the registers of the motor's chip."""
    if USER_MODE_LINUX is None:
        pytest.skip("no user-mode-linux on this system; .ci/run installs it")
    folders = sorted(Path("/usr/lib/uml/modules").glob("*/kernel/drivers/i2c"))
    assert folders, "user-mode-linux came without its modules"
    init = tmp_path_factory.mktemp("linux") / "init"
    init.write_text(f"#!{sys.executable}\n{(HERE / 'guest.py').read_text()}")
    init.chmod(0o755)
    words = [USER_MODE_LINUX, "mem=256M", "root=/dev/root", "rootfstype=hostfs", "rootflags=/", "ro", f"init={init}"]
    with contextlib.closing(Machine([*words, "con=null", "con0=fd:0,fd:1", "quiet"])) as machine:
        machine.value(f"import ctypes, os, sys; sys.path.insert(0, {str(repository)!r})")
        machine.value("kernel = ctypes.CDLL(None, use_errno=True)")
        for name in MODULES:
            options = f"chip_addr={ADDRESS}" if name == "i2c-stub" else ""
            file = f"os.open({str(folders[-1] / name)!r} + '.ko', os.O_RDONLY)"
            loaded = machine.value(
                f"kernel.syscall({FINIT_MODULE}, {file}, {options.encode()!r}, 0), ctypes.get_errno()"
            )
            assert loaded[0] == 0, f"{name}: errno {loaded[1]}"
        machine.value("import smbus2; chip = smbus2.SMBus(0)")
        for register, value in SWITCHED_ON.items():
            machine.value(f"chip.write_byte_data({ADDRESS}, {register}, {value})")
        machine.value("from edge.runtime.control import Control; from edge.settings import Settings")
        machine.value("from edge.sinks.opening import open_sink; from edge.sinks.haptic import HapticSettings")
        machine.value("from edge.types import Cue, Update")
        yield machine


def test_the_chip_on_a_real_bus_has_what_the_sink_wrote(machine: Machine) -> None:
    def registers(first: int, count: int = 1) -> list[int]:
        numbers = range(first, first + count)
        return list(machine.value(f"[chip.read_byte_data({ADDRESS}, number) for number in {list(numbers)}]"))

    assert machine.value("os.path.exists('/dev/i2c-0')")
    machine.value("sink = open_sink('haptic', Control(Settings(own={'haptic': HapticSettings(port=0, strength=0.5)})))")
    assert registers(MODE) == [READY]
    assert registers(LIBRARY) == [ERM_LIBRARY]
    assert registers(FEEDBACK) == [SWITCHED_ON[FEEDBACK] & 0x7F]
    assert registers(CONTROL_3) == [SWITCHED_ON[CONTROL_3] | OPEN_LOOP]
    assert registers(CLAMP) == [round(0.5 * FULL_CLAMP)]
    for name in ("smile", "surprise", "upset"):
        machine.value(f"sink.show(Update(None, (), (), (), Cue('expression', {name!r}, 0.9, 0.0), {{}}, 0))")
        assert registers(SEQUENCE, len(EFFECTS[name]) + 1) == [*EFFECTS[name], 0]
        assert registers(GO) == [1]
        machine.value("sink.show(Update(None, (), (), (), Cue('paused', None, 0.0, 0.0), {}, 0))")
        assert registers(GO) == [0]
    machine.value("sink.show(Update(None, (), (), (), Cue('expression', 'smile', 0.9, 0.0), {}, 0))")
    machine.value("sink.close()")
    assert registers(GO) + registers(MODE) == [0, STANDBY]


def test_another_chip_at_its_address_and_none_are_reported(machine: Machine) -> None:
    opened = "open_sink('haptic', Control(Settings(own={{'haptic': HapticSettings(port={})}})))"
    machine.value(f"chip.write_byte_data({ADDRESS}, {STATUS}, 0x20)")
    assert "the chip at 0x5a has id 1, a DRV2605L has 7" in machine.do(opened.format(0))
    assert "no DRV2605L at 0x5a on I2C 7" in machine.do(opened.format(7))
