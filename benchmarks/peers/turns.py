"""`cuelens-bench peers`: us beside what others use, on the same clips in the same run, turn by turn.

Each turn is measure.py in a new process, in its system's environment (setup.sh); here turns are started and summed up.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.report import Measured
from benchmarks.result import progress_bar, table
from edge.errors import BenchFailed, SettingsInvalid
from edge.sources import open_source

ROOT = Path(__file__).resolve().parent.parent.parent
PROGRAM = Path(__file__).with_name("measure.py")
EVALUATION = ROOT / "models" / "evaluation.json"
OF_LABELS = "fer2013.tflite"
CHOSEN = ("asl_gestures_book.mkv", "cap13_edit2.mp4", "WolfgangLanger_Pexels.mp4")  # of --clips: one face in each
ROUNDS = 3
FRAMES = 250
OURS = "cuelens"
SPLIT = "PrivateTest"


@dataclass(frozen=True, slots=True)
class System:
    """Who takes turns: `peer` is whose environment it runs in, `what` is in what a frame costs."""

    name: str
    peer: str | None
    what: str
    reads: bool = True  # faces' expressions


SYSTEMS = (
    System(
        OURS,
        None,
        "the device's loop (edge.runtime.run): decode, to gray, find and track faces, read them, cue, a sink "
        "that counts; its threads share the core",
    ),
    System(
        "fer",
        "fer",
        "decode, FER(mtcnn=False).detect_emotions: Haar cascade (scale 1.1, at least 50 pixels), its .tflite network "
        "on each face",
    ),
    System("fer-keras", "fer", "as fer, with use_tflite=False: its Keras network"),
    System(
        "face_classification",
        "face_classification",
        "decode, to gray, Haar cascade (scale 1.3, 5 neighbours), boxes widened by 20 and 40 pixels, mini_XCEPTION by "
        "Keras on each face, by predict_on_batch: predict, as published, costs far more in Keras 3; shown is the most "
        "frequent of the last ten labels",
    ),
    System(
        "mediapipe",
        "mediapipe",
        "decode, to RGB, FaceDetection(model_selection=0).process: faces only, no expression",
        reads=False,
    ),
)
PEERS = tuple(system.name for system in SYSTEMS if system.peer)

DEFINITIONS = {
    "order": "each round gives every system one turn, in the order listed; a turn is a new process on one core that "
    "takes all clips, one after another, as fast as it can, after a warm-up on the first",
    "cpu_ms_per_frame": "user and system CPU of the whole process over the measured frames, decoding included for all, "
    "by frame; start and warm-up are not in it. `what` says what else is",
    "wall_ms_per_frame": "elapsed, by frame; where the machine has other work it says little",
    "decoding_cpu_ms_per_frame": "of cpu_ms_per_frame, to get the frame; ours makes it gray in that, too",
    "detection_cpu_ms_per_frame": "of cpu_ms_per_frame, to find faces; ours tracks and levels them in that, too",
    "share_with_face": "of the frames, those with any face, true or false",
    "faces": "boxes over all frames, true or false",
    "label_changes_per_minute": "of video: frames whose largest face has another top class, of all seven and nothing "
    "smoothed, than that of the frame with a label before it",
    "display_changes_per_minute": "of video: frames in which what is shown differs from the frame before, nothing "
    "included: ours is the cue, of four words, unsure and face; theirs is the label, face_classification's smoothed",
    "start_cpu_s": "CPU of the process from its begin until all is loaded and the first frame could be given",
    "first_result_cpu_s": "the same until the first frame's result is there, opening the clip included",
    "peak_rss_mb": "most resident memory of the process (VmHWM) in MB of 10^6 bytes, start included",
    "accuracy": f"share of FER2013 {SPLIT}'s rows whose label the network gives, by its own pre-processing of the "
    "48x48 picture, with its 95 % interval (Wilson); ours was taken once for what ships: models/evaluation.json",
    "against": "ours by theirs: of the ratios of the two turns of each round the median, the least and the most",
    "rounds": "each one's figures; a system's figure is the median over them",
    "missing": "why there are no figures",
}

_PER_FRAME = ("cpu", "wall", "decoding_cpu", "detection_cpu")
_ONCE = ("start_cpu_s", "first_result_cpu_s", "peak_rss_mb")
_COMPARED = ("cpu_ms_per_frame", "wall_ms_per_frame", *_ONCE)


def add_arguments(parser: argparse.ArgumentParser, task: str) -> None:
    """Add the task's options to its parser."""
    parser.add_argument(
        "--clip", type=Path, action="append", default=[], metavar="FILE", help="a video; several allowed"
    )
    parser.add_argument("--clips", type=Path, metavar="DIR", help=f"folder with {', '.join(CHOSEN)}, to take these")
    parser.add_argument("--peer", action="append", choices=PEERS, help="several allowed; default all")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="turns of each, at least 2; default %(default)s")
    parser.add_argument("--frames", type=int, default=FRAMES, help="of each clip at most so many; default %(default)s")
    parser.add_argument("--warmup", type=int, default=60, help="frames before, not measured; default %(default)s")
    parser.add_argument("--data", type=Path, help=f"FER2013's CSV, for what the peers' networks reach on {SPLIT}")


def measure(args: argparse.Namespace) -> Measured:
    """Measure by the options.

    Raises SettingsInvalid, what the clips' source and the data set raise, and BenchFailed where our own turn fails.
    """
    clips = [*args.clip, *((args.clips / name for name in CHOSEN) if args.clips else ())]
    if not clips:
        raise SettingsInvalid("no clip; give some with --clip FILE, or the folder of the known ones with --clips DIR")
    if len({clip.name for clip in clips}) < len(clips):
        raise SettingsInvalid("two clips have one name, which must differ; rename one, or give it once")
    for name, low in {"rounds": 2, "frames": 1, "warmup": 1}.items():
        if (value := getattr(args, name)) < low:
            raise SettingsInvalid(f"--{name} is {value}; it must be at least {low}")
    for clip in clips:
        open_source(f"file:{clip}", live=False).close()
    systems = [system for system in SYSTEMS if system.name in (OURS, *(args.peer or PEERS))]
    missing = {system.name: reason for system in systems if (reason := why_missing(system))}
    words = [*(str(clip.resolve()) for clip in clips), "--frames", str(args.frames), "--warmup", str(args.warmup)]
    turns = take_turns(systems, args.rounds, words, missing)
    accuracies = {OURS: recorded_accuracy(turns[OURS][0]["software"]["runtime"])}
    if args.data:
        accuracies |= measure_accuracies([system for system in systems if system.name not in missing], args.data)
    result = {
        "rounds": args.rounds,
        "frames": args.frames,
        "warmup": args.warmup,
        "clips": [
            {key: row[key] for key in ("clip", "width", "height", "frames", "video_s")}
            for row in turns[OURS][0]["clips"]
        ],
        "systems": {
            system.name: {"missing": missing[system.name]}
            if system.name in missing
            else summary(system, turns[system.name], turns[OURS]) | {"accuracy": accuracies.get(system.name)}
            for system in systems
        },
    }
    rounds = {name: system["rounds"] for name, system in result["systems"].items() if "rounds" in system}
    ours = [turn["cpu_ms_per_frame"] for turn in rounds[OURS]]
    figures = {
        "cpu_ms_per_frame": ours,
        "peak_rss_mb": [turn["peak_rss_mb"] for turn in rounds[OURS]],
        **{
            f"cpu by {name}'s": [our / turn["cpu_ms_per_frame"] for our, turn in zip(ours, of_peer, strict=True)]
            for name, of_peer in rounds.items()
            if name != OURS
        },
    }
    return Measured(result, figures, DEFINITIONS)


def take_turns(
    systems: Sequence[System], rounds: int, words: Sequence[str], missing: dict[str, str]
) -> dict[str, list[dict[str, Any]]]:
    """Give each system its turn in each round, and return its turns' figures.

    A peer that fails is added to `missing` with its reason and left out from then on; raises BenchFailed where we fail.
    """
    turns: dict[str, list[dict[str, Any]]] = {system.name: [] for system in systems}
    with progress_bar(rounds * (len(systems) - len(missing)), "turn") as bar:
        for _ in range(rounds):
            for system in systems:
                if system.name in missing:
                    continue
                bar.set_postfix_str(system.name)
                try:
                    taken = take_turn(system, words)
                    hold_to(taken, turns[OURS][-1] if system.peer else taken)
                    turns[system.name].append(taken)
                except BenchFailed as error:
                    if system.name == OURS:
                        raise
                    missing[system.name] = str(error)
                bar.update()
    return turns


def hold_to(turn: Mapping[str, Any], ours: Mapping[str, Any]) -> None:
    """Raise BenchFailed, naming the clip, where a turn was of other frames than ours."""
    for clip, our in zip(turn["clips"], ours["clips"], strict=True):
        if clip["frames"] != our["frames"]:
            raise BenchFailed(f"{clip['clip']}: {clip['frames']} frames of it were read, by us {our['frames']}")


def take_turn(system: System, words: Sequence[str]) -> dict[str, Any]:
    """Run measure.py in the system's environment and return its figures; raises BenchFailed with its last words."""
    command = [str(python_of(system)), "-I", str(PROGRAM), system.name, *words]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    try:
        taken: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    except (ValueError, IndexError) as error:
        printed = (done.stderr.strip() or "nothing").splitlines()[-1]
        raise BenchFailed(f"{system.name} ended with code {done.returncode} and printed: {printed}") from error
    return taken


def python_of(system: System) -> Path:
    """Return the Python of the system's environment; ours is the one that runs this."""
    return Path(sys.executable) if system.peer is None else ROOT / f".venv-peer-{system.peer}" / "bin" / "python"


def why_missing(system: System) -> str | None:
    """Return why a system cannot take a turn, None where it can."""
    failed = ROOT / f".venv-peer-{system.peer}.failed"  # by setup.sh
    if system.peer and failed.exists():
        return f"cannot be installed: {failed.read_text(encoding='utf-8').strip()}"
    return None if python_of(system).exists() else f"not set up; benchmarks/peers/setup.sh {system.peer} does that"


def measure_accuracies(systems: Sequence[System], data: Path) -> dict[str, dict[str, Any]]:
    """Return what the peers' networks reach on SPLIT; one that fails says why. Raises what reading the data raises."""
    peers = [system for system in systems if system.peer and system.reads]
    if not peers:
        return {}
    import numpy as np

    from lab.datasets.fer2013 import read_fer2013
    from lab.scores import wilson_interval

    faces = read_fer2013(data, SPLIT)[SPLIT]
    accuracies: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory() as folder, progress_bar(len(peers), "network") as bar:
        path = Path(folder) / "faces.npz"
        np.savez(path, images=faces.images, labels=faces.labels)
        for system in peers:
            try:
                taken = take_turn(system, ["--faces", str(path)])
            except BenchFailed as error:
                accuracies[system.name] = {"missing": str(error)}
            else:
                share = taken["right"] / taken["rows"]
                interval = [round(end, 5) for end in wilson_interval(share, taken["rows"])]
                accuracies[system.name] = {"share": round(share, 5), "interval": interval, "rows": taken["rows"]}
            bar.update()
    return accuracies


def recorded_accuracy(runtime: str) -> dict[str, Any]:
    """Return what our network of FER2013's label reached on SPLIT with this runtime, as it was recorded once.

    What ships is fitted to the raters' truth; peers are fitted to that label, and compared by it.
    """
    wanted = {"split": SPLIT, "model": OF_LABELS, "runtime": runtime}
    for record in json.loads(EVALUATION.read_bytes()):
        if all(record[key] == value for key, value in wanted.items()):
            own = record["own_labels"]
            return {"share": own["accuracy"], "interval": own["accuracy_interval"], "rows": own["rows"]}
    return {"missing": f"{EVALUATION.name} has no record of {OF_LABELS} with {runtime}"}


def summary(system: System, turns: Sequence[Mapping[str, Any]], ours: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return what a system's turns say, as medians over the rounds, whole and by clip, and ours by theirs."""
    rounds = [{**costs(turn["clips"]), **{key: turn[key] for key in _ONCE}} for turn in turns]
    clips = [clip["clip"] for clip in turns[0]["clips"]]
    taken = {
        "what": system.what,
        "software": turns[0]["software"],
        **medians(rounds),
        "clips": {clip: medians([costs([turn["clips"][index]]) for turn in turns]) for index, clip in enumerate(clips)},
        "rounds": rounds,
    }
    if system.name != OURS:
        our_rounds = [{**costs(turn["clips"]), **{key: turn[key] for key in _ONCE}} for turn in ours]
        taken["against"] = {
            key: ratio([turn[key] for turn in our_rounds], [turn[key] for turn in rounds]) for key in _COMPARED
        }
    return taken


def costs(clips: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return what clips cost a frame and what was found and shown in them, all clips' frames together."""
    whole = {key: sum(clip[key] for clip in clips) for key in clips[0] if type(clips[0][key]) in (int, float)}
    minutes = whole["video_s"] / 60
    return {
        **{f"{name}_ms_per_frame": round(1000 * whole[f"{name}_s"] / whole["frames"], 3) for name in _PER_FRAME},
        "share_with_face": round(whole["frames_with_face"] / whole["frames"], 4),
        "faces": whole["faces"],
        **{
            f"{name}_per_minute": round(whole[name] / minutes, 1) if name in whole else None
            for name in ("label_changes", "display_changes")
        },
    }


def medians(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the median of each figure over rows that have the same; None where it is none."""
    return {
        key: None if value is None else round(statistics.median(row[key] for row in rows), 4)
        for key, value in rows[0].items()
    }


def ratio(ours: Sequence[float], theirs: Sequence[float]) -> dict[str, float]:
    """Return our figure by theirs, round by round: the median, the least and the most."""
    ratios = [our / their for our, their in zip(ours, theirs, strict=True)]
    ends = {"median": statistics.median(ratios), "least": min(ratios), "most": max(ratios)}
    return {name: round(value, 4) for name, value in ends.items()}


def describe(report: Mapping[str, Any]) -> str:
    """Return a report for a person: a line for each system, ours by theirs, and who is missing and why."""
    result = report["result"]
    systems = result["systems"]
    present = {name: system for name, system in systems.items() if "missing" not in system}
    rows = [
        {
            "system": name,
            "CPU ms/frame": f"{system['cpu_ms_per_frame']:.2f}",
            "decoding": f"{system['decoding_cpu_ms_per_frame']:.2f}",
            "detection": f"{system['detection_cpu_ms_per_frame']:.2f}",
            "wall ms/frame": f"{system['wall_ms_per_frame']:.2f}",
            "with face": f"{system['share_with_face']:.1%}",
            "faces": f"{system['faces']:.0f}",
            "labels/min": _number(system["label_changes_per_minute"], ".0f"),
            "shown/min": _number(system["display_changes_per_minute"], ".0f"),
            "RSS MB": f"{system['peak_rss_mb']:.0f}",
            "start CPU s": f"{system['start_cpu_s']:.2f}",
            SPLIT: _number((system["accuracy"] or {}).get("share"), ".2%"),
        }
        for name, system in present.items()
    ]
    clips = ", ".join(
        f"{clip['frames']} frames of {clip['clip']} ({clip['width']}x{clip['height']})" for clip in result["clips"]
    )
    lines = [f"medians of {result['rounds']} rounds, one core, {clips}", "", table(rows), ""]
    for name, system in present.items():
        if name != OURS:
            cpu = system["against"]["cpu_ms_per_frame"]
            lines.append(
                f"ours by {name}: {cpu['median']:.3f} ({cpu['least']:.3f} to {cpu['most']:.3f}) of its CPU a frame"
            )
    lines += [f"{name} is missing: {system['missing']}" for name, system in systems.items() if "missing" in system]
    return "\n".join(lines)


def _number(value: float | None, shape: str) -> str:
    return "-" if value is None else format(value, shape)
