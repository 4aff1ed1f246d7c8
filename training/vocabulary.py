"""What a network is worth to the wearer: the small vocabulary's words, and what would be shown on a steady reading.

`cuelens-evaluate --words` shows these figures; words and thresholds are the cue policy's own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from edge.cue.evidence import leads
from edge.cue.policy import SMALL_VOCABULARY, WORD_OF, odds_in_life
from edge.errors import SettingsInvalid
from edge.settings import CueSettings
from lab.calibration import Floats, Labels, calibration_error
from lab.datasets.classes import canonical
from lab.scores import confuse, round_all, summarise, wilson_interval, with_interval

RECALL = 0.75  # of a word, at which its precision is reported
Rows = npt.NDArray[np.bool_]


def as_words(probabilities: Floats, labels: Labels, classes: Sequence[str]) -> tuple[Floats, Labels, tuple[str, ...]]:
    """Turn probabilities (n, classes) and labels (n,) into the words': (n, words), (n,) and their names.

    A label of no word becomes -1, as one that is -1 stays. Raises SettingsInvalid for classes that make fewer than two
    words.
    """
    named = [WORD_OF.get(canonical(name), "") for name in classes]
    words = tuple(word for word in SMALL_VOCABULARY if word in named)
    if len(words) < 2:
        raise SettingsInvalid(f"--words: of {', '.join(classes)[:200]} no two are expressions with words; leave it out")
    shares = np.stack(
        [probabilities[:, [column for column, own in enumerate(named) if own == word]].sum(axis=1) for word in words],
        axis=1,
    )
    places = np.array([words.index(word) if word else -1 for word in named] + [-1], np.int64)
    return shares, places[labels], words


def find_shown(words: Floats, names: Sequence[str], settings: CueSettings | None = None) -> Rows:
    """Return for which rows of the probabilities (n, words) of the named words a steady reading is shown: bool (n,).

    As the policy does: weighed by life's shares, as likely as `enter` asks, and leading the others.
    """
    settings = settings or CueSettings()
    weighed = words * list(odds_in_life(names, settings).values())
    weighed = weighed / np.maximum(weighed.sum(axis=1, keepdims=True), 1e-9)
    order = np.argsort(-weighed, axis=1)[:, :2]
    shown = [
        row[first] >= settings.enter
        and leads(names[first], names[second], dict(zip(names, row, strict=True)), settings)
        for row, (first, second) in zip(weighed, order, strict=True)
    ]
    return np.array(shown, np.bool_)


def precision_at(scores: Floats, positive: Rows, recall: float = RECALL) -> dict[str, float]:
    """Return the precision, with threshold and recall, of the rows that score (n,) highest where `recall` is reached.

    Rows that score alike are taken together. All are 0 where there is no positive row.
    """
    if not positive.any():
        return {"recall": 0.0, "precision": 0.0, "threshold": 0.0}
    order = np.argsort(-scores, kind="stable")
    hits = np.cumsum(positive[order])
    ends = np.flatnonzero(np.diff(scores[order], append=-np.inf))  # the last row of each score
    end = ends[np.argmax(hits[ends] >= recall * hits[-1] - 1e-9)]
    return {
        "recall": float(hits[end] / hits[-1]),
        "precision": float(hits[end] / (end + 1)),
        "threshold": float(scores[order][end]),
    }


def _share(hits: float, count: int) -> dict[str, Any]:
    share = hits / count if count else 0.0
    return {"share": share, "interval": wilson_interval(share, count) if count else (0.0, 1.0), "rows": count}


def score_words(probabilities: Floats, labels: Labels, classes: Sequence[str]) -> dict[str, Any]:
    """Score the words of probabilities (n, classes) against labels (n,); rows whose label has no word are left out.

    Returns accuracy with its 95 % Wilson interval, balanced accuracy, ECE, the confusion matrix (rows: true), each
    word's precision and recall with intervals and its precision at RECALL; and of what would be shown on a steady
    reading (the policy's `life`, `enter`, `margin` and `trace`) how much it is and how much of it is right, with
    intervals, also by word. Raises what `as_words` raises.
    """
    shares, truth, words = as_words(probabilities, labels, classes)
    kept = truth >= 0
    shares, truth = shares[kept], truth[kept]
    predicted = shares.argmax(axis=1)
    confusion = confuse(predicted, truth, len(words))
    summary = summarise(confusion)
    accuracy, count = float(summary["accuracy"]), len(truth)
    shown, settings = find_shown(shares, words), CueSettings()
    right = shown & (predicted == truth)
    by_word = {}
    for place, word in enumerate(words):
        called, true = predicted == place, truth == place
        by_word[word] = {
            "precision": _share((called & true).sum(), int(called.sum())),
            "recall": _share((called & true).sum(), int(true.sum())),
            "precision_at_recall": precision_at(shares[:, place], true) | {"goal": RECALL},
            "right_of_shown": _share((right & called).sum(), int((shown & called).sum())),
        }
    figures: dict[str, Any] = round_all(
        {
            "rows": count,
            "accuracy": accuracy,
            "accuracy_interval": wilson_interval(accuracy, count),
            "balanced_accuracy": summary["balanced_accuracy"],
            "ece": calibration_error(shares, truth),
            "steady": {
                "enter": settings.enter,
                "margin": settings.margin,
                "trace": settings.trace,
                "life": settings.life,
                "shown": _share(shown.sum(), count),
                "right_of_shown": _share(right.sum(), int(shown.sum())),
            },
            "words": by_word,
            "confusion": confusion.tolist(),
        }
    )
    return figures


def describe_bounds(bounds: dict[str, Any]) -> str:
    """Word what the policy asks of a steady reading before it shows a word."""
    words = f"from {bounds['enter']:g}, leading by {bounds['margin']:g}"
    return words + (f", neutral beside at most {bounds['trace']:g} of a smile" if "trace" in bounds else "")


def describe_words(figures: dict[str, Any]) -> list[str]:
    """Lay the words' figures out for a person, a line each."""
    low, high = figures["accuracy_interval"]
    shown, right = figures["steady"]["shown"], figures["steady"]["right_of_shown"]
    bounds = describe_bounds(figures["steady"])
    scores = f"balanced {figures['balanced_accuracy']:.4f}, ECE {figures['ece']:.4f}, {figures['rows']} rows"
    lines = [
        f"words: accuracy {figures['accuracy']:.4f} ({low:.4f} to {high:.4f}), {scores}",
        f"shown on a steady reading ({bounds}): {describe_share(shown)} of all, {describe_share(right)} of that right",
        f"{'':12}{'precision':>24}{'recall':>24}{'right when shown':>24}{f'precision at {RECALL:g}':>19}{'rows':>7}",
    ]
    lines += [
        f"{word:12}"
        + "".join(f"{describe_share(row[name]):>24}" for name in ("precision", "recall", "right_of_shown"))
        + f"{row['precision_at_recall']['precision']:19.3f}{row['recall']['rows']:7}"
        for word, row in figures["words"].items()
    ]
    return lines


def describe_share(share: Mapping[str, Any]) -> str:
    """Return a share and its interval, for a person."""
    return with_interval(share["share"], share["interval"])
