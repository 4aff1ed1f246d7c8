"""The contract that a model carries beside it: what the device checks before it trusts a file."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from edge.model import CONTRACT_FORMAT
from edge.preprocessing import Preprocessing


def write_contract(
    content: bytes,
    interpreter: Any,
    preprocessing: Preprocessing,
    labels: Sequence[str],
    *,
    training: dict[str, Any],
    calibration: dict[str, Any],
) -> dict[str, Any]:
    """Describe a TFLite file, with the tensors that its interpreter reports, as a JSON-ready table."""
    (given,) = interpreter.get_input_details()
    (taken,) = interpreter.get_output_details()
    return {
        "format": CONTRACT_FORMAT,
        "sha256": hashlib.sha256(content).hexdigest(),
        "size": len(content),
        "input": _describe(given),
        "preprocessing": preprocessing.describe(),
        "output": _describe(taken),
        "labels": list(labels),
        "training": training,
        "calibration": calibration,
    }


def _describe(details: dict[str, Any]) -> dict[str, Any]:
    scale, zero_point = details["quantization"]
    return {
        "shape": [int(length) for length in details["shape"]],
        "dtype": np.dtype(details["dtype"]).name,
        "scale": float(scale),
        "zero_point": int(zero_point),
    }
