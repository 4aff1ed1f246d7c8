"""Streams of readings that only tests play, beside those of benchmarks/streams.py."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from benchmarks.streams import PARTNER, Step, Stream, clear, film


def spikes(label: str, spike: str, seconds: float, fps: float, every: float = 1.0) -> Stream:
    """Return a steady expression in which one frame in `every` seconds is another, as clear."""
    gap = max(2, round(every * fps))
    return film([clear(spike if n % gap == gap - 1 else label) for n in range(round(seconds * fps))], fps)


def drift(first: str, second: str, seconds: float, fps: float) -> Stream:
    """Return a slow change from one clear expression to another."""
    shares = np.linspace(0, 1, round(seconds * fps))
    return film([(1 - share) * clear(first) + share * clear(second) for share in shares], fps)


def crossing(first: str, second: str, seconds: float, fps: float) -> Stream:
    """Return two people who pass each other: the nearer one goes, the farther one comes, in a straight line."""
    steps = []
    for number in range(1, round(seconds * fps) + 1):
        share = number / (seconds * fps)
        near, far = 0.8 + 1.2 * share, 2.0 - 1.2 * share
        people = (
            (replace(PARTNER, distance_m=near, bearing_deg=-20 + 40 * share), clear(first)),
            (replace(PARTNER, id=2, distance_m=far, bearing_deg=20 - 40 * share), clear(second)),
        )
        steps.append(Step(number / fps, people))
    return steps
