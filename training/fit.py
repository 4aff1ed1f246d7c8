"""`cuelens-train`: fit a recipe; killed at any moment, it goes on from the last whole epoch."""

from __future__ import annotations

import argparse
import math
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from edge.errors import ModelMissing, SettingsInvalid, printable
from edge.files import make_folder
from edge.system.messages import Warned, say
from edge.system.program import command
from edge.vision.preprocessing import COLOURS, Preprocessing
from lab.datasets.ferplus import drop_no_face, relabel, soft_labels
from lab.datasets.labelled import DataSet
from lab.datasets.read import native_colour, read_data
from lab.datasets.sample import draw_rows
from training.fitting import LEAST_VOTES, fit
from training.recipes import NAMES, Recipe, find_recipe
from training.seed import add_seed


@command
def main(parser: argparse.ArgumentParser, argv: list[str] | None = None) -> None:
    """Fit a network on labelled pictures, checkpointed every epoch; run it again to go on."""
    _add_options(parser)
    args = parser.parse_args(argv)
    recipe = _change_recipe(args)
    start = _find_weights(recipe, args.weights)
    preprocessing = Preprocessing(args.side, args.colour or native_colour(args.data))
    data = read_data(args.data, preprocessing, ("fit", "choose"), ferplus=args.ferplus)
    if data.skipped:
        say(Warned(f"{args.data}: {len(data.skipped)} skipped; cuelens-data lists them"))
    if args.labels != "own":
        data = _relabel(data, args.labels)
    if args.rows is not None:
        name = next(iter(data.splits))
        sample = data.fit.take(draw_rows(data.fit.labels, args.rows, args.seed))
        data = replace(data, splits={**data.splits, name: sample})
    make_folder(args.out)
    options = {"seed": args.seed, "precision": args.precision, "teachers": args.soft_labels, "start": start}
    options |= {"teach": args.teach, "voted": args.labels == "votes"}
    print(printable(fit(args.recipe, recipe, preprocessing, data, args.out, **options)))


def _add_options(parser: argparse.ArgumentParser) -> None:
    parser.epilog = "example: cuelens-train compact --data fer2013.csv --out runs/compact"
    parser.add_argument("recipe", choices=NAMES, help="Network, and how it is fitted.")
    parser.add_argument(
        "--data",
        type=Path,
        required=True,
        help="FER2013's fer2013.csv, plain or .gz, .xz or .zip, or a folder of pictures.",
    )
    parser.add_argument("--out", type=Path, required=True, help="Folder for the model, its history and the checkpoint.")
    parser.add_argument("--ferplus", type=Path, help="FER+'s fer2013new.csv. A second head learns its votes.")
    parser.add_argument(
        "--labels",
        choices=("own", "majority", "votes"),
        default="own",
        help="Truth: the data's own labels, or the majority of FER+'s raters or their votes, without rows of no face.",
    )
    parser.add_argument(
        "--soft-labels",
        type=Path,
        action="append",
        default=[],
        help="A teacher's soft-labels.npz. Several are averaged.",
    )
    parser.add_argument(
        "--weights",
        action="append",
        default=[],
        help="Weights to start from: a file (the mean of several), none, or imagenet (transfer's default).",
    )
    parser.add_argument(
        "--teach", action="store_true", help="Write soft-labels.npz for others, as the recipe teacher does."
    )
    parser.add_argument(
        "--side", type=int, default=48, help="Side of the network's square input in pixels. The default is 48."
    )
    parser.add_argument(
        "--colour", choices=tuple(COLOURS), help="Colour that the network takes. The default is the data's own."
    )
    parser.add_argument("--rows", type=int, help="Fit on this many pictures, the same share of each class.")
    parser.add_argument("--epochs", type=int, help="Epochs, instead of the recipe's.")
    parser.add_argument("--batch", type=int, help="Pictures a batch, instead of the recipe's.")
    parser.add_argument("--learning-rate", type=float, help="Learning rate, instead of the recipe's.")
    parser.add_argument("--cutmix", type=float, help="Share of the batches, instead of the recipe's.")
    parser.add_argument("--mixup", type=float, help="Share of the batches, instead of the recipe's.")
    add_seed(parser)
    parser.add_argument(
        "--precision",
        choices=("float32", "mixed_bfloat16", "mixed_float16"),
        default="float32",
        help="Number format of the fit.",
    )


def _change_recipe(args: argparse.Namespace) -> Recipe:
    """Return the recipe with what the options have instead of its own; raises SettingsInvalid for what it cannot be."""
    recipe = find_recipe(args.recipe)
    for option in ("epochs", "batch", "rows", "learning_rate", "cutmix", "mixup"):
        value = getattr(args, option)
        if value is None:
            continue
        least, most = (0, 1) if option in ("cutmix", "mixup") else (1e-9, math.inf)
        if not least <= value <= most:
            valid = "a share, 0 to 1" if most == 1 else "more than 0"
            raise SettingsInvalid(f"--{option.replace('_', '-')} is {value}; it must be {valid}")
        if option != "rows":
            recipe = replace(recipe, **{option: value})
    if recipe.cutmix + recipe.mixup > 1:
        raise SettingsInvalid(f"--cutmix {recipe.cutmix} and --mixup {recipe.mixup} are more than every batch together")
    if not recipe.least_side <= args.side <= 512:
        raise SettingsInvalid(f"--side is {args.side}; {args.recipe} takes {recipe.least_side} to 512 pixels")
    return recipe


def _relabel(data: DataSet, labels: str) -> DataSet:
    """Put FER+'s majority in the place of the labels; or, to be fitted to votes, keep the rows that have any."""
    fitted, chosen = data.splits
    if labels == "votes":
        train = drop_no_face(data.fit)
        assert train.votes is not None  # which drop_no_face needs too
        train = train.take(np.flatnonzero(soft_labels(train.votes, least=LEAST_VOTES).any(axis=1)))
    else:
        train = relabel(data.fit)
    splits = {fitted: train, chosen: relabel(data.choose)}
    return replace(data, title=f"{data.title}, FER+ {labels}", splits=splits)


def _find_weights(recipe: Recipe, given: Sequence[str]) -> list[Path]:
    given = given or ["imagenet" if recipe.start_file else "none"]
    if given == ["none"]:
        return []
    home = Path(os.environ.get("KERAS_HOME", Path.home() / ".keras"))
    paths = []
    for name in given:
        if recipe.start is None or name == "none" or (name == "imagenet" and not recipe.start_file):
            raise SettingsInvalid(f"--weights is {' and '.join(given)}; this recipe cannot start from that")
        path = home / "models" / recipe.start_file if name == "imagenet" else Path(name)
        if not path.is_file():
            raise ModelMissing(
                f"{path}: no such file; put {recipe.start_file or 'a .keras file'} there, or name it with "
                "--weights FILE, or start from nothing with --weights none"
            )
        paths.append(path)
    return paths
