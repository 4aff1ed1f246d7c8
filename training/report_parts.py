"""Parts of an evaluation's page that only some evaluations have: words, groups, other labels, every kind of mistake."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from lab.calibration import Floats, Labels
from lab.datasets.labelled import Labelled
from lab.reporting.pages import bullets, encode, gallery, join, page, paragraph, picture, tabulate
from training.groups import tabulate_groups
from training.vocabulary import RECALL, describe_bounds, describe_share

if TYPE_CHECKING:
    from markupsafe import Markup

PAIRS = 16  # kinds of mistakes, the commonest first
EACH = 12  # pictures of one


def lay_out_more(result: dict[str, Any]) -> list[tuple[str, Markup]]:
    """Return headings and HTML of what a result has of left-out classes, words, other labels and groups."""
    sections = []
    left = result["left_out"]
    if left["of_model"] or left["of_data"]:
        only = [("the data's", left["of_data"]), ("the model's", left["of_model"])]
        lines = [f"{whose} {', '.join(names)}" for whose, names in only if names]
        share = f"{left['answered']:.1%} of the rows had such a first answer, {left['rows']} more such a label"
        sections.append(("Left out, as not in both", join(bullets(lines), paragraph(share))))
    if "words" in result:
        sections.append(("The wearer's words", _words(result["words"])))
    if "own_labels" in result:
        rows = [("FER2013's own label", _share_of(result["own_labels"]), str(result["own_labels"]["rows"]))]
        if "ferplus" in result:
            rows.append(
                ("eight classes, as FER+ publishes", _share_of(result["ferplus"]), str(result["ferplus"]["rows"]))
            )
        sections.append(("By other labels", tabulate(("labels", "accuracy (95 % interval)", "rows"), rows)))
    sections += [
        (f"By {found['by']}", join(tabulate(*tabulate_groups(found)), _by_group(found)))
        for found in result.get("groups", ())
    ]
    return sections


def _share_of(figures: dict[str, Any]) -> str:
    low, high = figures["accuracy_interval"]
    return f"{figures['accuracy']:.4f} ({low:.4f} to {high:.4f})"


def _words(figures: dict[str, Any]) -> Markup:
    steady = figures["steady"]
    scores = f"balanced {figures['balanced_accuracy']:.4f}, ECE {figures['ece']:.4f}"
    shown = f"{describe_share(steady['shown'])} are shown; right: {describe_share(steady['right_of_shown'])}."
    lines = (
        f"Accuracy {_share_of(figures)} of {figures['rows']} pictures, {scores}.",
        f"Of steady readings ({describe_bounds(steady)}) {shown}",
    )
    head = (
        "word",
        "precision (95 %)",
        "recall (95 %)",
        "right when shown (95 %)",
        f"precision at recall {RECALL:g}",
        "rows",
    )
    rows = [
        (
            word,
            *(describe_share(row[name]) for name in ("precision", "recall", "right_of_shown")),
            f"{row['precision_at_recall']['precision']:.3f}",
            str(row["recall"]["rows"]),
        )
        for word, row in figures["words"].items()
    ]
    return join(*map(paragraph, lines), tabulate(head, rows))


def _by_group(found: dict[str, Any]) -> Markup:
    if "accuracy_interval_by_group" not in found:
        return join()
    low, high = found["accuracy_interval_by_group"]
    words = (
        f"{found['groups']} groups, mean of their accuracies {found['mean_of_groups']:.4f}; accuracy with whole groups "
        f"drawn again {low:.4f} to {high:.4f} (95 %)."
    )
    return paragraph(words)


def find_mistakes(probabilities: Floats, labels: Labels) -> list[tuple[int, int, Labels]]:
    """Return each kind of mistake, the commonest first: true class, decision, rows, the most confident first."""
    predicted, confidence = probabilities.argmax(axis=1), probabilities.max(axis=1)
    wrong = np.flatnonzero(predicted != labels)
    kinds = np.unique(np.stack([labels[wrong], predicted[wrong]], axis=1), axis=0)
    found = []
    for true, called in kinds.tolist():
        rows = wrong[(labels[wrong] == true) & (predicted[wrong] == called)]
        found.append((true, called, rows[np.argsort(-confidence[rows], kind="stable")]))
    return sorted(found, key=lambda kind: -len(kind[2]))


def show_mistakes(title: str, probabilities: Floats, data: Labelled, classes: Sequence[str]) -> str:
    """Return a page with the most confident pictures of every kind of mistake in it, to be looked at, not passed on."""
    kinds = find_mistakes(probabilities, data.labels)
    note = (
        "Pictures of others' faces: to find out what goes wrong, on this computer. Do not publish them."
        if kinds
        else "No mistake."
    )
    sections = [("", paragraph(note))]
    for true, called, rows in kinds[:PAIRS]:
        figures = []
        for row in rows[:EACH]:
            url = f"data:image/png;base64,{base64.b64encode(encode(data.images[row])).decode()}"
            words = f"{probabilities[row, called]:.2f}, {classes[true]} {probabilities[row, true]:.2f}"
            source = data.names[row] if data.names else f"row {row + 1} of the split"
            figures.append(picture(url, f"Picture labelled {classes[true]}, read as {classes[called]}", words, source))
        heading = f"{classes[true]} called {classes[called]}: {len(rows)}"
        sections.append((heading, gallery(figures)))
    return page(f"Mistakes: {title}", sections)
