"""The oled sink on luma's own drivers: the bytes that they send are the cue's picture."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from edge.drawing.glyphs import Canvas, Colours, draw_cue
from edge.errors import RuntimeMissing, SettingsInvalid, SinkFailed
from edge.runtime.control import Control
from edge.settings import LookSettings, Settings
from edge.sinks import oled
from edge.sinks.oled import SIZES, OledSettings, OledSink
from edge.types import Cue, Update

pytest.importorskip("luma.oled", reason="luma.oled is not installed; ./deploy.sh sinks adds it")
# luma.oled 3.16 on Pillow 13.
pytestmark = pytest.mark.filterwarnings("ignore:Image.Image.getdata is deprecated:DeprecationWarning")

DARK = Cue("no_face", None, 0.0, 0.0)
SMILE = Cue("expression", "smile", 0.8, 1.0, None, "near", "left")
FROWN = Cue("expression", "sad", 0.8, 2.0, None, "near", "left")
OFF, ON, CONTRAST = 0xAE, 0xAF, 0x81  # all three chips' data sheets; the SSD1351's contrast is 0xC1


class Bus:
    """What is sent to a display, in order: bytes of commands and of data."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, bytes]] = []
        self.broken: Exception | None = None
        self.closed = 0

    def _take(self, kind: str, values: Any) -> None:
        if self.broken is not None:
            raise self.broken
        self.sent.append((kind, bytes(values)))

    def command(self, *values: int) -> None:
        self._take("command", values)

    def data(self, values: Any) -> None:
        self._take("data", values)

    def cleanup(self) -> None:
        self.closed += 1

    def commands(self) -> list[bytes]:
        return [values for kind, values in self.sent if kind == "command"]

    def data_bytes(self) -> bytes:
        return b"".join(values for kind, values in self.sent if kind == "data")


@pytest.fixture
def bus(monkeypatch: pytest.MonkeyPatch) -> Iterator[Bus]:
    """Stand in for the wires; broken at the end, so that luma's hook at the interpreter's end turns nothing off."""
    bus = Bus()
    monkeypatch.setattr(oled, "open_serial", lambda settings: bus)
    yield bus
    bus.broken = OSError(121, "Remote I/O error")


def control(chip: str = "ssd1306", **values: object) -> Control:
    width, height = SIZES[chip][0]
    settings = OledSettings(chip, "spi" if chip == "ssd1351" else "i2c", width=width, height=height)
    return Control(Settings(own={"oled": replace(settings, **values)}, look=LookSettings(arrow=True)))  # type: ignore[arg-type]


def update(cue: Cue) -> Update:
    return Update(None, (), (), (), cue, {}, 0)


def drawn(cue: Cue, width: int, height: int, colours: Colours) -> Canvas:
    return draw_cue(cue, width, height, LookSettings(arrow=True), colours)


def pages(data: bytes, width: int) -> Canvas:
    """Rebuild a 1-bit picture, 0 or 255: a byte is eight pixels of a column, the lowest bit on top."""
    columns = np.frombuffer(data, np.uint8).reshape(-1, 1, width)
    bits = columns >> np.arange(8, dtype=np.uint8)[None, :, None] & 1
    return (255 * bits.reshape(-1, width)).astype(np.uint8)


def rgb565(data: bytes, height: int, width: int) -> Canvas:
    """Rebuild a picture of 16 bits a pixel, high byte first."""
    values = np.frombuffer(data, ">u2").reshape(height, width).astype(int)
    return np.stack((values >> 11 << 3, (values >> 5 & 63) << 2, (values & 31) << 3), axis=2).astype(np.uint8)


@pytest.mark.parametrize(("width", "height"), SIZES["ssd1306"])
def test_what_an_ssd1306_is_sent_is_the_picture(bus: Bus, width: int, height: int) -> None:
    sink = OledSink("", control(width=width, height=height))
    for cue in (SMILE, FROWN):
        bus.sent.clear()
        sink.show(update(cue))
        np.testing.assert_array_equal(pages(bus.data_bytes(), width), drawn(cue, width, height, "mono"))
        assert len(bus.data_bytes()) == width * height // 8
    sink.close()


@pytest.mark.parametrize(("width", "height"), SIZES["sh1106"])
def test_what_an_sh1106_is_sent_page_by_page_is_the_picture(bus: Bus, width: int, height: int) -> None:
    sink = OledSink("", control("sh1106", width=width, height=height))
    bus.sent.clear()
    sink.show(update(SMILE))
    np.testing.assert_array_equal(pages(bus.data_bytes(), width), drawn(SMILE, width, height, "mono"))
    assert [command[0] for command in bus.commands()] == [0xB0 + page for page in range(height // 8)]
    sink.close()


@pytest.mark.parametrize(("width", "height"), SIZES["ssd1351"])
def test_what_an_ssd1351_is_sent_is_the_picture_in_colour(bus: Bus, width: int, height: int) -> None:
    sink = OledSink("", control("ssd1351", width=width, height=height))
    shown = np.zeros((height, width, 3), np.uint8)
    for cue in (SMILE, FROWN):
        bus.sent.clear()
        sink.show(update(cue))
        # It is sent rectangles: of columns (command 0x15) and rows (0x75), each with its first and last.
        column, row = (0, 0), (0, 0)
        opcode = 0
        for kind, values in bus.sent:
            if kind == "command":
                opcode = values[0]
            elif opcode == 0x15:
                column = (values[0], values[1] + 1)
            elif opcode == 0x75:
                row = (values[0], values[1] + 1)
            else:
                part = rgb565(values, row[1] - row[0], column[1] - column[0])
                shown[row[0] : row[1], column[0] : column[1]] = part
        expected = drawn(cue, width, height, "rgb") & np.array([0xF8, 0xFC, 0xF8], np.uint8)
        # luma.oled keeps five of green's six bits.
        assert np.abs(shown.astype(int) - expected).max() <= 4
    sink.close()


@pytest.mark.parametrize("chip", SIZES)
def test_it_is_off_while_there_is_nothing_to_say_and_shows_nothing_old_when_it_comes_on(bus: Bus, chip: str) -> None:
    sink = OledSink("", control(chip))
    assert bytes([ON]) in bus.commands(), "luma turns a new display on, black"
    bus.sent.clear()
    sink.show(update(DARK))
    assert bus.sent == [("command", bytes([OFF]))]
    bus.sent.clear()
    sink.show(update(SMILE))
    assert bus.sent[-1] == ("command", bytes([ON])), "only after the picture"
    assert len(bus.data_bytes()) > 100
    assert bus.commands().count(bytes([ON])) == 1
    bus.sent.clear()
    sink.show(update(FROWN))
    assert bytes([ON]) not in bus.commands(), "it is on"
    sink.show(update(DARK))
    bus.sent.clear()
    sink.close()
    assert bus.sent == [("command", bytes([OFF]))]
    assert bus.closed == 1
    sink.close()
    assert bus.closed == 1


def test_nothing_is_sent_while_the_picture_stays(bus: Bus) -> None:
    sink = OledSink("", control())
    sink.show(update(SMILE))
    bus.sent.clear()
    for confidence in range(20):
        sink.show(update(Cue("expression", "smile", confidence / 20, 1.0, None, "far", "left")))
    assert bus.sent == []
    sink.close()


@pytest.mark.parametrize(("brightness", "level"), [(0.0, 0), (0.5, 128), (1.0, 255)])
def test_brightness_is_the_contrast(bus: Bus, brightness: float, level: int) -> None:
    sink = OledSink("", control(brightness=brightness))
    assert bus.commands()[-1] == bytes([CONTRAST, level])
    sink.close()


@pytest.mark.parametrize("rotate_deg", [0, 90, 180, 270])
def test_a_display_that_is_mounted_turned_shows_it_upright(bus: Bus, rotate_deg: int) -> None:
    sink = OledSink("", control(rotate_deg=rotate_deg))
    bus.sent.clear()
    sink.show(update(SMILE))
    upright = drawn(SMILE, 128, 64, "mono") if rotate_deg % 180 == 0 else drawn(SMILE, 64, 128, "mono")
    np.testing.assert_array_equal(pages(bus.data_bytes(), 128), np.rot90(upright, -rotate_deg // 90))
    sink.close()


@pytest.mark.parametrize(("chip", "colours"), [("ssd1306", "mono"), ("sh1106", "mono"), ("ssd1351", "rgb")])
def test_the_dummy_shows_what_the_chip_would(chip: str, colours: Colours) -> None:
    sink = OledSink("dummy", control(chip))
    sink.show(update(SMILE))
    width, height = SIZES[chip][0]
    shown = np.array(sink.device.image.convert("RGB" if colours == "rgb" else "L"))
    np.testing.assert_array_equal(shown, drawn(SMILE, width, height, colours))
    assert sink.capabilities.least_interval == pytest.approx(0.1)
    sink.show(update(DARK))
    sink.close()


def test_a_bus_that_is_not_there_is_reported_with_how_to_turn_it_on() -> None:
    with pytest.raises(
        SinkFailed, match=r"no ssd1306 on I2C 9 at 0x3c: .*raspi-config nonint do_i2c 0.*i2cdetect -y 9"
    ):
        OledSink("", control(port=9))


def test_a_display_that_does_not_answer_releases_the_bus(bus: Bus) -> None:
    bus.broken = OSError(121, "Remote I/O error")
    with pytest.raises(SinkFailed, match="Remote I/O error"):
        OledSink("", control())
    assert bus.closed == 1


def test_a_display_that_goes_away_fails_and_the_next_one_shows_the_cue(bus: Bus) -> None:
    sink = OledSink("", control())
    sink.show(update(SMILE))
    bus.broken = OSError(121, "Remote I/O error")
    sink.show(update(SMILE))  # nothing to send, nothing noticed
    with pytest.raises(SinkFailed, match=r"no ssd1306 on I2C 1 at 0x3c: .*Remote I/O error"):
        sink.show(update(FROWN))
    sink.close()
    assert bus.closed == 1
    bus.broken = None
    again = OledSink("", control())
    bus.sent.clear()
    again.show(update(FROWN))
    np.testing.assert_array_equal(pages(bus.data_bytes(), 128), drawn(FROWN, 128, 64, "mono"))
    again.close()


@pytest.mark.parametrize(
    ("argument", "chip", "values", "message"),
    [
        ("usb", "ssd1306", {}, "valid are oled and oled:dummy"),
        ("", "ssd1306", {"width": 100}, "100 x 64; valid for ssd1306 are 128 x 64, 128 x 32"),
        ("", "ssd1351", {"height": 64}, "128 x 64; valid for ssd1351 are 128 x 128"),
        ("dummy", "ssd1351", {"bus": "i2c"}, "valid for ssd1351 is spi"),
    ],
)
def test_what_no_display_is_like_is_refused(argument: str, chip: str, values: dict[str, object], message: str) -> None:
    with pytest.raises(SettingsInvalid, match=message):
        OledSink(argument, control(chip, **values))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("missing", "message"),
    [
        ("luma", r"luma\.oled is not installed; install cuelens\[oled\], or in a checkout \./deploy\.sh sinks"),
        ("spidev", "apt install python3-spidev python3-rpi-lgpio"),
        ("RPi", "apt install python3-spidev python3-rpi-lgpio"),
    ],
)
def test_without_a_library_it_says_what_adds_it(monkeypatch: pytest.MonkeyPatch, missing: str, message: str) -> None:
    def absent(settings: OledSettings) -> None:
        raise ModuleNotFoundError(name=missing)

    monkeypatch.setattr(oled, "open_serial", absent)
    with pytest.raises(RuntimeMissing, match=message):
        OledSink("", control("sh1106", bus="spi"))


def test_the_first_column_is_the_drivers_own_or_the_settings(bus: Bus) -> None:
    for column, first in ((-1, 2), (0, 0), (4, 4)):
        bus.sent.clear()
        sink = OledSink("", control("sh1106", column=column))
        sink.show(update(SMILE))
        assert bytes([0xB0, first, 0x10]) in bus.commands()
        sink.close()


def test_a_chip_without_other_columns_says_so(bus: Bus) -> None:
    with pytest.raises(SettingsInvalid, match="column is 2; valid for ssd1306 is -1"):
        OledSink("", control("ssd1306", column=2))
