"""A log through the policy again, without pixels: the same cues under the same settings, others under others."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from itertools import pairwise
from pathlib import Path
from typing import Any, get_args

import numpy as np

from edge.errors import SourceEmpty, SourceMissing, SourceUnreadable
from edge.settings import CueSettings
from edge.settings_file import check_setting
from edge.sinks.log import cue_record
from edge.types import Cue, Face, Frame, Gray, Quality, Reading, State
from edge.vision.pipeline import Effort, Found, Pipeline

LATEST = 1e9  # seconds of a capture clock: thirty years after the boot
NO_PIXELS: Gray = np.zeros((0, 0), np.uint8)
LONGEST_LINE = 1_000_000  # bytes: a line of the log has some hundred for each face


@dataclass(frozen=True, slots=True)
class Decision:
    """A line of the log decided again: `words` are the partner's raw probabilities, None where it was not read."""

    record: dict[str, Any]  # the line with the new cue
    t: float
    logged: str  # what the wearer could tell apart then
    shown: str  # ... and now
    words: dict[str, float] | None


def read_log(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield a log's lines with their numbers; one cut short at the end, as by a pulled plug, is left out.

    Raises SourceMissing, SourceEmpty, or SourceUnreadable with the line.
    """
    found = False
    try:
        with path.open("rb") as file:
            for number, line in enumerate(iter(lambda: file.readline(LONGEST_LINE), b""), 1):
                if not line.endswith(b"\n") and len(line) < LONGEST_LINE:
                    break
                try:
                    record = json.loads(line.lstrip(b"\0"))  # the hole that a cut left in logs of 0.1.0
                except (ValueError, RecursionError) as error:
                    raise SourceUnreadable(
                        f"{path}:{number}: no JSON: {error}; give a file that --sink log wrote"
                    ) from error
                if not isinstance(record, dict):
                    raise SourceUnreadable(f"{path}:{number}: no object; give a file that --sink log wrote")
                found = True
                yield number, record
    except FileNotFoundError as error:
        raise SourceMissing(f"{path}: no such log; give the path of one that --sink log:PATH wrote") from error
    except OSError as error:
        raise SourceUnreadable(f"{path}: {error.strerror}; give a log that can be read") from error
    if not found:
        raise SourceEmpty(f"{path}: no whole line in it; give a log that --sink log:PATH wrote")


class LoggedSight:
    """What was seen before, as the pipeline asks for it: the faces of a log's line, and those readings made in it."""

    def __init__(self) -> None:
        self._faces: list[Face] = []
        self._readings: list[Reading] = []

    def take(self, faces: list[Face], readings: list[Reading]) -> None:
        """See this in the next frame."""
        self._faces, self._readings = faces, readings

    def find(self, gray: Gray, t: float, effort: Effort) -> Found:
        """Return the line's faces."""
        return Found(tuple(self._faces))

    def schedule(self, faces: Sequence[Face], partner: int | None, t: float, effort: Effort) -> tuple[list[Face], int]:
        """Return who was read."""
        read = {reading.face_id for reading in self._readings}
        return [face for face in faces if face.id in read], 0

    def read(self, gray: Gray, face: Face) -> tuple[float, ...] | None:
        """Return what was read."""
        return next((item.probabilities for item in self._readings if item.face_id == face.id), None)


def replay(path: Path, settings: CueSettings | None = None) -> Iterator[Decision]:
    """Decide every line of a log again, under `settings` or, where None, under those it was made with.

    Raises what `read_log` raises, and SourceUnreadable where a line lacks what the policy decides on.
    """
    sight = LoggedSight()
    pipeline: Pipeline | None = None
    labels: tuple[str, ...] = ()
    first: int | None = None  # line of a rotated log's beginning that was written before its settings were again
    for number, record in read_log(path):
        try:
            if "run" in record:
                labels = tuple(map(str, record["run"]["labels"]))
                tried = settings or _settings(record["run"]["cue"])
                if pipeline is None:
                    pipeline = Pipeline(sight, labels, tried)
                else:
                    pipeline.change(tried)
                record["run"]["cue"] = asdict(tried)
            if pipeline is None:
                first = first or number
                continue
            t = float(record["t"])
            if not 0 <= t < LATEST:
                raise ValueError(f"t is {t}; valid are 0 to {LATEST:g} s")
            state, expression = record["state"], record["expression"]
            if state not in get_args(State) or not isinstance(expression, str | None):
                raise ValueError(f"state is {state!r}, expression {expression!r}")
            logged = Cue(state, expression, 0.0, 0.0, record["reason"]).shown
            cue, words = _decide(pipeline, sight, labels, record, t)
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
            what = f"lacks {error}" if isinstance(error, KeyError) else str(error)
            raise SourceUnreadable(f"{path}:{number}: {what}; this is no line that --sink log writes") from error
        yield Decision(record | cue_record(cue), t, logged, cue.shown, words)
    if pipeline is None:
        raise SourceUnreadable(f"{path}:{first}: lacks 'run'; this is no log that --sink log writes from its beginning")


def _settings(values: dict[str, Any]) -> CueSettings:
    known = {item.name for item in fields(CueSettings)}
    return CueSettings(
        **{key: check_setting(CueSettings, key, value, key) for key, value in values.items() if key in known}
    )


def _decide(
    pipeline: Pipeline, sight: LoggedSight, labels: tuple[str, ...], record: dict[str, Any], t: float
) -> tuple[Cue, dict[str, float] | None]:
    if record["seq"] is None:  # a line without a frame: the camera was lost, or the wearer paused
        return (pipeline.pause(t) if record["state"] == "paused" else pipeline.lose_camera(t)).cue, None
    sight.take(*read_faces(record, labels))
    update = pipeline.process(Frame(NO_PIXELS, t, 0, t))
    policy = pipeline.policy
    partner = next((item for item in update.fresh if item.face_id == policy.partner), None)
    return update.cue, policy.words(partner.probabilities) if partner else None


def read_faces(record: dict[str, Any], labels: tuple[str, ...]) -> tuple[list[Face], list[Reading]]:
    """Return the faces of a log's line with a frame, and those readings that were made in it.

    Raises KeyError, TypeError, ValueError or AttributeError for what no log has.
    """
    t = float(record["t"])
    faces, readings = [], []
    for each in record["faces"]:
        quality = Quality(**{key: float(value) for key, value in each["quality"].items()})
        x, y, width, height = map(int, each["box"])
        face = Face(
            int(each["id"]),
            (x, y, width, height),
            float(each["roll_deg"]),
            quality,
            score=float(each["score"]),
            distance_m=float(each["distance_m"]),
            bearing_deg=float(each["bearing_deg"]),
        )
        faces.append(face)
        if each["probabilities"] is not None:
            readings.append(Reading(face.id, tuple(float(each["probabilities"][label]) for label in labels), t))
    return faces, readings


def summarise(decisions: list[Decision]) -> dict[str, Any]:
    """Count what a replay came to: seconds, changes a minute, and the seconds of each thing shown."""
    seconds = decisions[-1].t - decisions[0].t
    raw = [max(item.words, key=item.words.__getitem__) for item in decisions if item.words]
    by_shown: dict[str, float] = {}
    for before, after in pairwise(decisions):
        by_shown[before.shown] = by_shown.get(before.shown, 0.0) + after.t - before.t

    def per_minute(labels: list[str]) -> float:
        return round(60 * sum(a != b for a, b in pairwise(labels)) / seconds, 1) if seconds > 0 else 0.0

    return {
        "lines": len(decisions),
        "seconds": round(seconds, 3),
        "as_logged": sum(item.logged == item.shown for item in decisions),
        "changes_per_minute": {
            "raw": per_minute(raw),
            "logged": per_minute([item.logged for item in decisions]),
            "cue": per_minute([item.shown for item in decisions]),
        },
        "seconds_shown": {name: round(value, 3) for name, value in sorted(by_shown.items(), key=lambda item: -item[1])},
    }


def describe_summary(summary: dict[str, Any]) -> str:
    """Return it in lines for a person."""
    changed = summary["changes_per_minute"]
    seconds = ", ".join(f"{name} {value:.1f} s" for name, value in summary["seconds_shown"].items())
    return "\n".join(
        [
            f"{summary['as_logged']} of {summary['lines']} cues as logged, {summary['seconds']:.1f} s",
            f"changes a minute: raw label {changed['raw']}, cue as logged {changed['logged']}, now {changed['cue']}",
            f"shown: {seconds or 'nothing'}",
        ]
    )
