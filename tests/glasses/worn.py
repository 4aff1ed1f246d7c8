"""A pair of glasses in the air with the sink that shows on it, for tests: what was shown, and what was printed."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from edge.drawing.glyphs import plan_cue
from edge.runtime.control import Control
from edge.runtime.links import LinkReport
from edge.settings import LookSettings, Settings
from edge.sinks.glasses import link as link_module
from edge.sinks.glasses.sink import GlassesSink
from edge.types import Cue, Update
from tests.glasses.air import AirRadio, Peripheral
from tests.glasses.peripherals import ActiveLookPeripheral, HaloPeripheral

PATIENCE = 90.0  # seconds until a test stops waiting for what must come: the machine may be busy

SMILE = Cue("expression", "smile", 0.9, 0.0)
UPSET = Cue("expression", "upset", 0.9, 0.0)
NOBODY = Cue("no_face", None, 0.0, 0.0)
LOOK = LookSettings()


def wait_until(holds: Callable[[], Any], what: str = "") -> None:
    """Wait until something holds; fails after PATIENCE."""
    end = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < end, f"never came: {what or holds}"
        time.sleep(0.01)


def shows(glasses: ActiveLookPeripheral | HaloPeripheral, cue: Cue, look: LookSettings = LOOK) -> bool:
    """Return whether the wearer sees the cue's picture, and no other pixel."""
    return glasses.shows(plan_cue(cue, look))


class Worn:
    """A sink and its glasses."""

    def __init__(
        self, make: str, peripheral: Peripheral, *others: Peripheral, look: LookSettings | None = None
    ) -> None:
        self.control = Control(Settings(look=look or LookSettings()))
        self.radio = AirRadio(peripheral, *others)
        self.spec = f"glasses:{make}:{peripheral.name}"
        self.sink = GlassesSink(self.spec.partition(":")[2], self.control, self.radio)
        self.report: LinkReport = self.control.links[self.spec]
        self.cue = Cue("no_face", None, 0.0, 0.0)

    def show(self, cue: Cue) -> None:
        self.cue = cue
        self.sink.show(Update(None, (), (), (), cue, {}, 0))

    def hold(self, cue: Cue, holds: Callable[[], Any], what: str = "") -> None:
        """Show a cue again and again, as a run does, until something holds."""

        def again() -> Any:
            self.show(cue)
            return holds()

        wait_until(again, what)

    def look(self, **values: Any) -> None:
        self.control._settings = replace(self.control.settings, look=LookSettings(**values))


@contextlib.contextmanager
def worn(make: str, peripheral: Peripheral, *others: Peripheral, **options: Any) -> Iterator[Worn]:
    """Put glasses on for the time, and wait until they are connected."""
    one = Worn(make, peripheral, *others, **options)
    try:
        wait_until(lambda: one.report.state == "connected", f"a connection: {one.report}")
        yield one
    finally:
        one.sink.close()
        assert not one.sink._link._thread.is_alive(), "the link did not end"


def quick(monkeypatch: Any, **seconds: float) -> None:
    """Make some of the link's waits shorter."""
    for name, value in seconds.items():
        monkeypatch.setattr(link_module, name, value)
