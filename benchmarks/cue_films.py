"""Films made of a data set's faces, each of a new person or all of a lively one, and how the cue does on them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from benchmarks import streams
from benchmarks.streams import LABELS, Probabilities, Stream, film, judge, play
from edge.cue.policy import WORD_OF
from edge.errors import ContractMismatch
from edge.settings import CueSettings
from edge.types import Gray
from edge.vision.model import ExpressionModel
from lab.datasets.ferplus import relabel
from lab.datasets.read import read_data
from lab.progress import progress

FPS, SECONDS, JUDGED_AFTER = 10, 2.5, 1.0  # of a face's film; a cue is judged from a second on
SHIFT, TURN_DEG, GROW, NOISE, SWAY = 1.0, 3.0, 0.03, 3.0, 0.3  # standard deviations, of a film; seconds it keeps them


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


def read_films(
    model: ExpressionModel, path: Path, split: str, ferplus: Path | None = None
) -> tuple[Probabilities, list[str]]:
    """Read the film of each row of a FER2013 split; returns float (rows, frames, 7) and the rows' words.

    The words are those of the majority of FER+'s raters, without the rows that have none; of FER2013's own label where
    `ferplus` is None.
    """
    if set(model.contract.labels) != set(LABELS):
        raise ContractMismatch(f"{model.contract.labels}: the cue is measured with models of FER2013's seven classes")
    rows = read_data(path, model.contract.preprocessing, [split], ferplus=ferplus).splits[split]
    if ferplus is not None:
        rows = relabel(rows)
    order = [model.contract.labels.index(label) for label in LABELS]
    rng = np.random.default_rng(0)
    faces = progress(rows.images, f"read {split}", unit="face")
    films = np.array([[model.read(picture) for picture in film_face(face, rng)] for face in faces])[:, :, order]
    return films, [WORD_OF[LABELS[label]] for label in rows.labels]


def play_films(films: Probabilities, words: Sequence[str], settings: CueSettings) -> dict[str, float]:
    """Return coverage and what is right of it, over all films, each of a new person; and of the raw label."""
    covered = right = raw = frames = 0
    for values, word in zip(films, words, strict=True):
        stream = film(values, FPS)
        for step, cue in zip(stream, play(stream, settings), strict=True):
            if step.t <= JUDGED_AFTER:
                continue
            frames += 1
            covered += cue.expression is not None
            right += cue.expression == word
            raw += streams.raw_word(values[round(step.t * FPS) - 1]) == word
    return {
        "coverage": round(covered / frames, 4),
        "right": round(right / max(covered, 1), 4),
        "raw_right": round(raw / frames, 4),
    }


def lively_streams(films: Probabilities, words: Sequence[str]) -> list[Stream]:
    """Return streams of a lively person, made of the films whose readings are right on the whole."""
    well = [row for row, word in enumerate(words) if streams.raw_word(films[row].mean(axis=0)) == word]
    few = films[well], [words[row] for row in well]
    return [streams.lively(*few, 120, FPS, np.random.default_rng(seed)) for seed in range(3)]


def play_lively(lively: Sequence[Stream], settings: CueSettings) -> dict[str, float]:
    """Return the share of lively people's frames with a word, and what of it is right; and of the raw label."""
    parts = [judge(stream, play(stream, settings)) for stream in lively]
    known, covered = sum(part.known for part in parts), sum(part.covered for part in parts)
    return {
        "coverage": round(covered / known, 4),
        "right": round(sum(part.right for part in parts) / max(covered, 1), 4),
        "raw_right": round(sum(part.raw_right for part in parts) / known, 4),
    }
