"""`haptic`, `haptic:dummy`: the cue as a rhythm of a vibration motor, through TI's DRV2605L or a GPIO line.

Rhythms, not places, tell cues apart: one motor is enough (Buimer et al., PLoS ONE 13, 2018, used places on a belt).
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

from edge.backends import import_for
from edge.cue.policy import WORD_OF
from edge.errors import SettingsInvalid, SinkFailed
from edge.hardware.pins import Line, open_chip
from edge.needs import Bus, Needs
from edge.runtime.control import Control
from edge.settings import Settings
from edge.sinks.onsets import Onsets
from edge.types import Capabilities, Clock, Cue, Update

Beat = tuple[float, float]  # seconds of a pulse, and of the pause after it
DEADLINE = 2.0  # seconds that a rhythm, and what is before it, may take

# Short and long, one long, three that fall, a tick: they differ in number and length, the least in strength.
RHYTHMS: dict[str, tuple[Beat, ...]] = {
    "smile": ((0.08, 0.12), (0.30, 0.0)),
    "surprise": ((0.60, 0.0),),
    "upset": ((0.16, 0.10), (0.12, 0.10), (0.08, 0.0)),
    "face": ((0.03, 0.0),),
}
# The same of the DRV2605L's own library (data sheet SLOS854D, chapter 12.1.2): effects, and pauses of 10 ms with bit 7.
EFFECTS: dict[str, tuple[int, ...]] = {
    "smile": (1, 0x80 | 12, 47),  # strong click, then a buzz at 100 %
    "surprise": (15,),  # alert of 750 ms
    "upset": (47, 0x80 | 6, 49, 0x80 | 6, 51),  # buzzes at 100, 60 and 20 %
    "face": (24,),  # sharp tick
}

ADDRESS = 0x5A  # the chip has no other
STATUS, MODE, LIBRARY, SEQUENCE, GO, CLAMP, FEEDBACK, CONTROL_3 = 0x00, 0x01, 0x03, 0x04, 0x0C, 0x17, 0x1A, 0x1D
DEVICE_ID = 7  # of a DRV2605L, in the status' upper three bits; the DRV2605 before it has 3
READY, STANDBY = 0x00, 0x40  # of MODE
ERM_LIBRARY = 1  # A, for motors of 1.3 V, 3 V at most
FULL_CLAMP = 0x89  # the chip's own, 3 V: what the motor gets at most
OPEN_LOOP = 0x20
SLOTS = 8  # of a sequence


@dataclass(frozen=True, slots=True)
class HapticSettings:
    """The `haptic` sink: a motor that vibrates."""

    driver: str = field(default="drv2605l", metadata={"choices": ("drv2605l", "pin")})
    """What drives the motor: TI's DRV2605L on I2C, or a line of the GPIO header with a transistor."""

    port: int = field(default=1, metadata={"range": (0, 63)})
    """Number of the I2C bus of the DRV2605L."""

    pin: int = field(default=-1, metadata={"range": (-1, 1023)})
    """The line's (BCM) number, with driver = "pin"."""

    strength: float = field(default=0.6, metadata={"range": (0.1, 1.0)})
    """Strength of the vibration; on a GPIO line, the length of each pulse."""

    cues: tuple[str, ...] = ("smile", "surprise", "upset")
    """The cues that are felt."""

    tick: bool = True
    """A tick when a face turns up that is not read yet."""

    repeat: float = field(default=10.0, metadata={"range": (0.0, 3600.0), "unit": "s"})
    """Seconds before the same cue is felt again."""


class Motor(Protocol):
    """What vibrates."""

    def play(self, rhythm: str) -> None:
        """Begin a rhythm in the place of what plays; raises OSError."""

    def stop(self) -> None:
        """Stop it; raises OSError."""

    def close(self) -> None:
        """Stop, and let go of it; may be called twice."""


class Drv2605l:
    """The chip plays a sequence by itself and ends it by itself, whatever becomes of us."""

    def __init__(self, bus: Any, strength: float) -> None:
        """Wake it up; raises OSError where none answers, SinkFailed where another chip does."""
        self._bus = bus
        found = bus.read_byte_data(ADDRESS, STATUS) >> 5
        if found not in (3, DEVICE_ID):
            raise SinkFailed(
                f"haptic: the chip at 0x{ADDRESS:02x} has id {found}, a DRV2605L has {DEVICE_ID}; is it another part?"
            )
        self._set(MODE, READY)
        self._set(FEEDBACK, bus.read_byte_data(ADDRESS, FEEDBACK) & 0x7F)  # a motor with a weight (ERM), no LRA
        self._set(CONTROL_3, bus.read_byte_data(ADDRESS, CONTROL_3) | OPEN_LOOP)
        self._set(LIBRARY, ERM_LIBRARY)
        self._set(CLAMP, round(FULL_CLAMP * strength))

    def _set(self, register: int, value: int) -> None:
        self._bus.write_byte_data(ADDRESS, register, value)

    def play(self, rhythm: str) -> None:
        """Fill the sequencer, and start it."""
        self._set(GO, 0)
        for slot, effect in enumerate((*EFFECTS[rhythm], 0)[:SLOTS]):
            self._set(SEQUENCE + slot, effect)
        self._set(GO, 1)

    def stop(self) -> None:
        """Stop the sequence."""
        self._set(GO, 0)

    def close(self) -> None:
        """Put the chip to sleep."""
        if self._bus is not None:
            bus, self._bus = self._bus, None
            with contextlib.suppress(OSError):
                bus.write_byte_data(ADDRESS, GO, 0)
                bus.write_byte_data(ADDRESS, MODE, STANDBY)
            bus.close()


class PinMotor:
    """A motor behind a transistor; a line has no strength, so weaker means shorter."""

    def __init__(self, line: Line, strength: float, sleep: Callable[[float], None] = time.sleep) -> None:
        self._line: Line | None = line
        self._share = strength
        self._sleep = sleep

    def play(self, rhythm: str) -> None:
        """Play it to its end; the line is low afterwards whatever happens."""
        assert self._line is not None
        try:
            for pulse, pause in RHYTHMS[rhythm]:
                self._line.drive(True)
                self._sleep(pulse * self._share)
                self._line.drive(False)
                self._sleep(pause)
        finally:
            self._line.drive(False)

    def stop(self) -> None:
        """It stands still already: play() returns when it does."""

    def close(self) -> None:
        """Let go of the line, low."""
        if self._line is not None:
            line, self._line = self._line, None
            with contextlib.suppress(OSError):
                line.drive(False)
            line.close()


class DummyMotor:
    """No motor: what would be felt is in `played`."""

    def __init__(self) -> None:
        self.played: list[str] = []

    def play(self, rhythm: str) -> None:
        """Note it."""
        self.played.append(rhythm)

    def stop(self) -> None:
        """Nothing vibrates."""

    def close(self) -> None:
        """Nothing was opened."""


class HapticSink:
    """Play a rhythm when a cue comes up that the wearer wants to feel, and a tick when a face turns up.

    `haptic` is the motor of the settings, `haptic:dummy` is none.
    """

    capabilities = Capabilities(deadline=DEADLINE)

    settings_type = HapticSettings

    @staticmethod
    def needs(argument: str, settings: Settings) -> Needs:
        """State the chip's bus, or the motor's line."""
        haptic = settings.of(HapticSettings)
        if argument == "dummy":
            return Needs()
        if haptic.driver != "pin":
            bus = Bus(haptic.port, ADDRESS)
            return Needs(("smbus2",), groups={"i2c": "the motor"}, bus=bus, place="motor")
        modules = () if settings.pins.chip.startswith("mock:") else ("gpiod",)
        pins = (haptic.pin,) if haptic.pin >= 0 else ()
        return Needs(modules, groups={"gpio": "the motor"}, pins=pins, place="motor")

    def __init__(self, argument: str, control: Control, clock: Clock = time.monotonic) -> None:
        """Open the motor of the [haptic] settings.

        Raises SettingsInvalid, RuntimeMissing, SinkFailed, PinMissing or PinBusy.
        """
        settings = control.settings.of(HapticSettings)
        check_settings(argument, settings)
        self._control, self._clock = control, clock
        self._onsets = Onsets()
        dummy = argument == "dummy"
        self.motor: Motor = DummyMotor() if dummy else open_motor(settings, control.settings.pins.chip)

    def show(self, update: Update) -> None:
        """Play the cue's rhythm if it is due; raises SinkFailed where the motor does not answer any more."""
        settings = self._control.settings.of(HapticSettings)
        rhythm, now = felt(update.cue, settings), self._clock()
        try:
            if self._onsets.due(rhythm, now, settings.repeat) and rhythm is not None:
                self.motor.play(rhythm)
                self._onsets.hear(rhythm, now)
            elif update.cue.state in ("paused", "stopped", "no_camera"):
                self.motor.stop()
        except OSError as error:
            raise SinkFailed(f"haptic: the motor's driver does not answer: {error}; check its wires") from error

    def close(self) -> None:
        """Stop the motor, and let go of it."""
        self.motor.close()


def felt(cue: Cue, settings: HapticSettings) -> str | None:
    """Return the rhythm that a cue is felt as, None for none: never `unsure`, but that somebody turned up."""
    if cue.state == "unsure":
        return "face" if cue.reason == "new" and settings.tick else None
    expression = cue.expression or ""
    name = WORD_OF.get(expression, expression)  # where the model's own classes are the vocabulary
    return name if name in RHYTHMS and name in settings.cues else None


def check_settings(argument: str, settings: HapticSettings) -> None:
    """Raise SettingsInvalid where the sink's argument or its settings name nothing that can be felt."""
    if argument not in ("", "dummy"):
        raise SettingsInvalid(f"haptic:{argument}: valid are haptic and haptic:dummy; the rest is set in [haptic]")
    valid = [name for name in RHYTHMS if name != "face"]
    if unknown := [name for name in settings.cues if name not in valid]:
        raise SettingsInvalid(f"haptic.cues has {unknown[0]!r}; valid are {', '.join(valid)}")
    if settings.driver == "pin" and settings.pin < 0 and not argument:
        raise SettingsInvalid("haptic.pin is -1 with driver = 'pin'; name the line's (BCM) number")


def open_motor(settings: HapticSettings, chip: str) -> Motor:
    """Open the motor that the settings name; raises RuntimeMissing, SinkFailed, PinMissing or PinBusy."""
    if settings.driver == "pin":
        return PinMotor(open_chip(chip).open_output(settings.pin), settings.strength)
    smbus = import_for("haptic", "smbus2", "smbus2")
    try:
        bus = smbus.SMBus(settings.port)
        try:
            return Drv2605l(bus, settings.strength)
        except BaseException:
            bus.close()
            raise
    except SinkFailed:
        raise
    except OSError as error:
        raise SinkFailed(
            f"haptic: no DRV2605L at 0x{ADDRESS:02x} on I2C {settings.port}: {error}; turn it on with "
            f"sudo raspi-config nonint do_i2c 0, and see what answers with i2cdetect -y {settings.port}"
        ) from error
