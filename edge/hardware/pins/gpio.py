"""GPIO lines through the kernel's character device and libgpiod, which lets go of them whatever ends this process."""

from __future__ import annotations

import errno
import re
from datetime import timedelta
from importlib import import_module
from pathlib import Path
from typing import Any

from edge.errors import PinBusy, PinMissing, RuntimeMissing
from edge.needs import from_extra

HEADER = re.compile(r"pinctrl-(bcm|rp1)")  # labels: bcm2835 and bcm2711 up to the Pi 4, rp1 on the 5
DEBOUNCE = timedelta(milliseconds=20)  # small push buttons bounce for up to ten
_REFUSALS = (OSError, ValueError, NotImplementedError)  # what libgpiod makes of errno


class GpioChip:
    """The chip at `path`, "" for the one that the Raspberry Pi's header is on."""

    def __init__(self, path: str) -> None:
        try:
            self._gpiod = import_module("gpiod")
            self._line = import_module("gpiod.line")
            self._settings = self._gpiod.LineSettings
        except (ImportError, AttributeError) as error:  # Bookworm's python3-libgpiod is libgpiod 1's, of the same name
            raise RuntimeMissing(f"[pins] needs gpiod 2 ({error}); {from_extra('pins')}") from error
        self._path = path or self._find_header()

    def _find_header(self) -> str:
        seen = []
        for path in sorted(Path("/dev").glob("gpiochip*")):
            try:
                with self._gpiod.Chip(str(path)) as chip:
                    label = chip.get_info().label
            except OSError as error:
                label = error.strerror or str(error)
            if HEADER.match(label):
                return str(path)
            seen.append(f"{path} ({label})")
        raise PinMissing(
            f"[pins] chip: no Raspberry Pi's GPIO header; found: {', '.join(seen) or 'no /dev/gpiochip*'}; "
            "name the chip, or add the user to the group gpio where permission is denied"
        )

    def open_output(self, number: int) -> GpioLine:
        """Return a line that is driven low."""
        return self._open(number, direction=self._line.Direction.OUTPUT, output_value=self._line.Value.INACTIVE)

    def open_input(self, number: int) -> GpioLine:
        """Return a line that is pulled down."""
        return self._open(number, direction=self._line.Direction.INPUT, bias=self._line.Bias.PULL_DOWN)

    def open_button(self, number: int) -> GpioLine:
        """Return a line that is pulled up, and whose falls are counted once it has been still for DEBOUNCE."""
        return self._open(
            number,
            direction=self._line.Direction.INPUT,
            bias=self._line.Bias.PULL_UP,
            edge_detection=self._line.Edge.FALLING,
            debounce_period=DEBOUNCE,
        )

    def _open(self, number: int, **settings: Any) -> GpioLine:
        where = f"[pins]: line {number} of {self._path}"
        try:
            request = self._gpiod.request_lines(self._path, {number: self._settings(**settings)}, consumer="cuelens")
        except _REFUSALS as error:
            if isinstance(error, OSError) and error.errno == errno.EBUSY:
                with self._gpiod.Chip(self._path) as chip:
                    user = chip.get_line_info(number).consumer
                raise PinBusy(f"{where} is in use by {user!r}; end that, or wire and name another line") from error
            if isinstance(error, PermissionError):
                raise PinMissing(
                    f"{where}: permission denied; sudo usermod -aG gpio $USER, then log in again"
                ) from error
            why = error.strerror if isinstance(error, OSError) else str(error)
            raise PinMissing(f"{where} cannot be had ({why}); gpioinfo lists chips and lines") from error
        return GpioLine(request, number, self._line.Value)


class GpioLine:
    """A line as the kernel gave it."""

    def __init__(self, request: Any, number: int, value: Any) -> None:
        self._request = request
        self._number = number
        self._value = value

    def is_high(self) -> bool:
        """Return the line's level; of an output, the level at the pin on a Raspberry Pi, not the one that was set."""
        return bool(self._request.get_value(self._number) == self._value.ACTIVE)

    def drive(self, high: bool) -> None:
        """Set an output's level."""
        self._request.set_value(self._number, self._value.ACTIVE if high else self._value.INACTIVE)

    def count_falls(self, seconds: float) -> int:
        """Wait up to `seconds` for the line to fall, and return how often it did."""
        return len(self._request.read_edge_events()) if self._request.wait_edge_events(seconds) else 0

    def close(self) -> None:
        """Let go of the line."""
        self._request.release()
