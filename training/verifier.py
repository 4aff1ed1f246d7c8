"""`cuelens-verifier`: face.tflite and its contract from FER2013's faces and pictures without any; run again to go on.

false alarms of the cascade -> a short fit -> hard patches, which it takes for faces -> the long fit -> int8 -> figures.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import sys
import time
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from edge.command import command
from edge.errors import (
    CheckpointUnusable,
    DataSplitEmpty,
    FitDiverged,
    SettingsInvalid,
)
from edge.files import replace_file, sink_error
from edge.model import load_interpreter, read_tensor
from edge.preprocessing import Preprocessing
from edge.quiet import quiet, tame_opencv
from edge.verifier import CONTRACT_FORMAT, OUTPUTS, Evening
from lab.datasets.ferplus import drop_no_face
from lab.datasets.read import read_data
from lab.networks.keras_file import as_batch, import_keras, load_keras, save_keras
from training.checkpoint import load_checkpoint, save_checkpoint
from training.face_views import (
    FACE_SIDE,
    PATCH_SHARE,
    PATCH_SIDE,
    SHARE,
    SIDE,
    UNITS,
    Images,
    draw_faces,
    draw_false_alarms,
    draw_misplaced,
    light,
    pose_matrix,
)
from training.scenes import Scene, digest_scenes, draw_patches, mine_false_alarms, read_scenes, split_scenes

if TYPE_CHECKING:
    import keras

EPOCHS, FIRST_EPOCHS = 24, 3  # of the long fit, and most of the first, which only has to find what is hard
BATCH = 256
LEARNING_RATE, WARMUP_STEPS, WEIGHT_DECAY = 2e-3, 400, 1e-3
AVERAGE = 0.998  # memory of the averaged weights, by step
AVERAGE_EPOCHS = 2  # and no more than so many epochs, which matters on small data
SMOOTHING = 0.01  # of the truth: log odds need not grow for ever
POSE_WEIGHT = 2.0  # of the pose's loss beside the decision's
POSE_WEIGHTS = (2.0, 1.0, 1.0, 1.0)  # turn, right, down, size: nothing else tells the turn
HUBER = 0.1  # of UNITS: errors below this count by their square

# Views of an epoch beside one of each face, as shares of the faces.
MISPLACED = 1 / 3
FALSE_ALARMS = 1 / 2
HARD = 1 / 3
PATCHES = 1 / 3

HARD_DRAWS, HARD_ROWS = 12, 25_000  # batches of random patches that hard ones are searched in
HARD_SHARE = 0.06  # of a batch are kept: those most like faces
EXAM_ROWS = 8000  # false alarms, and random patches, that the fit is judged by
CALIBRATION = (700, 300)  # views of faces and of false alarms that ranges are measured on

RATES = (0.1, 0.03, 0.01)  # of false alarms, at which recall is measured
CHOSEN_RATE = 0.01  # of these, the one that chooses the epoch
DECISION = 2.0  # log odds, seven to one: where int8 must decide as float does

Answers = tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]
"""Log odds (n,) that a view shows a face, and its pose (n, 4) in UNITS."""

EVENING = Evening()

_NO_FACE = {"misplaced": -1, "false alarms": -2, "hard": -3, "patches": -4}  # in an epoch's order, instead of a row


@dataclass(frozen=True, slots=True)
class Material:
    """What a fit draws its views from."""

    faces: Images  # (n, 48, 48)
    scenes: Sequence[Scene]
    false_alarms: Images  # (m, 64, 64)
    hard: Images  # (k, 64, 64), none for the first fit


@dataclass(frozen=True, slots=True)
class Exam:
    """Views, uint8 (n, SIDE, SIDE), of faces and scenes that no fit sees, the same for every network."""

    faces: Images
    poses: npt.NDArray[np.float32]  # (n, 4), of the faces, in UNITS
    false_alarms: Images
    patches: Images
    misplaced: Images


def build() -> keras.Model:
    """Build the network: pixels (SIDE, SIDE, 1) of 0 to 255 in, log odds `face` and the four of `pose` out."""
    import keras
    from keras import layers

    def convolve(given: Any, filters: int, stride: int = 1) -> Any:
        made = layers.Conv2D(filters, 3, stride, "same", use_bias=False)(given)
        return layers.ReLU()(layers.BatchNormalization()(made))

    pixels = layers.Input((SIDE, SIDE, 1), name="pixels")
    features = layers.Rescaling(1 / 127.5, -1)(pixels)
    for filters, stride in ((16, 2), (32, 2), (48, 1), (64, 2), (64, 1)):
        features = convolve(features, filters, stride)
    features = layers.Dropout(0.1)(layers.Flatten()(features))
    features = layers.Dense(64, activation="relu")(features)
    return keras.Model(pixels, [layers.Dense(length, name=name)(features) for name, length in OUTPUTS.items()])


def order_epoch(material: Material, rng: np.random.Generator) -> npt.NDArray[np.int64]:
    """Shuffle an epoch's views: each face's row once, and below zero what shows none."""
    count = len(material.faces)
    shares = {"misplaced": MISPLACED, "false alarms": FALSE_ALARMS, "patches": PATCHES}
    if len(material.hard):
        shares["hard"] = HARD
    views = [np.arange(count), *(np.full(int(share * count), _NO_FACE[name]) for name, share in shares.items())]
    return rng.permutation(np.concatenate(views)).astype(np.int64)


def draw_batch(
    material: Material, order: npt.NDArray[np.int64], rng: np.random.Generator
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Draw the views that a part of an epoch's order asks for.

    Returns pixels float32 (n, SIDE, SIDE, 1) of 0 to 255, and targets float32 (n, 5): face or not, pose in UNITS.
    """
    faces = material.faces[order[order >= 0]]
    counts = {name: int((order == code).sum()) for name, code in _NO_FACE.items()}
    scenes = draw_patches(material.scenes, max(1, len(faces)), rng)

    def behind(count: int) -> Images:
        return scenes[rng.integers(len(scenes), size=count)]

    def choose(pictures: Images, count: int) -> Images:
        return pictures[rng.integers(max(1, len(pictures)), size=count)]

    views, poses = draw_faces(faces, scenes[: len(faces)], rng)
    others = [draw_misplaced(choose(material.faces, counts["misplaced"]), behind(counts["misplaced"]), rng)]
    for name, patches in (("false alarms", material.false_alarms), ("hard", material.hard)):
        others.append(draw_false_alarms(choose(patches, counts[name]), behind(counts[name]), rng))
    others.append(draw_patches(material.scenes, counts["patches"], rng))
    pixels = finish(np.concatenate([views, *others]), rng).astype(np.float32)
    targets = np.zeros((len(pixels), 1 + len(UNITS)), np.float32)
    targets[: len(views), 0] = 1
    targets[: len(views), 1:] = poses
    return pixels[..., None], targets


def finish(views: Images, rng: np.random.Generator) -> Images:
    """Give views, uint8 (n, SIDE, SIDE), their light and even it out again, as the device does; same shape."""
    return np.array([EVENING.apply(view) for view in np.round(light(views, rng)).astype(np.uint8)])


def draw_exam(faces: Images, scenes: Sequence[Scene], false_alarms: Images, rng: np.random.Generator) -> Exam:
    """Draw the views that networks are judged by: one of each face, EXAM_ROWS of what shows none."""

    behind = draw_patches(scenes, len(faces), rng)
    views, poses = draw_faces(faces, behind, rng)
    chosen = false_alarms[rng.integers(len(false_alarms), size=EXAM_ROWS)]
    return Exam(
        finish(views, rng),
        poses,
        finish(draw_false_alarms(chosen, draw_patches(scenes, EXAM_ROWS, rng), rng), rng),
        finish(draw_patches(scenes, EXAM_ROWS, rng), rng),
        finish(draw_misplaced(faces, behind, rng), rng),
    )


def judge(answer: Callable[[Images], Answers], exam: Exam) -> dict[str, Any]:
    """Return recall of faces by the rate of false alarms, what else is taken for a face, and how far poses are off.

    Rates are shares of false alarms of the cascade; `patches` and `misplaced` are shares at the chosen rate's log odds.
    """
    of_faces, poses = answer(exam.faces)
    of_false_alarms, _ = answer(exam.false_alarms)
    log_odds = {rate: float(np.quantile(of_false_alarms, 1 - rate)) for rate in RATES}
    least = log_odds[CHOSEN_RATE]
    errors = np.abs(poses - exam.poses) * UNITS
    return {
        "recall": {str(rate): round(float((of_faces > most).mean()), 4) for rate, most in log_odds.items()},
        "log_odds": {str(rate): round(most, 3) for rate, most in log_odds.items()},
        "patches": round(float((answer(exam.patches)[0] > least).mean()), 4),
        "misplaced": round(float((answer(exam.misplaced)[0] > least).mean()), 4),
        "roll_deg": _tell_errors(errors[:, 0], 2),
        "shift": _tell_errors(errors[:, 1:3], 4),
        "log_size": _tell_errors(errors[:, 3], 4),
    }


def _tell_errors(errors: npt.NDArray[np.float64], digits: int) -> dict[str, float]:
    return {"median": round(float(np.median(errors)), digits), "p90": round(float(np.quantile(errors, 0.9)), digits)}


def answer_keras(network: keras.Model) -> Callable[[Images], Answers]:
    """Return a call that asks the float network about views, uint8 (n, SIDE, SIDE)."""

    def answer(views: Images) -> Answers:
        log_odds, poses = network.predict(as_batch(views), batch_size=1024, verbose=0)
        return np.asarray(log_odds[:, 0], np.float64), np.asarray(poses, np.float64)

    return answer


def answer_int8(content: bytes) -> Callable[[Images], Answers]:
    """Return a call that asks an int8 file about views, uint8 (n, SIDE, SIDE), as the device does."""
    with quiet():
        interpreter, _ = load_interpreter(content)
        interpreter.allocate_tensors()
    (given,) = interpreter.get_input_details()
    ends = {end["shape"][-1]: (end["index"], read_tensor(end)) for end in interpreter.get_output_details()}
    pixels = read_tensor(given)
    levels = np.clip(np.round(np.arange(256) / pixels.scale) + pixels.zero_point, -128, 127).astype(np.int8)

    def read(length: int) -> npt.NDArray[np.float64]:
        index, tensor = ends[length]
        stored = np.asarray(interpreter.get_tensor(index)[0], np.float64)
        return (stored - tensor.zero_point) * tensor.scale

    def answer(views: Images) -> Answers:
        log_odds, poses = np.empty(len(views)), np.empty((len(views), OUTPUTS["pose"]))
        for i, view in enumerate(tqdm(views, "ask int8", disable=not sys.stderr.isatty(), leave=False)):
            interpreter.set_tensor(given["index"], levels[view][None, ..., None])
            interpreter.invoke()
            log_odds[i], poses[i] = read(OUTPUTS["face"])[0], read(OUTPUTS["pose"])
        return log_odds, poses

    return answer


def fit(
    name: str,
    number: int,
    epochs: int,
    material: Material,
    exam: Exam,
    out: Path,
    *,
    seed: int,
    scenes: str,
    start: keras.Model | None = None,
) -> tuple[keras.Model, int]:
    """Fit the network on `material` and return it as it was after its best epoch, with that epoch's number from 1.

    Every epoch's averaged weights are judged by `exam`; its row goes into OUT/history.json and .png, and everything
    to go on from into OUT/NAME.npz. Weights begin as those of `start` where that is given. `number` tells the rounds'
    random views apart, `scenes` is their digest.
    Raises SinkUnwritable, DiskFull, CheckpointUnusable, FitDiverged.
    """
    keras = import_keras()
    from keras import ops

    keras.utils.set_random_seed(seed)
    network, best = build(), build()
    if start is not None:
        network.set_weights(start.get_weights())
    joined = keras.Model(network.input, keras.layers.Concatenate()(network.outputs))
    rows = len(order_epoch(material, np.random.default_rng(0)))
    batch = min(BATCH, rows)
    steps = rows // batch

    class Batches(keras.utils.PyDataset):  # type: ignore[misc,name-defined]
        """Views drawn from the seed, the round, the epoch and the batch: a fit that goes on sees the same."""

        def __init__(self, epoch: int) -> None:
            super().__init__()
            self._begin(epoch)

        def _begin(self, epoch: int) -> None:
            self._epoch = epoch
            self._order = order_epoch(material, np.random.default_rng((seed, number, epoch)))

        def __len__(self) -> int:
            return steps

        def __getitem__(self, index: int) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
            rng = np.random.default_rng((seed, number, self._epoch, index))
            return draw_batch(material, self._order[index * batch : (index + 1) * batch], rng)

        def on_epoch_end(self) -> None:
            self._begin(self._epoch + 1)

    def loss(true: Any, answer: Any) -> Any:
        """Cross-entropy of the decision, and of faces alone the Huber loss of the pose."""
        face = true[:, 0]
        goal = face * (1 - 2 * SMOOTHING) + SMOOTHING
        decision = ops.binary_crossentropy(goal[:, None], answer[:, :1], from_logits=True)[:, 0]
        off = ops.abs(answer[:, 1:] - true[:, 1:])
        huber = ops.where(off < HUBER, off * off / (2 * HUBER), off - HUBER / 2)
        pose = ops.mean(huber * ops.convert_to_tensor(POSE_WEIGHTS, "float32"), axis=-1) * face
        # The mean over a batch is then one over its faces, however many those are.
        return decision + POSE_WEIGHT * pose * batch / (ops.sum(face) + 1)

    class Judge(keras.callbacks.Callback):  # type: ignore[misc,name-defined]
        """Judges the averaged weights, keeps the best, and writes history and checkpoint."""

        def on_epoch_begin(self, epoch: int, logs: object = None) -> None:
            self._since, self._number = time.monotonic(), epoch + 1

        def on_train_batch_end(self, step: int, logs: dict[str, float] | None = None) -> None:
            now = (logs or {}).get("loss", 0.0)
            if not np.isfinite(now):
                raise FitDiverged(
                    f"{out}: the loss is {now} at epoch {self._number} of the {name} fit, step {step + 1}; "
                    "give --out another folder and --seed another number"
                )
            if sys.stderr.isatty():
                done = f"{name} epoch {self._number}/{epochs}: step {step + 1}/{steps}"
                print(f"\r{done} loss {now:.4f} ", end="", file=sys.stderr)

        def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
            raw = [ops.convert_to_numpy(variable) for variable in network.trainable_variables]
            joined.optimizer.finalize_variable_values(joined.trainable_variables)  # the averaged ones
            judged = judge(answer_keras(network), exam)
            recall = judged["recall"][str(CHOSEN_RATE)]
            if all(recall >= row["recall"][str(CHOSEN_RATE)] for row in history[:epoch]):
                best.set_weights(network.get_weights())
            for variable, value in zip(network.trainable_variables, raw, strict=True):
                variable.assign(value)
            wall_s = round(time.monotonic() - self._since, 1)
            row = {"round": name, "epoch": epoch + 1, "wall_s": wall_s, "loss": round(float((logs or {})["loss"]), 5)}
            history[epoch:] = [row | judged]
            write_history([*before, *history], out)
            save_checkpoint(checkpoint, variables(), about)
            print(
                f"\r{name} epoch {epoch + 1}/{epochs}: loss {row['loss']:.4f} recall {recall:.4f} at {CHOSEN_RATE:.0%} "
                f"false alarms, turn off by {judged['roll_deg']['median']:.1f} degrees in {wall_s:.0f} s",
                flush=True,
            )

    def variables() -> list[Any]:
        return [*joined.variables, *joined.optimizer.variables, *best.variables]

    joined.compile(_optimizer(epochs, steps), loss)
    joined.optimizer.build(joined.trainable_variables)
    checkpoint = out / f"{name}.npz"
    about = {"round": name, "epochs": epochs, "batch": batch, "seed": seed, "faces": len(material.faces)}
    about |= {"scenes": scenes, "false alarms": len(material.false_alarms), "hard": _digest(material.hard)}
    before = [row for row in read_history(out) if row["round"] != name and number]
    history: list[dict[str, Any]] = []
    if checkpoint.exists():
        load_checkpoint(checkpoint, variables(), about)
        begun = int(ops.convert_to_numpy(joined.optimizer.iterations)) // steps
        history = [row for row in read_history(out) if row["round"] == name][:begun]
        if len(history) < begun:
            raise CheckpointUnusable(
                f"{out / 'history.json'}: {len(history)} of {begun} epochs of the {name} fit; "
                f"delete {checkpoint} to begin again"
            )
    if len(history) < epochs:
        joined.fit(
            Batches(len(history)),
            initial_epoch=len(history),
            epochs=epochs,
            verbose=0,
            shuffle=False,
            callbacks=[Judge()],
        )
    recalls = [row["recall"][str(CHOSEN_RATE)] for row in history]
    return best, max(range(len(recalls)), key=lambda epoch: (recalls[epoch], epoch)) + 1


def _optimizer(epochs: int, steps: int) -> keras.optimizers.Optimizer:
    import keras

    warmup = min(WARMUP_STEPS, epochs * steps // 4)
    schedule = keras.optimizers.schedules.CosineDecay(
        0.0, max(1, epochs * steps - warmup), warmup_target=LEARNING_RATE, warmup_steps=max(1, warmup)
    )
    average = min(AVERAGE, 1 - 1 / (AVERAGE_EPOCHS * steps))
    return keras.optimizers.AdamW(schedule, weight_decay=WEIGHT_DECAY, use_ema=True, ema_momentum=average)


def find_hard(network: keras.Model, scenes: Sequence[Scene], rng: np.random.Generator) -> Images:
    """Draw random patches, uint8 (n, 64, 64), and keep those that `network` takes for a face most."""
    # The view that draw_false_alarms would give of a patch that is neither turned nor moved.
    matrix = pose_matrix(PATCH_SIDE, 0.0, 1 / PATCH_SHARE)
    answer = answer_keras(network)
    hard = []
    for _ in tqdm(range(HARD_DRAWS), "find hard patches", disable=not sys.stderr.isatty(), leave=False):
        patches = draw_patches(scenes, HARD_ROWS, rng, PATCH_SIDE)
        seen = (cv2.warpAffine(patch, matrix, (SIDE, SIDE)).astype(np.uint8, copy=False) for patch in patches)
        views = np.array([EVENING.apply(view) for view in seen])
        log_odds, _ = answer(views)
        hard.append(patches[log_odds > np.quantile(log_odds, 1 - HARD_SHARE)])
    return np.concatenate(hard)


def quantise(network: keras.Model, pictures: Images) -> bytes:
    """Make the network an int8 TFLite file, its ranges measured on `pictures`, uint8 (n, SIDE, SIDE).

    Raises RuntimeMissing, OperatorUnsupported, ModelUnreadable.
    """
    from converter.graph import pack, unpack, view
    from converter.operators import check_operators
    from converter.passes.bias import correct_biases
    from converter.passes.versions import restate_versions
    from converter.probe import Probe
    from converter.quantise import export_float, measure_ranges, quantise_ai_edge
    from converter.recipe import Recipe

    recipe = Recipe()
    reference = export_float(network)
    truth = Probe(reference)
    model = unpack(quantise_ai_edge(unpack(reference), measure_ranges(truth, pictures, recipe), recipe, ()))
    correct_biases(model, truth, pictures)
    restate_versions(model)
    check_operators(view(model))
    return pack(model)


def draw_calibration(material: Material, rng: np.random.Generator) -> Images:
    """Draw views, uint8 (n, SIDE, SIDE), to measure ranges on; two flat ones pin the input's to 0 to 255."""
    faces, alarms = CALIBRATION
    order = np.concatenate([rng.permutation(len(material.faces))[:faces], np.full(alarms, _NO_FACE["false alarms"])])
    views = draw_batch(material, order, rng)[0][..., 0].astype(np.uint8)
    # In a mixed order: biases are corrected on the first of them.
    return np.concatenate([rng.permutation(views), np.zeros_like(views[:1]), np.full_like(views[:1], 255)])


def write_contract(content: bytes, training: Mapping[str, Any], measured: Mapping[str, Any]) -> dict[str, Any]:
    """Return the contract that edge.verifier.read_contract reads, as a JSON-ready table.

    `training` says where the file comes from and `measured` what it is worth: kept for people, not read by the device.
    """
    with quiet():
        interpreter, _ = load_interpreter(content)
    (given,) = interpreter.get_input_details()
    outputs = {end["shape"][-1]: end for end in interpreter.get_output_details()}
    return {
        "format": CONTRACT_FORMAT,
        "sha256": hashlib.sha256(content).hexdigest(),
        "size": len(content),
        "input": _describe(given),
        "outputs": {name: _describe(outputs[length]) for name, length in OUTPUTS.items()},
        "share": SHARE,
        "units": list(UNITS),
        "evening": asdict(EVENING),
        "training": dict(training),
        "measured": dict(measured),
    }


def _describe(details: dict[str, Any]) -> dict[str, Any]:
    tensor = read_tensor(details)
    return asdict(tensor) | {"shape": list(tensor.shape)}


def measure(network: keras.Model, content: bytes, exam: Exam) -> dict[str, Any]:
    """Judge the float network and its int8 file by the same views, and how often they decide alike."""
    asked: dict[str, list[npt.NDArray[np.float64]]] = {"float": [], "int8": []}

    def remember(name: str, answer: Callable[[Images], Answers]) -> Callable[[Images], Answers]:
        def ask(views: Images) -> Answers:
            log_odds, poses = answer(views)
            asked[name].append(log_odds)
            return log_odds, poses

        return ask

    judged = {
        "float": judge(remember("float", answer_keras(network)), exam),
        "int8": judge(remember("int8", answer_int8(content)), exam),
    }
    float_, int8 = (np.concatenate(asked[name]) for name in ("float", "int8"))
    return {
        "faces": len(exam.faces),
        "false_alarms": len(exam.false_alarms),
        **judged,
        "agreement": {
            "log_odds": DECISION,
            "views": len(float_),
            "share": round(float(((float_ > DECISION) == (int8 > DECISION)).mean()), 4),
            "mean_drift": round(float(np.abs(float_ - int8).mean()), 4),
        },
    }


def read_history(out: Path) -> list[dict[str, Any]]:
    """Read OUT/history.json, nothing where there is none; raises CheckpointUnusable for a damaged one."""
    path = out / "history.json"
    if not path.exists():
        return []
    try:
        rows: list[dict[str, Any]] = json.loads(path.read_bytes())
        return [row for row in rows if row["round"]]
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise CheckpointUnusable(f"{path}: {error}; give --out another folder to begin again") from error


def write_history(history: Sequence[Mapping[str, Any]], out: Path) -> None:
    """Write OUT/history.json, a row an epoch, and draw OUT/history.png; raises SinkUnwritable or DiskFull."""
    from matplotlib import pyplot as plt

    replace_file(out / "history.json", json.dumps(history, indent=1).encode() + b"\n")
    figure, (left, middle, right) = plt.subplots(1, 3, figsize=(13, 4), layout="constrained")
    epochs = np.arange(1, len(history) + 1)
    left.plot(epochs, [row["loss"] for row in history], label="loss (random views, raw weights)")
    for rate in RATES:
        recalls = [row["recall"][str(rate)] for row in history]
        middle.plot(epochs, recalls, label=f"recall at {rate:.0%} false alarms (averaged weights)")
    for name in ("median", "p90"):
        right.plot(epochs, [row["roll_deg"][name] for row in history], label=f"turn off, degrees, {name}")
    for axes in (left, middle, right):
        for number in np.flatnonzero([a["round"] != b["round"] for a, b in pairwise(history)]):
            axes.axvline(number + 1.5, color="gray", linestyle=":")  # where the long fit begins
        axes.set(xlabel="epoch")
        axes.legend()
        axes.grid(alpha=0.3)
    content = io.BytesIO()
    figure.savefig(content, dpi=100)
    plt.close(figure)
    replace_file(out / "history.png", content.getvalue())


def _digest(pictures: Images) -> str:
    return hashlib.sha256(np.ascontiguousarray(pictures).tobytes()).hexdigest()[:16]


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
    parser.add_argument("--data", type=Path, required=True, help="fer2013.csv, plain or .gz, .xz, .zip: the faces")
    parser.add_argument("--ferplus", type=Path, help="fer2013new.csv: leaves out what its raters call no face")
    parser.add_argument(
        "--scenes", type=Path, required=True, help="folder of pictures without faces: training/scenes.sh"
    )
    parser.add_argument("--out", type=Path, required=True, help="folder for the model, history and checkpoints")
    parser.add_argument("--epochs", type=int, default=EPOCHS, help=f"of the long fit ({EPOCHS})")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--start", type=Path, help="face.keras whose weights the fit begins with; it needs fewer epochs"
    )
    args = parser.parse_args(argv)
    for option, least in (("epochs", 1), ("seed", 0)):
        if getattr(args, option) < least:
            raise SettingsInvalid(f"--{option} is {getattr(args, option)}; it must be {least} or more")
    tame_opencv()
    data = read_data(args.data, Preprocessing(FACE_SIDE), ("fit", "choose"), ferplus=args.ferplus)
    splits = {name: drop_no_face(rows) if args.ferplus else rows for name, rows in data.splits.items()}
    data = replace(data, splits=splits)
    scenes = read_scenes(args.scenes, args.seed)
    fitted, held_out = split_scenes(scenes)
    out: Path = args.out
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise sink_error(out, error) from error

    digest = digest_scenes(scenes)
    about: dict[str, Any] = {"scenes": digest, "seed": args.seed}
    mined: dict[str, Images] = {}
    for name, part in (("fit", fitted), ("held-out", held_out)):
        mined[name] = _keep(out / f"mined-{name}.npz", about, partial(mine_false_alarms, part, args.seed))
        if not len(mined[name]):
            raise DataSplitEmpty(
                f"{args.scenes}: the cascade takes nothing in the {name} scenes for a face; give more pictures"
            )
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
    path = save_keras(network, out / "face.keras", training)
    content = quantise(network, draw_calibration(material, np.random.default_rng((args.seed, 2))))
    training["keras_sha256"] = hashlib.sha256(path.read_bytes()).hexdigest()
    split = list(data.splits)[1]
    measured = {"split": split, **measure(network, content, exam)}
    # The contract last: without it the device refuses the file, with it both are of one fit.
    replace_file(out / "face.tflite", content)
    contract = write_contract(content, training, measured)
    replace_file(out / "face.json", json.dumps(contract, indent=1).encode() + b"\n")
    recall, agreement = measured["int8"]["recall"][str(CHOSEN_RATE)], measured["agreement"]["share"]
    print(
        f"{out / 'face.tflite'}: recall {recall:.4f} on {split} at {CHOSEN_RATE:.0%} false alarms, "
        f"int8 decides as float in {agreement:.2%}"
    )
