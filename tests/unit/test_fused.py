"""The layers that fits are made with give what Keras' own give, on each backend that is installed."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.host, pytest.mark.slow]

COMPARE = """
import keras
import numpy as np
from edge.vision.preprocessing import Preprocessing
from training.fused import fuse
from training.recipes import find_recipe

rng = np.random.default_rng(0)
for recipe, side, colour in (("trunk", 48, "gray"), ("compact", 41, "rgb")):
    preprocessing = Preprocessing(side, colour)
    network = find_recipe(recipe).build(preprocessing, 7)
    drawn = [np.abs(rng.normal(0.3, 0.1, weight.shape)) for weight in network.get_weights()]
    network.set_weights([weight - 0.2 * (weight.ndim > 1) for weight in drawn])
    faces = rng.uniform(0, 255, (4, side, side, preprocessing.channels)).astype(np.float32)
    fused = fuse(network)
    assert {type(layer).__module__ for layer in fused.layers} > {"training.fused"}
    pairs = []
    for model in (network, fused):
        features = keras.Model(model.input, model.get_layer("features").input)
        pairs.append([np.asarray(keras.ops.convert_to_numpy(features(faces, training=fit))) for fit in (False, True)])
    for own, ours in zip(*pairs):
        assert own.std() > 0
        print(recipe, np.abs(own - ours).max() / np.abs(own).max())
"""


@pytest.mark.parametrize("backend", ["tensorflow", "torch", "jax"])
def test_fused_layers_give_what_keras_own_give(backend: str, repository: Path) -> None:
    if importlib.util.find_spec(backend) is None:
        pytest.skip(f"{backend} is not installed; it is one of the backends that a fit can be given")
    line = [sys.executable, "-c", COMPARE]
    environment = {**os.environ, "KERAS_BACKEND": backend}
    done = subprocess.run(line, cwd=repository, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    differences = [float(row.split()[1]) for row in done.stdout.splitlines()]
    assert len(differences) == 4
    assert max(differences) < 1e-4
