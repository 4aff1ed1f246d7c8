"""How far an int8 file is from its float network: the numbers behind the gate (converter/gate.py) and its report."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from converter.graph import Graph, name_layer
from converter.probe import Probe
from lab.calibration import INT8_LEAST, Floats, Labels, calibration_error
from lab.progress import progress
from lab.scores import wilson_interval

Images = npt.NDArray[np.uint8]

DESTROYED = 0.5  # noise to signal, 3 dB


def paired_interval(worse: int, better: int, rows: int, z: float = 1.96) -> tuple[float, float]:
    """Return the 95 % interval of the difference of two shares of the same rows.

    `worse` rows count for the first alone, `better` for the second alone. Adjusted Wald, half a row added to each cell
    of the table (Agresti and Min, Statistics in Medicine 24, 2005).
    """
    count = rows + 2
    first, second = (worse + 0.5) / count, (better + 0.5) / count
    spread = z * math.sqrt((first + second - (first - second) ** 2) / count)
    return first - second - spread, first - second + spread


def compare_answers(real: Floats, predicted: Floats, labels: Labels, classes: Sequence[str]) -> dict[str, Any]:
    """Compare an int8 file's answers for rows with its float network's, both probabilities (n, classes).

    The loss is float's accuracy less int8's; logits are compared as logarithms of probabilities, those below half a
    step of an int8 output counting as that.
    """
    right, kept = real.argmax(axis=1) == labels, predicted.argmax(axis=1) == labels
    alike = real.argmax(axis=1) == predicted.argmax(axis=1)
    drift = np.abs(predicted.max(axis=1) - real.max(axis=1))
    logits = np.abs(np.log(np.maximum(predicted, INT8_LEAST)) - np.log(np.maximum(real, INT8_LEAST)))
    row, column = np.unravel_index(logits.argmax(), logits.shape)
    rows = len(labels)
    by_class = {}
    for number, name in enumerate(classes):
        mine = labels == number
        count = int(mine.sum())
        if not count:
            continue
        worse, better = int((right & ~kept)[mine].sum()), int((kept & ~right)[mine].sum())
        by_class[name] = {
            "rows": count,
            "recall_float": float(right[mine].mean()),
            "recall_int8": float(kept[mine].mean()),
            "agreement": float(alike[mine].mean()),
            "difference": (better - worse) / count,
            "difference_interval": list(paired_interval(better, worse, count)),
        }
    worse, better = int((right & ~kept).sum()), int((kept & ~right).sum())
    return {
        "rows": rows,
        "accuracy": float(kept.mean()),
        "interval": list(wilson_interval(float(kept.mean()), rows)),
        "ece": calibration_error(predicted, labels),
        "loss": (worse - better) / rows,
        "loss_interval": list(paired_interval(worse, better, rows)),
        "agreement": float(alike.mean()),
        "flips": int((~alike).sum()),
        "confidence_drift": {
            "mean": float(drift.mean()),
            "p95": float(np.percentile(drift, 95)),
            "largest": float(drift.max()),
        },
        "largest_logit_difference": {"value": float(logits.max()), "row": int(row), "class": classes[int(column)]},
        "classes": by_class,
    }


def compare_raw(judged: npt.NDArray[Any], other: npt.NDArray[Any]) -> dict[str, Any]:
    """Compare raw outputs (n, classes) of one file on two runtimes: bytes, steps of the output's scale, decisions."""
    steps = np.abs(judged.astype(np.float64) - other.astype(np.float64))
    return {
        "rows": len(judged),
        "equal_bytes": float((steps == 0).mean()),
        "largest_steps": float(steps.max()),
        "argmax_flips": int((judged.argmax(axis=1) != other.argmax(axis=1)).sum()),
    }


def compare_layers(reference: bytes, content: bytes, pictures: Images) -> list[dict[str, Any]]:
    """Run a float file and its int8 file side by side and compare the tensors of one name, in running order.

    `snr_db` is the signal-to-noise ratio there. `added_noise` is the noise-to-signal ratio, as the mean over channels
    (a strong one must not hide that the weak are lost), less that of the worst input, each at most DESTROYED: what this
    layer does itself, and no layer after one that destroys the signal. `clipped` is the share of float values outside
    the int8 range, `levels` how many of the 256 are used, `used` how much of the range the float values fill.
    """
    truth, made = Probe(reference), Probe(content)
    names = {truth.graph.tensors[t].name: t for operator in truth.graph.operators for t in operator.outputs}
    pairs = [
        (operator, made_tensor, names[made.graph.tensors[made_tensor].name])
        for operator in made.graph.operators
        for made_tensor in operator.outputs
        if made.graph.tensors[made_tensor].name in names
    ]
    channels = [(truth.graph.tensors[of_truth].shape or (1,))[-1] for _, _, of_truth in pairs]
    signals, noises = [np.zeros(width) for width in channels], [np.zeros(width) for width in channels]
    outside, least, most = np.zeros(len(pairs)), np.zeros(len(pairs)), np.zeros(len(pairs))
    used = np.zeros((len(pairs), 256), bool)
    for picture in progress(pictures, "compare layers"):
        truth.run(picture)
        made.run(picture)
        for number, (_, tensor, of_truth) in enumerate(pairs):
            real, predicted = truth.real(of_truth), made.real(tensor)
            signals[number] += np.square(real, dtype=np.float64).reshape(-1, channels[number]).sum(axis=0)
            noises[number] += np.square(predicted.astype(np.float64) - real).reshape(-1, channels[number]).sum(axis=0)
            least[number] = min(least[number], real.min())
            most[number] = max(most[number], real.max())
            if (limits := _limits(made.graph, tensor)) is not None:
                outside[number] += float(((real < limits[0]) | (real > limits[1])).mean()) / len(pictures)
                used[number][made.stored(tensor).astype(np.int64).ravel() + 128] = True
    ratios: dict[int, float] = {}  # noise to signal, by the int8 file's tensor
    layers = []
    for number, (operator, tensor, _) in enumerate(pairs):
        overall = noises[number].sum() / max(signals[number].sum(), 1e-30)
        alive = signals[number] > 0
        ratio = float(np.minimum(noises[number][alive] / signals[number][alive], 1).mean()) if alive.any() else 0.0
        before = max((_ratio_of(made.graph, t, ratios) for t in operator.inputs if t >= 0), default=0.0)
        ratios[tensor] = ratio
        limits = _limits(made.graph, tensor)
        width = None if limits is None else limits[1] - limits[0]
        layers.append(
            {
                "layer": name_layer(made.graph.tensors[tensor].name),
                "operator": operator.name,
                "snr_db": round(min(-10 * math.log10(max(overall, 1e-12)), 120), 2),
                "added_noise": float(max(min(ratio, DESTROYED) - min(before, DESTROYED), 0.0)),
                "clipped": float(outside[number]),
                "levels": int(used[number].sum()) if width is not None else None,
                "used": None if width is None else float((most[number] - least[number]) / width),
                "seen": [float(least[number]), float(most[number])],
                "range": None if limits is None else list(limits),
                "kept_float": width is None,
            }
        )
    return layers


def _limits(graph: Graph, tensor: int) -> tuple[float, float] | None:
    """Return the least and largest real value of an int8 tensor, a step wider; None for a float one."""
    known = graph.tensors[tensor]
    if not known.quantised:
        return None
    low, high = ((level - known.zero_point[0]) * known.scale[0] - known.lift for level in (-129, 128))
    return float(low), float(high)


def _ratio_of(graph: Graph, tensor: int, ratios: dict[int, float]) -> float:
    """Return a tensor's noise-to-signal ratio; what only quantises or dequantises has that of what it was given."""
    while tensor not in ratios:
        maker = next((operator for operator in graph.operators if tensor in operator.outputs), None)
        if maker is None or maker.name not in ("QUANTIZE", "DEQUANTIZE"):
            return 0.0
        tensor = maker.inputs[0]
    return ratios[tensor]


def find_worst_layer(layers: Sequence[dict[str, Any]]) -> str | None:
    """Name the layer that adds the most noise itself; None without layers."""
    return max(layers, key=lambda row: row["added_noise"])["layer"] if layers else None


def find_worst_class(entry: dict[str, Any]) -> str:
    """Name the class whose pictures int8 and float agree on least."""
    classes = entry["classes"]
    return str(min(classes, key=lambda name: (classes[name]["agreement"], classes[name]["difference"])))
