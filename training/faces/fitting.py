"""The fit of the verifier: its network, loss and optimizer, and the recall by which an epoch is chosen."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edge.vision.verifier import OUTPUTS
from lab.networks.keras_file import import_keras
from lab.reporting.plots import as_png, make_figure
from training.faces.exam import CHOSEN_RATE, RATES, Exam, answer_keras, judge
from training.faces.material import Material, draw_batch, order_epoch
from training.faces.views import SIDE, Images
from training.loop import Batches, Row, Run, average_momentum, make_schedule, read_history

if TYPE_CHECKING:
    import keras


BATCH = 256
LEARNING_RATE, WARMUP_STEPS, WEIGHT_DECAY = 2e-3, 400, 1e-3
AVERAGE = 0.998  # most memory of the averaged weights, by step
SMOOTHING = 0.01  # of the truth: log odds need not grow without a limit
POSE_WEIGHT = 2.0  # of the pose's loss beside the decision's
POSE_WEIGHTS = (2.0, 1.0, 1.0, 1.0)  # turn, right, down, size: nothing else gives the turn
HUBER = 0.1  # of UNITS: errors below this count by their square


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
    to go on from into OUT/NAME.npz. Weights begin as those of `start` where that is given. `number` makes the rounds'
    random views differ, `scenes` is their digest.
    Raises SinkUnwritable, DiskFull, CheckpointUnusable, FitDiverged.
    """
    keras = import_keras()
    keras.utils.set_random_seed(seed)
    network, best = build(), build()
    if start is not None:
        network.set_weights(start.get_weights())
    joined = keras.Model(network.input, keras.layers.Concatenate()(network.outputs))
    rows = len(order_epoch(material, np.random.default_rng(0)))
    batch = min(BATCH, rows)
    steps = rows // batch
    joined.compile(_optimizer(epochs, steps), _make_loss(batch))
    about = {"round": name, "epochs": epochs, "batch": batch, "seed": seed, "faces": len(material.faces)}
    about |= {"scenes": scenes, "false alarms": len(material.false_alarms), "hard": _digest(material.hard)}
    run = Run(
        joined,
        epochs,
        Batches((seed, number), batch, steps, partial(order_epoch, material), partial(draw_batch, material)),
        out / f"{name}.npz",
        about,
        advice="give --out another folder and --seed another number",
        describe=lambda row: (
            f"loss {row['loss']:.4f} recall {_recall(row):.4f} at {CHOSEN_RATE:.0%} "
            f"false alarms, turn off by {row['roll_deg']['median']:.1f} degrees"
        ),
        judge=_make_judge(network, best, exam),
        draw=plot_history,
        name=name,
        before=[row for row in read_history(out, named=True) if row["round"] != name] if number else [],
        kept=best.variables,
    )
    run.fit()
    recalls = [_recall(row) for row in run.history]
    return best, max(range(len(recalls)), key=lambda epoch: (recalls[epoch], epoch)) + 1


def _recall(row: Mapping[str, Any]) -> float:
    """Return what chooses the epoch."""
    recall: float = row["recall"][str(CHOSEN_RATE)]
    return recall


def _make_loss(batch: int) -> Callable[[Any, Any], Any]:
    """Make the loss: cross-entropy of the decision, and of faces alone the Huber loss of the pose."""
    from keras import ops

    def loss(true: Any, answer: Any) -> Any:
        face = true[:, 0]
        goal = face * (1 - 2 * SMOOTHING) + SMOOTHING
        decision = ops.binary_crossentropy(goal[:, None], answer[:, :1], from_logits=True)[:, 0]
        off = ops.abs(answer[:, 1:] - true[:, 1:])
        huber = ops.where(off < HUBER, off * off / (2 * HUBER), off - HUBER / 2)
        pose = ops.mean(huber * ops.convert_to_tensor(POSE_WEIGHTS, "float32"), axis=-1) * face
        # The mean over a batch is then one over its faces, however many those are.
        return decision + POSE_WEIGHT * pose * batch / (ops.sum(face) + 1)

    return loss


def _make_judge(network: keras.Model, best: keras.Model, exam: Exam) -> Callable[[Sequence[Row]], Mapping[str, Any]]:
    """Make what judges the weights, and gives `best` those of the best epoch."""

    def judge_epoch(before: Sequence[Row]) -> dict[str, Any]:
        judged = judge(answer_keras(network), exam)
        if all(_recall(judged) >= _recall(row) for row in before):
            best.set_weights(network.get_weights())
        return judged

    return judge_epoch


def _optimizer(epochs: int, steps: int) -> keras.optimizers.Optimizer:
    import keras

    schedule = make_schedule(LEARNING_RATE, epochs * steps, max(1, min(WARMUP_STEPS, epochs * steps // 4)))
    average = average_momentum(AVERAGE, steps)
    return keras.optimizers.AdamW(schedule, weight_decay=WEIGHT_DECAY, use_ema=True, ema_momentum=average)


def plot_history(history: Sequence[Row]) -> bytes:
    """Draw loss, recall and errors of turn by epoch, as a PNG."""
    figure = make_figure(13, 4)
    left, middle, right = figure.subplots(1, 3)
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
    return as_png(figure)


def _digest(pictures: Images) -> str:
    return hashlib.sha256(np.ascontiguousarray(pictures).tobytes()).hexdigest()[:16]
