"""`cuelens read`: what each face of a picture shows; the finder's faces, the network's reading, one word or `unsure`.

A still has no frames before it: the face is read as it is and mirrored, and the mean is held to the cue's thresholds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edge.cue.evidence import two_best, why_unclear
from edge.cue.policy import CuePolicy, why_unfit
from edge.locale.words import name_of
from edge.settings import CueSettings, LookSettings, Settings
from edge.stills.finder import Progress, StillFinder, describe_face_still, face_record
from edge.types import Face, Gray, Reason
from edge.vision.faces import crop_face
from edge.vision.model import ExpressionModel
from edge.vision.sight import read_crop


@dataclass(frozen=True, slots=True)
class StillReading:
    """What one face of a picture shows: `word` of the wearer's vocabulary, or None and why it is unsure."""

    face: Face
    labels: tuple[str, ...]
    probabilities: tuple[float, ...]  # in the labels' order
    word: str | None
    reason: Reason | None
    confidence: float  # probability of the likeliest word

    def name(self, look: LookSettings) -> str:
        """Return the word in the wearer's language; `unsure` has one too."""
        return name_of(self.word or "unsure", look.language)


class StillReader:
    """Finds and reads the faces of one picture at a time; pure on arrays."""

    def __init__(self, settings: Settings, model: ExpressionModel) -> None:
        """Load the finder beside `model`; raises what it raises."""
        self._settings, self._model = settings.cue, model
        self._finder = StillFinder(settings.faces)
        self._policy = CuePolicy(settings.cue, model.contract.labels)

    def read(self, gray: Gray, progress: Progress | None = None) -> list[StillReading]:
        """Return what the faces of a luma picture, uint8 (height, width), show; nearest first.

        `progress` is given the share of the search for them that is done.
        """
        return [self._read_face(gray, face) for face in self._finder.find(gray, progress)]

    def _read_face(self, gray: Gray, face: Face) -> StillReading:
        crop = crop_face(gray, face, self._model.contract.side)
        both = read_crop(self._model, crop), read_crop(self._model, np.ascontiguousarray(crop[:, ::-1]))
        probabilities = tuple(float(value) for value in np.mean(both, axis=0))
        words = self._policy.words(probabilities)
        best, _ = two_best(words)
        reason = judge_still(face, words, self._settings)
        word = None if reason else best
        return StillReading(face, self._model.contract.labels, probabilities, word, reason, words[best])


def judge_still(face: Face, words: Mapping[str, float], settings: CueSettings) -> Reason | None:
    """Return why a face whose words have these probabilities is `unsure`, by the cue's own rules; None where not."""
    unfit = why_unfit(face.quality.whole, face.quality.frontal, settings)
    best, second = two_best(words)
    return unfit or why_unclear(best, second, words[best], words, settings)


def reading_record(path: Path, readings: Sequence[StillReading], look: LookSettings) -> dict[str, Any]:
    """Return a picture's readings as JSON-ready values: those of `cuelens faces`, and the reading of each face."""
    return {
        "path": str(path),
        "faces": [
            face_record(reading.face)
            | {
                "expression": reading.word,
                "word": reading.name(look),
                "reason": reading.reason,
                "confidence": round(reading.confidence, 4),
                "probabilities": {
                    label: round(value, 4) for label, value in zip(reading.labels, reading.probabilities, strict=True)
                },
            }
            for reading in readings
        ],
    }


def describe_readings(path: Path, readings: Sequence[StillReading], look: LookSettings) -> str:
    """Return a picture's readings as lines for a person."""
    lines = [f"{path}: {len(readings)} face{'' if len(readings) == 1 else 's'}"]
    for reading in readings:
        why = f" ({name_of(reading.reason, look.language)})" if reading.reason else ""
        lines.append(f"  {reading.name(look)}{why}, {reading.confidence:.0%}:{describe_face_still(reading.face)[1:]}")
        likely = sorted(zip(reading.probabilities, reading.labels, strict=True), reverse=True)
        lines.append("    " + ", ".join(f"{label} {value:.2f}" for value, label in likely))
    return "\n".join(lines)
