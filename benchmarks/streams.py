"""Streams of readings made up or made of real ones, with what is true in them, and how a cue does on them.

Pure: a stream is a list of steps, a judgement a number; tests, tuning and `cuelens-bench cue` share them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from edge.cue.policy import WORD_OF, CuePolicy
from edge.settings import CueSettings
from edge.types import Cue, Face, Quality, Reading

LABELS = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")
RATES = (5, 15, 30, 60)  # frames a second
PARTNER = Face(1, (260, 180, 120, 120), 0.0, Quality(), 100.0, 0.8)

Probabilities = npt.NDArray[np.float64]  # (7,) or (steps, 7), in the order of LABELS


@dataclass(frozen=True, slots=True)
class Step:
    """One frame: its instant, who is in it with what reading (None: not its turn), and what is true, None unknown."""

    t: float
    people: tuple[tuple[Face, Probabilities | None], ...] = ()
    truth: str | None = None  # a word of the small vocabulary


Stream = list[Step]


def clear(label: str, certainty: float = 0.9) -> Probabilities:
    """Return the reading of a clear expression: `certainty` for its label, the rest shared evenly."""
    values = np.full(len(LABELS), (1 - certainty) / (len(LABELS) - 1))
    values[LABELS.index(label)] = certainty
    return values


def film(values: Iterable[Probabilities], fps: float) -> Stream:
    """Return a stream of one person's readings, one a frame."""
    return [Step(number / fps, ((PARTNER, each),)) for number, each in enumerate(values, 1)]


def nobody(seconds: float, fps: float) -> Stream:
    """Return a stream of empty frames."""
    return [Step(number / fps) for number in range(1, round(seconds * fps) + 1)]


def steady(label: str, seconds: float, fps: float, certainty: float = 0.9) -> Stream:
    """Return a stream of one clear expression."""
    return film([clear(label, certainty)] * round(seconds * fps), fps)


def flicker(first: str, second: str, seconds: float, fps: float, frames: int = 1) -> Stream:
    """Return a stream that changes between two clear expressions every `frames` frames."""
    labels = (first, second)
    return film([clear(labels[number // frames % 2]) for number in range(round(seconds * fps))], fps)


def talk(label: str, mouth: str, seconds: float, fps: float, syllables: float = 4.0, share: float = 0.35) -> Stream:
    """Return somebody who shows `label` and talks: for a share of each of so many syllables a second, `mouth`."""
    values = [
        clear(mouth, 0.7) if (number / fps * syllables) % 1 > 1 - share else clear(label, 0.85)
        for number in range(round(seconds * fps))
    ]
    return film(values, fps)


def dirichlet(concentration: float, seconds: float, fps: float, rng: np.random.Generator) -> Stream:
    """Return noise: readings without any relation to each other, the more one-sided the less the concentration."""
    return film(rng.dirichlet([concentration] * len(LABELS), round(seconds * fps)), fps)


def wandering(memory: float, spread: float, seconds: float, fps: float, rng: np.random.Generator) -> Stream:
    """Return noise as of a network that cannot decide: logits that wander and forget in `memory` seconds."""
    keep = np.exp(-1 / (fps * memory))
    logits = spread * rng.standard_normal(len(LABELS))
    values = []
    for _ in range(round(seconds * fps)):
        logits = keep * logits + spread * np.sqrt(1 - keep**2) * rng.standard_normal(len(LABELS))
        exponents = np.exp(logits - logits.max())
        values.append(exponents / exponents.sum())
    return film(values, fps)


def follow(*streams: Stream) -> Stream:
    """Return the streams one after the other, on one clock."""
    whole: Stream = []
    for stream in streams:
        start = whole[-1].t if whole else 0.0
        whole += [replace(step, t=start + step.t) for step in stream]
    return whole


def readings(step: Step) -> list[Reading]:
    """Return a step's readings as the policy takes them."""
    return [Reading(face.id, tuple(map(float, values)), step.t) for face, values in step.people if values is not None]


def play(stream: Stream, settings: CueSettings) -> list[Cue]:
    """Return the policy's cue for each step."""
    policy = CuePolicy(settings, LABELS)
    return [policy.update([face for face, _ in step.people], readings(step), step.t) for step in stream]


def changes(cues: Sequence[Cue]) -> int:
    """Return how often what is shown changes."""
    return sum(before.shown != after.shown for before, after in pairwise(cues))


def raw_changes(stream: Stream) -> int:
    """Return how often the largest word of the partner's reading changes, frame by frame."""
    words = [raw_word(values) for step in stream for _, values in step.people[:1] if values is not None]
    return sum(before != after for before, after in pairwise(words))


def raw_word(values: Probabilities) -> str:
    """Return the word of the label that is largest: what a frame-by-frame display would show."""
    return WORD_OF[LABELS[int(np.argmax(values))]]


def delay_until(stream: Stream, cues: Sequence[Cue], since: float, wanted: Callable[[Cue], bool]) -> float:
    """Return the seconds from the first frame at or after `since` to the first wanted cue; infinity for none."""
    times = [step.t for step in stream if step.t >= since - 1e-9]
    hits = [step.t for step, cue in zip(stream, cues, strict=True) if step.t >= since - 1e-9 and wanted(cue)]
    return hits[0] - times[0] if hits else float("inf")


class Judgement(NamedTuple):
    """Steps with a truth; of these, in how many the cue shows a word, the right one, and the raw label is right."""

    known: int
    covered: int
    right: int
    raw_right: int


def judge(stream: Stream, cues: Sequence[Cue]) -> Judgement:
    """Count how often the cue, and the nearest face's raw label, are what is true."""
    known = [(step, cue) for step, cue in zip(stream, cues, strict=True) if step.truth is not None]
    raw = [raw_word(values) == step.truth for step, _ in known for _, values in step.people[:1] if values is not None]
    return Judgement(
        len(known),
        sum(cue.expression is not None for _, cue in known),
        sum(cue.expression == step.truth for step, cue in known),
        sum(raw),
    )


def lively(films: Probabilities, words: Sequence[str], seconds: float, fps: float, rng: np.random.Generator) -> Stream:
    """Return a person whose expression changes every one to six seconds, made of films (n, steps, 7) of real readings.

    `words` are what each film shows; a film is played on and on, forwards and backwards, while its turn lasts.
    """
    steps: Stream = []
    while len(steps) < seconds * fps:
        row = int(rng.integers(len(films)))
        if steps and words[row] == steps[-1].truth:
            continue
        there_and_back = np.concatenate([films[row], films[row][::-1]])
        for number in range(round(rng.uniform(1, 6) * fps)):
            values = there_and_back[number % len(there_and_back)]
            steps.append(Step((len(steps) + 1) / fps, ((PARTNER, values),), words[row]))
    return steps
