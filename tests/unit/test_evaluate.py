"""Scores on cases that can be worked out by hand, and `cuelens-evaluate` on the shipped model."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from training.evaluate import calibration_error, score, wilson_interval
from training.fer2013 import CLASSES

EVALUATE = [sys.executable, "-c", "from training.evaluate import main; main()"]


def certain(labels: list[int]) -> np.ndarray:
    return np.eye(7)[labels]


def test_a_perfect_model_scores_one() -> None:
    labels = np.array([0, 1, 2, 3, 4, 5, 6])
    result = score(certain(labels.tolist()), labels)
    assert (result["accuracy"], result["balanced_accuracy"], result["macro_f1"], result["ece"]) == (1, 1, 1, 0)
    assert result["confusion"] == np.eye(7, dtype=int).tolist()


def test_a_case_worked_out_by_hand() -> None:
    truth, said = np.array([3, 3, 3, 3, 6, 6]), [3, 3, 3, 6, 6, 3]
    result = score(certain(said), truth)
    assert result["accuracy"] == pytest.approx(4 / 6, abs=1e-5)
    assert result["balanced_accuracy"] == pytest.approx((3 / 4 + 1 / 2) / 2)
    assert result["classes"]["happy"] == {"precision": 0.75, "recall": 0.75, "support": 4}
    assert result["confusion"][6][3] == 1
    assert result["ece"] == pytest.approx(2 / 6, abs=1e-5)


def test_a_model_as_sure_as_it_is_right_has_no_calibration_error() -> None:
    probabilities = np.tile([0.75, 0.25], (4, 1))
    assert calibration_error(probabilities, np.array([0, 0, 0, 1])) == pytest.approx(0)


def test_wilsons_interval_against_a_published_value() -> None:
    # Newcombe, Statistics in Medicine 17 (1998), table I: 81 of 263 gives 0.2553 to 0.3662.
    assert wilson_interval(81 / 263, 263) == pytest.approx((0.2553, 0.3662), abs=1e-4)


@pytest.mark.shared
@pytest.mark.slow
def test_the_shipped_model_scores_what_its_card_says_without_tensorflow(shared: Path, repository: Path) -> None:
    table = shared / "fer2013" / "fer2013.csv.xz"
    model = repository / "models" / "emotion.tflite"
    command = [*EVALUATE, str(model), "--data", str(table), "--split", "PublicTest", "--json"]
    done = subprocess.run(command, cwd=repository, capture_output=True, text=True, check=True)
    result = json.loads(done.stdout)
    assert done.stderr == ""
    contract = json.loads(model.with_suffix(".json").read_text())
    # Runtimes differ in rounding: see the card for by how much.
    assert result["accuracy"] == pytest.approx(contract["measured"]["PublicTest"]["accuracy"], abs=0.004)
    assert result["accuracy"] >= 0.64
    assert list(result["classes"]) == list(CLASSES)


def test_a_missing_model_is_one_line_and_its_own_code(repository: Path) -> None:
    command = [*EVALUATE, "none.tflite", "--data", "none.csv", "--json"]
    done = subprocess.run(command, cwd=repository, capture_output=True, text=True, check=False)
    assert done.returncode == 20
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert "none.tflite" in done.stderr
