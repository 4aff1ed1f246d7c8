"""What every task of cuelens-bench gives: results, figures to compare, definitions; and the report made of them."""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

from benchmarks.machine import Surroundings, voids
from benchmarks.schema import VERSION, complaints
from edge.errors import BenchFailed, SettingsInvalid
from edge.files import replace_file
from edge.vision.model import ExpressionModel


@dataclass(frozen=True, slots=True)
class Measured:
    """What a task measured.

    `figures` are what reports are compared by: the values of each round, lower being better, or of `higher` higher.
    `settings` are the device's that a result hangs on; `model` says what the network ran on, where one did; `counted`,
    that no load on the machine changes the result.
    """

    result: Mapping[str, Any]
    figures: Mapping[str, Sequence[float]]
    definitions: Mapping[str, str]
    higher: frozenset[str] = frozenset()
    settings: Mapping[str, Any] | None = None
    model: Mapping[str, Any] | None = None
    counted: bool = False


class Task(Protocol):
    """A module with a task, or several, of cuelens-bench.

    One with `finish(args, report)` has it called last: it draws what goes beside the report, or raises where the result
    is not what it must be.
    """

    def add_arguments(self, parser: argparse.ArgumentParser, task: str) -> None:
        """Add the task's options."""

    def measure(self, args: argparse.Namespace) -> Measured:
        """Measure, by args.task and what add_arguments added."""

    def describe(self, report: Mapping[str, Any]) -> str:
        """Return a report's result in lines for a person."""


def describe_model(model: ExpressionModel, threads: int = 1) -> dict[str, Any]:
    """Return the network that a task ran, as a report has it."""
    return {
        "sha256": model.contract.sha256,
        "runtime": model.runtime,
        "delegate": model.delegate,
        "threads": threads,
    }


def make_report(task: str, measured: Measured, surroundings: Surroundings) -> dict[str, Any]:
    """Put a report together; raises BenchFailed where it does not keep to the schema."""
    provenance = surroundings.provenance()
    report = {
        "version": VERSION,
        "task": task,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "void": [] if measured.counted else voids(provenance),
        "settings": measured.settings,
        "result": measured.result,
        "figures": {
            name: {
                "better": "higher" if name in measured.higher else "lower",
                "median": round(statistics.median(rounds), 4),
                "rounds": [round(value, 4) for value in rounds],
            }
            for name, rounds in measured.figures.items()
        },
        "definitions": measured.definitions,
        "model": measured.model,
        "provenance": provenance,
    }
    if wrong := complaints(report):
        raise BenchFailed(f"{task}: {'; '.join(wrong)}; what was measured is not what the schema has")
    return report


def read_report(path: Path) -> dict[str, Any]:
    """Read a report; raises SettingsInvalid for one that is missing, no JSON, or not of this schema."""
    try:
        report = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise SettingsInvalid(f"{path}: {error}; give a report of cuelens-bench") from error
    if wrong := complaints(report):
        more = f", and {len(wrong) - 1} more" if wrong[1:] else ""
        raise SettingsInvalid(f"{path}: {wrong[0]}{more}; make it again with this version's cuelens-bench")
    return dict(report)


def write_report(path: Path, report: Mapping[str, Any]) -> None:
    """Write a report as JSON; raises SinkUnwritable or DiskFull."""
    replace_file(path, (json.dumps(report, indent=1, allow_nan=False) + "\n").encode())


def describe_provenance(report: Mapping[str, Any]) -> str:
    """Return in lines where a report comes from, and why it is void where it is."""
    origin, model = report["provenance"], report["model"]
    device, before, after, system = (origin[key] for key in ("machine", "before", "after", "software"))
    lines = [f"VOID      {reason}" for reason in report["void"]]
    if model:
        ran = ", ".join(_known(model[key]) for key in ("runtime", "delegate"))
        lines.append(f"model     {model['sha256'][:12]}, {ran}, threads {_known(model['threads'])}")
    lines.append(
        f"machine   {device['board'] or device['cpu']}, {device['cores']} cores, {device['architecture']}, "
        f"{_known(device['memory_mb'])} MB; others took {_known(origin['others'])} of a core"
    )
    lines.append(
        f"state     governor {_change(before, after, 'governor')}, {_change(before, after, 'frequency_mhz')} MHz, "
        f"{_change(before, after, 'temperature_c')} degrees C, throttled {_change(before, after, 'throttled')}, "
        f"load {_change(before, after, 'load_average')}"
    )
    power = origin["power"]
    lines.append(
        f"power     {power['mean_w']:.2f} W, at most {power['most_w']:.2f}, by {power['sensor']}"
        if power
        else "power     the board does not report it"
    )
    lines.append(
        f"software  {system['os']}, kernel {system['kernel']}, Python {system['python']}, OpenCV {system['opencv']}, "
        f"numpy {system['numpy']}, commit {_known(system['commit'])}"
    )
    return "\n".join(lines)


def _known(value: object) -> str:
    return "unknown" if value is None else str(value)


def _change(before: Mapping[str, Any] | None, after: Mapping[str, Any] | None, key: str) -> str:
    return " to ".join(dict.fromkeys(_known(item and item[key]) for item in (before, after)))
