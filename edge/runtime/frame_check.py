"""Between source and loop: finds damaged frames, pictures that stand still, and black ones.

Pure on frames and instants; the capture thread calls it, and opens a camera again that it finds at fault.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from edge.types import LEAST_SIDE, Frame, Gray, on_capture_clock

DAMAGED = 2.0  # seconds of nothing but damaged frames until a camera counts as lost: single ones are no reason
FROZEN = 2.0  # seconds of one and the same picture; cameras repeat one for a tenth of that, where light is short
BLACK = 1.0  # seconds of black until it is reported: somebody who puts the glasses on covers the lens for a moment
TICK = 1e-5  # seconds between two frames that claim the same instant: more than the log's last digit
EVERY = 8  # pixels between those that it compares first
STRUCTURE = 8  # levels between the darkest and the brightest of those: in less no face can be, nor a frozen one
DARK_MEAN, DARK_BRIGHT = 24.0, 40.0  # levels, of all and of the brightest hundredth; USB's black is 16


class Fault(Exception):
    """What is wrong with a camera's frames; `cause` is its name in the status."""

    def __init__(self, cause: str, why: str) -> None:
        super().__init__(why)
        self.cause = cause


def complaint(frame: object) -> str | None:
    """Return why something is no frame that a face could be looked for in, None where it is one."""
    if not isinstance(frame, Frame):
        return f"{type(frame).__name__} instead of a frame"
    gray: object = frame.gray
    if not isinstance(gray, np.ndarray):
        return f"{type(gray).__name__} instead of a picture"
    if gray.dtype != np.uint8 or gray.ndim != 2:
        return f"a picture of {gray.dtype} {gray.shape} instead of uint8 (height, width)"
    if min(gray.shape) < LEAST_SIDE:
        return f"a picture of {gray.shape[1]}x{gray.shape[0]} pixels"
    return None


def is_black(gray: Gray) -> bool:
    """Return whether nothing can be seen in a picture, uint8 (height, width): a covered lens, a room without light."""
    few = gray[::EVERY, ::EVERY]
    return bool(few.mean() < DARK_MEAN and np.percentile(few, 99) < DARK_BRIGHT)


class FrameWatch:
    """Judge one run's frames in the order in which they come, over all the times that its camera is opened."""

    def __init__(self, *, live: bool, camera: bool) -> None:
        """`live` frames are stamped by the clock that they arrive by; a `camera` never gives one picture twice."""
        self.black = False  # whether all frames have been, for BLACK seconds
        self.fresh = -math.inf  # when the newest frame came in which there was something new to see
        self._live, self._camera = live, camera
        self._newest = -math.inf  # `t` of the newest frame
        self._frozen: Gray | None = None  # the picture that it froze at: opened again, it may do so again
        self.begin(-math.inf)

    def begin(self, now: float) -> None:
        """Expect frames from `now` on: the camera was opened."""
        self._sound = now  # when the newest sound frame came
        self._before: Gray | None = None
        self._changed = now  # since when it has been the same
        self._dark: float | None = None  # since when all have been black
        self.black = False

    def check(self, frame: object, now: float) -> Frame | None:
        """Return the frame of `now`, corrected where possible; None for one to skip.

        Raises Fault where waiting longer does not help.
        """
        if self._sound == -math.inf:
            self._sound = now
        if (why := complaint(frame)) is not None:
            if now - self._sound > DAMAGED:
                raise Fault("damaged", f"no picture for {now - self._sound:.0f} s, but {why}")
            return None
        assert isinstance(frame, Frame)
        self._sound = now
        gray = frame.gray if frame.gray.flags.c_contiguous else np.ascontiguousarray(frame.gray)
        if self._camera:
            self._watch(gray, now)
            if self._frozen is not None:
                return None
        else:
            self.fresh = now
        t = frame.t
        if self._live:
            self._newest = t = max(on_capture_clock(t, now), self._newest + TICK)
        return frame if gray is frame.gray and t == frame.t else replace(frame, gray=gray, t=t)

    def _watch(self, gray: Gray, now: float) -> None:
        """Check whether a camera's picture stands still, which a sensor's noise rules out, or is black."""
        before, self._before = self._before, gray
        few = gray[::EVERY, ::EVERY]
        if self._frozen is not None and not _equal(self._frozen, gray):
            self._frozen = None
        if before is None or not _equal(before[::EVERY, ::EVERY], few) or not _equal(before, gray):
            self._changed = now
        elif now - self._changed > FROZEN and int(few.max()) - int(few.min()) > STRUCTURE:
            self._frozen = gray
            raise Fault("frozen", f"the same picture for {now - self._changed:.0f} s")
        if is_black(gray):
            self._dark = now if self._dark is None else self._dark
        else:
            self._dark = None
            self.fresh = now if self._changed == now and self._frozen is None else self.fresh
        self.black = self._dark is not None and now - self._dark > BLACK


def _equal(one: Gray, other: Gray) -> bool:
    return one.shape == other.shape and bool((one == other).all())
