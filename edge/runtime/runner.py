"""The loop: newest frame in, cue out to every sink; nothing in it waits without a deadline.

source thread -> newest-frame slot -> this loop -> each sink's own one-place mailbox and thread.
"""

from __future__ import annotations

import math
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from edge.control import Control
from edge.errors import CameraLost, CuelensError, LoopStuck, ModelFailed, printable
from edge.finders.net import NetFinder
from edge.model import ExpressionModel
from edge.mounting import advise
from edge.overturned import EVERY
from edge.runtime.capture import Capture, Resume
from edge.runtime.mailbox import END
from edge.runtime.metrics import Metrics, SinkMetrics
from edge.runtime.retry import RetryingCall
from edge.runtime.sink_worker import STALE, Reopen, SinkWorker
from edge.runtime.throttle import Throttle
from edge.systemd import notify
from edge.types import Sink, Source, Update
from edge.verifier import FaceVerifier
from edge.vision.pipeline import FULL, FindFailed, Mark, Pipeline, mark_nothing
from edge.vision.sight import DeviceSight

WAIT = 0.1  # seconds between looks at the stop flag: signals end the loop within this
REPEAT = 1.0  # seconds after which sinks are told again that the camera is lost, or that it is paused
STATUS_INTERVAL = 10.0  # seconds between the status lines for the service manager
REOPENING = 3.0  # seconds that a camera may take to open after a pause: libcamera takes one on a Raspberry Pi
PREPARING = 3.0  # seconds for which the first frame waits for displays that open, which holds up every thread
HOPELESS = 30.0  # seconds without a frame from a live source, whose own deadlines are shorter, until it is given up


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a run ended: `failures` are what the user is told, the first gives the exit code."""

    metrics: Metrics
    failures: tuple[CuelensError, ...]


def run(
    control: Control,
    source: Source,
    model: ExpressionModel,
    sinks: list[tuple[str, Sink]],
    stop: threading.Event,
    seconds: float | None = None,
    say: Callable[[str], None] = lambda line: print(printable(line), file=sys.stderr, flush=True),
    reopen: Reopen | None = None,
    resume: Resume | None = None,
    throttle: Throttle | None = None,
    verifier: Callable[[], FaceVerifier] = FaceVerifier,
    proposer: Callable[[], NetFinder] = NetFinder,
    mark: Mark = mark_nothing,
) -> Outcome:
    """Run until the source ends, `stop` is set or `seconds` have passed, and close source and sinks.

    A pause closes the source where `resume` opens it again; without that it stays open, and no frame is taken from it.
    A sink that fails is reported through `say`, and opened again by `reopen` or left out; the run ends with the last
    one that is left out. `throttle` says which frames are left out, None for none; `verifier` opens the judge of faces,
    `proposer` what finds lost ones again; `mark` hears which of a frame's stages begins.
    """
    settings = control.settings
    begun_at: dict[str, float] = {}  # when each stage of the newest frame began

    def mark_stage(stage: str) -> None:
        begun_at[stage] = time.monotonic()
        mark(stage)

    def begin_finding() -> None:
        sight.rebuild_finder()
        pipeline.lose_camera(now_of_frames(time.monotonic()))

    def count_fault(name: str) -> None:
        metrics.count_fault(name)

    sight = DeviceSight(
        settings.faces,
        model,
        verifier,
        proposer,
        sideways=settings.camera.rotate_deg % 180 > 0,
        overturned_every=EVERY if source.live else 1,
        guard_find=RetryingCall("finder", begin_finding, count_fault, say),
        guard_read=RetryingCall("network", model.rebuild, count_fault, say),
    )
    pipeline = Pipeline(sight, model.contract.labels, settings.cue, mark_stage)
    control.metrics = metrics = Metrics(model.runtime)
    metrics.throttle = throttle
    working: list[SinkWorker] = []
    paused = control.paused  # by an earlier run
    capture = Capture(source, metrics, resume, paused=paused)

    def unknown() -> Update:
        return replace(pipeline.unknown(time.monotonic()), dropped=capture.mailbox.dropped)

    for spec, sink in sinks:
        metrics.sinks[spec] = SinkMetrics()
        working.append(SinkWorker(spec, sink, metrics.sinks[spec], live=source.live, reopen=reopen, unknown=unknown))
    ready_by = time.monotonic() + PREPARING
    for worker in working:
        worker.wait_prepared(stop, ready_by)
    failures: list[CuelensError] = []
    begun = heard = since = time.monotonic()
    told = -math.inf  # when the service manager was last told how it goes
    clock: float | None = None  # the capture clock's newest instant
    trouble: tuple[str, str] | None = None  # why nothing is seen
    outage = begun  # when the last good frame before it came
    repeated = -math.inf  # when a cue without a frame was last given to the sinks

    def publish(update: Update) -> None:
        for worker in working:
            worker.put(update)

    def publish_without_frame(update: Update) -> None:
        nonlocal repeated
        repeated = time.monotonic()
        metrics.show(update.cue, repeated)
        publish(replace(update, dropped=capture.mailbox.dropped))

    def now_of_frames(now: float) -> float:
        return now if source.live or clock is None else clock

    def alive() -> None:
        nonlocal told
        state, now = "WATCHDOG=1", time.monotonic()
        if now - told > STATUS_INTERVAL and metrics.cue is not None:
            told = now
            state += f"\nSTATUS={metrics.recent_fps:.1f} fps, {metrics.cue.shown}"
        metrics.watchdog += notify(state)

    try:
        # A device that sees nobody has shown that its network runs, and the first face need not wait for it to warm up.
        sight.warm_up()
        metrics.inferences += 1
        notify("READY=1")
        while not stop.is_set() and (seconds is None or time.monotonic() - begun < seconds):
            for worker in list(working):
                for line in worker.news(time.monotonic()):
                    say(line)
                if worker.failure is not None:
                    working.remove(worker)
                    failures.append(worker.failure)
                    say(str(worker.failure))
            if sinks and not working:
                break
            if control.settings is not settings:
                settings = control.settings
                pipeline.change(settings.cue)
            if control.paused != paused:
                paused = control.paused
                capture.pause(paused)
                heard = since = time.monotonic()
                trouble, repeated, metrics.camera_trouble = None, -math.inf, None
                if resume is not None:
                    heard += REOPENING
            frame = capture.mailbox.get(WAIT)
            if frame is None or paused:
                now = time.monotonic()
                if capture.mailbox.ended:
                    if capture.failure:
                        publish_without_frame(pipeline.lose_camera(now_of_frames(now)))
                    break
                if source.live and not paused and (seen := capture.trouble(now - heard)) is not None:
                    if trouble is None:
                        outage = max(capture.watch.fresh, since)
                    if trouble is None or seen[0] != trouble[0]:
                        metrics.miss_camera(seen[0])
                        say(seen[1])
                    trouble = seen
                    if trouble[0] == "dark":
                        heard = now  # it gives frames
                    elif now - heard > HOPELESS:
                        why = f"no frame for {HOPELESS:.0f} s; check the camera, then start again"
                        lost = capture.lost
                        failures.append(lost[1] if lost else CameraLost(why))
                        say(str(failures[-1]))
                        break
                if (trouble or paused) and now - repeated > REPEAT:  # a window that hears nothing looks hung
                    if trouble is not None and repeated == -math.inf:
                        metrics.slowest_notice = max(metrics.slowest_notice, now - outage)
                    publish_without_frame(pipeline.pause(now_of_frames(now)) if paused else pipeline.lose_camera(now))
                alive()  # waiting with a deadline is a healthy wait
                continue
            heard, repeated = time.monotonic(), -math.inf
            if trouble is not None:
                say(f"the camera gives frames again, after {heard - outage:.1f} s")
                metrics.find_camera(heard - outage)
                trouble = None
            effort = FULL if throttle is None else throttle.take(frame.t)
            if effort is None:
                continue
            clock = frame.t
            try:
                update = pipeline.process(frame, effort)
            except FindFailed:
                continue
            shown = time.monotonic()
            if update.turned_deg is not None:
                metrics.overturned = advise(update.turned_deg, settings.camera)
                control.problems.append(metrics.overturned)
                say(f"cuelens: {metrics.overturned}")
            metrics.inferences += len(update.fresh)
            if source.live and shown - heard > STALE:
                say(f"the loop was blocked for {shown - heard:.1f} s")
                metrics.stalls += 1
                publish_without_frame(pipeline.lose_camera(shown))  # what this frame shows is of the past
                continue
            captured = frame.t if source.live else frame.t_arrived  # a recording's `t` is not of our clock
            latency_ms = {
                "find": round(1000 * (begun_at["read"] - heard), 3),
                "read": round(1000 * (begun_at["cue"] - begun_at["read"]), 3),
                "total": round(1000 * (shown - captured), 3),
            }
            stages_ms = latency_ms | {"cue": 1000 * (shown - begun_at["cue"])}
            metrics.count(update.cue, update.faces, stages_ms, shown, update.work)
            metrics.dropped = capture.mailbox.dropped
            publish(replace(update, latency_ms=latency_ms, dropped=metrics.dropped))
            alive()
    except ModelFailed as error:
        failures.append(error)
        say(str(error))
    finally:
        notify("STOPPING=1")
        capture.stop()
        for worker in working:
            worker.mailbox.close()
        deadline = time.monotonic() + END
        threads: list[Capture | SinkWorker] = [capture, *working]
        for thread in threads:
            if not thread.join(deadline):
                failures.append(LoopStuck(f"{thread.name}: did not end within {END:.0f} s; it was left behind"))
                say(str(failures[-1]))
    for failure in (capture.failure, *(worker.failure for worker in working)):
        if failure is not None:
            failures.append(failure)
            say(str(failure))
    metrics.dropped = capture.mailbox.dropped
    return Outcome(metrics, tuple(failures))
