"""What int8 changed, as report.json and the page report.html; the end of a conversion that was measured.

Another module measures; here is only what a maker asks: is this file my network, and where does it hurt?
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from converter.report_plots import (
    find_judged,
    find_worst,
    plot_classes,
    plot_confidence,
    plot_layers,
    plot_reliability,
    plot_runtimes,
)
from edge.files import replace_file
from lab.calibration import Floats, Labels
from lab.reporting.pages import bullets, encode, fold, gallery, join, page, paragraph, picture, plots, tabulate
from lab.reporting.plots import GALLERY, open_folder

if TYPE_CHECKING:
    from markupsafe import Markup

_NONE = "\N{EN DASH}"  # in a table: not measured, or nothing to measure


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
    judged = find_judged(report)
    open_folder(out)
    drawn = [
        ("layers", plot_layers(report), "Which layers add the noise?", _noise(report)) if report["layers"] else None,
        ("classes", plot_classes(report), "Which classes pay?", _hurt(judged["classes"])),
        ("confidence", plot_confidence(real, quantised), "Is it as sure as before?", _drift(judged)),
        ("reliability", plot_reliability(real, quantised, labels), "Right as often as sure?", _calibrated(report)),
        ("runtimes", plot_runtimes(report), "Is it the same everywhere?", _spread(report["runtimes"])),
    ]
    figures = []
    for name, png, question, answer in filter(None, drawn):
        figures.append(picture(_embed(png), f"{name}: {answer}", question, answer))
    sections = [
        ("", join(paragraph(_verdict(report), strong=True), paragraph(_gate(report)))),
        ("On every runtime", join(tabulate(_RUNTIME_HEAD, _by_runtime(report)), paragraph(_AGAINST))),
        ("Where does it hurt?", join(plots(figures), _in_numbers(report, judged))),
        ("Decisions that differ", _gallery(report, images, labels, real, quantised)),
        ("Operators", tabulate(_OPERATOR_HEAD, _by_operator(report["operators"]))),
        ("Recipe", tabulate(("setting", "value"), _recipe(report))),
        ("Not measured", _list(report["not_measured"])),
    ]
    replace_file(out / "report.json", content)
    title = f"{report['model']}: the int8 file against the float network"
    replace_file(out / "report.html", page(title, sections).encode())


def _points(share: float) -> str:
    return f"{round(100 * share, 2) + 0.0:.2f}"  # no -0.00


def _between(interval: Sequence[float]) -> str:
    """Word an interval of shares, in points or per cent."""
    low, high = interval
    return f"{_points(low)}\N{NO-BREAK SPACE}to\N{NO-BREAK SPACE}{_points(high)}"


def _verdict(report: Mapping[str, Any]) -> str:
    judged, size = find_judged(report), report["bytes"]
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
    worst, found = find_worst(report), judged["classes"].get(report["worst_class"])
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
        f"got {gate['agreement']:.2%}, for a loss of at most {_points(gate['most_loss'])} points and got "
        f"{_points(gate['loss'])}, and for a mean drift of confidence of at most {gate['most_drift']:.4f} and got "
        f"{gate['drift']:.4f}. Points are percentage points, confidence is the decided class's probability."
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


_AGAINST = "Same bytes, largest step (of int8's 256) and other decisions are against the runtime judged by."


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
    layers, worst = report["layers"], find_worst(report)
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
    before, after = report["float"]["ece"], find_judged(report)["ece"]
    return f"Expected calibration error: float {before:.2%}, int8 {after:.2%}."


def _spread(runtimes: Sequence[Mapping[str, Any]]) -> str:
    losses, agreements = [row["loss"] for row in runtimes], [row["agreement"] for row in runtimes]
    if len(runtimes) == 1:
        return f"One runtime: loss {_points(losses[0])} points, agreement {agreements[0]:.2%}."
    return (
        f"{len(runtimes)} runtimes: losses {_between((min(losses), max(losses)))} points, "
        f"agreement {_between((min(agreements), max(agreements)))} %."
    )


def _in_numbers(report: Mapping[str, Any], judged: Mapping[str, Any]) -> Markup:
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
    by_layer = paragraph("No layer was measured.")
    if layers:
        by_layer = tabulate(
            ("layer", "operator", "signal to noise, dB", "noise added, %", "clipped, %", "levels used", "kept in"),
            layers,
        )
    return join(fold("By layer, in numbers", by_layer), fold("By class, in numbers", by_class))


def _embed(png: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(png).decode()}"


def _gallery(
    report: Mapping[str, Any],
    images: npt.NDArray[np.uint8],
    labels: Labels,
    real: Floats,
    quantised: Floats,
) -> Markup:
    before, after, classes = real.argmax(axis=1), quantised.argmax(axis=1), report["classes"]
    flips = np.flatnonzero(before != after)
    if not flips.size:
        return paragraph("None.")
    change = np.abs(quantised - real)[flips].max(axis=1)
    figures = []
    for row in flips[np.argsort(-change, kind="stable")][:GALLERY]:
        was = f"float {classes[before[row]]} {real[row, before[row]]:.2f}"
        now = f"int8 {classes[after[row]]} {quantised[row, after[row]]:.2f}"
        small = f"labelled {classes[labels[row]]}, row {row}"
        figures.append(picture(_embed(encode(images[row])), f"Picture: {was}, {now}, {small}", f"{was}, {now}", small))
    right_before, right_after = (before == labels)[flips].sum(), (after == labels)[flips].sum()
    words = (
        f"Of {flips.size} decisions that differ, float has {right_before} right and int8 {right_after}. The largest "
        f"changes of a probability come first, {len(figures)} are shown; rows of {report['split']} count from 0."
    )
    return join(paragraph(words), gallery(figures))


_OPERATOR_HEAD = ("operator", "version", "oldest runtime knows up to", "times")


def _by_operator(operators: Sequence[Mapping[str, Any]]) -> list[tuple[str, ...]]:
    return [tuple(str(row[key]) for key in ("operator", "version", "most", "count")) for row in operators]


def _recipe(report: Mapping[str, Any]) -> list[tuple[str, str]]:
    settings = [
        (name, value if isinstance(value, str) else json.dumps(value)) for name, value in report["recipe"].items()
    ]
    return [*settings, *((name, f"sha256 {report[f'{name}_sha256'][:12]}…") for name in ("keras", "tflite"))]


def _list(lines: Sequence[str]) -> Markup:
    return bullets(lines) if lines else paragraph("Nothing is left.")
