"""What a row of the fault table is played on: a camera with every fault, a network and sinks too, and the real loop."""

from __future__ import annotations

import re
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from edge.errors import CameraLost, CameraMissing, CuelensError
from edge.runtime.control import Control
from edge.runtime.run import Outcome, run
from edge.sources.demo import DemoSource
from edge.sources.missing import MissingCamera
from edge.types import Capabilities, Frame, Gray, Sink, Update
from edge.vision.model import ExpressionModel, shipped_model

FPS = 10.0
SMILING = range(232, 288, 4)  # frames of demo:1
TRUE = "smile"
PATIENCE = 60.0  # seconds after which a row hangs


def pictures() -> list[Gray]:
    """Return a film of the demo person, who smiles; no picture is followed by the same one."""
    demo = DemoSource("1")
    film = [demo.render(number) for number in SMILING]
    return film + film[-2:0:-1]


class Device:
    """A camera as its maker sees it: what is done to it, and who holds it open."""

    def __init__(self, film: list[Gray]) -> None:
        self.film = film
        self.plugged = True
        self.alters: Callable[[Frame], Any] = lambda frame: frame  # what it gives in the place of a frame
        self.raises: Exception | None = None  # once
        self.hangs = ""  # the calls that do not return any more
        self.release = threading.Event()  # lets them
        self.opened = 0
        self.shot = 0
        self.clock = time.monotonic  # that frames are stamped by
        self.fps = FPS

    def open(self) -> Handle:
        if "open" in self.hangs:
            self.release.wait(PATIENCE)
        if not self.plugged:
            raise CameraMissing("no camera; plug one in")
        self.opened += 1
        return Handle(self)

    def unplug(self) -> None:
        self.plugged = False
        self.raises = CameraLost("unplugged")


class Handle:
    """The device opened: a source."""

    live, announced = True, None

    def __init__(self, device: Device) -> None:
        self.device = device
        self.stuck = False
        self.closed = threading.Event()

    def frames(self) -> Iterator[Frame]:
        device, begun = self.device, time.monotonic()
        for number in range(1_000_000):
            if self.closed.wait(max(0.0, begun + number / device.fps - time.monotonic())):
                return
            if "read" in device.hangs:
                device.hangs = device.hangs.replace("read", "")  # this handle alone
                self.stuck = "close" in device.hangs
                device.release.wait(PATIENCE)
            if device.raises is not None:
                error, device.raises = device.raises, None
                raise error
            device.shot += 1
            now = device.clock()
            yield device.alters(Frame(device.film[device.shot % len(device.film)], now, number, now))

    def close(self) -> None:
        self.closed.set()


class Watcher:
    """The sink that a row is judged by: what the wearer is shown, and when."""

    capabilities = Capabilities()

    def __init__(self) -> None:
        self.shown: list[tuple[float, str]] = []
        self.sizes: list[tuple[int, ...]] = []

    def show(self, update: Update) -> None:
        self.shown.append((time.monotonic(), update.cue.shown))
        if update.frame is not None:
            self.sizes.append(update.frame.gray.shape)

    def close(self) -> None:
        pass


class Network:
    """The interpreter of a model, with something in its way."""

    def __init__(self, interpreter: Any) -> None:
        self._interpreter = interpreter
        self.fault: Callable[[], None] | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._interpreter, name)

    def invoke(self) -> None:
        if self.fault is not None:
            self.fault()
        self._interpreter.invoke()


class StageModel(ExpressionModel):
    """A model whose interpreter still fails after it is loaded again, where `network` does."""

    stays = False

    def rebuild(self) -> None:
        super().rebuild()
        if self.stays:
            self._interpreter = self.network

    def hinder(self) -> Network:
        self.network = self._interpreter = Network(self._interpreter)
        return self.network


class Stage:
    """A run of the real loop in a thread of its own, with the device's camera and the watcher as its display."""

    def __init__(
        self,
        folder: Path,
        film: list[Gray],
        sinks: Sequence[tuple[str, Sink]] = (),
        control: Control | None = None,
        reopen: Callable[[str], Sink] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.model_path = folder / "emotion.tflite"
        for suffix in (".tflite", ".json"):
            shutil.copy(shipped_model().with_suffix(suffix), self.model_path.with_suffix(suffix))
        self.device, self.watcher, self.control = Device(film), Watcher(), control or Control()
        self.model = StageModel(self.model_path)
        self.network = self.model.hinder()
        self._sinks, self._reopen, self._clock = sinks, reopen, clock
        self.said: list[str] = []
        self.stop = threading.Event()
        self.outcome: Outcome | None = None
        self.failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="stage", daemon=True)

    def _run(self) -> None:
        try:
            source = self.device.open()
        except CameraMissing as error:
            source = MissingCamera(error)
        named: list[tuple[str, Sink]] = [("watcher", self.watcher), *self._sinks]
        try:
            self.outcome = run(
                self.control,
                source,
                self.model,
                named,
                self.stop,
                say=self.said.append,
                reopen=self._reopen,
                resume=self.device.open,
                clock=self._clock,
            )
        except BaseException as error:
            self.failure = error

    def start(self) -> None:
        self._thread.start()

    def wait_shown(self, cue: str, since: float) -> float:
        """Return when `cue` was shown first after `since`."""
        until = time.monotonic() + PATIENCE
        while time.monotonic() < until:
            running = self._thread.is_alive()
            shown = next((when for when, each in self.watcher.shown if when >= since and each == cue), None)
            if shown is not None:
                return shown
            assert running, f"ended before {cue} was shown: {self.story()}"
            time.sleep(0.02)
        raise AssertionError(f"{cue} is never shown: {self.story()}")

    def wait_end(self) -> type[CuelensError] | None:
        """Return why a run ended by itself, None where it did not fail."""
        self._thread.join(PATIENCE)
        assert not self._thread.is_alive(), self.story()
        assert self.failure is None, self.failure
        assert self.outcome is not None
        return type(self.outcome.failures[0]) if self.outcome.failures else None

    def end(self) -> float:
        """Ask it to end; returns the seconds that this took."""
        begun = time.monotonic()
        self.stop.set()
        self._thread.join(PATIENCE)
        assert not self._thread.is_alive(), f"did not end: {self.story()}"
        self.device.release.set()
        return time.monotonic() - begun

    def story(self) -> str:
        return f"shown last {self.watcher.shown[-3:]}, said {self.said}, failed {self.failure}"


@dataclass(frozen=True)
class Row:
    """A fault, what it must look like and how it must end.

    `shows` is seen within `within` seconds of the fault; TRUE means that the cue goes on as if nothing had happened,
    with no longer than `within` between two updates; nothing is awaited where it is empty.
    `back` are the seconds within which the cue is true again after the fault is gone, or after it came where it stays;
    None where the run ends, by the failure `ends`.
    """

    fault: str
    do: Callable[[Stage], None]
    shows: str = "no_camera"
    within: float = 3.0
    undo: Callable[[Stage], None] | None = None
    back: float | None = 5.0
    ends: type[CuelensError] | None = None
    says: str = ""  # a pattern that must have been logged
    causes: tuple[str, ...] = ()  # that the status has of the camera


@dataclass
class Result:
    """What came of a row."""

    fault: str
    shown: str = ""
    to_show: float | None = None
    to_recover: float | None = None
    ended: str = ""
    logged: str = ""
    wrong: list[str] = field(default_factory=list)


RESULTS: list[Result] = []  # of this session, for the table at its end


def judge(row: Row, stage: Stage) -> Result:
    """Play a row and say what came of it."""
    result = Result(row.fault)
    stage.start()
    stage.wait_shown(TRUE, stage.wait_shown(TRUE, 0.0) + 0.3)
    begun = gone = time.monotonic()
    row.do(stage)
    if row.shows == TRUE:
        result.to_show = longest_gap(stage, result, begun, 2.0)
    elif row.shows:
        result.to_show = stage.wait_shown(row.shows, begun) - begun
        result.shown = row.shows
    if result.to_show is not None and result.to_show > row.within:
        result.wrong.append(f"took {result.to_show:.1f} s to show {row.shows}, over {row.within:g}")
    if row.back is None:
        ended = stage.wait_end()
        result.ended = "" if ended is None else f"{ended.identify()}, exit {ended.exit_code}"
        if ended is not row.ends:
            result.wrong.append(f"ended by {result.ended or 'nothing'}: {stage.story()}")
        stage.device.release.set()
    else:
        if row.undo is not None:
            gone = time.monotonic()
            row.undo(stage)
        shown = begun if row.shows == TRUE else stage.wait_shown(row.shows, begun)
        result.to_recover = stage.wait_shown(TRUE, max(gone, shown)) - gone
        if result.to_recover > row.back:
            result.wrong.append(f"took {result.to_recover:.1f} s to recover, over {row.back:g}")
        finish(stage, result)
    assert stage.outcome is not None, stage.story()
    line = next((line for line in stage.said if re.search(row.says, line)), None) if row.says else ""
    if line is None:
        result.wrong.append(f"nothing said of {row.says!r}: {stage.said}")
    result.logged = line or ""
    causes = stage.outcome.metrics.camera_causes
    if missing := set(row.causes) - set(causes):
        result.wrong.append(f"no {missing} among the causes {dict(causes)}")
    return result


def longest_gap(stage: Stage, result: Result, begun: float, seconds: float) -> float:
    """See for so long that the true cue, and nothing else, goes on being shown; returns the longest wait for it."""
    time.sleep(max(0.0, begun + seconds - time.monotonic()))
    recent = [(when, cue) for when, cue in list(stage.watcher.shown) if when >= begun]
    result.shown = ", ".join(sorted({cue for _, cue in recent})) or "nothing"
    if result.shown != TRUE:
        result.wrong.append(f"showed {result.shown}: {stage.story()}")
    return max(after - before for before, after in pairwise([begun, *(when for when, _ in recent), begun + seconds]))


def finish(stage: Stage, result: Result) -> None:
    """End a run that goes on: in good time, and without a failure."""
    if (took := stage.end()) > 5:
        result.wrong.append(f"took {took:.1f} s to end")
    if stage.outcome is None or stage.outcome.failures:
        result.wrong.append(f"ended with {stage.outcome and stage.outcome.failures}: {stage.story()}")


def describe(results: list[Result]) -> list[str]:
    """Return the table, and the worst of its times."""

    def seconds(value: float | None) -> str:
        return "" if value is None else f"{value:.1f}"

    rows = [
        (
            ("FAILS " if result.wrong else "ok    ") + result.fault,
            result.shown,
            seconds(result.to_show),
            seconds(result.to_recover) or result.ended,
            result.logged if len(result.logged) <= 70 else result.logged[:67] + "...",
        )
        for result in results
    ]
    head = ("      fault", "shown", "after, s", "back, s", "logged")
    widths = [max(len(row[column]) for row in (head, *rows)) for column in range(len(head))]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in (head, *rows)
    ]
    shows = [result.to_show for result in results if result.to_show is not None and result.shown != TRUE]
    backs = [result.to_recover for result in results if result.to_recover is not None]
    worst = f"worst: {max(shows, default=0):.1f} s to show, {max(backs, default=0):.1f} s to recover"
    return [*lines, f"{len(rows)} rows, {sum(bool(result.wrong) for result in results)} of them failed; {worst}"]


def resized(frame: Frame, width: int, height: int) -> Frame:
    """Return a frame of another size."""
    return replace(frame, gray=np.asarray(cv2.resize(frame.gray, (width, height)), np.uint8))


def failing(error: Exception, times: int = 1_000_000) -> Callable[[], None]:
    """Return a fault of a network that raises so often."""
    left = [times]

    def fail() -> None:
        if left[0]:
            left[0] -= 1
            raise error

    return fail


def wait_until(what: Callable[[], bool], seconds: float = PATIENCE) -> None:
    until = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < until, "never happened"
        time.sleep(0.02)
