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

import numpy as np

from edge.capture import Capture, Resume
from edge.config import FaceSettings
from edge.control import Control
from edge.cue import CuePolicy
from edge.errors import CameraLost, CuelensError, LoopStuck, ModelFailed, printable
from edge.faces import FaceFinder, crop_face
from edge.finders.net import NetFinder
from edge.health import Health, SinkHealth
from edge.mending import Mended
from edge.model import ExpressionModel
from edge.mounting import advise
from edge.outlet import STALE, Outlet, Reopen
from edge.overturned import EVERY, OverturnWatch
from edge.pace import Pace
from edge.slot import END
from edge.systemd import notify
from edge.types import Cue, Face, Gray, Reading, Sink, Source, Update
from edge.verifier import FaceVerifier

WAIT = 0.1  # seconds between looks at the stop flag: signals end the loop within this
REPEAT = 1.0  # seconds after which sinks are told again that the camera is lost, or that it is paused
CLOCK_STEP = 0.002  # seconds by which frames come early
STATUS_INTERVAL = 10.0  # seconds between the status lines for the service manager
REOPENING = 3.0  # seconds that a camera may take to open after a pause: libcamera takes one on a Raspberry Pi
PREPARING = 3.0  # seconds for which the first frame waits for displays that open, which holds up every thread
HOPELESS = 30.0  # seconds without a frame from a live source, whose own deadlines are shorter, until it is given up


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
    say: Callable[[str], None] = lambda line: print(printable(line), file=sys.stderr, flush=True),
    reopen: Reopen | None = None,
    resume: Resume | None = None,
    pace: Pace | None = None,
    verifier: Callable[[], FaceVerifier] = FaceVerifier,
    proposer: Callable[[], NetFinder] = NetFinder,
) -> Outcome:
    """Run until the source ends, `stop` is set or `seconds` have passed, and close source and sinks.

    A pause closes the source where `resume` opens it again; without that it stays open, and no frame is taken from it.
    A sink that fails is reported through `say`, and opened again by `reopen` or left out; the run ends with the last
    one that is left out. `pace` says which frames are left out, None for none; `verifier` opens the judge of faces,
    `proposer` what finds lost ones again.
    """
    settings = control.settings
    sideways = settings.camera.rotate_deg % 180 > 0
    judge = verifier()
    finder = FaceFinder(settings.faces, judge, proposer(), sideways=sideways)
    overturned: OverturnWatch | None = OverturnWatch(settings.faces, judge)
    turns = Turns(settings.faces)
    readings: dict[int, Reading] = {}
    labels = model.contract.labels
    policy = CuePolicy(settings.cue, labels)
    control.health = health = Health(model.runtime)
    health.pace = pace
    working: list[Outlet] = []
    paused = control.paused  # by an earlier run
    capture = Capture(source, health, resume, paused=paused)

    def without_frame(cue: Cue) -> Update:
        return Update(None, (), (), labels, cue, {}, capture.slot.dropped, settings=settings.cue)

    def unknown() -> Update:
        return without_frame(Cue("no_camera", None, 0.0, time.monotonic()))

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

    def publish_cue(cue: Cue) -> None:
        nonlocal repeated
        repeated = time.monotonic()
        health.show(cue, repeated)
        publish(without_frame(cue))

    def read_face(gray: Gray, face: Face) -> tuple[float, ...]:
        values = tuple(round(p, 8) for p in model.read(crop_face(gray, face, model.contract.side)))
        if not all(map(math.isfinite, values)):
            raise ArithmeticError(f"probabilities {values}")
        return values

    def begin_finding() -> None:
        nonlocal finder
        finder = FaceFinder(settings.faces, verifier(), proposer(), sideways=sideways)  # its faces' numbers begin anew
        policy.lose_camera(now_of_frames(time.monotonic()))

    find = Mended("finder", begin_finding, health, say)
    infer = Mended("network", model.rebuild, health, say)

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
        while infer(model.read, np.zeros((model.contract.side,) * 2, np.uint8)) is None:
            pass
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
                heard = since = time.monotonic()
                trouble, repeated, health.camera_trouble = None, -math.inf, None
                if resume is not None:
                    heard += REOPENING
            frame = capture.slot.get(WAIT)
            if frame is None or paused:
                now = time.monotonic()
                if capture.slot.ended:
                    if capture.failure:
                        publish_cue(policy.lose_camera(now_of_frames(now)))
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
                    publish_cue(policy.pause(now_of_frames(now)) if paused else policy.lose_camera(now))
                alive()  # waiting with a deadline is a healthy wait
                continue
            heard, repeated = time.monotonic(), -math.inf
            if trouble is not None:
                say(f"the camera gives frames again, after {heard - outage:.1f} s")
                health.find_camera(heard - outage)
                trouble = None
            if pace is not None and not pace.take(frame.t, finder, turns):
                continue
            # As many digits as the log has: a replay of it then decides alike.
            clock = round(frame.t, 6)
            faces = find(finder.find, frame.gray, clock)
            if faces is None:
                continue  # whether anybody is there is not known
            if overturned is not None and faces:
                overturned = None  # the picture is upright
            elif overturned is not None:
                turn_deg = find(overturned.look, frame.gray, EVERY if source.live else 1)
                if turn_deg is not None:
                    overturned, health.overturned = None, advise(turn_deg, settings.camera)
                    control.problems.append(health.overturned)
                    say(f"cuelens: {health.overturned}")
            found = time.monotonic()
            chosen = turns.choose([face for face in faces if face.readable], policy.partner, clock)
            fresh = [
                Reading(face.id, values, clock)
                for face in chosen
                if (values := infer(read_face, frame.gray, face)) is not None
            ]
            health.inferences += len(fresh)
            readings = {face.id: readings[face.id] for face in faces if face.id in readings}
            readings |= {reading.face_id: reading for reading in fresh}
            read = time.monotonic()
            cue = policy.update(faces, fresh, clock)
            work = replace(finder.work, unread=turns.left)
            shown = time.monotonic()
            if source.live and shown - heard > STALE:
                say(f"the loop stood still for {shown - heard:.1f} s")
                health.stalls += 1
                publish_cue(policy.lose_camera(shown))  # what this frame shows is of the past
                continue
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
