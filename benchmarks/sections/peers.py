"""What the results page shows of what others use."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from benchmarks.sections.section import NONE, Report, Table, share
from lab.reporting.plots import BLUE, ORANGE, draw


def peers_table(report: Report) -> Table:
    """Lay the systems out side by side, and ours by theirs."""
    rows = []
    for name, system in report["result"]["systems"].items():
        if reason := system.get("missing"):
            rows.append(dict.fromkeys(PEERS, NONE) | {"system": f"{name}: {reason}"})
            continue
        against = (system.get("against") or {}).get("cpu_ms_per_frame")
        accuracy = system.get("accuracy") or {}
        changes = (system["label_changes_per_minute"], system["display_changes_per_minute"])
        cells = (
            name,
            f"{system['cpu_ms_per_frame']:.1f}",
            f"{against['median']:.3f} ({against['least']:.3f} to {against['most']:.3f})" if against else NONE,
            f"{system['wall_ms_per_frame']:.1f}",
            f"{system['peak_rss_mb']:.0f}",
            f"{system['start_cpu_s']:.2f}",
            share(system["share_with_face"]),
            " / ".join(NONE if change is None else f"{change:.0f}" for change in changes),
            share(accuracy["share"]) if "share" in accuracy else NONE,
        )
        rows.append(dict(zip(PEERS, cells, strict=True)))
    return rows


PEERS = (
    "system",
    "CPU of a frame, ms",
    "our CPU by its",
    "elapsed, ms",
    "memory, MB",
    "start, CPU s",
    "frames with a face",
    "changes a minute: label / shown",
    "PrivateTest, FER2013's label",
)


def plot_peers(report: Report) -> Any:
    """Draw CPU of a frame, memory and CPU of a start of the systems that are there, side by side."""
    present = those_present(report)
    panels = (
        ("cpu_ms_per_frame", "CPU of a frame (ms)"),
        ("peak_rss_mb", "memory (MB)"),
        ("start_cpu_s", "start (CPU s)"),
    )
    figure, several = draw(1.1 + 0.34 * len(present), 1, ncols=3, sharey=True, width_ratios=(1.3, 1, 1))
    for axes, (key, title) in zip(several, panels, strict=True):
        values = [system[key] for system in present.values()]
        bars = axes.barh(range(len(values)), values, 0.7, color=[ORANGE, *[BLUE] * (len(values) - 1)])
        axes.bar_label(bars, [f"{value:.3g}" if value < 100 else f"{value:.0f}" for value in values], padding=2, size=8)
        axes.set(xlim=(0, 1.35 * max(values)), ylim=(len(values) - 0.4, -0.6))
        axes.set_xlabel(title, size=9)
        axes.locator_params(axis="x", nbins=3)
        axes.tick_params(labelsize=8)
        axes.tick_params(axis="y", length=0)
    several[0].set_yticks(
        range(len(present)), [name.replace("face_classification", "face_classif.") for name in present]
    )
    return figure


def those_present(report: Report) -> dict[str, Mapping[str, Any]]:
    """Return the systems that could be measured, by name."""
    return {name: system for name, system in report["result"]["systems"].items() if not system.get("missing")}


def say_peers(report: Report) -> str:
    """Return how many times our CPU each takes."""
    parts = [
        f"{name} takes {1 / system['against']['cpu_ms_per_frame']['median']:.1f} times our CPU a frame"
        for name, system in those_present(report).items()
        if system.get("against")
    ]
    return f"{'; '.join(parts) or 'nobody else was there'}."
