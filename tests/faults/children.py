"""Runs of `cuelens` as processes of their own that cost no import: `FOLDER WORDS...` on standard input forks one there.

Its camera, network and sink `audio` do what the file `mode` in that folder says.
"""

from __future__ import annotations

import ctypes
import os
import resource
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

import edge.runtime.run
import edge.sinks.log
import edge.sinks.png
import edge.sinks.video
import edge.vision.finders.haar
from edge import sources
from edge.cli import main
from edge.errors import CameraLost, CameraMissing
from edge.needs import Needs
from edge.settings import Settings
from edge.sinks.table import SINKS
from edge.sources.demo import SCENE_FRAMES, WALK_FRAMES, DemoSource
from edge.system.quiet import tame_opencv
from edge.types import Capabilities, Frame, Update
from edge.vision.model import ExpressionModel
from tests.faults.whole import put

tame_opencv()  # no threads of its own before the forks: they would not be there after them
MODE = Path("mode")
DEMO = DemoSource("1")
NOBODY = DEMO.render(SCENE_FRAMES - WALK_FRAMES - 10)
SMILING = [DEMO.render(number) for number in (*range(232, 288, 8), *range(272, 232, -8))]  # there and back


def mode() -> str:
    return MODE.read_text() if MODE.exists() else ""


class Camera:
    """Ten pictures a second of somebody who smiles, or of nobody."""

    live, announced, stuck = True, None, False

    @staticmethod
    def needs(argument: str, settings: Settings) -> Needs:
        return Needs(camera=True)

    def __init__(self, argument: str, *, live: bool) -> None:
        self.closing = threading.Event()
        if mode() == "gone":
            raise CameraMissing("no camera")

    def frames(self) -> Iterator[Frame]:
        noise = np.random.default_rng(0)
        for seq in range(1_000_000):
            if self.closing.wait(0.1):
                return
            if mode() == "gone":
                raise CameraLost("unplugged")
            gray = NOBODY if mode() == "nobody" else SMILING[seq % len(SMILING)]
            if mode() == "memory":
                held = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
                resource.setrlimit(resource.RLIMIT_AS, (held, held))
                gray = np.broadcast_to(gray[:1, :1], (12_000, 16_000))  # to copy it, there is no room
            else:
                gray = gray + noise.integers(0, 2, gray.shape, np.uint8)
            now = time.monotonic()
            put(Path("wall"), str(time.time()))
            yield Frame(gray, now, seq, now)

    def close(self) -> None:
        self.closing.set()


class Asleep:
    """A sink that does not come back while the mode says so."""

    capabilities = Capabilities()

    def __init__(self, *_: object) -> None:
        pass

    def show(self, update: Update) -> None:
        while mode() == "asleep":
            time.sleep(0.1)

    def close(self) -> None:
        pass


class StuckModel(ExpressionModel):
    """One that is stuck in native code while the mode says so: no Python runs, no signal is handled."""

    def read(self, crop: Any) -> tuple[float, ...]:
        if mode() == "stuck":
            lock = ctypes.create_string_buffer(64)
            c = ctypes.CDLL(None)
            c.pthread_mutex_lock(lock)
            Path("is stuck").touch()
            c.pthread_mutex_lock(lock)
        return super().read(crop)


def child(folder: str, *words: str) -> None:
    os.chdir(folder)
    errors = os.open("errors", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    nowhere = os.open(os.devnull, os.O_RDWR)
    for descriptor, stream in ((nowhere, 0), (nowhere, 1), (errors, 2)):
        os.dup2(descriptor, stream)
    if (limit := Path("largest file")).exists():
        resource.setrlimit(resource.RLIMIT_FSIZE, (int(limit.read_text()),) * 2)
    os.environ["XDG_STATE_HOME"] = str(Path("state").absolute())  # one run's pause is not another's
    sys.argv = ["cuelens", *words]
    main()


def serve() -> None:
    edge.vision.model.ExpressionModel = StuckModel  # type: ignore[misc]
    sources.SOURCES["v4l2"] = "__main__:Camera"
    SINKS["audio"] = "__main__:Asleep"
    for line in sys.stdin:
        folder, *words = line.rstrip("\n").split("\t")
        if not os.fork():
            keep(folder, *words)


def keep(folder: str, *words: str) -> None:
    """Start a run, print its number and then how it ended, and end."""
    number = os.fork()
    if not number:
        code = 1
        try:
            child(folder, *words)
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else 1
        finally:
            os._exit(code)
    put(Path(folder, "number"), str(number))
    _, status = os.waitpid(number, 0)
    put(Path(folder, "code"), str(os.waitstatus_to_exitcode(status)))
    os._exit(0)


if __name__ == "__main__":
    serve()
