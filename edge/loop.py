"""The loop: newest frame in, cue out to every sink; nothing in it waits without a deadline.

source thread -> newest-frame slot -> this loop -> each sink's own one-place mailbox and thread.
"""

from __future__ import annotations

import contextlib
import math
import random
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

import numpy as np

from edge.config import FaceSettings
from edge.control import Control
from edge.cue import CuePolicy
from edge.errors import CameraLost, CameraMissing, CuelensError, LoopStuck, SinkFailed
from edge.faces import FaceFinder, crop_face
from edge.health import Health, SinkHealth
from edge.model import ExpressionModel
from edge.pace import Pace
from edge.systemd import notify
from edge.types import Cue, Face, Frame, Reading, Sink, Source, Update
from edge.verifier import FaceVerifier

Item = TypeVar("Item")
Reopen = Callable[[str], Sink]
Resume = Callable[[], Source]

WAIT = 0.1  # seconds between looks at the stop flag: signals end the loop within this
REPEAT = 1.0  # seconds after which sinks are told again that the camera is lost, or that it is paused
STALL = 1.0  # seconds without a frame until the wearer is told
CLOCK_STEP = 0.002  # seconds by which frames come early
FIRST_DELAY, LONGEST_DELAY = 1.0, 30.0  # seconds until a sink that failed is opened again; doubles in between
STATUS_INTERVAL = 10.0  # seconds between the status lines for the service manager
END = 3.0  # seconds a thread may take to end before it is named and left behind
REOPENING = 3.0  # seconds that a camera may take to open after a pause: libcamera takes one on a Raspberry Pi
FIRST_LOOK, LAST_LOOK = 0.5, 4.0  # seconds until a lost camera is looked for; doubles in between, a fifth more or less
HOPELESS = 30.0  # seconds without a frame from a live source, whose own deadlines are shorter, until it is given up
CAMERA_FAULTS = (CameraLost, CameraMissing)


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

    def wait_closed(self, timeout: float) -> bool:
        """Wait up to `timeout` seconds for it to be closed, and say whether it is."""
        with self._change:
            return self._change.wait_for(lambda: self._closed, max(0.0, timeout))

    @property
    def closed(self) -> bool:
        """Whether it was closed."""
        with self._change:
            return self._closed

    @property
    def ended(self) -> bool:
        """Whether it is closed and empty."""
        with self._change:
            return self._closed and not self._items


class _Capture:
    """The thread that takes frames from the source."""

    name = "capture"

    def __init__(self, source: Source, health: Health, resume: Resume | None) -> None:
        self.slot: Slot[Frame] = Slot(lossless=not source.live)
        self.failure: CuelensError | None = None
        self.lost: CuelensError | None = None  # why the camera was, until it gives frames again
        self._source = source
        self._health = health
        self._resume = resume
        self._go = threading.Event()
        self._go.set()
        self._thread = threading.Thread(target=self._run, name=self.name, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            frames = self._source.frames()
            taken = first = 0
            while not self.slot.closed:
                if not self._go.is_set():
                    if self._resume is not None:
                        self._source.close()
                    self._go.wait()
                    if self._resume is not None and not self.slot.closed:
                        try:
                            frames = self._open_again(self._resume)
                        except CAMERA_FAULTS as error:
                            frames = self._find_again(error, self._resume)
                        first = taken
                    continue
                begun = time.thread_time()
                try:
                    frame = next(frames, None)
                except CAMERA_FAULTS as error:
                    if self._resume is None:
                        raise
                    frames = self._find_again(error, self._resume)
                    first = taken
                    continue
                if frame is None:
                    break
                self.lost = None
                self._health.record("capture", 1000 * (time.thread_time() - begun))
                if first:
                    frame = replace(frame, seq=first + frame.seq)
                taken = frame.seq + 1
                self.slot.put(frame)
        except CuelensError as error:
            self.failure = error
        except Exception as error:  # a driver may raise anything; a thread that dies silently is a frozen label
            self.failure = CuelensError(f"source: {type(error).__name__}: {error}; run again with --debug")
            self.failure.__cause__ = error
        finally:
            self.slot.close()

    def _find_again(self, error: CuelensError, resume: Resume) -> Iterator[Frame]:
        """Open a camera that was lost, until that works or the run ends."""
        if self.lost is None:
            self._health.camera_losses += 1
        self.lost = error
        self._source.close()
        delay = FIRST_LOOK
        # Not in step with whatever else tries to get hold of the same bus.
        while not self.slot.wait_closed(delay * random.uniform(0.8, 1.2)):
            self._go.wait()
            if self.slot.closed:
                break
            with contextlib.suppress(*CAMERA_FAULTS):
                return self._open_again(resume)
            delay = min(2 * delay, LAST_LOOK)
        return iter(())

    def _open_again(self, resume: Resume) -> Iterator[Frame]:
        self._source = source = resume()
        if self.slot.closed:  # stop() came while it opened, and closed the one before
            source.close()
        return source.frames()

    def pause(self, paused: bool) -> None:
        """Take no further frame while paused, and close a source that can be opened again."""
        if paused:
            self._go.clear()
        else:
            self._go.set()

    def stop(self) -> None:
        self.slot.close()
        self._go.set()
        self._source.close()

    def join(self, deadline: float) -> bool:
        self._thread.join(max(0.0, deadline - time.monotonic()))
        return not self._thread.is_alive()


class _Outlet:
    """A sink with its own mailbox and thread: one that is slow or breaks costs the loop nothing.

    A sink that failed and may be opened again is, after a while that doubles each time.
    """

    def __init__(self, spec: str, sink: Sink, health: SinkHealth, *, live: bool, reopen: Reopen | None) -> None:
        self.name = f"sink {spec}"
        self.failure: CuelensError | None = None  # of one that is not opened again
        self.health = health
        self.slot: Slot[Update] = Slot(lossless=sink.capabilities.every_frame and not live)
        self._spec = spec
        self._live = live
        self._reopen = reopen if sink.capabilities.reopens else None
        self._news: deque[str] = deque(maxlen=10)
        self._begun: float | None = None  # of the update that is being shown
        self._deadline = sink.capabilities.deadline
        self._thread = threading.Thread(target=self._run, args=(sink,), name=self.name, daemon=True)
        self._thread.start()

    def _run(self, sink: Sink) -> None:
        delay = FIRST_DELAY
        while True:
            shown = self.health.shown
            failure = self._serve(sink)
            if failure is None:
                self.health.state = "ended"
                return
            self.health.failures += 1
            self.health.error = str(failure)
            if self._reopen is None or self.slot.closed:
                self.health.state = "failed"
                self.failure = failure
                self.slot.close()
                return
            if self.health.shown > shown:
                delay = FIRST_DELAY  # it worked in between
            self.health.state = "waiting"
            self._news.append(f"{failure}; trying again in {delay:.0f} s")
            again = self._open_again(delay)
            if again is None:
                self.failure = failure
                return
            delay = min(2 * delay, LONGEST_DELAY)
            sink = again

    def _serve(self, sink: Sink) -> CuelensError | None:
        """Show what comes until the mailbox is closed; returns what went wrong, None where nothing did."""
        try:
            try:
                while not self.slot.ended:
                    update = self.slot.get(WAIT)
                    if update is None:
                        continue
                    self._begun = begun = time.monotonic()
                    sink.show(update)
                    self._begun = None
                    self.health.state = "working"
                    self.health.shown += 1
                    if self._live:
                        self.slot.wait_closed(begun + sink.capabilities.least_interval - time.monotonic())
            finally:
                self._begun = None
                sink.close()
        except CuelensError as error:
            return error
        except Exception as error:
            failure = SinkFailed(f"{self.name}: {type(error).__name__}: {error}; run again with --debug")
            failure.__cause__ = error
            return failure
        return None

    def _open_again(self, delay: float) -> Sink | None:
        """Wait, and open the sink again until that works; None when the run ended before."""
        assert self._reopen is not None
        while not self.slot.wait_closed(delay):
            try:
                return self._reopen(self._spec)
            except CuelensError as error:
                delay = min(2 * delay, LONGEST_DELAY)
                self.health.failures += 1
                self.health.error = str(error)
        return None

    def put(self, update: Update) -> None:
        """Leave an update; one that it replaces while the sink is at work, and does not wait by itself, is missed."""
        before = self.slot.dropped
        self.slot.put(update)
        if self._begun is not None:
            self.health.missed += self.slot.dropped - before

    def news(self, now: float) -> list[str]:
        """Return what the user should be told since the last call, and see whether the sink is stuck."""
        begun = self._begun
        if begun is not None and now - begun > self._deadline and self.health.state == "working":
            self.health.state = "stuck"
            self._news.append(f"{self.name}: an update takes it over {self._deadline:.1f} s; going on without it")
        return [self._news.popleft() for _ in range(len(self._news))]

    def join(self, deadline: float) -> bool:
        self._thread.join(max(0.0, deadline - time.monotonic()))
        return not self._thread.is_alive()


class Turns:
    """Who is read in a frame, where reading everybody in every frame would cost most of it."""

    def __init__(self, settings: FaceSettings) -> None:
        self._settings = settings
        self.interval = 0.0  # seconds between readings of a face, where the setting is not longer
        self.left = 0  # faces that were due and had to wait
        self._read: dict[int, float] = {}  # when each present face was, on the capture clock

    def choose(self, faces: Sequence[Face], partner: int | None, t: float) -> list[Face]:
        """Return the faces to read at `t`: the partner whenever it is due, the others in turns between."""
        self._read = {face.id: self._read[face.id] for face in faces if self._read.get(face.id, math.inf) <= t}

        def waited(face: Face) -> float:
            return t - self._read.get(face.id, -math.inf)

        interval = max(self._settings.read_interval, self.interval)
        due = [face for face in faces if waited(face) >= interval - CLOCK_STEP]
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
    control: Control,
    source: Source,
    model: ExpressionModel,
    sinks: list[tuple[str, Sink]],
    stop: threading.Event,
    seconds: float | None = None,
    say: Callable[[str], None] = lambda line: print(line, file=sys.stderr, flush=True),
    reopen: Reopen | None = None,
    resume: Resume | None = None,
    pace: Pace | None = None,
    verifier: Callable[[], FaceVerifier] = FaceVerifier,
) -> Outcome:
    """Run until the source ends, `stop` is set or `seconds` have passed, and close source and sinks.

    A pause closes the source where `resume` opens it again; without that it stays open, and no frame is taken from it.
    A sink that fails is reported through `say`, and opened again by `reopen` or left out; the run ends with the last
    one that is left out. `pace` says which frames are left out, None for none; `verifier` opens the judge of faces.
    """
    settings = control.settings
    finder = FaceFinder(settings.faces, verifier())
    turns = Turns(settings.faces)
    readings: dict[int, Reading] = {}
    labels = model.contract.labels
    policy = CuePolicy(settings.cue, labels)
    control.health = health = Health(model.runtime)
    health.pace = pace
    working: list[_Outlet] = []
    for spec, sink in sinks:
        health.sinks[spec] = SinkHealth()
        working.append(_Outlet(spec, sink, health.sinks[spec], live=source.live, reopen=reopen))
    capture = _Capture(source, health, resume)
    failures: list[CuelensError] = []
    begun = heard = time.monotonic()
    told = -math.inf  # when the service manager was last told how it goes
    clock: float | None = None  # the capture clock's newest instant
    lost_camera = paused = False
    repeated = -math.inf  # when a cue without a frame was last given to the sinks

    def publish(update: Update) -> None:
        for outlet in working:
            outlet.put(update)

    def publish_cue(cue: Cue) -> None:
        nonlocal repeated
        repeated = time.monotonic()
        health.show(cue, repeated)
        publish(Update(None, (), (), labels, cue, {}, capture.slot.dropped, settings=settings.cue))

    def now_of_frames(now: float) -> float:
        return now if source.live or clock is None else clock

    def alive() -> None:
        nonlocal told
        state, now = "WATCHDOG=1", time.monotonic()
        if now - told > STATUS_INTERVAL and health.cue is not None:
            told = now
            state += f"\nSTATUS={health.recent_fps:.1f} fps, {health.cue.shown}"
        health.watchdog += notify(state)

    try:
        # A device that sees nobody has shown that its network runs, and the first face need not wait for it to warm up.
        model.read(np.zeros((model.contract.side, model.contract.side), np.uint8))
        health.inferences += 1
        notify("READY=1")
        while not stop.is_set() and (seconds is None or time.monotonic() - begun < seconds):
            for outlet in list(working):
                for line in outlet.news(time.monotonic()):
                    say(line)
                if outlet.failure is not None:
                    working.remove(outlet)
                    failures.append(outlet.failure)
                    say(str(outlet.failure))
            if sinks and not working:
                break
            if control.settings is not settings:
                settings = control.settings
                policy.change(settings.cue)
            if control.paused != paused:
                paused = control.paused
                capture.pause(paused)
                heard, lost_camera, repeated = time.monotonic(), False, -math.inf
                if resume is not None:
                    heard += REOPENING
            frame = capture.slot.get(WAIT)
            if frame is None or paused:
                now = time.monotonic()
                if capture.slot.ended:
                    if capture.failure:
                        publish_cue(policy.lose_camera(now_of_frames(now)))
                    break
                lost = capture.lost
                if lost is not None and not lost_camera and not paused:
                    say(f"{lost}; looking for it again")
                if (lost is not None or now - heard > STALL) and source.live and not paused:
                    lost_camera = True
                    if now - heard > HOPELESS:
                        why = f"no frame for {HOPELESS:.0f} s; check the camera, then start again"
                        failures.append(lost or CameraLost(why))
                        say(str(failures[-1]))
                        break
                if (lost_camera or paused) and now - repeated > REPEAT:  # a window that hears nothing looks hung
                    publish_cue(policy.pause(now_of_frames(now)) if paused else policy.lose_camera(now))
                alive()  # waiting with a deadline is a healthy wait
                continue
            if lost_camera:
                say(f"the camera gives frames again, after {time.monotonic() - heard:.1f} s")
            heard, lost_camera = time.monotonic(), False
            if pace is not None and not pace.take(frame.t, finder, turns):
                continue
            # As many digits as the log has: a replay of it then decides alike.
            clock = round(frame.t, 6)
            faces = finder.find(frame.gray, clock)
            found = time.monotonic()
            chosen = turns.choose(faces, policy.partner, clock)
            crops = (crop_face(frame.gray, face, model.contract.side) for face in chosen)
            fresh = [
                Reading(face.id, tuple(round(p, 8) for p in model.read(crop)), clock)
                for face, crop in zip(chosen, crops, strict=True)
            ]
            health.inferences += len(fresh)
            readings = {face.id: readings[face.id] for face in faces if face.id in readings}
            readings |= {reading.face_id: reading for reading in fresh}
            read = time.monotonic()
            cue = policy.update(faces, fresh, clock)
            work = replace(finder.work, unread=turns.left)
            shown = time.monotonic()
            captured = frame.t if source.live else frame.t_arrived  # a recording's `t` is not of our clock
            latency_ms = {
                "find": round(1000 * (found - heard), 3),
                "read": round(1000 * (read - found), 3),
                "total": round(1000 * (shown - captured), 3),
            }
            health.count(cue, faces, latency_ms | {"cue": 1000 * (shown - read)}, shown, work)
            health.dropped = capture.slot.dropped
            publish(
                Update(
                    replace(frame, t=clock),
                    tuple(faces),
                    tuple(readings.values()),
                    labels,
                    cue,
                    latency_ms,
                    health.dropped,
                    work,
                    settings.cue,
                )
            )
            alive()
    finally:
        notify("STOPPING=1")
        capture.stop()
        for outlet in working:
            outlet.slot.close()
        deadline = time.monotonic() + END
        threads: list[_Capture | _Outlet] = [capture, *working]
        for thread in threads:
            if not thread.join(deadline):
                failures.append(LoopStuck(f"{thread.name}: did not end within {END:.0f} s; it was left behind"))
                say(str(failures[-1]))
    for failure in (capture.failure, *(outlet.failure for outlet in working)):
        if failure is not None:
            failures.append(failure)
            say(str(failure))
    health.dropped = capture.slot.dropped
    return Outcome(health, tuple(failures))
