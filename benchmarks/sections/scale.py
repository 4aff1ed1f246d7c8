"""What the results page shows of frame size, faces, threads and runtimes."""

from __future__ import annotations

import itertools
from typing import Any

from benchmarks.sections.section import BLACK, GREEN, Report, Table
from lab.reporting.plots import BLUE, GRAY, ORANGE, draw


def scale_table(report: Report) -> Table:
    """Lay out what a frame costs by its size, by its faces and by the network's threads."""
    result = report["result"]
    named = [(f"{point['width']}x{point['height']}", point) for point in result["sizes"]]
    named += [(f"{point['faces']} faces", point) for point in result["faces"]]
    named += [(f"threads = {point['threads']}", point) for point in result["threads"]]
    return [
        {
            "point": name,
            "faces found": f"{point['found']:g}",
            **{
                f"{word} {key}, ms": f"{point['whole'][kind][key]:.2f}"
                for word, kind in (("CPU", "cpu_ms"), ("elapsed", "wall_ms"))
                for key in ("p50", "p90", "p99")
            },
        }
        for name, point in named
    ]


def network_table(report: Report) -> Table:
    """Lay out what one run of a network costs, by runtime, who runs its operators, and threads."""
    return [
        {
            "network": point["model"],
            "runtime": point["runtime"],
            "run by": point["delegate"],
            "threads": str(point["threads"]),
            "elapsed p50, ms": f"{point['wall_ms']['p50']:.3f}",
            "elapsed p90, ms": f"{point['wall_ms']['p90']:.3f}",
            "CPU p50, ms": f"{point['cpu_ms']['p50']:.3f}",
            "a setting": "yes" if point["setting"] else "no",
        }
        for point in report["result"]["networks"]
    ]


def plot_scale(report: Report) -> Any:
    """Draw what a frame costs by its size and by its faces."""
    result = report["result"]
    figure, (left, right) = draw(3.2, 1, ncols=2, sharey=True)
    for axes, points in ((left, result["sizes"]), (right, result["faces"])):
        for key, marker, colour in (("p99", "^", GRAY), ("p90", "D", BLUE), ("p50", "o", BLACK)):
            values = [point["whole"]["cpu_ms"][key] for point in points]
            axes.plot(range(len(points)), values, color=colour, marker=marker, markersize=5, label=key)
        axes.grid(axis="y", alpha=0.3)
    left.set_ylim(bottom=0)
    names = [f"{point['width']}\nx {point['height']}" for point in result["sizes"]]
    left.set_xticks(range(len(names)), names, size=9)
    right.set_xticks(range(len(result["faces"])), [str(point["faces"]) for point in result["faces"]], size=9)
    left.set(xlabel="frame, with one face", ylabel="CPU of a frame (ms)")
    right.set(xlabel="faces in 640 x 480")
    figure.legend(*left.get_legend_handles_labels(), loc="outside upper center", ncols=3, frameon=False, fontsize=9)
    return figure


def plot_threads(report: Report) -> Any:
    """Draw how long a run of the first network takes by threads, a line for each who runs it."""
    from matplotlib.ticker import LogLocator

    points = report["result"]["networks"]
    runs: dict[str, list[Report]] = {}
    for point in points:
        if point["model"] == points[0]["model"]:
            runs.setdefault(f"{point['runtime']}, {point['delegate']}", []).append(point)
    figure, axes = draw(3.0 + 0.2 * len(runs))
    looks = itertools.cycle(itertools.product("-:", ((BLUE, "o"), (ORANGE, "D"), (GREEN, "^"), (GRAY, "s"))))
    for (name, several), (line, (colour, marker)) in zip(runs.items(), looks, strict=False):
        t, elapsed = [point["threads"] for point in several], [point["wall_ms"]["p90"] for point in several]
        axes.plot(t, elapsed, line, color=colour, marker=marker, markersize=5, label=name)
    axes.set(xlabel="threads", ylabel="elapsed, p90 (ms, logarithmic)", yscale="log")
    axes.set_xticks(sorted({point["threads"] for point in points}))
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter("{x:g}")
    axes.minorticks_off()
    axes.grid(axis="y", alpha=0.3)
    figure.legend(loc="outside upper left", frameon=False, fontsize=9)
    return figure


def say_scale(report: Report) -> str:
    """Return what the least and the most of size and faces cost."""
    result = report["result"]
    ends = {
        f"{size['width']}x{size['height']}": size["whole"]["cpu_ms"]["p90"]
        for size in (result["sizes"][0], result["sizes"][-1])
    } | {
        f"{point['faces']} faces": point["whole"]["cpu_ms"]["p90"]
        for point in (result["faces"][0], result["faces"][-1])
    }
    return "CPU of a frame, p90: " + ", ".join(f"{name} {value:.1f} ms" for name, value in ends.items()) + "."


def say_threads(report: Report) -> str:
    """Return which threads are recommended."""
    return "; ".join(f"{each['model']}: {each['text']}" for each in report["result"]["recommendations"]) + "."
