"""The haptic sink: what its chip is sent on the bus, how long its line is high, and what is felt of which cue."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from edge.errors import PinBusy, SettingsInvalid, SinkFailed
from edge.hardware.pins import open_chip
from edge.runtime.control import Control
from edge.settings import PinSettings, Settings
from edge.sinks import haptic
from edge.sinks.haptic import EFFECTS, RHYTHMS, SLOTS, HapticSettings, HapticSink, PinMotor, felt
from edge.sinks.opening import open_sink
from edge.types import Cue, Reason, State, Update
from tests.support.failures import ended_by


class Bus:
    """The registers of a DRV2605L, and what was written to them in order."""

    def __init__(self, status: int = 0xE0) -> None:
        self.registers = {0x00: status, 0x01: 0x40, 0x1A: 0x36, 0x1D: 0xA0, 0x17: 0x89}
        self.written: list[tuple[int, int]] = []
        self.broken = False
        self.closed = 0

    def read_byte_data(self, address: int, register: int) -> int:
        assert address == 0x5A
        return self.registers[register]

    def write_byte_data(self, address: int, register: int, value: int) -> None:
        assert (address, 0 <= value <= 0xFF) == (0x5A, True)
        if self.broken:
            raise OSError(121, "Remote I/O error")
        self.registers[register] = value
        self.written.append((register, value))

    def close(self) -> None:
        self.closed += 1


def cue(expression: str | None, state: State = "expression", reason: Reason | None = None) -> Cue:
    return Cue(state, expression, 0.9, 0.0, reason)


def update(shown: Cue) -> Update:
    return Update(None, (), (), (), shown, {}, 0)


@pytest.fixture
def bus(monkeypatch: pytest.MonkeyPatch) -> Bus:
    bus = Bus()
    monkeypatch.setattr("smbus2.SMBus", lambda port: bus)
    return bus


def sink_at(seconds: list[float], **values: Any) -> HapticSink:
    return HapticSink("", Control(Settings(own={"haptic": replace(HapticSettings(), **values)})), lambda: seconds[0])


def test_a_cue_fills_the_sequencer_and_starts_it_once(bus: Bus) -> None:
    now = [0.0]
    sink = sink_at(now)
    assert (bus.registers[0x01], bus.registers[0x03], bus.registers[0x1A] & 0x80, bus.registers[0x1D] & 0x20) == (
        0,
        1,
        0,
        0x20,
    ), "ready, with the library of small motors, no LRA, open loop"
    assert bus.registers[0x17] == round(0x89 * 0.6)
    for name, effects in EFFECTS.items():
        now[0] += 60.0
        bus.written.clear()
        sink.show(update(cue(name) if name != "face" else cue(None, "unsure", "new")))
        sequence = [value for register, value in bus.written if 0x04 <= register < 0x0C]
        assert sequence == [*effects, 0]
        assert bus.written[0] == (0x0C, 0), "what plays is stopped first"
        assert bus.written[-1] == (0x0C, 1)
        bus.written.clear()
        sink.show(update(cue(name) if name != "face" else cue(None, "unsure", "new")))
        assert bus.written == [], "it lasts: nothing is played again"
    sink.close()
    assert bus.written[-2:] == [(0x0C, 0), (0x01, 0x40)]
    sink.close()
    assert bus.closed == 1


@pytest.mark.parametrize("state", ["paused", "stopped", "no_camera"])
def test_a_pause_an_end_and_a_lost_camera_stop_the_motor(bus: Bus, state: State) -> None:
    sink = sink_at([0.0])
    sink.show(update(cue("surprise")))
    bus.written.clear()
    sink.show(update(cue(None, state)))
    assert bus.written == [(0x0C, 0)]


def test_rhythms_differ_and_fit_the_sequencer_and_an_update() -> None:
    assert RHYTHMS.keys() == EFFECTS.keys()
    assert len({tuple(beat) for beat in RHYTHMS.values()}) == len(RHYTHMS)
    assert all(len(effects) < SLOTS for effects in EFFECTS.values())
    assert all(sum(map(sum, beats)) < haptic.DEADLINE / 2 for beats in RHYTHMS.values())
    pulses = {name: [pulse for pulse, _ in beats] for name, beats in RHYTHMS.items()}
    assert pulses["smile"][0] < pulses["smile"][1]
    assert pulses["upset"] == sorted(pulses["upset"], reverse=True)
    assert [len(pulses[name]) for name in ("smile", "surprise", "upset")] == [2, 1, 3]


def test_a_pin_is_high_for_each_pulse_shorter_where_weaker_and_low_after_it(tmp_path: Path) -> None:
    line = open_chip(f"mock:{tmp_path}").open_output(18)
    played: list[tuple[float, bool]] = []
    motor = PinMotor(line, 0.5, lambda seconds: played.append((seconds, line.is_high())))
    motor.play("smile")
    assert played == [(0.04, True), (0.12, False), (0.15, True), (0.0, False)]
    assert not line.is_high()
    motor.close()
    motor.close()


def test_a_pin_is_low_whatever_ends_a_rhythm(tmp_path: Path) -> None:
    line = open_chip(f"mock:{tmp_path}").open_output(18)

    def broken(_: float) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        PinMotor(line, 1.0, broken).play("surprise")
    assert not line.is_high()
    line.close()


@pytest.mark.parametrize(
    ("shown", "rhythm"),
    [
        (cue("smile"), "smile"),
        (cue("happy"), "smile"),
        (cue("sad"), "upset"),
        (cue("neutral"), None),
        (cue("ecstatic"), None),
        (cue(None, "unsure", "new"), "face"),
        (cue(None, "unsure", "faint"), None),
        (cue(None, "no_face"), None),
        (cue(None, "no_camera"), None),
    ],
)
def test_what_is_felt_of_a_cue(shown: Cue, rhythm: str | None) -> None:
    assert felt(shown, HapticSettings()) == rhythm


def test_cues_and_the_tick_can_be_left_out() -> None:
    assert felt(cue("smile"), HapticSettings(cues=("upset",))) is None
    assert felt(cue("upset"), HapticSettings(cues=("upset",))) == "upset"
    assert felt(cue(None, "unsure", "new"), HapticSettings(tick=False)) is None


def test_a_chip_that_is_gone_is_a_failure_of_the_sink(bus: Bus) -> None:
    sink = sink_at([0.0])
    bus.broken = True
    with pytest.raises(SinkFailed, match=r"does not answer.*Remote I/O error.*check its wires"):
        sink.show(update(cue("smile")))
    sink.close()


def test_what_cannot_be_opened_is_reported(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def absent(port: int) -> Bus:
        raise FileNotFoundError(2, "No such file or directory", f"/dev/i2c-{port}")

    monkeypatch.setattr("smbus2.SMBus", absent)
    with pytest.raises(SinkFailed, match=r"no DRV2605L at 0x5a on I2C 1.*do_i2c 0.*i2cdetect -y 1"):
        sink_at([0.0])
    other = Bus(0x20)
    monkeypatch.setattr("smbus2.SMBus", lambda port: other)
    with pytest.raises(SinkFailed, match="has id 1, a DRV2605L has 7"):
        sink_at([0.0])
    assert other.closed == 1
    chip = PinSettings(chip=f"mock:{tmp_path}")
    pin = Settings(own={"haptic": HapticSettings(driver="pin", pin=18)}, pins=chip)
    sink = open_sink("haptic", Control(pin))
    with pytest.raises(PinBusy):
        open_sink("haptic", Control(pin))
    sink.close()


@pytest.mark.parametrize(
    ("argument", "values", "says"),
    [
        ("5", {}, "valid are haptic and haptic:dummy"),
        ("", {"driver": "pin"}, "haptic.pin is -1"),
        ("", {"cues": ("smile", "joy")}, "haptic.cues has 'joy'; valid are smile, surprise, upset"),
    ],
)
def test_settings_that_name_no_motor_are_refused(argument: str, values: dict[str, Any], says: str) -> None:
    with pytest.raises(SettingsInvalid, match=says):
        HapticSink(argument, Control(Settings(own={"haptic": replace(HapticSettings(), **values)})))


def test_a_killed_runs_motor_is_stopped_by_dark(tmp_path: Path) -> None:
    from edge.cli import main

    (tmp_path / "18").write_bytes(b"1")
    settings = tmp_path / "settings.toml"
    settings.write_text(f'sinks = ["haptic"]\n[haptic]\ndriver = "pin"\npin = 18\n[pins]\nchip = "mock:{tmp_path}"\n')
    with pytest.raises(SystemExit) as ended:
        main(["dark", "--config", str(settings)])
    assert not ended.value.code
    assert (tmp_path / "18").read_bytes() == b"0"


def test_dark_stops_it_whatever_else_is_wrong_in_the_settings_and_names_that(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from edge.cli import main

    (tmp_path / "18").write_bytes(b"1")
    settings = tmp_path / "settings.toml"
    pins = f'[haptic]\ndriver = "pin"\npin = 18\n[pins]\nchip = "mock:{tmp_path}"\n'
    settings.write_text(f'sinks = ["haptic"]\nthreads = 99\n{pins}[cue]\nhodl = 1\n')
    with pytest.raises(SystemExit) as ended:
        main(["dark", "--config", str(settings)])
    assert (tmp_path / "18").read_bytes() == b"0"
    assert "settings.toml:2: threads is 99" in ended_by(SettingsInvalid, ended.value.code, capsys.readouterr().err)
