"""The pause button: one press, and no frame is read any more."""

from __future__ import annotations

import threading
from collections.abc import Callable

from edge.errors import PinMissing
from edge.hardware.pins import Line, open_chip
from edge.runtime.control import Control
from edge.settings import PinSettings
from edge.system.messages import failed

WAIT = 0.2  # seconds between looks at whether it is to end
END = 1.0  # seconds that its thread may take to end


class PauseButton:
    """A button on `line`, followed by a thread of its own; one that breaks pauses, and is reported through `say`."""

    def __init__(self, line: Line, control: Control, say: Callable[[str], None]) -> None:
        self._line = line
        self._control = control
        self._say = say
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="pause button", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            while not self._closing.is_set():
                for _ in range(self._line.count_falls(WAIT)):
                    self._control.paused = not self._control.paused
        except Exception as error:  # whoever can't pause any more is not to be looked at
            self._control.pause_unasked()
            failure = PinMissing(f"[pins] pause: the button cannot be read ({error}); paused; check its wires")
            self._say(failed(failure, "then start again"))

    def close(self) -> None:
        """Let go of the button."""
        self._closing.set()
        self._thread.join(END)
        self._line.close()


def open_button(settings: PinSettings, control: Control, say: Callable[[str], None]) -> PauseButton | None:
    """Return the button, or None where the settings name none; raises RuntimeMissing, PinMissing or PinBusy."""
    if settings.pause < 0:
        return None
    return PauseButton(open_chip(settings.chip).open_button(settings.pause), control, say)
