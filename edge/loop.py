"""The loop: newest frame in, cue out to every sink; nothing in it waits without a deadline.

source thread -> newest-frame slot -> this loop -> each sink's own one-place mailbox and thread.
"""

from __future__ import annotations

import math
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

from edge.config import FaceSettings, Settings
from edge.cue import CuePolicy
from edge.errors import CuelensError, LoopStuck, SinkFailed
from edge.faces import FaceFinder, crop_face
from edge.health import Health
from edge.model import ExpressionModel
from edge.systemd import notify
from edge.types import Face, Frame, Reading, Sink, Source, Update

Item = TypeVar("Item")

WAIT = 0.1  # seconds between looks at the stop flag: signals end the loop within this
STALL = 1.0  # seconds without a frame until the wearer is told
CLOCK_STEP = 0.002  # seconds by which frames come early
END = 3.0  # seconds a thread may take to end before it is named and left behind


class Slot(Generic[Item]):
    """One place between two threads: the newest item wins, or, lossless, the giver waits up to END seconds."""

    def __init__(self, *, lossless: bool) -> None:
        self.dropped = 0
        self._lossless = lossless
        self._items: list[Item] = []
        self._closed = False
        self._change = threading.Condition()

    def put(self, item: Item) -> bool:
        """Leave an item; False when the slot is closed."""
        with self._change:
            if self._lossless:
                self._change.wait_for(lambda: self._closed or not self._items, END)
            if self._closed:
                return False
            self.dropped += len(self._items)
            self._items = [item]
            self._change.notify_all()
            return True

    def get(self, timeout: float) -> Item | None:
        """Take the item; None when none came in `timeout` seconds or the slot is closed and empty."""
        with self._change:
            if not self._items and not self._closed:
                self._change.wait(timeout)
            if not self._items:
                return None
            item = self._items.pop()
            self._change.notify_all()
            return item

    def close(self) -> None:
        """Let nothing more in, and nobody wait; what is inside can still be taken."""
        with self._change:
            self._closed = True
            self._change.notify_all()

    @property
    def ended(self) -> bool:
        """Whether it is closed and empty."""
        with self._change:
            return self._closed and not self._items


class _Capture:
    """The thread that takes frames from the source."""

    name = "capture"

    def __init__(self, source: Source, health: Health) -> None:
        self.slot: Slot[Frame] = Slot(lossless=not source.live)
        self.failure: CuelensError | None = None
        self._source = source
        self._health = health
        self._thread = threading.Thread(target=self._run, name=self.name, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            frames = self._source.frames()
            while True:
                begun = time.thread_time()
                frame = next(frames, None)
                if frame is None:
                    break
                self._health.record("capture", 1000 * (time.thread_time() - begun))
                if not self.slot.put(frame):
                    break
        except CuelensError as error:
            self.failure = error
        except Exception as error:  # a driver may raise anything; a thread that dies silently is a frozen label
            self.failure = CuelensError(f"source: {type(error).__name__}: {error}; run again with --debug")
            self.failure.__cause__ = error
        finally:
            self.slot.close()

    def stop(self) -> None:
        self.slot.close()
        self._source.close()

    def join(self, deadline: float) -> bool:
        self._thread.join(max(0.0, deadline - time.monotonic()))
        return not self._thread.is_alive()


class _Outlet:
    """A sink with its own mailbox and thread: one that is slow or breaks costs the loop nothing."""

    def __init__(self, name: str, sink: Sink, *, lossless: bool) -> None:
        self.name = f"sink {name}"
        self.failure: CuelensError | None = None
        self.slot: Slot[Update] = Slot(lossless=lossless)
        self._sink = sink
        self._thread = threading.Thread(target=self._run, name=self.name, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            try:
                while not self.slot.ended:
                    update = self.slot.get(WAIT)
                    if update is not None:
                        self._sink.show(update)
            finally:
                self.slot.close()
                self._sink.close()
        except CuelensError as error:
            self.failure = error
        except Exception as error:
            self.failure = SinkFailed(f"{self.name}: {type(error).__name__}: {error}; run again with --debug")
            self.failure.__cause__ = error

    def join(self, deadline: float) -> bool:
        self._thread.join(max(0.0, deadline - time.monotonic()))
        return not self._thread.is_alive()


class Turns:
    """Who is read in a frame, where reading everybody in every frame would cost most of it."""

    def __init__(self, settings: FaceSettings) -> None:
        self._settings = settings
        self.left = 0  # faces that were due and had to wait
        self._read: dict[int, float] = {}  # when each present face was, on the capture clock

    def choose(self, faces: Sequence[Face], partner: int | None, t: float) -> list[Face]:
        """Return the faces to read at `t`: the partner whenever it is due, the others in turns between."""
        self._read = {face.id: self._read[face.id] for face in faces if self._read.get(face.id, math.inf) <= t}

        def waited(face: Face) -> float:
            return t - self._read.get(face.id, -math.inf)

        due = [face for face in faces if waited(face) >= self._settings.read_interval - CLOCK_STEP]
        due.sort(key=lambda face: (face.id == partner, waited(face)), reverse=True)
        chosen = due[: self._settings.reads]
        self.left = len(due) - len(chosen)
        self._read |= {face.id: t for face in chosen}
        return chosen


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a run ended: `failures` are what the user is told, the first gives the exit code."""

    health: Health
    failures: tuple[CuelensError, ...]


def run(
    settings: Settings,
    source: Source,
    model: ExpressionModel,
    sinks: list[tuple[str, Sink]],
    stop: threading.Event,
    seconds: float | None = None,
    say: Callable[[str], None] = lambda line: print(line, file=sys.stderr, flush=True),
) -> Outcome:
    """Run until the source ends, `stop` is set or `seconds` have passed, and close source and sinks.

    A sink that fails is reported through `say` and left out; the run ends with the last one.
    """
    finder = FaceFinder(settings.faces)
    turns = Turns(settings.faces)
    readings: dict[int, Reading] = {}
    labels = model.contract.labels
    policy = CuePolicy(settings.cue, labels)
    health = Health(model.runtime)
    outlets = [_Outlet(name, sink, lossless=not source.live) for name, sink in sinks]
    capture = _Capture(source, health)
    failures: list[CuelensError] = []
    begun = heard = time.monotonic()
    lost_camera = False

    def publish(update: Update) -> None:
        for outlet in outlets:
            outlet.slot.put(update)

    def publish_lost(now: float) -> None:
        publish(Update(None, (), (), labels, policy.lose_camera(now), {}, capture.slot.dropped))

    try:
        notify("READY=1")
        while not stop.is_set() and (seconds is None or time.monotonic() - begun < seconds):
            for outlet in [outlet for outlet in outlets if outlet.failure]:
                assert outlet.failure is not None
                outlets.remove(outlet)
                failures.append(outlet.failure)
                say(str(outlet.failure))
            if sinks and not outlets:
                break
            frame = capture.slot.get(WAIT)
            if frame is None:
                now = time.monotonic()
                if capture.slot.ended:
                    if capture.failure:
                        publish_lost(now)
                    break
                if now - heard > STALL and source.live and not lost_camera:
                    lost_camera = True
                    publish_lost(now)
                notify("WATCHDOG=1")  # waiting with a deadline is a healthy wait
                continue
            heard, lost_camera = time.monotonic(), False
            faces = finder.find(frame.gray, frame.t)
            found = time.monotonic()
            chosen = turns.choose(faces, policy.partner, frame.t)
            crops = (crop_face(frame.gray, face, model.contract.side) for face in chosen)
            fresh = [Reading(face.id, model.read(crop), frame.t) for face, crop in zip(chosen, crops, strict=True)]
            readings = {face.id: readings[face.id] for face in faces if face.id in readings}
            readings |= {reading.face_id: reading for reading in fresh}
            read = time.monotonic()
            cue = policy.update(faces, fresh, frame.t)
            work = replace(finder.work, unread=turns.left)
            shown = time.monotonic()
            captured = frame.t if source.live else frame.t_arrived  # a recording's `t` is not of our clock
            latency_ms = {
                "find": round(1000 * (found - heard), 3),
                "read": round(1000 * (read - found), 3),
                "total": round(1000 * (shown - captured), 3),
            }
            health.count(cue, faces, latency_ms | {"cue": 1000 * (shown - read)}, shown, work)
            newest = tuple(readings.values())
            publish(Update(frame, tuple(faces), newest, labels, cue, latency_ms, capture.slot.dropped, work))
            notify("WATCHDOG=1")
    finally:
        notify("STOPPING=1")
        capture.stop()
        for outlet in outlets:
            outlet.slot.close()
        deadline = time.monotonic() + END
        threads: list[_Capture | _Outlet] = [capture, *outlets]
        for thread in threads:
            if not thread.join(deadline):
                failures.append(LoopStuck(f"{thread.name}: did not end within {END:.0f} s; it was left behind"))
                say(str(failures[-1]))
    for failure in (capture.failure, *(outlet.failure for outlet in outlets)):
        if failure is not None:
            failures.append(failure)
            say(str(failure))
    health.dropped = capture.slot.dropped
    health.missed = {outlet.name: outlet.slot.dropped for outlet in outlets}
    return Outcome(health, tuple(failures))
