"""Readings in, one steady cue out: who is the partner, what is clear of it for how long, `unsure` instead of a guess.

What the readings amount to is judged in edge/cue/evidence.py, against the face's own rest of edge/cue/rest.py.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace

from edge.cue.evidence import LONGEST_FRAME, TICK, Evidence, gain
from edge.cue.rest import Rests
from edge.settings import CueSettings
from edge.types import Band, Cue, Face, Reading, Reason, Side, State

# Visible expression, never inner state; the four that people and models confuse are one word.
SMALL_VOCABULARY = {
    "smile": ("happy",),
    "surprise": ("surprise",),
    "upset": ("angry", "disgust", "fear", "sad"),
    "neutral": ("neutral",),
}
WORD_OF = {label: word for word, labels in SMALL_VOCABULARY.items() for label in labels}

BANDS: tuple[Band, ...] = ("near", "middle", "far")
SLACK = 0.15  # share of a limit by which it must be passed to change the band or side
# Shares of the words in what the network learnt from: the votes for the seven classes, over FER+'s Training rows.
LEARNT = {"smile": 0.264, "surprise": 0.122, "upset": 0.287, "neutral": 0.327}
# ... and of a conversation's seconds, as this device assumes: most of the time a face shows little.
LIFE = {"smile": 0.25, "surprise": 0.05, "upset": 0.1, "neutral": 0.6}


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
        self._rests = Rests()
        self._forget()
        self.change(settings)

    def change(self, settings: CueSettings) -> None:
        """Take other settings; another vocabulary forgets what was filtered."""
        small = {label for group in SMALL_VOCABULARY.values() for label in group}
        if settings.vocabulary == "small" and small == set(self._labels):
            words = {word: [self._labels.index(name) for name in group] for word, group in SMALL_VOCABULARY.items()}
        else:
            words = {label: [index] for index, label in enumerate(self._labels)}
        if words.keys() != self._words.keys():
            self._forget()
            self._rests = Rests()
        self._settings, self._words = settings, words
        self._odds = odds_in_life(words, settings)

    @property
    def partner(self) -> int | None:
        """The id of the face whose expression is shown; None before there is one."""
        return self._partner

    def words(self, probabilities: Sequence[float]) -> dict[str, float]:
        """Return the probabilities of the vocabulary's words."""
        return {word: sum(probabilities[index] for index in group) for word, group in self._words.items()}

    def update(self, faces: Sequence[Face], readings: Sequence[Reading], t: float) -> Cue:
        """Take the faces of the frame of `t` and those of them that were read in it, and return the cue to show."""
        if t <= self._frame:  # the clock went back: a recording began again
            self._forget()
            self._rests = Rests()
            self._interval = 0.0
        elif self._frame > -math.inf:
            self._interval = min(t - self._frame, LONGEST_FRAME)
        self._frame = t
        self._flaps *= math.exp(-self._interval / self._settings.calming)
        self._rests.follow(faces, t)
        if self._partner in self._rests.leapt:
            self._restart()  # the track may have gone over to another face: what was shown is not of this one
        partner = self._choose(faces, t)
        judged = self._judge_readings(faces, readings, t)
        values = judged.get(partner.id) if partner is not None else None
        if partner is not None:
            self._place(partner)
        if partner is None or values is None:
            # A blink of the finder, or not its turn: nothing new is known or averaged. It ends before the next
            # frame could be too late.
            if self._cue is not None and t + self._interval - self._read <= self._settings.vanish:
                return self._cue
            if partner is not None:
                return self._show("unsure", None, 0.0, t, "new")
            return self._end("no_face", t)
        self._filter(values, partner, t)
        return self._decide(t)

    def _judge_readings(
        self, faces: Sequence[Face], readings: Sequence[Reading], t: float
    ) -> dict[int, dict[str, float]]:
        """Return by face what its reading says: shifted to life's shares, then against the face's own rest."""
        by_id = {face.id: face for face in faces}
        judged = {}
        for reading in readings:
            if reading.face_id in by_id:
                weighed = {word: value * self._odds[word] for word, value in self.words(reading.probabilities).items()}
                total = sum(weighed.values()) or 1.0
                values = {word: value / total for word, value in weighed.items()}
                judged[reading.face_id] = self._rests.judge(by_id[reading.face_id], values, t, self._settings)
        return judged

    def lose_camera(self, t: float) -> Cue:
        """Take that no frame has come by `t`: what was seen before says nothing about now."""
        return self._end("no_camera", t)

    def pause(self, t: float) -> Cue:
        """Take that the wearer paused at `t`: nothing is seen, and nothing kept."""
        return self._end("paused", t)

    def _end(self, state: State, t: float) -> Cue:
        self._forget()
        if state != "no_face":
            self._rests = Rests()
        return self._show(state, None, 0.0, t)

    def _forget(self) -> None:
        """Have no partner."""
        self._partner: int | None = None
        self._rival = None
        self._restart()

    def _restart(self) -> None:
        """Know nothing of the partner."""
        self._evidence: Evidence | None = None
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

    def _filter(self, values: dict[str, float], partner: Face, t: float) -> None:
        settings = self._settings
        if self._evidence is None:
            even = {word: len(group) * self._odds[word] for word, group in self._words.items()}
            self._evidence = Evidence({word: value / sum(even.values()) for word, value in even.items()})
            self._quality, self._frontal, self._met = partner.quality.whole, partner.quality.frontal, t
            elapsed = self._interval
        else:
            elapsed = min(t - self._read, LONGEST_FRAME)
        self._evidence.add(values, elapsed, t, settings)
        weight = gain(elapsed, settings.filter)
        self._quality += weight * (partner.quality.whole - self._quality)
        self._frontal += weight * (partner.quality.frontal - self._frontal)
        self._read = t

    def _decide(self, t: float) -> Cue:
        assert self._evidence is not None
        settings, shown = self._settings, self._cue.expression if self._cue and self._own else None
        verdict = self._evidence.judge(self._interval, settings)
        unfit = why_unfit(self._quality, self._frontal, settings, 1 - SLACK if shown else 1.0)
        reason = unfit or verdict.reason
        if reason is None and verdict.word is not None:
            if self._candidate is None or self._candidate[0] != verdict.word:
                self._candidate = (verdict.word, t)
            wait = settings.onset + settings.restless * max(0.0, self._flaps - settings.lively)
            if verdict.word == shown or (t - self._candidate[1] >= wait - TICK and not verdict.alone):
                self._fading = None
                return self._show("expression", verdict.word, verdict.confidence, t)
        else:
            self._candidate = None
        if shown is not None:
            left = self._left_of(shown)
            if unfit is None and self._evidence.holds(shown, settings):
                self._fading = None
                return self._show("expression", shown, left, t)
            self._fading = t if self._fading is None else self._fading
            # While another is about to follow, the change is one: no `unsure` flashes up between them. Not for as long
            # as the damping makes it wait, though: the old word would be a frozen label.
            follows = self._candidate is not None and t - self._candidate[1] < settings.onset + TICK
            if follows or t - self._fading < settings.decay:
                return self._show("expression", shown, left, t)
        self._judged = self._judged or t - self._met >= settings.hold
        reason = reason or (self._cue.reason if self._cue else None) or "faint"
        return self._show("unsure", None, verdict.confidence, t, reason if self._judged else "new")

    def _left_of(self, word: str) -> float:
        """Return what is left of a shown word's confidence."""
        if self._evidence is None:
            return 0.0
        return max(self._evidence.quick.get(word, 0.0), self._evidence.bridged.get(word, 0.0))

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
            left = round(self._left_of(cue.expression), 4)
            self._cue = replace(cue, confidence=left, distance=distance, side=side)
        self._own = here
        return self._cue


def why_unfit(quality: float, frontal: float, settings: CueSettings, share: float = 1.0) -> Reason | None:
    """Return why a face is not fit to read, by its quality and frontality; it must reach `share` of the limits."""
    if quality < settings.least_quality * share:
        return "poor"
    return "away" if frontal < settings.away * share else None


def odds_in_life(words: Iterable[str], settings: CueSettings) -> dict[str, float]:
    """Return by which factor each word, or class of one, is weighed: its share of life to what the network learnt."""
    groups = WORD_OF | {word: word for word in SMALL_VOCABULARY}
    shares = {word: LIFE[groups[word]] / LEARNT[groups[word]] if word in groups else 1.0 for word in words}
    return {word: share**settings.life for word, share in shares.items()}
