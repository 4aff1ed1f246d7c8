"""How far a model's confidence can be believed, and the temperature that mends it; evaluation and conversion use it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Labels = npt.NDArray[np.int64]

ECE_BINS = 15  # as in Guo et al., arXiv 1706.04599
INT8_LEAST = 1 / 512  # half a step of an int8 output: what it shows as nought is anything below
TEMPERATURES = (0.05, 20.0)


@dataclass(frozen=True, slots=True)
class Bin:
    """The rows whose top class's probability lies from `low` up to `high`."""

    low: float
    high: float
    rows: int
    confidence: float  # mean of the rows
    accuracy: float


def number_bins(confidence: Floats) -> Labels:
    """Return the bin, 0 to ECE_BINS - 1, of each confidence (n,); bins are equally wide."""
    return np.minimum((confidence * ECE_BINS).astype(np.int64), ECE_BINS - 1)


def reliability(probabilities: Floats, labels: Labels) -> list[Bin]:
    """Return the bins that hold any row of probabilities (n, classes), from the least sure to the surest.

    They are the bars of a reliability diagram (DeGroot and Fienberg, The Statistician 32, 1983).
    """
    confidence = probabilities.max(axis=1)
    right = probabilities.argmax(axis=1) == labels
    numbers = number_bins(confidence)
    bins = []
    for number in np.unique(numbers):
        rows = numbers == number
        low, high = float(number / ECE_BINS), float((number + 1) / ECE_BINS)
        bins.append(Bin(low, high, int(rows.sum()), float(confidence[rows].mean()), float(right[rows].mean())))
    return bins


def calibration_error(probabilities: Floats, labels: Labels) -> float:
    """Return the expected calibration error of the top class over equally wide bins (Guo et al., arXiv 1706.04599)."""
    bins = reliability(probabilities, labels)
    return sum(abs(bar.accuracy - bar.confidence) * bar.rows for bar in bins) / len(labels)


def temper(probabilities: Floats, temperature: float, least: float = 1e-7) -> Floats:
    """Return the softmax of log probabilities (n, classes) over `temperature`; those below `least` count as it."""
    logits = np.log(np.maximum(probabilities, least)) / temperature
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True), np.float64)


def fit_temperature(probabilities: Floats, labels: Labels, least: float = 1e-7) -> float:
    """Return the temperature for which `temper` makes the labels (n,) likeliest, within TEMPERATURES.

    Give INT8_LEAST as `least` for probabilities from an int8 model (Guo et al., arXiv 1706.04599).
    """
    logits = np.log(np.maximum(probabilities, least))
    true = logits[np.arange(len(labels)), labels].mean()
    low, high = (math.log(bound) for bound in TEMPERATURES)
    for _ in range(50):
        middle = (low + high) / 2
        # The loss is convex in 1 / temperature; this is its slope there: still falling means a lower temperature.
        if (temper(probabilities, math.exp(middle), least) * logits).sum(axis=1).mean() < true:
            high = middle
        else:
            low = middle
    return math.exp((low + high) / 2)
