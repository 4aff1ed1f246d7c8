"""Builds what a run is made of, a source, the pipeline and the sinks, and runs it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from typing import NamedTuple

from edge.errors import CuelensError
from edge.runtime.capture import Capture, Resume
from edge.runtime.control import Control
from edge.runtime.mailbox import END, name_stuck
from edge.runtime.metrics import Metrics, StageTimes
from edge.runtime.retry import RetryingCall
from edge.runtime.runner import Runner
from edge.runtime.sink_worker import Reopen, SinkWorker, SinkWorkers
from edge.runtime.throttle import Throttle
from edge.system import messages
from edge.types import Clock, Sink, Source, Update
from edge.vision.finders.net import NetFinder
from edge.vision.model import ExpressionModel
from edge.vision.overturned import EVERY
from edge.vision.pipeline import Mark, Pipeline, mark_nothing
from edge.vision.sight import DeviceSight
from edge.vision.verifier import FaceVerifier

PREPARING = 3.0  # seconds for which the first frame waits for displays that open, which holds up every thread


class Outcome(NamedTuple):
    """How a run ended: `failures` are for the user, the first gives the exit code."""

    metrics: Metrics
    failures: tuple[CuelensError, ...]


def run(
    control: Control,
    source: Source,
    model: ExpressionModel,
    sinks: list[tuple[str, Sink]],
    stop: threading.Event,
    seconds: float | None = None,
    say: Callable[[str], None] = messages.say,
    reopen: Reopen | None = None,
    resume: Resume | None = None,
    throttle: Throttle | None = None,
    verifier: Callable[[], FaceVerifier] = FaceVerifier,
    proposer: Callable[[], NetFinder] = NetFinder,
    mark: Mark = mark_nothing,
    clock: Clock = time.monotonic,
    *,
    closed: bool = False,
) -> Outcome:
    """Run until the source ends, `stop` is set or `seconds` have passed; closes source and sinks, also where it fails.

    A pause closes the source where `resume` opens it again; without that it stays open, and no frame is taken from it.
    Where `source` stands for one that a pause kept `closed`, it is opened as soon as there is no pause.
    A sink that fails is reported through `say`, and opened again by `reopen` or left out; the run ends with the last
    one that is left out. `throttle` says which frames are left out, None for none; `verifier` opens the judge of faces,
    `proposer` the network that finds new ones; `mark` is called as each stage of a frame begins. All instants are
    `clock`'s.
    """

    settings, stages = control.settings, StageTimes(clock, mark)
    slowing = None if throttle is None else throttle.slowing
    control.metrics = metrics = Metrics(model.runtime, slowing, stages, clock)
    with ExitStack() as opened:  # and closed where the run cannot begin
        for _, sink in sinks:
            opened.callback(sink.close)
        opened.callback(source.close)

        def rebuild_finder() -> None:
            sight.rebuild_finder()
            pipeline.forget()

        sight = DeviceSight(
            settings.faces,
            model,
            verifier,
            proposer,
            sideways=settings.camera.rotate_deg % 180 > 0,
            overturned_every=EVERY if source.live else 1,
            guard_find=RetryingCall("finder", rebuild_finder, metrics.count_fault, say, clock),
            guard_read=RetryingCall("network", model.rebuild, metrics.count_fault, say, clock),
        )
        pipeline = Pipeline(sight, model.contract.labels, settings.cue, stages)
        capture = Capture(source, metrics, resume, say, paused=closed or control.paused, clock=clock)
        opened.pop_all()
    workers = _start_workers(sinks, metrics, capture, pipeline, reopen, clock)
    workers.wait_prepared(stop, PREPARING)
    runner = Runner(control, capture, pipeline, workers, metrics, throttle, say, clock)
    runner.run(sight.warm_up, stop, seconds)
    return Outcome(metrics, tuple(runner.failures))


def _start_workers(
    sinks: list[tuple[str, Sink]],
    metrics: Metrics,
    capture: Capture,
    pipeline: Pipeline,
    reopen: Reopen | None,
    clock: Clock,
) -> SinkWorkers:
    def unknown() -> Update:
        return replace(pipeline.unknown(clock()), dropped=capture.dropped)

    def start(spec: str, sink: Sink) -> SinkWorker:
        counters = metrics.add_sink(spec)
        return SinkWorker(spec, sink, counters, live=capture.live, reopen=reopen, unknown=unknown, clock=clock)

    workers: list[SinkWorker] = []
    try:
        for spec, sink in sinks:
            workers.append(start(spec, sink))
    except BaseException:  # no memory for a thread
        capture.stop()
        for worker in workers:
            worker.mailbox.close()
        for _, sink in sinks[len(workers) :]:
            sink.close()
        name_stuck((capture, *workers), clock() + END)
        raise
    return SinkWorkers(workers, clock)
