"""How a network becomes int8, as data: `--recipe FILE` is a TOML file of these; every value has a default."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from edge.errors import SettingsInvalid
from edge.settings_file import read_settings
from lab.networks.foreign import Scaling


@dataclass(frozen=True, slots=True)
class Calibration:
    """Which pictures of the fit split the ranges of activations are measured on."""

    rows: int = field(default=1000, metadata={"range": (1, 100_000)})

    choice: str = field(default="stratified", metadata={"choices": ("stratified", "random")})
    """`stratified`: as many of each class as of every other. `random`: as the data has them."""

    seed: int = field(default=0, metadata={"range": (0, 2**31 - 1)})


@dataclass(frozen=True, slots=True)
class Gate:
    """Below these a file is refused, on the split that chooses and on every runtime it was tried on."""

    agreement: float = field(default=0.97, metadata={"range": (0.0, 1.0)})
    """Least share of pictures on which int8 and float decide alike (top-1)."""

    loss: float = field(default=0.01, metadata={"range": (0.0, 1.0)})
    """Most accuracy that may be lost; one picture always may."""

    drift: float = field(default=0.05, metadata={"range": (0.0, 1.0)})
    """Most that the confidence may change, as the mean over pictures: thresholds of the cue depend on it."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """A conversion; what ships is made by the defaults."""

    quantiser: str = field(default="ai-edge", metadata={"choices": ("ai-edge", "tensorflow")})
    """`ai-edge`: ai-edge-quantizer, to which ranges can be given. `tensorflow`: the one inside TFLiteConverter."""

    ranges: str = field(default="least-error", metadata={"choices": ("least-error", "extremes")})
    """`least-error`: a range is cut where that makes the mean squared error least. `extremes`: all that was seen."""

    per_channel: bool = True
    """A scale for each output channel of a weight instead of one for all."""

    correct_biases: bool = True
    """Take the mean error that quantisation causes in each channel out of its bias (Nagel et al., arXiv 1906.04721)."""

    lift: bool = True
    """Keep negative sums from being rounded, which x86 and Arm do differently (converter/passes/lift.py)."""

    ends: str = field(default="int8", metadata={"choices": ("int8", "float32")})
    """What goes in and comes out."""

    softmax: bool = True
    """Whether softmax is in the graph; out of it the device does it, on int8 logits."""

    keep_float: tuple[str, ...] = ()
    """Layers that are not quantised, by their Keras names."""

    most_float: int = field(default=2, metadata={"range": (0, 100)})
    """So many more layers, the noisiest first, are kept in float where the gate would fail otherwise."""

    classes: tuple[str, ...] = ()
    """The classes of a network made elsewhere, in its order; empty: the file's own, or the data's."""

    calibration: Calibration = field(default_factory=Calibration)
    input: Scaling = field(default_factory=Scaling)
    gate: Gate = field(default_factory=Gate)


def read_recipe(path: Path | None) -> Recipe:
    """Read a recipe, the default one where `path` is None.

    Raises SettingsInvalid with file, line, value seen and valid values; for a combination that no quantiser has too.
    """
    recipe = Recipe() if path is None else read_settings(path, Recipe)
    if recipe.quantiser == "tensorflow" and (recipe.ranges != "extremes" or recipe.keep_float):
        raise SettingsInvalid(
            f"{path}: TensorFlow's quantiser measures ranges itself and keeps no layer in float; "
            'say ranges = "extremes" and no keep_float, or quantiser = "ai-edge"'
        )
    return recipe
