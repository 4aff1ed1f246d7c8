"""Sinks for tests."""

from __future__ import annotations

import time
from pathlib import Path

from edge.types import Capabilities, Update

# With which each sink opens on a computer without its device; `{}` is a folder. `display` draws into memory.
ARGUMENTS = {"log": ":{}/log.jsonl", "png": ":{}/cue.png", "video": ":{}/out.avi", "audio": ":file:{}/cues.wav"}
ARGUMENTS |= {"oled": ":dummy", "web": ":0", "glasses": ":halo:Nobody 00", "haptic": ":dummy"}


def spec_of(name: str, folder: Path) -> str:
    """Return a sink with the argument that it opens with anywhere."""
    return name + ARGUMENTS.get(name, "").format(folder)


class Kept:
    """A sink that keeps what it is shown, and may fail or block."""

    capabilities = Capabilities(every_frame=True, reopens=False)

    def __init__(self, fail_at: int = -1, failure: Exception | None = None, block: float = 0.0) -> None:
        self.updates: list[Update] = []
        self.closed = 0
        self._fail_at = fail_at
        self._failure = failure
        self._block = block

    def show(self, update: Update) -> None:
        time.sleep(self._block)
        if len(self.updates) == self._fail_at and self._failure:
            raise self._failure
        self.updates.append(update)

    def close(self) -> None:
        self.closed += 1
