"""`cuelens-verifier`: face.tflite and its contract from FER2013's faces and pictures without any; run again to go on.

false alarms of the cascade -> a short fit -> hard patches, which it takes for faces -> the long fit -> int8 -> figures.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from edge.errors import CheckpointUnusable, DataSplitEmpty
from edge.files import replace_file
from edge.system.program import command
from edge.vision.verifier import CONTRACT_FORMAT, OUTPUTS
from lab.networks.keras_file import load_keras, save_keras
from lab.progress import progress
from training.faces import int8
from training.faces.exam import CHOSEN_RATE, Exam, answer_keras, draw_exam, measure
from training.faces.fitting import fit
from training.faces.given import add_options, read_given
from training.faces.material import EVENING, Material, draw_calibration
from training.faces.scenes import Scene, draw_patches, mine_false_alarms
from training.faces.views import (
    BOX_SHARE,
    PATCH_SHARE,
    PATCH_SIDE,
    SIDE,
    UNITS,
    Images,
    pose_matrix,
)

if TYPE_CHECKING:
    import keras

EPOCHS, FIRST_EPOCHS = 24, 3  # of the long fit, and most of the first, which only has to find what is hard
HARD_DRAWS, HARD_ROWS = 12, 25_000  # batches of random patches that hard ones are searched in
HARD_SHARE = 0.06  # of a batch are kept: those most like faces


def find_hard(network: keras.Model, scenes: Sequence[Scene], rng: np.random.Generator) -> Images:
    """Draw random patches, uint8 (n, 64, 64), and keep those that `network` takes for a face most."""
    # The view that draw_false_alarms would give of a patch that is neither turned nor moved.
    matrix = pose_matrix(PATCH_SIDE, 0.0, 1 / PATCH_SHARE)
    answer = answer_keras(network)
    hard = []
    for _ in progress(range(HARD_DRAWS), "find hard patches"):
        patches = draw_patches(scenes, HARD_ROWS, rng, PATCH_SIDE)
        seen = (cv2.warpAffine(patch, matrix, (SIDE, SIDE)).astype(np.uint8, copy=False) for patch in patches)
        views = np.array([EVENING.apply(view) for view in seen])
        log_odds, _ = answer(views)
        hard.append(patches[log_odds > np.quantile(log_odds, 1 - HARD_SHARE)])
    return np.concatenate(hard)


def make_contract(content: bytes, training: Mapping[str, Any], measured: Mapping[str, Any]) -> bytes:
    """Return the contract that edge.vision.verifier.read_contract reads, as JSON."""
    promised = {"share": BOX_SHARE, "units": list(UNITS), "evening": asdict(EVENING)}
    table = int8.make_contract(
        content, CONTRACT_FORMAT, OUTPUTS, promised=promised, training=training, measured=measured
    )
    return json.dumps(table, indent=1).encode() + b"\n"


def _keep(path: Path, about: Mapping[str, Any], make: Callable[[], Images]) -> Images:
    """Return the pictures that `path` keeps, made and written where it does not exist.

    Raises CheckpointUnusable for a file that is damaged or was made of something else, SinkUnwritable, DiskFull.
    """
    if not path.exists():
        pictures, content = make(), io.BytesIO()
        np.savez_compressed(content, about=np.array(json.dumps(about)), pictures=pictures)
        replace_file(path, content.getvalue())
        return pictures
    advice = "give --out another folder, or delete it to begin again"
    try:
        with np.load(path) as kept:
            found, pictures = json.loads(str(kept["about"])), np.asarray(kept["pictures"], np.uint8)
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise CheckpointUnusable(f"{path}: {error}; {advice}") from error
    if found != about:
        raise CheckpointUnusable(f"{path}: made of {found}, not of {dict(about)}; {advice}")
    return pictures


@command
def main(parser: argparse.ArgumentParser, argv: list[str] | None = None) -> None:
    """Fit, quantise and measure the face verifier, checkpointed every epoch; run it again to go on."""
    parser.epilog = "example: cuelens-verifier --data fer2013.csv --scenes scenes --out runs/face"
    add_options(parser, EPOCHS, "the long fit")
    parser.add_argument(
        "--start", type=Path, help="A face.keras whose weights the fit begins with. It then needs fewer epochs."
    )
    args = parser.parse_args(argv)
    given = read_given(args, 1)
    data, fitted, held_out, digest = given.data, given.fitted, given.held_out, given.digest
    out: Path = args.out
    about: dict[str, Any] = {"scenes": digest, "seed": args.seed}
    mined = _mine(args, {"fit": fitted, "held-out": held_out}, about)
    print(
        f"{len(data.fit.labels)} faces, {len(fitted)} scenes with {len(mined['fit'])} false alarms; "
        f"held out {len(held_out)} with {len(mined['held-out'])}"
    )
    exam = draw_exam(data.choose.images, held_out, mined["held-out"], np.random.default_rng((args.seed, 0)))
    none = np.empty((0, PATCH_SIDE, PATCH_SIDE), np.uint8)
    material = Material(data.fit.images, fitted, mined["fit"], none)
    common: dict[str, Any] = {"seed": args.seed, "scenes": digest}
    first_epochs = min(FIRST_EPOCHS, args.epochs)
    start = None if args.start is None else load_keras(args.start)
    first, _ = fit("first", 0, first_epochs, material, exam, out, start=start, **common)
    about["first"] = [first_epochs, len(data.fit.labels)]
    rng = np.random.default_rng((args.seed, 1))
    hard = _keep(out / "hard.npz", about, partial(find_hard, first, fitted, rng))
    material = replace(material, hard=hard)
    network, epoch = fit("long", 1, args.epochs, material, exam, out, start=None if start is None else first, **common)

    training = {"data": data.title, "rows": len(data.fit.labels), "no_face_dropped": args.ferplus is not None}
    training |= {"scenes": len(fitted), "held_out": len(held_out), "scenes_digest": digest, "hard": len(hard)}
    if args.start is not None:
        training["start_sha256"] = hashlib.sha256(args.start.read_bytes()).hexdigest()
    training |= {"false_alarms": len(mined["fit"]), "epochs": args.epochs, "chosen_epoch": epoch, "seed": args.seed}
    pictures = draw_calibration(material, np.random.default_rng((args.seed, 2)))
    _write(network, pictures, exam, list(data.splits)[1], training, out)


def _mine(
    args: argparse.Namespace, parts: Mapping[str, Sequence[Scene]], about: Mapping[str, Any]
) -> dict[str, Images]:
    """Return each part's false alarms of the cascade; raises DataSplitEmpty for a part without any."""
    mined: dict[str, Images] = {}
    for name, part in parts.items():
        mined[name] = _keep(args.out / f"mined-{name}.npz", about, partial(mine_false_alarms, part, args.seed))
        if not len(mined[name]):
            raise DataSplitEmpty(
                f"{args.scenes}: the cascade takes nothing in the {name} scenes for a face; give more pictures"
            )
    return mined


def _write(
    network: keras.Model, pictures: Images, exam: Exam, split: str, training: Mapping[str, Any], out: Path
) -> None:
    """Write the network, its int8 file calibrated on `pictures`, and the contract with what both are worth."""
    path = save_keras(network, out / "face.keras", training)
    content = int8.quantise(network, pictures)
    training = {**training, "keras_sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
    measured = {"split": split, **measure(network, content, exam)}
    # The contract last: without it the device refuses the file, with it both are of one fit.
    replace_file(out / "face.tflite", content)
    replace_file(out / "face.json", make_contract(content, training, measured))
    recall, agreement = measured["int8"]["recall"][str(CHOSEN_RATE)], measured["agreement"]["share"]
    print(
        f"{out / 'face.tflite'}: recall {recall:.4f} on {split} at {CHOSEN_RATE:.0%} false alarms, "
        f"int8 decides as float in {agreement:.2%}"
    )
