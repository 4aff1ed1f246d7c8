"""Rows of the fault table that need a process of their own: signals in every state, full disks, clocks, memory."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import cv2

from edge.errors import CuelensError, DiskFull, LoopStuck, ModelFailed
from tests.faults.stage import PATIENCE, TRUE, Result, wait_until
from tests.faults.whole import put

REPOSITORY = Path(__file__).resolve().parents[2]
FAKETIME = next(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"), None)
SINKS = ("log:log.jsonl", "png:cue.png", "video:out.avi", "audio")


class Nursery:
    """Forks runs that cost no import; `environment` is added to theirs."""

    def __init__(self, **environment: str) -> None:
        self._lock = threading.Lock()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.children"],
            cwd=REPOSITORY,
            stdin=subprocess.PIPE,
            text=True,
            env={**os.environ, **environment},
        )

    def start(self, folder: Path, *words: str) -> Child:
        assert self._process.stdin is not None
        for name in ("number", "code", "log.jsonl"):
            (folder / name).unlink(missing_ok=True)
        with self._lock:
            self._process.stdin.write("\t".join([str(folder), *words]) + "\n")
            self._process.stdin.flush()
        return Child(folder)

    def __enter__(self) -> Nursery:
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(PATIENCE)


class Child:
    """A run in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.begun = time.monotonic()

    def read(self, name: str) -> str:
        path = self.folder / name
        return path.read_text() if path.exists() else ""

    def cues(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.read("log.jsonl").splitlines(keepends=True) if line.endswith("\n")]

    def shown(self) -> str:
        cues = self.cues()
        return str(cues[-1]["expression"] or cues[-1]["state"]) if cues else ""

    def set_mode(self, mode: str) -> None:
        put(self.folder / "mode", mode)

    def press(self) -> None:
        for level in "01":
            (self.folder / "pins" / "4").write_text(level)
            time.sleep(0.3)  # found low twice by a busy machine too

    def wait_for(self, what: Callable[[], bool]) -> None:
        def happened() -> bool:
            assert not self.read("code"), f"ended: {self.read('errors')}"
            return what()

        wait_until(happened)

    def send(self, number: int) -> None:
        os.kill(int(self.read("number")), number)

    def end(self) -> int:
        wait_until(lambda: bool(self.read("code")))
        return int(self.read("code"))


def begin(nursery: Nursery, folder: Path, *more: str, sinks: tuple[str, ...] = SINKS, button: bool = True) -> Child:
    """Start a run, with a pause button."""
    (folder / "pins").mkdir(exist_ok=True)
    (folder / "cuelens.toml").write_text('[pins]\nchip = "mock:pins"\npause = 4\n' if button else "")
    words = [word for sink in sinks for word in ("--sink", sink)]
    return nursery.start(folder, "run", "--config", "cuelens.toml", "--source", "v4l2", *words, *more)


def into_no_face(child: Child) -> None:
    child.set_mode("nobody")
    child.wait_for(lambda: child.shown() == "no_face")


def into_no_camera(child: Child) -> None:
    child.set_mode("gone")
    child.wait_for(lambda: child.shown() == "no_camera")


def into_pause(child: Child) -> None:
    child.press()
    child.wait_for(lambda: child.shown() == "paused")


def into_stuck_sink(child: Child) -> None:
    child.set_mode("asleep")
    child.wait_for(lambda: "sink audio: an update takes it over" in child.read("errors"))


def into_stuck_network(child: Child) -> None:
    child.set_mode("stuck")
    child.wait_for(lambda: child.shown() == "no_camera")


STATES: dict[str, Callable[[Child], None]] = {
    "a smile is shown": lambda child: None,
    "nobody is there": into_no_face,
    "the camera is gone": into_no_camera,
    "it is paused": into_pause,
    "a sink is stuck": into_stuck_sink,
    "the network is stuck in native code": into_stuck_network,
}
ENDS = dict.fromkeys(("a sink is stuck", "the network is stuck in native code"), LoopStuck.exit_code)


@dataclass(frozen=True)
class Signal:
    """A signal in a state."""

    number: signal.Signals
    state: str

    @property
    def fault(self) -> str:
        return f"{self.number.name} while {self.state}"


SIGNALS = [Signal(number, state) for state in STATES for number in (signal.SIGTERM, signal.SIGINT, signal.SIGKILL)]


def play_signal(row: Signal, nursery: Nursery, folder: Path) -> Result:
    """Bring a run into the state and send the signal: it ends in time, its files are whole, the next start works."""
    result = Result(row.fault)
    child = begin(nursery, folder)
    child.wait_for(lambda: child.shown() == TRUE)
    STATES[row.state](child)
    result.shown = child.shown()
    begun = time.monotonic()
    child.send(row.number)
    code = child.end()
    took = time.monotonic() - begun
    killed = row.number == signal.SIGKILL
    result.ended = f"exit {code} after {took:.1f} s"
    expected = -signal.SIGKILL if killed else ENDS.get(row.state, 0)
    if code != expected:
        result.wrong.append(f"ended with {code} instead of {expected}: {child.read('errors')}")
    if took > 7:
        result.wrong.append(f"took {took:.1f} s to end")
    result.wrong += half(folder, killed=killed or row.state in ENDS)
    said = child.read("errors").splitlines()
    result.logged = said[-1] if said else ""
    if row.state in ENDS and not killed and not re.search("left behind|ended by force", result.logged):
        result.wrong.append(f"nothing said of what hung: {said}")
    if killed:
        left = parts(folder)
        child.set_mode("")
        before = time.monotonic()
        again = begin(nursery, folder, "--seconds", "60")
        kept = "paused" if row.state == "it is paused" else TRUE  # a pause holds until somebody ends it
        again.wait_for(lambda: again.shown() == kept)
        result.to_recover = time.monotonic() - before
        again.send(signal.SIGTERM)
        if (code := again.end()) != 0:
            result.wrong.append(f"the next start ended with {code}: {again.read('errors')}")
        result.wrong += [f"left over: {name}" for name in parts(folder) - left]
    return result


def half(folder: Path, *, killed: bool) -> list[str]:
    """Say which files are half; a killed run may leave some that are named so, and its last line of a log."""
    wrong = []
    lines = (folder / "log.jsonl").read_bytes().splitlines(keepends=True)
    for line in lines[:-1] if killed else lines:
        try:
            json.loads(line)
        except ValueError:
            wrong.append(f"half a line: {line!r}")
    if not killed and not lines[-1].endswith(b"\n"):
        wrong.append("the log's last line is cut")
    if (folder / "cue.png").exists() and cv2.imread(str(folder / "cue.png")) is None:
        wrong.append("half a picture")
    if (folder / "out.avi").exists():
        video = cv2.VideoCapture(str(folder / "out.avi"))
        if not video.isOpened() or not video.read()[0]:
            wrong.append("half a video")
        video.release()
    elif not killed:
        wrong.append("no video")
    return wrong if killed else [*wrong, *(f"left over: {name}" for name in parts(folder))]


def parts(folder: Path) -> set[str]:
    """Return the names of files that say that they are not whole."""
    return {path.name for path in folder.iterdir() if ".part" in path.name}


DISKS = {"log": ("log:part.jsonl", 12_000), "png": ("png:part.png", 500), "video": ("video:part.avi", 60_000)}


def play_disk(kind: str, nursery: Nursery, folder: Path) -> Result:
    """Give a sink a disk that is soon full: it is left out and says so, and the others go on."""
    spec, limit = DISKS[kind]
    result = Result(f"the disk of the sink {kind} is full")
    (folder / "largest file").write_text(str(limit))
    status = folder / "s"
    child = begin(nursery, folder, "--status", "s", sinks=(spec, "audio"))

    def answer() -> dict[str, Any]:
        from edge.diagnostics.status import ask
        from edge.errors import NotRunning

        try:
            return ask(status)
        except NotRunning:
            return {}

    begun = time.monotonic()
    child.wait_for(lambda: answer().get("expression") == TRUE)
    if kind == "video":  # FFmpeg reports nothing; the file is read back at its end
        time.sleep(3)
    else:
        child.wait_for(lambda: "free some space" in child.read("errors"))
    frames = answer()["frames"]
    child.wait_for(lambda: answer()["frames"] > frames + 5)
    result.shown = answer()["expression"]
    result.to_show = time.monotonic() - begun
    child.send(signal.SIGTERM)
    code = child.end()
    result.ended = f"exit {code}"
    if code != DiskFull.exit_code:
        result.wrong.append(f"ended with {code}: {child.read('errors')}")
    result.logged = next((line for line in child.read("errors").splitlines() if "free some space" in line), "")
    if not result.logged:
        result.wrong.append(f"said {child.read('errors')}")
    left = [path.name for path in folder.iterdir() if "part" in path.name]
    if left != (["part.jsonl"] if kind == "log" else []):
        result.wrong.append(f"left {left}")
    if kind == "log" and not all(json.loads(line) for line in (folder / "part.jsonl").read_text().splitlines()):
        result.wrong.append("half a line")
    result.to_show = None
    return result


def play_clock(folder: Path) -> Result:
    """Let the wall clock jump a year ahead and two years back: nothing may use it."""
    result = Result("the wall clock jumps a year ahead and two back")
    clock = folder / "clock"
    put(clock, "+0")
    fake = {"LD_PRELOAD": str(FAKETIME), "FAKETIME_TIMESTAMP_FILE": str(clock), "FAKETIME_NO_CACHE": "1"}
    fake |= {"FAKETIME_DONT_FAKE_MONOTONIC": "1", "DONT_FAKE_MONOTONIC": "1"}
    with Nursery(**fake) as nursery:
        # libfaketime refuses the sleeps of the button's stand-in.
        child = begin(nursery, folder, button=False)
        child.wait_for(lambda: child.shown() == TRUE)
        before = len(child.cues())
        for shift in ("+365d", "-365d"):
            put(clock, shift)
            time.sleep(1.5)
            if abs(float(child.read("wall")) - time.time()) < 300 * 86400:
                result.wrong.append("the clock did not jump")
        child.send(signal.SIGTERM)
        code = child.end()
    cues = child.cues()[before:]
    result.shown = ", ".join(sorted({str(cue["expression"] or cue["state"]) for cue in cues}))
    result.to_show = max(after["t"] - before["t"] for before, after in pairwise(cues))
    result.ended = f"exit {code}"
    if result.shown != TRUE or code != 0 or len(cues) < 10 or result.to_show > 3:
        result.wrong.append(f"{result.shown}, {len(cues)} cues, {child.read('errors')}")
    return result


def play_start(folder: Path) -> Result:
    """Start a service without its camera, which comes later."""
    result = Result("the camera is not there when the service starts")
    notify = folder / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager, Nursery(NOTIFY_SOCKET=str(notify)) as nursery:
        manager.bind(str(notify))
        put(folder / "mode", "gone")
        child = begin(nursery, folder)
        child.wait_for(lambda: child.shown() == "no_camera")
        result.shown, plugged = child.shown(), time.monotonic()
        child.set_mode("")
        child.wait_for(lambda: child.shown() == TRUE)
        result.to_recover = time.monotonic() - plugged
        child.send(signal.SIGTERM)
        if (code := child.end()) != 0 or manager.recv(100) != b"READY=1":
            result.wrong.append(f"ended with {code}: {child.read('errors')}")
        result.logged = child.read("errors").splitlines()[0]
    return result


def play_memory(nursery: Nursery, folder: Path) -> Result:
    """Leave the process no more memory than it has, and want more."""
    result = Result("the memory is used up")
    child = begin(nursery, folder)
    child.wait_for(lambda: child.shown() == TRUE)
    begun = time.monotonic()
    child.set_mode("memory")
    code = child.end()
    result.shown = child.shown()
    result.ended = f"exit {code} after {time.monotonic() - begun:.1f} s"
    result.logged = next((line for line in child.read("errors").splitlines() if "MemoryError" in line), "")
    if (
        code not in (CuelensError.exit_code, ModelFailed.exit_code)
        or not result.logged
        or "Traceback" in child.read("errors")
    ):
        result.wrong.append(f"ended with {code}: {child.read('errors')}")
    child.set_mode("")
    again = begin(nursery, folder)
    again.wait_for(lambda: again.shown() == TRUE)
    again.send(signal.SIGTERM)
    if again.end() != 0:
        result.wrong.append(again.read("errors"))
    return result
