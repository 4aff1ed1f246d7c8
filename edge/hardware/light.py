"""The camera's light: on exactly while the camera is open, and where it cannot be lit nothing is captured."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from edge.errors import LightUnlit, SettingsInvalid
from edge.hardware.pins import Line, open_chip
from edge.settings import PinSettings

if TYPE_CHECKING:
    from edge.types import Camera, Frame

SETTLE = 0.1  # seconds within which a light that was switched is seen to have changed


class Light:
    """The light on `line`, which is low; `sense` is high while the light draws current, None where nothing reads it."""

    def __init__(self, line: Line, sense: Line | None = None) -> None:
        self._line = line
        self._shown_by = {"its pin": line} | ({"light_sense": sense} if sense is not None else {})

    def switch_on(self) -> None:
        """Light it; raises LightUnlit where it is not seen to be dark before and lit then, and leaves it dark."""
        try:
            for lit in (False, True):  # what says "lit" of a light that is off would say so of one that burnt out
                self._line.drive(lit)
                until = time.monotonic() + SETTLE
                while self._difference(lit) and time.monotonic() < until:
                    time.sleep(0.001)
                self._require(lit)
        except OSError as error:  # LightUnlit too
            self.switch_off()
            if isinstance(error, LightUnlit):
                raise
            raise LightUnlit(f"[pins] light cannot be switched on ({error}); nothing is captured") from error

    def check(self) -> None:
        """Raise LightUnlit unless the light is seen to be lit."""
        self._require(True)

    def _require(self, lit: bool) -> None:
        if why := self._difference(lit):
            wanted = "on" if lit else "off"
            raise LightUnlit(f"[pins] light: it is switched {wanted}, {why}; nothing is captured; check its wires")

    def _difference(self, lit: bool) -> str | None:
        for name, line in self._shown_by.items():
            try:
                high = line.is_high()
            except OSError as error:
                return f"{name} cannot be read ({error})"
            if high != lit:
                return f"{name} is {'high' if high else 'low'}"
        return None

    def switch_off(self) -> None:
        """Put it out; nothing is raised where its chip does not answer any more."""
        with contextlib.suppress(OSError):
            self._line.drive(False)

    def close(self) -> None:
        """Put it out and let go of its lines; it can't be lit after that."""
        self.switch_off()
        for line in self._shown_by.values():
            line.close()


def open_light(settings: PinSettings) -> Light | None:
    """Return the light, which is off, or None where the settings name none.

    Raises SettingsInvalid, RuntimeMissing, PinMissing or PinBusy.
    """
    if settings.light < 0:
        if settings.light_sense >= 0:
            raise SettingsInvalid(f"pins.light_sense is {settings.light_sense}, of no light; set pins.light too")
        return None
    chip = open_chip(settings.chip)
    line = chip.open_output(settings.light)
    return Light(line, chip.open_input(settings.light_sense) if settings.light_sense >= 0 else None)


class LitCamera:
    """A camera that is open only while the light is on: lit before `open_camera` is called, dark after it is closed.

    Raises LightUnlit, or what `open_camera` raises, on opening; LightUnlit and what the camera raises from frames().
    """

    live = True
    announced: int | None = None

    def __init__(self, light: Light, open_camera: Callable[[], Camera]) -> None:
        self._light = light
        self._changing = threading.Lock()
        self._open = True
        light.switch_on()
        try:
            self._camera = open_camera()
        except BaseException:
            light.switch_off()
            raise

    def frames(self) -> Iterator[Frame]:
        """Yield the camera's frames, each seen to be lit."""
        try:
            for frame in self._camera.frames():
                with self._changing:
                    if not self._open:
                        return
                    self._light.check()
                yield frame
        finally:
            self.close()

    @property
    def stuck(self) -> bool:
        """Whether close() left the camera open: the driver hangs, and the light is still on."""
        return self._camera.stuck

    def close(self) -> None:
        """Close the camera, then put the light out, unless the driver hangs with the camera open."""
        with self._changing:  # two threads close: none puts the light out while the other still closes the camera
            if self._open:  # a second time, the light may be another camera's
                self._open = False
                self._camera.close()
                if not self._camera.stuck:
                    self._light.switch_off()
