"""Power: chips by their data sheets' own examples, the kernel's files, what a Raspberry Pi 5's firmware prints."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from benchmarks import power
from benchmarks.power import BoardMeter, Bus, find_chip, find_sensor, ina219_w, ina260_w, pmic_w
from edge.hardware.board import SENSORS

# As a Raspberry Pi 5 prints it: currents first, numbers of the converter's channels, two voltages without a current.
RAILS = """\
 3V7_WL_SW_A current(0)=0.10000000A
   3V3_SYS_A current(1)=0.20000000A
    0V8_SW_A current(6)=0.25000000A
  VDD_CORE_A current(7)=1.50000000A
   3V3_DAC_A current(17)=0.00000000A
      HDMI_A current(22)=0.02000000A
 3V7_WL_SW_V volt(8)=3.70000000V
   3V3_SYS_V volt(9)=3.30000000V
    0V8_SW_V volt(14)=0.80000000V
  VDD_CORE_V volt(15)=0.90000000V
   3V3_DAC_V volt(20)=3.31000000V
      HDMI_V volt(23)=5.00000000V
     EXT5V_V volt(24)=5.10000000V
      BATT_V volt(25)=0.00000000V
"""
RAILS_W = 0.37 + 0.66 + 0.2 + 1.35 + 0.0 + 0.1


class Chips:
    """A bus of chips, each its registers by number; a register that a chip has not reads as 0."""

    def __init__(self, chips: dict[int, dict[int, int]]) -> None:
        self._chips = chips

    def read(self, address: int, register: int) -> int:
        if address not in self._chips:
            raise OSError(121, "Remote I/O error")
        return self._chips[address].get(register, 0)


INA219 = {0x00: 0x399F, 0x01: 0x07D0, 0x02: 0x5D98}  # 20 mV on the shunt, 11.98 V: its data sheet's example
INA260 = {0x00: 0x6127, 0x03: 660, 0xFE: 0x5449, 0xFF: 0x2270}
INA226 = {0x00: 0x4127, 0x03: 660, 0xFE: 0x5449, 0xFF: 0x2260}


def test_an_ina219_measures_volts_and_the_drop_over_its_shunt() -> None:
    assert ina219_w(Chips({0x40: INA219}), 0x40) == pytest.approx(11.98 * 0.020 / 0.1)


def test_an_ina219_wired_the_other_way_round_measures_the_same() -> None:
    turned = INA219 | {0x01: 0x10000 - 0x07D0}
    assert ina219_w(Chips({0x40: turned}), 0x40) == pytest.approx(11.98 * 0.020 / 0.1)


def test_the_flags_of_an_ina219s_bus_register_are_no_volts() -> None:
    assert ina219_w(Chips({0x40: INA219 | {0x02: 0x5D98 | 0b011}}), 0x40) == pytest.approx(11.98 * 0.020 / 0.1)


def test_an_ina260_measures_power_in_steps_of_10_mw() -> None:
    assert ina260_w(Chips({0x44: INA260}), 0x44) == pytest.approx(6.6)


@pytest.mark.parametrize(
    ("chips", "name", "watts"),
    [
        ({0x40: INA260}, "INA260 at 0x40", 6.6),
        ({0x4F: INA260 | {0xFF: 0x2271}}, "INA260 at 0x4f", 6.6),
        ({0x45: INA219}, "INA219 at 0x45", 2.396),
        ({0x40: INA226, 0x41: INA219}, "INA219 at 0x41", 2.396),
    ],
)
def test_a_chip_is_known_by_what_is_in_it(chips: dict[int, dict[int, int]], name: str, watts: float) -> None:
    found = find_chip(Chips(chips))
    assert found is not None
    assert (found[0], found[1]()) == (name, pytest.approx(watts))


@pytest.mark.parametrize(
    "chips", [{}, {0x40: INA226}, {0x40: {}}, {0x3C: INA260}, {0x50: INA219}, {0x40: INA219 | {0x00: 0x019F}}]
)
def test_another_chip_or_one_that_another_program_has_set_up_is_left_alone(chips: dict[int, dict[int, int]]) -> None:
    assert find_chip(Chips(chips)) is None


def test_a_register_is_selected_and_its_high_byte_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr(power.fcntl, "ioctl", lambda file, request, address: asked.append((request, address)))
    device = tmp_path / "i2c-1"
    device.write_bytes(b"\0\x22\x70")  # a file's position goes on: what is read comes after what is written
    bus = Bus(device)
    assert bus.read(0x40, 0xFF) == 0x2270
    bus.close()
    assert asked == [(0x0703, 0x40)]
    assert device.read_bytes()[0] == 0xFF


def test_the_rails_of_a_pmic_are_summed() -> None:
    assert pmic_w(RAILS) == pytest.approx(RAILS_W)


@pytest.mark.parametrize(
    "printed",
    [
        "",
        'error=1 error_msg="Command not registered"\n',
        "     EXT5V_V volt(24)=5.10000000V\n      BATT_V volt(25)=0.00000000V\n",
        "  VDD_CORE_A current(7)=1.50000000A\n",
    ],
)
def test_without_a_rails_volts_and_amperes_there_is_no_power(printed: str) -> None:
    assert pmic_w(printed) is None


@pytest.fixture
def no_tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A PATH of this folder alone."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    return folder


def vcgencmd(folder: Path, script: str) -> None:
    tool = folder / "vcgencmd"
    tool.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
    tool.chmod(0o755)


def hwmon(folder: Path, number: int, name: str, **files: str) -> None:
    device = folder / SENSORS / f"hwmon{number}"
    device.mkdir(parents=True)
    (device / "name").write_text(f"{name}\n", encoding="ascii")
    for file, content in files.items():
        (device / file).write_text(f"{content}\n", encoding="ascii")


def test_a_chip_that_the_kernel_has_comes_first(tmp_path: Path, no_tools: Path) -> None:
    vcgencmd(no_tools, f"echo '{RAILS}'")
    hwmon(tmp_path, 0, "cpu_thermal", temp1_input="51000")
    hwmon(tmp_path, 1, "amdgpu", power1_input="9000000")  # draws power, but is not the board
    hwmon(tmp_path, 2, "ina260", power1_input="4321000")
    found = find_sensor(tmp_path, tmp_path)
    assert found is not None
    assert (found[0], found[1]()) == ("INA260 (hwmon2)", 4.321)


def test_a_pmic_is_asked_through_vcgencmd(tmp_path: Path, no_tools: Path) -> None:
    vcgencmd(no_tools, f'[ "$*" = pmic_read_adc ] && echo "{RAILS}"')
    found = find_sensor(tmp_path, tmp_path)
    assert found is not None
    assert found[0].startswith("PMIC")
    assert found[1]() == pytest.approx(RAILS_W)


def test_a_board_without_a_sensor_has_none(tmp_path: Path, no_tools: Path) -> None:
    vcgencmd(no_tools, """echo 'error=1 error_msg="Command not registered"'""")  # a Raspberry Pi 4's
    (tmp_path / "i2c-1").touch()  # is no bus: nothing answers
    open_before = len(list(Path("/proc/self/fd").iterdir()))
    assert find_sensor(tmp_path, tmp_path) is None
    assert len(list(Path("/proc/self/fd").iterdir())) == open_before
    (no_tools / "vcgencmd").unlink()
    assert find_sensor(tmp_path / "nowhere", tmp_path / "nowhere") is None


@pytest.mark.parametrize("trouble", [OSError(16, "busy"), ValueError("no number"), None])
def test_a_meter_tells_mean_and_most_of_what_it_could_read(
    monkeypatch: pytest.MonkeyPatch, trouble: Exception | None
) -> None:
    monkeypatch.setattr(power, "INTERVAL", 0.001)
    says = iter([2.0, trouble, 4.0, 3.0])
    read = threading.Event()

    def sensor() -> float | None:
        said = next(says, read)
        if isinstance(said, Exception):
            raise said
        if isinstance(said, threading.Event):
            said.set()
            return None
        return said

    meter = BoardMeter(("a sensor", sensor), lambda: None)
    assert read.wait(30)
    meter.end()
    assert meter.throttled is None
    assert meter.power == {"sensor": "a sensor", "samples": 3, "mean_w": 3.0, "most_w": 4.0}


def test_a_meter_without_a_sensor_or_a_sample_reports_nothing() -> None:
    for sensor in (None, ("never", lambda: None)):
        meter = BoardMeter(sensor, lambda: None)
        meter.end()
        assert (meter.power, meter.throttled) == (None, None)


def test_a_meter_keeps_every_throttling_that_it_saw(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(power, "INTERVAL", 0.001)
    says = iter(["0x0", "0x50000", "0x50004", "0x50001", "0x50000"])
    ended = threading.Event()

    def bits() -> str:
        said = next(says, None)
        if said is None:
            ended.set()
        return said or "0x50000"

    meter = BoardMeter(None, bits)
    assert ended.wait(30)
    meter.end()
    assert meter.throttled == "0x50005"
