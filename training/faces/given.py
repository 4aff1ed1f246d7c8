"""What cuelens-verifier and cuelens-scanner are given alike: faces, pictures without any, epochs, a seed, a folder."""

from __future__ import annotations

import argparse
from dataclasses import dataclass, replace
from pathlib import Path

from edge.errors import SettingsInvalid
from edge.files import make_folder
from edge.system.quiet import tame_opencv
from edge.vision.preprocessing import Preprocessing
from lab.datasets.ferplus import drop_no_face
from lab.datasets.labelled import DataSet
from lab.datasets.read import read_data
from training.faces.scenes import Scene, digest_scenes, read_scenes, split_scenes
from training.faces.views import FACE_SIDE
from training.seed import add_seed


@dataclass(frozen=True, slots=True)
class Given:
    """Faces of the data's fit and choose splits, and scenes that are fitted on and held out, with the digest of all."""

    data: DataSet
    fitted: list[Scene]
    held_out: list[Scene]
    digest: str


def add_options(parser: argparse.ArgumentParser, epochs: int, fit: str = "the fit") -> None:
    """Add the options; `epochs` is the default of --epochs, which are of `fit`."""
    parser.add_argument(
        "--data", type=Path, required=True, help="FER2013's fer2013.csv, plain or .gz, .xz or .zip. It gives the faces."
    )
    parser.add_argument(
        "--ferplus", type=Path, help="FER+'s fer2013new.csv. Rows that its raters call no face are left out."
    )
    parser.add_argument(
        "--scenes", type=Path, required=True, help="Folder of pictures without faces, which training/scenes.sh fetches."
    )
    parser.add_argument(
        "--out",
        type=Path,
        required=True,
        help="Folder for the model, its history and the checkpoints, from which the fit is resumed.",
    )
    parser.add_argument("--epochs", type=int, default=epochs, help=f"Epochs of {fit}. The default is {epochs}.")
    add_seed(parser)


def read_given(args: argparse.Namespace, least_epochs: int) -> Given:
    """Read what the options name, and make the folder --out.

    Raises SettingsInvalid for a number that it cannot be, what read_data and read_scenes raise, SinkUnwritable.
    """
    if args.epochs < least_epochs:
        raise SettingsInvalid(f"--epochs is {args.epochs}; it must be {least_epochs} or more")
    tame_opencv()
    data = read_data(args.data, Preprocessing(FACE_SIDE), ("fit", "choose"), ferplus=args.ferplus)
    splits = {name: drop_no_face(rows) if args.ferplus else rows for name, rows in data.splits.items()}
    scenes = read_scenes(args.scenes, args.seed)
    make_folder(args.out)
    return Given(replace(data, splits=splits), *split_scenes(scenes), digest_scenes(scenes))
