"""A TFLite file, run so that every tensor can be looked at: what ranges, biases and parity are measured by."""

from __future__ import annotations

import re
import warnings
from typing import Any

import numpy as np
import numpy.typing as npt
from ai_edge_litert.interpreter import Interpreter, OpResolverType

from converter.graph import Graph, name_layer, read_graph
from edge.errors import (
    GateFailed,
    RangesForeign,
)
from edge.system.quiet import quiet
from lab.networks.keras_file import as_batch

Images = npt.NDArray[np.uint8]


class Probe:
    """A TFLite file run so that every tensor can be looked at, by the kernels that the oldest runtime has too."""

    def __init__(
        self,
        content: bytes,
        kernels: OpResolverType = OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
        *,
        graph: Graph | None = None,
    ) -> None:
        """Build its interpreter; `graph` is the file's, where it is known. Raises GateFailed, RangesForeign."""
        self.graph = graph or read_graph(content)
        with quiet(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that keeping all tensors costs memory
            self._interpreter = Interpreter(
                model_content=content, experimental_op_resolver_type=kernels, experimental_preserve_all_tensors=True
            )
            try:
                self._interpreter.allocate_tensors()
            except RuntimeError as error:
                raise _explain_refusal(self.graph, error) from error

    def run(self, picture: npt.NDArray[Any]) -> None:
        """Run one picture, uint8 (side, side) or (side, side, 3)."""
        (given,) = self.graph.inputs
        tensor = self.graph.tensors[given]
        pixels = as_batch(picture[None])
        if tensor.quantised:
            limits = np.iinfo(tensor.dtype)
            steps = np.round(pixels / tensor.scale[0]) + tensor.zero_point[0]
            pixels = np.clip(steps, limits.min, limits.max).astype(tensor.dtype)
        self._interpreter.set_tensor(given, pixels)
        self._interpreter.invoke()

    def stored(self, tensor: int) -> npt.NDArray[Any]:
        """Return a tensor as it is stored."""
        return np.asarray(self._interpreter.get_tensor(tensor))

    def real(self, tensor: int) -> npt.NDArray[np.float32]:
        """Return a tensor's real values, without what it was lifted by."""
        stored, known = self.stored(tensor), self.graph.tensors[tensor]
        if not known.quantised:
            return np.asarray(stored - known.lift, np.float32)
        real = (stored.astype(np.float32) - known.zero_point[0]) * known.scale[0] - known.lift
        return np.asarray(real, np.float32)


def _explain_refusal(graph: Graph, error: RuntimeError) -> GateFailed:
    """Return which layer the kernels refuse, and why: their words name the operator alone."""
    words = " ".join(str(error).split())
    found = re.search(r"Node number (\d+) ", words)
    where = "the network"
    if found and int(found[1]) < len(graph.operators):
        where = f"layer {name_layer(graph.tensors[graph.operators[int(found[1])].outputs[0]].name)}"
    cause = words.partition(" was not true")[0].rpartition(" ")[2]
    if "overflow_from_quantization" in words:
        return RangesForeign(
            f"{where}: its values span so little of what its weights allow that no int8 scale holds them ({cause}); a "
            "network that was never fitted is like that: fit it, calibrate on pictures of the data, or name the layer "
            "in keep_float"
        )
    return GateFailed(f"{where}: the int8 kernels refuse it ({words:.200}); name the layer in keep_float")
