"""The runner's word to the service manager that it lives, and how it goes."""

from __future__ import annotations

import math
from collections.abc import Callable

from edge.runtime.metrics import Metrics
from edge.systemd import notify

STATUS_INTERVAL = 10.0  # seconds between the lines on how it goes


class Heartbeat:
    """Feeds the service manager's watchdog; waiting with a deadline is healthy too."""

    def __init__(self, metrics: Metrics, clock: Callable[[], float]) -> None:
        """Take what is told of."""
        self._metrics, self._clock = metrics, clock
        self._reported = -math.inf

    def beat(self) -> None:
        """Say that the run lives."""
        state, now, cue = "WATCHDOG=1", self._clock(), self._metrics.cue
        if now - self._reported > STATUS_INTERVAL and cue is not None:
            self._reported = now
            state += f"\nSTATUS={self._metrics.recent_fps:.1f} fps, {cue.shown}"
        self._metrics.count_watchdog(notify(state))
