"""What a face's readings amount to: one filter that is quick, one that bridges speech, and how much readings disagree.

Pure: a word's probabilities and seconds in, verdicts out. The cue policy makes a cue of them.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass

from edge.settings import CueSettings
from edge.types import Reason

NEUTRAL = "neutral"
TICK = 1e-6  # seconds, of rounding
EVEN_LEAD = 0.05  # by which a word must be likelier than an even vote makes it: four of seven classes are `upset`
UNDERCUT = 0.25  # of what `enter` leaves to 1, by which the bridging filter may be less sure
WITNESSES = 3  # newest readings, of which two must have a word likeliest before it is shown or begins the bridge again
LONGEST_FRAME = 0.25  # seconds that a reading may stand for, whatever the gap before it


@dataclass(frozen=True, slots=True)
class Verdict:
    """The word that the readings are clear about, or why they are clear about none."""

    word: str | None
    confidence: float
    reason: Reason | None = None  # only without a word
    alone: bool = False  # whether a single reading says so, as at few frames a second


class Evidence:
    """The readings of one face, by word, since it was met."""

    def __init__(self, even: Mapping[str, float]) -> None:
        """Start undecided: `even` has the words' probabilities where all classes are alike.

        So one lucky frame is not yet an expression.
        """
        self._even = dict(even)
        self.quick = dict(even)
        self.bridged = dict(even)
        self._t = -math.inf
        self._clear: dict[str, float] = {}  # when the quick filter was last clear about each word
        self._sure: dict[str, float] = {}  # when the quick filter, or two readings in turn, would show each word
        self._pair: tuple[Mapping[str, float], Mapping[str, float]] = (even, even)  # the newest two readings
        self._newest: deque[str] = deque(maxlen=WITNESSES)  # the likeliest word of each of the newest readings
        self._lead: tuple[str, float] = ("", -math.inf)  # the quick filter's likeliest word, and since when
        self._grain: list[Mapping[str, float]] = []  # the newest readings
        self._grain_begun = -math.inf
        self._means: dict[str, float] = {}  # of the readings taken together before them
        self._steps: dict[str, tuple[float, float]] = {}  # how far the newest two such were from the ones before
        self._spread: dict[str, float] = {}  # variance of such means

    def add(self, values: Mapping[str, float], seconds: float, t: float, settings: CueSettings) -> None:
        """Take the words' probabilities of the reading of `t`, which stands for so many seconds."""
        quick, slow = gain(seconds, settings.filter), gain(seconds, settings.bridge)
        for word, value in values.items():
            self.quick[word] += quick * (value - self.quick[word])
            self.bridged[word] += slow * (value - self.bridged[word])
        best, likeliest = _best(self.quick), _best(values)
        self._newest.append(likeliest)
        self._pair, self._t = (self._pair[1], values), t
        if best != self._lead[0]:
            self._lead = (best, t)
        elif best != _best(self.bridged) and t - self._lead[1] >= settings.bridge_turn - TICK:
            self.bridged = dict(self.quick)  # a change point as well, found by how long it lasts
        if self.quick[best] >= settings.leave:
            self._clear[best] = t
        self._grain.append(values)
        if t - self._grain_begun >= settings.grain - TICK:
            self._spread_out(t, settings)

    def _spread_out(self, t: float, settings: CueSettings) -> None:
        """Take the readings since the last call together, and update how much such groups contradict each other."""
        means = {word: sum(values[word] for values in self._grain) / len(self._grain) for word in self.quick}
        slow = gain(min(t - self._grain_begun, 2 * LONGEST_FRAME), settings.memory)
        for word, mean in means.items():
            # As in bipower variation, two large steps near each other are noise, and a single one is a change of
            # expression (Barndorff-Nielsen and Shephard, Journal of Financial Econometrics 2, 2004).
            step = abs(mean - self._means.get(word, mean))
            before = self._steps.get(word, (0.0, 0.0))
            spread = self._spread.get(word, 0.0)
            self._spread[word] = spread + slow * (step * max(before) / 2 - spread)
            self._steps[word] = (before[1], step)
        self._means, self._grain, self._grain_begun = means, [], t

    def judge(self, interval: float, settings: CueSettings) -> Verdict:
        """Return which word is clear, with frames `interval` seconds apart.

        Readings that contradict each other count for less: a filtered value's own standard error is taken off. The
        quick filter is clear within a blink where a face is; where a mouth speaks, only the bridging one is.
        """
        best, second = two_best(self.quick)
        sure = self.quick[best] - settings.doubt * self._error(best, settings.filter, interval, settings)
        reason = why_unclear(best, second, sure, self.quick, settings)
        if reason is None:
            self._sure[best] = self._t
            # At few frames a second one reading fills the quick filter: wrong, it must not end what was before it.
            alone = self._newest.count(best) < 2
            if best != _best(self.bridged) and not alone:
                # A change point: what was before it says nothing about now (Page, Biometrika 41, 1954).
                self.bridged = dict(self.quick)
            return Verdict(best, max(self.quick[best], self.bridged[best]), alone=alone)
        self._look_between_syllables(settings)
        slow, next_slow = two_best(self.bridged)
        sure_slow = self.bridged[slow] - settings.bridge_doubt * self._error(slow, settings.bridge, interval, settings)
        leads_slow = self.bridged[slow] - self.bridged[next_slow] >= settings.bridge_margin
        if sure_slow >= _bridge_least(settings) and leads_slow and self._seen_sure(slow, settings):
            return Verdict(slow, self.bridged[slow])
        return Verdict(None, self.quick[best], reason)

    def holds(self, word: str, settings: CueSettings) -> bool:
        """Return whether a word that is shown is still the likeliest, and likely enough to stay."""
        quick = self.quick[word] >= settings.leave and _best(self.quick) == word
        least = max(settings.bridge_leave, self._even[word] + EVEN_LEAD)
        likeliest = self.bridged[word] >= least and _best(self.bridged) == word
        return quick or (likeliest and self._spanned(word, settings))

    def _spanned(self, word: str, settings: CueSettings) -> bool:
        """Return whether a word was clear so lately that what came since may be a syllable."""
        return self._t - self._clear.get(word, -math.inf) <= settings.bridge_reach

    def _look_between_syllables(self, settings: CueSettings) -> None:
        """Note the word of which the newest two readings, a face's and its mirror image's, are sure together."""
        before, now = self._pair
        word = self._newest[-1]
        if now[word] + before[word] < 2 * settings.enter:
            return
        pair = {name: (value + before[name]) / 2 for name, value in now.items()}
        best, second = two_best(pair)
        if best == word and leads(best, second, pair, settings):
            self._sure[best] = self._t

    def _seen_sure(self, word: str, settings: CueSettings) -> bool:
        """Return whether a word was as sure as `enter` asks so lately that what came since may be a syllable."""
        return self._t - self._sure.get(word, -math.inf) <= settings.bridge_reach

    def _error(self, word: str, window: float, interval: float, settings: CueSettings) -> float:
        """Return the standard error of a word's value in the filter of that time constant."""
        weight = gain(max(settings.grain, interval), window)
        return math.sqrt(self._spread.get(word, 0.0) * weight / (2 - weight))


def why_unclear(
    best: str, second: str, sure: float, values: Mapping[str, float], settings: CueSettings
) -> Reason | None:
    """Return why the likeliest word, which is as `sure` as that, is not to be shown; None where it is clear."""
    if sure >= settings.enter:
        return None if leads(best, second, values, settings) else "torn"
    return "faint"


def leads(word: str, second: str, values: Mapping[str, float], settings: CueSettings) -> bool:
    """Return whether the likeliest word leads the second by `margin`, and beside `neutral` a smile is but a trace."""
    if values[word] - values[second] < settings.margin:
        return False
    return word != NEUTRAL or values.get("smile", values.get("happy", 0.0)) <= settings.trace


def _bridge_least(settings: CueSettings) -> float:
    """Return from what probability on the bridging filter shows a word: `bridge_enter`, bound to `enter`.

    It may lie below `enter` by a quarter of what that leaves to 1: a word that `enter` forbids is not bridged in.
    """
    return max(settings.bridge_enter, settings.enter - UNDERCUT * (1 - settings.enter))


def gain(seconds: float, time_constant: float) -> float:
    """Return the weight of a value that stands for so long in an exponential filter."""
    return 1 - math.exp(-seconds / time_constant) if time_constant > 0 else 1.0


def _best(values: Mapping[str, float]) -> str:
    return max(values, key=values.__getitem__)


def two_best(values: Mapping[str, float]) -> tuple[str, str]:
    """Return the likeliest two words."""
    first, second = sorted(values, key=values.__getitem__, reverse=True)[:2]
    return first, second
