"""Lines of a GPIO chip, by number: what the camera's light and the pause button are wired to."""

from __future__ import annotations

from importlib import import_module
from typing import Protocol


class Line(Protocol):
    """A line that is held until closed; its methods raise OSError where the chip does not answer."""

    def is_high(self) -> bool:
        """Return the line's level now, also of an output."""

    def drive(self, high: bool) -> None:
        """Set an output's level."""

    def count_falls(self, seconds: float) -> int:
        """Wait up to `seconds` for a button's line to go low, and return how often it did since the last call."""

    def close(self) -> None:
        """Let go of the line; may be called twice. What level an output then has is the kernel's choice."""


class Chip(Protocol):
    """Where lines are had from; its methods raise PinMissing or PinBusy."""

    def open_output(self, number: int) -> Line:
        """Return a line that is driven low."""

    def open_input(self, number: int) -> Line:
        """Return a line that is low unless something outside drives it."""

    def open_button(self, number: int) -> Line:
        """Return a line that is high unless something outside pulls it low, debounced."""


def open_chip(name: str) -> Chip:
    """Open a chip by its device; "" is the Raspberry Pi's header, `mock:FOLDER` a folder that stands in for a chip.

    Raises RuntimeMissing or PinMissing.
    """
    kind, _, argument = name.partition(":")
    chip: Chip
    if kind == "mock":
        chip = import_module("edge.hardware.pins.mock").MockChip(argument)
    else:
        chip = import_module("edge.hardware.pins.gpio").GpioChip(name)
    return chip
