"""What the finder's two networks share on their way into int8 files: how they are quantised, and their contracts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from converter.contract import contract_head, describe_tensor
from edge.system.quiet import quiet
from edge.vision.tflite import load_interpreter, read_tensor, tabulate_levels
from training.faces.views import Images, Real

if TYPE_CHECKING:
    import keras


def quantise(network: keras.Model, pictures: Images) -> bytes:
    """Make the network an int8 TFLite file, its ranges measured on `pictures`, uint8 (n, side, side).

    Raises RuntimeMissing, OperatorUnsupported, ModelUnreadable.
    """
    from converter.graph import pack, unpack, view
    from converter.operators import check_operators
    from converter.passes.bias import correct_biases
    from converter.passes.versions import restate_versions
    from converter.probe import Probe
    from converter.quantise import export_float, measure_ranges, quantise_ai_edge
    from converter.recipe import Recipe

    recipe = Recipe()
    reference = export_float(network)
    truth = Probe(reference)
    model = unpack(quantise_ai_edge(unpack(reference), measure_ranges(truth, pictures, recipe), recipe, ()))
    correct_biases(model, truth, pictures)
    restate_versions(model)
    check_operators(view(model))
    return pack(model)


class Int8Network:
    """An int8 file without a contract, run as the device runs it; outputs go by the lengths of their last axes."""

    def __init__(self, content: bytes) -> None:
        """Load a .tflite file's content; raises RuntimeMissing, or ValueError for what is not a model."""
        with quiet():
            self._interpreter, _ = load_interpreter(content)
            self._interpreter.allocate_tensors()
        (pixels,) = self._interpreter.get_input_details()
        ends = self._interpreter.get_output_details()
        self._outputs = {end["shape"][-1]: (end["index"], read_tensor(end)) for end in ends}
        self._input, self._levels = pixels["index"], tabulate_levels(read_tensor(pixels))

    def put(self, view: Images) -> None:
        """Run it on pixels, uint8 (height, width) as its input has them."""
        self._interpreter.set_tensor(self._input, self._levels[view][None, ..., None])
        self._interpreter.invoke()

    def real(self, length: int) -> Real:
        """Return an output of the last run as real values, float64 of its shape without the first axis."""
        index, tensor = self._outputs[length]
        stored: Real = self._interpreter.get_tensor(index)[0].astype(np.float64)
        return (stored - tensor.zero_point) * tensor.scale


def make_contract(
    content: bytes,
    contract_format: int,
    lengths: Mapping[str, int],
    *,
    promised: Mapping[str, Any],
    training: Mapping[str, Any],
    measured: Mapping[str, Any],
) -> dict[str, Any]:
    """Return the contract of a file whose outputs have these `lengths`, as a JSON-ready table.

    `promised` is what the device reads beside the tensors. `training` says where the file comes from and `measured`
    what it is worth: kept for people, not read by the device.
    """
    with quiet():
        interpreter, _ = load_interpreter(content)
    (given,) = interpreter.get_input_details()
    outputs = {end["shape"][-1]: end for end in interpreter.get_output_details()}
    return {
        **contract_head(contract_format, content, given),
        "outputs": {name: describe_tensor(outputs[length]) for name, length in lengths.items()},
        **promised,
        "training": dict(training),
        "measured": dict(measured),
    }
