"""`cuelens-bench cue`: how steady and how right the cue is, beside the raw label; and the tuning of its settings.

Streams and what is counted on them are in benchmarks/streams.py; here they are made of data sets and clips.
"""

from __future__ import annotations

import argparse
import threading
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.cue_clips import judge_clips, sum_folders, watch_clips
from benchmarks.cue_films import FPS, JUDGED_AFTER, SECONDS, lively_streams, play_films, play_lively, read_films
from benchmarks.cue_noise import MINUTES, measure_streams
from benchmarks.cue_page import write_page
from benchmarks.cue_people import compare, read_people
from benchmarks.cue_tune import Bench, tune
from benchmarks.report import Measured, describe_model
from benchmarks.result import table
from benchmarks.streams import RATES
from edge.errors import SourceEmpty
from edge.runtime.control import Control
from edge.runtime.run import run as run_loop
from edge.settings import SENSITIVITIES, CueSettings, with_sensitivity
from edge.settings_file import load_settings
from edge.sources.demo import DemoSource
from edge.system.quiet import tame_opencv
from edge.types import Capabilities, Sink, Update
from edge.vision.model import ExpressionModel

DEFINITIONS = {
    "changes": "raw: of the largest word of the partner's readings; cue: from one word, or unsure, to another; word: "
    "from a word to another, whatever was between them. Coming and going of faces counts in none of them",
    "noise": f"over {MINUTES:g} minutes at {', '.join(map(str, RATES))} frames a second, the worst rate",
    "noise_changes": "changes a minute, of the noise and rate that have most",
    "onset_s": "from the first frame of a clear expression (0.9), after another one or after nobody, the worst pair",
    "gone_s": "from the last frame with a face to the first dark cue",
    "sequences": f"a person a row of the data set, whose picture sways as before a camera, {SECONDS:g} s at {FPS} "
    f"frames a second, judged from {JUDGED_AFTER:g} s on; truth is the majority of FER+'s raters, "
    "FER2013's label without --ferplus; coverage: share of the frames with a truth in which a word is shown; "
    "right: of those",
    "lively": "one person who shows well-read faces of the data set for one to six seconds each, without a pause",
    "clips": "right: share of the frames with a word in clip_words.csv (one rater, by eye, where it is beyond doubt) "
    "in which that word is shown; raw: in which the newest reading's largest word is that. `mean_` are means over "
    "clips, `shown` is the share of all of a clip's frames in which any word is shown",
    "tune": "held_out: each fifth of the people under settings that were chosen without them; buys: one setting at "
    "another value, the rest as chosen; curve: both filters asked to be so much surer",
    "people": "a person's pictures for two seconds each, as one face that is watched; misread at rest: the quarter "
    "whose neutral pictures are read as upset most",
}


class _Blocked:
    """A sink that does not return from its first update for a time."""

    capabilities = Capabilities()

    def __init__(self, release: threading.Event, seconds: float) -> None:
        self._release, self._seconds = release, seconds

    def show(self, update: Update) -> None:
        self._release.wait(self._seconds)

    def close(self) -> None:
        self._release.set()


def measure_blocked(seconds: float, model: ExpressionModel) -> dict[str, float]:
    """Run the live demo with a sink that works, then with one that blocks; returns both rates and their ratio.

    Raises SourceEmpty where fewer than two frames came.
    """
    rates = []
    for block in (0.0, seconds):
        release = threading.Event()
        sinks: list[tuple[str, Sink]] = [("blocked", _Blocked(release, block))]
        outcome = run_loop(
            Control(), DemoSource("1", live=True), model, sinks, threading.Event(), seconds, say=lambda line: None
        )
        rates.append(outcome.metrics.fps)
    free, blocked = rates
    if not free:
        raise SourceEmpty(f"no two frames came in {seconds:g} s; measure longer: --seconds")
    return {
        "seconds": seconds,
        "fps": round(free, 2),
        "fps_blocked": round(blocked, 2),
        "ratio": round(blocked / free, 4),
    }


def _play_sequences(args: argparse.Namespace, settings: CueSettings, model: ExpressionModel) -> dict[str, Any]:
    films, words = read_films(model, args.data, args.split, args.ferplus)
    return {
        "split": args.split,
        "rows": len(words),
        **play_films(films, words, settings),
        "lively": play_lively(lively_streams(films, words), settings),
    }


def _watch_clips(args: argparse.Namespace, settings: CueSettings, model: ExpressionModel) -> dict[str, Any]:
    rows = judge_clips(watch_clips(args.clips, model, args.logs), settings)
    return {"clips": rows, "sums": sum_folders(rows)}


TASKS: Mapping[str, Callable[[argparse.Namespace, CueSettings, ExpressionModel], dict[str, Any]]] = {
    "cue streams": lambda args, settings, model: measure_streams(settings),
    "cue sequences": _play_sequences,
    "cue clips": _watch_clips,
    "cue people": lambda args, settings, model: {"people": compare(read_people(args.images, model), settings)},
    "cue tune": lambda args, settings, model: tune(
        Bench(watch_clips(args.clips, model, args.logs)), settings, args.rounds, validate=not args.quick
    ),
    "cue blocked": lambda args, settings, model: measure_blocked(args.seconds, model),
}


def add_arguments(parser: argparse.ArgumentParser, task: str) -> None:
    """Add the task's options."""
    if task == "cue sequences":
        parser.add_argument("--data", type=Path, required=True, help="FER2013's CSV")
        parser.add_argument("--ferplus", type=Path, help="fer2013new.csv: the truth is its raters' majority")
        parser.add_argument("--split", default="PublicTest", help="PublicTest to choose by, PrivateTest to report once")
    if task == "cue people":
        parser.add_argument("--images", type=Path, required=True, help="folder of faces, its labels.csv with subject")
    if task in ("cue clips", "cue tune"):
        parser.add_argument(
            "--clips",
            type=Path,
            required=True,
            action="append",
            help="folder of clips that clip_words.csv names; again",
        )
        parser.add_argument("--logs", type=Path, help="folder that keeps what was read of each clip, for the next time")
    if task == "cue tune":
        parser.add_argument("--rounds", type=int, default=2, help="over all settings, at most; default 2")
        parser.add_argument("--quick", action="store_true", help="without the cross-validation by person")
        parser.add_argument(
            "--page", type=Path, help="Markdown file to write, its plot beside it: what each setting buys"
        )
    if task == "cue blocked":
        parser.add_argument("--seconds", type=float, default=60.0, help="of each run; default 60")
    parser.add_argument(
        "--model", type=Path, help="a .tflite file with its contract beside it; default the shipped one"
    )
    parser.add_argument("--settings", type=Path, help="settings file (TOML) whose [cue] counts")
    parser.add_argument("--sensitivity", choices=tuple(SENSITIVITIES), default="normal", help="without --settings")


def measure(args: argparse.Namespace) -> Measured:
    """Measure one task; raises what the settings, the model and the task raise."""
    settings = load_settings(args.settings).cue if args.settings else with_sensitivity(CueSettings(), args.sensitivity)
    tame_opencv()
    model = ExpressionModel(args.model)
    result = TASKS[args.task](args, settings, model)
    figures = figures_of(args.task, result)
    return Measured(
        result,
        {name: [value] for name, value in figures.items() if value is not None},
        DEFINITIONS,
        frozenset(name for name in figures if not name.endswith(("changes", "_s"))),
        asdict(settings),
        describe_model(model),
        counted=args.task != "cue blocked",
    )


def figures_of(task: str, result: Mapping[str, Any]) -> dict[str, float | None]:
    """Return what two results of a task are compared by; of `cue tune`, which chooses, nothing."""
    if task == "cue streams":
        noise = [rate for rates in result["noise"].values() for rate in rates.values()]
        slowest = {name: max(result[name].values()) for name in ("onset_s", "gone_s")}
        return {"noise_changes": max(noise), **slowest, "bridged": result["bridged"]}
    if task == "cue sequences":
        shown = {name: result[name] for name in ("coverage", "right")}
        return shown | {f"lively_{name}": result["lively"][name] for name in ("coverage", "right")}
    if task == "cue clips":
        names = ("coverage", "cue_right", "mean_cue_changes")
        return {f"{folder}_{name}": part[name] for folder, part in result["sums"].items() for name in names}
    if task == "cue people":
        own = [row for row in result["people"] if row["own_neutral"]]
        return {f"{row['group']}: {name}": row[name] for row in own for name in ("coverage", "right")}
    return {"ratio": result["ratio"]} if task == "cue blocked" else {}


def describe(report: Mapping[str, Any]) -> str:
    """Lay out a report's result."""
    task, result = report["task"], report["result"]
    if task == "cue streams":
        tables = [
            [{"noise": name} | _named(rates) for name, rates in result["noise"].items()],
            [{"seconds": name} | _named(result[name]) for name in ("onset_s", "gone_s")],
        ]
    elif task == "cue sequences":
        tables = [
            [{name: value for name, value in result.items() if name != "lively"}],
            [{"lively": "", **result["lively"]}],
        ]
    elif task == "cue clips":
        tables = [result["clips"], [{"clips": name} | part for name, part in result["sums"].items()]]
    elif task == "cue people":
        tables = [result["people"]]
    elif task == "cue tune":
        held_out = [{"held out": name} | part for name, part in (result["held_out"] or {}).items()]
        chosen = [{"settings": name} | found for name, found in result["settings"].items()]
        tables = [part for part in (chosen, result["points"], result["buys"], held_out) if part]
    else:
        tables = [[result]]
    return "\n\n".join(map(table, tables))


def _named(rates: Mapping[int, float]) -> dict[str, float]:
    return {f"{fps} fps": value for fps, value in rates.items()}


def finish(args: argparse.Namespace, report: Mapping[str, Any]) -> None:
    """Write the page of --page; raises what a file may."""
    if args.task == "cue tune" and args.page:
        write_page(args.page, report["result"], report["model"]["sha256"])
