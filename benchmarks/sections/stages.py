"""What the results page shows of the stages of a frame."""

from __future__ import annotations

from typing import Any

from benchmarks.sections.section import BLACK, STAGES, Report, Table, stack
from lab.reporting.plots import BLUE, GRAY, LIGHT, draw


def stage_table(report: Report) -> Table:
    """Lay out elapsed and CPU ms of each stage."""
    keys = ("p50", "p90", "p99")
    return [
        {
            "stage": name,
            **{f"elapsed {key}, ms": f"{values['wall_ms'][key]:.3f}" for key in keys},
            **{f"CPU {key}, ms": f"{values['cpu_ms'][key]:.3f}" for key in keys},
        }
        for name, values in report["result"]["stages"].items()
    ]


def stage_means(report: Report) -> dict[str, float]:
    """Return mean CPU ms of each stage."""
    return {name: report["figures"][f"{name}_cpu_ms"]["median"] for name in STAGES}


def plot_stages(report: Report) -> Any:
    """Draw the mean CPU of each stage end to end, and below it how elapsed times spread."""
    figure, (upper, lower) = draw(4.0, 2, height_ratios=(1, 2.6))
    stack(upper, [stage_means(report)], names=[""])
    upper.set(xlabel="CPU of a frame, mean (ms)")
    upper.spines["left"].set_visible(False)
    figure.legend(loc="outside upper center", ncols=len(STAGES), frameon=False, fontsize=9)
    names = (*STAGES, "whole")
    for place, name in enumerate(names):
        values = report["result"]["stages"][name]["wall_ms"]
        lower.plot((values["p50"], values["p99"]), (place, place), color=LIGHT, linewidth=4, zorder=1)
        for key, marker, colour in (("p50", "o", BLUE), ("p90", "D", GRAY), ("p99", "|", BLACK)):
            label = key if place == 0 else None
            lower.plot(values[key], place, marker, color=colour, label=label, markersize=6 + 5 * (key == "p99"))
    lower.set_yticks(range(len(names)), ("capture", "find", "read", "cue", "sink", "find to sink"))
    lower.tick_params(axis="y", length=0)
    lower.set(xscale="log", ylim=(len(names) - 0.5, -0.5), xlabel="elapsed (ms, logarithmic)")
    lower.xaxis.set_major_formatter("{x:g}")
    lower.grid(axis="x", alpha=0.3)
    lower.legend(loc="lower left", bbox_to_anchor=(0, 0.98), ncols=3, frameon=False, fontsize=9)
    return figure


def say_stages(report: Report) -> str:
    """Return the mean of each stage, and how elapsed times spread."""
    means = stage_means(report)
    whole = report["result"]["stages"]["whole"]["wall_ms"]
    listed = ", ".join(f"{name} {value:.2f}" for name, value in means.items())
    return f"Mean CPU ms: {listed}. Elapsed from find to sink: p50 {whole['p50']:.2f} ms, p99 {whole['p99']:.2f} ms."
