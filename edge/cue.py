"""Readings in, one steady cue out: filter, two thresholds, least hold, and `unsure` instead of a guess."""

from __future__ import annotations

import math
from dataclasses import replace

from edge.config import CueSettings
from edge.types import Cue, Face, Reading, State

# Visible expression, never inner state; the four that people and models confuse are one word.
SMALL_VOCABULARY = {
    "smile": ("happy",),
    "surprise": ("surprise",),
    "upset": ("angry", "disgust", "fear", "sad"),
    "neutral": ("neutral",),
}

DARK: frozenset[State] = frozenset({"no_face", "no_camera"})  # come and go at once: a hold here would be a frozen label


class CuePolicy:
    """Decide what the wearer sees; pure, all instants are the capture clock's, in seconds."""

    def __init__(self, settings: CueSettings, labels: tuple[str, ...]) -> None:
        """Map the model's labels to words: the small vocabulary where it covers them, else one word a label."""
        self._settings = settings
        small = {label for group in SMALL_VOCABULARY.values() for label in group}
        if settings.vocabulary == "small" and small == set(labels):
            self._words = {word: [labels.index(name) for name in group] for word, group in SMALL_VOCABULARY.items()}
        else:
            self._words = {label: [index] for index, label in enumerate(labels)}
        self._chance = {word: len(group) / len(labels) for word, group in self._words.items()}
        self._cue: Cue | None = None  # nothing is shown before the first frame
        self._partner: int | None = None
        self._rival: tuple[int, float] | None = None  # who may become the partner, leading since when
        self._filtered: dict[str, float] = {}
        self._read = -math.inf  # when the partner was read last

    @property
    def partner(self) -> int | None:
        """The id of the face whose expression is shown; None before there is one."""
        return self._partner

    def update(self, faces: list[Face], readings: list[Reading], t: float) -> Cue:
        """Take the faces of the frame of `t` and those of them that were read in it, and return the cue to show."""
        partner = self._choose(faces, t)
        probabilities = next((item.probabilities for item in readings if partner and item.face_id == partner.id), None)
        if partner is None or probabilities is None:
            if self._cue is not None and 0 <= t - self._read <= self._settings.vanish:
                return self._cue  # a blink of the finder, or not its turn: nothing is known anew or averaged on
            if partner is not None:
                return self._show("unsure", None, 0.0, t)
            self._forget()
            return self._show("no_face", None, 0.0, t)
        self._filter(probabilities, t)
        return self._decide(partner, t)

    def lose_camera(self, t: float) -> Cue:
        """Take that no frame has come by `t`: what was seen before says nothing about now."""
        self._forget()
        return self._show("no_camera", None, 0.0, t)

    def _forget(self) -> None:
        self._partner, self._rival, self._filtered, self._read = None, None, {}, -math.inf

    def _choose(self, faces: list[Face], t: float) -> Face | None:
        """Take the nearest facing face; keep it until another has been clearly nearer, or alone facing, for a while."""
        if not faces:
            return None
        least = self._settings.facing
        facing = [face for face in faces if face.quality.frontal >= least]
        nearest = min(facing or faces, key=lambda face: face.distance_m)
        partner = next((face for face in faces if face.id == self._partner), None)
        if partner is None:
            if self._partner is not None and 0 <= t - self._read <= self._settings.vanish:
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

    def _filter(self, probabilities: tuple[float, ...], t: float) -> None:
        words = {word: sum(probabilities[index] for index in group) for word, group in self._words.items()}
        if not self._filtered or t < self._read:
            # A new face starts undecided, so that one lucky frame is not yet an expression.
            self._filtered = dict(self._chance)
            self._read = t
        elapsed = max(t - self._read, 0.0)
        keep = math.exp(-elapsed / self._settings.filter) if self._settings.filter > 0 else 0.0
        self._filtered = {word: keep * self._filtered[word] + (1 - keep) * value for word, value in words.items()}
        self._read = t

    def _decide(self, partner: Face, t: float) -> Cue:
        settings, cue = self._settings, self._cue
        evidence = {word: (p - self._chance[word]) / (1 - self._chance[word]) for word, p in self._filtered.items()}
        best, second = sorted(evidence, key=evidence.__getitem__, reverse=True)[:2]
        confidence = self._filtered[best]
        if partner.quality.whole < settings.least_quality:
            return self._show("unsure", None, confidence, t)
        if evidence[best] >= settings.enter and evidence[best] - evidence[second] >= settings.margin:
            return self._show("expression", best, confidence, t)
        if cue is not None and cue.expression == best and evidence[best] >= settings.leave:
            return self._show("expression", best, confidence, t)
        return self._show("unsure", None, confidence, t)

    def _show(self, state: State, expression: str | None, confidence: float, t: float) -> Cue:
        cue = self._cue
        confidence = round(confidence, 4)
        if cue is not None and (state, expression) == (cue.state, cue.expression):
            self._cue = replace(cue, confidence=confidence)
        elif cue is None or DARK & {state, cue.state} or not 0 <= t - cue.since < self._settings.hold:
            self._cue = Cue(state, expression, confidence, t)
        elif cue.expression is not None:
            # Held: still the old word, with what is left of its confidence.
            self._cue = replace(cue, confidence=round(self._filtered.get(cue.expression, 0.0), 4))
        assert self._cue is not None
        return self._cue
