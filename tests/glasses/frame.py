"""Frame at the other end: Halo's emulator with the display and the Bluetooth library of Frame's firmware.

After the source (frame-codebase, 10/2025): display.c and bluetooth.c of its Lua libraries, and its FPGA's graphics.
A colour of its palette has 10 bits, here all 24.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from bumble import gatt
from halo_emulator import HaloEmulator

from edge.drawing.glyphs import Plan
from edge.sinks.glasses.halo import SIDE, draw_halo
from tests.glasses.peripherals import HaloPeripheral

WIDTH, HEIGHT = 640, 400
ENTRIES = (
    *("VOID", "WHITE", "GREY", "RED", "PINK", "DARKBROWN", "BROWN", "ORANGE", "YELLOW", "DARKGREEN", "GREEN"),
    *("LIGHTGREEN", "NIGHTBLUE", "SEABLUE", "SKYBLUE", "CLOUDBLUE"),
)  # of the palette
FIRMWARE = "v25.080.0838"


class FrameDisplay:
    """Two buffers of 640 x 400 pixels in 16 colours: one is drawn on, the other is seen."""

    def __init__(self) -> None:
        self.palette = np.zeros((len(ENTRIES), 3), np.uint8)
        self.seen = np.zeros((HEIGHT, WIDTH), np.uint8)
        self.saves_power = False
        self._drawn = np.zeros((HEIGHT, WIDTH), np.uint8)

    def assign_color(self, name: Any, *colour: int) -> None:
        """Take an entry's colour, by its name: a number is none."""
        if str(name) not in ENTRIES:
            raise ValueError("Invalid color name")
        self.palette[ENTRIES.index(str(name))] = colour

    def bitmap(self, x: int, y: int, width: int, colours: int, offset: int, data: str) -> None:
        """Draw pixels; a 0 among them is drawn too, as the dark entry."""
        assert 1 <= x <= WIDTH
        assert 1 <= y <= HEIGHT
        assert 1 <= width <= WIDTH
        assert colours == 2
        assert 0 <= offset <= 15
        bits = np.unpackbits(np.frombuffer(data.encode("latin-1"), np.uint8)).reshape(-1, width)
        entries = np.where(bits, bits + offset, 0)
        self._drawn[y - 1 : y - 1 + len(entries), x - 1 : x - 1 + width] = entries

    def show(self) -> None:
        """Have what was drawn seen, and begin with a dark buffer."""
        self.seen, self._drawn = self._drawn, np.zeros_like(self._drawn)

    def power_save(self, on: bool) -> None:
        self.saves_power = on


class FrameEmulator(HaloEmulator):
    """Halo's emulator, whose program finds Frame's libraries."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.frame_display = FrameDisplay()

    def _build_runtime(self) -> None:
        super()._build_runtime()
        frame = self._lua.globals().frame
        frame.FIRMWARE_VERSION = FIRMWARE
        names = ("assign_color", "bitmap", "show", "power_save")
        frame.display = self._lua.table_from({name: getattr(self.frame_display, name) for name in names})
        names = ("is_connected", "address", "max_length", "send", "receive_callback")
        frame.bluetooth = self._lua.table_from({name: frame.bluetooth[name] for name in names})


class FramePeripheral(HaloPeripheral):
    """Frame: Halo's service without sound, and no battery that Bluetooth could be asked for."""

    def __init__(self, name: str = "Frame 4F") -> None:
        super().__init__(name)
        self._make = lambda: FrameEmulator(self.folder, print_handler=self._print)
        self.emulator = self._make()

    def gatt_services(self) -> list[gatt.Service]:
        return [gatt.Service(self.services[0], [self._rx, self._tx])]

    @property
    def display(self) -> FrameDisplay:
        display: FrameDisplay = self.emulator.frame_display
        return display

    @property
    def seen(self) -> np.ndarray[Any, Any]:
        """What the wearer sees: RGB (400, 640, 3)."""
        return self.display.palette[self.display.seen]

    def shows(self, plan: Plan) -> bool:
        """Return whether the wearer sees the plan's picture in the middle, and no other pixel."""
        top, left = (HEIGHT - SIDE) // 2, (WIDTH - SIDE) // 2
        picture = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
        picture[top : top + SIDE, left : left + SIDE] = draw_halo(plan)
        return bool(np.array_equal(self.seen, picture))
