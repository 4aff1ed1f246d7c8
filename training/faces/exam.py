"""By what the verifier is judged: views that no fit sees, the same for the float network and its int8 file."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from edge.vision.verifier import OUTPUTS
from lab.networks.keras_file import as_batch
from lab.progress import progress
from training.faces.int8 import Int8Network
from training.faces.material import finish
from training.faces.scenes import Scene, draw_patches
from training.faces.views import (
    UNITS,
    Images,
    draw_faces,
    draw_false_alarms,
    draw_misplaced,
)

if TYPE_CHECKING:
    import keras


EXAM_ROWS = 8000  # false alarms, and random patches, that the fit is judged by
RATES = (0.1, 0.03, 0.01)  # of false alarms, at which recall is measured
CHOSEN_RATE = 0.01  # of these, the one that chooses the epoch
DECISION = 2.0  # log odds, seven to one: where int8 must decide as float does
Answers = tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]
"""Log odds (n,) that a view shows a face, and its pose (n, 4) in UNITS."""


@dataclass(frozen=True, slots=True)
class Exam:
    """Views, uint8 (n, SIDE, SIDE), of faces and scenes that no fit sees, the same for every network."""

    faces: Images
    poses: npt.NDArray[np.float32]  # (n, 4), of the faces, in UNITS
    false_alarms: Images
    patches: Images
    misplaced: Images


def draw_exam(faces: Images, scenes: Sequence[Scene], false_alarms: Images, rng: np.random.Generator) -> Exam:
    """Draw the views that networks are judged by: one of each face, EXAM_ROWS of what shows none."""
    behind = draw_patches(scenes, len(faces), rng)
    views, poses = draw_faces(faces, behind, rng)
    chosen = false_alarms[rng.integers(len(false_alarms), size=EXAM_ROWS)]
    return Exam(
        finish(views, rng),
        poses,
        finish(draw_false_alarms(chosen, draw_patches(scenes, EXAM_ROWS, rng), rng), rng),
        finish(draw_patches(scenes, EXAM_ROWS, rng), rng),
        finish(draw_misplaced(faces, behind, rng), rng),
    )


def judge(answer: Callable[[Images], Answers], exam: Exam) -> dict[str, Any]:
    """Return recall of faces by the rate of false alarms, what else is taken for a face, and how far poses are off.

    Rates are shares of false alarms of the cascade; `patches` and `misplaced` are shares at the chosen rate's log odds.
    """
    of_faces, poses = answer(exam.faces)
    of_false_alarms, _ = answer(exam.false_alarms)
    log_odds = {rate: float(np.quantile(of_false_alarms, 1 - rate)) for rate in RATES}
    least = log_odds[CHOSEN_RATE]
    errors = np.abs(poses - exam.poses) * UNITS
    return {
        "recall": {str(rate): round(float((of_faces > most).mean()), 4) for rate, most in log_odds.items()},
        "log_odds": {str(rate): round(most, 3) for rate, most in log_odds.items()},
        "patches": round(float((answer(exam.patches)[0] > least).mean()), 4),
        "misplaced": round(float((answer(exam.misplaced)[0] > least).mean()), 4),
        "roll_deg": _summarise_errors(errors[:, 0], 2),
        "shift": _summarise_errors(errors[:, 1:3], 4),
        "log_size": _summarise_errors(errors[:, 3], 4),
    }


def _summarise_errors(errors: npt.NDArray[np.float64], digits: int) -> dict[str, float]:
    return {"median": round(float(np.median(errors)), digits), "p90": round(float(np.quantile(errors, 0.9)), digits)}


def answer_keras(network: keras.Model) -> Callable[[Images], Answers]:
    """Return a call that asks the float network about views, uint8 (n, SIDE, SIDE)."""

    def answer(views: Images) -> Answers:
        log_odds, poses = network.predict(as_batch(views), batch_size=1024, verbose=0)
        return np.asarray(log_odds[:, 0], np.float64), np.asarray(poses, np.float64)

    return answer


def answer_int8(content: bytes) -> Callable[[Images], Answers]:
    """Return a call that asks an int8 file about views, uint8 (n, SIDE, SIDE), as the device does."""
    network = Int8Network(content)

    def answer(views: Images) -> Answers:
        log_odds, poses = np.empty(len(views)), np.empty((len(views), OUTPUTS["pose"]))
        for i, view in enumerate(progress(views, "ask int8")):
            network.put(view)
            log_odds[i], poses[i] = network.real(OUTPUTS["face"])[0], network.real(OUTPUTS["pose"])
        return log_odds, poses

    return answer


def measure(network: keras.Model, content: bytes, exam: Exam) -> dict[str, Any]:
    """Judge the float network and its int8 file by the same views, and how often they decide alike."""
    asked: dict[str, list[npt.NDArray[np.float64]]] = {"float": [], "int8": []}

    def remember(name: str, answer: Callable[[Images], Answers]) -> Callable[[Images], Answers]:
        def ask(views: Images) -> Answers:
            log_odds, poses = answer(views)
            asked[name].append(log_odds)
            return log_odds, poses

        return ask

    judged = {
        "float": judge(remember("float", answer_keras(network)), exam),
        "int8": judge(remember("int8", answer_int8(content)), exam),
    }
    float_, int8 = (np.concatenate(asked[name]) for name in ("float", "int8"))
    return {
        "faces": len(exam.faces),
        "false_alarms": len(exam.false_alarms),
        **judged,
        "agreement": {
            "log_odds": DECISION,
            "views": len(float_),
            "share": round(float(((float_ > DECISION) == (int8 > DECISION)).mean()), 4),
            "mean_drift": round(float(np.abs(float_ - int8).mean()), 4),
        },
    }
