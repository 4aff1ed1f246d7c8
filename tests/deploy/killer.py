"""Loaded by every Python of a device under test: ends the installer, or has it stand still, where the test wants that.

KILL_AT is the words of a step. From there on every change counts that anything makes: a file opened for writing,
renamed, removed, a program started. So does every line of the module that writes files and links: between two changes
it alone leaves something else on the disk, half a file. KILL_AFTER is how many of them still happen.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path
from types import FrameType
from typing import Any

CHANGES = {
    "os.chmod",
    "os.mkdir",
    "os.remove",
    "os.rename",
    "os.rmdir",
    "os.symlink",
    "os.truncate",
    "os.utime",
    "subprocess.Popen",
}
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


class Killer:
    def __init__(self, step: str, after: int, halt: bool) -> None:
        self._step, self._left, self._halt, self._begun = step, after, halt, False

    def trace(self, frame: FrameType, event: str, argument: object) -> Any:
        """See each step of the installer, and each line that writes."""
        if not frame.f_code.co_filename.startswith("deploy/"):
            return None
        if event == "call" and frame.f_code.co_name == "step" and frame.f_locals["words"] == self._step:
            self._begun = True
            self._count()
        if not frame.f_code.co_filename.endswith("/releases.py"):
            return None
        self._count()
        return self.trace

    def audit(self, event: str, arguments: tuple[Any, ...]) -> None:
        """See each change, whoever makes it."""
        if event in CHANGES or (event == "open" and isinstance(arguments[2], int) and arguments[2] & WRITING):
            self._count()

    def _count(self) -> None:
        if not self._begun:
            return
        if not self._left:
            if self._halt:
                self._begun = False
                Path("/reached").touch()
                time.sleep(1000)
            os.kill(os.getpid(), signal.SIGKILL)
        self._left -= 1


# The installer, and none of the programs that it starts, or that look for a Python for it.
if "KILL_AT" in os.environ and sys.orig_argv[1:3] == ["-I", "-c"] and "packed.py" in sys.orig_argv[3]:
    killer = Killer(os.environ.pop("KILL_AT"), int(os.environ.pop("KILL_AFTER")), "HALT" in os.environ)
    sys.addaudithook(killer.audit)
    sys.settrace(killer.trace)
