"""What is inside a TFLite file: operators with versions, tensors with scales; converter/ reads and changes it here."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Any

import flatbuffers
import numpy as np
import numpy.typing as npt
from ai_edge_litert import schema_py_generated as schema

ALIGNMENT = 16  # bytes: the schema's force_align of a buffer's data, which the generated Python code forgets
# In the name of a tensor that holds more than the network's own values (converter/passes/lift.py).
LIFTED = ";lifted by "
WEIGHTED = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "TRANSPOSE_CONV")  # operators with a bias per channel


def _names(enumeration: Any) -> dict[int, str]:
    return {number: name for name, number in vars(enumeration).items() if isinstance(number, int)}


_OPERATORS, _DTYPES = _names(schema.BuiltinOperator), _names(schema.TensorType)


@dataclass(frozen=True, slots=True)
class Operator:
    """One step of the graph, by its name in TFLite's schema."""

    name: str
    version: int
    inputs: tuple[int, ...]  # tensors; -1 where an optional one is left out
    outputs: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Tensor:
    """One tensor: real value = scale * (stored - zero_point); no scale where it is not quantised."""

    name: str
    lift: float  # how much more it holds than the network's tensor of its name
    shape: tuple[int, ...]
    dtype: str  # as numpy says it
    scale: npt.NDArray[np.float64]
    zero_point: npt.NDArray[np.int64]
    constant: bool

    @property
    def quantised(self) -> bool:
        """Whether it has a scale."""
        return self.scale.size > 0


@dataclass(frozen=True, slots=True)
class Graph:
    """The one subgraph of a classifier; operators stand in the order in which they run."""

    operators: tuple[Operator, ...]
    tensors: tuple[Tensor, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]


class _Builder(flatbuffers.Builder):  # type: ignore[misc]  # flatbuffers has no types
    def StartVector(self, size: int, count: int, alignment: int) -> Any:  # noqa: N802
        return super().StartVector(size, count, ALIGNMENT if size == 1 else alignment)


def unpack(content: bytes) -> Any:
    """Parse a TFLite file into the schema's ModelT, every buffer's data in it (writers may put it behind the graph)."""
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAsModel(bytearray(content), 0))
    for buffer in model.buffers:
        if buffer.offset > 1:  # 0 and 1 mean: not so
            buffer.data = np.frombuffer(content, np.uint8, buffer.size, buffer.offset)
        buffer.offset = buffer.size = 0
    return model


def pack(model: Any) -> bytes:
    """Write a ModelT as a TFLite file."""
    builder = _Builder(1024)
    builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
    return bytes(builder.Output())


def name_operator(code: Any) -> str:
    """Name an OperatorCodeT; a custom operator by what it calls itself."""
    if code.customCode:
        return str(code.customCode.decode())
    # Files before schema 3a have the code in the narrow field alone.
    return _OPERATORS[max(code.builtinCode, code.deprecatedBuiltinCode)]


def read_graph(content: bytes) -> Graph:
    """Read the main subgraph of a TFLite file."""
    return view(unpack(content))


def view(model: Any) -> Graph:
    """Return the main subgraph of a ModelT as it is now."""
    main = model.subgraphs[0]
    codes = [(name_operator(code), int(code.version)) for code in model.operatorCodes]
    operators = tuple(_read_operator(codes[step.opcodeIndex], step) for step in main.operators)
    return Graph(
        operators,
        tuple(_read_tensor(tensor, model.buffers) for tensor in main.tensors),
        tuple(map(int, main.inputs)),
        tuple(map(int, main.outputs)),
    )


def _read_operator(code: tuple[str, int], step: Any) -> Operator:
    name, version = code
    return Operator(name, version, tuple(map(int, step.inputs)), tuple(map(int, step.outputs)))


def _read_tensor(tensor: Any, buffers: Any) -> Tensor:
    shape = () if tensor.shape is None else tuple(map(int, tensor.shape))
    known = tensor.quantization
    scale = np.array([] if known is None or known.scale is None else known.scale, np.float64)
    zero_point = np.array([] if known is None or known.zeroPoint is None else known.zeroPoint, np.int64)
    data = buffers[tensor.buffer].data
    constant = data is not None and len(data) > 0
    name, _, lift = tensor.name.decode().partition(LIFTED)
    amount = re.match(r"[-+.e\d]+", lift)  # a quantiser may append words
    return Tensor(
        name, float(amount[0]) if amount else 0.0, shape, _DTYPES[tensor.type].lower(), scale, zero_point, constant
    )


def count_macs(graph: Graph) -> int:
    """Count the multiply-accumulates of one run in what has weights."""
    count = 0
    for step in graph.operators:
        if step.name in WEIGHTED:
            made = graph.tensors[step.outputs[0]].shape
            weights = graph.tensors[step.inputs[1]].shape
            count += math.prod(weights) * math.prod(made[1:-1])  # a weight is used once at each place of the output
    return count


def name_layer(name: str) -> str:
    """Name the Keras layer that a tensor came from: the part of its path behind the model, without a copy's digits.

    `compact_1/re_lu_9_1/Relu;compact_1/…` is `re_lu_9`; a model in a model of its own name is passed over.
    """
    if name.startswith("StatefulPartitionedCall"):
        return "output"  # all that TensorFlow's converter leaves of its name
    parts = name.partition(";")[0].split("/")
    while len(parts) > 2 and parts[1].rstrip("_0123456789") == parts[0].rstrip("_0123456789"):
        parts = parts[1:]
    return parts[1].removesuffix("_1") if len(parts) > 2 else name
