"""`cuelens-evaluate`: what models, .keras or .tflite, get right on a split of any data set, alone or compared.

A .tflite file needs no TensorFlow. Pictures of what was found are training/report.py's.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from edge.errors import DataSplitEmpty, ModelShape, SettingsInvalid, printable_lines
from edge.system.messages import Warned, say
from edge.system.program import command
from edge.vision.preprocessing import Preprocessing
from lab.calibration import Floats, Labels
from lab.datasets.classes import Match, match_classes
from lab.datasets.ferplus import EIGHT, majority, published_majority
from lab.datasets.labelled import WHOLE, DataSet, Labelled, join_splits, split_name
from lab.datasets.read import read_data
from lab.networks.classifier import Classifier, open_model
from lab.networks.foreign import Pixels, add_foreign_options, ask_keras, describe_order, examine, read_foreign_options
from lab.reporting.plots import open_folder
from lab.scores import DRAWS, MEASURES, compare, cover, round_all, score, wilson_interval
from training.groups import DARKNESS, describe_groups, name_groups, score_groups
from training.report import write_comparison, write_report
from training.vocabulary import describe_words, score_words

MAJORITY = "majority"


@dataclass(frozen=True, slots=True)
class Truth:
    """What is held to be true of a split's rows."""

    kind: str  # MAJORITY, fer2013 or own
    rows: Labels  # of the split that have a label, (n,)
    labels: Labels  # their labels, (n,), indices into the data's classes
    dropped: int = 0  # rows without a majority

    def among(self, match: Match) -> tuple[Labels, Labels]:
        """Return the rows whose label is a class in common, and the labels as indices into those."""
        labels = match.relabel(self.labels)
        return self.rows[labels >= 0], labels[labels >= 0]


def choose_truth(labelled: Labelled, kind: str, where: str) -> Truth:
    """Take the raters' majority or the data's own labels for true; raises DataSplitEmpty where there is no majority."""
    if kind != MAJORITY or labelled.votes is None:
        return Truth(kind, np.arange(len(labelled.labels)), labelled.labels)
    voted = majority(labelled.votes)
    rows = np.flatnonzero(voted >= 0)
    if not len(rows):
        raise DataSplitEmpty(f"{where}: no row has a majority; take --labels fer2013")
    return Truth(kind, rows, voted[rows], len(voted) - len(rows))


def match_model(model: Classifier, data: DataSet) -> Match:
    """Match a model's classes with the data's; one that names none has as many as the data, in its order.

    Raises ModelShape where fewer than two are in common.
    """
    if not model.classes and model.width != len(data.classes):
        raise ModelShape(
            f"{model.path}: has {model.width} classes and names none of them; {data.title} has "
            f"{', '.join(data.classes)[:200]}: name the model's in its order, --classes a,b,c"
        )
    match = match_classes(model.classes or data.classes, data.classes)
    if len(match.classes) < 2:
        raise ModelShape(
            f"{model.path}: knows {', '.join(model.classes)[:200]}; {data.title} has {', '.join(data.classes)[:200]}: "
            "give the data it was made for"
        )
    return match


def hold_foreign(model: Classifier, labelled: Labelled, match: Match, truth: Truth) -> None:
    """Hold a Keras network that was made elsewhere to the labels; raises InputMisread and LabelsPermuted."""
    scaling = model.given.scaling
    if model.foreign is None or (scaling is not None and model.given.classes):
        return
    rows, labels = truth.among(match)
    ask = ask_keras(model.foreign)

    def answer(pixels: Pixels) -> Floats:
        return ask(pixels if scaling is None else scaling.apply(pixels))[:, match.columns]

    scaled, ordered = scaling is not None, bool(model.given.classes)
    examine(model.path, answer, labelled.images[rows], labels, match.classes, scaled=scaled, ordered=ordered)


def predict(model: Classifier, labelled: Labelled) -> Floats:
    """Return a model's probabilities (n, width); raises ModelShape where what comes out is no probabilities."""
    probabilities = model.predict(labelled.images)
    sums = probabilities.sum(axis=1)
    if not (np.abs(sums - 1).max() < 0.01 and probabilities.min() >= 0):  # so written, it catches NaN
        raise ModelShape(
            f"{model.path}: outputs from {probabilities.min():.3g} with sums to {sums.max():.3g}; "
            "probabilities are needed: let it end in a softmax"
        )
    return probabilities


def identify(model: Classifier) -> dict[str, Any]:
    """Return a model file's name, size, hash and runtime."""
    content = model.path.read_bytes()
    identity = {"model": model.path.name, "bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    return identity | {"runtime": model.runtime}


def _beside(whole: Floats, match: Match, labelled: Labelled, *, words: bool) -> dict[str, Any]:
    """Score what the majority is shown beside: FER2013's own labels and, of a model with contempt, FER+'s eight."""
    own = Truth("fer2013", np.arange(len(labelled.labels)), labelled.labels)
    rows, labels = own.among(match)
    probabilities = match.select(whole)[rows]
    figures = score(probabilities, labels, match.classes)
    kept = ("accuracy", "accuracy_interval", "balanced_accuracy", "macro_f1", "ece", "rows", "classes")
    described: dict[str, Any] = {"own_labels": {"labels": "fer2013"} | {name: figures[name] for name in kept}}
    if words:
        described["own_labels"]["words"] = score_words(probabilities, labels, match.classes)
    eight = match_classes(match.model, EIGHT)
    if not eight.data_only and labelled.votes is not None:
        voted = published_majority(labelled.votes)
        chosen = np.flatnonzero(voted >= 0)
        right = float((whole[chosen][:, eight.columns].argmax(axis=1) == voted[chosen]).mean())
        interval = wilson_interval(right, len(chosen))
        described["ferplus"] = round_all({"accuracy": right, "accuracy_interval": interval, "rows": len(chosen)})
        described["ferplus"]["classes"] = list(EIGHT)
    return described


def evaluate(
    model: Classifier, labelled: Labelled, match: Match, truth: Truth, args: argparse.Namespace
) -> tuple[dict[str, Any], Floats]:
    """Evaluate a model on the rows of `truth`; returns its result and its probabilities (n, classes in common).

    The result is what `score` returns, with the file's identity, what was left out and, as asked, the words', the
    groups' and FER2013's own labels' figures.
    """
    whole = predict(model, labelled)
    rows, labels = truth.among(match)
    probabilities = match.select(whole)[rows]
    result = identify(model) | score(probabilities, labels, match.classes)
    elsewhere = ~np.isin(whole[rows].argmax(axis=1), match.columns)
    result["left_out"] = {
        "of_model": list(match.model_only),
        "of_data": list(match.data_only),
        "rows": len(truth.rows) - len(rows),
        "answered": round(float(elsewhere.mean()), 5),
    }
    found = describe_order(probabilities.argmax(axis=1), labels, match.classes)
    result["order"] = list(found[0]) if found else None
    if found:
        say(Warned(f"warning: {model.path}: {found[1]}"))
    if args.words:
        result["words"] = score_words(probabilities, labels, match.classes)
    if truth.kind == MAJORITY:
        result |= _beside(whole, match, labelled, words=args.words)
    if args.by:
        result["groups"] = [
            score_groups(
                name_groups(args.data, labelled, by)[rows], probabilities, labels, match.classes, by, words=args.words
            )
            for by in args.by
        ]
    return result, probabilities


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
        *describe_left_out(result),
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
    lines += ["", *describe_words(result["words"])] if "words" in result else []
    lines += ["", *describe_beside(result)] if "own_labels" in result else []
    for found in result.get("groups", ()):
        lines += ["", *describe_groups(found)]
    return "\n".join(lines)


def describe_left_out(result: dict[str, Any]) -> list[str]:
    """Say in a line which classes are not scored, and what that means for rows and answers; nothing where all are."""
    left = result["left_out"]
    parts = []
    if left["of_data"]:
        parts.append(f"of the data {', '.join(left['of_data'])}, {left['rows']} rows")
    if left["of_model"]:
        parts.append(
            f"of the model {', '.join(left['of_model'])}, its first answer to {left['answered']:.1%} of the rows"
        )
    return [f"left out, as not in both: {'; '.join(parts)}"] if parts else []


def describe_beside(result: dict[str, Any]) -> list[str]:
    """Return what the same model gets by other labels than the majority's, a line each."""
    own = result["own_labels"]
    low, high = own["accuracy_interval"]
    spoken = f", words {own['words']['accuracy']:.4f}" if "words" in own else ""
    figures = f"accuracy {own['accuracy']:.4f} ({low:.4f} to {high:.4f}), balanced {own['balanced_accuracy']:.4f}"
    lines = [f"by FER2013's own label: {figures}, ECE {own['ece']:.4f}{spoken}, {own['rows']} rows"]
    if "ferplus" in result:
        published = result["ferplus"]
        low, high = published["accuracy_interval"]
        lines.append(
            f"as FER+ publishes, eight classes: accuracy {published['accuracy']:.4f} ({low:.4f} to {high:.4f}), "
            f"{published['rows']} rows"
        )
    return lines


def describe(result: dict[str, Any]) -> str:
    """Return in words what was evaluated on."""
    voted = " by the raters' majority" if result["labels"] == MAJORITY else ""
    dropped = f" ({result['dropped']} without a majority dropped)" if result["dropped"] else ""
    mirrored = ", averaged with the mirrored pictures" if result["flip"] else ""
    return f"{result['data']}, {result['split']}, {result['rows']} rows{voted}{dropped}{mirrored}"


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
    for row in rows:
        more = [*describe_left_out(row), *(describe_words(row["words"]) if "words" in row else [])]
        more += describe_beside(row) if "own_labels" in row else []
        for found in row.get("groups", ()):
            more += describe_groups(found)
        lines += ["", row["model"], *more] if more else []
    return "\n".join(lines)


def against(row: dict[str, Any], first: str) -> str:
    """Return in words how a compared model stands against the first."""
    found = row["against_first"]
    low, high = found["interval"]
    verdict = "a difference" if found["excludes_zero"] else "no difference shown"
    return (
        f"{row['model']}: accuracy {found['accuracy']:+.4f} ({low:+.4f} to {high:+.4f}) against {first}, {verdict}; "
        f"McNemar's exact p {found['mcnemar_p']:g}"
    )


def _read(
    args: argparse.Namespace, preprocessings: Iterable[Preprocessing]
) -> tuple[dict[Preprocessing, DataSet], str]:
    """Read the split once for every preprocessing; returns the split's own name too."""
    whole = args.split == WHOLE
    split = WHOLE if whole else split_name(args.data, args.split)
    asked = None if whole else [split]
    read = {}
    for preprocessing in preprocessings:
        data = read_data(args.data, preprocessing, asked, ferplus=args.ferplus, lenient=True)
        read[preprocessing] = join_splits(data) if whole else data
    return read, split


def _add_options(parser: argparse.ArgumentParser) -> None:
    parser.epilog = (
        "example: cuelens-evaluate models/emotion.tflite --data fer2013.csv --ferplus fer2013new.csv --words"
    )
    parser.add_argument(
        "models",
        metavar="MODEL",
        type=Path,
        nargs="+",
        help="A .tflite file with its contract beside it, a .keras or an .h5 file. Several are compared.",
    )
    parser.add_argument(
        "--data",
        type=Path,
        required=True,
        help="FER2013's fer2013.csv, plain or .gz, .xz or .zip, or a folder of pictures.",
    )
    parser.add_argument(
        "--split", default="choose", help="Part of the data: its name, or fit, choose (the default), report or all."
    )
    parser.add_argument(
        "--ferplus", type=Path, help="FER+'s fer2013new.csv. The majority of its raters is then the truth."
    )
    parser.add_argument(
        "--labels",
        choices=(MAJORITY, "ferplus", "own", "fer2013"),
        help="Truth: the majority of FER+'s raters (the default with --ferplus), or the data's own labels.",
    )
    parser.add_argument(
        "--words", action="store_true", help="Score the wearer's four words too, and what the cue would show."
    )
    parser.add_argument(
        "--by",
        action="append",
        metavar="COLUMN",
        help=f"Score groups by a column of labels.csv, or by {DARKNESS} of the picture. It may be given again.",
    )
    add_foreign_options(parser)
    parser.add_argument(
        "--flip",
        action="store_true",
        help="Average each picture with its mirror image. The device reads both in turns.",
    )
    parser.add_argument("--compare", action="store_true", help="Fail unless there are two models or more to compare.")
    parser.add_argument("--json", action="store_true", help="Print JSON instead of a table.")
    parser.add_argument("--out", type=Path, help="Folder for report.json, index.html, mistakes.html and pictures.")


def _kind_of_labels(args: argparse.Namespace) -> str:
    """Say what is held to be true: MAJORITY, or the data's own labels, "own" of a folder and "fer2013" of the table."""
    asked = MAJORITY if args.labels == "ferplus" else args.labels
    if asked == MAJORITY and args.ferplus is None:
        raise SettingsInvalid(f"--labels {args.labels} needs the raters' votes; give --ferplus FILE, fer2013new.csv")
    if asked == MAJORITY or (asked is None and args.ferplus is not None):
        return MAJORITY
    return "own" if args.data.is_dir() else "fer2013"


@command
def main(parser: argparse.ArgumentParser, argv: list[str] | None = None) -> None:
    """Evaluate a model on a split of a data set, or compare several on it."""
    _add_options(parser)
    args = parser.parse_args(argv)
    if args.compare and len(args.models) < 2:
        raise SettingsInvalid(f"--compare: one model, {args.models[0]}; give two or more")
    kind, given = _kind_of_labels(args), read_foreign_options(args)
    models = [open_model(path, flip=args.flip, given=given) for path in args.models]
    if args.out is not None:
        open_folder(args.out)
    read, split = _read(args, dict.fromkeys(model.preprocessing for model in models))
    data = read[models[0].preprocessing]
    if data.skipped:
        say(Warned(f"{args.data}: {len(data.skipped)} skipped; cuelens-data lists them"))
    truth = choose_truth(data.splits[split], kind, f"{args.ferplus}: {split}")
    described: dict[str, Any] = {"data": data.title, "split": split, "labels": kind}
    described |= {"skipped": len(data.skipped), "dropped": truth.dropped, "flip": args.flip}
    matches = [match_model(model, data) for model in models]
    common = set.intersection(*(set(match.classes) for match in matches))
    matches = [match.narrow(common) for match in matches]
    if len(common) < 2:
        raise ModelShape(
            f"{len(models)} models: they and {data.title} have {len(common)} classes in common, of 2 or more"
        )
    pairs = []
    for model, match in zip(models, matches, strict=True):
        labelled = read[model.preprocessing].splits[split]
        hold_foreign(model, labelled, match, truth)
        pairs.append(evaluate(model, labelled, match, truth, args))
    results = [described | result for result, _ in pairs]
    rows, labels = truth.among(matches[0])
    if len(models) == 1:
        ((_, probabilities),) = pairs
        if args.out is not None:
            shown = replace(data.splits[split].take(rows), labels=labels)
            write_report(args.out, results[0], shown, probabilities, cover(probabilities, labels), describe(results[0]))
        print(json.dumps(results[0], indent=1) if args.json else printable_lines(table(results[0])))
        return
    if len({path.name for path in args.models}) < len(models):
        results = [result | {"model": str(path)} for result, path in zip(results, args.models, strict=True)]
    compared = compare(results, [probabilities for _, probabilities in pairs], labels)
    comparison = {"draws": DRAWS, "models": compared}
    if args.out is not None:
        verdicts = [against(row, compared[0]["model"]) for row in compared[1:]]
        write_comparison(args.out, comparison, MEASURES, verdicts, describe(compared[0]))
    print(json.dumps(comparison, indent=1) if args.json else printable_lines(compared_table(compared)))
