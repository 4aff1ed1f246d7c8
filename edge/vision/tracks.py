"""Which face is which over time: predicted motion, one published assignment, ids that survive crossings.

Pure: capture-clock instants and spots in, tracks out. After SORT (Bewley et al., arXiv 1602.00763), with appearance
beside motion as in DeepSORT (Wojke et al., arXiv 1703.07402); a track's motion is counted in faces, not in pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from edge.vision.views import Spot, wrap_deg

Matrix = npt.NDArray[np.float64]
Vector = npt.NDArray[np.float64]

JERK = 6.0  # faces a second squared: what a head's (or the wearer's) acceleration varies by
JITTER = 0.04  # faces: by which one look misses a face's middle (median 0.03: `shift` in models/face.json)
SURE = 3.0  # log odds of a look from which its place, size and turn are as good as they get
VAGUE = 0.5  # of JITTER, by which a look misses more for each log odds that it lacks
ROLL_GAIN = 0.6  # of a look's roll: one look is 5 degrees off, a head turns 60 degrees a second at most
RENEWED = 0.2  # of the remembered appearance, a look
APPEARANCE_COUNTS = 0.5  # faces that a wholly other appearance is worth
BELIEVED = 0.5  # seconds after which the speed of a hidden face is a third of what it was
LONGEST_STEP = 0.5  # seconds over which a speed is believed
FORGET = 2.0  # seconds after which evidence counts a third: what was a face once need not be one now
RESERVE = 8.0  # log odds beyond those that confirm a face, at most: what a denial must outweigh


@dataclass(slots=True)
class Track:
    """One face over time; `evidence` is the fading sum of its looks' log odds.

    `seen` is its last sight on the capture clock, `checked` the last instant at which a fresh look agreed with it, when
    it was `anchor` pixels wide; `doubts` counts the fresh looks since then, `tried` is the last of them.
    """

    id: int
    spot: Spot
    seen: float
    evidence: float
    confirmed: bool = False
    present: bool = True  # in the last frame
    appearance: Vector | None = None  # a small upright picture of zero mean and length one
    velocity: Vector = field(default_factory=lambda: np.zeros(3))  # faces a second: right, down, log size
    checked: float = 0.0
    tried: float = 0.0
    sought: float = -np.inf  # when it was searched for last, after it was lost
    anchor: float = 0.0
    home: Spot = field(init=False)  # where a fresh look last agreed with it
    doubts: int = 0
    readable: bool = True  # its last look found a face, and no fresh look since the last good one doubted it
    denied: bool = False  # fresh looks ended it: should it come back, it is confirmed again, and it is not followed
    _at: float = 0.0
    _weighed: float = 0.0
    _spread: Matrix = field(default_factory=lambda: np.diag([JITTER**2, 1.0]))  # of place and velocity

    def __post_init__(self) -> None:
        self._at = self._weighed = self.seen
        self.believe(self.seen)

    def weigh(self, score: float, t: float, confirm: float) -> None:
        """Add a look's log odds to what is left of the evidence, and confirm the face from `confirm` on."""
        self.evidence *= float(np.exp(-max(t - self._weighed, 0.0) / FORGET))
        self._weighed = t
        # While a fresh look doubts it, looks that follow it from its own place say nothing new.
        self.evidence = min(self.evidence + (min(score, 0.0) if self.doubts else score), confirm + RESERVE)
        self.confirmed = self.confirmed or self.evidence >= confirm

    def believe(self, t: float) -> None:
        """Take that a fresh look at `t` found the face where the track has it."""
        self.checked = self.tried = t
        self.home = self.spot
        self.anchor, self.doubts, self.readable = self.spot.side, 0, True

    def welcome(self, evidence: float, t: float, confirm: float) -> None:
        """Take that the face came back at `t`, with the evidence of the looks that found it."""
        if self.denied:
            self.confirmed, self.denied, self.evidence = False, False, 0.0
        self.believe(t)
        self.weigh(evidence, t, confirm)

    def doubt(self, t: float, cost: float) -> None:
        """Take that a fresh look at `t` did not find the face, which costs so much evidence."""
        self.tried, self.doubts, self.readable = t, self.doubts + 1, False
        self.evidence -= cost

    def move(self, spot: Spot, t: float) -> None:
        """Take that a fresh look found the face elsewhere: in a box that had slid off it, or swelled."""
        self.spot, self.velocity = spot, np.zeros(3)
        self._spread = np.diag([JITTER**2, 1.0])
        self.believe(t)

    def predict(self, t: float) -> Spot:
        """Move on to `t` by the face's own velocity and return where it should be (a Kalman filter's first half)."""
        dt = min(max(t - self._at, 0.0), LONGEST_STEP)
        self._at = t
        if not self.present:  # a speed that nobody confirms is believed less and less, so that it does not run away
            self.velocity = self.velocity * np.exp(-dt / BELIEVED)
        dx, dy, grown = self.velocity * dt
        spot = self.spot
        zoom = float(np.exp(np.clip(grown, -0.3, 0.3)))
        self.spot = Spot(spot.cx + dx * spot.side, spot.cy + dy * spot.side, spot.side * zoom, spot.roll_deg)
        step = np.array([[1.0, dt], [0.0, 1.0]])
        noise = JERK**2 * np.array([[dt**4 / 4, dt**3 / 2], [dt**3 / 2, dt**2]])
        self._spread = step @ self._spread @ step.T + noise
        return self.spot

    def correct(self, found: Spot, t: float, score: float = SURE) -> None:
        """Take that the face was found there at `t` (the filter's second half), by a look of such log odds.

        The less sure a look is of a face, the less its place and size say: by such looks a track slides, and swells.
        """
        spot = self.spot
        vague = max(SURE - score, 0.0)
        jitter = JITTER * (1 + VAGUE * vague)
        error = np.array(
            [(found.cx - spot.cx) / spot.side, (found.cy - spot.cy) / spot.side, np.log(found.side / spot.side)]
        )
        gain = self._spread[:, 0] / (self._spread[0, 0] + jitter**2)
        self._spread -= np.outer(gain, self._spread[0])
        dx, dy, grown = gain[0] * error
        self.velocity = self.velocity + gain[1] * error
        self.velocity[2] /= 1 + VAGUE * vague
        self.spot = Spot(
            spot.cx + dx * spot.side,
            spot.cy + dy * spot.side,
            spot.side * float(np.exp(grown)),
            wrap_deg(spot.roll_deg + ROLL_GAIN / (1 + VAGUE * vague) * wrap_deg(found.roll_deg - spot.roll_deg)),
        )
        self.seen, self.present = t, True

    def miss(self) -> None:
        """Take that the face was not found."""
        self.present = False

    def deny(self) -> None:
        """Take that what it followed is no face: it is not followed there, and sought where it last was one."""
        self.miss()
        self.spot, self.velocity = self.home, np.zeros(3)
        self.evidence, self.doubts, self.denied = 0.0, 0, True

    def remember(self, appearance: Vector) -> None:
        """Mix the newest appearance into what is remembered."""
        known = self.appearance
        mixed = appearance if known is None else (1 - RENEWED) * known + RENEWED * appearance
        self.appearance = mixed / max(float(np.linalg.norm(mixed)), 1e-9)


def appearance_of(view: npt.NDArray[np.uint8]) -> Vector:
    """Turn an upright view into what `Track.remember` keeps: its pixels with zero mean and length one."""
    values = view.astype(np.float64).ravel()
    values -= values.mean()
    length = float(np.linalg.norm(values))
    return values / length if length > 0 else values


def assign(cost: Matrix, most: float) -> list[tuple[int, int]]:
    """Pair rows with columns so that the sum of costs is least; pairs dearer than `most` are left out.

    `cost` is float (rows, columns); returns (row, column) pairs. Kuhn (1955) and Munkres (1957), in the form with
    potentials and shortest augmenting paths of Jonker and Volgenant (1987).
    """
    if cost.size <= 1:  # nearly every frame's
        return [(0, 0)] if cost.size and cost[0, 0] <= most else []
    rows, columns = cost.shape
    if rows > columns:
        return sorted((row, column) for column, row in assign(cost.T, most))
    dear = np.minimum(cost, 2 * most + 1)  # what is too dear costs one sum: it must not push out a pair that is not
    of_row, of_column = np.zeros(rows + 1), np.zeros(columns + 1)
    taken = np.zeros(columns + 1, int)  # the row that has a column, 0 for none; both count from 1
    for row in range(1, rows + 1):
        taken[0], column = row, 0
        least, back = np.full(columns + 1, np.inf), np.zeros(columns + 1, int)
        done = np.zeros(columns + 1, bool)
        while taken[column]:
            done[column] = True
            reduced = dear[taken[column] - 1] - of_row[taken[column]] - of_column[1:]
            shorter = ~done[1:] & (reduced < least[1:])
            least[1:][shorter], back[1:][shorter] = reduced[shorter], column
            following = 1 + int(np.argmin(np.where(done[1:], np.inf, least[1:])))
            step = least[following]
            of_row[taken[done]] += step
            of_column[done] -= step
            least[~done] -= step
            column = following
        while column:
            taken[column] = taken[back[column]]
            column = back[column]
    pairs = ((int(taken[column]) - 1, column - 1) for column in range(1, columns + 1) if taken[column])
    return sorted(pair for pair in pairs if cost[pair] <= most)


def distance(track: Track, at: Spot, spot: Spot, appearance: Vector) -> float:
    """Return how far a spot is from what a track should be `at` a place, counted in the track's faces.

    It is its way, its change of size, and how little both look alike (0 to 1).
    """
    way = np.hypot(spot.cx - at.cx, spot.cy - at.cy) / at.side
    size = abs(np.log(spot.side / at.side))
    alike = 1.0 if track.appearance is None else float(track.appearance @ appearance)
    return float(way + size + APPEARANCE_COUNTS * (1.0 - alike))


def distances(tracks: Sequence[Track], spots: Sequence[Spot], appearances: Sequence[Vector]) -> Matrix:
    """Return float (tracks, spots): the `distance` of each spot from where each track should be."""
    cost = np.empty((len(tracks), len(spots)))
    for row, track in enumerate(tracks):
        for column, (spot, appearance) in enumerate(zip(spots, appearances, strict=True)):
            cost[row, column] = distance(track, track.spot, spot, appearance)
    return cost
