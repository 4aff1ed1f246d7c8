"""Where a new face is searched for next: a full scan cut into slices, the most urgent of which a frame's budget buys.

Two propose, as neither finds what the other does: the cascade, upright and at some turns, and a network that
sees every turn at once, whose views are evened out, so that it knows faces in little light.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator

import numpy as np

from edge.settings import FaceSettings
from edge.vision.finders import Finder, Slice
from edge.vision.finders.net import NetFinder
from edge.vision.views import Pyramid, Spot

ROLLS_DEG = (0.0, -30.0, 30.0, -60.0, 60.0)  # searched: a cascade's hits halve about 15 degrees off
ROLL_SPREAD_DEG = 15.0  # of new faces around the angle that the wearer's head has: makes 30 degrees a seventh as likely
LEAST_CHANCE = 0.02  # of the angles farthest from it
MOST_ROLL_DEG = 75.0  # from the upright, of a face that the network proposes: half a step beyond the last of ROLLS_DEG
NEAR_SIDE = 60.0  # pixels: from here on down a new face matters less, it is too far to be read well
LARGEST_SHARE = 1.2  # of the frame's shorter side: a face that fills the picture is cut by its edges
FIRST_AGE = 1.0  # seconds
ALL_TURNS = 2.0  # times as many new faces in a slice of the network, for its turns and its wider step of size
# Log odds of its looks at first sight, for a face that was proposed at a turn it does not have: benchmarks/README.md.
RIGHTED = 6.0
BUSY_SHARE = 0.4  # of the budget, while a face is there: it costs a reading too, and a newcomer can wait
LOOK_COST = 350  # windows that a proposal is counted as: clutter must not buy time


class Search:
    """Spreads a full scan over frames; pure on arrays and capture-clock instants."""

    def __init__(self, settings: FaceSettings, finder: Finder, net: NetFinder) -> None:
        """Begin without a scan; `finder` and `net` propose faces."""
        self._settings = settings
        self._finder, self._net = finder, net
        self.credit = 0.0  # windows that may be tried now; below zero after a frame that cost more than it had
        self.pieces: list[Slice] = []
        # By slice: when it was scanned, what it costs, how it is turned, how likely a new face is in it.
        self.scanned = self._costs = self._rolls_deg = self._chances = np.zeros(0)
        self._by_net = 0  # slices of the network, before all others
        self._lent = 0.0  # windows beyond the budget that frames without a known face may still get

    def begin(self, width: int, height: int, t: float) -> None:
        """Cut a full scan of such frames into slices, and save up a burst."""
        sides = (float(self._settings.least_side), LARGEST_SHARE * min(width, height))
        tiles = self._net.slices(width, height, sides, (0.0,))
        self._by_net = len(tiles)
        self.pieces = [*tiles, *self._finder.slices(width, height, sides, ROLLS_DEG)]
        # As if all had been scanned a moment ago: what is likely is searched again before what is not was once.
        self.scanned = np.full(len(self.pieces), t - FIRST_AGE)
        self._costs = np.array([piece.cost for piece in self.pieces], float)
        self._rolls_deg = np.array([piece.roll_deg for piece in self.pieces], float)
        # A strip holds as large a share of the new faces as of its copy of the frame.
        copies = [(number < len(tiles), piece.side, piece.roll_deg) for number, piece in enumerate(self.pieces)]
        whole = Counter[tuple[bool, float, float]]()
        for copy, piece in zip(copies, self.pieces, strict=True):
            whole[copy] += piece.cost
        self._chances = np.array(
            [
                piece.cost / whole[copy] * min(1.0, piece.side / NEAR_SIDE) * (ALL_TURNS if copy[0] else 1.0)
                for copy, piece in zip(copies, self.pieces, strict=True)
            ]
        )
        self._lent = float(self._costs[self._rolls_deg == 0.0].sum())
        self.credit = float(self._settings.burst)

    def waited(self, t: float) -> float:
        """Return for how many seconds the slice of upright faces has waited that has done so longest."""
        return float(t - min(self.scanned[self._rolls_deg == 0.0], default=t))

    def earn(self, share: float, *, known: bool) -> None:
        """Add a frame's budget, a `share` of the settings', to what was saved up.

        It is less while a face is `known`. The first frames without one get up to a burst each, until what they got
        beyond the budget pays for one search for upright faces everywhere.
        """
        budget = share * self._settings.budget * (BUSY_SHARE if known else 1.0)
        if not known:
            more = min(max(share * self._settings.burst - max(self.credit, 0.0) - budget, 0.0), self._lent)
            self._lent -= more
            budget += more
        most = max(self._settings.burst, budget, max(self._costs, default=0.0))
        self.credit = min(self.credit + budget, most)

    def next_slice(self, t: float, level_deg: float) -> int | None:
        """Take the most urgent slice if the credit buys it, heads being turned by about `level_deg`; pays for it."""
        if not self.pieces:
            return None
        off_deg = np.abs(self._rolls_deg - level_deg)
        chance = self._chances * np.maximum(np.exp(-((off_deg / ROLL_SPREAD_DEG) ** 2) / 2), LEAST_CHANCE)
        chance[: self._by_net] = self._chances[: self._by_net]
        age = t - self.scanned
        # Square-root rule: waits of sqrt(cost / chance) find a new face soonest on the average (Wong, 1988).
        urgent = int(np.argmax(age**2 * chance / self._costs))
        if age[urgent] <= 0 or self._costs[urgent] > self.credit:
            return None
        self.scanned[urgent] = t
        self.credit -= self._costs[urgent]
        return urgent

    def scan(self, pyramid: Pyramid, number: int, level_deg: float) -> Iterator[tuple[Spot, float]]:
        """Propose faces of a slice, likeliest first, each with the least evidence (log odds) that takes it as new.

        The network knows a dim face's place better than its turn: what it takes for one that lies or hangs is looked
        at as heads are turned now.
        """
        piece = self.pieces[number]
        if number >= self._by_net:
            yield from ((spot, -math.inf) for spot in self._finder.scan(pyramid, piece))
            return
        for spot in self._net.scan(pyramid, piece):
            if abs(spot.roll_deg) <= MOST_ROLL_DEG:
                yield spot, -math.inf
            else:
                yield Spot(spot.cx, spot.cy, spot.side, level_deg), RIGHTED
