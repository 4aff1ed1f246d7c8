"""Keeps negative sums from being rounded: between ranges and quantisation, on the float TFLite file.

TFLite's kernels turn a 32-bit sum into 8 bits alike wherever it is positive; where it is negative those of x86 and of
Arm round differently now and then, and every layer behind makes more of it. Behind a ReLU nobody sees that. What a
layer without one gives is lifted above zero by its bias, and lowered again by a sum that moves the zero point and
rounds nothing.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
from ai_edge_litert import schema_py_generated as schema

from converter.graph import LIFTED, WEIGHTED, name_operator

Ranges = dict[str, tuple[float, float]]  # by the tensor's name

_STEPS = 255
_NONE = schema.ActivationFunctionType.NONE


def lift_negatives(model: Any, ranges: Ranges) -> Ranges:
    """Lift what every weighted layer without activation gives, and lower it again but for softmax, which does not mind.

    `ranges` are those chosen for `model`, a float ModelT, which is changed; returns the ranges that it has then. What
    follows LIFTED in a tensor's name is by how much. The network's own outputs stay as they are.
    """
    ranges = dict(ranges)
    main = model.subgraphs[0]
    add = _find_add(model)
    uses = [int(main.tensors[tensor].buffer) for step in main.operators for tensor in step.inputs if tensor >= 0]
    for step in list(main.operators):
        made = int(step.outputs[0])
        name = main.tensors[made].name.decode()
        low, high = ranges.get(name, (0.0, 0.0))
        if (
            name_operator(model.operatorCodes[step.opcodeIndex]) not in WEIGHTED
            or getattr(step.builtinOptions, "fusedActivationFunction", _NONE) != _NONE
            or low >= 0
            or made in main.outputs
        ):
            continue
        width = (high - low) / _STEPS
        steps = min(math.ceil(-low / width), _STEPS)
        lift = steps * width
        main.tensors[made].name = f"{name}{LIFTED}{lift!r}".encode()
        ranges[main.tensors[made].name.decode()] = (0.0, _STEPS * width)
        _add_bias(model, step, name, lift, uses)
        readers = [reader for reader in main.operators if made in reader.inputs]
        if all(name_operator(model.operatorCodes[reader.opcodeIndex]) == "SOFTMAX" for reader in readers):
            del ranges[name]
            continue
        ranges[name] = (-lift, (_STEPS - steps) * width)
        constant = _add_tensor(model, f"{name}/lift", [], np.array([-lift], np.float32))
        lowered = _add_tensor(model, name, main.tensors[made].shape, None)
        sum_ = schema.OperatorT()
        sum_.opcodeIndex = add
        sum_.inputs, sum_.outputs = np.array([made, constant], np.int32), np.array([lowered], np.int32)
        sum_.builtinOptionsType, sum_.builtinOptions = schema.BuiltinOptions.AddOptions, schema.AddOptionsT()
        for reader in readers:
            reader.inputs = np.array([lowered if tensor == made else tensor for tensor in reader.inputs], np.int32)
        main.operators.insert(main.operators.index(step) + 1, sum_)
    return ranges


def _add_bias(model: Any, step: Any, name: str, lift: float, uses: list[int]) -> None:
    """Add `lift` to a step's bias; `uses` are the buffers that steps read, each as often as it is read."""
    main = model.subgraphs[0]
    channels = main.tensors[step.outputs[0]].shape[-1]
    given = [*map(int, step.inputs), -1][:3]
    values = np.full(channels, lift, np.float32)
    if given[2] >= 0:
        buffer = main.tensors[given[2]].buffer
        values += np.frombuffer(model.buffers[buffer].data.tobytes(), np.float32)
        if uses.count(int(buffer)) == 1:
            model.buffers[buffer].data = values.view(np.uint8)
            return
    # None so far, or one that another layer reads too.
    given[2] = _add_tensor(model, f"{name}/bias", [channels], values)
    step.inputs = np.array(given, np.int32)


def _find_add(model: Any) -> int:
    """Return the place of ADD among the operator codes, and append it where there is none."""
    for place, code in enumerate(model.operatorCodes):
        if name_operator(code) == "ADD":
            return place
    code = schema.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.ADD
    model.operatorCodes.append(code)
    return len(model.operatorCodes) - 1


def _add_tensor(model: Any, name: str, shape: Any, values: npt.NDArray[np.float32] | None) -> int:
    """Append a float32 tensor, constant where `values` are given; returns its number."""
    tensor, main = schema.TensorT(), model.subgraphs[0]
    tensor.name, tensor.shape, tensor.type = name.encode(), np.array(shape, np.int32), schema.TensorType.FLOAT32
    tensor.buffer = 0  # the one without data
    if values is not None:
        buffer = schema.BufferT()
        buffer.data = values.view(np.uint8)
        tensor.buffer = len(model.buffers)
        model.buffers.append(buffer)
    main.tensors.append(tensor)
    return len(main.tensors) - 1
