"""`cuelens-evaluate`: what a model, .keras or .tflite, gets right on a split; without TensorFlow for .tflite."""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from edge.command import command
from edge.errors import ModelMissing, ModelUnreadable, RuntimeMissing
from edge.model import ExpressionModel
from training.fer2013 import CLASSES, SPLITS, Labelled, read_fer2013

ECE_BINS = 15  # as in Guo et al., arXiv 1706.04599


def predict_tflite(model: ExpressionModel, images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float64]:
    """Read uint8 (n, side, side) faces one by one as the device does; returns probabilities (n, labels)."""
    faces = tqdm(images, "evaluate", disable=not sys.stderr.isatty(), leave=False)
    return np.array([model.read(face) for face in faces])


def predict_keras(model: Any, images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float64]:
    """Read uint8 (n, side, side) faces with a Keras model of raw gray pixels; returns probabilities (n, labels)."""
    return np.asarray(model.predict(images[..., None].astype(np.float32), batch_size=256, verbose=0), np.float64)


def load_keras(path: Path) -> Any:
    """Load a .keras file; raises RuntimeMissing, ModelMissing or ModelUnreadable."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    try:
        import keras
    except ImportError as error:
        raise RuntimeMissing("keras is not installed here; run ./deploy.sh host and use .venv-host/bin") from error
    if not path.is_file():
        raise ModelMissing(f"{path}: no such file; cuelens-train writes one")
    try:
        return keras.saving.load_model(path)
    except Exception as error:  # zipfile, h5py, json and Keras each raise their own
        raise ModelUnreadable(f"{path}: {str(error).splitlines()[0]}; it must be a whole .keras file") from error


def score(probabilities: npt.NDArray[np.float64], labels: npt.NDArray[np.int64]) -> dict[str, Any]:
    """Score probabilities (n, classes) against labels (n,).

    Returns accuracy with its 95 % Wilson interval, balanced accuracy, macro F1, expected calibration
    error, precision, recall and support by class, and the confusion matrix (rows: true).
    """
    classes = probabilities.shape[1]
    predicted = probabilities.argmax(axis=1)
    confusion = np.zeros((classes, classes), np.int64)
    np.add.at(confusion, (labels, predicted), 1)
    hits, support, called = confusion.diagonal(), confusion.sum(axis=1), confusion.sum(axis=0)
    recall = hits / np.maximum(support, 1)
    precision = hits / np.maximum(called, 1)
    f1 = 2 * precision * recall / np.maximum(precision + recall, 1e-12)
    present = support > 0
    accuracy = float((predicted == labels).mean())
    return {
        "accuracy": round(accuracy, 5),
        "accuracy_interval": [round(bound, 5) for bound in wilson_interval(accuracy, len(labels))],
        "balanced_accuracy": round(float(recall[present].mean()), 5),
        "macro_f1": round(float(f1[present].mean()), 5),
        "ece": round(calibration_error(probabilities, labels), 5),
        "rows": len(labels),
        "classes": {
            name: {
                "precision": round(float(precision[i]), 5),
                "recall": round(float(recall[i]), 5),
                "support": int(support[i]),
            }
            for i, name in enumerate(CLASSES)
        },
        "confusion": confusion.tolist(),
    }


def wilson_interval(share: float, count: int, z: float = 1.96) -> tuple[float, float]:
    """Return the interval of a share of `count` trials (Wilson, JASA 22, 1927)."""
    middle = (share + z * z / (2 * count)) / (1 + z * z / count)
    reach = z / (1 + z * z / count) * math.sqrt(share * (1 - share) / count + z * z / (4 * count * count))
    return middle - reach, middle + reach


def calibration_error(probabilities: npt.NDArray[np.float64], labels: npt.NDArray[np.int64]) -> float:
    """Return the expected calibration error of the top class over equal-width bins."""
    confidence = probabilities.max(axis=1)
    right = probabilities.argmax(axis=1) == labels
    bins = np.minimum((confidence * ECE_BINS).astype(int), ECE_BINS - 1)
    gaps = [abs(right[bins == b].mean() - confidence[bins == b].mean()) * (bins == b).mean() for b in np.unique(bins)]
    return float(sum(gaps))


def evaluate(path: Path, data: Labelled) -> dict[str, Any]:
    """Evaluate the model file on `data`; what `score` returns, with the file's size, hash and runtime."""
    if path.suffix == ".tflite":
        model = ExpressionModel(path)
        probabilities, runtime = predict_tflite(model, data.images), model.runtime
    else:
        network = load_keras(path)
        import keras

        probabilities, runtime = predict_keras(network, data.images), f"keras {keras.__version__}"
    content = path.read_bytes()
    identity = {"model": path.name, "bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    return identity | {"runtime": runtime} | score(probabilities, data.labels)


def table(result: dict[str, Any], split: str) -> str:
    """Lay a result out for a person."""
    low, high = result["accuracy_interval"]
    lines = [
        f"{result['model']} ({result['bytes'] / 1e6:.3f} MB, {result['runtime']}) on {split}, {result['rows']} rows",
        f"accuracy {result['accuracy']:.4f} ({low:.4f} to {high:.4f})",
        f"balanced {result['balanced_accuracy']:.4f}, macro F1 {result['macro_f1']:.4f}, ECE {result['ece']:.4f}",
        f"{'':10}{'precision':>10}{'recall':>8}{'rows':>7}",
    ]
    lines += [
        f"{name:10}{row['precision']:10.3f}{row['recall']:8.3f}{row['support']:7}"
        for name, row in result["classes"].items()
    ]
    return "\n".join(lines)


@command
def main(parser: argparse.ArgumentParser, argv: list[str] | None = None) -> None:
    """Evaluate a model file on a split of FER2013."""
    parser.add_argument("model", type=Path, help="a .tflite file with its contract beside it, or a .keras file")
    parser.add_argument("--data", type=Path, required=True, help="fer2013.csv, plain or .gz, .xz, .zip")
    parser.add_argument("--split", choices=SPLITS, default="PublicTest")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    args = parser.parse_args(argv)
    if not args.model.is_file():
        raise ModelMissing(f"{args.model}: no such file; give a .tflite or .keras file")
    result = evaluate(args.model, read_fer2013(args.data, args.split)[args.split])
    print(json.dumps({"split": args.split} | result, indent=1) if args.json else table(result, args.split))
