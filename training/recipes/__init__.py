"""Recipes as data: which network, fitted how. A recipe is one file here with a RECIPE in it, looked up by its name."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from edge.vision.preprocessing import Preprocessing

if TYPE_CHECKING:
    import keras

NAMES = ("dummy", "simple", "complex", "transfer", "compact", "teacher", "trunk")


@dataclass(frozen=True, slots=True)
class Recipe:
    """One network and how it is fitted; rates are per step, the schedule is warm-up and cosine.

    Every network takes raw pixels (scaling is its first layer) and ends in a softmax named "probabilities";
    the layer named "features" is what its last dense layer sees.
    """

    build: Callable[[Preprocessing, int], keras.Model]  # (input, classes)
    epochs: int
    least_side: int = 16  # of the input, in pixels
    batch: int = 128
    optimizer: str = "sgd"  # or adam; sgd is Nesterov's
    learning_rate: float = 0.1
    warmup_epochs: int = 1
    momentum: float = 0.9
    weight_decay: float = 5e-4
    label_smoothing: float = 0.05
    average: float = 0.998  # of the weights, a step: about two epochs' memory at batch 128 (Polyak and Juditsky, 1992)
    cutmix: float = 0.0  # share of the batches (Yun et al., arXiv 1905.04899)
    mixup: float = 0.0  # share of the batches (Zhang et al., arXiv 1710.09412)
    distil: float = 0.7  # weight of the teachers' soft labels against the labels, where there are teachers
    votes: float = 1.0  # weight of a second head that learns FER+'s votes, where there are; it is left out of the file
    teaches: bool = False  # leaves soft labels of what it was fitted on, by a third head that sees the votes as well
    # Gives the network weights that were made elsewhere; pictures of the fit split show it what comes in.
    start: Callable[[keras.Model, Path, npt.NDArray[np.uint8]], None] | None = None
    start_file: str = ""  # the name those weights have in Keras' cache, used where --weights names none


def find_recipe(name: str) -> Recipe:
    """Return the recipe of that name; KeyError for one that is not in NAMES."""
    if name not in NAMES:
        raise KeyError(name)
    recipe: Recipe = import_module(f"training.recipes.{name}").RECIPE
    return recipe


def count_macs(model: keras.Model) -> int:
    """Count the multiply-accumulates of one inference in convolutions and dense layers."""
    import keras

    total = 0
    for layer in model.layers:
        if isinstance(layer, keras.layers.Conv2D | keras.layers.DepthwiseConv2D):
            _, height, width, _ = layer.output.shape
            total += height * width * math.prod(layer.kernel.shape)
        elif isinstance(layer, keras.layers.Dense):
            total += math.prod(layer.kernel.shape)
    return total
