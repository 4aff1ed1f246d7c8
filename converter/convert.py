"""`cuelens-convert`: float network -> int8 file with contract and metadata, judged, and only then written.

The recipe (converter/recipe.py) says how; converter/gate.py says whether it may be.
"""

from __future__ import annotations

import argparse
import errno
import json
import os
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from converter.contract import make_contract
from converter.gate import Judgement, Original, judge, read_original
from converter.graph import pack, unpack
from converter.passes.bias import correct_biases
from converter.passes.lift import Ranges, lift_negatives
from converter.passes.metadata import append_files, describe
from converter.passes.versions import restate_versions
from converter.probe import Images, Probe
from converter.quantise import cut_softmax, export_float, measure_ranges, quantise_ai_edge, quantise_tensorflow
from converter.recipe import Recipe, read_recipe
from converter.report import write_report
from converter.runtimes import Runtime, find_runtimes
from edge.errors import ConfidenceDrifted, GateFailed, ModelShape, SinkUnwritable, printable
from edge.files import make_folder, replace_file
from edge.system.program import command
from edge.system.quiet import quiet
from edge.vision.model import CONTRACT_FORMAT
from edge.vision.preprocessing import Preprocessing
from edge.vision.tflite import load_interpreter
from lab.datasets.classes import match_classes, reorder
from lab.datasets.ferplus import relabel
from lab.datasets.labelled import DataSet
from lab.datasets.read import read_data
from lab.datasets.sample import draw_rows
from lab.networks.foreign import (
    IN_RECIPE,
    Scaling,
    add_foreign_options,
    ask_keras,
    examine,
    read_foreign_options,
)
from lab.networks.keras_file import give_pixels, load_keras, preprocessing_of, read_about

MENDED = (GateFailed, ConfidenceDrifted)  # refusals that a layer in float may mend


@dataclass(frozen=True, slots=True)
class Conversion:
    """An int8 file as bytes, with its contract and how it was judged."""

    content: bytes
    contract: dict[str, Any]
    judgement: Judgement


@dataclass(frozen=True, slots=True)
class Task:
    """A float network, read and checked, with the data to convert it on."""

    original: Original
    about: dict[str, Any]  # what cuelens-train wrote into the file
    preprocessing: Preprocessing
    data: DataSet
    quantised_from: Any  # the network that ends where the int8 file shall: probabilities, or logits


class Steps:
    """The steps of a conversion as a bar, on a terminal only."""

    def __init__(self, count: int) -> None:
        """Show that `count` steps are to come."""
        look = "{desc} {n}/{total} {bar}"
        self._bar = tqdm(total=count, disable=not sys.stderr.isatty(), leave=False, bar_format=look)

    def __call__(self, name: str) -> None:
        """Begin the step `name`."""
        self._bar.update()
        self._bar.set_description_str(name)

    def add(self, count: int) -> None:
        """Show that so many more are to come."""
        self._bar.total += count

    def close(self) -> None:
        """Take the bar away."""
        self._bar.close()


def read_task(
    path: Path, source: Path, recipe: Recipe, step: Steps, *, scaled: bool = False, ferplus: Path | None = None
) -> Task:
    """Read a .keras or .h5 file and the data, whose classes come in the network's order.

    With `ferplus`, FER+'s table of votes, what the raters' majority says of the choose split is held to be true.

    Raises ModelShape where they don't fit, InputMisread for other pixels unless `scaled` vouches for them,
    LabelsPermuted for another order of the classes than is taken.
    """
    step("read the network")
    network, about = load_keras(path), read_about(path)
    preprocessing = preprocessing_of(network, path)
    taken = network.output_shape
    step("read the data")
    data = read_data(source, preprocessing, ("fit", "choose"), ferplus=ferplus)
    if ferplus is not None:
        data = replace(data, splits=dict(zip(data.splits, (data.fit, relabel(data.choose)), strict=True)))
    if not isinstance(taken, tuple) or len(taken) != 2 or taken[1] is None:
        raise ModelShape(f"{path}: gives {taken}; {data.title} needs (None, {len(data.classes)}): one output a class")
    named = recipe.classes or tuple(about.get("classes", ()))
    data = hold_classes(path, named, taken[1], data)
    wanted = network if recipe.softmax else cut_softmax(network)
    scaled = scaled or recipe.input != Scaling()
    if recipe.input != Scaling():
        network, wanted = (give_pixels(each, recipe.input) for each in (network, wanted))
    if not about and not (scaled and recipe.classes):
        step("find out what it expects")
        chosen, stated = data.choose, {"scaled": scaled, "ordered": bool(recipe.classes)}
        examine(path, ask_keras(network), chosen.images, chosen.labels, data.classes, **stated, advice=IN_RECIPE)
    step("export as float")
    content = export_float(wanted)
    step("ask the float network")
    return Task(read_original(path, network, data.classes, content, data.choose), about, preprocessing, data, wanted)


def hold_classes(path: Path, named: Sequence[str], width: int, data: DataSet) -> DataSet:
    """Return the data with its classes in the order of the network's, `named` where that is known.

    Raises ModelShape where they are not the same.
    """
    if width != len(named or data.classes):
        whose = "the network's names are" if named else f"{data.title} has"
        raise ModelShape(
            f"{path}: has {width} classes; {whose} {len(named or data.classes)}: "
            "name the network's in its order, --classes a,b,c"
        )
    if not named:
        return data
    match = match_classes(named, data.classes)
    if match.model_only or match.data_only:
        raise ModelShape(
            f"{path}: knows {', '.join(named)[:200]}; {data.title} has {', '.join(data.classes)[:200]}: "
            "give the data it was made for"
        )
    return reorder(data, named)


def draw_calibration(data: DataSet, recipe: Recipe) -> Images:
    """Draw the pictures to calibrate on, and two flat ones: they pin the input's range to 0..255 whatever was drawn."""
    chosen, fit = recipe.calibration, data.fit
    if chosen.choice == "stratified":
        rows = draw_rows(fit.labels, chosen.rows, chosen.seed)
    else:
        rows = np.random.default_rng(chosen.seed).permutation(len(fit.labels))[: chosen.rows]
    images = fit.images[rows]
    return np.concatenate([images, np.zeros_like(images[:1]), np.full_like(images[:1], 255)])


def make(task: Task, recipe: Recipe, pictures: Images, ranges: Ranges, kept_float: Sequence[str], step: Steps) -> Any:
    """Quantise by the recipe; returns the model, a ModelT without its metadata."""
    step("quantise")
    if recipe.quantiser == "tensorflow":
        model = unpack(quantise_tensorflow(task.quantised_from, pictures, recipe))
    else:
        source = unpack(task.original.content)
        moved = lift_negatives(source, ranges) if recipe.lift else ranges
        model = unpack(quantise_ai_edge(source, moved, recipe, kept_float))
    step("correct biases")
    if recipe.correct_biases:
        correct_biases(model, Probe(task.original.content), pictures)
    restate_versions(model)
    return model


def finish(
    task: Task, recipe: Recipe, model: Any, kept_float: Sequence[str], name: str
) -> tuple[bytes, dict[str, Any]]:
    """Write the model as a .tflite file with its metadata, and its contract."""
    about, original = task.about, task.original
    title = f"{original.network.name}, int8 by cuelens-convert, from {about.get('data', task.data.title)}"
    labels = task.data.classes
    describe(model, task.preprocessing, labels, name=name, description=title, version=str(CONTRACT_FORMAT))
    content = append_files(pack(model), task.preprocessing, labels)
    with quiet():
        interpreter, _ = load_interpreter(content)
    contract = make_contract(
        content,
        interpreter,
        task.preprocessing,
        task.data.classes,
        training={
            "data": about.get("data", task.data.title),
            "rows": about.get("rows"),
            "network": original.network.name,
            "keras_sha256": original.sha256,
        },
        recipe=asdict(recipe) | {"kept_float": list(kept_float)},
        gives=original.gives if recipe.softmax else "logits",
    )
    contract |= {name: about[name] for name in ("temperature", "votes", "prior") if name in about}
    return content, contract


def convert(
    task: Task, recipe: Recipe, runtimes: Sequence[Runtime], absent: Sequence[str], name: str, step: Steps
) -> Conversion:
    """Convert and judge; where the gate fails, again with the noisiest layers in float, up to the recipe's most.

    The conversion carries the refusal where none of these passed. Raises what `judge` raises.
    """
    step("calibrate")
    pictures = draw_calibration(task.data, recipe)
    own = recipe.quantiser == "ai-edge"
    ranges = measure_ranges(Probe(task.original.content), pictures, recipe) if own else {}
    kept = list(recipe.keep_float)
    for more in range(recipe.most_float + 1 if own else 1):
        content, contract = finish(task, recipe, make(task, recipe, pictures, ranges, kept, step), kept, name)
        step("judge")
        with tempfile.TemporaryDirectory() as folder:
            staged = Path(folder) / f"{name}.tflite"
            replace_file(staged, content)
            replace_file(staged.with_suffix(".json"), json.dumps(contract).encode())
            judgement = judge(staged, task.original, task.data, recipe, runtimes, absent, kept)
        if judgement.refusal is None or type(judgement.refusal) not in MENDED or more == recipe.most_float:
            break
        rows = [row for row in judgement.report["layers"] if not row["kept_float"] and row["layer"] not in kept]
        if not rows:
            break
        step.add(3)
        kept.append(max(rows, key=lambda row: row["added_noise"])["layer"])
    report = judgement.report
    entry = report["runtimes"][0]
    contract["measured"] = {
        report["split"]: {
            "rows": report["rows"],
            "accuracy": round(entry["accuracy"], 5),
            "accuracy_float": round(report["float"]["accuracy"], 5),
            "agreement": round(entry["agreement"], 5),
            "runtime": runtimes[0].name,
        }
    }
    return Conversion(content, contract, judgement)


def describe_judgement(judgement: Judgement) -> str:
    """Return in a line what was measured."""
    report = judgement.report
    entry = report["runtimes"][0]
    low, high = (100 * bound for bound in entry["loss_interval"])
    return (
        f"{report['bytes']['int8'] / 1e6:.3f} MB, {report['split']} {entry['accuracy']:.4f} (float "
        f"{report['float']['accuracy']:.4f}, loss {100 * entry['loss']:+.2f} points, 95 % {low:+.2f} to {high:+.2f}), "
        f"agreement {entry['agreement']:.4f}, on {report['judged']}"
    )


def _add_options(parser: argparse.ArgumentParser) -> None:
    parser.epilog = "example: cuelens-convert runs/compact/model.keras --data fer2013.csv --out runs/int8"
    parser.add_argument("model", type=Path, help="A .keras file of cuelens-train, or any .keras or .h5 classifier.")
    parser.add_argument(
        "--data",
        type=Path,
        required=True,
        help="FER2013's fer2013.csv, plain or .gz, .xz or .zip, or a folder of pictures.",
    )
    parser.add_argument(
        "--ferplus", type=Path, help="FER+'s fer2013new.csv. The majority of its raters is then the truth."
    )
    wanted = parser.add_mutually_exclusive_group(required=True)
    wanted.add_argument("--out", type=Path, help="Folder for NAME.tflite, NAME.json and the report.")
    wanted.add_argument("--check", type=Path, metavar="FILE", help="Judge this .tflite file instead of making one.")
    parser.add_argument(
        "--recipe", type=Path, help="Recipe (TOML). What it leaves out is as in the recipe of the shipped model."
    )
    parser.add_argument(
        "--report",
        type=Path,
        help="Folder for report.json and report.html. A refused conversion leaves them there too.",
    )
    parser.add_argument("--device-python", type=Path, help="Python of the device's environment (.venv/bin/python).")
    add_foreign_options(parser)
    parser.add_argument("--native", action="store_true", help="Leave the emulated runtimes out, which is quicker.")


@command
def main(parser: argparse.ArgumentParser, argv: list[str] | None = None) -> None:
    """Convert a Keras classifier of pictures to full int8 TFLite, prove it equal, and only then write it."""
    _add_options(parser)
    args = parser.parse_args(argv)
    recipe = read_recipe(args.recipe)
    given = read_foreign_options(args)
    recipe = replace(recipe, input=given.scaling or recipe.input, classes=given.classes or recipe.classes)
    runtimes, absent = find_runtimes(args.device_python, native=args.native)
    if args.out is not None:
        _check_name(args.out, args.model.stem)
    step = Steps(9)
    try:
        task = read_task(args.model, args.data, recipe, step, scaled=given.scaling is not None, ferplus=args.ferplus)
        if args.check is not None:
            step("judge")
            kept = _kept_float(args.check)
            made, judgement = None, judge(args.check, task.original, task.data, recipe, runtimes, absent, kept)
        else:
            made = convert(task, recipe, runtimes, absent, args.model.stem, step)
            judgement = made.judgement
    finally:
        step.close()
    chosen = task.data.choose
    if args.report is not None or judgement.refusal is None:
        folder = args.report or args.out
        if folder is not None:
            write_report(
                folder,
                judgement.report,
                images=chosen.images,
                labels=chosen.labels,
                real=task.original.real,
                quantised=judgement.predicted,
            )
    if judgement.refusal is not None:
        raise judgement.refusal
    if made is not None:
        _publish(args.out, args.model.stem, made)
        print(printable(f"{args.out / args.model.stem}.tflite: {describe_judgement(judgement)}"))
    else:
        print(printable(f"{args.check}: {describe_judgement(judgement)}"))


def _kept_float(file: Path) -> list[str]:
    """Return the layers that a file's own contract states were kept in float."""
    try:
        recipe = json.loads(file.with_suffix(".json").read_bytes()).get("recipe", {})
        return [str(layer) for layer in recipe.get("kept_float", [])]
    except (OSError, ValueError, AttributeError):  # the loader says it in a line
        return []


def _check_name(out: Path, name: str) -> None:
    """Raise SinkUnwritable, before all the work, where no file of this name could lie in that folder."""
    for folder in (out.absolute(), *out.absolute().parents):  # what is there yet of the way to it
        try:
            os.lstat(folder / f"{name}.tflite")
        except FileNotFoundError:
            continue
        except OSError as error:
            if error.errno == errno.ENAMETOOLONG:
                raise SinkUnwritable(f"{out}/{name}.tflite: {error.strerror}; give it a shorter name") from error


def _publish(out: Path, name: str, made: Conversion) -> None:
    make_folder(out)
    replace_file(out / f"{name}.tflite", made.content)
    replace_file(out / f"{name}.json", json.dumps(made.contract, indent=1).encode() + b"\n")
