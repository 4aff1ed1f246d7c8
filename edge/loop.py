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

from edge.capture import Capture, Resume
from edge.control import Control
from edge.errors import CameraLost, CuelensError, LoopStuck, ModelFailed, printable
from edge.finders.net import NetFinder
from edge.health import Health, SinkHealth
from edge.mending import Mended
from edge.model import ExpressionModel
from edge.mounting import advise
from edge.outlet import STALE, Outlet, Reopen
from edge.overturned import EVERY
from edge.pace import Pace
from edge.slot import END
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

    health: Health
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
    pace: Pace | None = None,
    verifier: Callable[[], FaceVerifier] = FaceVerifier,
    proposer: Callable[[], NetFinder] = NetFinder,
    mark: Mark = mark_nothing,
) -> Outcome:
    """Run until the source ends, `stop` is set or `seconds` have passed, and close source and sinks.

    A pause closes the source where `resume` opens it again; without that it stays open, and no frame is taken from it.
    A sink that fails is reported through `say`, and opened again by `reopen` or left out; the run ends with the last
    one that is left out. `pace` says which frames are left out, None for none; `verifier` opens the judge of faces,
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
        health.count_fault(name)

    sight = DeviceSight(
        settings.faces,
        model,
        verifier,
        proposer,
        sideways=settings.camera.rotate_deg % 180 > 0,
        overturned_every=EVERY if source.live else 1,
        guard_find=Mended("finder", begin_finding, count_fault, say),
        guard_read=Mended("network", model.rebuild, count_fault, say),
    )
    pipeline = Pipeline(sight, model.contract.labels, settings.cue, mark_stage)
    control.health = health = Health(model.runtime)
    health.pace = pace
    working: list[Outlet] = []
    paused = control.paused  # by an earlier run
    capture = Capture(source, health, resume, paused=paused)

    def unknown() -> Update:
        return replace(pipeline.unknown(time.monotonic()), dropped=capture.slot.dropped)

    for spec, sink in sinks:
        health.sinks[spec] = SinkHealth()
        working.append(Outlet(spec, sink, health.sinks[spec], live=source.live, reopen=reopen, unknown=unknown))
    ready_by = time.monotonic() + PREPARING
    for outlet in working:
        outlet.wait_prepared(stop, ready_by)
    failures: list[CuelensError] = []
    begun = heard = since = time.monotonic()
    told = -math.inf  # when the service manager was last told how it goes
    clock: float | None = None  # the capture clock's newest instant
    trouble: tuple[str, str] | None = None  # why nothing is seen
    outage = begun  # when the last good frame before it came
    repeated = -math.inf  # when a cue without a frame was last given to the sinks

    def publish(update: Update) -> None:
        for outlet in working:
            outlet.put(update)

    def publish_without_frame(update: Update) -> None:
        nonlocal repeated
        repeated = time.monotonic()
        health.show(update.cue, repeated)
        publish(replace(update, dropped=capture.slot.dropped))

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
        sight.warm_up()
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
                pipeline.change(settings.cue)
            if control.paused != paused:
                paused = control.paused
                capture.pause(paused)
                heard = since = time.monotonic()
                trouble, repeated, health.camera_trouble = None, -math.inf, None
                if resume is not None:
                    heard += REOPENING
            frame = capture.slot.get(WAIT)
            if frame is None or paused:
                now = time.monotonic()
                if capture.slot.ended:
                    if capture.failure:
                        publish_without_frame(pipeline.lose_camera(now_of_frames(now)))
                    break
                if source.live and not paused and (seen := capture.trouble(now - heard)) is not None:
                    if trouble is None:
                        outage = max(capture.watch.fresh, since)
                    if trouble is None or seen[0] != trouble[0]:
                        health.miss_camera(seen[0])
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
                        health.slowest_notice = max(health.slowest_notice, now - outage)
                    publish_without_frame(pipeline.pause(now_of_frames(now)) if paused else pipeline.lose_camera(now))
                alive()  # waiting with a deadline is a healthy wait
                continue
            heard, repeated = time.monotonic(), -math.inf
            if trouble is not None:
                say(f"the camera gives frames again, after {heard - outage:.1f} s")
                health.find_camera(heard - outage)
                trouble = None
            effort = FULL if pace is None else pace.take(frame.t)
            if effort is None:
                continue
            clock = frame.t
            try:
                update = pipeline.process(frame, effort)
            except FindFailed:
                continue
            shown = time.monotonic()
            if update.turned_deg is not None:
                health.overturned = advise(update.turned_deg, settings.camera)
                control.problems.append(health.overturned)
                say(f"cuelens: {health.overturned}")
            health.inferences += len(update.fresh)
            if source.live and shown - heard > STALE:
                say(f"the loop was blocked for {shown - heard:.1f} s")
                health.stalls += 1
                publish_without_frame(pipeline.lose_camera(shown))  # what this frame shows is of the past
                continue
            captured = frame.t if source.live else frame.t_arrived  # a recording's `t` is not of our clock
            latency_ms = {
                "find": round(1000 * (begun_at["read"] - heard), 3),
                "read": round(1000 * (begun_at["cue"] - begun_at["read"]), 3),
                "total": round(1000 * (shown - captured), 3),
            }
            stages_ms = latency_ms | {"cue": 1000 * (shown - begun_at["cue"])}
            health.count(update.cue, update.faces, stages_ms, shown, update.work)
            health.dropped = capture.slot.dropped
            publish(replace(update, latency_ms=latency_ms, dropped=health.dropped))
            alive()
    except ModelFailed as error:
        failures.append(error)
        say(str(error))
    finally:
        notify("STOPPING=1")
        capture.stop()
        for outlet in working:
            outlet.slot.close()
        deadline = time.monotonic() + END
        threads: list[Capture | Outlet] = [capture, *working]
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
