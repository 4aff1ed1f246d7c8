"""Lines on standard error for whoever runs a program: the one way in which device and host print them.

A failure's line ends in its identifier. In systemd's journal each line begins with its priority (sd-daemon(3)).
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress

from edge.errors import CuelensError, printable


class Message(str):
    """A line with a priority in the journal: that of information, as plain text has it."""

    __slots__ = ()
    priority = 6


class Warned(Message):
    """A line about what it goes on in spite of."""

    __slots__ = ()
    priority = 4


class Failed(Message):
    """A line about what failed, also where it is tried again: `journalctl -p err` shows these."""

    __slots__ = ()
    priority = 3


def failed(error: CuelensError, then: str = "", program: str = "") -> Failed:
    """Return a failure's line: the program, what failed, what happens `then`, and the cause's identifier."""
    return Failed(f"{program}: {error.line_with(then)}" if program else error.line_with(then))


def say(line: str) -> None:
    """Print a line; what a terminal would obey is spelt out."""
    priority = line.priority if isinstance(line, Message) else Message.priority
    print(f"<{priority}>" if _is_journal() else "", printable(line), sep="", file=sys.stderr, flush=True)


def _is_journal() -> bool:
    """Return whether standard error is the journal's own stream: a service may send it elsewhere (systemd.exec(5))."""
    named = os.environ.get("JOURNAL_STREAM")
    if not named:
        return False
    with suppress(OSError, ValueError):  # closed, or no file
        status = os.fstat(sys.stderr.fileno())
        return named == f"{status.st_dev}:{status.st_ino}"
    return False
