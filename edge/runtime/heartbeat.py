"""Reports to the service manager that the runner is alive, and how fast it is."""

from __future__ import annotations

import math

from edge.runtime.metrics import Metrics
from edge.system.systemd import notify
from edge.types import Clock

STATUS_INTERVAL = 10.0  # seconds between status lines


class Heartbeat:
    """Feeds the service manager's watchdog; a runner that waits with a deadline is healthy too."""

    def __init__(self, metrics: Metrics, clock: Clock) -> None:
        """Begin without a report; the rate, the cue and the count of beats are in `metrics`."""
        self._metrics, self._clock = metrics, clock
        self._reported = -math.inf

    def beat(self) -> None:
        """Feed the watchdog, and send a status line every STATUS_INTERVAL."""
        state, now, cue = "WATCHDOG=1", self._clock(), self._metrics.cue
        if now - self._reported > STATUS_INTERVAL and cue is not None:
            self._reported = now
            state += f"\nSTATUS={self._metrics.recent_fps:.1f} fps, {cue.shown}"
        self._metrics.count_watchdog(notify(state))
