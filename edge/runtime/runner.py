"""The states of a run, a method each: a frame to show, a camera that gives none, a pause, the end.

capture.next() -> Frame | Lost | Silent | Paused | Ended -> Pipeline.process -> each sink's own mailbox and thread.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace

from edge.errors import CuelensError, ModelFailed
from edge.runtime.capture import Capture, Ended, Event, Lost, Paused, Silent
from edge.runtime.control import Control
from edge.runtime.heartbeat import Heartbeat
from edge.runtime.mailbox import END, name_stuck
from edge.runtime.metrics import Metrics
from edge.runtime.sink_worker import STALE, SinkWorkers
from edge.runtime.throttle import Throttle
from edge.system.messages import Warned, failed
from edge.system.systemd import notify
from edge.types import Clock, Frame, Update
from edge.vision.mounting import advise
from edge.vision.pipeline import FULL, FindFailed, Pipeline

WAIT = 0.1  # seconds between looks at the stop flag: signals end the run within this
REPEAT = 1.0  # seconds after which sinks hear again that the camera is lost, or paused: a silent window looks hung


@dataclass(eq=False, repr=False, match_args=False)
class Runner:
    """Takes events from the capture until they end, and has every sink show the outcome; every wait has a deadline."""

    control: Control
    capture: Capture
    pipeline: Pipeline
    workers: SinkWorkers
    metrics: Metrics
    throttle: Throttle | None
    say: Callable[[str], None]
    clock: Clock

    def __post_init__(self) -> None:
        self.failures: list[CuelensError] = []
        self._heartbeat = Heartbeat(self.metrics, self.clock)
        self._over = False
        self._repeated = -math.inf  # when a cue without a frame was last given to the sinks

    def run(self, warm_up: Callable[[], None], stop: threading.Event, seconds: float | None) -> None:
        """Run until the source or the last sink ends, `stop` is set or `seconds` have passed, and close both.

        What went wrong is in `failures`. `warm_up` is called before the first frame, and makes one reading.
        """
        begun = self.clock()
        self.capture.expect_frames()
        try:
            warm_up()
            self.metrics.count_readings(1)
            notify("READY=1")
            while not (self._over or stop.is_set()) and (seconds is None or self.clock() - begun < seconds):
                for line in self.workers.news():
                    self.say(line)
                for failure in self.workers.drop_failed():
                    self._fail(failure)
                if self.workers.all_failed:
                    break
                self._obey()
                self._take(self.capture.next(WAIT))
        except ModelFailed as error:
            self._fail(error)
        finally:
            notify("STOPPING=1")
            self.capture.stop()
            self.workers.stop()
            for stuck in name_stuck((self.capture, *self.workers), self.clock() + END):
                self._fail(stuck)
        for failure in (*self.capture.failures, *self.workers.drop_failed()):
            self._fail(failure)
        self.metrics.note_dropped(self.capture.dropped)

    def _take(self, event: Event) -> None:
        match event:
            case Frame():
                self._show_frame(event)
            case Lost():
                self._show_lost(event)
            case Paused():
                self._show_again(self.pipeline.pause)
            case Silent():
                self._heartbeat.beat()
            case Ended():
                self._over = True
                if event.failure is not None:
                    self._show_without_frame(self.pipeline.lose_camera)

    def _show_frame(self, frame: Frame) -> None:
        heard, self._repeated = self.clock(), -math.inf
        effort = FULL if self.throttle is None else self.throttle.take(frame.t)
        if effort is None:
            return
        try:
            update = self.pipeline.process(frame, effort)
        except FindFailed:
            return
        shown = self.clock()
        self.metrics.count_readings(len(update.fresh))
        if update.turned_deg is not None:
            advice = advise(update.turned_deg, self.control.settings.camera)
            self.metrics.note_overturned(advice)
            self.control.begin_problem(advice, self.say)
        if self.capture.live and shown - heard > STALE:
            self.say(Warned(f"the loop was blocked for {shown - heard:.1f} s"))
            self.metrics.count_stall()
            self._show_without_frame(self.pipeline.lose_camera)  # what this frame shows is of the past
            return
        captured = frame.t if self.capture.live else frame.t_arrived  # a recording's `t` is not of our clock
        update = replace(update, dropped=self.capture.dropped)
        self.workers.put(self.metrics.count_update(update, heard, captured, shown))
        self._heartbeat.beat()

    def _show_lost(self, lost: Lost) -> None:
        if lost.failure is not None:
            self._over = True
            self._fail(lost.failure)
            return
        if self._repeated == -math.inf:
            self.metrics.notice_camera(self.clock() - lost.since)
        self._show_again(self.pipeline.lose_camera)

    def _show_again(self, forget: Callable[[float], Update]) -> None:
        if self.clock() - self._repeated > REPEAT:
            self._show_without_frame(forget)
        self._heartbeat.beat()

    def _show_without_frame(self, forget: Callable[[float], Update]) -> None:
        update = replace(forget(self.capture.now()), dropped=self.capture.dropped)
        self._repeated = self.clock()
        self.metrics.show(update.cue, self._repeated)
        self.workers.put(update)

    def _obey(self) -> None:
        self.pipeline.change(self.control.settings.cue)
        if (paused := self.control.paused) != self.capture.paused:
            self.capture.pause(paused)
            self._repeated = -math.inf

    def _fail(self, failure: CuelensError) -> None:
        self.failures.append(failure)
        self.say(failed(failure))
