"""Readings in, one steady cue out: filter, doubt, two thresholds, onset and decay, and `unsure` instead of a guess."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from edge.config import CueSettings
from edge.types import Band, Cue, Face, Reading, Reason, Side, State

# Visible expression, never inner state; the four that people and models confuse are one word.
SMALL_VOCABULARY = {
    "smile": ("happy",),
    "surprise": ("surprise",),
    "upset": ("angry", "disgust", "fear", "sad"),
    "neutral": ("neutral",),
}

BANDS: tuple[Band, ...] = ("near", "middle", "far")
SLACK = 0.15  # share of a limit by which it must be passed to change the band or side
TICK = 1e-6  # seconds, of rounding
LONGEST_FRAME = 0.25  # seconds that a reading may stand for, whatever the gap before it


class CuePolicy:
    """Decide what the wearer sees; pure, all instants are the capture clock's, in seconds."""

    def __init__(self, settings: CueSettings, labels: tuple[str, ...]) -> None:
        """Map the model's labels to words: the small vocabulary where it covers them, else one word a label."""
        self._labels = labels
        self._cue: Cue | None = None  # nothing is shown before the first frame
        self._frame = -math.inf  # instant of the newest frame
        self._interval = 0.0  # seconds between the newest two
        self._rival: tuple[int, float] | None = None  # who may become the partner, leading since when
        self._flaps = 0.0  # short-lived expressions shown lately
        self._side: Side = "ahead"
        self._band: Band = "middle"
        self._words: dict[str, list[int]] = {}
        self.change(settings)

    def change(self, settings: CueSettings) -> None:
        """Go on with other settings; with another vocabulary, what was filtered is forgotten."""
        small = {label for group in SMALL_VOCABULARY.values() for label in group}
        if settings.vocabulary == "small" and small == set(self._labels):
            words = {word: [self._labels.index(name) for name in group] for word, group in SMALL_VOCABULARY.items()}
        else:
            words = {label: [index] for index, label in enumerate(self._labels)}
        if words.keys() != self._words.keys():
            self._forget()
        self._settings, self._words = settings, words

    @property
    def partner(self) -> int | None:
        """The id of the face whose expression is shown; None before there is one."""
        return self._partner

    def words(self, probabilities: Sequence[float]) -> dict[str, float]:
        """Return the probabilities of the vocabulary's words."""
        return {word: sum(probabilities[index] for index in group) for word, group in self._words.items()}

    def update(self, faces: Sequence[Face], readings: Sequence[Reading], t: float) -> Cue:
        """Take the faces of the frame of `t` and those of them that were read in it, and return the cue to show."""
        if t <= self._frame:  # the clock went back: a recording began anew
            self._forget()
            self._interval = 0.0
        elif self._frame > -math.inf:
            self._interval = min(t - self._frame, LONGEST_FRAME)
        self._frame = t
        self._flaps *= math.exp(-self._interval / self._settings.calming)
        partner = self._choose(faces, t)
        probabilities = next((item.probabilities for item in readings if partner and item.face_id == partner.id), None)
        if partner is not None:
            self._place(partner)
        if partner is None or probabilities is None:
            # A blink of the finder, or not its turn: nothing is known anew or averaged on. It ends before the next
            # frame could be too late.
            if self._cue is not None and t + self._interval - self._read <= self._settings.vanish:
                return self._cue
            if partner is not None:
                return self._show("unsure", None, 0.0, t, "new")
            return self._end("no_face", t)
        self._filter(probabilities, partner, t)
        return self._decide(t)

    def lose_camera(self, t: float) -> Cue:
        """Take that no frame has come by `t`: what was seen before says nothing about now."""
        return self._end("no_camera", t)

    def pause(self, t: float) -> Cue:
        """Take that the wearer paused at `t`: nothing is seen, and nothing kept."""
        return self._end("paused", t)

    def _end(self, state: State, t: float) -> Cue:
        self._forget()
        return self._show(state, None, 0.0, t)

    def _forget(self) -> None:
        self._partner: int | None = None
        self._rival = None
        self._filtered: dict[str, float] = {}
        self._grain: list[dict[str, float]] = []  # the newest readings, by word
        self._grain_begun = -math.inf
        self._means: dict[str, float] = {}  # of the readings taken together before them
        self._steps: dict[str, tuple[float, float]] = {}  # how far the newest two such were from the ones before
        self._spread: dict[str, float] = {}  # variance of such means
        self._quality = self._frontal = 0.0
        self._read = -math.inf  # when the partner was read last
        self._met = math.inf  # ... and first
        self._candidate: tuple[str, float] | None = None  # what may be shown next, clear since when
        self._fading: float | None = None  # since when what is shown has not been clear
        self._own = False  # whether what is shown is of the present partner
        self._judged = False  # whether the partner has been read for long enough to say that it is unsure

    def _choose(self, faces: Sequence[Face], t: float) -> Face | None:
        """Take the nearest facing face; keep it until another has been clearly nearer, or alone facing, for a while."""
        if not faces:
            return None
        least = self._settings.facing
        facing = [face for face in faces if face.quality.frontal >= least]
        nearest = min(facing or faces, key=lambda face: face.distance_m)
        partner = next((face for face in faces if face.id == self._partner), None)
        if partner is None:
            if self._partner is not None and t + self._interval - self._read <= self._settings.vanish:
                return None  # wait for the partner to come back before turning to somebody else
            self._forget()
            self._partner = nearest.id
            return nearest
        turned_away = bool(facing) and partner.quality.frontal < least
        if not turned_away and partner.distance_m < nearest.distance_m * self._settings.partner_lead:
            self._rival = None
        elif self._rival is None or self._rival[0] != nearest.id:
            self._rival = (nearest.id, t)
        elif t - self._rival[1] >= self._settings.partner_hold:
            self._forget()
            self._partner = nearest.id
            return nearest
        return partner

    def _place(self, partner: Face) -> None:
        """Say how near and on which side the partner is; a limit must be passed clearly to change it."""
        settings, new = self._settings, self._read == -math.inf
        limits = (settings.near_m, settings.far_m)
        index = sum(partner.distance_m > limit for limit in limits)
        low, high = sorted((index, BANDS.index(self._band)))
        if new or all(abs(partner.distance_m / limit - 1) > SLACK for limit in limits[low:high]):
            self._band = BANDS[index]
        limit = settings.ahead_deg * (1.0 if new else 1 + SLACK if self._side == "ahead" else 1 - SLACK)
        angle = partner.bearing_deg
        self._side = "right" if angle > limit else "left" if angle < -limit else "ahead"

    def _filter(self, probabilities: tuple[float, ...], partner: Face, t: float) -> None:
        settings = self._settings
        values = self.words(probabilities)
        if not self._filtered:
            # A new face starts undecided, so that one lucky frame is not yet an expression.
            self._filtered = {word: len(group) / len(self._labels) for word, group in self._words.items()}
            self._quality, self._frontal, self._met = partner.quality.whole, partner.quality.frontal, t
            elapsed = self._interval
        else:
            elapsed = min(t - self._read, LONGEST_FRAME)
        gain = _gain(elapsed, settings.filter)
        for word, value in values.items():
            self._filtered[word] += gain * (value - self._filtered[word])
        self._quality += gain * (partner.quality.whole - self._quality)
        self._frontal += gain * (partner.quality.frontal - self._frontal)
        self._read = t
        self._grain.append(values)
        if t - self._grain_begun >= settings.grain - TICK:
            self._spread_out(t)

    def _spread_out(self, t: float) -> None:
        """Take the readings since the last call together, and update how much such groups contradict each other."""
        means = {word: sum(values[word] for values in self._grain) / len(self._grain) for word in self._words}
        slow = _gain(min(t - self._grain_begun, 2 * LONGEST_FRAME), self._settings.memory)
        for word, mean in means.items():
            # As in bipower variation, two large steps near each other are noise, and a single one is a change of
            # expression (Barndorff-Nielsen and Shephard, Journal of Financial Econometrics 2, 2004).
            step = abs(mean - self._means.get(word, mean))
            before = self._steps.get(word, (0.0, 0.0))
            spread = self._spread.get(word, 0.0)
            self._spread[word] = spread + slow * (step * max(before) / 2 - spread)
            self._steps[word] = (before[1], step)
        self._means, self._grain, self._grain_begun = means, [], t

    def _decide(self, t: float) -> Cue:
        settings, shown = self._settings, self._cue.expression if self._cue and self._own else None
        best, second = sorted(self._filtered, key=self._filtered.__getitem__, reverse=True)[:2]
        confidence = self._filtered[best]
        # Readings that contradict each other count for less: the filtered value's own standard error is taken off.
        gain = _gain(max(settings.grain, self._interval), settings.filter)
        error = math.sqrt(self._spread.get(best, 0.0) * gain / (2 - gain))
        sure = confidence - settings.doubt * error
        poor = self._quality < settings.least_quality * (1 - SLACK if shown else 1.0)
        away = self._frontal < settings.away * (1 - SLACK if shown else 1.0)
        reason: Reason | None = None
        if poor or away:
            reason = "poor" if poor else "away"
        elif sure < settings.enter:
            reason = "faint"
        elif confidence - self._filtered[second] < settings.margin:
            reason = "torn"
        if reason is None:
            if self._candidate is None or self._candidate[0] != best:
                self._candidate = (best, t)
            wait = settings.onset + settings.restless * max(0.0, self._flaps - settings.lively)
            if best == shown or t - self._candidate[1] >= wait - TICK:
                self._fading = None
                return self._show("expression", best, confidence, t)
        else:
            self._candidate = None
        if shown is not None:
            if not (poor or away) and best == shown and confidence >= settings.leave:
                self._fading = None
                return self._show("expression", shown, self._filtered[shown], t)
            self._fading = t if self._fading is None else self._fading
            # While another is about to follow, the change is one: no `unsure` flashes up between them. Not for as long
            # as the damping makes it wait, though: the old word would be a frozen label.
            follows = self._candidate is not None and t - self._candidate[1] < settings.onset + TICK
            if follows or t - self._fading < settings.decay:
                return self._show("expression", shown, self._filtered[shown], t)
        self._judged = self._judged or t - self._met >= settings.hold
        reason = reason or (self._cue.reason if self._cue else None) or "faint"
        return self._show("unsure", None, confidence, t, reason if self._judged else "new")

    def _show(
        self, state: State, expression: str | None, confidence: float, t: float, reason: Reason | None = None
    ) -> Cue:
        cue, confidence = self._cue, round(confidence, 4)
        here = state in ("unsure", "expression")
        distance, side = (self._band, self._side) if here else (None, None)
        new = Cue(state, expression, confidence, t, reason, distance, side)
        if cue is not None and cue.shown == new.shown and (self._own or not here):
            self._cue = replace(new, since=cue.since)
        elif cue is None or not self._own or cue.expression is None or t - cue.since >= self._settings.hold - TICK:
            if cue is not None and self._own and cue.expression is not None:
                self._flaps += max(0.0, 1 - (t - cue.since) / self._settings.lasting)
            self._cue = new
        else:  # held: still the old word, with what is left of its confidence
            left = round(self._filtered.get(cue.expression, 0.0), 4)
            self._cue = replace(cue, confidence=left, distance=distance, side=side)
        self._own = here
        return self._cue


def _gain(seconds: float, time_constant: float) -> float:
    """Return the weight of a value that stands for so long in an exponential filter."""
    return 1 - math.exp(-seconds / time_constant) if time_constant > 0 else 1.0
