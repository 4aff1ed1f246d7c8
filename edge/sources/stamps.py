"""When a frame was taken, by the clock of the capture: for cameras, and for the check of what any source gives."""

from __future__ import annotations

OLDEST_STAMP = 1.0  # seconds: a live frame's stamp that is further back is of another clock, or a broken one's


def on_capture_clock(stamp: float, now: float) -> float:
    """Return a live frame's instant in seconds of time.monotonic(): its stamp, or `now` where that cannot be.

    A stamp of the future, one older than OLDEST_STAMP, and what is no number cannot.
    """
    return stamp if now - OLDEST_STAMP <= stamp <= now else now
