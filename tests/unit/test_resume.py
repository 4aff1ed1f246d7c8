"""A recipe's fit and the verifier's, each killed after an epoch and resumed, end in the weights of one that was not."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge.vision.preprocessing import Preprocessing
from lab.datasets.labelled import DataSet, Labelled
from training import fitting, loop
from training.faces import exam as faces_exam
from training.faces import fitting as faces_fitting
from training.faces.material import Material
from training.faces.scenes import Scene
from training.faces.views import FACE_SIDE, PATCH_SIDE, SIDE
from training.recipes import find_recipe

pytestmark = pytest.mark.host

EPOCHS = 3

Weights = list[Any]


class KilledError(Exception):
    """Stands for a kill after an epoch's checkpoint."""


def fit_recipe(out: Path) -> Weights:
    """Fit the smallest network that has dropout on a few squares, some of them mixed."""
    from lab.networks.keras_file import load_keras

    rng = np.random.default_rng(0)
    labels = np.arange(112) % 2
    images = (rng.integers(0, 60, (112, 24, 24)) + 150 * labels[:, None, None]).astype(np.uint8)
    faces = Labelled(images, labels)
    data = DataSet("squares", ("dark", "light"), {"Training": faces, "PublicTest": faces})
    recipe = replace(find_recipe("simple"), epochs=EPOCHS, batch=16, mixup=0.5)
    weights: Weights = load_keras(fitting.fit("simple", recipe, Preprocessing(24), data, out)).get_weights()
    return weights


def fit_verifier(out: Path) -> Weights:
    """Fit the verifier on noise."""
    rng = np.random.default_rng(0)

    def noise(*shape: int) -> Any:
        return rng.integers(0, 256, shape).astype(np.uint8)

    patches = noise(9, PATCH_SIDE, PATCH_SIDE)
    material = Material(noise(60, FACE_SIDE, FACE_SIDE), [Scene("a", noise(150, 150))], patches[:4], patches)
    views = noise(4, 20, SIDE, SIDE)
    exam = faces_exam.Exam(views[0], rng.uniform(-1, 1, (20, 4)).astype(np.float32), views[1], views[2], views[3])
    network, _ = faces_fitting.fit("long", 0, EPOCHS, material, exam, out, seed=3, scenes="none")
    weights: Weights = network.get_weights()
    return weights


@pytest.mark.parametrize("fit", [fit_recipe, fit_verifier])
def test_a_fit_killed_after_an_epoch_and_run_again_ends_in_the_same_weights(
    fit: Callable[[Path], Weights], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("whole", "cut"):
        (tmp_path / name).mkdir()
    whole = fit(tmp_path / "whole")
    judge_epoch = loop.Run.end_epoch

    def kill(run: loop.Run, now: dict[str, float], epoch: int, since: float) -> None:
        judge_epoch(run, now, epoch, since)
        raise KilledError

    with monkeypatch.context() as patch:
        patch.setattr(loop.Run, "end_epoch", kill)
        with pytest.raises(KilledError):
            fit(tmp_path / "cut")
    capsys.readouterr()
    resumed = fit(tmp_path / "cut")
    printed = capsys.readouterr().out.replace("\r", "")
    assert [f"epoch {number}/{EPOCHS}:" in printed for number in (1, 2, 3)] == [False, True, True]
    assert_equal(resumed, whole)


def assert_equal(some: Sequence[Any], others: Sequence[Any]) -> None:
    assert len(some) == len(others) > 0
    for one, other in zip(some, others, strict=True):
        np.testing.assert_array_equal(one, other)
