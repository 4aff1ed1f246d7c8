"""Whom or what a network serves less well: scores by a column of labels.csv or by how dark the picture is.

`cuelens-evaluate --by` shows them.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edge.errors import DataColumnMissing
from lab.calibration import Floats, Labels
from lab.datasets.folder import list_column
from lab.datasets.labelled import Labelled
from lab.scores import DRAWS, confuse, round_all, summarise, wilson_interval, with_interval
from training.vocabulary import as_words, find_shown

DARKNESS = "darkness"
THIRDS = ("dark", "middle", "bright")
LISTED = 50  # groups; of more, those with the most rows
SHOWN = 20  # of them to a person
LEAST = 10  # rows of a group that is listed where there are more than LISTED
_LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601
_AT_ONCE = 50  # resamplings

Names = npt.NDArray[np.str_]


def name_groups(data: Path, labelled: Labelled, by: str) -> Names:
    """Name the group of each picture (n,): by DARKNESS, or by what a column of the folder's labels.csv says.

    Raises DataColumnMissing.
    """
    if by.casefold() == DARKNESS:
        return name_thirds(labelled.images)
    if not data.is_dir():
        raise DataColumnMissing(f"{data}: --by {by}: a table has no such column; valid is {DARKNESS}, or give a folder")
    column = list_column(data, by)
    return np.array([column.get(name) or "not given" for name in labelled.names])


def name_thirds(images: npt.NDArray[np.uint8]) -> Names:
    """Name the third of the pictures, uint8 (n, h, w) or (n, h, w, 3) RGB, that each belongs to by its mean luma."""
    luma = images.mean(axis=(1, 2)) @ np.array(_LUMA) if images.ndim == 4 else images.mean(axis=(1, 2))
    low, high = np.quantile(luma, (1 / 3, 2 / 3))
    names = (f"{THIRDS[0]}, below {low:.0f}", f"{THIRDS[1]}, to {high:.0f}", f"{THIRDS[2]}, above")
    return np.asarray(np.array(names)[(luma >= low).astype(int) + (luma > high)], np.str_)


def score_groups(
    names: Names, probabilities: Floats, labels: Labels, classes: Sequence[str], by: str, *, words: bool
) -> dict[str, Any]:
    """Score probabilities (n, classes) against labels (n,) group by group; `words` scores the wearer's too.

    Each group has its rows, its accuracy with its 95 % Wilson interval and its balanced accuracy. Of all, the interval
    of the accuracy when whole groups are drawn again (cluster bootstrap; Cameron, Gelbach and Miller, Review of
    Economics and Statistics 90, 2008): rows of one person are not as good as rows of as many.
    """
    groups, which = np.unique(names, return_inverse=True)
    right = probabilities.argmax(axis=1) == labels
    counts = np.bincount(which, minlength=len(groups))
    hits = np.bincount(which, right, minlength=len(groups))
    spoken = as_words(probabilities, labels, classes) if words else None
    order = np.argsort(-counts, kind="stable")
    listed = [int(g) for g in order if len(groups) <= LISTED or counts[g] >= LEAST][:LISTED]
    if len(groups) <= LISTED:
        listed = sorted(listed, key=lambda group: _place(str(groups[group])))
    rows = []
    for group in listed:
        own = which == group
        summary = summarise(confuse(probabilities[own].argmax(axis=1), labels[own], len(classes)))
        row = {
            "group": str(groups[group]),
            "rows": int(counts[group]),
            "accuracy": float(summary["accuracy"]),
            "accuracy_interval": wilson_interval(float(summary["accuracy"]), int(counts[group])),
            "balanced_accuracy": float(summary["balanced_accuracy"]),
        }
        rows.append(row | (_score_spoken(spoken, own) if spoken else {}))
    rest = counts.sum() - counts[listed].sum()
    found: dict[str, Any] = {
        "by": by,
        "groups": len(groups),
        "rows": rows,
        "others": {
            "groups": len(groups) - len(listed),
            "rows": int(rest),
            "accuracy": float((hits.sum() - hits[listed].sum()) / rest) if rest else 0.0,
        },
        "mean_of_groups": float((hits / counts).mean()),
    }
    if len(groups) > len(THIRDS):
        found["accuracy_interval_by_group"] = _draw_groups(hits, counts)
    rounded: dict[str, Any] = round_all(found)
    return rounded


def _place(name: str) -> tuple[int, str]:
    third = name.partition(",")[0]
    return (THIRDS.index(third) if third in THIRDS else 0, name)


def _score_spoken(spoken: tuple[Floats, Labels, tuple[str, ...]], own: npt.NDArray[np.bool_]) -> dict[str, Any]:
    by_word, truth, words = spoken
    by_word, truth = by_word[own & (truth >= 0)], truth[own & (truth >= 0)]
    if not len(truth):
        return {}
    right, shown = by_word.argmax(axis=1) == truth, find_shown(by_word, words)
    accuracy, kept = float(right.mean()), int(shown.sum())
    right_share = float(right[shown].mean()) if kept else 0.0
    return {
        "words_accuracy": accuracy,
        "words_interval": wilson_interval(accuracy, len(truth)),
        "shown": float(shown.mean()),
        "right_of_shown": right_share,
        "right_of_shown_interval": wilson_interval(right_share, kept) if kept else (0.0, 1.0),
    }


def _draw_groups(hits: npt.NDArray[Any], counts: Labels) -> tuple[float, float]:
    rng = np.random.default_rng(0)
    found: list[float] = []
    for begin in range(0, DRAWS, _AT_ONCE):
        drawn = rng.integers(len(hits), size=(min(_AT_ONCE, DRAWS - begin), len(hits)))
        found += (hits[drawn].sum(axis=1) / counts[drawn].sum(axis=1)).tolist()
    low, high = np.percentile(found, (2.5, 97.5))
    return float(low), float(high)


def tabulate_groups(found: dict[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Return the heads and rows of a table of the groups, at most SHOWN of them and the others together."""
    spoken = any("words_accuracy" in row for row in found["rows"])
    head = [found["by"], "rows", "accuracy (95 %)", "balanced"]
    head += ["words (95 %)", "shown", "right of shown (95 %)"] if spoken else []
    table = []
    for row in found["rows"][:SHOWN]:
        cells = [row["group"], str(row["rows"]), with_interval(row["accuracy"], row["accuracy_interval"])]
        cells.append(f"{row['balanced_accuracy']:.3f}")
        if "words_accuracy" in row:
            cells += [with_interval(row["words_accuracy"], row["words_interval"]), f"{row['shown']:.3f}"]
            cells.append(with_interval(row["right_of_shown"], row["right_of_shown_interval"]))
        table.append(cells + [""] * (len(head) - len(cells)))
    hidden, others = found["rows"][SHOWN:], found["others"]
    count = sum(row["rows"] for row in hidden) + others["rows"]
    if count:
        right = sum(row["rows"] * row["accuracy"] for row in hidden) + others["rows"] * others["accuracy"]
        cells = [f"{len(hidden) + others['groups']} others", str(count), f"{right / count:.3f}"]
        table.append(cells + [""] * (len(head) - len(cells)))
    return head, table


def describe_groups(found: dict[str, Any]) -> list[str]:
    """Lay the groups out for a person, a line each."""
    head, table = tabulate_groups(found)
    wide = [max(len(row[column]) for row in [head, *table]) + 2 for column in range(len(head))]
    lines = []
    for row in [head, *table]:
        cells = (f"{cell:>{width}}" for cell, width in zip(row[1:], wide[1:], strict=True))
        lines.append(f"{row[0]:{wide[0]}}{''.join(cells)}")
    if "accuracy_interval_by_group" in found:
        low, high = found["accuracy_interval_by_group"]
        lines.append(
            f"{found['groups']} groups by {found['by']}, mean of their accuracies {found['mean_of_groups']:.4f}; "
            f"accuracy with whole groups drawn again {low:.4f} to {high:.4f}"
        )
    return lines
