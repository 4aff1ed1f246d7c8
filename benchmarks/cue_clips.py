"""Clips whose people's expressions are known by the second (clip_words.csv), watched as the loop does, and judged."""

from __future__ import annotations

import csv
import hashlib
import re
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from statistics import fmean
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

import edge
from benchmarks.streams import LABELS, Probabilities, Step, Stream, changes, judge, play, raw_changes
from edge.diagnostics.replay import read_faces, read_log
from edge.errors import DataMissing
from edge.files import make_folder
from edge.runtime.control import Control
from edge.settings import CueSettings, FaceSettings, Settings
from edge.sinks.log import LogSink
from edge.sources import open_source
from edge.types import Cue
from edge.vision.model import ExpressionModel
from edge.vision.pipeline import Pipeline
from edge.vision.sight import DeviceSight
from edge.vision.tflite import models_folder
from lab.progress import progress
from lab.staging import stage

CLIP_WORDS = Path(__file__).with_name("clip_words.csv")
EDGE = Path(edge.__file__).parent
READERS = ("sources", "vision")  # of the device's code: what a reading depends on
FINDERS = ("face", "scan")  # networks that find faces, which every sight loads
UNTOLD = ("face", "no_face")  # what is shown before a face is read, and without one


def watch(clip: Path, model: ExpressionModel, log: Path) -> None:
    """Find and read the faces of a clip by the device's pipeline, into a log that `cuelens replay` takes too."""
    source = open_source(f"file:{clip}", live=False)
    way = Pipeline(DeviceSight(FaceSettings(), model), model.contract.labels, CueSettings())
    with closing(source), stage(log) as staged, closing(LogSink(str(staged), Control(Settings()))) as sink:
        for frame in source.frames():
            sink.show(way.process(frame))


def read_stream(log: Path, words: Sequence[tuple[float, float, str]]) -> Stream:
    """Return the stream of a clip's log; `words` say what is true in it, from when to when."""
    stream: Stream = []
    labels: tuple[str, ...] = ()
    for _, record in read_log(log):
        if "run" in record:
            labels = tuple(record["run"]["labels"])
            order = [labels.index(label) for label in LABELS]
        faces, readings = read_faces(record, labels)
        values = {reading.face_id: np.array(reading.probabilities)[order] for reading in readings}
        t = float(record["t"])
        truth = next((word for start, end, word in words if start <= t <= end and word), None)
        stream.append(Step(t, tuple((face, values.get(face.id)) for face in faces), truth))
    return stream


def read_clip_words(path: Path = CLIP_WORDS) -> dict[str, list[tuple[float, float, str]]]:
    """Return for each clip the seconds (from, to) in which its person's expression is beyond doubt, and its word.

    An empty word says that the eye gives none there: it differs from seconds that nobody looked at.
    """
    words: dict[str, list[tuple[float, float, str]]] = {}
    with path.open(newline="") as file:
        for row in csv.DictReader(file):
            words.setdefault(row["clip"], []).append((float(row["start"]), float(row["end"]), row["word"]))
    return words


def watch_clips(folders: Sequence[Path], model: ExpressionModel, logs: Path | None = None) -> dict[str, Stream]:
    """Return the streams of the folders' clips that have words, as FOLDER/CLIP; raises DataMissing without any.

    Each clip is watched once for a model and a state of the code that reads it, and its log kept in the folder `logs`;
    where that is None, in one that is gone afterwards.
    """
    words = read_clip_words()
    paths = [folder / name for name in words for folder in folders if (folder / name).is_file()]
    if not paths:
        where = ", ".join(map(str, folders))
        raise DataMissing(f"{where}: none of the clips of {CLIP_WORDS.name} in it; give the folder that has them")
    with ExitStack() as stack:
        kept = logs or Path(stack.enter_context(TemporaryDirectory()))
        make_folder(kept)
        state = f"{model.contract.sha256[:12]}-{_reading_state(model)}"
        shown = progress(paths, "watch", unit="clip")
        streams_by_clip = {}
        for path in shown:
            log = kept / f"{path.name}.{state}.jsonl"
            if not log.is_file():
                watch(path, model, log)
            streams_by_clip[f"{path.parent.name}/{path.name}"] = read_stream(log, words[path.name])
        return streams_by_clip


def _reading_state(model: ExpressionModel) -> str:
    """Return a hash of what a reading depends on: settings of faces, the code of READERS, networks and contracts."""
    digest = hashlib.sha256(repr((FaceSettings(), model.contract)).encode())
    paths = [path for name in READERS for path in (EDGE / name).rglob("*.py")] + [EDGE / "types.py"]
    paths += [models_folder() / f"{name}{suffix}" for name in FINDERS for suffix in (".tflite", ".json")]
    for path in sorted(paths):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


def judge_clips(clips: Mapping[str, Stream], settings: CueSettings) -> list[dict[str, Any]]:
    """Return for each clip its changes, and of its labelled frames how many show a word, and the right one."""
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
                "shown": round(sum(cue.expression is not None for cue in cues) / len(cues), 4),
                "labelled": judged.known,
                "raw_right": judged.raw_right,
                "covered": judged.covered,
                "right": judged.right,
            }
        )
    return rows


def sum_clips(rows: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Return what clips come to: changes a minute, and of the labelled frames the share with a word and what is right.

    `mean_` are means over clips, each counting alike; the others count each frame, or each minute, alike.
    """
    labelled = [row for row in rows if row["labelled"]]
    total = {key: sum(row[key] for row in rows) for key in rows[0] if key != "clip"}
    minutes = total["seconds"] / 60
    covered = [row for row in labelled if row["covered"]]
    return {
        **{f"{name}_per_minute": round(total[name] / minutes, 1) for name in total if name.endswith("_changes")},
        "mean_cue_changes": round(fmean(60 * row["cue_changes"] / max(row["seconds"], 0.1) for row in rows), 2),
        "mean_shown": round(fmean(row["shown"] for row in rows), 4),
        "coverage": round(total["covered"] / max(total["labelled"], 1), 4),
        "mean_coverage": round(fmean(row["covered"] / row["labelled"] for row in labelled), 4) if labelled else 0.0,
        "raw_right": round(total["raw_right"] / max(total["labelled"], 1), 4),
        "cue_right": round(total["right"] / max(total["covered"], 1), 4),
        "mean_cue_right": round(fmean(row["right"] / row["covered"] for row in covered), 4) if covered else 0.0,
    }


def sum_folders(rows: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, float]]:
    """Return `sum_clips` of all rows, and of those of each folder."""
    folders = sorted({row["clip"].partition("/")[0] for row in rows})
    parts = {name: [row for row in rows if row["clip"].startswith(f"{name}/")] for name in folders}
    return {"whole": sum_clips(rows)} | {name: sum_clips(part) for name, part in parts.items() if part}


def person_of(clip: str) -> str:
    """Return who is in a clip, as far as its name says: what is chosen on one person is judged on others."""
    name = clip.rpartition("/")[2]
    return next((match[0] for match in [re.match(r"\d\d-|asl|cap1", name)] if match), name)


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
