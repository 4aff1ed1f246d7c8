"""A person's own neutral: what the network answers of each face at rest, learnt slowly and taken off.

Faces at rest differ, and older or bearded ones are read as upset. Pure: probabilities and seconds in and out.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from edge.cue.evidence import NEUTRAL, gain
from edge.settings import CueSettings
from edge.types import Face

PLAIN = frozenset({"smile", "happy", "surprise"})  # seen on a face whatever it is like at rest: never learnt away
NEAR = 1.0  # log odds against neutral up to which a reading may be of a face at rest
RESTING = -1.8  # log odds against neutral that a face at rest is brought to: 0.86 neutral, a lead that `margin` allows
REMEMBERED = 8.0  # seconds without a face after which its rest is forgotten, as the finder forgets its id
LEAP, SWELL = 1.0, 2.0  # of a face's width by which it may move, and of its size, from a frame to the next
FLOOR = 1e-4  # of a probability


class Rest:
    """The resting answer of one face: log odds of each word that rest is mistaken for, against neutral."""

    def __init__(self) -> None:
        self._odds: dict[str, float] = {}

    def learn(self, values: Mapping[str, float], seconds: float, settings: CueSettings) -> None:
        """Take a reading's probabilities by word, which stands for so many seconds, if it may be of a face at rest."""
        odds = {word: _odds(values, word) for word in values if word != NEUTRAL}
        if not odds or max(odds.values()) > NEAR:
            return
        slow = gain(seconds, settings.rest)
        for word in odds.keys() - PLAIN:
            known = self._odds.get(word, RESTING)
            self._odds[word] = known + slow * (odds[word] - known)

    def judge(self, values: Mapping[str, float], settings: CueSettings) -> dict[str, float]:
        """Return the probabilities by word as they would be of a face that rests as others do.

        Only what rest is mistaken for is taken down, by `rest_most` log odds at most.
        """
        off = {word: min(max(odds - RESTING, 0.0), settings.rest_most) for word, odds in self._odds.items()}
        return _normalise({word: value * math.exp(-off.get(word, 0.0)) for word, value in values.items()})


@dataclass(slots=True)
class _Known:
    rest: Rest
    face: Face
    seen: float
    read: float


class Rests:
    """The rests of the faces in view, by their ids; each is forgotten with its track, or when it may be another's."""

    def __init__(self) -> None:
        self._known: dict[int, _Known] = {}
        self.leapt: frozenset[int] = frozenset()  # the ids that another face may have taken over in the newest frame

    def follow(self, faces: Sequence[Face], t: float) -> None:
        """Take the faces of the frame of `t`, and forget the rest of each that left, leapt or met another."""
        self._known = {key: known for key, known in self._known.items() if t - known.seen <= REMEMBERED}
        leapt = set()
        for face in faces:
            known = self._known.get(face.id)
            if known is not None and _leapt(known.face, face):
                leapt.add(face.id)
            met = any(other.id != face.id and _shared(face, other) > 0 for other in faces)
            if known is None or face.id in leapt or met:
                self._known[face.id] = _Known(Rest(), face, t, t)
            else:
                known.face, known.seen = face, t
        self.leapt = frozenset(leapt)

    def judge(self, face: Face, values: Mapping[str, float], t: float, settings: CueSettings) -> dict[str, float]:
        """Learn from a face's reading at `t`, by word, and return it as against the face's own rest."""
        known = self._known[face.id]
        if settings.rest_most <= 0 or NEUTRAL not in values:
            return dict(values)
        judged = known.rest.judge(values, settings)
        if face.quality.whole >= settings.least_quality and face.quality.frontal >= settings.facing:
            known.rest.learn(values, min(t - known.read, 0.25), settings)
        known.read = t
        return judged


def _odds(values: Mapping[str, float], word: str) -> float:
    return math.log(max(values[word], FLOOR) / max(values[NEUTRAL], FLOOR))


def _normalise(values: Mapping[str, float]) -> dict[str, float]:
    total = sum(values.values())
    return {word: value / total for word, value in values.items()} if total > 0 else dict(values)


def _middle(face: Face) -> tuple[float, float]:
    x, y, width, height = face.box
    return x + width / 2, y + height / 2


def _leapt(before: Face, now: Face) -> bool:
    """Return whether a track is now where its face cannot have gone from one frame to the next."""
    side = max(before.box[2], now.box[2], 1)
    (x, y), (to_x, to_y) = _middle(before), _middle(now)
    grown = max(now.box[2], 1) / max(before.box[2], 1)
    nearer = max(now.distance_m, 0.01) / max(before.distance_m, 0.01)
    return math.hypot(to_x - x, to_y - y) > LEAP * side or not all(1 / SWELL < size < SWELL for size in (grown, nearer))


def _shared(a: Face, b: Face) -> float:
    """Return the pixels that two boxes share."""
    wide = min(a.box[0] + a.box[2], b.box[0] + b.box[2]) - max(a.box[0], b.box[0])
    tall = min(a.box[1] + a.box[3], b.box[1] + b.box[3]) - max(a.box[1], b.box[1])
    return max(wide, 0) * max(tall, 0)
