"""What probabilities are worth against labels, as numbers: scores, intervals, paired comparisons of evaluations."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from lab.calibration import ECE_BINS, INT8_LEAST, Floats, Labels, calibration_error, number_bins

COVERAGES = (1.0, 0.9, 0.8, 0.7, 0.5)
GOALS = (0.8, 0.9)  # accuracies whose coverage is reported
DRAWS = 2000
MEASURES = {"accuracy": "accuracy", "balanced_accuracy": "balanced", "macro_f1": "macro F1", "ece": "ECE"}


def confuse(predicted: Labels, labels: Labels, classes: int) -> Labels:
    """Return the confusion matrix (classes, classes) of the decisions on rows (n,); its rows are the true classes."""
    return np.bincount(labels * classes + predicted, minlength=classes * classes).reshape(classes, classes)


def summarise(confusion: npt.NDArray[np.int64]) -> dict[str, Floats]:
    """Return accuracy, balanced accuracy and macro F1, and precision, recall and F1 by class.

    Of one confusion matrix or a stack of them, (..., classes, classes). A class without rows counts in no mean.
    """
    hits = np.diagonal(confusion, axis1=-2, axis2=-1)
    support, called = confusion.sum(axis=-1), confusion.sum(axis=-2)
    recall, precision = hits / np.maximum(support, 1), hits / np.maximum(called, 1)
    f1 = 2 * hits / np.maximum(support + called, 1)
    present = support > 0
    return {
        "accuracy": hits.sum(axis=-1) / support.sum(axis=-1),
        "balanced_accuracy": np.mean(recall, axis=-1, where=present),
        "macro_f1": np.mean(f1, axis=-1, where=present),
        "precision": precision,
        "recall": recall,
        "f1": f1,
    }


def cover(probabilities: Floats, labels: Labels) -> Floats:
    """Return the accuracy (n,) among the 1, 2, ... n surest rows: the coverage-accuracy curve.

    Rows that are equally sure share their hits evenly, so that their order changes nothing. The area under its
    complement is AURC (Geifman et al., arXiv 1805.08206).
    """
    _, ranks, counts = np.unique(-probabilities.max(axis=1), return_inverse=True, return_counts=True)
    share = np.bincount(ranks, probabilities.argmax(axis=1) == labels) / counts
    accuracy: Floats = np.cumsum(np.repeat(share, counts)) / np.arange(1, len(labels) + 1)
    return accuracy


def score(probabilities: Floats, labels: Labels, classes: Sequence[str]) -> dict[str, Any]:
    """Score probabilities (n, classes) against labels (n,).

    Returns accuracy with its 95 % Wilson interval, balanced accuracy, macro F1, expected calibration error,
    negative log likelihood (nats; what is below 1/512 counts as that: int8 cannot show it, so float and int8
    compare), Brier score (Brier, Monthly Weather Review 78, 1950: 0 to 2), what is right among the surest, precision,
    recall, F1 and support by class, and the confusion matrix (rows: true).
    """
    confusion = confuse(probabilities.argmax(axis=1), labels, len(classes))
    summary = summarise(confusion)
    accuracy, count = float(summary["accuracy"]), len(labels)
    true = probabilities[np.arange(count), labels]
    curve = cover(probabilities, labels)
    reached = {goal: np.flatnonzero(curve >= goal) for goal in GOALS}
    numbers = {
        "accuracy": accuracy,
        "accuracy_interval": wilson_interval(accuracy, count),
        "balanced_accuracy": summary["balanced_accuracy"],
        "macro_f1": summary["macro_f1"],
        "ece": calibration_error(probabilities, labels),
        "nll": -np.log(np.maximum(true, INT8_LEAST)).mean(),
        "brier": (np.square(probabilities).sum(axis=1) - 2 * true + 1).mean(),
        "coverage": {
            "aurc": 1 - curve.mean(),
            "accuracy_at": {f"{share:g}": curve[math.ceil(share * count) - 1] for share in COVERAGES},
            "coverage_for": {f"{goal:g}": (rows[-1] + 1) / count if rows.size else 0 for goal, rows in reached.items()},
        },
        "rows": count,
        "classes": {
            name: {measure: summary[measure][i] for measure in ("precision", "recall", "f1")}
            | {"support": int(confusion[i].sum())}
            for i, name in enumerate(classes)
        },
        "confusion": confusion.tolist(),
    }
    rounded: dict[str, Any] = round_all(numbers)
    return rounded


def round_all(value: Any) -> Any:
    """Return nested tables and lists with every number that is no integer rounded to five digits."""
    if isinstance(value, dict):
        return {name: round_all(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [round_all(each) for each in value]
    return value if isinstance(value, int | str) else round(float(value), 5) + 0.0  # no -0.0


def wilson_interval(share: float, count: int, z: float = 1.96) -> tuple[float, float]:
    """Return the interval of a share of `count` trials (Wilson, JASA 22, 1927).

    Here and not by scipy's binomtest, which needs whole successes and has 1.95996 for `z`: reports would differ.
    """
    middle = (share + z * z / (2 * count)) / (1 + z * z / count)
    reach = z / (1 + z * z / count) * math.sqrt(share * (1 - share) / count + z * z / (4 * count * count))
    return middle - reach, middle + reach


def with_interval(value: float, interval: Sequence[float], digits: int = 3) -> str:
    """Return a share with its interval, for a person."""
    low, high = interval
    return f"{value:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"


def bootstrap(several: Sequence[Floats], labels: Labels, draws: int = DRAWS, seed: int = 0) -> list[dict[str, Floats]]:
    """Return each model's MEASURES on `draws` resamplings of the rows, the same rows for every model: (draws,) each.

    Efron, Annals of Statistics 7, 1979. A resampled ECE leans upwards: noise in a bin is a gap too.
    """
    rng = np.random.default_rng(seed)
    count, classes = several[0].shape
    cells, bins, gaps = [], [], []
    for probabilities in several:
        predicted, confidence = probabilities.argmax(axis=1), probabilities.max(axis=1)
        cells.append(labels * classes + predicted)
        bins.append(number_bins(confidence))
        gaps.append((predicted == labels) - confidence)
    confusions = np.empty((len(several), draws, classes, classes), np.int64)
    errors = np.empty((len(several), draws))
    for draw in range(draws):
        rows = rng.integers(count, size=count)
        for i in range(len(several)):
            confusions[i, draw] = np.bincount(cells[i][rows], minlength=classes**2).reshape(classes, classes)
            errors[i, draw] = np.abs(np.bincount(bins[i][rows], gaps[i][rows], ECE_BINS)).sum() / count
    return [summarise(matrix) | {"ece": error} for matrix, error in zip(confusions, errors, strict=True)]


def mcnemar(first: npt.NDArray[np.bool_], second: npt.NDArray[np.bool_]) -> float:
    """Return the exact two-sided p of two models being right (n,) equally often (McNemar, Psychometrika 12, 1947).

    Here and not by scipy, which the device's environment is without: networks are compared there too.
    """
    only_first, only_second = int((first & ~second).sum()), int((second & ~first).sum())
    differing = only_first + only_second
    term, tail, outcomes = 1, 1, 1 << differing
    for k in range(min(only_first, only_second)):
        term = term * (differing - k) // (k + 1)
        tail += term
    return min(1.0, 2 * tail / outcomes)


def compare(results: Sequence[dict[str, Any]], several: Sequence[Floats], labels: Labels) -> list[dict[str, Any]]:
    """Add to each model's result its bootstrap intervals (95 % percentile), and how it stands against the first.

    `several` are their probabilities (n, classes) for the same rows.
    """
    drawn = bootstrap(several, labels)
    right = [probabilities.argmax(axis=1) == labels for probabilities in several]
    compared = []
    for i, result in enumerate(results):
        row = result | {"bootstrap": {measure: _interval(drawn[i][measure]) for measure in MEASURES}}
        if i:
            low, high = _interval(drawn[i]["accuracy"] - drawn[0]["accuracy"])
            row["against_first"] = {
                "accuracy": round(float(right[i].mean() - right[0].mean()), 5),
                "interval": [low, high],
                "excludes_zero": low > 0 or high < 0,
                "mcnemar_p": float(f"{mcnemar(right[0], right[i]):.3g}"),
                "only_first_right": int((right[0] & ~right[i]).sum()),
                "only_this_right": int((right[i] & ~right[0]).sum()),
            }
        compared.append(row)
    return compared


def _interval(draws: Floats) -> list[float]:
    return [round(float(bound), 5) for bound in np.percentile(draws, (2.5, 97.5))]
