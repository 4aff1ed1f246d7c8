"""What the results page shows of a run: rhythm, start, memory, half an hour."""

from __future__ import annotations

import itertools
from typing import Any

from benchmarks.sections.section import Report, Table
from lab.reporting.plots import BLUE, draw


def plot_jitter(report: Report) -> Any:
    """Draw how many frames were shown how much off their captures' own rhythm."""
    histogram = report["result"]["jitter_histogram"]
    bounds = list(histogram)
    names = [f"under {bounds[0]}", *(f"{low} to {high}" for low, high in itertools.pairwise(bounds[:-1]))]
    names.append(f"{bounds[-2]} and more")
    counts = list(histogram.values())
    figure, axes = draw(3.0)
    bars = axes.barh(range(len(counts)), counts, 0.7, color=BLUE)
    axes.bar_label(bars, [str(count) for count in counts], padding=3, size=9)
    axes.set_yticks(range(len(names)), names)
    axes.tick_params(axis="y", length=0)
    axes.set(xlabel="frames", ylabel="off its rhythm by (ms)")
    axes.set(ylim=(len(names) - 0.4, -0.6), xlim=(0, 1.12 * max(1, *counts)))
    return figure


def say_jitter(report: Report) -> str:
    """Return how far off the rhythm half and 99 % of the frames are."""
    result = report["result"]
    return (
        f"Of {result['frames']} frames half are at most {result['jitter_ms']['p50']:.2f} ms off, 99 % at most "
        f"{result['jitter_ms']['p99']:.2f} ms; {result['missed']} were not shown."
    )


def start_steps(report: Report) -> dict[str, float]:
    """Return what each step of a start adds, in millions of instructions; empty where they were not counted."""
    counts = report["result"]["instructions_m"] or {}
    names = [name for name in counts if name != "status"]  # which is a program of its own
    return {
        name: counts[name] - (counts[before] if before else 0.0)
        for before, name in itertools.pairwise((None, *names))
        if name is not None
    }


def start_table(report: Report) -> Table:
    """Lay out what each step of a start adds."""
    steps = start_steps(report)
    return [{"step": name, "adds, million instructions": f"{count:.1f}"} for name, count in steps.items()]


def plot_start(report: Report) -> Any:
    """Draw what each step of a start adds."""
    steps = start_steps(report)
    figure, axes = draw(0.9 + 0.33 * len(steps))
    bars = axes.barh(range(len(steps)), list(steps.values()), 0.7, color=BLUE)
    axes.bar_label(bars, [f"{count:.0f}" for count in steps.values()], padding=3, size=9)
    axes.set_yticks(range(len(steps)), list(steps))
    axes.tick_params(axis="y", length=0)
    axes.set(xlabel="adds, million instructions", ylim=(len(steps) - 0.4, -0.6), xlim=(0, 1.15 * max(steps.values())))
    return figure


def say_start(report: Report) -> str:
    """Return what a start counts in all, and its dearest step."""
    steps = start_steps(report)
    most = max(steps, key=steps.__getitem__)
    return f"{sum(steps.values()):.0f} million in all; most, {steps[most]:.0f}, for: {most}."


def instructions(report: Report) -> str | None:
    """Return how many million instructions it is to the first cue; None where they were not counted."""
    counts = report["result"]["instructions_m"]
    return None if counts is None else f"{counts['first cue']:,.0f}".replace(",", " ")


def plot_memory(report: Report) -> Any:
    """Draw resident memory over the minutes."""
    minutes = report["result"]["minutes"]
    t, rss = [sample["t"] / 60 for sample in minutes], [sample["rss_mb"] for sample in minutes]
    middle = (min(rss) + max(rss)) / 2
    reach = max(1.0, max(rss) - min(rss))  # MB: less than that looks like what it is, flat
    figure, axes = draw(2.6)
    axes.plot(t, rss, "o-", color=BLUE, markersize=4)
    axes.set(xlabel="minutes since the begin", ylabel="resident memory (MB)")
    axes.set(xlim=(0, None), ylim=(middle - reach, middle + reach))
    axes.ticklabel_format(axis="y", useOffset=False)
    axes.grid(alpha=0.3)
    return figure


def slope(report: Report) -> str:
    """Return by how much memory grew an hour."""
    result = report["result"]
    return f"{result['slope_mb_per_hour']:.2f} \N{PLUS-MINUS SIGN} {result['slope_error']:.1g}"


def say_memory(report: Report) -> str:
    """Return memory's growth and its most."""
    result = report["result"]
    return (
        f"{slope(report)} MB an hour, after all that is kept is full; {result['rss_mb']:.1f} MB at the end, "
        f"{result['peak_rss_mb']:.1f} at most."
    )


def endured(report: Report) -> str:
    """Return how half an hour went."""
    result = report["result"]
    return (
        f"{slope(report)} MB an hour; {result['fps_least']:.1f} fps in the slowest minute; {result['dropped']} dropped"
    )
