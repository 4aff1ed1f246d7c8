"""The gate: is an int8 file the network it was made of, on every runtime it will meet? If not, why not.

What the device itself would refuse (contract, shapes, metadata) is refused first, by edge/vision/model.py.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from converter.graph import Graph, count_macs, name_layer, read_graph
from converter.operators import check_operators, list_operators
from converter.parity import compare_answers, compare_layers, compare_raw, find_worst_class, find_worst_layer
from converter.recipe import Recipe
from converter.runtimes import Runtime, run_raw
from edge.errors import (
    ConfidenceDrifted,
    ContractMismatch,
    GateFailed,
    InputMisread,
    LabelsPermuted,
    ModelUnreadable,
    NetworkForeign,
    NotQuantised,
    RangesForeign,
)
from edge.vision.model import ExpressionModel
from lab.calibration import Floats, calibration_error
from lab.datasets.labelled import DataSet, Labelled
from lab.networks.classifier import predict_keras
from lab.networks.keras_file import as_batch
from lab.scores import wilson_interval

Pixels = npt.NDArray[np.float32]

LONGEST = 7200.0  # seconds for all pictures of a split on one runtime: then it hangs
FEW = (4, 64)  # rows, least and most, on what is emulated or slow on purpose
FEW_MACS = 2_600_000_000  # multiply-accumulates over all of them: a minute of an emulated Arm's
LAYER_ROWS = 128
DIAGNOSED_ON = 512  # rows
MOST_CLIPPED = 0.01  # share of a layer's values that its range may cut off
LEAST_USED = 0.25  # share of its range that a layer's values must fill
FIXED_RANGES = ("LOGISTIC", "SOFTMAX", "LOG_SOFTMAX", "TANH", "L2_NORMALIZATION")  # TFLite's own, whatever the data
ALIKE = 0.9  # top-1: so far must a cause lead to the same decisions
EXPLAINS = 0.3  # a cause explains a difference that leaves less than this share of it

CASTS = ("QUANTIZE", "DEQUANTIZE")

MISREADINGS: dict[str, Callable[[Pixels], npt.NDArray[Any]]] = {
    "pixels / 255: they are scaled twice": lambda x: x / 255,
    "pixels / 127.5 - 1: they are scaled twice": lambda x: x / 127.5 - 1,
    "pixels * 255: they are not scaled": lambda x: x * 255,
    "pixels * 127.5 + 127.5: they are not scaled": lambda x: (x + 1) * 127.5,
    "pixels + 127.5: the mean is left out": lambda x: x + 127.5,
    "pixels - 127.5: the mean is taken twice": lambda x: x - 127.5,
    "255 - pixels: they are inverted": lambda x: 255 - x,
    "channels in the order BGR: they are swapped": lambda x: x[..., ::-1],
    "pictures with rows and columns exchanged": lambda x: x.transpose(0, 2, 1, 3),
    "mirrored pictures": lambda x: x[:, :, ::-1],
    "pictures upside down": lambda x: x[:, ::-1],
}
"""What a float network is shown to find out what an int8 file sees; float32 (n, side, side, channels) of 0 to 255."""


@dataclass(frozen=True, slots=True)
class Original:
    """The float network that an int8 file claims to be."""

    path: Path
    sha256: str  # of the Keras file
    network: Any  # Keras, from pixels to probabilities
    gives: str  # what its own output is: probabilities, or logits that a softmax was put behind
    classes: tuple[str, ...]
    content: bytes  # the same as a float TFLite file, ending where the int8 file does
    real: Floats  # its probabilities of the choose split, (n, classes)


@dataclass(frozen=True, slots=True)
class Judgement:
    """What was measured (the report of the parity page), and the refusal where there is one."""

    report: dict[str, Any]
    predicted: Floats  # by the int8 file on the judged runtime, (n, classes)
    refusal: GateFailed | None


def judge(
    file: Path,
    original: Original,
    data: DataSet,
    recipe: Recipe,
    runtimes: Sequence[Runtime],
    absent: Sequence[str] = (),
    kept_float: Sequence[str] = (),
) -> Judgement:
    """Hold the int8 file, with its contract beside it, to its original on the split that chooses.

    The first of `runtimes` is the judged one. Raises what ExpressionModel raises, NetworkForeign, LabelsPermuted,
    InputMisread, OperatorUnsupported and NotQuantised for what shows without running it; what is found by running
    it is the judgement's refusal.
    """
    model = ExpressionModel(file)
    content = file.read_bytes()
    graph = read_graph(content)
    _hold_identity(file, model, original)
    _hold_quantised(file, graph, kept_float)
    check_operators(graph)
    chosen, split = data.choose, next(name for name, rows in data.splits.items() if rows is data.choose)
    prepared = np.concatenate([model.prepare(picture) for picture in chosen.images])
    rows = _share_rows(runtimes, graph, len(prepared))
    raw, failed = _run_all(file, prepared, rows)
    predicted = {runtime: model.contract.to_probabilities(outputs) for runtime, outputs in raw.items()}
    judged = runtimes[0]
    entries = []
    for runtime, outputs in raw.items():
        count = rows[runtime]
        entry = compare_answers(original.real[:count], predicted[runtime], chosen.labels[:count], data.classes)
        against = compare_raw(raw[judged][:count], outputs)
        entries.append({"runtime": str(runtime), **entry, "against_judged": against})
    layers = compare_layers(original.content, content, chosen.images[:LAYER_ROWS])
    whole = [entry for entry in entries if entry["rows"] == len(chosen.labels)]
    worst_layer, worst_class = find_worst_layer(layers), find_worst_class(entries[0])
    gate = _hold_limits(recipe, whole)
    refusal = _refuse(file, original, chosen, predicted[judged], gate, layers, worst_layer, worst_class, data.classes)
    report = {
        "format": 1,
        "model": file.stem,
        "keras_sha256": original.sha256,
        "tflite_sha256": hashlib.sha256(content).hexdigest(),
        "bytes": {"float": len(original.content), "int8": len(content)},
        "recipe": asdict(recipe) | {"kept_float": list(kept_float)},
        "split": split,
        "rows": len(chosen.labels),
        "classes": list(data.classes),
        "float": _measure_float(original, chosen),
        "judged": str(judged),
        "runtimes": entries,
        "not_measured": [*absent, *failed],
        "layers": layers,
        "worst_layer": worst_layer,
        "worst_class": worst_class,
        "operators": list_operators(graph),
        "gate": gate | {"passed": refusal is None},
    }
    return Judgement(report, predicted[judged], refusal)


def _share_rows(runtimes: Sequence[Runtime], graph: Graph, count: int) -> dict[Runtime, int]:
    """Return how many of `count` rows each runtime is given: few where it is emulated or slow on purpose."""
    fewest, most = FEW
    few = min(max(FEW_MACS // max(count_macs(graph), 1), fewest), most, count)
    return {each: few if each.emulated or each.kernels == "reference" else count for each in runtimes}


def _run_all(
    file: Path, prepared: npt.NDArray[Any], rows: Mapping[Runtime, int]
) -> tuple[dict[Runtime, npt.NDArray[Any]], list[str]]:
    """Run so many of the inputs on each runtime; returns the outputs, and a line for each whose kernels refuse it."""
    failed: list[str] = []

    def run(runtime: Runtime) -> npt.NDArray[Any] | None:
        try:
            return run_raw(runtime, file, prepared[: rows[runtime]], LONGEST)
        except ModelUnreadable as error:
            if runtime.kernels != "reference":  # with which nothing is run but comparisons
                raise
            failed.append(str(error))
            return None

    with ThreadPoolExecutor(min(2, os.cpu_count() or 1)) as pool:  # each runs in a process of its own
        tried = dict(zip(rows, pool.map(run, rows), strict=True))
    return {runtime: outputs for runtime, outputs in tried.items() if outputs is not None}, failed


def _hold_limits(recipe: Recipe, entries: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Return the recipe's limits beside the worst that was measured on any runtime that ran the whole split."""
    return {
        "least_agreement": recipe.gate.agreement,
        "most_loss": recipe.gate.loss,
        "most_drift": recipe.gate.drift,
        "agreement": min(entry["agreement"] for entry in entries),
        "loss": max(entry["loss"] for entry in entries),
        "drift": max(entry["confidence_drift"]["mean"] for entry in entries),
    }


def _measure_float(original: Original, chosen: Labelled) -> dict[str, Any]:
    accuracy = float((original.real.argmax(axis=1) == chosen.labels).mean())
    return {
        "accuracy": accuracy,
        "interval": list(wilson_interval(accuracy, len(chosen.labels))),
        "ece": calibration_error(original.real, chosen.labels),
        "confidence": float(original.real.max(axis=1).mean()),
    }


def _hold_identity(file: Path, model: ExpressionModel, original: Original) -> None:
    """Raise where the contract is of another network, of other classes, or of an input that pixels don't fit."""
    contract = model.contract
    made_of = str(json.loads(file.with_suffix(".json").read_bytes()).get("training", {}).get("keras_sha256"))
    if made_of != original.sha256:
        raise NetworkForeign(
            f"{file.name}: its contract states that it was made of {made_of[:12]}…, {original.path} is "
            f"{original.sha256[:12]}…; convert that file"
        )
    if contract.labels != original.classes:
        if sorted(contract.labels) == sorted(original.classes):
            raise LabelsPermuted(
                f"{file.name}: its labels are {', '.join(contract.labels)[:200]}; the network's are "
                f"{', '.join(original.classes)[:200]}, in this order; convert it again"
            )
        raise ContractMismatch(
            f"{file.name}: its labels are {', '.join(contract.labels)[:200]}; the network knows "
            f"{', '.join(original.classes)[:200]}; convert it again"
        )
    if contract.input.dtype == "int8":
        low, high = ((level - contract.input.zero_point) * contract.input.scale for level in (-128.5, 127.5))
        if low > 0.5 or high < 254.5:
            raise InputMisread(
                f"{file.name}: its input holds {low:.3g} to {high:.3g}, pixels go from 0 to 255: it was calibrated on "
                "pictures of another scale; convert it again with cuelens-convert"
            )


def _hold_quantised(file: Path, graph: Graph, kept_float: Sequence[str]) -> None:
    """Raise NotQuantised where an operator works in float that nobody asked to keep so."""
    float_ones = []
    for operator in graph.operators:
        layer = name_layer(graph.tensors[operator.outputs[0]].name)
        known = [graph.tensors[tensor] for tensor in (*operator.inputs[:2], *operator.outputs) if tensor >= 0]
        if operator.name in CASTS or layer in kept_float or all(tensor.dtype != "float32" for tensor in known):
            continue
        weights = next((tensor.dtype for tensor in known if tensor.constant), "no")
        float_ones.append((operator.name, layer, weights))
    if float_ones:
        # Int8 weights in a float graph are what "dynamic range" leaves, and its surest sign.
        name, layer, weights = next((row for row in float_ones if row[2] == "int8"), float_ones[0])
        raise NotQuantised(
            f"{file.name}: {name} of layer {layer} computes in float32, with {weights} weights; full int8 is needed: "
            'convert it again with cuelens-convert, try quantiser = "tensorflow", or name the layer in keep_float'
        )


def _refuse(
    file: Path,
    original: Original,
    chosen: Labelled,
    predicted: Floats,
    gate: dict[str, float],
    layers: Sequence[dict[str, Any]],
    worst_layer: str | None,
    worst_class: str,
    classes: Sequence[str],
) -> GateFailed | None:
    """Return the refusal that names the cause, as far as it is known; None for a file that passes."""
    where = f"worst layer {worst_layer}, worst class {worst_class}"
    disagrees = gate["agreement"] < gate["least_agreement"]
    loses = gate["loss"] > max(gate["most_loss"], 1 / len(predicted))  # less than a picture is no difference
    drifts = gate["drift"] > gate["most_drift"]
    measured = (
        f"int8 agrees with float on {gate['agreement']:.3f} (least {gate['least_agreement']}), "
        f"loses {gate['loss']:.4f} (most {gate['most_loss']}), "
        f"drifts by {gate['drift']:.3f} (most {gate['most_drift']})"
    )
    if disagrees:
        order, unordered = match_columns(original.real, predicted)
        misread, unexplained = find_misreading(original, chosen, predicted)
        if min(unordered, unexplained) < EXPLAINS and unordered < unexplained:
            swapped = [f"{classes[there]} for {classes[here]}" for here, there in enumerate(order) if here != there]
            return LabelsPermuted(
                f"{file.name}: it says {', '.join(swapped)}: outputs in another order than the labels; {measured}; "
                f"{where}"
            )
        if unexplained < EXPLAINS:
            return InputMisread(f"{file.name}: it answers as the network does to {misread}; {measured}; {where}")
    for row in layers:
        if row["clipped"] > MOST_CLIPPED and row["operator"] not in FIXED_RANGES:
            low, high = row["range"]
            return RangesForeign(
                f"{file.name}: layer {row['layer']} holds {low:.3g} to {high:.3g} and the data goes from "
                f"{row['seen'][0]:.3g} to {row['seen'][1]:.3g}, {row['clipped']:.1%} of it is cut off; {where}: "
                "calibrate on pictures of the data"
            )
    if not (disagrees or loses or drifts):
        return None
    narrow = [row for row in layers if row["used"] is not None and row["used"] < LEAST_USED and row["added_noise"] > 0]
    if disagrees and (wide := min(narrow, key=lambda row: row["used"], default=None)):
        low, high = wide["range"]
        return RangesForeign(
            f"{file.name}: layer {wide['layer']} holds {low:.3g} to {high:.3g} and the data fills "
            f"{wide['used']:.0%} of that; {measured}; {where}: calibrate on pictures of the data"
        )
    if not disagrees and not loses:
        return ConfidenceDrifted(
            f"{file.name}: mean confidence {predicted.max(axis=1).mean():.3f}, the float network's is "
            f"{original.real.max(axis=1).mean():.3f}: softmax done twice, or not at all; {measured}; {where}"
        )
    return GateFailed(f"{file.name}: {measured}; {where}; nothing was written")


def match_columns(real: Floats, predicted: Floats) -> tuple[list[int], float]:
    """Find the order in which the columns of `predicted` (n, classes) are most like those of `real`.

    Returns it with the share of their difference that it leaves: 1 where it is the order they have.
    """
    distances = np.abs(real[:, :, None] - predicted[:, None, :]).mean(axis=0)
    order = [int(column) for column in distances.argmin(axis=1)]
    if sorted(order) != list(range(len(order))) or order == sorted(order):
        return order, 1.0
    return order, float(np.abs(real - predicted[:, order]).mean() / np.abs(real - predicted).mean())


def find_misreading(original: Original, chosen: Labelled, predicted: Floats) -> tuple[str, float]:
    """Find what the float network must be shown to answer most as the int8 file does.

    Returns one of MISREADINGS with the share of the difference that it leaves.
    """
    pixels = as_batch(chosen.images[:DIAGNOSED_ON])
    rows, left = len(pixels), {}
    one_answer = len(np.unique(predicted.argmax(axis=1))) == 1
    for name, change in MISREADINGS.items():
        if name.startswith("channels") and pixels.shape[-1] == 1:
            continue
        if one_answer and "scaled twice" not in name:
            continue  # any ruined file gives one answer to everything; to pixels near nought it is the right one
        answered = original.network.predict(change(pixels), batch_size=256, verbose=0)
        alike = (answered.argmax(axis=1) == predicted[:rows].argmax(axis=1)).mean()
        left[name] = np.abs(answered - predicted[:rows]).mean() if alike >= ALIKE else np.inf
    best = min(left, key=lambda name: left[name])
    return best, float(left[best] / np.abs(original.real[:rows] - predicted[:rows]).mean())


def read_original(path: Path, network: Any, classes: Sequence[str], content: bytes, chosen: Labelled) -> Original:
    """Ask a Keras network for its answers on the split that chooses; what is no probabilities counts as logits."""
    import keras

    sha256, gives = hashlib.sha256(path.read_bytes()).hexdigest(), "probabilities"
    predicted = predict_keras(network, chosen.images)
    if np.abs(predicted.sum(axis=1) - 1).max() >= 0.01 or predicted.min() < 0:
        gives = "logits"
        network = keras.Model(network.inputs, keras.layers.Softmax()(network.outputs[0]), name=network.name)
        predicted = predict_keras(network, chosen.images)
    return Original(path, sha256, network, gives, tuple(classes), content, predicted)
