"""What a run measured: frames, latencies, cues, memory, heat; read by the summary, bench and status."""

from __future__ import annotations

import resource
import threading
import time
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from edge.types import Cue, Face, Work

if TYPE_CHECKING:
    from edge.runtime.throttle import Throttle

RECENT = 60  # frames that the present rate is of
IDLE = 2.0  # seconds without a frame after which that rate is one of the past
KEPT = 9_000  # latencies a stage: five minutes at 30 fps, 0.3 MB
CHANGES = 200  # newest changes of the cue
_THERMAL = Path("/sys/class/thermal/thermal_zone0/temp")
_PLATFORM = Path("/sys/devices/platform")
NO_WORK = Work()
_STATUS = Path("/proc/self/status")
# https://www.raspberrypi.com/documentation/computers/os.html#get_throttled; 16 bits higher: since the start
THROTTLING = {0: "under-voltage", 1: "frequency capped", 2: "throttled", 3: "soft temperature limit"}


def percentile(values: Sequence[float], percent: float) -> float:
    """Return the value that `percent` of `values` do not exceed (nearest rank); 0 for none."""
    return _ranked_percentile(sorted(values), percent)


def percentiles(values: Sequence[float]) -> dict[str, float]:
    """Return p50, p95 and p99 of `values`, in their unit, to three digits."""
    ranked = sorted(values)
    return {f"p{percent}": round(_ranked_percentile(ranked, percent), 3) for percent in (50, 95, 99)}


def _ranked_percentile(ranked: Sequence[float], percent: float) -> float:
    return ranked[max(0, -(-len(ranked) * percent // 100).__trunc__() - 1)] if ranked else 0.0


def peak_rss_mb() -> float:
    """Return the most memory this process has held, in MB of 10^6 bytes."""
    # getrusage's maximum begins with the memory of whoever started this process; this one is our own.
    own = _memory_mb("VmHWM:")
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6 if own is None else own


def rss_mb() -> float | None:
    """Return the memory this process holds, in MB of 10^6 bytes; None where the system does not tell."""
    return _memory_mb("VmRSS:")


def swapped_mb() -> float | None:
    """Return the memory of this process that is swapped out, in MB of 10^6 bytes; None where nobody tells."""
    return _memory_mb("VmSwap:")


def _memory_mb(key: str) -> float | None:
    try:
        kib = int(_STATUS.read_text(encoding="ascii", errors="replace").partition(key)[2].split()[0])
    except (OSError, ValueError, IndexError):
        return None
    return kib * 1024 / 1e6


def temperature_c(path: Path | None = None) -> float | None:
    """Return the processor's temperature in degrees Celsius, None where the board does not report it."""
    try:
        return int((path or _THERMAL).read_text()) / 1000
    except (OSError, ValueError):
        return None


def throttled(platform: Path = _PLATFORM) -> str | None:
    """Return the Raspberry Pi firmware's throttling bits in hex, None on other boards.

    The kernel calls this file deprecated, but its successor in hwmon knows the voltage alone, and vcgencmd needs a
    device that the service has not.
    """
    for path in platform.glob("soc*/soc*:firmware/get_throttled"):
        try:
            return f"0x{int(path.read_text(), 16):x}"
        except (OSError, ValueError):
            return None
    return None


@dataclass(slots=True)
class SinkMetrics:
    """How a sink is doing: `waiting` to be opened again, `stuck` in one update beyond its deadline."""

    state: Literal["working", "stuck", "waiting", "failed", "ended"] = "working"
    shown: int = 0
    missed: int = 0  # updates that a newer one replaced while it was at work
    failures: int = 0
    error: str = ""  # the newest failure


class Metrics:
    """Counts and percentiles of one run."""

    def __init__(self, runtime: str) -> None:
        self.runtime = runtime
        self.begun = time.monotonic()
        self.cue: Cue | None = None  # the newest
        self.changes: deque[tuple[float, str]] = deque(maxlen=CHANGES)  # monotonic, what was shown from then on
        self.inferences = 0  # the one that proves the model at the start included
        self.watchdog = 0  # times that a service manager's was fed
        self.frames = 0
        self.frames_with_face = 0
        self.unread = 0  # faces left for a later frame to read, summed over frames
        self.most_behind = 0.0  # seconds that any part of the upright scan for new faces has waited
        self.dropped = 0
        self.throttle: Throttle | None = None  # where it is not always the full one
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
        self.shown_at = time.monotonic()  # when the loop last said what is to be shown
        self._counted_at = self.shown_at  # when it last did of a frame
        self._cpu = time.process_time()
        self._stages: dict[str, deque[float]] = {}
        self._lock = threading.Lock()

    def record(self, stage: str, milliseconds: float) -> None:
        """Add one measurement of a stage, in milliseconds; any thread may."""
        with self._lock:
            self._stages.setdefault(stage, deque(maxlen=KEPT)).append(milliseconds)

    def count(
        self, cue: Cue, faces: Sequence[Face], latency_ms: Mapping[str, float], now: float, work: Work = NO_WORK
    ) -> None:
        """Add one processed frame, whose cue was decided at `now` (monotonic)."""
        self.first = now if self.first is None else self.first
        self.last = now
        self._recent.append(now)
        self._counted_at = time.monotonic()
        self.frames += 1
        self.frames_with_face += bool(faces)
        self.unread += work.unread
        self.most_behind = max(self.most_behind, work.behind)
        self.show(cue, now)
        for stage, milliseconds in latency_ms.items():
            self.record(stage, milliseconds)

    def show(self, cue: Cue, now: float) -> None:
        """Take the cue that is shown from `now` (monotonic) on, with a frame or without one."""
        before, self.cue = self.cue, cue
        self.shown_at = time.monotonic()
        if before is None or (cue.state, cue.expression) != (before.state, before.expression):
            self.cues[cue.expression or cue.state] += 1
        if before is None or cue.shown != before.shown:
            self.changes.append((now, cue.shown))

    def count_fault(self, name: str) -> None:
        """Add one failed call of finder or network."""
        self.faults[name] += 1

    def miss_camera(self, cause: str) -> None:
        """Take that the camera gives nothing, or for another cause than before."""
        self.camera_losses += self.camera_trouble is None
        self.camera_causes[cause] += 1
        self.camera_trouble = cause

    def find_camera(self, seconds: float) -> None:
        """Take that it gives frames again, `seconds` after the last good one."""
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
    def fps(self) -> float:
        """Return processed frames a second, from the first cue to the last."""
        if self.first is None or self.last <= self.first:
            return 0.0
        return (self.frames - 1) / (self.last - self.first)

    @property
    def recent_fps(self) -> float:
        """Return processed frames a second over the newest RECENT, 0 where none came for IDLE seconds."""
        if time.monotonic() - self._counted_at > IDLE:
            return 0.0
        recent = tuple(self._recent)
        return (len(recent) - 1) / (recent[-1] - recent[0]) if len(recent) > 1 and recent[-1] > recent[0] else 0.0

    def cpu_ms_per_frame(self) -> float:
        """Return processor time of the whole process for each frame since this run began, in ms."""
        return 1000 * (time.process_time() - self._cpu) / max(1, self.frames)

    def summary(self) -> str:
        """Say it in lines for a person."""
        total = self.percentiles().get("total", {"p95": 0.0})
        cues = ", ".join(f"{name} {times}x" for name, times in self.cues.most_common()) or "none"
        lines = [
            f"{self.frames} frames, {self.fps:.1f} fps, {self.dropped} dropped, p95 latency {total['p95']:.1f} ms",
            f"cues shown: {cues}",
            f"{self.cpu_ms_per_frame():.1f} ms CPU a frame, peak memory {peak_rss_mb():.0f} MB, {self.runtime}",
        ]
        if self.frames:
            lines.append(
                f"new faces were searched for at least every {self.most_behind:.1f} s, {self.unread} readings put off"
            )
        if self.throttle is not None and self.throttle.slowest:
            lines.append(f"slower for {self.throttle.slow_for:.0f} s, down to step {self.throttle.slowest} of the pace")
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
