"""`cuelens-scanner`: scan.tflite and its contract, the network that proposes faces at every turn in a picture.

what cuelens-verifier mined -> views at any turn -> a fit on single windows -> the same weights over a whole tile, int8.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import numpy.typing as npt

from edge.errors import DataMissing
from edge.files import replace_file
from edge.system.program import command
from edge.vision.finders.net import CONTRACT_FORMAT, OUTPUTS, REACH, STRIDE, TILE, WINDOW
from edge.vision.verifier import Evening
from lab.networks.keras_file import import_keras, save_keras
from training.faces import int8
from training.faces.given import add_options, read_given
from training.faces.material import Material, order_epoch
from training.faces.scenes import draw_patches
from training.faces.views import (
    BOX,
    PATCH_SIDE,
    SIDE,
    UNITS,
    Images,
    draw_faces,
    draw_false_alarms,
    draw_misplaced,
    light,
)
from training.loop import Batches, Run, make_schedule

if TYPE_CHECKING:
    import keras

EPOCHS = 10
BATCH = 256
LEARNING_RATE, WEIGHT_DECAY = 3e-3, 1e-3
POSE_WEIGHT = 1.5
EVENING = Evening(reach=REACH, floor=2.5, share=0.0, gain=48.0)  # of a tile: what lies in it elsewhere must not count
FACE = BOX / SIDE * WINDOW  # pixels of a window that a face fills
SPREAD = 0.5  # of the verifier's place and size: a scan is that much denser than what a verifier must stand
RATES = (0.03, 0.01, 0.003)  # of random windows without a face, at which recall is measured
CHOSEN_RATE = 0.01  # of these, the one from which a place is a proposal
EXAM_ROWS = 8000
CALIBRATION_TILES = 60

Pixels = npt.NDArray[np.float32]
Real = npt.NDArray[np.float64]


def build(side: int) -> keras.Model:
    """Build the network for a picture `side` wide: log odds (n, n, 1) and pose (n, n, 5), one for each STRIDE pixels.

    A pose is the cosine and sine of the turn, then right, down and log size in UNITS.
    """
    import keras
    from keras import layers

    def convolve(given: Any, filters: int, stride: int = 1) -> Any:
        made = layers.Conv2D(filters, 3, stride, "valid", use_bias=False)(given)
        return layers.ReLU()(layers.BatchNormalization()(made))

    pixels = layers.Input((side, side, 1), name="pixels")
    features = layers.Rescaling(1 / 127.5, -1)(pixels)
    for filters, stride in ((12, 2), (16, 1), (24, 2), (48, 1)):
        features = convolve(features, filters, stride)
    return keras.Model(pixels, [layers.Conv2D(length, 1, name=name)(features) for name, length in OUTPUTS.items()])


def turn_views(views: Images, poses: Pixels, rng: np.random.Generator) -> tuple[Images, Pixels]:
    """Turn views of faces by quarters; returns them and poses (n, 5): cosine, sine, right, down, log size."""
    quarters = rng.integers(4, size=len(views))
    turned = np.array([np.rot90(view, -int(quarter)) for view, quarter in zip(views, quarters, strict=True)])
    roll = np.deg2rad(poses[:, 0] * UNITS[0] + 90.0 * quarters)
    cos, sin = np.cos(np.pi / 2 * quarters), np.sin(np.pi / 2 * quarters)
    right, down = cos * poses[:, 1] - sin * poses[:, 2], sin * poses[:, 1] + cos * poses[:, 2]
    return turned, np.column_stack([np.cos(roll), np.sin(roll), right, down, poses[:, 3]]).astype(np.float32)


def finish(views: Images, rng: np.random.Generator) -> Images:
    """Light views, uint8 (n, SIDE, SIDE), and give them as the device sees a window: uint8 (n, WINDOW, WINDOW)."""
    lit = np.round(light(views, rng)).astype(np.uint8)
    small = (cv2.resize(view, (WINDOW, WINDOW), interpolation=cv2.INTER_AREA) for view in lit)
    return np.array([EVENING.apply(view.astype(np.uint8, copy=False)) for view in small])


def draw_batch(
    material: Material, order: npt.NDArray[np.int64], rng: np.random.Generator
) -> tuple[Images, npt.NDArray[np.float32]]:
    """Draw windows of an epoch's part: uint8 (n, WINDOW, WINDOW), and targets float32 (n, 6): face or not, pose."""
    faces, none = material.faces[order[order >= 0]], int((order < 0).sum())
    behind = draw_patches(material.scenes, max(len(faces), none, 1), rng)
    views, poses = draw_faces(faces, behind[: len(faces)], rng, spread=SPREAD)
    views, poses = turn_views(views, poses, rng)
    shares = np.split(np.arange(none), [none // 4, none // 2])
    which = rng.integers(len(material.faces), size=len(shares[0]))
    misplaced = draw_misplaced(material.faces[which], behind[shares[0]], rng, turned=False)
    which = rng.integers(len(material.false_alarms), size=len(shares[1]))
    alarms = draw_false_alarms(material.false_alarms[which], behind[shares[1]], rng)
    # All but the faces' own are turned over too, or a quarter's turn would give one away.
    others = np.concatenate([misplaced, alarms, behind[shares[2]]])
    others, _ = turn_views(others, np.zeros((none, 4), np.float32), rng)
    targets = np.zeros((len(order), 6), np.float32)
    targets[: len(faces), 0] = 1
    targets[: len(faces), 1:] = poses
    return finish(np.concatenate([views, others]), rng), targets


def judge(scores: Real, of_patches: Real, off_deg: Real) -> dict[str, Any]:
    """Return recall of faces and the log odds it takes, by the rate of random windows that pass, and errors of turn."""
    log_odds = {rate: float(np.quantile(of_patches, 1 - rate)) for rate in RATES}
    return {
        "recall": {str(rate): round(float((scores > least).mean()), 4) for rate, least in log_odds.items()},
        "log_odds": {str(rate): round(least, 3) for rate, least in log_odds.items()},
        "roll_deg": {
            "median": round(float(np.median(off_deg)), 2),
            "beyond_45": round(float((off_deg > 45).mean()), 4),
        },
    }


def fit(material: Material, out: Path, epochs: int, seed: int, about: Mapping[str, Any]) -> keras.Model:
    """Fit the network on single windows, checkpointed every epoch into OUT/scan.npz, and return it.

    Raises SinkUnwritable, DiskFull, CheckpointUnusable, FitDiverged.
    """
    keras = import_keras()
    from keras import ops

    keras.utils.set_random_seed(seed)
    network = build(WINDOW)
    joined = keras.Model(network.input, keras.layers.Concatenate()(network.outputs))
    rows = len(order_epoch(material, np.random.default_rng(0)))
    batch = min(BATCH, rows)
    steps = rows // batch

    def loss(true: Any, answer: Any) -> Any:
        answer, face = answer[:, 0, 0], true[:, 0]
        decision = ops.binary_crossentropy(0.98 * face[:, None] + 0.01, answer[:, :1], from_logits=True)[:, 0]
        pose = ops.mean(ops.square(answer[:, 1:] - true[:, 1:]), axis=-1) * face
        return decision + POSE_WEIGHT * pose * batch / (ops.sum(face) + 1)

    schedule = make_schedule(LEARNING_RATE, epochs * steps, warmup=steps)
    joined.compile(keras.optimizers.AdamW(schedule, weight_decay=WEIGHT_DECAY), loss)

    def draw(rows: npt.NDArray[np.int64], rng: np.random.Generator) -> tuple[Any, npt.NDArray[np.float32]]:
        views, targets = draw_batch(material, rows, rng)
        return views[..., None].astype(np.float32), targets

    Run(
        joined,
        epochs,
        Batches((seed,), batch, steps, partial(order_epoch, material), draw, first=0),
        out / "scan.npz",
        about,
        advice="give --out another folder and --seed another number",
        describe=lambda row: f"loss {row['loss']:.4f}",
    ).fit()
    return network


def draw_exam(held_out: Material, rng: np.random.Generator) -> tuple[Images, Real, Images]:
    """Draw windows of faces, their turns in degrees, and random windows of scenes without a face."""
    behind = draw_patches(held_out.scenes, EXAM_ROWS, rng)
    views, poses = draw_faces(held_out.faces, behind[: len(held_out.faces)], rng, spread=SPREAD)
    views, turned = turn_views(views, poses, rng)
    return finish(views, rng), np.rad2deg(np.arctan2(turned[:, 1], turned[:, 0])), finish(behind, rng)


def tile_views(views: Images) -> Images:
    """Lay windows out as tiles, uint8 (n, TILE, TILE), each in its place once a window: ranges are measured on them."""
    across = -(-TILE // WINDOW)
    count = len(views) // across**2
    grid = views[: count * across**2].reshape(count, across, across, WINDOW, WINDOW).swapaxes(2, 3)
    return np.ascontiguousarray(grid.reshape(count, across * WINDOW, across * WINDOW)[:, :TILE, :TILE])


def spread_out(network: keras.Model) -> keras.Model:
    """Return the same weights over a whole tile."""
    whole = build(TILE)
    whole.set_weights(network.get_weights())
    return whole


def answer_windows(content: bytes, views: Images) -> tuple[Real, Real]:
    """Ask the int8 file about windows as the middle place of a tile each; log odds (n,) and poses (n, 5)."""
    network = int8.Int8Network(content)
    across = TILE // WINDOW
    starts = [WINDOW * number for number in range(across)]  # multiples of STRIDE: each is a place of the map
    log_odds, poses = np.empty(len(views)), np.empty((len(views), OUTPUTS["pose"]))
    per_tile = across**2
    for first in range(0, len(views), per_tile):
        tile = np.full((TILE, TILE), 128, np.uint8)
        part = views[first : first + per_tile]
        places = [(row, column) for row in starts for column in starts][: len(part)]
        for view, (row, column) in zip(part, places, strict=True):
            tile[row : row + WINDOW, column : column + WINDOW] = view
        network.put(tile)
        faces, turns = network.real(1), network.real(OUTPUTS["pose"])
        for offset, (row, column) in enumerate(places):
            log_odds[first + offset] = faces[row // STRIDE, column // STRIDE, 0]
            poses[first + offset] = turns[row // STRIDE, column // STRIDE]
    return log_odds, poses


def measure(content: bytes, exam: tuple[Images, Real, Images]) -> dict[str, Any]:
    """Judge the int8 file by held-out faces and random windows."""
    faces, rolls_deg, patches = exam
    scores, poses = answer_windows(content, faces)
    of_patches, _ = answer_windows(content, patches)
    off = np.rad2deg(np.arctan2(poses[:, 1], poses[:, 0])) - rolls_deg
    return judge(scores, of_patches, np.abs((off + 180) % 360 - 180)) | {"faces": len(faces), "windows": len(patches)}


def make_contract(content: bytes, least: float, training: Mapping[str, Any], measured: Mapping[str, Any]) -> bytes:
    """Return the contract that edge.vision.finders.net.read_contract reads, as JSON."""
    promised = {"share": FACE / WINDOW, "units": list(UNITS[1:]), "least": least, "evening": asdict(EVENING)}
    table = int8.make_contract(
        content, CONTRACT_FORMAT, OUTPUTS, promised=promised, training=training, measured=measured
    )
    return json.dumps(table, indent=1).encode() + b"\n"


def read_mined(folder: Path, name: str) -> Images:
    """Read what cuelens-verifier mined; raises DataMissing."""
    try:
        with np.load(folder / name) as kept:
            return np.asarray(kept["pictures"], np.uint8)
    except (OSError, ValueError, KeyError) as error:
        raise DataMissing(f"{folder / name}: {error}; run cuelens-verifier --out {folder} first") from error


@command
def main(parser: argparse.ArgumentParser, argv: list[str] | None = None) -> None:
    """Fit, quantise and measure the network that proposes faces, checkpointed every epoch; run it again to go on."""
    parser.epilog = "example: cuelens-scanner --data fer2013.csv --scenes scenes --verifier runs/face --out runs/scan"
    add_options(parser, EPOCHS)
    parser.add_argument(
        "--verifier", type=Path, required=True, help="The folder of cuelens-verifier's --out, with what it mined."
    )
    args = parser.parse_args(argv)
    given = read_given(args, 2)
    data = given.data
    mined = [read_mined(args.verifier, f"mined-{name}.npz") for name in ("fit", "held-out")]
    none = np.empty((0, PATCH_SIDE, PATCH_SIDE), np.uint8)
    material = Material(data.fit.images, given.fitted, mined[0], none)
    held_out = Material(data.choose.images, given.held_out, mined[1], none)
    about = {"scenes": given.digest, "seed": args.seed, "epochs": args.epochs, "alarms": len(mined[0])}
    network = fit(material, args.out, args.epochs, args.seed, about)
    ship(network, material, held_out, args.out, args.seed, {"data": data.title, "rows": len(data.fit.labels), **about})


def ship(
    network: keras.Model, material: Material, held_out: Material, out: Path, seed: int, training: Mapping[str, Any]
) -> None:
    """Quantise the network over a whole tile, measure it and write it with its contract; raises SinkUnwritable."""
    whole, about = spread_out(network), dict(training)
    path = save_keras(whole, out / "scan.keras", about)
    about["keras_sha256"] = hashlib.sha256(path.read_bytes()).hexdigest()
    rng = np.random.default_rng((seed, 2))
    order = rng.permutation(order_epoch(material, rng))[: CALIBRATION_TILES * (-(-TILE // WINDOW)) ** 2]
    tiles = tile_views(rng.permutation(draw_batch(material, order, rng)[0]))
    content = int8.quantise(whole, np.concatenate([tiles, np.zeros_like(tiles[:1]), np.full_like(tiles[:1], 255)]))
    measured = measure(content, draw_exam(held_out, np.random.default_rng((seed, 3))))
    replace_file(out / "scan.tflite", content)
    least = measured["log_odds"][str(CHOSEN_RATE)]
    replace_file(out / "scan.json", make_contract(content, least, about, measured))
    print(f"{out / 'scan.tflite'}: finds {measured['recall']} of faces at these shares of windows that pass")
