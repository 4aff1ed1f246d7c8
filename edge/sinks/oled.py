"""`oled`, `oled:dummy`: the cue on a small display on I2C or SPI (SSD1306, SH1106, SSD1351), through luma.oled."""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

from edge.drawing.glyphs import Colours, Plan, draw_plan, plan_cue
from edge.errors import RuntimeMissing, SettingsInvalid, SinkFailed
from edge.needs import Bus, Needs, from_system, missing_library
from edge.runtime.control import Control
from edge.settings import Settings
from edge.types import Capabilities, Clock, Update

# What luma.oled 3.16's drivers take, in pixels.
SIZES = {
    "ssd1306": ((128, 64), (128, 32), (64, 48), (64, 32)),
    "sh1106": ((128, 64), (128, 128), (128, 32)),
    "ssd1351": ((128, 128), (128, 96), (96, 96)),
}
_COLUMN = {"sh1106": "page_address_offset", "ssd1351": "h_offset"}  # what the drivers call the first column
ADDRESSES = (0x3C, 0x3D)  # as a solder bridge on the board chooses
INTERVAL = 0.1  # seconds: 1 kB at I2C's 400 kHz takes 25 ms, and its driver as long on a small board
_I2C_HELP = "turn it on with sudo raspi-config nonint do_i2c 0, and see what answers with i2cdetect -y"
_SPI_HELP = "turn it on with sudo raspi-config nonint do_spi 0"


@dataclass(frozen=True, slots=True)
class OledSettings:
    """The `oled` sink: a small display on I2C or SPI."""

    chip: str = field(default="ssd1306", metadata={"choices": ("ssd1306", "sh1106", "ssd1351")})
    """The controller of the display; the ssd1351 needs `bus = "spi"`, `port = 0` and `height = 128`."""

    bus: str = field(default="i2c", metadata={"choices": ("i2c", "spi")})
    """The bus that the display is wired to."""

    port: int = field(default=1, metadata={"range": (0, 63)})
    """Number of the I2C or SPI bus: 1 is the Raspberry Pi's I2C, 0 its SPI."""

    address: int = field(default=0x3C, metadata={"range": (0x08, 0x77), "meant": {0x78: 0x3C, 0x7A: 0x3D}})
    """Address on I2C: 60 (0x3c) or 61 (0x3d), which boards print as 0x78 and 0x7a."""

    column: int = field(default=-1, metadata={"range": (-1, 15)})
    """First of the chip's columns that the display shows; -1 is the driver's own choice, 2 that of an SH1106."""

    width: int = field(default=128, metadata={"range": (32, 512), "unit": "px"})
    """Pixels of the display."""

    height: int = field(default=64, metadata={"range": (32, 512), "unit": "px"})
    """Pixels of the display."""

    rotate_deg: int = field(default=0, metadata={"choices": (0, 90, 180, 270), "unit": "degrees"})
    """Turns the picture clockwise."""

    brightness: float = field(default=0.5, metadata={"range": (0.0, 1.0)})
    """Contrast of the display."""


class OledSink:
    """Send the cue's picture to the display when it changes, and turn the display off while there is nothing to say.

    `oled` is the display that the settings name; `oled:dummy` is none, of the same size: what is shown is in `device`.
    """

    settings_type = OledSettings

    @staticmethod
    def needs(argument: str, settings: Settings) -> Needs:
        """State the bus, its group, and the address on I2C."""
        modules, oled = ("luma.oled", "PIL"), settings.of(OledSettings)
        if argument == "dummy":
            return Needs(modules, safe_mode=True)
        on_i2c = oled.bus == "i2c"
        bus = Bus(oled.port, oled.address, ADDRESSES) if on_i2c else Bus(oled.port)
        named = dict.fromkeys(("i2c",) if on_i2c else ("spi", "gpio"), "the display")
        return Needs(modules, groups=named, bus=bus, place="display", safe_mode=True)

    def __init__(self, argument: str, control: Control, clock: Clock = time.monotonic) -> None:
        """Open the display; raises SettingsInvalid, RuntimeMissing, or SinkFailed where none answers."""
        self._control, self._clock = control, clock
        settings = control.settings.of(OledSettings)
        _check(argument, settings)
        self._colours: Colours = "rgb" if settings.chip == "ssd1351" else "mono"
        self._closed = False
        self._serial: Any = None
        self._on = True
        self._shown: Plan | None = None
        try:
            self._errors = (import_module("luma.core.error").Error, OSError)
            self._image = import_module("PIL.Image")
            self.device = self._open(settings, dummy=argument == "dummy")
        except ImportError as error:
            if self._serial is None and error.name in ("spidev", "RPi", "RPi.GPIO"):
                raise RuntimeMissing(
                    f"the oled sink's {error.name} is not installed, which SPI needs; "
                    f"{from_system('python3-spidev', 'python3-rpi-lgpio')}"
                ) from error
            raise missing_library("oled", "luma.oled") from error
        self.capabilities = Capabilities(least_interval=INTERVAL)

    def _open(self, settings: OledSettings, *, dummy: bool) -> Any:
        rotate = settings.rotate_deg // 90
        if dummy:
            mode = "RGB" if self._colours == "rgb" else "1"
            return import_module("luma.core.device").dummy(settings.width, settings.height, rotate, mode)
        driver = getattr(import_module("luma.oled.device"), settings.chip)
        try:
            self._serial = open_serial(settings)
            column = {_COLUMN[settings.chip]: settings.column} if settings.column >= 0 else {}
            device = driver(self._serial, width=settings.width, height=settings.height, rotate=rotate, **column)
            device.contrast(round(255 * settings.brightness))
        except self._errors as error:
            self._release()
            raise self._failure(error) from error
        return device

    def _failure(self, error: Exception) -> SinkFailed:
        settings = self._control.settings.of(OledSettings)
        where, advice = f"SPI {settings.port}", _SPI_HELP
        if settings.bus == "i2c":
            where, advice = f"I2C {settings.port} at 0x{settings.address:02x}", f"{_I2C_HELP} {settings.port}"
        return SinkFailed(f"oled: no {settings.chip} on {where}: {error}; {advice}")

    def show(self, update: Update) -> None:
        """Send the cue if its picture is another one; raises SinkFailed when the display does not answer any more."""
        plan = plan_cue(update.cue, self._control.settings.look, self._control.notice(self._clock()))
        if plan == self._shown:
            return
        try:
            if plan.glyph is None:
                self.device.hide()
            else:
                picture = draw_plan(plan, self.device.width, self.device.height, self._colours)
                self.device.display(self._image.fromarray(picture).convert(self.device.mode))
                if not self._on:
                    self.device.show()  # only now: what it showed last is never seen again
            self._on = plan.glyph is not None
        except self._errors as error:
            raise self._failure(error) from error
        self._shown = plan

    def close(self) -> None:
        """Turn the display off and release the bus."""
        if not self._closed:
            self._closed = True
            with contextlib.suppress(*self._errors):  # one that is gone cannot be turned off
                self.device.hide()
            self._release()

    def _release(self) -> None:
        if self._serial is not None:
            with contextlib.suppress(*self._errors):
                self._serial.cleanup()


def open_serial(settings: OledSettings) -> Any:
    """Open the bus that the settings name; raises luma's Error, OSError or ImportError."""
    serial = import_module("luma.core.interface.serial")
    if settings.bus == "i2c":
        return serial.i2c(port=settings.port, address=settings.address)
    return serial.spi(port=settings.port)


def _check(argument: str, settings: OledSettings) -> None:
    if argument not in ("", "dummy"):
        raise SettingsInvalid(f"oled:{argument}: valid are oled and oled:dummy; the rest is set in [oled]")
    sizes = SIZES[settings.chip]
    if (settings.width, settings.height) not in sizes:
        valid = ", ".join(f"{width} x {height}" for width, height in sizes)
        raise SettingsInvalid(
            f"oled: width x height is {settings.width} x {settings.height}; valid for {settings.chip} are {valid}"
        )
    if settings.column >= 0 and settings.chip not in _COLUMN:
        raise SettingsInvalid(f"oled: column is {settings.column}; valid for {settings.chip} is -1: it has no other")
    if settings.chip == "ssd1351" and settings.bus == "i2c":
        raise SettingsInvalid("oled: bus is 'i2c'; valid for ssd1351 is spi")
