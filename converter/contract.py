"""The contract that a model carries beside it: what the device checks before it trusts a file."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from edge.vision.model import CONTRACT_FORMAT
from edge.vision.preprocessing import Preprocessing
from edge.vision.tflite import read_tensor


def describe_tensor(details: dict[str, Any]) -> dict[str, Any]:
    """Return an end of a network, as the interpreter's details have it, as a JSON-ready table."""
    tensor = read_tensor(details)
    return asdict(tensor) | {"shape": list(tensor.shape)}


def contract_head(contract_format: int, content: bytes, given: dict[str, Any]) -> dict[str, Any]:
    """Return what every contract begins with: its format, the whole file `content`, and the input's details `given`."""
    return {
        "format": contract_format,
        "sha256": hashlib.sha256(content).hexdigest(),
        "size": len(content),
        "input": describe_tensor(given),
    }


def make_contract(
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
        **contract_head(CONTRACT_FORMAT, content, given),
        "preprocessing": preprocessing.describe(),
        "output": describe_tensor(taken) | {"gives": gives},
        "labels": list(labels),
        "training": dict(training),
        "recipe": dict(recipe),
    }
