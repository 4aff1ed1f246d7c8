"""Keras network -> float TFLite -> ranges -> int8 TFLite -> corrected biases; converter/gate.py judges what it made."""

from __future__ import annotations

import re
import sys
import warnings
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from ai_edge_litert.interpreter import Interpreter, OpResolverType
from tqdm import tqdm

from converter.graph import WEIGHTED, Graph, name_layer, pack, read_graph, unpack
from converter.lift import Ranges
from converter.recipe import Recipe
from edge.errors import (
    GateFailed,
    ModelUnreadable,
    OperatorUnsupported,
    RangesForeign,
    RuntimeMissing,
    SettingsInvalid,
)
from edge.quiet import quiet
from lab.networks.keras_file import as_batch

Images = npt.NDArray[np.uint8]

SAMPLES = 512  # values of each tensor and picture that its range is chosen by
LEAST_CUT = 0.3  # no range is cut below this share of what was seen
CORRECTED_ON = (16, 256)  # pictures, least and most
CORRECTED_RUNS = 4096  # over all layers: deep networks get fewer pictures
LEAST_ACTIVE = 0.1  # a ReLU that passes less tells too little of its bias


def cut_softmax(network: Any) -> Any:
    """Return the Keras network up to its logits; raises SettingsInvalid where it ends in no softmax."""
    import keras

    last = network.layers[-1]
    if isinstance(last, keras.layers.Softmax):
        return keras.Model(network.inputs, last.input, name=network.name)
    if getattr(last, "activation", None) is not keras.activations.softmax:
        raise SettingsInvalid(f"softmax = false: {network.name} ends in {last.name}, no softmax; leave the setting out")
    logits = keras.models.clone_model(network)
    logits.set_weights(network.get_weights())
    logits.layers[-1].activation = keras.activations.linear
    return logits


def _converter(network: Any) -> Any:
    try:
        import tensorflow as tf
    except ImportError as error:
        raise RuntimeMissing("tensorflow is not installed here; run ./deploy.sh host and use .venv-host/bin") from error
    return tf.lite.TFLiteConverter.from_keras_model(network)


def _run(converter: Any) -> bytes:
    """Convert; raises OperatorUnsupported with the operator that TFLite does not have, ModelUnreadable for the rest."""
    try:
        with quiet():
            return bytes(converter.convert())
    except Exception as error:  # TensorFlow's ConverterError derives from nothing else
        words = str(error)
        if found := re.search(r"'tf\.(\w+)' op is neither a custom op nor a flex op", words):
            raise OperatorUnsupported(
                f"operator {found[1]}: TFLite has none such; build the network of other layers"
            ) from error
        raise ModelUnreadable(f"TensorFlow's converter refuses the network: {words.splitlines()[0][:200]}") from error


def export_float(network: Any) -> bytes:
    """Turn a Keras network into a float TFLite file of one picture a run.

    Raises RuntimeMissing, OperatorUnsupported or ModelUnreadable.
    """
    return _run(_converter(_fix_batch(network)))


def _fix_batch(network: Any) -> Any:
    """Return the network for batches of one: its shapes are constants then, where else the graph computes them."""
    import keras

    pixels = keras.Input(batch_shape=(1, *network.inputs[0].shape[1:]), name="pixels")
    try:
        fixed = keras.models.clone_model(network, input_tensors=[pixels] if isinstance(network.input, list) else pixels)
    except ValueError:  # a subclassed model: only its own code knows its layers
        return network
    fixed.set_weights(network.get_weights())
    return fixed


def quantise_tensorflow(network: Any, pictures: Images, recipe: Recipe) -> bytes:
    """Quantise with the quantiser inside TensorFlow's converter; ranges are the extremes on `pictures`."""
    import tensorflow as tf

    def batches() -> Iterator[list[npt.NDArray[np.float32]]]:
        for picture in _bar(as_batch(pictures), "calibrate"):
            yield [picture[None]]

    converter = _converter(_fix_batch(network))
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = batches
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter._experimental_disable_per_channel = not recipe.per_channel
    if recipe.ends == "int8":
        converter.inference_input_type = converter.inference_output_type = tf.int8
    return _run(converter)


def quantise_ai_edge(content: bytes, ranges: Ranges, recipe: Recipe, keep_float: Sequence[str]) -> bytes:
    """Quantise a float TFLite file with ai-edge-quantizer and the ranges given; layers in `keep_float` stay float.

    Raises SettingsInvalid for a layer that is not there.
    """
    from ai_edge_quantizer import qtyping, quantizer
    from ai_edge_quantizer.algorithm_manager import AlgorithmName

    made = quantizer.Quantizer(content)
    granularity = qtyping.QuantGranularity.CHANNELWISE if recipe.per_channel else qtyping.QuantGranularity.TENSORWISE
    everything = qtyping.TFLOperationName.ALL_SUPPORTED
    made.add_static_config(".*", everything, 8, 8, granularity)
    if recipe.ends == "float32":
        for end in (qtyping.TFLOperationName.INPUT, qtyping.TFLOperationName.OUTPUT):
            made.update_quantization_recipe(".*", end, algorithm_key=AlgorithmName.NO_QUANTIZE)
    graph = read_graph(content)
    layers = name_layers(graph)
    for layer in keep_float:
        if layer not in layers:
            raise SettingsInvalid(f"keep_float: no layer {layer!r}; valid are {', '.join(layers)}")
        for tensor in layers[layer]:
            name = re.escape(graph.tensors[tensor].name)
            made.update_quantization_recipe(name, everything, algorithm_key=AlgorithmName.NO_QUANTIZE)
    seen = {name: {"min": np.array(low), "max": np.array(high)} for name, (low, high) in ranges.items()}
    with quiet(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # as in Probe
        return bytes(made.quantize(seen, enable_progress_report=False).quantized_model)


def name_layers(graph: Graph) -> dict[str, list[int]]:
    """Return the tensors that each layer gives, by the layer's Keras name, in running order."""
    layers: dict[str, list[int]] = {}
    for operator in graph.operators:
        for tensor in operator.outputs:
            layers.setdefault(name_layer(graph.tensors[tensor].name), []).append(tensor)
    return layers


class Probe:
    """A TFLite file run so that every tensor can be looked at, by the kernels that the oldest runtime has too."""

    def __init__(
        self, content: bytes, kernels: OpResolverType = OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    ) -> None:
        self.graph = read_graph(content)
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
    """Say which layer the kernels refuse, and why: their words name the operator alone."""
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


def measure_ranges(content: bytes, pictures: Images, recipe: Recipe) -> Ranges:
    """Run a float TFLite file on `pictures` and choose each tensor's range.

    Zero is always inside. What scales pixels and what softmax is given keep all that was seen: there no value is rare.
    """
    probe = Probe(content)
    graph = probe.graph
    outputs = [tensor for operator in graph.operators for tensor in operator.outputs]
    wanted = [tensor for tensor in (*graph.inputs, *outputs) if graph.tensors[tensor].dtype == "float32"]
    lows, highs = dict.fromkeys(wanted, 0.0), dict.fromkeys(wanted, 0.0)
    samples: dict[int, list[npt.NDArray[np.float32]]] = {tensor: [] for tensor in wanted}
    rng = np.random.default_rng(recipe.calibration.seed)
    for picture in _bar(pictures, "calibrate"):
        probe.run(picture)
        for tensor in wanted:
            values = probe.real(tensor).ravel()
            lows[tensor] = min(lows[tensor], float(values.min()))
            highs[tensor] = max(highs[tensor], float(values.max()))
            samples[tensor].append(values[rng.integers(0, len(values), min(SAMPLES, len(values)))])
    exact = _exact(graph)
    return {
        graph.tensors[tensor].name: (lows[tensor], highs[tensor])
        if recipe.ranges == "extremes" or tensor in exact
        else cut_range(lows[tensor], highs[tensor], np.concatenate(samples[tensor]))
        for tensor in wanted
    }


def _exact(graph: Graph) -> set[int]:
    """Find the tensors that are pixels, scaled or not, and those that go into the last softmax or come out."""
    exact = {*graph.inputs, *graph.outputs}
    for operator in graph.operators:
        if operator.name in ("MUL", "ADD", "SUB", "DIV") and exact.intersection(operator.inputs):
            others = [tensor for tensor in operator.inputs if tensor not in exact]
            if all(graph.tensors[tensor].constant for tensor in others):
                exact.update(operator.outputs)
    for operator in reversed(graph.operators):
        if operator.name == "SOFTMAX" and exact.intersection(operator.outputs):
            exact.update(operator.inputs)
    return exact


def cut_range(low: float, high: float, values: npt.NDArray[np.float32]) -> tuple[float, float]:
    """Shrink a range around zero to where quantising `values` to 256 steps makes the least mean squared error."""
    errors = {}
    for share in np.linspace(LEAST_CUT, 1, 36):
        step = max((high - low) * share / 255, 1e-12)
        zero_point = np.round(-low * share / step)
        rounded = (np.clip(np.round(values / step) + zero_point, 0, 255) - zero_point) * step
        errors[float(share)] = float(np.square(rounded - values).mean())
    best = min(errors, key=lambda share: errors[share])
    return low * best, high * best


def correct_biases(content: bytes, reference: bytes, pictures: Images) -> bytes:
    """Take each channel's mean error against the float file `reference` out of its bias, layer after layer.

    Empirical bias correction (Nagel et al., arXiv 1906.04721, section 4.2), measured behind the fused ReLU: there only
    the share of values that it passes moves with the bias.
    """
    model = unpack(content)
    main = model.subgraphs[0]
    truth = Probe(reference)
    names = {truth.graph.tensors[t].name: t for operator in truth.graph.operators for t in operator.outputs}
    graph = read_graph(content)
    steps = [
        (step, operator)
        for step, operator in zip(main.operators, graph.operators, strict=True)
        if operator.name in WEIGHTED and len(operator.inputs) > 2 and operator.inputs[2] >= 0
        if graph.tensors[operator.inputs[2]].dtype == "int32" and graph.tensors[operator.outputs[0]].name in names
    ]
    fewest, most = CORRECTED_ON
    pictures = pictures[: min(max(CORRECTED_RUNS // max(len(steps), 1), fewest), most)]
    wanted = [names[graph.tensors[operator.outputs[0]].name] for _, operator in steps]
    expected = {tensor: [np.float64(0), np.float64(0), np.inf] for tensor in wanted}  # mean, share above 0, least
    for picture in pictures:
        truth.run(picture)
        for tensor, sums in expected.items():
            values = truth.real(tensor)
            values = values.reshape(-1, values.shape[-1])
            sums[0] = sums[0] + values.mean(axis=0, dtype=np.float64) / len(pictures)
            sums[1] = sums[1] + (values > 0).mean(axis=0) / len(pictures)
            sums[2] = min(sums[2], values.min())
    for tensor, (_, operator) in zip(_bar(wanted, "correct biases"), steps, strict=True):
        mean, active, least = expected[tensor]
        probe = Probe(pack(model))
        said = np.float64(0)
        for picture in pictures:
            probe.run(picture)
            values = probe.real(operator.outputs[0])
            said = said + values.reshape(-1, values.shape[-1]).mean(axis=0, dtype=np.float64) / len(pictures)
        error = said - mean
        if least >= 0:  # behind a ReLU
            error = error / np.maximum(active, LEAST_ACTIVE)
        bias = graph.tensors[operator.inputs[2]]
        buffer = model.buffers[main.tensors[operator.inputs[2]].buffer]
        stored = np.frombuffer(buffer.data.tobytes(), np.int32)
        corrected = stored - np.round(error / bias.scale)
        limits = np.iinfo(np.int32)
        buffer.data = np.clip(corrected, limits.min, limits.max).astype(np.int32).view(np.uint8)
    return pack(model)


def _bar(items: Iterable[Any], name: str) -> Any:
    return tqdm(items, name, disable=not sys.stderr.isatty(), leave=False)
