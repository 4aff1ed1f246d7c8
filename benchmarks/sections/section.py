"""What a section of the results page is made of, and the words, colours and bars that several have."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from lab.reporting.plots import BLUE, GRAY, LIGHT, ORANGE

Report = Mapping[str, Any]
Table = Sequence[Mapping[str, str]]

GREEN, BLACK = "#009e73", "#000000"  # of the palette of lab.reporting.plots
NONE = "\N{EN DASH}"  # in a table: not measured
# The hatch differs, too.
STAGES = {
    "capture": (LIGHT, ""),
    "find": (BLUE, ""),
    "read": (ORANGE, "////"),
    "cue": (BLACK, ""),
    "sink": (GRAY, "\\\\\\\\"),
}


@dataclass(frozen=True, slots=True)
class Plot:
    """A picture of a report: what it asks, what it answers in words, and a matplotlib figure.

    `first` ones stand in docs/benchmarks.md; `there` says whether a report has what is drawn.
    """

    question: str
    answer: Callable[[Report], str]
    figure: Callable[[Report], Any]
    first: bool = False
    there: Callable[[Report], bool] = lambda report: True


@dataclass(frozen=True, slots=True)
class Section:
    """How reports of one task are shown; `rows` are the boards' table's, `first` names the table of the docs."""

    title: str
    rows: Mapping[str, Callable[[Report], str | None]] = field(default_factory=dict)
    tables: Mapping[str, Callable[[Report], Table]] = field(default_factory=dict)
    plots: Mapping[str, Plot] = field(default_factory=dict)
    first: str | None = None


def spread(name: str, shape: str = ".2f") -> Callable[[Report], str | None]:
    """Return a function that gives a figure's median, and the least and the most of its rounds."""

    def describe(report: Report) -> str | None:
        figure = report["figures"].get(name)
        if figure is None:
            return None
        median, *ends = (
            format(value, shape) for value in (figure["median"], min(figure["rounds"]), max(figure["rounds"]))
        )
        return median if ends[0] == ends[1] else f"{median} ({ends[0]} to {ends[1]})"

    return describe


def power(report: Report) -> str:
    """Return what the board drew."""
    measured = report["provenance"]["power"]
    return f"{measured['mean_w']:.2f}, at most {measured['most_w']:.2f}" if measured else "the board does not report it"


def share(value: float) -> str:
    """Return a share."""
    return f"{100 * value:.1f} %"


def stack(axes: Any, rows: Sequence[Mapping[str, float]], names: Sequence[str]) -> None:
    """Draw rows of parts of STAGES as bars end to end, each labelled once, their sums at their ends."""
    places = range(len(rows))
    left = [0.0] * len(rows)
    for name in rows[0]:
        colour, hatch = STAGES[name]
        values = [row[name] for row in rows]
        axes.barh(places, values, 0.7, left, color=colour, hatch=hatch, edgecolor="white", linewidth=0.5, label=name)
        left = [start + value for start, value in zip(left, values, strict=True)]
    for place, whole in zip(places, left, strict=True):
        axes.annotate(f"{whole:.1f}", (whole, place), (4, 0), textcoords="offset points", va="center", size=9)
    axes.set_yticks(places, names)
    axes.tick_params(axis="y", length=0)
    axes.set(ylim=(len(rows) - 0.4, -0.6), xlim=(0, 1.15 * max(left)))
