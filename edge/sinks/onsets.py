"""When a cue is heard or felt: of what comes up, what is due."""

from __future__ import annotations

import math


class Onsets:
    """Decide when a cue is heard: once when it comes up, and not again within the repeat time.

    One that came up too early is heard later, if it still lasts and something else was heard in between: what the
    wearer heard last must not be wrong for longer than that.
    """

    def __init__(self) -> None:
        self._now: str | None = None
        self._last: str | None = None  # heard
        self._heard: dict[str, float] = {}  # when each was

    def due(self, name: str | None, t: float, repeat: float) -> bool:
        """Take the cue's name at `t`, in seconds of a clock that never goes back; return whether to signal it."""
        came_up, self._now = name != self._now, name
        if name is None or not (came_up or name != self._last):
            return False
        return t - self._heard.get(name, -math.inf) >= repeat

    def hear(self, name: str, t: float) -> None:
        """Take that `name` was played at `t`."""
        self._last = name
        self._heard[name] = t
