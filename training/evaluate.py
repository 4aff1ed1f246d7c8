"""`cuelens-evaluate`: what models, .keras or .tflite, get right on a split of any data set, alone or compared.

A .tflite file needs no TensorFlow. Pictures of what was found are training/report.py's.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from edge.command import command
from edge.errors import DataSplitEmpty, ModelMissing, ModelShape, ModelUnreadable, SettingsInvalid
from edge.model import ExpressionModel
from edge.preprocessing import Preprocessing
from training.calibration import ECE_BINS, INT8_LEAST, Floats, Labels, calibration_error, number_bins
from training.data import DataSet, Labelled, read_data, split_name
from training.ferplus import relabel
from training.keras_file import as_batch, check_classes, load_keras, preprocessing_of, read_about
from training.report import open_folder, write_comparison, write_report

Images = npt.NDArray[np.uint8]

COVERAGES = (1.0, 0.9, 0.8, 0.7, 0.5)
GOALS = (0.8, 0.9)  # accuracies whose coverage is told
DRAWS = 2000
MEASURES = {"accuracy": "accuracy", "balanced_accuracy": "balanced", "macro_f1": "macro F1", "ece": "ECE"}
_BATCH = 256
_CHUNK = 8 * _BATCH  # pictures as float32 at a time


@dataclass(frozen=True, slots=True)
class Classifier:
    """A model file, open to read pictures."""

    path: Path
    runtime: str
    preprocessing: Preprocessing
    width: int  # of its output
    classes: tuple[str, ...]  # empty where the file does not say
    predict: Callable[[Images], Floats]


def predict_tflite(model: ExpressionModel, images: Images) -> Floats:
    """Read uint8 (n, side, side) or (n, side, side, 3) pictures one by one as the device does; returns (n, labels)."""
    pictures = tqdm(images, "evaluate", disable=not sys.stderr.isatty(), leave=False)
    return np.array([model.read(picture) for picture in pictures])


def predict_keras(model: Any, images: Images, *, flip: bool = False) -> Floats:
    """Read uint8 (n, side, side) or (n, side, side, 3) pictures with a Keras model of raw pixels; returns (n, labels).

    `flip` averages what it says of each picture with what it says of the mirrored one.
    """
    starts = tqdm(range(0, len(images), _CHUNK), "evaluate", disable=not sys.stderr.isatty(), leave=False)
    said = []
    for start in starts:
        pixels = as_batch(images[start : start + _CHUNK])
        views = (pixels, pixels[:, :, ::-1]) if flip else (pixels,)
        said.append(np.mean([model.predict(view, batch_size=_BATCH, verbose=0) for view in views], axis=0))
    return np.asarray(np.concatenate(said), np.float64)


def open_model(path: Path, *, flip: bool = False) -> Classifier:
    """Open a .tflite file with its contract, or a .keras file: its input tells the side and colour that it reads.

    Raises ModelMissing, ModelUnreadable, ModelShape, RuntimeMissing, and what ExpressionModel raises;
    SettingsInvalid for `flip` with a .tflite file.
    """
    if not path.is_file():
        raise ModelMissing(f"{path}: no such file; give a .tflite or .keras file")
    if path.suffix == ".tflite":
        if flip:
            raise SettingsInvalid(f"{path}: --flip is for .keras files; the device reads a picture once, so must this")
        model = ExpressionModel(path)
        labels, preprocessing = model.contract.labels, model.contract.preprocessing
        return Classifier(path, model.runtime, preprocessing, len(labels), labels, partial(predict_tflite, model))
    if path.suffix not in (".keras", ".h5"):
        raise ModelUnreadable(f"{path}: {path.suffix or 'no suffix'} is no model's; give a .tflite or .keras file")
    network = load_keras(path)
    import keras

    preprocessing, taken = preprocessing_of(network, path), network.output_shape
    if not isinstance(taken, tuple) or len(taken) != 2:
        raise ModelShape(f"{path}: gives {taken}; a classifier gives (None, classes)")
    classes = tuple(read_about(path).get("classes", ()))
    runtime = f"keras {keras.__version__}"
    return Classifier(path, runtime, preprocessing, taken[1], classes, partial(predict_keras, network, flip=flip))


def hold_to_classes(model: Classifier, data: DataSet) -> None:
    """Raise ModelShape where the model's classes are not the data's, in the data's order."""
    if model.classes:
        check_classes(model.path, model.classes, data)
    if model.width != len(data.classes):
        raise ModelShape(
            f"{model.path}: tells {model.width} classes apart; {data.title} has {', '.join(data.classes)[:200]}: "
            "give the data it was made for"
        )


def evaluate(model: Classifier, data: Labelled, classes: Sequence[str]) -> tuple[dict[str, Any], Floats]:
    """Evaluate a model on pictures of its classes; returns its result and its probabilities (n, classes).

    The result is what `score` returns with the file's name, size, hash and runtime. Raises ModelShape where what
    comes out is no probabilities.
    """
    probabilities = model.predict(data.images)
    sums = probabilities.sum(axis=1)
    if not (np.abs(sums - 1).max() < 0.01 and probabilities.min() >= 0):  # so written, it catches NaN
        raise ModelShape(
            f"{model.path}: outputs from {probabilities.min():.3g} with sums to {sums.max():.3g}; "
            "probabilities are needed: let it end in a softmax"
        )
    content = model.path.read_bytes()
    identity = {"model": model.path.name, "bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    return identity | {"runtime": model.runtime} | score(probabilities, data.labels, classes), probabilities


def confuse(predicted: Labels, labels: Labels, classes: int) -> Labels:
    """Return the confusion matrix (classes, classes) of what was said of rows (n,); its rows are the true classes."""
    return np.bincount(labels * classes + predicted, minlength=classes * classes).reshape(classes, classes)


def summarise(confusion: npt.NDArray[np.int64]) -> dict[str, Floats]:
    """Return accuracy, balanced accuracy and macro F1, and precision, recall and F1 by class.

    Of one confusion matrix or a stack of them, (..., classes, classes). A class without rows counts in no mean.
    """
    hits = np.diagonal(confusion, axis1=-2, axis2=-1)
    support, called = confusion.sum(axis=-1), confusion.sum(axis=-2)
    recall, precision = hits / np.maximum(support, 1), hits / np.maximum(called, 1)
    f1 = 2 * hits / np.maximum(support + called, 1)
    present = support > 0
    return {
        "accuracy": hits.sum(axis=-1) / support.sum(axis=-1),
        "balanced_accuracy": np.mean(recall, axis=-1, where=present),
        "macro_f1": np.mean(f1, axis=-1, where=present),
        "precision": precision,
        "recall": recall,
        "f1": f1,
    }


def cover(probabilities: Floats, labels: Labels) -> Floats:
    """Return the accuracy (n,) among the 1, 2, ... n surest rows: the coverage-accuracy curve.

    Rows that are equally sure share their hits evenly, so that their order changes nothing. The area under its
    complement is AURC (Geifman et al., arXiv 1805.08206).
    """
    _, ranks, counts = np.unique(-probabilities.max(axis=1), return_inverse=True, return_counts=True)
    share = np.bincount(ranks, probabilities.argmax(axis=1) == labels) / counts
    accuracy: Floats = np.cumsum(np.repeat(share, counts)) / np.arange(1, len(labels) + 1)
    return accuracy


def score(probabilities: Floats, labels: Labels, classes: Sequence[str]) -> dict[str, Any]:
    """Score probabilities (n, classes) against labels (n,).

    Returns accuracy with its 95 % Wilson interval, balanced accuracy, macro F1, expected calibration error,
    negative log likelihood (nats; what is below 1/512 counts as that: int8 cannot show it, so float and int8
    compare), Brier score (Brier, Monthly Weather Review 78, 1950: 0 to 2), what is right among the surest, precision,
    recall, F1 and support by class, and the confusion matrix (rows: true).
    """
    confusion = confuse(probabilities.argmax(axis=1), labels, len(classes))
    summary = summarise(confusion)
    accuracy, count = float(summary["accuracy"]), len(labels)
    true = probabilities[np.arange(count), labels]
    curve = cover(probabilities, labels)
    reached = {goal: np.flatnonzero(curve >= goal) for goal in GOALS}
    numbers = {
        "accuracy": accuracy,
        "accuracy_interval": wilson_interval(accuracy, count),
        "balanced_accuracy": summary["balanced_accuracy"],
        "macro_f1": summary["macro_f1"],
        "ece": calibration_error(probabilities, labels),
        "nll": -np.log(np.maximum(true, INT8_LEAST)).mean(),
        "brier": (np.square(probabilities).sum(axis=1) - 2 * true + 1).mean(),
        "coverage": {
            "aurc": 1 - curve.mean(),
            "accuracy_at": {f"{share:g}": curve[math.ceil(share * count) - 1] for share in COVERAGES},
            "coverage_for": {f"{goal:g}": (rows[-1] + 1) / count if rows.size else 0 for goal, rows in reached.items()},
        },
        "rows": count,
        "classes": {
            name: {measure: summary[measure][i] for measure in ("precision", "recall", "f1")}
            | {"support": int(confusion[i].sum())}
            for i, name in enumerate(classes)
        },
        "confusion": confusion.tolist(),
    }
    rounded: dict[str, Any] = _round(numbers)
    return rounded


def _round(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _round(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_round(each) for each in value]
    return value if isinstance(value, int | str) else round(float(value), 5)


def wilson_interval(share: float, count: int, z: float = 1.96) -> tuple[float, float]:
    """Return the interval of a share of `count` trials (Wilson, JASA 22, 1927)."""
    middle = (share + z * z / (2 * count)) / (1 + z * z / count)
    reach = z / (1 + z * z / count) * math.sqrt(share * (1 - share) / count + z * z / (4 * count * count))
    return middle - reach, middle + reach


def bootstrap(several: Sequence[Floats], labels: Labels, draws: int = DRAWS, seed: int = 0) -> list[dict[str, Floats]]:
    """Return each model's MEASURES on `draws` resamplings of the rows, the same rows for every model: (draws,) each.

    Efron, Annals of Statistics 7, 1979. A resampled ECE leans upwards: noise in a bin is a gap too.
    """
    rng = np.random.default_rng(seed)
    count, classes = several[0].shape
    cells, bins, gaps = [], [], []
    for probabilities in several:
        predicted, confidence = probabilities.argmax(axis=1), probabilities.max(axis=1)
        cells.append(labels * classes + predicted)
        bins.append(number_bins(confidence))
        gaps.append((predicted == labels) - confidence)
    confusions = np.empty((len(several), draws, classes, classes), np.int64)
    errors = np.empty((len(several), draws))
    for draw in range(draws):
        rows = rng.integers(count, size=count)
        for i in range(len(several)):
            confusions[i, draw] = np.bincount(cells[i][rows], minlength=classes**2).reshape(classes, classes)
            errors[i, draw] = np.abs(np.bincount(bins[i][rows], gaps[i][rows], ECE_BINS)).sum() / count
    return [summarise(matrix) | {"ece": error} for matrix, error in zip(confusions, errors, strict=True)]


def mcnemar(first: npt.NDArray[np.bool_], second: npt.NDArray[np.bool_]) -> float:
    """Return the exact two-sided p of two models being right (n,) equally often (McNemar, Psychometrika 12, 1947)."""
    only_first, only_second = int((first & ~second).sum()), int((second & ~first).sum())
    differing = only_first + only_second
    term, tail, outcomes = 1, 1, 1 << differing
    for k in range(min(only_first, only_second)):
        term = term * (differing - k) // (k + 1)
        tail += term
    return min(1.0, 2 * tail / outcomes)


def compare(results: Sequence[dict[str, Any]], several: Sequence[Floats], labels: Labels) -> list[dict[str, Any]]:
    """Add to each model's result its bootstrap intervals (95 % percentile), and how it stands against the first.

    `several` are their probabilities (n, classes) for the same rows.
    """
    drawn = bootstrap(several, labels)
    right = [probabilities.argmax(axis=1) == labels for probabilities in several]
    compared = []
    for i, result in enumerate(results):
        row = result | {"bootstrap": {measure: _interval(drawn[i][measure]) for measure in MEASURES}}
        if i:
            low, high = _interval(drawn[i]["accuracy"] - drawn[0]["accuracy"])
            row["against_first"] = {
                "accuracy": round(float(right[i].mean() - right[0].mean()), 5),
                "interval": [low, high],
                "excludes_zero": low > 0 or high < 0,
                "mcnemar_p": float(f"{mcnemar(right[0], right[i]):.3g}"),
                "only_first_right": int((right[0] & ~right[i]).sum()),
                "only_this_right": int((right[i] & ~right[0]).sum()),
            }
        compared.append(row)
    return compared


def _interval(draws: Floats) -> list[float]:
    return [round(float(bound), 5) for bound in np.percentile(draws, (2.5, 97.5))]


def table(result: dict[str, Any]) -> str:
    """Lay a model's result out for a person."""
    low, high = result["accuracy_interval"]
    coverage = result["coverage"]
    wide = max(10, *(len(name) for name in result["classes"])) + 2
    shares = (f"{float(share):.0%} {value:.4f}" for share, value in coverage["accuracy_at"].items())
    goals = (f"{float(goal):.0%}: {value:.1%}" for goal, value in coverage["coverage_for"].items())
    measures = {"balanced_accuracy": "balanced", "macro_f1": "macro F1", "ece": "ECE", "nll": "NLL", "brier": "Brier"}
    lines = [
        f"{result['model']} ({result['bytes'] / 1e6:.3f} MB, {result['runtime']}) on {describe(result)}",
        f"accuracy {result['accuracy']:.4f} ({low:.4f} to {high:.4f})",
        ", ".join(f"{words} {result[measure]:.4f}" for measure, words in measures.items()),
        f"accuracy among the surest: {', '.join(shares)}; AURC {coverage['aurc']:.4f}",
        f"coverage at an accuracy of {', '.join(goals)}",
        f"{'':{wide}}{'precision':>9}{'recall':>8}{'F1':>7}{'rows':>7}",
    ]
    lines += [
        f"{name:{wide}}{row['precision']:9.3f}{row['recall']:8.3f}{row['f1']:7.3f}{row['support']:7}"
        for name, row in result["classes"].items()
    ]
    return "\n".join(lines)


def describe(result: dict[str, Any]) -> str:
    """Say in words what was evaluated on."""
    dropped = f" ({result['dropped']} without a majority dropped)" if result["dropped"] else ""
    mirrored = ", averaged with the mirrored pictures" if result["flip"] else ""
    return f"{result['data']}, {result['split']}, {result['rows']} rows{dropped}{mirrored}"


def compared_table(rows: Sequence[dict[str, Any]]) -> str:
    """Lay a comparison out for a person."""
    wide = max(len(row["model"]) for row in rows) + 2
    lines = [
        f"{describe(rows[0])}; 95 % intervals from {DRAWS} resamplings of the rows",
        f"{'':{wide}}{'MB':>7}" + "".join(f"{name:>18}" for name in MEASURES.values()),
    ]
    for row in rows:
        intervals = (f"{low:.4f} to {high:.4f}" for low, high in row["bootstrap"].values())
        lines += [
            f"{row['model']:{wide}}{row['bytes'] / 1e6:7.3f}" + "".join(f"{row[name]:18.4f}" for name in MEASURES),
            " " * (wide + 7) + "".join(f"{words:>18}" for words in intervals),
        ]
    lines += [against(row, rows[0]["model"]) for row in rows[1:]]
    return "\n".join(lines)


def against(row: dict[str, Any], first: str) -> str:
    """Say in words how a compared model stands against the first."""
    found = row["against_first"]
    low, high = found["interval"]
    verdict = "a difference" if found["excludes_zero"] else "no difference shown"
    return (
        f"{row['model']}: accuracy {found['accuracy']:+.4f} ({low:+.4f} to {high:+.4f}) against {first}, {verdict}; "
        f"McNemar's exact p {found['mcnemar_p']:g}"
    )


def _read(
    args: argparse.Namespace, preprocessings: Iterable[Preprocessing]
) -> tuple[dict[Preprocessing, DataSet], str, int]:
    """Read the split once for every preprocessing; returns the split's own name and how many rows were dropped too."""
    split = split_name(args.data, args.split)
    read, dropped = {}, 0
    for preprocessing in preprocessings:
        data = read_data(args.data, preprocessing, [split], ferplus=args.ferplus)
        if args.labels == "ferplus":
            labelled = relabel(data.splits[split])
            dropped = len(data.splits[split].labels) - len(labelled.labels)
            if not len(labelled.labels):
                raise DataSplitEmpty(f"{args.ferplus}: no row of {split} has a majority; take --labels fer2013")
            data = DataSet(f"{data.title}, FER+ majority labels", data.classes, {split: labelled}, data.skipped)
        read[preprocessing] = data
    return read, split, dropped


@command
def main(parser: argparse.ArgumentParser, argv: list[str] | None = None) -> None:
    """Evaluate a model on a split of a data set, or compare several on it."""
    parser.add_argument(
        "models",
        metavar="MODEL",
        type=Path,
        nargs="+",
        help="a .tflite file with its contract beside it, or a .keras file; several are compared with the first",
    )
    parser.add_argument("--data", type=Path, required=True, help="fer2013.csv (.gz, .xz, .zip) or a folder of pictures")
    parser.add_argument("--split", default="choose", help="by its name, or fit, choose (the default) or report")
    parser.add_argument("--ferplus", type=Path, help="fer2013new.csv, for --labels ferplus")
    parser.add_argument(
        "--labels",
        choices=("fer2013", "ferplus"),
        default="fer2013",
        help="ferplus: the majority of FER+'s raters, rows without one dropped; otherwise the data's own",
    )
    parser.add_argument("--flip", action="store_true", help="average with the mirrored pictures; .keras only")
    parser.add_argument("--compare", action="store_true", help="insist on a comparison: two models or more")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_argument("--out", type=Path, help="folder for report.json, index.html and its pictures")
    args = parser.parse_args(argv)
    if args.compare and len(args.models) < 2:
        raise SettingsInvalid(f"--compare: one model, {args.models[0]}; give two or more")
    if (args.labels == "ferplus") != (args.ferplus is not None):
        raise SettingsInvalid(
            f"--labels {args.labels} with --ferplus {args.ferplus}; give --ferplus FILE --labels ferplus"
        )
    models = [open_model(path, flip=args.flip) for path in args.models]
    if args.out is not None:
        open_folder(args.out)
    read, split, dropped = _read(args, dict.fromkeys(model.preprocessing for model in models))
    data = read[models[0].preprocessing]
    if data.skipped:
        print(f"{args.data}: {len(data.skipped)} skipped; cuelens-data lists them", file=sys.stderr)
    told = {"data": data.title, "split": split, "labels": "own" if args.data.is_dir() else args.labels}
    told |= {"skipped": len(data.skipped), "dropped": dropped, "flip": args.flip}
    for model in models:
        hold_to_classes(model, data)
    pairs = [evaluate(model, read[model.preprocessing].splits[split], data.classes) for model in models]
    results = [told | result for result, _ in pairs]
    labelled = data.splits[split]
    if len(models) == 1:
        ((_, probabilities),) = pairs
        if args.out is not None:
            curve = cover(probabilities, labelled.labels)
            write_report(args.out, results[0], labelled, probabilities, curve, describe(results[0]))
        print(json.dumps(results[0], indent=1) if args.json else table(results[0]))
        return
    if len({path.name for path in args.models}) < len(models):
        results = [result | {"model": str(path)} for result, path in zip(results, args.models, strict=True)]
    compared = compare(results, [probabilities for _, probabilities in pairs], labelled.labels)
    comparison = {"draws": DRAWS, "models": compared}
    if args.out is not None:
        verdicts = [against(row, compared[0]["model"]) for row in compared[1:]]
        write_comparison(args.out, comparison, MEASURES, verdicts, describe(compared[0]))
    print(json.dumps(comparison, indent=1) if args.json else compared_table(compared))
