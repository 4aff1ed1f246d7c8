"""What a run measured: frames, latencies, cues, memory, heat; read by the summary, bench and status."""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple

from edge.errors import CuelensError
from edge.hardware.board import peak_rss_mb
from edge.types import NO_WORK, Clock, Cue, Face, Update, Work
from edge.vision.pipeline import Mark, mark_nothing

RECENT = 60  # frames that the present rate is of
IDLE = 2.0  # seconds without a frame after which that rate is one of the past
KEPT = 9_000  # latencies a stage: five minutes at 30 fps, 0.3 MB
CHANGES = 200  # newest changes of the cue


def percentile(values: Sequence[float], percent: float) -> float:
    """Return the value that `percent` of `values` do not exceed (nearest rank); 0 for none."""
    return _ranked_percentile(sorted(values), percent)


def percentiles(values: Sequence[float]) -> dict[str, float]:
    """Return p50, p95 and p99 of `values`, in their unit, to three digits."""
    ranked = sorted(values)
    return {f"p{percent}": round(_ranked_percentile(ranked, percent), 3) for percent in (50, 95, 99)}


def _ranked_percentile(ranked: Sequence[float], percent: float) -> float:
    return ranked[max(0, -(-len(ranked) * percent // 100).__trunc__() - 1)] if ranked else 0.0


class Slowing(NamedTuple):
    """How far a run has slowed down before heat, low power or short memory: the step is 0 at full pace."""

    step: int
    steps: int
    why: tuple[str, ...]
    slowest: int  # step so far
    slow_for: float  # seconds below full pace
    skipped: int  # frames whose turn it was not

    def as_json(self) -> dict[str, Any]:
        """Return it as JSON-ready values."""
        return self._asdict() | {"why": list(self.why), "slow_for": round(self.slow_for, 1)}


class StageTimes:
    """When each stage of the newest frame began: the pipeline's hook."""

    def __init__(self, clock: Clock = time.monotonic, mark: Mark = mark_nothing) -> None:
        """Begin with no stage; `mark` is called as each begins."""
        self._clock, self._mark = clock, mark
        self._begun: dict[str, float] = {}

    def __call__(self, stage: str) -> None:
        """Note when a stage begins."""
        self._begun[stage] = self._clock()
        self._mark(stage)

    def latency_ms(self, heard: float, captured: float, shown: float) -> dict[str, float]:
        """Return a frame's latencies by stage, from when the loop took it (`heard`), and in total, since `captured`."""
        return {
            "find": round(1000 * (self._begun["read"] - heard), 3),
            "read": round(1000 * (self._begun["cue"] - self._begun["read"]), 3),
            "total": round(1000 * (shown - captured), 3),
        }

    def cue_ms(self, shown: float) -> float:
        """Return how long deciding took, in milliseconds."""
        return 1000 * (shown - self._begun["cue"])


SinkState = Literal["working", "stuck", "waiting", "failed", "ended"]


@dataclass(slots=True, eq=False, repr=False, match_args=False)
class SinkMetrics:
    """How a sink is doing: `waiting` to be opened again, `stuck` in one update beyond its deadline."""

    state: SinkState = "working"
    shown: int = 0
    missed: int = 0  # updates that a newer one replaced while it was at work
    failures: int = 0
    error: str = ""  # the newest failure
    cause: str = ""  # its identifier

    def count_shown(self) -> None:
        """Add an update that was shown."""
        self.state = "working"
        self.shown += 1

    def count_missed(self, updates: int) -> None:
        """Add updates that newer ones replaced."""
        self.missed += updates

    def count_failure(self, error: CuelensError) -> None:
        """Add a failure."""
        self.failures += 1
        self.error, self.cause = str(error), error.identify()

    def become(self, state: SinkState) -> None:
        """Change the state."""
        self.state = state


class Metrics:
    """Counts and percentiles of one run; read by anybody, written by its own methods alone."""

    def __init__(
        self,
        runtime: str,
        slowing: Callable[[], Slowing] | None = None,
        stages: StageTimes | None = None,
        clock: Clock = time.monotonic,
    ) -> None:
        """Begin at zero now; `slowing` returns the throttle's state, None where a run has no throttle."""
        self._slowing, self._times, self._clock = slowing, stages or StageTimes(clock), clock
        self.runtime = runtime
        self.begun = clock()
        self.cue: Cue | None = None  # the newest
        self.changes: deque[tuple[float, str]] = deque(maxlen=CHANGES)  # monotonic, what was shown from then on
        self.inferences = 0  # the one that proves the model at the start included
        self.watchdog = 0  # times that a service manager's watchdog was fed
        self.frames = 0
        self.frames_with_face = 0
        self.unread = 0  # faces left for a later frame to read, summed over frames
        self.most_behind = 0.0  # seconds that any part of the upright scan for new faces has waited
        self.dropped = 0
        self.camera_losses = 0
        self.camera_causes: Counter[str] = Counter()  # of the losses: one may have several, one after the other
        self.camera_trouble: str | None = None  # the cause of one that lasts
        self.slowest_notice = 0.0  # seconds from the last good frame until `no_camera` was shown
        self.slowest_return = 0.0  # ... until there was one again
        self.faults: Counter[str] = Counter()  # calls that raised, of finder and network
        self.stalls = 0  # times that the loop was blocked for so long that its cue was too old to be shown
        self.overturned = ""  # what is wrong with the picture where faces lie in it or stand on their heads
        self.sinks: dict[str, SinkMetrics] = {}
        self.cues: Counter[str] = Counter()  # how often each came up
        self.first: float | None = None  # monotonic, of the first cue
        self.last = 0.0
        self._recent: deque[float] = deque(maxlen=RECENT)  # monotonic, of the newest cues
        self.shown_at = clock()  # when the loop last chose what to show
        self._counted_at = self.shown_at  # when it last did of a frame
        self._cpu = time.process_time()
        self._stages: dict[str, deque[float]] = {}
        self._lock = threading.Lock()

    def record(self, stage: str, milliseconds: float) -> None:
        """Add one measurement of a stage, in milliseconds; any thread may."""
        with self._lock:
            self._stages.setdefault(stage, deque(maxlen=KEPT)).append(milliseconds)

    def count_update(self, update: Update, heard: float, captured: float, shown: float) -> Update:
        """Add one processed frame, and return it with its latencies in ms, by stage and in total.

        It was `heard` of when it came out of the mailbox, and its cue decided when it was `shown`.
        """
        update = replace(update, latency_ms=self._times.latency_ms(heard, captured, shown))
        stages_ms = update.latency_ms | {"cue": self._times.cue_ms(shown)}
        self.count(update.cue, update.faces, stages_ms, shown, update.work)
        self.dropped = update.dropped
        return update

    def count(
        self, cue: Cue, faces: Sequence[Face], latency_ms: Mapping[str, float], now: float, work: Work = NO_WORK
    ) -> None:
        """Add one processed frame, whose cue was decided at `now` (monotonic)."""
        self.first = now if self.first is None else self.first
        self.last = now
        self._recent.append(now)
        self._counted_at = self._clock()
        self.frames += 1
        self.frames_with_face += bool(faces)
        self.unread += work.unread
        self.most_behind = max(self.most_behind, work.behind)
        self.show(cue, now)
        for stage, milliseconds in latency_ms.items():
            self.record(stage, milliseconds)

    def show(self, cue: Cue, now: float) -> None:
        """Count the cue that is shown from `now` (monotonic) on, with a frame or without one."""
        before, self.cue = self.cue, cue
        self.shown_at = self._clock()
        if before is None or (cue.state, cue.expression) != (before.state, before.expression):
            self.cues[cue.expression or cue.state] += 1
        if before is None or cue.shown != before.shown:
            self.changes.append((now, cue.shown))

    def count_fault(self, name: str) -> None:
        """Add one failed call of finder or network."""
        self.faults[name] += 1

    def count_readings(self, readings: int) -> None:
        """Add what the network read."""
        self.inferences += readings

    def count_stall(self) -> None:
        """Add a time that the loop was blocked."""
        self.stalls += 1

    def count_watchdog(self, fed: bool) -> None:
        """Add a time that a service manager's watchdog was fed, if it was."""
        self.watchdog += fed

    def note_overturned(self, advice: str) -> None:
        """Keep the advice about a picture in which nobody is upright."""
        self.overturned = advice

    def note_dropped(self, frames: int) -> None:
        """Set how many frames newer ones replaced."""
        self.dropped = frames

    def add_sink(self, name: str) -> SinkMetrics:
        """Return the counters of a sink from here on."""
        self.sinks[name] = SinkMetrics()
        return self.sinks[name]

    def miss_camera(self, cause: str) -> None:
        """Count that the camera gives nothing, or that the cause changed."""
        self.camera_losses += self.camera_trouble is None
        self.camera_causes[cause] += 1
        self.camera_trouble = cause

    def notice_camera(self, seconds: float) -> None:
        """Note that `no_camera` was shown `seconds` after the last good frame."""
        self.slowest_notice = max(self.slowest_notice, seconds)

    def forget_camera_trouble(self) -> None:
        """End a trouble without counting a return: a pause began or ended."""
        self.camera_trouble = None

    def find_camera(self, seconds: float) -> None:
        """Note that the camera gives frames again, `seconds` after the last good one."""
        self.camera_trouble = None
        self.slowest_return = max(self.slowest_return, seconds)

    def measurements(self) -> dict[str, list[float]]:
        """Return the last KEPT measurements of each stage, oldest first, in milliseconds."""
        with self._lock:
            return {name: list(values) for name, values in self._stages.items()}

    def percentiles(self, newest: int = KEPT) -> dict[str, dict[str, float]]:
        """Return p50, p95 and p99 by stage, of the newest measurements, in milliseconds."""
        return {name: percentiles(values[-newest:]) for name, values in self.measurements().items()}

    @property
    def slowing(self) -> Slowing | None:
        """Return how far the run is slowed down; None where it never is."""
        return None if self._slowing is None else self._slowing()

    @property
    def fps(self) -> float:
        """Return processed frames a second, from the first cue to the last."""
        if self.first is None or self.last <= self.first:
            return 0.0
        return (self.frames - 1) / (self.last - self.first)

    @property
    def recent_fps(self) -> float:
        """Return processed frames a second over the newest RECENT, 0 where none came for IDLE seconds."""
        if self._clock() - self._counted_at > IDLE:
            return 0.0
        recent = tuple(self._recent)
        return (len(recent) - 1) / (recent[-1] - recent[0]) if len(recent) > 1 and recent[-1] > recent[0] else 0.0

    def cpu_ms_per_frame(self) -> float:
        """Return processor time of the whole process for each frame since this run began, in ms."""
        return 1000 * (time.process_time() - self._cpu) / max(1, self.frames)

    def summary(self) -> str:
        """Return the summary in lines for a person."""
        total = self.percentiles().get("total", {"p95": 0.0})
        cues = ", ".join(f"{name} {times}x" for name, times in self.cues.most_common()) or "none"
        memory = f"{peak:.0f} MB" if (peak := peak_rss_mb()) else "unknown"
        lines = [
            f"{self.frames} frames, {self.fps:.1f} fps, {self.dropped} dropped, p95 latency {total['p95']:.1f} ms",
            f"cues shown: {cues}",
            f"{self.cpu_ms_per_frame():.1f} ms CPU a frame, peak memory {memory}, {self.runtime}",
        ]
        if self.frames:
            lines.append(
                f"new faces were searched for at least every {self.most_behind:.1f} s, {self.unread} readings put off"
            )
        if (slowing := self.slowing) is not None and slowing.slowest:
            lines.append(f"slower for {slowing.slow_for:.0f} s, down to step {slowing.slowest} of the throttle")
        if self.camera_losses:
            causes = ", ".join(f"{cause} {times}x" for cause, times in self.camera_causes.most_common())
            lines.append(
                f"the camera was lost {self.camera_losses} times ({causes}), which was shown after "
                f"{self.slowest_notice:.1f} s at most and over after {self.slowest_return:.1f} s"
            )
        if self.faults:
            lines.append("failed: " + ", ".join(f"{name} {times}x" for name, times in self.faults.items()))
        if self.stalls:
            lines.append(f"the loop was blocked {self.stalls} times")
        for name, sink in self.sinks.items():
            if sink.missed:
                lines.append(f"sink {name} was too slow for {sink.missed} updates")
            if sink.failures and sink.state != "failed":
                lines.append(f"sink {name} failed {sink.failures} times and was opened again: {sink.error}")
        if self.frames and not self.frames_with_face:
            lines.append(self.overturned or "no face was seen in any frame")
        return "\n".join(lines)
