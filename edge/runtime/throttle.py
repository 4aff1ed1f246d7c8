"""How a run slows down before heat, low power or short memory stop it: what the board reports, and the step for it.

The policy is pure; a thread of its own looks at the board's files, and the loop asks for each frame whether it is due.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from edge.hardware import board
from edge.runtime.metrics import Slowing
from edge.settings import PaceSettings
from edge.system.messages import Warned
from edge.types import Clock
from edge.vision.pipeline import Effort

LOOK = 2.0  # seconds between looks at the board
SLOWER_AFTER = 10.0  # seconds that a step gets to help before the next
FASTER_AFTER = 30.0  # seconds for which nothing may be wrong before each step back
COOLER_C = 5.0  # degrees below `hot_c` from which it is cool again
MORE_MEMORY = 1.5  # times `low_memory_mb` from which there is enough again
STALLED, FLOWING = 10.0, 2.0  # per cent of ten seconds in which somebody waited for memory: too much, and little again
MORE_BATTERY = 5.0  # per cent above `low_battery`, likewise
# Not bit 3, the soft temperature limit: a Raspberry Pi 3B+ sets it from 60 degrees on. `hot_c` is the limit here.
POWER_BITS = (0, 1, 2)
EARLY = 0.25  # of a frame's interval by which it may come early


class Step(NamedTuple):
    """How much is done: what a frame may cost, and how many frames there are."""

    effort: Effort
    fps: float = math.inf  # frames a second at most


STEPS = (
    Step(Effort(1.0)),
    Step(Effort(0.5)),
    Step(Effort(0.25)),
    Step(Effort(0.25, 0.1)),
    Step(Effort(0.5, 0.1), 15.0),
    Step(Effort(0.75, 0.2), 10.0),
    Step(Effort(1.0, 0.2), 5.0),
)


@dataclass(frozen=True, slots=True)
class Load:
    """What a board reports of itself; None where it does not."""

    temperature_c: float | None = None
    throttled: int | None = None  # the firmware's bits
    available_mb: float | None = None  # memory for programs, MB of 10^6 bytes
    stalled: float | None = None  # per cent of the last ten seconds in which somebody waited for memory
    battery: float | None = None  # per cent, while it is being emptied


class Strain(NamedTuple):
    """One thing that calls for a slower pace: `slower` beyond its limit, until it is well inside it again."""

    why: str
    slower: bool


def strains(load: Load, settings: PaceSettings) -> Iterator[Strain]:
    """Yield what is beyond its limit, or was and is not well inside it again."""
    for bit in POWER_BITS:
        if (load.throttled or 0) >> bit & 1:
            yield Strain(board.THROTTLING[bit], slower=True)
    heat = load.temperature_c
    if heat is not None and heat >= settings.hot_c - COOLER_C:
        yield Strain(f"{heat:.0f} degrees Celsius", heat >= settings.hot_c)
    memory = load.available_mb
    if memory is not None and memory < settings.low_memory_mb * MORE_MEMORY:
        yield Strain(f"{memory:.0f} MB of memory left", memory < settings.low_memory_mb)
    if load.stalled is not None and load.stalled >= FLOWING:
        yield Strain(f"memory waited for in {load.stalled:.0f} % of the time", load.stalled >= STALLED)
    battery = load.battery
    if battery is not None and battery < settings.low_battery + MORE_BATTERY:
        yield Strain(f"battery at {battery:.0f} %", battery < settings.low_battery)


class ThrottlePolicy:
    """Decide the step, 0 being full pace; pure, all instants are of one clock that never goes back, in seconds."""

    def __init__(self, settings: PaceSettings) -> None:
        self.step = 0
        self.why: tuple[str, ...] = ()  # of being slower than full pace
        self._settings = settings
        self._changed = -math.inf
        self._calm = -math.inf  # since when nothing is wrong

    def update(self, load: Load, t: float) -> int:
        """Return the step for the board's load at `t`: one slower or faster than before, or the same."""
        found = tuple(strains(load, self._settings))
        if found:
            self._calm = t
        if any(strain.slower for strain in found):
            if self.step < self._settings.slowest and t - self._changed >= SLOWER_AFTER:
                self.step, self._changed = self.step + 1, t
        elif self.step and t - max(self._calm, self._changed) >= FASTER_AFTER:
            self.step, self._changed = self.step - 1, t
        if not self.step:
            self.why = ()
        elif found:
            self.why = tuple(strain.why for strain in found)
        return self.step


class Throttle:
    """The pace of a run: a thread follows the board, and the loop asks for each frame whether its turn has come."""

    def __init__(
        self,
        settings: PaceSettings,
        say: Callable[[str], None],
        look: Callable[[], Load] | None = None,
        clock: Clock = time.monotonic,
    ) -> None:
        self.step = 0
        self.slowest = 0  # step so far
        self.skipped = 0  # frames whose turn it was not
        self.why: tuple[str, ...] = ()
        self.slow_for = 0.0  # seconds below full pace
        self._policy = ThrottlePolicy(settings)
        self._say, self._look, self._clock = say, look or read_load, clock
        self._due = -math.inf  # when the next frame's turn is, on the capture clock
        self._last: float | None = None
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="throttle", daemon=True)

    def start(self) -> None:
        """Begin to follow the board; a file of it that hangs keeps the step as it is, and costs no frame."""
        self._thread.start()

    def close(self) -> None:
        """Follow it no more; may be called twice."""
        self._closing.set()

    def _run(self) -> None:
        while not self._closing.is_set():
            self.follow()
            self._closing.wait(LOOK)

    def follow(self) -> None:
        """Read the board's load once, and report a change of pace."""
        load, now, before = self._look(), self._clock(), self.step
        if before and self._last is not None:
            self.slow_for += now - self._last
        self._last = now
        step, self.why = self._policy.update(load, now), self._policy.why
        self.slowest = max(self.slowest, step)
        if step != before:
            if step > before:
                self._say(Warned(f"slower, step {step} of {len(STEPS) - 1}: {', '.join(self.why)}"))
            else:
                self._say(f"faster again, step {step} of {len(STEPS) - 1}")
            self.step = step

    def take(self, t: float) -> Effort | None:
        """Return what the frame of `t`, on the capture clock, may cost; None where its turn has not come."""
        step = STEPS[self.step]
        interval = 1 / step.fps
        early = self._due - t  # by more than can be: the clock went back, or the pace was slower
        if EARLY * interval < early <= (1 + EARLY) * interval:
            self.skipped += 1
            return None
        # From the planned instant on, not from this frame's: else a camera's own rate would make it slower than that.
        self._due = (self._due if abs(early) <= interval else t) + interval
        return step.effort

    def slowing(self) -> Slowing:
        """Return how far the run is slowed down."""
        return Slowing(self.step, len(STEPS) - 1, self.why, self.slowest, self.slow_for, self.skipped)


def read_load(root: Path = board.ROOT) -> Load:
    """Read this machine's heat, power and memory."""
    bits = board.throttled(root)
    return Load(
        board.temperature_c(root),
        int(bits, 16) if bits else None,
        board.available_mb(root),
        board.memory_stalled(root),
        board.battery(root),
    )
