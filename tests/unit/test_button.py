"""The pause button: each press pauses or goes on; one that breaks pauses."""

from __future__ import annotations

import queue
import threading

from edge.hardware.button import PauseButton, open_button
from edge.runtime.control import Control
from edge.settings import PinSettings


class Pressed:
    """A button's line that returns what is put in `presses`: how many there were, or what went wrong."""

    def __init__(self) -> None:
        self.presses: queue.Queue[int | Exception] = queue.Queue()
        self.closed = False

    def count_falls(self, seconds: float) -> int:
        try:
            item = self.presses.get(timeout=seconds)
        except queue.Empty:
            return 0
        self.presses.task_done()
        if isinstance(item, Exception):
            raise item
        return item

    def close(self) -> None:
        self.closed = True


class Watched(Control):
    """Puts each pause and resumption into a queue that a test can wait on."""

    def __init__(self) -> None:
        self.changes: queue.Queue[bool] = queue.Queue()
        super().__init__()

    def __setattr__(self, name: str, value: object) -> None:
        super().__setattr__(name, value)
        if name == "paused":
            self.changes.put(bool(value))

    def pause_unasked(self) -> None:
        super().pause_unasked()
        self.changes.put(True)


def test_each_press_pauses_or_goes_on() -> None:
    line, control = Pressed(), Watched()
    button = PauseButton(line, control, say=print)
    for count, expected in ((1, [True]), (1, [False]), (2, [True, False])):
        line.presses.put(count)
        assert [control.changes.get(timeout=60) for _ in range(count)] == expected
    button.close()
    assert line.closed
    assert "pause button" not in {thread.name for thread in threading.enumerate()}


def test_a_button_that_breaks_pauses_and_is_reported() -> None:
    line, control, lines = Pressed(), Watched(), queue.Queue[str]()
    button = PauseButton(line, control, say=lines.put)
    line.presses.put(OSError(19, "No such device"))
    assert "the button cannot be read ([Errno 19] No such device); paused" in lines.get(timeout=60)
    assert control.paused
    button.close()


def test_without_a_button_there_is_none() -> None:
    assert open_button(PinSettings(), Control(), say=print) is None
