"""Whether judging people against their own neutral helps those whose faces at rest are misread: pictures by person."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

import cv2
import numpy as np

from benchmarks.streams import LABELS, PARTNER, Probabilities, Step, Stream, judge, play
from edge.cue.policy import WORD_OF
from edge.errors import DataColumnMissing, DataLabelInvalid, DataMissing, DataSplitEmpty, DataUnreadable
from edge.settings import CueSettings, with_settings
from edge.vision.model import ExpressionModel
from lab.progress import progress

FPS, SHOWN = 10, 2.0  # frames a second; seconds for which a person shows what is in one picture
LEAST, LEAST_AT_REST = 8, 3  # pictures of a person, and of these neutral ones
MISREAD = 0.25  # share of the people whose neutral pictures are read as `upset` most


@dataclass(frozen=True)
class Person:
    """One person's pictures: float (n, 7) probabilities in LABELS' order, and what each shows."""

    name: str
    readings: Probabilities
    words: tuple[str, ...]

    @property
    def upset_at_rest(self) -> float:
        """Return how much of `upset` is read from the person's neutral pictures."""
        upset = [index for index, label in enumerate(LABELS) if WORD_OF[label] == "upset"]
        rest = [row for row, word in enumerate(self.words) if word == "neutral"]
        return float(self.readings[np.ix_(rest, upset)].sum(axis=1).mean())

    def stream(self, seed: int) -> Stream:
        """Return the person's pictures one after the other, each for SHOWN seconds, in an order that `seed` makes."""
        steps: Stream = []
        for row in np.random.default_rng(seed).permutation(len(self.words)):
            for _ in range(round(FPS * SHOWN)):
                steps.append(Step((len(steps) + 1) / FPS, ((PARTNER, self.readings[row]),), self.words[row]))
        return steps


def read_people(folder: Path, model: ExpressionModel) -> list[Person]:
    """Read the pictures of a folder whose labels.csv has `subject`; returns the people of whom there are enough.

    Raises DataMissing, DataUnreadable, DataColumnMissing, DataLabelInvalid, DataSplitEmpty where nobody has enough.
    """
    order = [model.contract.labels.index(label) for label in LABELS]
    by_person: dict[str, list[tuple[Path, str]]] = {}
    try:
        with (folder / "labels.csv").open(newline="") as file:
            for row in csv.DictReader(file):
                path, label = folder / row["path"], row["label"]
                if label not in WORD_OF:
                    raise DataLabelInvalid(
                        f"{folder}/labels.csv: {row['path']} has the label {label!r}; valid are {', '.join(WORD_OF)}"
                    )
                by_person.setdefault(row["subject"], []).append((path, WORD_OF[label]))
    except OSError as error:
        raise DataMissing(f"{folder}: {error.strerror}: labels.csv; give a folder with path,label,subject") from error
    except KeyError as error:
        raise DataColumnMissing(f"{folder}/labels.csv: no column {error}; it needs path, label, subject") from error
    enough = {
        name: rows
        for name, rows in by_person.items()
        if len(rows) >= LEAST and sum(word == "neutral" for _, word in rows) >= LEAST_AT_REST
    }
    if not enough:
        raise DataSplitEmpty(
            f"{folder}: {len(by_person)} people, none with {LEAST} pictures and {LEAST_AT_REST} of them neutral; "
            "give a folder with more pictures of each"
        )
    people = []
    for name, rows in progress(enough.items(), "read", unit="person"):
        readings = []
        for path, _ in rows:
            picture = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
            if picture is None:
                raise DataUnreadable(f"{path}: no picture; fetch the folder again")
            readings.append(
                np.array(model.read(model.contract.preprocessing.apply(np.asarray(picture, np.uint8))))[order]
            )
        people.append(Person(name, np.array(readings), tuple(word for _, word in rows)))
    return people


def compare(people: Sequence[Person], settings: CueSettings, seeds: int = 3) -> list[dict[str, Any]]:
    """Return for all people, and for those whose rest is misread most, what own neutrals change.

    `neutral` and `smile` are the shares of such frames in which that word is shown; `as_upset` the share of neutral
    frames in which `upset` is.
    """
    misread = sorted(people, key=lambda person: -person.upset_at_rest)[: max(1, round(MISREAD * len(people)))]
    rows = []
    for group, members in (("everybody", people), ("misread at rest", misread)):
        for own in (False, True):
            tried = settings if own else with_settings(settings, {"rest_most": 0.0})
            figures = [_figures(person, tried, seed) for person in members for seed in range(seeds)]
            row: dict[str, Any] = {"group": group, "people": len(members), "own_neutral": own}
            for key in ("coverage", "right", "neutral", "as_upset", "smile", "upset"):
                known = [value for each in figures if (value := each[key]) is not None]
                row[key] = round(fmean(known), 4) if known else None
            rows.append(row)
    return rows


def _figures(person: Person, settings: CueSettings, seed: int) -> Mapping[str, float | None]:
    stream = person.stream(seed)
    cues = play(stream, settings)
    judged = judge(stream, cues)

    def share(truth: str, shown: str) -> float | None:
        of = [cue.expression == shown for step, cue in zip(stream, cues, strict=True) if step.truth == truth]
        return sum(of) / len(of) if of else None

    return {
        "coverage": judged.covered / judged.known,
        "right": judged.right / judged.covered if judged.covered else None,
        "neutral": share("neutral", "neutral"),
        "as_upset": share("neutral", "upset"),
        "smile": share("smile", "smile"),
        "upset": share("upset", "upset"),
    }
