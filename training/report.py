"""What an evaluation found, as pictures and one page to read them on; `cuelens-evaluate --out` ends here."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edge.files import replace_file
from lab.calibration import Floats, Labels
from lab.datasets.labelled import Labelled
from lab.reporting.pages import bullets, encode, gallery, link, page, picture, plots, tabulate
from lab.reporting.plots import BLUE, GALLERY, GRAY, ORANGE, WIDTH_INCHES, as_png, draw, plot_reliability, shorten
from training.report_parts import lay_out_more, show_mistakes

if TYPE_CHECKING:
    from markupsafe import Markup

_NAMED_CELLS = 20  # classes up to which a confusion matrix has room for its counts


def write_report(
    out: Path, result: dict[str, Any], data: Labelled, probabilities: Floats, curve: Floats, about: str
) -> None:
    """Write report.json, index.html and its PNG files into the folder `out`, made by `open_folder`.

    `result` is an evaluation's, of `data` (n,) with `probabilities` (n, classes); `curve` (n,) is the accuracy
    among the surest, `about` says in words what was evaluated on. Raises SinkUnwritable or DiskFull.
    """
    classes = tuple(result["classes"])
    figures = []
    for name, png, question, answer in (
        (
            "reliability",
            plot_reliability(probabilities, data.labels),
            "Is it right as often as it is sure?",
            _gaps(result),
        ),
        ("coverage", plot_coverage(curve, result), "Right more often where surer?", _shown(result)),
        ("confusion", plot_confusion(result["confusion"], classes), "What is taken for what?", _mixed(result)),
        ("classes", plot_classes(result["classes"]), "Which classes does it know?", _known(result)),
        ("distribution", plot_distribution(result["classes"]), "What is in the split?", _held(result)),
    ):
        replace_file(out / f"{name}.png", png)
        figures.append(picture(f"{name}.png", f"{name}: {answer}", question, answer))
    worst, unsure = choose_pictures(probabilities, data.labels)
    sections = [
        ("", tabulate(("measure", "value"), _measures(result))),
        *lay_out_more(result),
        ("Figures", plots(figures)),
        ("The most confident mistakes", _gallery(out, "worst", worst, data, probabilities, classes)),
        ("The least sure, right or wrong", _gallery(out, "unsure", unsure, data, probabilities, classes)),
        ("By class", tabulate(("class", "precision", "recall", "F1", "rows"), _by_class(result["classes"]))),
    ]
    replace_file(out / "report.json", json.dumps(result, indent=1).encode() + b"\n")
    title = f"{result['model']} on {about}"
    sections.insert(-1, ("", link("mistakes.html", "All kinds of mistakes, the most confident of each")))
    replace_file(out / "mistakes.html", show_mistakes(title, probabilities, data, classes).encode())
    replace_file(out / "index.html", page(title, sections).encode())


def write_comparison(
    out: Path, comparison: dict[str, Any], measures: Mapping[str, str], verdicts: Sequence[str], about: str
) -> None:
    """Write report.json, index.html and intervals.png of compared models into the folder `out`.

    `measures` are the compared ones with their names, `verdicts` say how each model but the first stands against it.
    Raises SinkUnwritable or DiskFull.
    """
    rows = comparison["models"]
    replace_file(out / "intervals.png", plot_intervals(rows, measures))
    cells = [
        (
            row["model"],
            f"{row['bytes'] / 1e6:.3f}",
            *(
                f"{row[name]:.4f} ({low:.4f}\N{NO-BREAK SPACE}to\N{NO-BREAK SPACE}{high:.4f})"
                for name, (low, high) in row["bootstrap"].items()
            ),
        )
        for row in rows
    ]
    alt = "; ".join(
        f"{row['model']}: " + ", ".join(f"{text} {row[name]:.4f}" for name, text in measures.items()) for row in rows
    )
    caption = "Dots are the models, lines where 95 % of the resamplings of the rows lie."
    paired = "The first panel alone is paired: a line there that does not touch 0 is a difference."
    sections = [
        ("", tabulate(("model", "MB", *measures.values()), cells)),
        ("Against the first", bullets(verdicts)),
        *((f"{row['model']}: {heading}", content) for row in rows for heading, content in lay_out_more(row)),
        ("Intervals", plots([picture("intervals.png", alt, caption, paired)])),
    ]
    replace_file(out / "report.json", json.dumps(comparison, indent=1).encode() + b"\n")
    replace_file(out / "index.html", page(f"{len(rows)} models on {about}", sections).encode())


def choose_pictures(probabilities: Floats, labels: Labels) -> tuple[Labels, Labels]:
    """Return the rows of the most confident mistakes and of the least sure answers, GALLERY of each at most."""
    confidence = probabilities.max(axis=1)
    order = np.argsort(-confidence, kind="stable")
    wrong = order[probabilities.argmax(axis=1)[order] != labels[order]]
    return wrong[:GALLERY], order[::-1][:GALLERY]


def _gallery(
    out: Path, name: str, rows: Labels, data: Labelled, probabilities: Floats, classes: Sequence[str]
) -> Markup:
    figures = []
    for number, row in enumerate(rows, 1):
        file = f"{name}-{number:02}.png"
        replace_file(out / file, encode(data.images[row]))
        predicted = int(probabilities[row].argmax())
        words = (
            f"read as {classes[predicted]} {probabilities[row, predicted]:.2f}, labelled {classes[data.labels[row]]}"
        )
        source = data.names[row] if data.names else f"row {row + 1} of the split"
        figures.append(picture(file, f"Picture {words}", words, source))
    return gallery(figures)


def _by_class(classes: Mapping[str, Mapping[str, float]]) -> list[tuple[str, ...]]:
    return [
        (name, *(f"{row[measure]:.3f}" for measure in ("precision", "recall", "f1")), str(row["support"]))
        for name, row in classes.items()
    ]


def _measures(result: dict[str, Any]) -> list[tuple[str, str]]:
    low, high = result["accuracy_interval"]
    coverage = result["coverage"]
    return [
        ("accuracy (95 % interval)", f"{result['accuracy']:.4f} ({low:.4f} to {high:.4f})"),
        ("balanced accuracy", f"{result['balanced_accuracy']:.4f}"),
        ("macro F1", f"{result['macro_f1']:.4f}"),
        ("expected calibration error", f"{result['ece']:.4f}"),
        ("negative log likelihood", f"{result['nll']:.4f}"),
        ("Brier score", f"{result['brier']:.4f}"),
        ("area under the risk-coverage curve", f"{coverage['aurc']:.4f}"),
        *(
            (f"accuracy of the surest {float(share):.0%}", f"{value:.4f}")
            for share, value in coverage["accuracy_at"].items()
        ),
        *(
            (f"share that can be shown at an accuracy of {float(goal):.0%}", f"{value:.1%}")
            for goal, value in coverage["coverage_for"].items()
        ),
        ("file", f"{result['bytes'] / 1e6:.3f} MB, sha256 {result['sha256'][:12]}…"),
        ("runtime", result["runtime"]),
    ]


def _gaps(result: dict[str, Any]) -> str:
    return f"On average {result['ece']:.1%} between its confidence and what is right (ECE)."


def _shown(result: dict[str, Any]) -> str:
    shares, goals = result["coverage"]["accuracy_at"], result["coverage"]["coverage_for"]
    shown = " and ".join(f"{share:.1%} at {float(goal):.0%} right" for goal, share in goals.items())
    return f"Of all {shares['1']:.1%} are right, of the surer half {shares['0.5']:.1%}; it can show {shown}."


def _mixed(result: dict[str, Any]) -> str:
    confusion, names = np.array(result["confusion"]), tuple(result["classes"])
    np.fill_diagonal(confusion, 0)
    true, predicted = np.unravel_index(confusion.argmax(), confusion.shape)
    if not confusion.any():
        return "Nothing is."
    return f"Most often {names[true]} is called {names[predicted]}: {confusion[true, predicted]} times."


def _known(result: dict[str, Any]) -> str:
    recall = {name: row["recall"] for name, row in result["classes"].items() if row["support"]}
    best, least = max(recall, key=recall.__getitem__), min(recall, key=recall.__getitem__)
    return f"Best {best}, {recall[best]:.0%} of which are found; least {least}, {recall[least]:.0%}."


def _held(result: dict[str, Any]) -> str:
    support = {name: row["support"] for name, row in result["classes"].items()}
    most, fewest = max(support, key=support.__getitem__), min(support, key=support.__getitem__)
    if support[most] == support[fewest]:
        return f"{result['rows']} pictures, {support[most]} of each class."
    return f"{result['rows']} pictures; most {most}, {support[most]}; fewest {fewest}, {support[fewest]}."


def plot_coverage(curve: Floats, result: dict[str, Any]) -> bytes:
    """Draw the accuracy among the surest (n,) against how many those are, as shares; returns a PNG."""
    count = len(curve)
    coverage = np.arange(1, count + 1) / count
    begin = min(count - 1, count // 100)  # the first few are one picture's luck
    figure, axes = draw(3.8)
    axes.plot(coverage[begin:], curve[begin:], color=BLUE)
    for share, accuracy in result["coverage"]["accuracy_at"].items():
        axes.plot(float(share), accuracy, "o", color=BLUE)
        axes.annotate(f"{accuracy:.3f}", (float(share), accuracy), (2, 4), textcoords="offset points", rotation=30)
    for goal, reached in result["coverage"]["coverage_for"].items():
        axes.axhline(float(goal), color=GRAY, linewidth=0.8, linestyle=":")
        if 0 < reached < 1:
            axes.plot(reached, float(goal), "o", color=ORANGE)
            place = {"xytext": (-6, -12), "textcoords": "offset points", "ha": "right"}
            axes.annotate(f"{reached:.1%}", (reached, float(goal)), color=ORANGE, **place)
    low = min(float(curve[begin:].min()), 0.75)
    axes.set(xlabel="share of the pictures, the surest first", ylabel="accuracy among them", xlim=(0, 1.14))
    axes.set_xticks(np.linspace(0, 1, 6))
    axes.set_ylim(max(0.0, low - 0.06), 1.06)
    return as_png(figure)


def plot_confusion(confusion: Sequence[Sequence[int]], classes: Sequence[str]) -> bytes:
    """Draw the confusion matrix: colours are shares of the true class, numbers are pictures; returns a PNG."""
    counts = np.array(confusion)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    figure, axes = draw(WIDTH_INCHES - 0.8)
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    axes.spines[:].set_visible(False)
    if len(classes) <= _NAMED_CELLS:
        size = min(9.0, 70 / len(classes))
        for true in range(len(classes)):
            for predicted in range(len(classes)):
                colour = "white" if shares[true, predicted] > 0.55 else "black"
                axes.text(
                    predicted, true, str(counts[true, predicted]), ha="center", va="center", color=colour, size=size
                )
    size, names = min(9.0, 200 / len(classes)), [shorten(each) for each in classes]
    turned = (
        {"rotation": 40, "ha": "right", "rotation_mode": "anchor"} if len(classes) <= _NAMED_CELLS else {"rotation": 90}
    )
    axes.set_xticks(range(len(classes)), names, size=size, **turned)
    axes.set_yticks(range(len(classes)), names, size=size)
    axes.set(xlabel="predicted", ylabel="labelled")
    figure.colorbar(image, ax=axes, label="share of the labelled class", shrink=0.7)
    return as_png(figure)


def _bars(classes: Sequence[str], groups: int) -> tuple[Any, Any]:
    figure, axes = draw(1.0 + len(classes) * (0.18 + 0.24 * groups))
    axes.set_yticks(range(len(classes)), [shorten(each) for each in classes])
    axes.set_ylim(len(classes) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)
    return figure, axes


def plot_classes(classes: Mapping[str, Mapping[str, float]]) -> bytes:
    """Draw each class's precision and recall; returns a PNG."""
    figure, axes = _bars(tuple(classes), 2)
    for shift, measure, colour in ((-0.2, "precision", BLUE), (0.2, "recall", ORANGE)):
        values = [row[measure] for row in classes.values()]
        bars = axes.barh(np.arange(len(classes)) + shift, values, 0.38, color=colour, label=measure)
        axes.bar_label(bars, [f"{value:.2f}" for value in values], padding=3, size=9)
    axes.set(xlim=(0, 1.1))
    figure.legend(loc="outside upper right", ncols=2, frameon=False)
    return as_png(figure)


def plot_distribution(classes: Mapping[str, Mapping[str, float]]) -> bytes:
    """Draw how many pictures of each class there are; returns a PNG."""
    support = [row["support"] for row in classes.values()]
    figure, axes = _bars(tuple(classes), 1)
    bars = axes.barh(range(len(classes)), support, 0.7, color=BLUE)
    axes.bar_label(bars, [f"{count} ({count / sum(support):.0%})" for count in support], padding=3, size=9)
    axes.set(xlabel="pictures", xlim=(0, max(support) * 1.25))
    return as_png(figure)


def plot_intervals(rows: Sequence[dict[str, Any]], measures: Mapping[str, str]) -> bytes:
    """Draw compared models and their intervals: paired differences first, then a panel a measure; returns a PNG."""
    panels = [("accuracy less the first's on the same rows", 0.0, [_difference(row) for row in rows])]
    panels += [
        (title, rows[0][name], [(row[name], row["bootstrap"][name]) for row in rows])
        for name, title in measures.items()
    ]
    figure, several = draw(len(panels) * (0.7 + 0.26 * len(rows)), len(panels))
    for axes, (title, first, found) in zip(several, panels, strict=True):
        axes.axvline(first, color=GRAY, linewidth=0.8, linestyle=":")
        for place, (value, interval) in enumerate(found):
            colour = ORANGE if place else BLUE
            axes.plot(interval, (place, place), color=colour, linewidth=2)
            axes.plot(value, place, "o", color=colour)
        axes.set_title(title, size=10, loc="left")
        axes.set_yticks(range(len(rows)), [shorten(row["model"]) for row in rows], size=9)
        axes.set_ylim(len(rows) - 0.5, -0.5)
        axes.locator_params(axis="x", nbins=5)
    return as_png(figure)


def _difference(row: dict[str, Any]) -> tuple[float, Sequence[float]]:
    found = row.get("against_first", {"accuracy": 0.0, "interval": (0.0, 0.0)})
    return found["accuracy"], found["interval"]
