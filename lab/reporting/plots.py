"""Plots of one look, for all reports: figures, colours that everybody can distinguish, PNG."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edge.errors import RuntimeMissing, printable_lines
from edge.files import make_folder
from lab.calibration import Floats, Labels, reliability

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Everybody can distinguish these (Okabe and Ito, 2008).
BLUE, LIGHT, ORANGE, GRAY = "#0072b2", "#9dc9e6", "#d55e00", "#7f7f7f"
SERIES = ("#4477aa", "#ddaa33", "#aa3377")  # of up to three lines or bars, apart in gray too
GALLERY = 24  # pictures
WIDTH_INCHES = 5.2  # at this width the text is still read on a phone


def load_matplotlib() -> Any:
    """Import matplotlib; raises RuntimeMissing where it is not installed, as on a device."""
    try:
        import matplotlib as mpl
        import matplotlib.figure
    except ImportError as error:
        raise RuntimeMissing("matplotlib is not installed here; run ./deploy.sh host and use .venv-host/bin") from error
    return mpl


def make_figure(width: float, height: float, dpi: int = 100) -> Figure:
    """Make an empty figure, `width` and `height` in inches; raises RuntimeMissing without matplotlib."""
    figure: Figure = load_matplotlib().figure.Figure((width, height), dpi=dpi, layout="constrained")
    return figure


def open_folder(out: Path) -> None:
    """Make the folder for a report; raises SinkUnwritable, DiskFull, or RuntimeMissing without matplotlib."""
    load_matplotlib()
    make_folder(out)


def draw(height: float, rows: int = 1, **grid: Any) -> tuple[Any, Any]:
    """Make a figure of the reports' width, `height` in inches, with its axes; `grid` goes to matplotlib's subplots."""
    figure = make_figure(WIDTH_INCHES, height, dpi=160)
    axes = figure.subplots(rows, **grid)
    for each in np.atleast_1d(axes):
        each.spines[["top", "right"]].set_visible(False)
    return figure, axes


def as_png(figure: Any, **options: Any) -> bytes:
    """Return a figure as PNG; `options` go to matplotlib's savefig."""
    content = io.BytesIO()
    figure.savefig(content, format="png", **options)
    return content.getvalue()


def plot_reliability(probabilities: Floats, labels: Labels) -> bytes:
    """Draw the reliability diagram, how many rows are in each bin below it; returns a PNG."""
    bins = reliability(probabilities, labels)
    middles = [(bar.low + bar.high) / 2 for bar in bins]
    width = bins[0].high - bins[0].low
    figure, (upper, lower) = draw(5.4, 2, sharex=True, height_ratios=(3.2, 1))
    upper.bar(middles, [bar.accuracy for bar in bins], width, color=LIGHT, edgecolor="white", label="accuracy")
    upper.bar(
        middles,
        [bar.confidence - bar.accuracy for bar in bins],
        width * 0.6,
        [bar.accuracy for bar in bins],
        color="none",
        edgecolor=ORANGE,
        hatch="////",
        label="gap to its confidence",
    )
    upper.plot((0, 1), (0, 1), "--", color=GRAY, label="as right as it is sure")
    upper.set(ylabel="accuracy", ylim=(0, 1.02), xlim=(0, 1))
    upper.legend(loc="upper left", frameon=False)
    lower.bar(middles, [bar.rows for bar in bins], width, color=GRAY, edgecolor="white")
    lower.set(xlabel="confidence of the predicted class", ylabel="pictures")
    return as_png(figure)


def shorten(name: str) -> str:
    """Return a name as the label of an axis: its end where it is long, as it can be drawn."""
    return as_drawn(name if len(name) <= 24 else f"…{name[-23:]}")


def as_drawn(text: str) -> str:
    """Return lines of text as matplotlib draws them: what is no character of UTF-8 spelt out, and $ no formula."""
    return printable_lines(text).replace("$", r"\$")
