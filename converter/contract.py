"""The contract that a model carries beside it: what the device checks before it trusts a file."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from edge.vision.model import CONTRACT_FORMAT
from edge.vision.preprocessing import Preprocessing
from edge.vision.tflite import read_tensor


def write_contract(
    content: bytes,
    interpreter: Any,
    preprocessing: Preprocessing,
    labels: Sequence[str],
    *,
    training: Mapping[str, Any],
    recipe: Mapping[str, Any],
    gives: str,
) -> dict[str, Any]:
    """Return a described TFLite file's contract as a JSON-ready table, with the tensors that `interpreter` reports.

    `content` is the whole file, as converter.passes.metadata.describe returns it. `gives` says what the output is,
    "probabilities" or "logits"; `recipe` how the file was made: kept for people, not read by the device.
    """
    (given,) = interpreter.get_input_details()
    (taken,) = interpreter.get_output_details()
    return {
        "format": CONTRACT_FORMAT,
        "sha256": hashlib.sha256(content).hexdigest(),
        "size": len(content),
        "input": _describe(given),
        "preprocessing": preprocessing.describe(),
        "output": _describe(taken) | {"gives": gives},
        "labels": list(labels),
        "training": dict(training),
        "recipe": dict(recipe),
    }


def _describe(details: dict[str, Any]) -> dict[str, Any]:
    tensor = read_tensor(details)
    return asdict(tensor) | {"shape": list(tensor.shape)}
