"""What a fit goes on from: every variable in one file, written by rename: a kill or a full disk costs an epoch."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from edge.errors import CheckpointUnusable
from edge.files import replace_file


def save_checkpoint(path: Path, variables: Sequence[Any], about: Mapping[str, Any]) -> None:
    """Write Keras variables and what they belong to; raises SinkUnwritable or DiskFull, and the older file survives."""
    import keras

    content = io.BytesIO()
    arrays = {f"{i}": keras.ops.convert_to_numpy(variable.value) for i, variable in enumerate(variables)}
    np.savez(content, about=np.array(json.dumps(about)), **arrays)
    replace_file(path, content.getvalue())


def load_checkpoint(path: Path, variables: Sequence[Any], about: Mapping[str, Any]) -> None:
    """Fill Keras variables from a file; raises CheckpointUnusable for one that is damaged or of another fit."""
    advice = "give --out another folder, or delete it to begin again"
    try:
        with np.load(io.BytesIO(path.read_bytes())) as content:
            found = json.loads(str(content["about"]))
            arrays = [content[f"{i}"] for i in range(len(variables))] if found == about else []
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise CheckpointUnusable(f"{path}: {error}; {advice}") from error
    if found != about:
        other = [f"{key} {found.get(key)!r}" for key in about if found.get(key) != about[key]]
        raise CheckpointUnusable(f"{path}: of a fit with {', '.join(other)}; {advice}")
    for variable, array in zip(variables, arrays, strict=True):
        variable.assign(array)
