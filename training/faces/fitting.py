"""The fit of the verifier: judged every epoch, kept so that it goes on after any end."""

from __future__ import annotations

import hashlib
import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from edge.errors import CheckpointUnusable, FitDiverged
from edge.files import replace_file
from edge.vision.verifier import OUTPUTS
from lab.networks.keras_file import import_keras
from lab.reporting.plots import as_png, make_figure
from training.checkpoint import load_checkpoint, save_checkpoint
from training.faces.exam import CHOSEN_RATE, RATES, Exam, answer_keras, judge
from training.faces.material import Material, draw_batch, order_epoch
from training.faces.views import SIDE, Images

if TYPE_CHECKING:
    import keras


BATCH = 256
LEARNING_RATE, WARMUP_STEPS, WEIGHT_DECAY = 2e-3, 400, 1e-3
AVERAGE = 0.998  # memory of the averaged weights, by step
AVERAGE_EPOCHS = 2  # and no more than so many epochs, which matters on small data
SMOOTHING = 0.01  # of the truth: log odds need not grow for ever
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


@dataclass(slots=True)
class Round:
    """One round of fitting: its networks, and where it stands."""

    name: str
    epochs: int
    steps: int  # of an epoch
    out: Path
    network: keras.Model
    joined: keras.Model  # the same with its outputs side by side, as it is fitted
    best: keras.Model
    about: Mapping[str, Any]  # what a checkpoint must be of
    before: list[dict[str, Any]]  # the journal's rows of other rounds
    history: list[dict[str, Any]] = field(default_factory=list)

    @property
    def checkpoint(self) -> Path:
        """Where all is kept that it goes on from."""
        return self.out / f"{self.name}.npz"

    def variables(self) -> list[Any]:
        """Return what a checkpoint holds."""
        return [*self.joined.variables, *self.joined.optimizer.variables, *self.best.variables]

    def resume(self) -> None:
        """Go on from the checkpoint, if there is one; raises CheckpointUnusable."""
        if not self.checkpoint.exists():
            return
        from keras import ops

        load_checkpoint(self.checkpoint, self.variables(), self.about)
        begun = int(ops.convert_to_numpy(self.joined.optimizer.iterations)) // self.steps
        self.history = [row for row in read_history(self.out) if row["round"] == self.name][:begun]
        if len(self.history) < begun:
            raise CheckpointUnusable(
                f"{self.out / 'history.json'}: {len(self.history)} of {begun} epochs of the {self.name} fit; "
                f"delete {self.checkpoint} to begin again"
            )

    def hold_finite(self, loss: float, epoch: int, step: int) -> None:
        """Raise FitDiverged for a loss that is no number; show a terminal how far it is."""
        if not np.isfinite(loss):
            raise FitDiverged(
                f"{self.out}: the loss is {loss} at epoch {epoch} of the {self.name} fit, step {step}; "
                "give --out another folder and --seed another number"
            )
        if sys.stderr.isatty():
            done = f"{self.name} epoch {epoch}/{self.epochs}: step {step}/{self.steps}"
            print(f"\r{done} loss {loss:.4f} ", end="", file=sys.stderr)

    def end_epoch(self, epoch: int, loss: float, wall_s: float, judged: Mapping[str, Any]) -> None:
        """Write the journal and the checkpoint after an epoch, numbered from 1."""
        row = {"round": self.name, "epoch": epoch, "wall_s": wall_s, "loss": round(loss, 5)}
        self.history[epoch - 1 :] = [{**row, **judged}]
        write_history([*self.before, *self.history], self.out)
        save_checkpoint(self.checkpoint, self.variables(), self.about)
        print(
            f"\r{self.name} epoch {epoch}/{self.epochs}: loss {row['loss']:.4f} "
            f"recall {judged['recall'][str(CHOSEN_RATE)]:.4f} at {CHOSEN_RATE:.0%} "
            f"false alarms, turn off by {judged['roll_deg']['median']:.1f} degrees in {wall_s:.0f} s",
            flush=True,
        )


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
    joined.optimizer.build(joined.trainable_variables)
    about = {"round": name, "epochs": epochs, "batch": batch, "seed": seed, "faces": len(material.faces)}
    about |= {"scenes": scenes, "false alarms": len(material.false_alarms), "hard": _digest(material.hard)}
    before = [row for row in read_history(out) if row["round"] != name and number]
    run = Round(name, epochs, steps, out, network, joined, best, about, before)
    run.resume()
    begun = len(run.history)
    if begun < epochs:
        joined.fit(
            _make_batches(material, (seed, number), steps, batch, begun),
            initial_epoch=begun,
            epochs=epochs,
            verbose=0,
            shuffle=False,
            callbacks=[_make_judge(run, exam)],
        )
    recalls = [row["recall"][str(CHOSEN_RATE)] for row in run.history]
    return best, max(range(len(recalls)), key=lambda epoch: (recalls[epoch], epoch)) + 1


def _make_batches(material: Material, seed: tuple[int, int], steps: int, batch: int, epoch: int) -> Any:
    """Make a fit's data: views drawn from seed, epoch and batch, so that one that goes on sees the same."""
    import keras

    class Batches(keras.utils.PyDataset):  # type: ignore[misc]
        def __init__(self, epoch: int) -> None:
            super().__init__()
            self._begin(epoch)

        def _begin(self, epoch: int) -> None:
            self._epoch = epoch
            self._order = order_epoch(material, np.random.default_rng((*seed, epoch)))

        def __len__(self) -> int:
            return steps

        def __getitem__(self, index: int) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
            rng = np.random.default_rng((*seed, self._epoch, index))
            return draw_batch(material, self._order[index * batch : (index + 1) * batch], rng)

        def on_epoch_end(self) -> None:
            self._begin(self._epoch + 1)

    return Batches(epoch)


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


def _make_judge(run: Round, exam: Exam) -> Any:
    """Make what judges the averaged weights after each epoch, keeps the best, and has the rest written."""
    import keras
    from keras import ops

    class Judge(keras.callbacks.Callback):  # type: ignore[misc]
        def on_epoch_begin(self, epoch: int, logs: object = None) -> None:
            self._since, self._number = time.monotonic(), epoch + 1

        def on_train_batch_end(self, step: int, logs: dict[str, float] | None = None) -> None:
            run.hold_finite((logs or {}).get("loss", 0.0), self._number, step + 1)

        def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
            network, joined = run.network, run.joined
            raw = [ops.convert_to_numpy(variable) for variable in network.trainable_variables]
            joined.optimizer.finalize_variable_values(joined.trainable_variables)  # the averaged ones
            judged = judge(answer_keras(network), exam)
            recall = judged["recall"][str(CHOSEN_RATE)]
            if all(recall >= row["recall"][str(CHOSEN_RATE)] for row in run.history[:epoch]):
                run.best.set_weights(network.get_weights())
            for variable, value in zip(network.trainable_variables, raw, strict=True):
                variable.assign(value)
            wall_s = round(time.monotonic() - self._since, 1)
            run.end_epoch(epoch + 1, float((logs or {})["loss"]), wall_s, judged)

    return Judge()


def _optimizer(epochs: int, steps: int) -> keras.optimizers.Optimizer:
    import keras

    warmup = min(WARMUP_STEPS, epochs * steps // 4)
    schedule = keras.optimizers.schedules.CosineDecay(
        0.0, max(1, epochs * steps - warmup), warmup_target=LEARNING_RATE, warmup_steps=max(1, warmup)
    )
    average = min(AVERAGE, 1 - 1 / (AVERAGE_EPOCHS * steps))
    return keras.optimizers.AdamW(schedule, weight_decay=WEIGHT_DECAY, use_ema=True, ema_momentum=average)


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
    replace_file(out / "history.json", json.dumps(history, indent=1).encode() + b"\n")
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
    replace_file(out / "history.png", as_png(figure))


def _digest(pictures: Images) -> str:
    return hashlib.sha256(np.ascontiguousarray(pictures).tobytes()).hexdigest()[:16]
