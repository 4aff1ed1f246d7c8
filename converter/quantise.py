"""Keras network -> float TFLite -> ranges -> int8 TFLite; converter/passes correct it, converter/gate.py judges it."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from converter.graph import Graph, name_layer, pack, view
from converter.passes.lift import Ranges
from converter.probe import Images, Probe
from converter.recipe import Recipe
from edge.errors import (
    ModelUnreadable,
    OperatorUnsupported,
    RuntimeMissing,
    SettingsInvalid,
)
from edge.system.quiet import quiet
from lab.networks.keras_file import as_batch
from lab.progress import progress

SAMPLES = 512  # values of each tensor and picture that its range is chosen by
LEAST_CUT = 0.3  # no range is cut below this share of what was seen


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
        for picture in progress(as_batch(pictures), "calibrate"):
            yield [picture[None]]

    converter = _converter(_fix_batch(network))
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = batches
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter._experimental_disable_per_channel = not recipe.per_channel
    if recipe.ends == "int8":
        converter.inference_input_type = converter.inference_output_type = tf.int8
    return _run(converter)


def quantise_ai_edge(model: Any, ranges: Ranges, recipe: Recipe, keep_float: Sequence[str]) -> bytes:
    """Quantise a float ModelT with ai-edge-quantizer and the ranges given; layers in `keep_float` stay float.

    Raises SettingsInvalid for a layer that is not there.
    """
    from ai_edge_quantizer import qtyping, quantizer
    from ai_edge_quantizer.algorithm_manager import AlgorithmName

    made = quantizer.Quantizer(pack(model))
    granularity = qtyping.QuantGranularity.CHANNELWISE if recipe.per_channel else qtyping.QuantGranularity.TENSORWISE
    everything = qtyping.TFLOperationName.ALL_SUPPORTED
    made.add_static_config(".*", everything, 8, 8, granularity)
    if recipe.ends == "float32":
        for end in (qtyping.TFLOperationName.INPUT, qtyping.TFLOperationName.OUTPUT):
            made.update_quantization_recipe(".*", end, algorithm_key=AlgorithmName.NO_QUANTIZE)
    graph = view(model)
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


def measure_ranges(probe: Probe, pictures: Images, recipe: Recipe) -> Ranges:
    """Run the float TFLite file of `probe` on `pictures` and choose each tensor's range.

    Zero is always inside. What scales pixels and what softmax is given keep all that was seen: there no value is rare.
    """
    graph = probe.graph
    outputs = [tensor for operator in graph.operators for tensor in operator.outputs]
    wanted = [tensor for tensor in (*graph.inputs, *outputs) if graph.tensors[tensor].dtype == "float32"]
    lows, highs = dict.fromkeys(wanted, 0.0), dict.fromkeys(wanted, 0.0)
    samples: dict[int, list[npt.NDArray[np.float32]]] = {tensor: [] for tensor in wanted}
    rng = np.random.default_rng(recipe.calibration.seed)
    for picture in progress(pictures, "calibrate"):
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
