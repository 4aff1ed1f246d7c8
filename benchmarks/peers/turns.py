"""`python -m benchmarks.peers.turns`: us beside what others use, on the same clips in the same run, turn by turn.

Each turn is measure.py in a new process, in the environment of its system (setup.sh); here they are started and summed up.
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

from benchmarks.result import make_folder, progress_bar, table, write_result
from edge.command import command
from edge.errors import BenchFailed, SettingsInvalid
from edge.sources import open_source

ROOT = Path(__file__).resolve().parent.parent.parent
PROGRAM = Path(__file__).with_name("measure.py")
EVALUATION = ROOT / "models" / "evaluation.json"
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
        "the device's loop (edge.loop.run): decode, to gray, find and track faces, read them, cue, a sink that counts; its threads share "
        "the core",
    ),
    System(
        "fer",
        "fer",
        "decode, FER(mtcnn=False).detect_emotions: Haar cascade (1.1, at least 50 pixels), its int8 .tflite network on each face",
    ),
    System("fer-keras", "fer", "as fer, with use_tflite=False: its Keras network"),
    System(
        "face_classification",
        "face_classification",
        "decode, to gray, Haar cascade (1.3, 5 neighbours), boxes widened by 20 and 40 pixels, mini_XCEPTION by Keras' predict on each "
        "face; shown is the most frequent of the last ten labels",
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
    "order": "each round gives every system one turn, in the order listed; a turn is a new process on one core that takes all clips one "
    "after the other, as fast as it can, after a warm-up on the first",
    "cpu_ms_per_frame": "user and system CPU of the whole process over the measured frames, decoding included for all, by frame; start and "
    "warm-up are not in it. `what` says what else is",
    "wall_ms_per_frame": "elapsed, by frame; of a machine with other work it says little",
    "decoding_cpu_ms_per_frame": "of cpu_ms_per_frame, getting the frame; ours makes it gray in that, too",
    "detection_cpu_ms_per_frame": "of cpu_ms_per_frame, finding faces; ours tracks, scores and straightens them in that, too",
    "share_with_face": "of the frames, those with any face, true or false",
    "faces": "boxes over all frames, true or false",
    "label_changes_per_minute": "of video: frames whose largest face has another top class than that of the last such frame, of all seven "
    "classes, nothing smoothed",
    "display_changes_per_minute": "of video: frames in which what is shown differs from the frame before, dark included: ours is the cue, of "
    "four words and unsure; theirs their own label, face_classification's smoothed as it does",
    "start_cpu_s": "CPU of the process from its begin until all is loaded and the first frame could be given",
    "first_result_cpu_s": "the same until the first frame's result is there, opening the clip included",
    "peak_rss_mb": "most resident memory of the process (VmHWM) in MB of 10^6 bytes, start included",
    "accuracy": f"share of FER2013 {SPLIT}'s rows whose label the network gives, by its own pre-processing of the 48x48 picture; ours was "
    "taken once for what ships, and is read from models/evaluation.json",
    "against": "ours by theirs: median over rounds, and least and most over rounds, of the ratio of the two turns of one round",
    "median": "what is told of a system is the median over its rounds; each round is listed",
    "missing": "why a peer has no figures",
}

_PER_FRAME = ("cpu", "wall", "decoding_cpu", "detection_cpu")
_ONCE = ("start_cpu_s", "first_result_cpu_s", "peak_rss_mb")
_COMPARED = ("cpu_ms_per_frame", "wall_ms_per_frame", *_ONCE)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the task's options to its parser."""
    parser.add_argument("--clip", type=Path, action="append", default=[], metavar="FILE", help="a video; several allowed")
    parser.add_argument("--clips", type=Path, metavar="DIR", help=f"folder with {', '.join(CHOSEN)}, to take these")
    parser.add_argument("--peer", action="append", choices=PEERS, help="several allowed; default all")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="turns of each, at least 2; default %(default)s")
    parser.add_argument("--frames", type=int, default=FRAMES, help="of each clip at most so many; default %(default)s")
    parser.add_argument("--warmup", type=int, default=60, help="frames before, not measured; default %(default)s")
    parser.add_argument("--data", type=Path, help=f"FER2013's CSV, for what the peers' networks reach on {SPLIT}")


def run(args: argparse.Namespace) -> tuple[dict[str, Any], dict[str, str]]:
    """Measure by the options, print a table, and return the result with its definitions.

    Raises SettingsInvalid, what the sources of the clips and the data set raise, and BenchFailed where our own turn fails.
    """
    clips = [*args.clip, *((args.clips / name for name in CHOSEN) if args.clips else ())]
    if not clips:
        raise SettingsInvalid("no clip; give some with --clip FILE, or the folder of the known ones with --clips DIR")
    for name, low in {"rounds": 2, "frames": 1, "warmup": 1}.items():
        if (value := getattr(args, name)) < low:
            raise SettingsInvalid(f"--{name} is {value}; it must be at least {low}")
    for clip in clips:
        open_source(f"file:{clip}", live=False).close()
    systems = [system for system in SYSTEMS if system.name in (OURS, *(args.peer or PEERS))]
    missing = {system.name: reason for system in systems if (reason := why_missing(system))}
    accuracies = measure_accuracies([system for system in systems if system.name not in missing], args.data)
    words = ["--frames", str(args.frames), "--warmup", str(args.warmup), *(str(clip.resolve()) for clip in clips)]
    turns = take_turns(systems, args.rounds, words, missing)
    result = {
        "rounds": args.rounds,
        "frames": args.frames,
        "warmup": args.warmup,
        "clips": [
            {key: row[key] for key in ("clip", "width", "height", "frames", "video_s")} for row in turns[OURS][0]["clips"]
        ],
        "systems": {
            system.name: {"missing": missing[system.name]}
            if system.name in missing
            else summary(system, turns[system.name], turns[OURS]) | {"accuracy": accuracies.get(system.name)}
            for system in systems
        },
    }
    print(tell(result))
    return result, DEFINITIONS


def take_turns(
    systems: Sequence[System], rounds: int, words: Sequence[str], missing: dict[str, str]
) -> dict[str, list[dict[str, Any]]]:
    """Give each system its turn in each round, and return what its turns told.

    A peer that fails is added to `missing` with its reason, and left out from then on. Raises BenchFailed where we fail.
    """
    turns: dict[str, list[dict[str, Any]]] = {system.name: [] for system in systems}
    with progress_bar(rounds * (len(systems) - len(missing)), "turn") as bar:
        for _ in range(rounds):
            for system in systems:
                if system.name in missing:
                    continue
                bar.set_postfix_str(system.name)
                try:
                    turns[system.name].append(take_turn(system, words))
                except BenchFailed as error:
                    if system.name == OURS:
                        raise
                    missing[system.name] = str(error)
                bar.update()
    return turns


def take_turn(system: System, words: Sequence[str]) -> dict[str, Any]:
    """Run measure.py in the system's environment and return what it told; raises BenchFailed with its last words."""
    command = [str(python_of(system)), "-I", str(PROGRAM), system.name, *words]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    try:
        told: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    except (ValueError, IndexError) as error:
        said = (done.stderr.strip() or "nothing").splitlines()[-1]
        raise BenchFailed(f"{system.name} ended with code {done.returncode} and said: {said}") from error
    return told


def python_of(system: System) -> Path:
    """Return the Python of the system's environment; ours is the one that runs this."""
    return Path(sys.executable) if system.peer is None else ROOT / f".venv-peer-{system.peer}" / "bin" / "python"


def why_missing(system: System) -> str | None:
    """Say why a system cannot take a turn, None where it can."""
    failed = ROOT / f".venv-peer-{system.peer}.failed"  # by setup.sh
    if system.peer and failed.exists():
        return f"cannot be installed: {failed.read_text(encoding='utf-8').strip()}"
    return None if python_of(system).exists() else f"not set up; benchmarks/peers/setup.sh {system.peer} does that"


def measure_accuracies(systems: Sequence[System], data: Path | None) -> dict[str, dict[str, Any]]:
    """Return right answers, rows and their share by system: the peers' measured where there is data, ours as recorded."""
    accuracies = {OURS: recorded_accuracy(systems)}
    peers = [system for system in systems if system.peer and system.reads]
    if data is None or not peers:
        return accuracies
    import numpy as np

    from training.fer2013 import read_fer2013

    faces = read_fer2013(data, SPLIT)[SPLIT]
    with tempfile.TemporaryDirectory() as folder, progress_bar(len(peers), "network") as bar:
        path = Path(folder) / "faces.npz"
        np.savez(path, images=faces.images, labels=faces.labels)
        for system in peers:
            try:
                told = take_turn(system, ["--faces", str(path)])
                accuracies[system.name] = told | {"share": round(told["right"] / told["rows"], 5)}
            except BenchFailed as error:
                accuracies[system.name] = {"missing": str(error)}
            bar.update()
    return accuracies
