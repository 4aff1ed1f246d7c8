"""What the results page shows of an emulated Arm's counts, and what is forecast of them."""

from __future__ import annotations

from typing import Any

from benchmarks.sections.section import STAGES, Report, Table, stack
from lab.reporting.plots import BLUE, GRAY, ORANGE, draw


def forecast_table(report: Report) -> Table:
    """Lay out instructions a frame and the forecast by board."""
    result = report["result"]
    counts = {(run["core"], run["runtime"]): run["stages"]["whole"]["mean"] for run in result["runs"]}
    rows: dict[str, dict[str, str]] = {}
    for board in result["boards"]:
        row = rows.setdefault(
            board["board"],
            {"board": f"{board['board']} ({board['core']}, {board['clock_ghz']:g} GHz)"},
        )
        runtime = board["runtime"]
        row[f"{runtime}: million instructions a frame"] = f"{counts[board['core'], runtime]:.1f}"
        row[f"{runtime}: forecast, fps"] = board["expected_fps"].replace("-", " to ")
    return list(rows.values())


def count_table(report: Report) -> Table:
    """Lay out the counts by core, runtime and stage."""
    return [
        {
            "core": run["core"],
            "runtime": f"{run['runtime']} {run['version']}",
            **{f"{name}, mean": f"{values['mean']:.2f}" for name, values in run["stages"].items()},
            "whole, p95": f"{run['stages']['whole']['p95']:.2f}",
            "first frame": f"{run['stages']['whole']['first']:.1f}",
            "start": f"{run['start']:.0f}",
        }
        for run in report["result"]["runs"]
    ]


def plot_counts(report: Report) -> Any:
    """Draw the mean counts by stage, a bar a core and runtime."""
    runs = sorted(report["result"]["runs"], key=lambda run: run["core"])
    rows = [{name: run["stages"][name]["mean"] for name in STAGES if name in run["stages"]} for run in runs]
    figure, axes = draw(1.3 + 0.34 * len(runs))
    stack(axes, rows, [f"{run['core']}, {run['runtime'].removeprefix('ai-edge-')}" for run in runs])
    axes.tick_params(axis="y", labelsize=9)
    axes.set(xlabel="million instructions a frame, mean")
    figure.legend(loc="outside upper center", ncols=len(rows[0]), frameon=False, fontsize=9)
    return figure


def plot_forecast(report: Report) -> Any:
    """Draw the range of frames a second that is forecast by board and runtime."""
    boards = report["result"]["boards"]
    names = list(dict.fromkeys(board["board"] for board in boards))
    runtimes = list(dict.fromkeys(board["runtime"] for board in boards))
    figure, axes = draw(1.5 + 0.4 * len(names))
    for board in boards:
        place = names.index(board["board"]) + 0.3 * (runtimes.index(board["runtime"]) - (len(runtimes) - 1) / 2)
        low, high = map(float, board["expected_fps"].split("-"))
        first = board["runtime"] == runtimes[0]
        label = board["runtime"] if board["board"] == names[0] else None
        style = {"color": BLUE, "linestyle": "-"} if first else {"color": ORANGE, "linestyle": (0, (1, 0.4))}
        axes.plot((low, high), (place, place), linewidth=5, solid_capstyle="butt", label=label, **style)
    axes.axvline(30, color=GRAY, linewidth=1, linestyle=":")
    axes.annotate("a camera's 30", (30, -0.62), (3, 0), textcoords="offset points", size=8, va="top", color="#555555")
    axes.set_yticks(range(len(names)), [f"Pi {name}" for name in names])
    axes.tick_params(axis="y", length=0)
    axes.set(
        ylim=(len(names) - 0.4, -0.75), xscale="log", xlabel="forecast frames a second, not measured (logarithmic)"
    )
    axes.set_xticks([10, 20, 50, 100, 200, 500, 1000])
    axes.xaxis.set_major_formatter("{x:g}")
    axes.minorticks_off()
    axes.grid(axis="x", alpha=0.3)
    figure.legend(loc="outside upper center", ncols=2, frameon=False, fontsize=9)
    return figure


def say_counts(report: Report) -> str:
    """Return the least and the most of the counts."""
    means = [run["stages"]["whole"]["mean"] for run in report["result"]["runs"]]
    return f"From {min(means):.1f} to {max(means):.1f} million instructions a frame, counted under emulation."


def say_forecast(report: Report) -> str:
    """Return the forecast by board."""
    return "A forecast: " + "; ".join(
        f"{board['board']} with {board['runtime']} {board['expected_fps'].replace('-', ' to ')}"
        for board in report["result"]["boards"]
    )
