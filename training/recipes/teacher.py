"""As large as it pays on two cores; it never ships, its soft labels do the work."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge.vision.preprocessing import Preprocessing
from training.recipes import Recipe
from training.recipes.residual import build_residual

if TYPE_CHECKING:
    import keras


def build(preprocessing: Preprocessing, classes: int) -> keras.Model:
    """Build it: 109 M multiply-accumulates and 1.2 M parameters at 48 pixels gray."""
    return build_residual(preprocessing, classes, "teacher", widths=(64, 128, 256), depths=(1, 1, 1))


RECIPE = Recipe(build, epochs=10, teaches=True)
