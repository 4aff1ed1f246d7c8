"""Legacy .h5 files that Keras 2 wrote, made such that Keras 3 reads them; lab/networks/keras_file.py uses it."""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

_INPUTS = ("batch_input_shape", "batch_shape")


def is_keras_2(path: Path) -> bool:
    """Return whether a file is an HDF5 file that Keras 1 or 2 wrote."""
    import h5py

    try:
        with h5py.File(path) as file:
            version = file.attrs.get("keras_version", b"")
    except OSError:
        return False
    return str(version.decode() if isinstance(version, bytes) else version).startswith(("1.", "2."))


def load_keras_2(keras: Any, path: Path) -> Any:
    """Load a network of Keras 2 whose input's shape stands in its first layer, where Keras 3 does not look for it.

    So Keras 2 wrote every Sequential without an InputLayer. Raises what h5py, json and Keras raise.
    """
    import h5py

    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / path.name
        shutil.copyfile(path, copy)
        with h5py.File(copy, "r+") as file:
            stored = file.attrs["model_config"]
            config = json.loads(stored.decode() if isinstance(stored, bytes) else stored)
            _give_input(config)
            file.attrs["model_config"] = json.dumps(config).encode()
        return keras.saving.load_model(copy, compile=False)


def _give_input(config: dict[str, Any]) -> None:
    """Put an InputLayer before the first layer of a Sequential, and of those inside of a network."""
    inner = config.get("config")
    if isinstance(inner, list):  # before Keras 2.2.3
        inner = config["config"] = {"name": "sequential", "layers": inner}
    layers = inner.get("layers", []) if isinstance(inner, dict) else []
    for layer in layers:
        if layer["class_name"] in ("Sequential", "Model", "Functional"):
            _give_input(layer)
    if config["class_name"] != "Sequential" or not layers or layers[0]["class_name"] == "InputLayer":
        return
    shapes = [layers[0]["config"].pop(key) for key in _INPUTS if key in layers[0]["config"]]
    if shapes:
        given = {"batch_shape": shapes[0], "dtype": "float32", "name": f"{layers[0]['config']['name']}_input"}
        layers.insert(0, {"class_name": "InputLayer", "config": given})
