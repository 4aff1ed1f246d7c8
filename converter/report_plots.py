"""Plots of what int8 changed: by layer, by class, in confidence, by runtime."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from lab.calibration import Floats, Labels, reliability
from lab.reporting.plots import BLUE, GRAY, LIGHT, ORANGE, as_png, draw, shorten
from lab.scores import wilson_interval

_NAMED_LAYERS = 60  # beyond these, only every second, third, ... has room for its name
_EXACT = 100  # dB: noise of rounding in float32; nothing is lost there
_HATCH = "////"  # beside the colour, for those who don't see it
_USUAL: dict[str, Any] = {"marker": "o", "color": BLUE, "linestyle": "none"}
_ODD: dict[str, Any] = {"marker": "D", "color": ORANGE, "linestyle": "none"}
_NAMES_ABOVE: dict[str, Any] = {"loc": "outside upper right", "frameon": False}


def plot_layers(report: Mapping[str, Any]) -> bytes:
    """Draw each layer's signal-to-noise ratio in dB and its share of clipped values, in running order; returns a PNG.

    The report holds one layer at least; the one that adds the most noise stands out.
    """
    layers = report["layers"]
    places, worst = np.arange(len(layers)), find_worst(report)
    top = max((row["snr_db"] for row in layers if row["snr_db"] < _EXACT), default=_EXACT)
    ratios = [min(row["snr_db"], top) for row in layers]
    step = math.ceil(len(layers) / _NAMED_LAYERS)
    figure, (left, right) = draw(
        1.1 + 0.2 * min(len(layers), _NAMED_LAYERS), 1, ncols=2, sharey=True, width_ratios=(2, 1)
    )
    float_ones = [place for place in places if layers[place]["kept_float"]]
    for several, look, name in (
        ([place for place in places if place != worst and place not in float_ones], {"color": BLUE}, "int8"),
        (float_ones, {"color": "white", "edgecolor": GRAY}, "kept in float"),
        ([] if worst is None else [worst], {"color": ORANGE, "edgecolor": "white", "hatch": _HATCH}, "adds most noise"),
    ):
        if several:
            left.barh(several, [ratios[place] for place in several], 0.72, label=name, **look)
    for place, row in enumerate(layers):
        if step == 1 or place == worst:
            words = f"{row['snr_db']:.1f}" if row["snr_db"] < _EXACT else "exact"
            words = words if step == 1 else f"{shorten(row['layer'])}: {words}"
            left.annotate(
                words, (max(ratios[place], 0), place), (3, 0), textcoords="offset points", va="center", size=7.5
            )
    shares = [100 * row["clipped"] for row in layers]
    right.barh(places, shares, 0.72, color=GRAY)
    right.set(xlabel="clipped (%)", xlim=(0, 1.15 * max(shares) or 1))
    left.set(xlabel="signal to noise (dB)", xlim=(min(0, *ratios), 1.18 * max(1, *ratios)))
    left.set_yticks(places[::step], [shorten(row["layer"]) for row in layers[::step]], size=8)
    left.set_ylim(len(layers) - 0.4, -0.6)
    for axes, ticks in ((left, 5), (right, 2)):
        axes.tick_params(axis="y", length=0)
        axes.locator_params(axis="x", nbins=ticks)
    figure.legend(ncols=3, **_NAMES_ABOVE)
    return as_png(figure)


def plot_classes(report: Mapping[str, Any]) -> bytes:
    """Draw each class's accuracy difference, int8 less float, with its interval, and its agreement; returns a PNG."""
    classes = find_judged(report)["classes"]
    figure, (left, right) = draw(1.3 + 0.34 * len(classes), 1, ncols=2, sharey=True, width_ratios=(1.5, 1))
    left.axvline(0, color=GRAY, linewidth=0.8, linestyle=":")
    for place, (name, row) in enumerate(classes.items()):
        look = _ODD if name == report["worst_class"] else _USUAL
        left.plot(100 * np.array(row["difference_interval"]), (place, place), color=look["color"], linewidth=2)
        left.plot(100 * row["difference"], place, label="least agreement" if look is _ODD else None, **look)
        right.plot(100 * row["agreement"], place, **look)
    left.set_yticks(range(len(classes)), [f"{shorten(name)} ({row['rows']})" for name, row in classes.items()], size=9)
    left.set_ylim(len(classes) - 0.5, -0.5)
    left.set(xlabel="accuracy, int8 less float (points)")
    right.set(xlabel="agreement (%)")
    low = min(100 * row["agreement"] for row in classes.values())
    reach = max(1.0, 100 - low)
    right.set_xlim(low - 0.1 * reach, 100 + 0.1 * reach)
    for axes in (left, right):
        axes.tick_params(axis="y", length=0)
        axes.grid(axis="y", color=GRAY, alpha=0.2)
        axes.locator_params(axis="x", nbins=5)
    if left.get_legend_handles_labels()[0]:
        figure.legend(**_NAMES_ABOVE)
    return as_png(figure)


def plot_confidence(real: Floats, quantised: Floats) -> bytes:
    """Draw the probability of the class decided for, int8 against float (n, classes), and its change; returns a PNG."""
    before, after = real.max(axis=1), quantised.max(axis=1)
    flips = real.argmax(axis=1) != quantised.argmax(axis=1)
    figure, (upper, lower) = draw(6.4, 2, height_ratios=(2.6, 1))
    upper.plot((0, 1), (0, 1), "--", color=GRAY, linewidth=0.8)
    upper.plot(before[~flips], after[~flips], ".", color=BLUE, markersize=4, alpha=0.4, label="same decision")
    if flips.any():
        upper.plot(before[flips], after[flips], "x", color=ORANGE, markersize=6, label="another decision")
    begin = max(0.0, float(min(before.min(), after.min())) - 0.03)
    upper.set(xlabel="confidence, float", ylabel="confidence, int8", xlim=(begin, 1.01), ylim=(begin, 1.01))
    reach = max(0.01, float(np.abs(after - before).max()))
    edges = np.linspace(-reach, reach, 42)
    lower.hist(after - before, edges, color=LIGHT, edgecolor="white", linewidth=0.4)
    if flips.any():
        lower.hist((after - before)[flips], edges, color="none", edgecolor=ORANGE, hatch=_HATCH)
    lower.set(xlabel="confidence, int8 less float", ylabel="pictures (log)", yscale="log")
    lower.set_ylim(bottom=0.7)
    lower.locator_params(axis="x", nbins=7)
    figure.legend(ncols=2, **_NAMES_ABOVE)
    return as_png(figure)


def plot_reliability(real: Floats, quantised: Floats, labels: Labels) -> bytes:
    """Draw both reliability diagrams, of float and int8 (n, classes), in one; returns a PNG."""
    figure, (upper, lower) = draw(5.4, 2, sharex=True, height_ratios=(3.2, 1))
    upper.plot((0, 1), (0, 1), "--", color=GRAY, linewidth=0.8, label="as right as it is sure")
    for name, probabilities, line, look in (
        ("float", real, "o-", {"color": LIGHT, "edgecolor": "white"}),
        ("int8", quantised, "s:", {"color": "none", "edgecolor": ORANGE, "linestyle": "--"}),
    ):
        bins = reliability(probabilities, labels)
        colour = BLUE if name == "float" else ORANGE
        means, right = [bar.confidence for bar in bins], [bar.accuracy for bar in bins]
        upper.plot(means, right, line, color=colour, markerfacecolor="none", markersize=7, label=name)
        middles, width = [(bar.low + bar.high) / 2 for bar in bins], bins[0].high - bins[0].low
        lower.bar(middles, [bar.rows for bar in bins], width, **look)
    upper.set(ylabel="accuracy", ylim=(-0.02, 1.02), xlim=(0, 1.01))
    upper.legend(loc="upper left", frameon=False)
    lower.set(xlabel="confidence of the predicted class", ylabel="pictures")
    return as_png(figure)


def plot_runtimes(report: Mapping[str, Any]) -> bytes:
    """Draw each runtime's loss of accuracy and its agreement with 95 % intervals and the gate; returns a PNG.

    The agreement's are Wilson's (JASA 22, 1927).
    """
    runtimes, gate = report["runtimes"], report["gate"]
    figure, (left, right) = draw(1.4 + 0.55 * len(runtimes), 1, ncols=2, sharey=True)
    left.axvline(0, color=GRAY, linewidth=0.8, linestyle=":")
    left.axvline(100 * gate["most_loss"], color=GRAY, linestyle="--", label="limit of the gate")
    right.axvline(100 * gate["least_agreement"], color=GRAY, linestyle="--")
    for place, row in enumerate(runtimes):
        look = _ODD if row["runtime"] == report["judged"] else _USUAL
        for axes, value, interval in (
            (left, row["loss"], row["loss_interval"]),
            (right, row["agreement"], wilson_interval(row["agreement"], row["rows"])),
        ):
            axes.plot(100 * np.array(interval), (place, place), color=look["color"], linewidth=2)
            axes.plot(100 * value, place, label="judged by" if axes is left and look is _ODD else None, **look)
    left.set_yticks(
        range(len(runtimes)), ["\n".join(map(shorten, row["runtime"].split(", "))) for row in runtimes], size=7.5
    )
    left.set_ylim(len(runtimes) - 0.5, -0.5)
    left.set(xlabel="loss of accuracy (points)")
    right.set(xlabel="agreement (%)")
    for axes in (left, right):
        axes.tick_params(axis="y", length=0)
        axes.locator_params(axis="x", nbins=5)
    figure.legend(ncols=2, **_NAMES_ABOVE)
    return as_png(figure)


def find_judged(report: Mapping[str, Any]) -> dict[str, Any]:
    """Return the entry of the runtime that the file was judged by."""
    rows: dict[str, dict[str, Any]] = {row["runtime"]: row for row in report["runtimes"]}
    return rows[report["judged"]]


def find_worst(report: Mapping[str, Any]) -> int | None:
    """Find the worst layer's place in running order; a layer of several operators stands there several times."""
    layers = report["layers"]
    places = [place for place, row in enumerate(layers) if row["layer"] == report["worst_layer"]]
    return max(places, key=lambda place: float(layers[place]["added_noise"]), default=None)
