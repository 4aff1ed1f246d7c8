"""What int8 changed, as report.json and the page report.html; the end of a conversion that was measured.

Another module measures; here is only what a maker asks: is this file my network, and where does it hurt?
"""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edge.files import replace_file
from lab.calibration import Floats, Labels, reliability
from lab.reporting.pages import as_html, encode, page, show_picture, tabulate
from lab.reporting.plots import BLUE, GALLERY, GRAY, LIGHT, ORANGE, as_png, draw, open_folder, shorten
from lab.scores import wilson_interval

_NAMED_LAYERS = 60  # beyond these, only every second, third, ... has room for its name
_EXACT = 100  # dB: noise of rounding in float32; nothing is lost there
_HATCH = "////"  # beside the colour, for those who don't see it
_NONE = "\N{EN DASH}"  # in a table: not measured, or nothing to measure
_USUAL: dict[str, Any] = {"marker": "o", "color": BLUE, "linestyle": "none"}
_ODD: dict[str, Any] = {"marker": "D", "color": ORANGE, "linestyle": "none"}
_NAMES_ABOVE: dict[str, Any] = {"loc": "outside upper right", "frameon": False}


def write_report(
    out: Path,
    report: Mapping[str, Any],
    *,
    images: npt.NDArray[np.uint8],
    labels: Labels,
    real: Floats,
    quantised: Floats,
) -> None:
    """Write report.json and report.html, which holds its pictures, into the folder `out`, which is made.

    `images` (n, side, side) gray or (n, side, side, 3) RGB with `labels` (n,) are the split's; `real` and `quantised`
    (n, classes) are the probabilities by the float network and by the int8 file on the runtime report["judged"].
    Raises SinkUnwritable, DiskFull, RuntimeMissing without matplotlib, KeyError for a report that lacks something,
    ValueError for one with a number that JSON does not have.
    """
    content = json.dumps(report, indent=1, allow_nan=False).encode() + b"\n"
    judged = _find_judged(report)
    open_folder(out)
    plots = [
        ("layers", plot_layers(report), "Which layers add the noise?", _noise(report)) if report["layers"] else None,
        ("classes", plot_classes(report), "Which classes pay?", _hurt(judged["classes"])),
        ("confidence", plot_confidence(real, quantised), "Is it as sure as before?", _drift(judged)),
        ("reliability", plot_reliability(real, quantised, labels), "Right as often as sure?", _calibrated(report)),
        ("runtimes", plot_runtimes(report), "Is it the same everywhere?", _spread(report["runtimes"])),
    ]
    figures = []
    for name, png, question, answer in filter(None, plots):
        figures.append(show_picture(_embed(png), f"{name}: {answer}", question, answer))
    sections = [
        ("", f"<p><strong>{as_html(_verdict(report))}</strong></p><p>{as_html(_gate(report))}</p>"),
        ("On every runtime", tabulate(_RUNTIME_HEAD, _by_runtime(report)) + _AGAINST),
        ("Where does it hurt?", f'<div class="plots">{"".join(figures)}</div>{_in_numbers(report, judged)}'),
        ("Decisions that differ", _gallery(report, images, labels, real, quantised)),
        ("Operators", tabulate(_OPERATOR_HEAD, _by_operator(report["operators"]))),
        ("Recipe", tabulate(("setting", "value"), _recipe(report))),
        ("Not measured", _list(report["not_measured"])),
    ]
    replace_file(out / "report.json", content)
    title = f"{report['model']}: the int8 file against the float network"
    replace_file(out / "report.html", page(title, sections).encode())


def plot_layers(report: Mapping[str, Any]) -> bytes:
    """Draw each layer's signal-to-noise ratio in dB and its share of clipped values, in running order; returns a PNG.

    The report holds one layer at least; the one that adds the most noise stands out.
    """
    layers = report["layers"]
    places, worst = np.arange(len(layers)), _find_worst(report)
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
    classes = _find_judged(report)["classes"]
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
    lower.set(xlabel="confidence of the class it says", ylabel="pictures")
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


def _find_judged(report: Mapping[str, Any]) -> dict[str, Any]:
    rows: dict[str, dict[str, Any]] = {row["runtime"]: row for row in report["runtimes"]}
    return rows[report["judged"]]


def _find_worst(report: Mapping[str, Any]) -> int | None:
    """Find the worst layer's place in running order; a layer of several operators stands there several times."""
    layers = report["layers"]
    places = [place for place, row in enumerate(layers) if row["layer"] == report["worst_layer"]]
    return max(places, key=lambda place: float(layers[place]["added_noise"]), default=None)


def _points(share: float) -> str:
    return f"{round(100 * share, 2) + 0.0:.2f}"  # no -0.00


def _between(interval: Sequence[float]) -> str:
    """Word an interval of shares, in points or per cent."""
    low, high = interval
    return f"{_points(low)}\N{NO-BREAK SPACE}to\N{NO-BREAK SPACE}{_points(high)}"


def _verdict(report: Mapping[str, Any]) -> str:
    judged, size = _find_judged(report), report["bytes"]
    loss, interval = judged["loss"], judged["loss_interval"]
    change = f"loses {_points(loss)} points of accuracy (95 % interval {_between(interval)})"
    if _points(loss).startswith("-"):
        change = f"gains {_points(-loss)} points of accuracy (95 % interval {_between((-interval[1], -interval[0]))})"
    words = (
        f"{'Passed' if report['gate']['passed'] else 'Failed'}: on {judged['rows']} pictures of {report['split']} the "
        f"int8 file {change} and decides as the float network does on {judged['agreement']:.2%} "
        f"({judged['flips']} decisions differ), in {size['int8']:,} bytes instead of {size['float']:,} "
        f"({size['float'] / size['int8']:.1f} times smaller)"
    )
    worst, found = _find_worst(report), judged["classes"].get(report["worst_class"])
    if worst is not None:
        row = report["layers"][worst]
        words += f"; the layer that adds the most noise is {row['layer']} (signal to noise {row['snr_db']:.1f} dB)"
    if found:
        words += (
            f"; the class agreed on least is {report['worst_class']} ({found['agreement']:.2%}, "
            f"accuracy {_class_change(found)})"
        )
    return f"{words}."


def _class_change(row: Mapping[str, Any]) -> str:
    sign = "+" if row["difference"] > 0 else ""
    return f"{sign}{_points(row['difference'])} points, {_between(row['difference_interval'])}"


def _gate(report: Mapping[str, Any]) -> str:
    gate = report["gate"]
    return (
        f"Judged on {report['judged']}. The gate asks for an agreement of at least {gate['least_agreement']:.2%} and "
        f"got {gate['agreement']:.2%}, and for a loss of at most {_points(gate['most_loss'])} points and got "
        f"{_points(gate['loss'])}. Points are percentage points, confidence is the decided class's probability."
    )


_RUNTIME_HEAD = (
    "runtime",
    "accuracy, %",
    "loss, points",
    "agreement, %",
    "same bytes, %",
    "largest step",
    "other decisions",
    "pictures",
)


_AGAINST = "<p>Same bytes, largest step (of int8's 256) and other decisions are against the runtime judged by.</p>"


def _by_runtime(report: Mapping[str, Any]) -> list[tuple[str, ...]]:
    real = report["float"]
    accuracy = f"{_points(real['accuracy'])} ({_between(real['interval'])})"
    rows: list[tuple[str, ...]] = [("float network", accuracy, *5 * (_NONE,), str(report["rows"]))]
    for row in report["runtimes"]:
        against = row["against_judged"]
        rows.append(
            (
                row["runtime"] + (" (judged by)" if row["runtime"] == report["judged"] else ""),
                f"{_points(row['accuracy'])} ({_between(row['interval'])})",
                f"{_points(row['loss'])} ({_between(row['loss_interval'])})",
                _points(row["agreement"]),
                _points(against["equal_bytes"]),
                f"{against['largest_steps']:g}",
                str(against["argmax_flips"]),
                str(row["rows"]) if row["rows"] == against["rows"] else f"{row['rows']}, {against['rows']} compared",
            )
        )
    return rows


def _noise(report: Mapping[str, Any]) -> str:
    layers, worst = report["layers"], _find_worst(report)
    clipped = max(layers, key=lambda row: float(row["clipped"]))
    most = f"Most clipped: {clipped['layer']}, {clipped['clipped']:.3%} of its values."
    if not clipped["clipped"]:
        most = "No value is clipped."
    if worst is None:
        return most
    row = layers[worst]
    return f"{row['layer']} ({row['operator']}) adds the most noise, signal to noise {row['snr_db']:.1f} dB. {most}"


def _hurt(classes: Mapping[str, Mapping[str, Any]]) -> str:
    lost = min(classes, key=lambda name: float(classes[name]["difference"]))
    apart = min(classes, key=lambda name: float(classes[name]["agreement"]))
    sure = [
        name for name, row in classes.items() if row["difference_interval"][0] > 0 or row["difference_interval"][1] < 0
    ]
    most = (
        f"Most lost: {lost}, {_class_change(classes[lost])}." if classes[lost]["difference"] < 0 else "No class loses."
    )
    return (
        f"{most} Least agreement: {apart}, "
        f"{classes[apart]['agreement']:.2%}. Intervals that leave out 0: {', '.join(sure) or 'none'}."
    )


def _drift(judged: Mapping[str, Any]) -> str:
    drift, logit = judged["confidence_drift"], judged["largest_logit_difference"]
    return (
        f"Confidence moves by {drift['mean']:.4f} on average, by up to {drift['p95']:.4f} in 95 % of the pictures and "
        f"by {drift['largest']:.4f} at most; {judged['flips']} of {judged['rows']} decisions differ. Largest logit "
        f"difference: {logit['value']:.3g}, row {logit['row']}, class {logit['class']}."
    )


def _calibrated(report: Mapping[str, Any]) -> str:
    before, after = report["float"]["ece"], _find_judged(report)["ece"]
    return f"Expected calibration error: float {before:.2%}, int8 {after:.2%}."


def _spread(runtimes: Sequence[Mapping[str, Any]]) -> str:
    losses, agreements = [row["loss"] for row in runtimes], [row["agreement"] for row in runtimes]
    if len(runtimes) == 1:
        return f"One runtime: loss {_points(losses[0])} points, agreement {agreements[0]:.2%}."
    return (
        f"{len(runtimes)} runtimes: losses {_between((min(losses), max(losses)))} points, "
        f"agreement {_between((min(agreements), max(agreements)))} %."
    )


def _in_numbers(report: Mapping[str, Any], judged: Mapping[str, Any]) -> str:
    layers = [
        (
            row["layer"],
            row["operator"],
            f"{row['snr_db']:.1f}",
            f"{100 * row['added_noise']:.3f}",
            f"{100 * row['clipped']:.3f}",
            _NONE if row["levels"] is None else str(row["levels"]),
            "float" if row["kept_float"] else "int8",
        )
        for row in report["layers"]
    ]
    classes = [
        (
            name,
            _points(row["recall_float"]),
            _points(row["recall_int8"]),
            f"{_points(row['difference'])} ({_between(row['difference_interval'])})",
            _points(row["agreement"]),
            str(row["rows"]),
        )
        for name, row in judged["classes"].items()
    ]
    by_class = tabulate(("class", "float, %", "int8, %", "difference, points", "agreement, %", "pictures"), classes)
    by_layer = "<p>No layer was measured.</p>"
    if layers:
        by_layer = tabulate(
            ("layer", "operator", "signal to noise, dB", "noise added, %", "clipped, %", "levels used", "kept in"),
            layers,
        )
    return (
        f"<details><summary>By layer, in numbers</summary>{by_layer}</details>"
        f"<details><summary>By class, in numbers</summary>{by_class}</details>"
    )


def _embed(png: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(png).decode()}"


def _gallery(
    report: Mapping[str, Any],
    images: npt.NDArray[np.uint8],
    labels: Labels,
    real: Floats,
    quantised: Floats,
) -> str:
    before, after, classes = real.argmax(axis=1), quantised.argmax(axis=1), report["classes"]
    flips = np.flatnonzero(before != after)
    if not flips.size:
        return "<p>None.</p>"
    change = np.abs(quantised - real)[flips].max(axis=1)
    figures = []
    for row in flips[np.argsort(-change, kind="stable")][:GALLERY]:
        was = f"float {classes[before[row]]} {real[row, before[row]]:.2f}"
        now = f"int8 {classes[after[row]]} {quantised[row, after[row]]:.2f}"
        small = f"labelled {classes[labels[row]]}, row {row}"
        figures.append(
            show_picture(_embed(encode(images[row])), f"Picture: {was}, {now}, {small}", f"{was}, {now}", small)
        )
    right_before, right_after = (before == labels)[flips].sum(), (after == labels)[flips].sum()
    words = (
        f"Of {flips.size} decisions that differ, float has {right_before} right and int8 {right_after}. The largest "
        f"changes of a probability come first, {len(figures)} are shown; rows of {report['split']} count from 0."
    )
    return f'<p>{as_html(words)}</p><div class="gallery">{"".join(figures)}</div>'


_OPERATOR_HEAD = ("operator", "version", "oldest runtime knows up to", "times")


def _by_operator(operators: Sequence[Mapping[str, Any]]) -> list[tuple[str, ...]]:
    return [tuple(str(row[key]) for key in ("operator", "version", "most", "count")) for row in operators]


def _recipe(report: Mapping[str, Any]) -> list[tuple[str, str]]:
    settings = [
        (name, value if isinstance(value, str) else json.dumps(value)) for name, value in report["recipe"].items()
    ]
    return [*settings, *((name, f"sha256 {report[f'{name}_sha256'][:12]}…") for name in ("keras", "tflite"))]


def _list(lines: Sequence[str]) -> str:
    return f"<ul>{''.join(f'<li>{as_html(line)}</li>' for line in lines)}</ul>" if lines else "<p>Nothing is left.</p>"
