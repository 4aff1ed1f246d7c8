"""What ships: a residual network for one slow core."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from edge.vision.preprocessing import Preprocessing
from training.recipes import Recipe
from training.recipes.residual import build_residual

if TYPE_CHECKING:
    import keras


def build(preprocessing: Preprocessing, classes: int) -> keras.Model:
    """Build it: 39.7 M multiply-accumulates and 0.43 M parameters at 48 pixels gray."""
    return build_residual(preprocessing, classes, "compact", widths=(32, 64, 144), depths=(1, 2, 1))


def start(model: keras.Model, path: Path, faces: npt.NDArray[np.uint8]) -> None:
    """Give `model` the weights of one that was fitted before (restarts: Loshchilov and Hutter, arXiv 1608.03983)."""
    from lab.networks.keras_file import load_keras

    model.set_weights(load_keras(path).get_weights())


RECIPE = Recipe(build, epochs=130, weight_decay=3e-4, start=start)
