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
from benchmarks.result import add_output, make_folder, table, write_result
from benchmarks.streams import RATES
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
    """Run the live demo with a sink that works, then with one that blocks; returns both rates and their ratio."""
    rates = []
    for block in (0.0, seconds):
        release = threading.Event()
        sinks: list[tuple[str, Sink]] = [("blocked", _Blocked(release, block))]
        outcome = run_loop(
            Control(), DemoSource("1", live=True), model, sinks, threading.Event(), seconds, say=lambda line: None
        )
        rates.append(outcome.metrics.fps)
    free, blocked = rates
    return {
        "seconds": seconds,
        "fps": round(free, 2),
        "fps_blocked": round(blocked, 2),
        "ratio": round(blocked / free, 4),
    }


def run_streams(args: argparse.Namespace, settings: CueSettings) -> dict[str, Any]:
    """Play made-up streams; prints and returns what the cue makes of them."""
    result = measure_streams(settings)
    print(table([{"noise": name} | _named(rates) for name, rates in result["noise"].items()]))
    print(table([{"seconds": name} | _named(result[name]) for name in ("onset_s", "gone_s")]))
    return result


def _named(rates: Mapping[int, float]) -> dict[str, float]:
    return {f"{fps} fps": value for fps, value in rates.items()}


def run_sequences(args: argparse.Namespace, settings: CueSettings) -> dict[str, Any]:
    """Play films of a data set's faces; prints and returns coverage and what is right of it."""
    films, words = read_films(ExpressionModel(args.model), args.data, args.split, args.ferplus)
    result: dict[str, Any] = {"split": args.split, "rows": len(words)} | play_films(films, words, settings)
    talks = play_lively(lively_streams(films, words), settings)
    print(table([result]), table([{"lively": "", **talks}]), sep="\n\n")
    return result | {"lively": talks}


def run_clips(args: argparse.Namespace, settings: CueSettings) -> dict[str, Any]:
    """Watch clips; prints and returns changes and what is right, raw and cue."""
    rows = judge_clips(watch_clips(args.clips, ExpressionModel(args.model), args.logs), settings)
    parts = sum_folders(rows)
    print(table(rows), table([{"clips": name} | part for name, part in parts.items()]), sep="\n\n")
    return {"clips": rows, "sums": parts}


def run_people(args: argparse.Namespace, settings: CueSettings) -> dict[str, Any]:
    """Watch the people of a folder of pictures, with their own neutrals and without; prints and returns both."""
    rows = compare(read_people(args.images, ExpressionModel(args.model)), settings)
    print(table(rows))
    return {"people": rows}


def run_tune(args: argparse.Namespace, settings: CueSettings) -> dict[str, Any]:
    """Choose the settings of each sensitivity; prints them and what each buys, and writes the page of --page."""
    clips = watch_clips(args.clips, ExpressionModel(args.model), args.logs)
    result = tune(Bench(clips), settings, args.rounds, validate=not args.quick)
    for name, found in result["settings"].items():
        print(f"{name}: {found}")
    print(table(result["points"]), table(result["buys"]), sep="\n\n")
    if "held_out" in result:
        print(table([{"held out": name} | part for name, part in result["held_out"].items()]))
    if args.page:
        write_page(args.page, result, ExpressionModel(args.model).contract.sha256)
    return result


def run_blocked(args: argparse.Namespace, settings: CueSettings) -> dict[str, Any]:
    """Block a sink; prints and returns the loop's rates without and with it."""
    result = measure_blocked(args.seconds, ExpressionModel(args.model))
    print(table([result]))
    return result


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the parts, each with its options."""
    tasks = parser.add_subparsers(dest="part", required=True, metavar="TASK")
    tasks.add_parser("streams", help="made-up streams: changes on noise, onset, end")
    sequences = tasks.add_parser("sequences", help="films of a data set's faces: coverage, and what is right of it")
    clips = tasks.add_parser("clips", help="clips: changes a minute and what is right, raw label and cue")
    people = tasks.add_parser("people", help="pictures by person: with each one's own neutral, and without")
    tuned = tasks.add_parser("tune", help="choose the settings of each sensitivity on clips, by person")
    blocked = tasks.add_parser("blocked", help="a sink that blocks: frames a second without and with it")
    sequences.add_argument("--data", type=Path, required=True, help="FER2013's CSV")
    sequences.add_argument("--ferplus", type=Path, help="fer2013new.csv: the truth is its raters' majority")
    sequences.add_argument("--split", default="PublicTest", help="PublicTest to choose by, PrivateTest to report once")
    people.add_argument("--images", type=Path, required=True, help="folder of faces, its labels.csv with subject")
    for sub in (clips, tuned):
        sub.add_argument(
            "--clips",
            type=Path,
            required=True,
            action="append",
            help="folder of clips that clip_words.csv names; again",
        )
        sub.add_argument("--logs", type=Path, help="folder that keeps what was read of each clip, for the next time")
    tuned.add_argument("--rounds", type=int, default=2, help="over all settings, at most; default 2")
    tuned.add_argument("--quick", action="store_true", help="without the cross-validation by person")
    tuned.add_argument("--page", type=Path, help="Markdown file to write, its plot beside it: what each setting buys")
    blocked.add_argument("--seconds", type=float, default=60.0, help="of each run; default 60")
    for sub in tasks.choices.values():
        sub.add_argument(
            "--model", type=Path, help="a .tflite file with its contract beside it; default the shipped one"
        )
        sub.add_argument("--settings", type=Path, help="settings file (TOML) whose [cue] counts")
        sub.add_argument("--sensitivity", choices=tuple(SENSITIVITIES), default="normal", help="without --settings")
    add_output(tasks.choices)


def run(args: argparse.Namespace) -> None:
    """Measure one part; raises what the settings, the model and the part raise."""
    settings = load_settings(args.settings).cue if args.settings else with_sensitivity(CueSettings(), args.sensitivity)
    make_folder(args.out)
    tame_opencv()
    parts: dict[str, Callable[[argparse.Namespace, CueSettings], dict[str, Any]]] = {
        "streams": run_streams,
        "sequences": run_sequences,
        "clips": run_clips,
        "people": run_people,
        "tune": run_tune,
        "blocked": run_blocked,
    }
    result = parts[args.part](args, settings)
    if args.out:
        model = ExpressionModel(args.model).contract.sha256
        path = args.out / f"{args.part}.json"
        write_result(path, result, DEFINITIONS, settings=asdict(settings), model=model)
