"""GPIO lines: a folder that stands in for a chip, and the error where there is none; tests/boards has real chips."""

from __future__ import annotations

import os
import sys
import types
from pathlib import Path

import pytest

from edge.errors import PinBusy, PinMissing, RuntimeMissing
from edge.hardware.pins import Line, open_chip

NOBODY = 65534


class Folder:
    """What is outside of the pins of a folder that stands in for a chip."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.name = f"mock:{folder}"

    def is_high(self, number: int) -> bool:
        return (self._folder / str(number)).read_text() == "1"

    def put(self, number: int, high: bool) -> None:
        (self._folder / str(number)).write_text(f"{int(high)}\n")


@pytest.fixture
def wires(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


def test_an_output_begins_low_and_follows(wires: Folder) -> None:
    line = open_chip(wires.name).open_output(3)
    assert (line.is_high(), wires.is_high(3)) == (False, False)
    for high in (True, False, True):
        line.drive(high)
        assert (line.is_high(), wires.is_high(3)) == (high, high)
    line.close()


def test_an_input_is_low_unless_something_drives_it(wires: Folder) -> None:
    line = open_chip(wires.name).open_input(4)
    assert not line.is_high()
    for high in (True, False):
        wires.put(4, high)
        assert line.is_high() == high
    line.close()


def falls(line: Line) -> int:
    """Count until nothing more comes."""
    count = 0
    while new := line.count_falls(0.3):
        count += new
    return count


def test_a_press_counts_once_however_the_button_bounces(wires: Folder) -> None:
    line = open_chip(wires.name).open_button(5)
    assert falls(line) == 0
    for _ in range(2):
        for high in (False, True, False, True, False):
            wires.put(5, high)
        assert falls(line) == 1
        assert falls(line) == 0, "held down"
        for high in (True, False, True):
            wires.put(5, high)
        assert falls(line) == 0, "let go"
    line.close()


def test_a_line_in_use_is_refused_until_it_is_let_go(wires: Folder) -> None:
    first = open_chip(wires.name).open_output(6)
    with pytest.raises(PinBusy, match="is in use"):
        open_chip(wires.name).open_output(6)
    other = open_chip(wires.name).open_output(7)
    first.close()
    open_chip(wires.name).open_output(6).close()
    other.close()


@pytest.mark.root
def test_a_chip_that_may_not_be_used_is_reported(wires: Folder, tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    chip = open_chip(wires.name)
    os.seteuid(NOBODY)
    try:
        with pytest.raises(PinMissing, match=r"[Pp]ermission denied"):
            chip.open_output(1)
    finally:
        os.seteuid(0)


@pytest.mark.skipif(any(Path("/dev").glob("gpiochip*")), reason="this machine has GPIO chips")
def test_a_machine_without_a_header_is_reported() -> None:
    with pytest.raises(PinMissing, match=r"no Raspberry Pi's GPIO header; found: no /dev/gpiochip\*"):
        open_chip("")


@pytest.mark.parametrize("path", ["/dev/gpiochip99", "/dev/null", "/"])
def test_what_is_no_chip_is_refused(path: str) -> None:
    with pytest.raises(PinMissing, match=f"line 1 of {path} cannot be had"):
        open_chip(path).open_output(1)


@pytest.mark.parametrize("name", ["mock", "mock:", "mock:/nowhere"])
def test_a_stand_in_needs_its_folder(name: str) -> None:
    with pytest.raises(PinMissing, match="no such folder; make one"):
        open_chip(name)


@pytest.mark.parametrize("module", [None, types.ModuleType("gpiod")])
def test_without_the_library_what_adds_it_is_named(
    module: types.ModuleType | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """None is none; the other is libgpiod 1's, which Debian has under the same name."""
    monkeypatch.setitem(sys.modules, "gpiod", module)
    with pytest.raises(
        RuntimeMissing,
        match=r"needs gpiod 2 \(.*gpiod.*\); install cuelens\[pins\], or in a checkout \./deploy\.sh sinks",
    ):
        open_chip("/dev/gpiochip0")


def test_a_stand_ins_output_keeps_its_level_when_it_is_let_go_as_a_raspberry_pis_does(tmp_path: Path) -> None:
    wires = Folder(tmp_path)
    line = open_chip(wires.name).open_output(3)
    line.drive(True)
    line.close()
    assert wires.is_high(3)
    open_chip(wires.name).open_output(3).close()
    assert not wires.is_high(3)
