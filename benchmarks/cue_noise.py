"""What the cue makes of made-up streams: changes on noise, how soon a clear expression shows, when a face is gone."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from benchmarks import streams
from benchmarks.streams import (
    LABELS,
    RATES,
    Stream,
    changes,
    delay_until,
    follow,
    nobody,
    play,
    steady,
    talk,
)
from edge.cue.policy import WORD_OF
from edge.settings import CueSettings

MINUTES = 2.0  # of a noise
TALKS = (("happy", "smile", "neutral"), ("neutral", "neutral", "surprise"))  # of a face, its word, of its mouth
TALK_SECONDS = 12.0


def make_noise(fps: float) -> dict[str, Stream]:
    """Return streams of MINUTES in which no expression is clear enough to show."""
    rng, seconds = np.random.default_rng(0), 60 * MINUTES
    return {
        "one class at random in each frame": streams.dirichlet(0.1, seconds, fps, rng),
        "any probabilities in each frame": streams.dirichlet(1.0, seconds, fps, rng),
        "two classes in turn, a frame each": streams.flicker("happy", "neutral", seconds, fps),
        "two classes in turn, 0.2 s each": streams.flicker("happy", "sad", seconds, fps, max(1, round(fps / 5))),
        "readings that wander within 0.1 s": streams.wandering(0.1, 2.0, seconds, fps, rng),
        "readings that wander within 0.3 s": streams.wandering(0.3, 2.0, seconds, fps, rng),
    }


@functools.cache
def clear_changes(fps: float) -> list[tuple[Stream, float, str]]:
    """Return streams with a clear expression that begins, the instant of its first frame, and its word."""
    cases = []
    for before in (None, "neutral", "sad", "happy", "surprise"):
        for label in LABELS:
            if before is None or WORD_OF[before] != WORD_OF[label]:
                first = nobody(1, fps) if before is None else steady(before, 5, fps)
                cases.append((follow(first, steady(label, 3, fps)), first[-1].t + 1 / fps, WORD_OF[label]))
    return cases


def worst_onset(settings: CueSettings) -> dict[int, float]:
    """Return by frame rate the seconds until the slowest clear expression is shown."""
    return {
        fps: round(
            max(
                delay_until(stream, play(stream, settings), since, lambda cue, word=word: cue.expression == word)  # type: ignore[misc]
                for stream, since, word in clear_changes(fps)
            ),
            3,
        )
        for fps in RATES
    }


def worst_gone(settings: CueSettings) -> dict[int, float]:
    """Return by frame rate the seconds from a face's last frame to the first dark cue."""
    result = {}
    for fps in RATES:
        stream = follow(steady("happy", 3, fps), nobody(2, fps))
        cues = play(stream, settings)
        dark = next(step.t for step, cue in zip(stream, cues, strict=True) if step.t > 3 and cue.state == "no_face")
        result[fps] = round(dark - 3, 3)
    return result


def least_bridged(settings: CueSettings) -> float:
    """Return the least share, over TALKS and frame rates, of the time in which a talking face's word is shown.

    The first two seconds are not counted.
    """
    shares = []
    for label, word, mouth in TALKS:
        for fps in (10, 15, 30):
            cues = play(talk(label, mouth, TALK_SECONDS, fps), settings)[2 * fps :]
            shares.append(sum(cue.expression == word for cue in cues) / len(cues))
    return round(min(shares), 4)


def measure_streams(settings: CueSettings) -> dict[str, Any]:
    """Return changes a minute on noise by its kind and frame rate, and onset and end by frame rate."""
    noise: dict[str, dict[int, float]] = {}
    for fps in RATES:
        for name, stream in make_noise(fps).items():
            noise.setdefault(name, {})[fps] = round(changes(play(stream, settings)) / MINUTES, 1)
    return {
        "noise": noise,
        "onset_s": worst_onset(settings),
        "gone_s": worst_gone(settings),
        "bridged": least_bridged(settings),
    }
