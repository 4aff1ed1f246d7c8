"""A run with a camera light on a faked chip, in a process of its own."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

# A camera that is none, and notes what is done with it and what the light is then.
SCRIPT = """
import os, sys, threading, time
import numpy as np
from pathlib import Path
from edge import sources
from edge.errors import CameraLost, CameraMissing
from edge.needs import Needs
from edge.types import Frame

class Camera:
    live, announced, stuck = True, None, False

    @staticmethod
    def needs(argument, settings):
        return Needs(camera=True)

    def __init__(self, argument, *, live):
        self.closing, self.fault = threading.Event(), argument
        self.note("open")
        if self.fault == "missing" or Path("unplugged").exists():
            self.note("refuse")
            raise CameraMissing("no camera")
        if self.fault == "opens slowly":
            time.sleep(0.8)
            self.note("opened")

    def note(self, what):
        if not self.closing.is_set():
            with open("events", "a") as file:
                print(what.replace(" ", "_"), int(Path("pins/17").read_text()), file=file)

    def frames(self):
        kept = None
        for seq in range(10_000):
            if self.closing.wait(0.03):
                return
            self.note("frame")
            if seq == 20 and self.fault in ("lost", "back") and not Path("was").exists():
                Path("unplugged" if self.fault == "lost" else "was").touch()
                raise CameraLost("unplugged")
            if seq == 20 and self.fault == "bug":
                raise ZeroDivisionError
            if seq == 20 and self.fault == "loop":
                schedule.ReadSchedule.choose = None
            now = time.monotonic()
            frame = Frame(np.full((120, 160), 100 + seq % 9, np.uint8), now, seq, now)
            if seq < 20 or Path("was").exists():
                kept = frame
            elif seq > 25:
                Path("was").touch()  # it is well again
            elif self.fault == "blocks":
                Path("was").touch()
                self.closing.wait()
                return
            elif self.fault == "repeats":
                frame = kept
            elif self.fault == "is none":
                frame = None
            yield frame

    def close(self):
        self.note("close")
        self.closing.set()

sources.SOURCES["v4l2"] = "__main__:Camera"
from edge.runtime import capture
from edge.vision import schedule
capture.CAMERA_TIMEOUT = 3.0
from edge.cli import main
main()
"""


SETTINGS = '[pins]\nchip = "mock:pins"\nlight = 17\npause = 4\n'


class Run:
    """A `cuelens run` in a folder of its own."""

    def __init__(
        self,
        folder: Path,
        settings: str = SETTINGS,
        fault: str = "",
        sinks: Sequence[str] = ("log:log.jsonl",),
        more: Sequence[str] = (),
        **popen: Any,
    ) -> None:
        self.folder = folder
        self.light = folder / "pins" / "17"
        self.light.parent.mkdir(exist_ok=True)
        (folder / "camera.py").write_text(SCRIPT)
        (folder / "cuelens.toml").write_text(settings)
        words = [*self._command("run"), "--source", f"v4l2:{fault}"]
        words += [*more, *(word for sink in sinks for word in ("--sink", sink))]
        prepare = popen.pop("preexec_fn", None)

        def begin() -> None:
            signal.signal(signal.SIGHUP, signal.SIG_DFL)  # which tests that run under nohup would hand on ignored
            if prepare:
                prepare()

        streams = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, "preexec_fn": begin} | popen
        self._process = subprocess.Popen(words, cwd=folder, text=True, **streams)

    def _command(self, name: str) -> list[str]:
        return [sys.executable, "camera.py", name, "--config", "cuelens.toml"]

    def events(self) -> list[tuple[str, bool]]:
        """What was done with the camera, and whether the light was on then."""
        path = self.folder / "events"
        lines = path.read_text().splitlines() if path.exists() else []
        return [(line.split()[0], line.endswith("1")) for line in lines]

    def count(self, event: str) -> int:
        return [name for name, _ in self.events()].count(event)

    def cues(self) -> list[dict[str, Any]]:
        text = (self.folder / "log.jsonl").read_text()
        return [json.loads(line) for line in text.splitlines(keepends=True)[1:] if line.endswith("\n")]

    def log(self) -> str:
        path = self.folder / "log.jsonl"
        return path.read_text() if path.exists() else ""

    def lit(self) -> bool:
        return self.light.read_text() == "1"

    def wait_for(self, what: Callable[[], bool]) -> None:
        until = time.monotonic() + 60
        while not what():
            assert self._process.poll() is None, self._process.communicate()[1]
            assert time.monotonic() < until, self.events()
            time.sleep(0.02)

    def press(self) -> None:
        for level in "01":
            (self.folder / "pins" / "4").write_text(level)
            time.sleep(0.3)  # found low twice by a busy machine too

    @property
    def running(self) -> bool:
        return self._process.poll() is None

    def send(self, number: int) -> None:
        self._process.send_signal(number)

    def end(self) -> tuple[int, str]:
        try:
            _, errors = self._process.communicate(timeout=60)
        finally:
            if self.running:  # what it holds would fail another test
                self._process.kill()
                self._process.communicate()
        return self._process.returncode, errors

    def put_out(self) -> None:
        subprocess.run(self._command("dark"), cwd=self.folder, check=True)
