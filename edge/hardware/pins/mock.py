"""A folder that stands in for a GPIO chip: a file for each line in use, `1` while it is high and `0` while it is low.

What is written into an input's file is its level: `echo 0 >FOLDER/17` presses a button, `echo 1 >FOLDER/17` lets it go.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

from edge.backends import require_linux
from edge.errors import PinBusy, PinMissing

if sys.platform != "win32":
    import fcntl

POLL = 0.01  # seconds; low twice is a press: a file that somebody writes is empty for a moment


class MockChip:
    """The folder `argument`, which must be there."""

    def __init__(self, argument: str) -> None:
        require_linux("[pins] chip mock")
        self._folder = Path(argument)
        if not argument or not self._folder.is_dir():
            raise PinMissing(f"[pins] chip mock:{argument}: no such folder; make one, as mock:/tmp/pins")

    def open_output(self, number: int) -> MockLine:
        """Return a line that is driven low."""
        return MockLine(self._folder / str(number), b"0")

    def open_input(self, number: int) -> MockLine:
        """Return a line that is low until its file states otherwise."""
        return MockLine(self._folder / str(number), b"0")

    def open_button(self, number: int) -> MockLine:
        """Return a line that is high until its file states otherwise."""
        return MockLine(self._folder / str(number), b"1")


class MockLine:
    """A file that is locked while held, and keeps its level afterwards, as an output of a Raspberry Pi does."""

    def __init__(self, path: Path, level: bytes) -> None:
        try:
            path.touch()
            self._file = path.open("rb+", buffering=0)
        except OSError as error:
            raise PinMissing(f"[pins]: {path}: {error.strerror}; give a folder that can be written") from error
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            self._file.close()
            raise PinBusy(f"[pins]: {path} is in use; end what holds it, or name another line") from error
        self._lows = 0  # times in a row that it was found low
        os.pwrite(self._file.fileno(), level, 0)

    def is_high(self) -> bool:
        """Return what the file states."""
        return os.pread(self._file.fileno(), 1, 0) == b"1"

    def drive(self, high: bool) -> None:
        """Write an output's level."""
        os.pwrite(self._file.fileno(), b"1" if high else b"0", 0)

    def count_falls(self, seconds: float) -> int:
        """Wait up to `seconds` for the file to say that the line is low, after it was high."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            time.sleep(POLL)
            self._lows = 0 if self.is_high() else self._lows + 1
            if self._lows == 2:
                return 1
        return 0

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()
