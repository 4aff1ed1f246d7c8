"""What a wearable is to show next, and when to try its link again: decisions without a transport, on a given clock."""

from __future__ import annotations

import threading
from typing import Literal, NamedTuple

from edge.drawing.glyphs import Plan
from edge.runtime.sink_worker import STALE
from edge.types import Cue

KEEP = 0.5  # seconds between words to glasses that blank by themselves: three of them may be lost before they do
LOOK_EVERY = 10.0  # seconds between words to the others, at which it is looked whether a picture is really lit
FIRST_WAIT, LONGEST_WAIT = 1.0, 30.0  # seconds until a link is tried again; doubles in between, and never ends
STEADY = 10.0  # seconds that a link must hold for the next wait to be the first again
BLANK_STATES = ("no_camera", "paused", "stopped")  # nothing is known of anybody: a lost link could not take it back
DARK = Plan(None)

Kind = Literal["draw", "blank", "keep"]


class Order(NamedTuple):
    """What is to be sent now: a picture, nothing to be seen, or that what is shown still holds."""

    kind: Kind
    plan: Plan = DARK


def plan_for_glasses(cue: Cue, plan: Plan) -> Plan:
    """Return what glasses show for a cue that `plan` is drawn for: nothing while the camera or the run is not there."""
    return DARK if cue.state in BLANK_STATES and not plan.text else plan


class Stage:
    """The newest cue, what the glasses show of it, and what must be sent for both to be the same.

    Whoever offers is a sink's thread, whoever takes is the link's. There is no queue: a newer cue replaces one that has
    not been taken, and one that is older than STALE when it could be taken counts as nothing to show.
    """

    def __init__(self, least_interval: float, *, blanks_itself: bool) -> None:
        """`least_interval` is in seconds between two pictures.

        Glasses that `blanks_itself` is true of are to hear that a picture holds every KEEP, others every LOOK_EVERY.
        """
        self._least_interval = least_interval
        self._keep = KEEP if blanks_itself else LOOK_EVERY
        self._lock = threading.Lock()
        self._wanted = DARK
        self._offered = float("-inf")  # when it was wanted last
        self._shown: Plan | None = None  # None: not known, or kept from an earlier link
        self._taken = float("-inf")  # when the last order was

    def offer(self, plan: Plan, now: float) -> bool:
        """Take what is to be seen from `now` on; returns whether it is another plan than before."""
        with self._lock:
            changed = plan != self._wanted
            self._wanted, self._offered = plan, now
            return changed

    def take(self, now: float) -> Order | None:
        """Return what to send at `now`, None where the glasses show what they are to, and know it."""
        with self._lock:
            wanted = self._wanted
            if wanted != DARK and now - self._offered > STALE:
                wanted = DARK
            if wanted == self._shown:
                keep = wanted != DARK and now - self._taken >= self._keep
                if keep:
                    self._taken = now
                return Order("keep") if keep else None
            if wanted != DARK and now - self._taken < self._least_interval:
                return None  # to go dark never waits
            self._taken, self._shown = now, wanted
            return Order("blank") if wanted == DARK else Order("draw", wanted)

    def wait(self, now: float) -> float:
        """Return seconds after which take() may have something without a new offer."""
        with self._lock:
            waits = [KEEP]
            if self._wanted not in (DARK, self._shown):
                waits.append(self._taken + self._least_interval - now)
            if self._wanted != DARK:
                waits.append(self._offered + STALE - now)
            return max(0.01, min(waits))

    def forget(self) -> None:
        """Take that what the glasses show is not known any more: their link was lost, or is new."""
        with self._lock:
            self._shown = None
            self._taken = float("-inf")


class Waits:
    """Seconds to wait before each next try of a link; they grow, and begin again after a link that held."""

    def __init__(self) -> None:
        self._next = FIRST_WAIT

    def after(self, held: float) -> float:
        """Return the wait after a try whose link held for `held` seconds, 0 where none came up."""
        if held >= STEADY:
            self._next = FIRST_WAIT
        wait, self._next = self._next, min(2 * self._next, LONGEST_WAIT)
        return wait
