"""`cuelens-bench-cue`: how steady and how right the cue is, beside the raw label; and the tuning of its settings.

Streams and what is counted on them are in benchmarks/streams.py; here they are made of data sets and clips.
"""

from __future__ import annotations

import argparse
import csv
import functools
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from benchmarks import streams
from benchmarks.result import add_output, make_folder, table, write_result
from benchmarks.streams import (
    LABELS,
    RATES,
    WORD,
    Probabilities,
    Step,
    Stream,
    changes,
    delay_until,
    film,
    follow,
    judge,
    nobody,
    play,
    raw_changes,
    steady,
)
from edge.command import command
from edge.config import SENSITIVITIES, CueSettings, FaceSettings, load_settings, with_sensitivity, with_settings
from edge.control import Control
from edge.cue import CuePolicy
from edge.errors import ContractMismatch, DataMissing
from edge.faces import FaceFinder, crop_face
from edge.loop import Turns, run
from edge.model import ExpressionModel
from edge.quiet import tame_opencv
from edge.sources import open_source
from edge.sources.demo import DemoSource
from edge.types import Capabilities, Cue, Gray, Sink, Update
from training.fer2013 import read_fer2013

CLIP_WORDS = Path(__file__).with_name("clip_words.csv")
FPS, SECONDS, JUDGED_AFTER = 10, 2.5, 1.0  # of a face's film; a cue is judged from a second on
SHIFT, TURN_DEG, GROW, NOISE, SWAY = 1.0, 3.0, 0.03, 3.0, 0.3  # standard deviations, of a film; seconds it keeps them
MINUTES = 2.0  # of a noise
DEFINITIONS = {
    "changes": "raw: of the largest word of the partner's readings; cue: from one word, or unsure, to another; word: "
    "from a word to another, whatever was between them. Coming and going of faces counts in none of them",
    "noise": f"over {MINUTES:g} minutes at {', '.join(map(str, RATES))} frames a second, the worst rate",
    "onset_s": "from the first frame of a clear expression (0.9), after another one or after nobody, the worst pair",
    "gone_s": "from the last frame with a face to the first dark cue",
    "sequences": f"a person a row of the data set, whose picture sways as before a camera, {SECONDS:g} s at {FPS} "
    f"frames a second, judged from {JUDGED_AFTER:g} s on; truth is FER2013's label; right: of the told",
    "lively": "one person who shows well-read faces of the data set for one to six seconds each, without a pause",
    "clips": "right: share of the frames with a word in clip_words.csv (one rater, by eye, where it is beyond doubt) "
    "in which that word is shown; raw: in which the newest reading's largest word is that",
}
# What `tune` varies, and what it must reach with each sensitivity. The rest of the settings are the wearer's taste.
VARIED: dict[str, tuple[float, ...]] = {
    "filter": (0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5),
    "doubt": (1.0, 1.5, 2.0, 3.0, 4.0),
    "enter": (0.6, 0.62, 0.65, 0.68, 0.7, 0.72, 0.75, 0.8),
    "leave": (0.45, 0.5, 0.55, 0.58, 0.6, 0.65),
    "margin": (0.2, 0.3, 0.4, 0.5),
    "onset": (0.0, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5),
    "decay": (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 1.0),
    "restless": (0.0, 0.5, 1.0, 2.0, 3.0),
    "lasting": (1.0, 1.5, 2.0, 3.0),
    "lively": (0.2, 0.3, 0.5, 1.0),
}
# Seconds of onset; changes a minute on noise, on readings that wander within 0.3 s and on lively people; share right of
# what is told; by how much less than the raw label's the share right on clips may be.
LIMITS = {
    "calm": {"onset_s": 1.2, "noise": 3.0, "wandering": 4.0, "lively": 18.0, "right": 0.93, "clips": 0.05},
    "normal": {"onset_s": 0.57, "noise": 6.0, "wandering": 8.0, "lively": 30.0, "right": 0.905, "clips": 0.0},
    "quick": {"onset_s": 0.27, "noise": 9.0, "wandering": 16.0, "lively": 60.0, "right": 0.88, "clips": 0.0},
}
# What is not tuned: how fast the wearer reads the display, and whether a change may pass through `unsure`.
FIXED = {"calm": {"hold": 1.0, "decay": 0.5}, "normal": {"hold": 0.6}, "quick": {"hold": 0.4}}


def sway(count: int, rng: np.random.Generator) -> npt.NDArray[np.float64]:
    """Return (count, 4) standard normal values that keep themselves for SWAY seconds."""
    keep = np.exp(-1 / (FPS * SWAY))
    rows = [rng.standard_normal(4)]
    for _ in range(count - 1):
        rows.append(keep * rows[-1] + np.sqrt(1 - keep**2) * rng.standard_normal(4))
    return np.array(rows)


def film_face(face: Gray, rng: np.random.Generator) -> Iterator[Gray]:
    """Yield pictures uint8 of a face as a tracker crops it: shifted, turned and grown a little, and noisy."""
    side = len(face)
    middle = ((side - 1) / 2, (side - 1) / 2)
    for right, down, turn, size in sway(round(FPS * SECONDS), rng):
        matrix = cv2.getRotationMatrix2D(middle, TURN_DEG * turn, 1 + GROW * size)
        matrix[:, 2] += SHIFT * right, SHIFT * down
        moved = cv2.warpAffine(face, matrix, (side, side), borderMode=cv2.BORDER_REPLICATE)
        yield np.clip(moved + rng.normal(0, NOISE, face.shape), 0, 255).astype(np.uint8)


def read_films(model: ExpressionModel, path: Path, split: str) -> tuple[Probabilities, list[str]]:
    """Read the film of each row of a FER2013 split; returns float (rows, frames, 7) and the rows' words."""
    rows = read_fer2013(path, split)[split]
    if model.contract.labels != LABELS or model.contract.side != rows.images.shape[1]:
        raise ContractMismatch(f"{model.contract.labels}: the cue is measured with models of FER2013's seven classes")
    rng = np.random.default_rng(0)
    faces = tqdm(rows.images, f"read {split}", unit="face", disable=not sys.stderr.isatty(), leave=False)
    films = np.array([[model.read(picture) for picture in film_face(face, rng)] for face in faces])
    return films, [WORD[LABELS[label]] for label in rows.labels]


def play_films(films: Probabilities, words: Sequence[str], settings: CueSettings) -> dict[str, float]:
    """Return coverage and what is right of it, over all films, each of a person met anew; and of the raw label."""
    told = right = raw = frames = 0
    for values, word in zip(films, words, strict=True):
        stream = film(values, FPS)
        for step, cue in zip(stream, play(stream, settings), strict=True):
            if step.t <= JUDGED_AFTER:
                continue
            frames += 1
            told += cue.expression is not None
            right += cue.expression == word
            raw += streams.raw_word(values[round(step.t * FPS) - 1]) == word
    return {
        "coverage": round(told / frames, 4),
        "right": round(right / max(told, 1), 4),
        "raw_right": round(raw / frames, 4),
    }


def watch(clip: Path, model: ExpressionModel, words: Sequence[tuple[float, float, str]]) -> Stream:
    """Find and read the faces of a clip as the loop does; returns its stream with what is true in it."""
    source = open_source(f"file:{clip}", live=False)
    finder, turns, stream = FaceFinder(FaceSettings()), Turns(FaceSettings()), []
    policy = CuePolicy(CueSettings(), LABELS)  # says whose turn it is
    try:
        for frame in source.frames():
            t = round(frame.t, 6)
            faces = finder.find(frame.gray, t)
            read = {
                face.id: np.array(model.read(crop_face(frame.gray, face, model.contract.side)))
                for face in turns.choose(faces, policy.partner, t)
            }
            step = Step(
                t,
                tuple((face, read.get(face.id)) for face in faces),
                next((word for start, end, word in words if start <= t <= end), None),
            )
            policy.update(faces, streams.readings(step), t)
            stream.append(step)
    finally:
        source.close()
    return stream


def read_clip_words(path: Path = CLIP_WORDS) -> dict[str, list[tuple[float, float, str]]]:
    """Return for each clip the seconds (from, to) in which its person's expression is beyond doubt, and its word."""
    words: dict[str, list[tuple[float, float, str]]] = {}
    with path.open(newline="") as file:
        for row in csv.DictReader(file):
            words.setdefault(row["clip"], []).append((float(row["start"]), float(row["end"]), row["word"]))
    return words


def watch_clips(folder: Path, model: ExpressionModel) -> dict[str, Stream]:
    """Return the streams of the folder's clips that have a word; raises DataMissing without any."""
    words = read_clip_words()
    paths = [folder / name for name in words if (folder / name).is_file()]
    if not paths:
        raise DataMissing(f"{folder}: none of the clips of {CLIP_WORDS.name} in it; give the folder that has them")
    shown = tqdm(paths, "watch", unit="clip", disable=not sys.stderr.isatty(), leave=False)
    return {path.name: watch(path, model, words[path.name]) for path in shown}


def judge_clips(clips: Mapping[str, Stream], settings: CueSettings) -> list[dict[str, Any]]:
    """Return for each clip its changes, and of its labelled frames in how many a word is told and in how many right."""
    rows = []
    for name, stream in clips.items():
        cues = play(stream, settings)
        judged = judge(_hold_readings(stream), cues)
        rows.append(
            {
                "clip": name,
                "seconds": round(stream[-1].t - stream[0].t, 1),
                "raw_changes": raw_changes(stream),
                "word_changes": word_changes(cues),
                "cue_changes": changes([cue for cue in cues if cue.shown not in UNTOLD]),
                "labelled": judged.known,
                "raw_right": judged.raw_right,
                "told": judged.told,
                "right": judged.right,
            }
        )
    return rows


def sum_clips(rows: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Return the clips' changes a minute, the share of the labelled frames that is told, and what of each is right."""
    whole = {key: sum(row[key] for row in rows) for key in rows[0] if key != "clip"}
    minutes = whole["seconds"] / 60
    return {
        **{f"{name}_per_minute": round(whole[name] / minutes, 1) for name in whole if name.endswith("_changes")},
        "told": round(whole["told"] / whole["labelled"], 4),
        "raw_right": round(whole["raw_right"] / whole["labelled"], 4),
        "cue_right": round(whole["right"] / max(whole["told"], 1), 4),
    }


def word_changes(cues: Sequence[Cue]) -> int:
    """Return how often another expression is shown than the one shown before it, whatever was between them."""
    words = [cue.expression for cue in cues if cue.expression]
    return sum(before != after for before, after in pairwise(words))


def _hold_readings(stream: Stream) -> Stream:
    """Let a face that was not read in a frame have its newest reading: a frame-by-frame display would still show it."""
    newest: dict[int, Probabilities] = {}
    held = []
    for step in stream:
        newest |= {face.id: values for face, values in step.people if values is not None}
        held.append(replace(step, people=tuple((face, newest.get(face.id)) for face, _ in step.people)))
    return held


def make_noise(films: Probabilities | None, fps: float) -> dict[str, Stream]:
    """Return streams of MINUTES in which nothing is shown that could be told; `films` gives real readings to mix up."""
    rng, seconds = np.random.default_rng(0), 60 * MINUTES
    noise = {
        "one class at random in each frame": streams.dirichlet(0.1, seconds, fps, rng),
        "any probabilities in each frame": streams.dirichlet(1.0, seconds, fps, rng),
        "two classes in turn, a frame each": streams.flicker("happy", "neutral", seconds, fps),
        "two classes in turn, 0.2 s each": streams.flicker("happy", "sad", seconds, fps, max(1, round(fps / 5))),
        "readings that wander within 0.1 s": streams.wandering(0.1, 2.0, seconds, fps, rng),
        "readings that wander within 0.3 s": streams.wandering(0.3, 2.0, seconds, fps, rng),
    }
    if films is not None:
        noise["another face's reading in each frame"] = streams.shuffled(films[:, 0], seconds, fps, rng)
    return noise


UNTOLD = ("face", "no_face")  # what is shown before anything is told of a face, and without one
WANDERING = "readings that wander within 0.3 s"


@functools.cache
def clear_changes(fps: float) -> list[tuple[Stream, float, str]]:
    """Return streams with a clear expression that begins, the instant of its first frame, and its word."""
    cases = []
    for before in (None, "neutral", "sad", "happy", "surprise"):
        for label in LABELS:
            if before is None or WORD[before] != WORD[label]:
                first = nobody(1, fps) if before is None else steady(before, 5, fps)
                cases.append((follow(first, steady(label, 3, fps)), first[-1].t + 1 / fps, WORD[label]))
    return cases


def worst_onset(settings: CueSettings) -> dict[int, float]:
    """Return by frame rate the seconds until the slowest clear expression is shown."""
    return {
        fps: round(
            max(
                delay_until(stream, play(stream, settings), since, lambda cue, word=word: cue.expression == word)  # type: ignore[misc]
                for stream, since, word in clear_changes(fps)
            ),
            3,
        )
        for fps in RATES
    }


def worst_gone(settings: CueSettings) -> dict[int, float]:
    """Return by frame rate the seconds from a face's last frame to the first dark cue."""
    result = {}
    for fps in RATES:
        stream = follow(steady("happy", 3, fps), nobody(2, fps))
        cues = play(stream, settings)
        dark = next(step.t for step, cue in zip(stream, cues, strict=True) if step.t > 3 and cue.state == "no_face")
        result[fps] = round(dark - 3, 3)
    return result


def measure_streams(settings: CueSettings) -> dict[str, Any]:
    """Return changes a minute on noise by its kind and frame rate, and onset and end by frame rate."""
    noise: dict[str, dict[int, float]] = {}
    for fps in RATES:
        for name, stream in make_noise(None, fps).items():
            noise.setdefault(name, {})[fps] = round(changes(play(stream, settings)) / MINUTES, 1)
    return {"noise": noise, "onset_s": worst_onset(settings), "gone_s": worst_gone(settings)}


def lively_streams(films: Probabilities, words: Sequence[str]) -> list[Stream]:
    """Return streams of a lively person, made of the films whose readings are right on the whole."""
    well = [row for row, word in enumerate(words) if streams.raw_word(films[row].mean(axis=0)) == word]
    few = films[well], [words[row] for row in well]
    return [streams.lively(*few, 120, FPS, np.random.default_rng(seed)) for seed in range(3)]


def play_lively(lively: Sequence[Stream], settings: CueSettings) -> dict[str, float]:
    """Return the share of the frames of lively people that is told, and what of it is right; and of the raw label."""
    parts = [judge(stream, play(stream, settings)) for stream in lively]
    known, told = sum(part.known for part in parts), sum(part.told for part in parts)
    return {
        "told": round(told / known, 4),
        "right": round(sum(part.right for part in parts) / max(told, 1), 4),
        "raw_right": round(sum(part.raw_right for part in parts) / known, 4),
    }


def tune(
    sensitivity: str, films: Probabilities, words: Sequence[str], clips: Mapping[str, Stream], rounds: int
) -> tuple[dict[str, float], list[dict[str, Any]]]:
    """Climb to settings that are right most and wrong least on lively people and clips, within the limits.

    Wrong counts twice as much as right. Returns them and each step taken. One setting is varied at a time, all in a
    seeded order, until a round improves nothing.
    """
    limits = LIMITS[sensitivity]
    lively = lively_streams(films, words)
    few = slice(None, None, 5)
    noises = [(name, stream) for fps in RATES for name, stream in make_noise(films, fps).items()]

    def excess(settings: CueSettings) -> Iterator[float]:
        """Yield by how much each limit is passed, cheap ones first."""
        yield max(0.0, max(worst_onset(settings).values()) / limits["onset_s"] - 1)
        yield max(0.0, (limits["right"] - play_films(films[few], words[few], settings)["right"]) / limits["right"])
        for name, stream in noises:
            limit = limits["wandering" if name == WANDERING else "noise"]
            yield max(0.0, changes(play(stream, settings)) / MINUTES / limit - 1)
        whole = sum_clips(judge_clips(clips, settings))
        yield max(0.0, whole["raw_right"] - whole["cue_right"] - limits["clips"])
        most = max(60 * changes(play(stream, settings)) / stream[-1].t for stream in lively)
        yield max(0.0, most / limits["lively"] - 1)

    def worth(told: float, right: float) -> float:
        return right - 2 * (told - right)

    def gain(settings: CueSettings) -> float:
        talks = play_lively(lively, settings)
        whole = sum_clips(judge_clips(clips, settings))
        return worth(talks["told"], talks["told"] * talks["right"]) + worth(
            whole["told"], whole["told"] * whole["cue_right"]
        )

    def value(settings: CueSettings) -> tuple[float, float]:
        over = sum(min(10.0, part) for part in excess(settings))
        return -over, gain(settings) if over == 0 else 0.0

    rng = np.random.default_rng(0)
    best = with_settings(with_sensitivity(CueSettings(), sensitivity), FIXED[sensitivity])
    reached = value(best)
    steps: list[dict[str, Any]] = []
    for number in range(rounds):
        improved = False
        names = tqdm(
            rng.permutation([name for name in VARIED if name not in FIXED[sensitivity]]),
            f"{sensitivity} {number + 1}",
            disable=not sys.stderr.isatty(),
        )
        for name in names:
            choices = VARIED[name]
            place = min(range(len(choices)), key=lambda index: abs(choices[index] - getattr(best, name)))
            for ways in (choices[place + 1 :], choices[:place][::-1]):
                for choice in ways:
                    tried = with_settings(best, {name: choice})
                    if tried.leave > tried.enter or (score := value(tried)) <= reached:
                        break
                    best, reached, improved = tried, score, True
                    steps.append({name: choice, "over": round(-score[0], 4), "gain": round(score[1], 4)})
                    print(f"{sensitivity}: {steps[-1]}", flush=True)
        if not improved:
            break
    return {name: getattr(best, name) for name in (*VARIED, "hold")}, steps


class _Blocked:
    """A sink that does not return from its first update for as long as told."""

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
        outcome = run(
            Control(), DemoSource("1", live=True), model, sinks, threading.Event(), seconds, say=lambda line: None
        )
        rates.append(outcome.health.fps)
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
    films, words = read_films(ExpressionModel(args.model), args.data, args.split)
    result: dict[str, Any] = {"split": args.split, "rows": len(words)} | play_films(films, words, settings)
    talks = play_lively(lively_streams(films, words), settings)
    print(table([result]), table([{"lively": "", **talks}]), sep="\n\n")
    return result | {"lively": talks}


def run_clips(args: argparse.Namespace, settings: CueSettings) -> dict[str, Any]:
    """Watch clips; prints and returns changes and what is right, raw and cue."""
    rows = judge_clips(watch_clips(args.clips, ExpressionModel(args.model)), settings)
    whole = sum_clips(rows)
    print(table(rows), table([whole]), sep="\n\n")
    return {"clips": rows, "whole": whole}


def run_tune(args: argparse.Namespace, settings: CueSettings) -> dict[str, Any]:
    """Tune each sensitivity; prints and returns the settings found and the steps to them."""
    model = ExpressionModel(args.model)
    films, words = read_films(model, args.data, "PublicTest")
    clips = watch_clips(args.clips, model)
    result: dict[str, Any] = {"limits": LIMITS}
    for sensitivity in args.only or SENSITIVITIES:
        found, steps = tune(sensitivity, films, words, clips, args.rounds)
        result[sensitivity] = {"settings": found, "steps": steps}
        print(f"{sensitivity}: {found}")
    return result


def run_blocked(args: argparse.Namespace, settings: CueSettings) -> dict[str, Any]:
    """Block a sink; prints and returns the loop's rates without and with it."""
    result = measure_blocked(args.seconds, ExpressionModel(args.model))
    print(table([result]))
    return result


@command
def main(parser: argparse.ArgumentParser, argv: list[str] | None = None) -> None:
    """Measure how steady and how right the cue is, beside the raw label."""
    tasks = parser.add_subparsers(dest="task", required=True, metavar="TASK")
    tasks.add_parser("streams", help="made-up streams: changes on noise, onset, end")
    sequences = tasks.add_parser("sequences", help="films of a data set's faces: coverage, and what is right of it")
    clips = tasks.add_parser("clips", help="clips: changes a minute and what is right, raw label and cue")
    tuned = tasks.add_parser("tune", help="search the settings of each sensitivity, on PublicTest, clips and streams")
    blocked = tasks.add_parser("blocked", help="a sink that blocks: frames a second without and with it")
    for sub in (sequences, tuned):
        sub.add_argument("--data", type=Path, required=True, help="FER2013's CSV")
    for sub in (clips, tuned):
        sub.add_argument("--clips", type=Path, required=True, help="folder of the clips that clip_words.csv names")
    sequences.add_argument("--split", default="PublicTest", help="PublicTest to choose by, PrivateTest to report once")
    tuned.add_argument("--rounds", type=int, default=4, help="over all settings, at most; default 4")
    tuned.add_argument("--only", action="append", choices=tuple(SENSITIVITIES), help="of the sensitivities")
    blocked.add_argument("--seconds", type=float, default=60.0, help="of each run; default 60")
    for sub in tasks.choices.values():
        sub.add_argument(
            "--model", type=Path, help="a .tflite file with its contract beside it; default the shipped one"
        )
        sub.add_argument("--settings", type=Path, help="settings file (TOML) whose [cue] counts")
        sub.add_argument("--sensitivity", choices=tuple(SENSITIVITIES), default="normal", help="without --settings")
    add_output(tasks.choices)
    args = parser.parse_args(argv)
    settings = load_settings(args.settings).cue if args.settings else with_sensitivity(CueSettings(), args.sensitivity)
    make_folder(args.out)
    tame_opencv()
    tasks_run: dict[str, Callable[[argparse.Namespace, CueSettings], dict[str, Any]]] = {
        "streams": run_streams,
        "sequences": run_sequences,
        "clips": run_clips,
        "tune": run_tune,
        "blocked": run_blocked,
    }
    result = tasks_run[args.task](args, settings)
    if args.out:
        model = ExpressionModel(args.model).contract.sha256
        path = args.out / f"{args.task}.json"
        write_result(path, result, DEFINITIONS, settings=asdict(settings), model=model)


if __name__ == "__main__":
    main()
