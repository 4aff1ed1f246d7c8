"""`terminal`: the cue as live text; one line a second where the output is not a terminal."""

from __future__ import annotations

import sys
from contextlib import suppress
from pathlib import Path
from typing import TextIO

from edge.errors import CuelensError, SettingsInvalid, printable
from edge.files import sink_error
from edge.locale.words import describe, name_of
from edge.needs import Needs
from edge.runtime.control import Control
from edge.settings import LookSettings, Settings
from edge.system.streams import columns, is_live
from edge.types import Capabilities, Cue, Update

LIVE_INTERVAL = 0.1  # seconds: faster cannot be read
PIPED_INTERVAL = 1.0
_BAR = 20


class TerminalSink:
    """Rewrite one line on a terminal, or print one a second of the capture clock."""

    capabilities = Capabilities(every_frame=True, reopens=False)
    takes_argument = False

    @staticmethod
    def needs(argument: str, settings: Settings) -> Needs:
        """State that it has the whole of the terminal."""
        return Needs(place="standard output")

    def __init__(self, argument: str, control: Control, stream: TextIO | None = None) -> None:
        """Write to `stream`, standard output where None; raises SettingsInvalid for an argument, as it takes none."""
        if argument:
            raise SettingsInvalid(f"terminal:{argument}: this sink takes no argument; valid is terminal")
        self._stream = stream or sys.stdout
        self._control = control
        self._live = is_live(self._stream)
        self._interval = LIVE_INTERVAL if self._live else PIPED_INTERVAL
        self._next: float | None = None
        self._begun: float | None = None

    def show(self, update: Update) -> None:
        """Print the update when its turn has come; raises SinkFailed or DiskFull where its output takes no more."""
        if update.frame is None:
            self._print(f"{'':8} {describe_cue(update.cue, self._control.settings.look)}")
            return
        t = update.frame.t
        if self._next is not None and self._next - self._interval <= t < self._next:
            return
        self._begun = t if self._begun is None else self._begun
        # The next planned instant, not one interval from now: a line a second stays one.
        self._next = (t if self._next is None or t >= self._next + self._interval else self._next) + self._interval
        faces = f"{len(update.faces)} face{'' if len(update.faces) == 1 else 's'}"
        total = update.latency_ms.get("total", 0.0)
        cue = describe_cue(update.cue, self._control.settings.look)
        self._print(f"{t - self._begun:6.1f} s {cue:44} {faces}, {total:.0f} ms")

    def _print(self, line: str) -> None:
        line = printable(line)  # labels are a model's own
        text = f"\r\033[K{line[: columns(self._stream) - 1]}" if self._live else f"{line}\n"
        try:
            self._stream.write(text)
            self._stream.flush()
        except OSError as error:
            raise error if isinstance(error, CuelensError) else sink_error(Path("standard output"), error) from error

    def close(self) -> None:
        """End the live line."""
        if self._live and self._next is not None:
            self._next = None
            with suppress(OSError):  # that it is gone was reported
                self._stream.write("\n")
                self._stream.flush()


def describe_cue(cue: Cue, look: LookSettings) -> str:
    """Return a cue in words: a sentence, or an expression's word with a bar for its confidence."""
    if cue.expression is None:
        return describe(cue, look)
    filled = round(_BAR * cue.confidence)
    return f"{name_of(cue.expression, look.language):12} {'#' * filled}{'.' * (_BAR - filled)} {cue.confidence:4.0%}"
