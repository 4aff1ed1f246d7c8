"""`cuelens-bench compare A B`: how many times B's figures are A's, with intervals; what got worse is flagged."""

from __future__ import annotations

import argparse
import random
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.report import read_report
from benchmarks.result import table
from edge.errors import CostGrown, SettingsInvalid

DRAWS = 2000
TOLERANCE = 0.02  # share by which a figure may be worse and still is no regression: less than a build's own scatter


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the two reports."""
    parser.add_argument("before", type=Path, help="a report of cuelens-bench")
    parser.add_argument("after", type=Path, help="another one, of the same task")
    parser.add_argument("--void", action="store_true", help="compare reports that are void, too")


def interval(before: Sequence[float], after: Sequence[float]) -> tuple[float, float, float]:
    """Return after / before of the medians, and its 95 % interval by a bootstrap over the rounds (Efron 1979).

    Of fewer than three rounds on either side no interval is known: then it is all that their ratios span.
    """
    ratio = statistics.median(after) / statistics.median(before)
    if min(len(before), len(after)) < 3:
        return ratio, min(after) / max(before), max(after) / min(before)
    draw = random.Random(0).choices
    ratios = sorted(
        statistics.median(draw(after, k=len(after))) / statistics.median(draw(before, k=len(before)))
        for _ in range(DRAWS)
    )
    return ratio, ratios[round(0.025 * DRAWS)], ratios[round(0.975 * DRAWS) - 1]


def compare(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return a row for each figure that both reports have: its verdict is worse, better or the same.

    Raises SettingsInvalid for reports of different tasks, sources or clips.
    """
    for key, pair in {
        "task": (before["task"], after["task"]),
        **{key: (before["result"].get(key), after["result"].get(key)) for key in ("source", "split")},
    }.items():
        if pair[0] != pair[1]:
            raise SettingsInvalid(f"one report's {key} is {pair[0]!r}, the other's {pair[1]!r}; compare like with like")
    if lone := _clips(before) ^ _clips(after):
        raise SettingsInvalid(f"only one of the reports is of {', '.join(sorted(lone))}; compare like with like")
    rows: list[dict[str, Any]] = []
    for name, figure in before["figures"].items():
        other = after["figures"].get(name)
        if other is None:
            continue
        row = {"figure": name, "before": figure["median"], "after": other["median"]}
        if min(figure["rounds"] + other["rounds"]) <= 0:
            rows.append(row | {"ratio": "-", "interval": "-", "verdict": _verdict_by_zero(figure, other)})
            continue
        ratio, low, high = interval(figure["rounds"], other["rounds"])
        worse, better = low > 1 + TOLERANCE, high < 1 - TOLERANCE
        if figure["better"] == "higher":
            worse, better = high < 1 - TOLERANCE, low > 1 + TOLERANCE
        verdict = "worse" if worse else "better" if better else "the same"
        rows.append(row | {"ratio": round(ratio, 3), "interval": f"{low:.3f}-{high:.3f}", "verdict": verdict})
    return rows


def _verdict_by_zero(figure: Mapping[str, Any], other: Mapping[str, Any]) -> str:
    """Judge a figure without a ratio, since it is 0 in one report, by which of the medians is better."""
    more = other["median"] - figure["median"]
    if not more:
        return "the same"
    return "better" if (more > 0) == (figure["better"] == "higher") else "worse"


def _worsening(row: Mapping[str, Any]) -> str:
    if row["ratio"] == "-":
        return f"{row['figure']} is {row['after']}, was {row['before']}"
    return f"{row['figure']} is {row['ratio']} times {row['before']} ({row['interval']})"


def _clips(report: Mapping[str, Any]) -> set[str]:
    """Return the names of the clips or films that a report is of; of made-up ones there are none."""
    rows = [row for key in ("clips", "by_clip", "films") for row in report["result"].get(key, [])]
    return {row.get("clip", row.get("film")) for row in rows if isinstance(row, Mapping)}


def differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """Return in what else the reports differ: machine, settings, runtime and versions."""

    def known(report: Mapping[str, Any]) -> dict[str, Any]:
        machine, software = report["provenance"]["machine"], report["provenance"]["software"]
        settings, model = report["settings"] or {}, report["model"] or {}
        return {"machine": machine["board"] or machine["cpu"], **settings, **model, **software}

    first, second = known(before), known(after)
    return [
        f"{key}: {first.get(key)} and {second.get(key)}"
        for key in {**first, **second}
        if first.get(key) != second.get(key)
    ]


def run(args: argparse.Namespace) -> None:
    """Print the comparison; raises CostGrown where a figure got worse, SettingsInvalid for a void report."""
    reports = [read_report(path) for path in (args.before, args.after)]
    for path, report in zip((args.before, args.after), reports, strict=True):
        if report["void"] and not args.void:
            raise SettingsInvalid(f"{path} is void: {'; '.join(report['void'])}; measure again, or add --void")
        if not report["figures"]:
            raise SettingsInvalid(f"{path} has no figures; give a report that has, which those of cue tune never have")
    rows = compare(*reports)
    if not rows:
        raise SettingsInvalid(f"{args.before} and {args.after} have no figure in common")
    print(table(rows))
    print("".join(f"\nnot the same  {line}" for line in differences(*reports)))
    if worse := [row for row in rows if row["verdict"] == "worse"]:
        raise CostGrown("; ".join(_worsening(row) for row in worse) + f"; of {args.after}, against {args.before}")
