"""Frames from the source into the loop's slot, whatever the driver does.

A lost camera is opened again; where a call of the driver does not return, its thread is abandoned and a new one starts.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import NamedTuple

from edge.errors import CameraLost, CameraMissing, CameraStuck, CuelensError
from edge.runtime.frame_check import Fault, FrameWatch
from edge.runtime.mailbox import Mailbox
from edge.runtime.metrics import Metrics
from edge.system.messages import Warned, failed
from edge.types import Clock, Frame, Source

Resume = Callable[[], Source]

STALL = 1.0  # seconds without a frame until the wearer sees that there is none
REOPENING = 3.0  # seconds that a camera may take to open after a pause: libcamera takes one on a Raspberry Pi
CAMERA_TIMEOUT = 30.0  # seconds without a frame from a live source, whose own deadlines are shorter, that end a run
FIRST_LOOK, LAST_LOOK = 0.5, 4.0  # seconds until it opens a lost camera again; doubles in between, a fifth more or less
CAMERA_FAULTS = (CameraLost, CameraMissing)
# Seconds that a camera's call may take, whose own deadlines are shorter. Opening tries several devices.
CALL_DEADLINES = {"open": 12.0, "read": 6.0, "close": 6.0}
MOST_ABANDONED = 3  # threads at a time that are left in a call which does not return, each with its camera's memory


class Lost(NamedTuple):
    """Nothing is seen, since `since`: `cause` is its name in the status; `failure` is set where nothing helps."""

    cause: str
    since: float
    failure: CuelensError | None = None


class Silent:
    """No frame came in time, and nothing is wrong so far."""


class Paused:
    """No frame is taken."""


class Ended(NamedTuple):
    """No frame comes any more; `failure` says why, None where the source was at its end."""

    failure: CuelensError | None


Event = Frame | Lost | Silent | Paused | Ended


class _Taker:
    """A thread that takes frames; it is abandoned where a call of the driver does not return."""

    def __init__(self, source: Source, clock: Clock) -> None:
        self._clock = clock
        self.source = source
        self.busy: tuple[str, float] | None = None  # the driver's call that it is in, and since when
        self.abandoned = False

    def start(self, work: Callable[[_Taker], None]) -> None:
        self._thread = threading.Thread(target=work, args=(self,), name=Capture.name, daemon=True)
        self._thread.start()

    @contextmanager
    def calling(self, what: str) -> Iterator[None]:
        self.busy = what, self._clock()
        try:
            yield
        finally:
            self.busy = None

    def close_source(self) -> None:
        """Close it; raises CameraStuck where its driver hangs with the camera open."""
        with self.calling("close"):
            self.source.close()
        if getattr(self.source, "stuck", False):
            raise _stuck("it cannot be closed")

    def join(self, deadline: float) -> bool:
        self._thread.join(max(0.0, deadline - self._clock()))
        return not self._thread.is_alive()


def _stuck(why: str) -> CameraStuck:
    # V4L2 gives a second handle EBUSY while another one holds the buffers, and so does libcamera's acquire(); only the
    # end of the process lets go of a handle that a thread is stuck with.
    return CameraStuck(
        f"the camera's driver hangs: {why}; no process can open a camera twice, so this one ends; "
        "start again (the service does), or unplug the camera"
    )


class Capture:
    """Takes frames from the source, opens a lost camera again, and abandons a thread whose driver hangs."""

    name = "capture"

    def __init__(
        self,
        source: Source,
        metrics: Metrics,
        resume: Resume | None,
        say: Callable[[str], None],
        *,
        paused: bool = False,
        clock: Clock = time.monotonic,
    ) -> None:
        """Begin to take frames; `say` gets a line when the camera fails, and when it works again."""
        self.live = source.live
        self.mailbox: Mailbox[Frame] = Mailbox(lossless=not source.live)
        self.failure: CuelensError | None = None
        self.lost: tuple[str, CuelensError] | None = None  # why the camera is, until it gives frames again
        self.watch = FrameWatch(live=source.live, camera=resume is not None)
        self._metrics = metrics
        self._resume = resume
        self._say, self._clock = say, clock
        self._trouble: Lost | None = None
        self._newest_t: float | None = None  # of a frame that was given on
        self._go = threading.Event()
        self.expect_frames()
        if not paused:
            self._go.set()
        self._taken = 0  # frames
        self._first = 0  # of them, when it was opened last
        self._abandoned: list[_Taker] = []
        self._closer: threading.Thread | None = None
        self._taker = _Taker(source, clock)
        self._taker.start(self._run)

    def _run(self, taker: _Taker) -> None:
        try:
            self._take(taker)
        except CuelensError as error:
            self._fail(taker, error)
        except Exception as error:  # a driver may raise anything; a thread that dies silently is a frozen label
            failure = CuelensError(f"source: {type(error).__name__}: {error}; run again with --debug")
            failure.__cause__ = error
            self._fail(taker, failure)
        finally:
            if taker.abandoned:
                taker.source.close()  # its driver came back after all
            else:
                self.mailbox.close()

    def _fail(self, taker: _Taker, error: CuelensError) -> None:
        if not taker.abandoned:
            self.failure = error

    def _over(self, taker: _Taker) -> bool:
        return taker.abandoned or self.mailbox.closed

    def _take(self, taker: _Taker) -> None:
        # A thread that begins with a lost camera replaces one that was abandoned.
        frames = self._begin(taker) if self.lost is None else self._find_again(taker)
        while not self._over(taker):
            if not self._go.is_set():
                frames = self._wait(taker, frames)
                continue
            begun = time.thread_time()
            try:
                with taker.calling("read"):
                    item = next(frames, self)
                if item is self or taker.abandoned:
                    break
                frame = self.watch.check(item, self._clock())
            except (*CAMERA_FAULTS, Fault) as error:
                if taker.abandoned:
                    break
                self.lost = (
                    (error.cause, CameraLost(f"camera: {error}")) if isinstance(error, Fault) else ("lost", error)
                )
                if self._resume is None:
                    raise self.lost[1] from error
                frames = self._find_again(taker)
                continue
            if frame is None:
                self.mailbox.wait_closed(0.01)  # whatever gives damaged frames at once is not hammered
                continue
            self.lost = None
            self._metrics.record("capture", 1000 * (time.thread_time() - begun))
            frame = replace(frame, seq=self._first + frame.seq) if self._first else frame
            self._taken = frame.seq + 1
            if not self.watch.black:
                self.mailbox.put(frame)

    def _begin(self, taker: _Taker) -> Iterator[Frame]:
        self._first = self._taken
        self.watch.begin(self._clock())
        return taker.source.frames()

    def _wait(self, taker: _Taker, frames: Iterator[Frame]) -> Iterator[Frame]:
        """Wait for the end of a pause, with the source closed where it can be opened again."""
        if self._resume is None:
            self._go.wait()
            return frames
        with suppress(CameraStuck):  # reported once it has to open again: until then nothing need be read
            taker.close_source()
        self._go.wait()
        if self._over(taker):
            return iter(())
        taker.close_source()
        try:
            return self._open_again(taker, self._resume)
        except CAMERA_FAULTS as error:
            self.lost = "lost", error
            return self._find_again(taker)

    def _find_again(self, taker: _Taker) -> Iterator[Frame]:
        """Open a camera that was lost, until that works or the run ends; raises CameraStuck."""
        assert self._resume is not None
        taker.close_source()
        delay = FIRST_LOOK
        # Not in step with whatever else tries to get hold of the same bus.
        while not self.mailbox.wait_closed(delay * random.uniform(0.8, 1.2)):
            self._go.wait()
            if self._over(taker):
                break
            with suppress(*CAMERA_FAULTS):
                return self._open_again(taker, self._resume)
            delay = min(2 * delay, LAST_LOOK)
        return iter(())

    def _open_again(self, taker: _Taker, resume: Resume) -> Iterator[Frame]:
        with taker.calling("open"):
            source = resume()
        taker.source = source
        if self._over(taker):  # stop() came while it opened, and closed the one before
            source.close()
            return iter(())
        return self._begin(taker)

    @property
    def paused(self) -> bool:
        """Whether no frame is taken."""
        return not self._go.is_set()

    @property
    def dropped(self) -> int:
        """Frames so far that a newer one replaced."""
        return self.mailbox.dropped

    @property
    def failures(self) -> tuple[CuelensError, ...]:
        """Why no frame comes any more; none where the source was at its end."""
        return () if self.failure is None else (self.failure,)

    def expect_frames(self, opening: float = 0.0) -> None:
        """Expect frames from now on, from a camera that may first take `opening` seconds to open."""
        self._since = self._clock()
        self._heard = self._since + opening

    def now(self) -> float:
        """Return the present on the capture clock: of a recording, the instant of its newest frame."""
        return self._clock() if self.live or self._newest_t is None else self._newest_t

    def next(self, timeout: float) -> Event:
        """Wait up to `timeout` seconds for a frame, and return it or why there is none."""
        frame = self.mailbox.get(timeout)
        now = self._clock()
        if frame is not None and not self.paused:
            self._heard, self._newest_t = now, frame.t
            if self._trouble is not None:
                self._say(f"the camera gives frames again, after {now - self._trouble.since:.1f} s")
                self._metrics.find_camera(now - self._trouble.since)
                self._trouble = None
            return frame
        if self.mailbox.ended:
            return Ended(self.failure)
        if self.paused:
            return Paused()
        seen = self.trouble(now - self._heard) if self.live else None
        if seen is not None:
            self._lose(*seen, now)
        return self._trouble or Silent()

    def _lose(self, cause: str, why: str, now: float) -> None:
        since = max(self.watch.fresh, self._since) if self._trouble is None else self._trouble.since
        if self._trouble is None or self._trouble.cause != cause:
            self._metrics.miss_camera(cause)
            self._say(why)
        failure: CuelensError | None = None
        if cause == "dark":
            self._heard = now  # it gives frames
        elif now - self._heard > CAMERA_TIMEOUT:
            lost = self.lost  # the other thread changes it
            ended = f"no frame for {CAMERA_TIMEOUT:.0f} s; check the camera, then start again"
            failure = lost[1] if lost is not None else CameraLost(ended)
        self._trouble = Lost(cause, since, failure)

    def trouble(self, silent: float) -> tuple[str, str] | None:
        """Return why nothing is seen, by name and in words, None where it is; no frame has come for `silent` seconds.

        Abandons a thread whose driver hangs.
        """
        busy = self._taker.busy
        if busy is not None and self._resume is not None and self._go.is_set():
            what, since = busy
            if self._clock() - since > CALL_DEADLINES[what]:
                self._abandon(what, f"a call to {what} has not returned for {CALL_DEADLINES[what]:g} s")
        if (lost := self.lost) is not None:  # the other thread changes it
            return lost[0], failed(lost[1], "looking for it again")
        if self.watch.black:
            return "dark", Warned("the camera sees nothing but black; uncover it, or turn on a light")
        return ("silent", Warned(f"the camera has given no frame for {STALL:g} s")) if silent > STALL else None

    def _abandon(self, what: str, why: str) -> None:
        """Leave a thread that is stuck in `read`; end where it is stuck in what a new one would have to do."""
        self._taker.abandoned = True
        self._abandoned = [*(taker for taker in self._abandoned if not taker.join(0.0)), self._taker]
        if what == "read" and len(self._abandoned) <= MOST_ABANDONED:
            self.lost = "stuck", CameraLost(f"camera: {why}")
            self._taker = _Taker(self._taker.source, self._clock)
            self._taker.start(self._run)
        else:
            self.failure = _stuck(why)
            self.mailbox.close()

    def pause(self, paused: bool) -> None:
        """Take no further frame while paused, and close a source that can be opened again."""
        if paused:
            self._go.clear()
        else:
            self._go.set()
        self._trouble = None
        self._metrics.forget_camera_trouble()
        self.expect_frames(REOPENING if self._resume is not None else 0.0)

    def stop(self) -> None:
        """Let no more frames in, and close the source in a thread of its own: its driver may hang."""
        self.mailbox.close()
        self._go.set()
        closer = threading.Thread(target=self._taker.source.close, name=self.name, daemon=True)
        try:
            closer.start()
            self._closer = closer
        except RuntimeError:  # there is no memory for a thread
            self._taker.source.close()

    def join(self, deadline: float) -> bool:
        """Return whether its threads have ended, for which it waits until `deadline` on its clock at most.

        One that was abandoned, or that is still opening a camera, counts as ended.
        """
        if self._taker.abandoned:  # that it hangs was reported
            return True
        if self._closer is not None:
            self._closer.join(max(0.0, deadline - self._clock()))
        # It may take longer to open than a run may to end; the process lets go of it.
        busy = self._taker.busy  # the other thread changes it
        opening = busy is not None and busy[0] == "open"
        return (self._taker.join(deadline) or opening) and not (self._closer and self._closer.is_alive())
