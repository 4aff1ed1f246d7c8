"""States the version that each operator's types need: quantisers write 1 for every one."""

from __future__ import annotations

import copy
from typing import Any

from ai_edge_litert import schema_py_generated as schema

from converter.graph import name_operator

# Versions as TensorFlow's own converter states them, tensorflow/lite/tools/versioning/op_version.cc.
# fmt: off
_ONE = frozenset((  # whatever their types
    "DIV", "ELU", "EXPAND_DIMS", "HARD_SWISH", "LEAKY_RELU", "PRELU", "RELU_0_TO_1", "RELU_N1_TO_1", "RESHAPE",
    "SQUEEZE",
))
_TWO = frozenset((  # with int8, one with float32
    "ADD", "AVERAGE_POOL_2D", "BATCH_MATMUL", "CONCATENATION", "DEPTH_TO_SPACE", "GELU", "LOGISTIC", "LOG_SOFTMAX",
    "MAXIMUM", "MAX_POOL_2D", "MEAN", "MINIMUM", "MIRROR_PAD", "MUL", "PACK", "PAD", "PADV2", "REDUCE_MAX",
    "REDUCE_MIN", "RELU", "RELU6", "RESIZE_BILINEAR", "RESIZE_NEAREST_NEIGHBOR", "SLICE", "SOFTMAX", "SPACE_TO_DEPTH",
    "STRIDED_SLICE", "SUB", "SUM", "TANH", "TRANSPOSE",
))
# fmt: on
_DEEP = frozenset(  # others again with more than four dimensions, which classifiers of pictures do without
    ("DIV", "MAXIMUM", "MINIMUM", "PAD", "PADV2", "SLICE", "STRIDED_SLICE", "SUB", "TRANSPOSE")
)
_FLOAT32, _INT8, _INT16 = schema.TensorType.FLOAT32, schema.TensorType.INT8, schema.TensorType.INT16


def restate_versions(model: Any) -> None:
    """State in an unpacked model the version that each operator's types need, as TensorFlow's converter would.

    Those of float32 and int8 tensors that classifiers of pictures have; others keep theirs. Steps that need different
    versions of one operator get an entry each.
    """
    entries: dict[tuple[int, int], int] = {}  # from the old entry and its version
    codes: list[Any] = []
    for graph in model.subgraphs:
        for step in graph.operators:
            code = model.operatorCodes[step.opcodeIndex]
            needed = None if code.customCode else _need_version(name_operator(code), step, graph.tensors)
            stated = int(code.version) if needed is None else needed
            key = (int(step.opcodeIndex), stated)
            if key not in entries:
                entries[key] = len(codes)
                codes.append(copy.copy(code))
                codes[-1].version = stated
            step.opcodeIndex = entries[key]
    model.operatorCodes = codes


def _need_version(name: str, step: Any, tensors: Any) -> int | None:
    """Name the version that a step needs, None where no rule is for it."""
    if step.inputs is None or step.outputs is None:
        return None
    given = [tensors[index] for index in step.inputs if index >= 0]
    taken = tensors[step.outputs[0]]
    first, options = given[0], step.builtinOptions
    if name in _DEEP and any(len(tensor.shape) > 4 for tensor in given if tensor.shape is not None):
        return None
    if name == "QUANTIZE":
        return 3 if _count_scales(taken) > 1 else 2 if taken.type == _INT16 else 1 if taken.type == _INT8 else None
    if first.type not in (_FLOAT32, _INT8):
        return None
    int8 = first.type == _INT8
    if name == "DEQUANTIZE":
        return 5 if _count_scales(first) > 1 else 2 if int8 else None
    if name in ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED"):
        if given[1].type != first.type or taken.type != first.type or given[1].sparsity is not None:
            return None  # weights of another type than what they weigh: no full int8
        if name == "CONV_2D":
            return 6 if first.shape[3] != given[1].shape[3] else 3 if int8 else 1  # 6 has groups
        if name == "DEPTHWISE_CONV_2D":
            return 3 if int8 else 2 if max(options.dilationWFactor, options.dilationHFactor) > 1 else 1
        if options.weightsFormat != schema.FullyConnectedOptionsWeightsFormat.DEFAULT:
            return None
        return 6 if len(step.inputs) == 2 else 5 if options.keepNumDims else 4 if int8 else 1
    if name == "MUL" and int8 and all(map(_count_scales, (*given, taken))):
        left, right, out = (float(tensor.quantization.scale[0]) for tensor in (*given, taken))
        return 3 if left * right / out >= 1 else 2  # 3 multiplies by more than one
    if name == "TILE":
        return 3 if int8 else 1
    if name in ("BATCH_TO_SPACE_ND", "SPACE_TO_BATCH_ND"):
        return 3 if len(first.shape) != 4 else 2 if int8 else 1
    if name == "STRIDED_SLICE" and options.offset:
        return 8
    if name == "STRIDED_SLICE" and (options.ellipsisMask or options.newAxisMask):
        return 6
    if name in ("RESIZE_BILINEAR", "RESIZE_NEAREST_NEIGHBOR") and options.halfPixelCenters:
        return 3
    if name == "RESIZE_NEAREST_NEIGHBOR" and options.alignCorners:
        return 3
    return 1 if name in _ONE else (2 if int8 else 1) if name in _TWO else None


def _count_scales(tensor: Any) -> int:
    known = tensor.quantization
    return 0 if known is None or known.scale is None else len(known.scale)
