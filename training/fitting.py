"""The fit of a recipe: what a network is taught, the loop, and the journal and checkpoint from which it goes on."""

from __future__ import annotations

import hashlib
import io
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from edge.errors import (
    CheckpointUnusable,
    FitDiverged,
    MemoryShort,
    ModelUnreadable,
)
from edge.files import replace_file
from edge.preprocessing import Preprocessing
from lab.datasets.ferplus import COLUMNS, soft_labels
from lab.datasets.labelled import DataSet, Labelled
from lab.datasets.sample import draw_rows
from lab.networks.keras_file import as_batch, import_keras, save_keras
from training.augment import augment, cutmix, mixup
from training.checkpoint import load_checkpoint, save_checkpoint
from training.recipes import Recipe, count_macs
from training.targets import make_targets, read_soft_labels, vote_shares, write_soft_labels

if TYPE_CHECKING:
    import keras


AVERAGE_EPOCHS = 2  # memory of the averaged weights
LEAST_VOTES = 2  # of the ten raters, for a class: a single one is taken for a mistake, as FER+ does
FACES = 512  # of the fit split, shown to a network that starts from weights made elsewhere
VIEWS = 8  # of each picture behind a teacher's soft label: itself, its mirror image, and random ones
_EXHAUSTED = ("MemoryError", "RESOURCE_EXHAUSTED", "ResourceExhausted", "out of memory", "OutOfMemory", "OOM when")


def assemble(recipe: Recipe, network: keras.Model, *, votes: bool) -> keras.Model:
    """Wrap `network` in what it is fitted with: logits out, beside them the heads that learn from votes.

    In: pixels, and FER+'s votes as shares where the recipe teaches from them. Out, side by side: the classes' logits,
    the votes' logits (10), and the logits of a head that sees the votes too (privileged information: Lopez-Paz
    et al., arXiv 1511.03643).
    """
    import keras
    from keras import layers

    given = [network.input]
    features, logits = network.get_layer("features").output, network.get_layer("probabilities").input
    outputs = [logits]
    if votes and recipe.votes:
        outputs.append(layers.Dense(len(COLUMNS), dtype="float32", name="votes")(features))
    if votes and recipe.teaches:
        given.append(layers.Input((len(COLUMNS),), name="raters"))
        seen = layers.Dense(64, activation="relu", dtype="float32")(given[1])
        joint = layers.Concatenate(dtype="float32")([features, layers.Dropout(0.2, dtype="float32")(seen)])
        joint = layers.Dense(128, activation="relu", dtype="float32")(joint)
        outputs.append(layers.Dense(logits.shape[-1], dtype="float32", name="privileged")(joint))
    return keras.Model(given, layers.Concatenate(dtype="float32")(outputs) if len(outputs) > 1 else logits)


def fit(
    name: str,
    recipe: Recipe,
    preprocessing: Preprocessing,
    data: DataSet,
    out: Path,
    *,
    seed: int = 0,
    precision: str = "float32",
    voted: bool = False,
    teachers: Sequence[Path] = (),
    start: Sequence[Path] = (),
    teach: bool = False,
) -> Path:
    """Fit `recipe` on the data's fit split, judge every epoch on its choose split, and write OUT/model.keras.

    Leaves OUT/history.json (a row an epoch), OUT/history.png and OUT/checkpoint.npz to go on from; with `teach`, or for
    a recipe that teaches, OUT/soft-labels.npz. It begins from the mean of the weights in `start` (Wortsman et al.,
    arXiv 2203.05482), where there are any. `voted` puts the shares of FER+'s votes in the place of labels. `precision`
    is a Keras dtype policy for the fit; the file written always computes in float32. The backend is Keras' own choice
    (KERAS_BACKEND): batches are numpy arrays, the step is Keras' fit. With several JAX devices every batch is spread
    over them.
    Raises SinkUnwritable, DiskFull, CheckpointUnusable, FitDiverged, MemoryShort; of `teachers`' soft labels,
    DataMissing and DataUnreadable; of `start`, ModelUnreadable.
    """
    keras = import_keras()
    from training.fused import fuse

    train, chosen = data.fit, data.choose
    classes = len(data.classes)
    keras.utils.set_random_seed(seed)
    devices = len(keras.distribution.list_devices()) if keras.backend.backend() == "jax" else 1
    if devices > 1:
        keras.distribution.set_distribution(keras.distribution.DataParallel(auto_shard_dataset=False))
    batch = max(1, min(recipe.batch, len(train.labels)) // devices) * devices
    steps = len(train.labels) // batch
    keras.config.set_dtype_policy(precision)
    plain = recipe.build(preprocessing, classes)
    print(f"{name}: {plain.count_params():,} parameters, {count_macs(plain) / 1e6:.1f} M multiply-accumulates")
    if start:
        plain.set_weights(_mean_weights(name, recipe, plain, start, train.images[draw_rows(train.labels, FACES, seed)]))
    network = fuse(plain)
    model = assemble(recipe, network, votes=train.votes is not None and not voted)
    raters = vote_shares(train.votes) if train.votes is not None and len(model.inputs) > 1 else None
    learns_votes = any(layer.name == "votes" for layer in model.layers)

    soft = read_soft_labels(teachers, train, data.classes)
    shares = soft_labels(train.votes, least=LEAST_VOTES) if voted and train.votes is not None else None
    targets = make_targets(train, shares, classes, recipe.label_smoothing, soft, recipe.distil)
    if learns_votes and train.votes is not None:
        targets = np.hstack([targets, vote_shares(train.votes)])

    def loss(true: Any, logits: Any) -> Any:
        """Cross-entropy of each head; the privileged one learns the classes again."""
        of_class = true[:, :classes]
        total = cross_entropy(of_class, logits[:, :classes])
        begun = classes
        if learns_votes:
            total += recipe.votes * cross_entropy(true[:, classes:], logits[:, classes : classes + len(COLUMNS)])
            begun += len(COLUMNS)
        if raters is not None:
            total += cross_entropy(of_class, logits[:, begun:])
        return total

    def cross_entropy(true: Any, logits: Any) -> Any:
        return -keras.ops.sum(true * keras.ops.log_softmax(logits), axis=-1)

    def accuracy(true: Any, logits: Any) -> Any:
        return keras.ops.argmax(true[:, :classes], axis=-1) == keras.ops.argmax(logits[:, :classes], axis=-1)

    class Batches(keras.utils.PyDataset):  # type: ignore[misc,name-defined]
        """Augmented batches of `train`, in an order drawn from the seed and the epoch."""

        def __init__(self, epoch: int) -> None:
            super().__init__()
            self._begin(epoch)

        def _begin(self, epoch: int) -> None:
            self._epoch = epoch
            self._order = np.random.default_rng((seed, epoch)).permutation(len(train.labels))

        def __len__(self) -> int:
            return steps

        def __getitem__(self, index: int) -> tuple[Any, npt.NDArray[np.float32]]:
            rows = self._order[index * batch : (index + 1) * batch]
            rng = np.random.default_rng((seed, self._epoch, index))
            views, goals = augment(train.images[rows], rng), targets[rows]
            mixed = rng.random()
            if mixed < recipe.cutmix:
                views, goals = cutmix(views, goals, rng)
            elif mixed < recipe.cutmix + recipe.mixup:
                views, goals = mixup(views, goals, rng)
            return (views if raters is None else (views, raters[rows])), goals

        def on_epoch_end(self) -> None:
            self._begin(self._epoch + 1)

    class Journal(keras.callbacks.Callback):  # type: ignore[misc,name-defined]
        """History as JSON and plot after every epoch; progress on a terminal, a line an epoch otherwise."""

        def on_epoch_begin(self, epoch: int, logs: object = None) -> None:
            self._since, self._number = time.monotonic(), epoch + 1

        def on_train_batch_end(self, step: int, logs: dict[str, float] | None = None) -> None:
            now = logs or {}
            if not np.isfinite(now.get("loss", 0.0)):
                raise FitDiverged(
                    f"{out}: the loss is {now['loss']} at epoch {self._number}, step {step + 1}; "
                    f"{checkpoint} holds epoch {self._number - 1}: go on with a lower --learning-rate and another --out"
                )
            if sys.stderr.isatty():
                done = f"epoch {self._number}/{recipe.epochs}: step {step + 1}/{steps}"
                print(f"\r{done} accuracy {now.get('accuracy', 0):.3f} ", end="", file=sys.stderr)

        def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
            row = {"epoch": epoch + 1, "wall_s": round(time.monotonic() - self._since, 1)}
            row |= {name: round(float(value), 5) for name, value in (logs or {}).items()}
            history[epoch:] = [row]
            replace_file(out / "history.json", json.dumps(history, indent=1).encode() + b"\n")
            plot_history(history, out / "history.png", *list(data.splits)[:2])
            print(
                f"\repoch {epoch + 1}/{recipe.epochs}: loss {row['loss']:.4f} accuracy {row['accuracy']:.4f} "
                f"{list(data.splits)[1]} {row['val_accuracy']:.4f} in {row['wall_s']:.0f} s",
                flush=True,
            )

    class Checkpoint(keras.callbacks.Callback):  # type: ignore[misc,name-defined]
        def on_epoch_end(self, epoch: int, logs: object = None) -> None:
            save_checkpoint(checkpoint, variables(), about)

    def variables() -> list[Any]:
        return [*model.variables, *model.optimizer.variables]

    model.compile(_optimizer(recipe, steps), loss, weighted_metrics=[accuracy])
    checkpoint, journal = out / "checkpoint.npz", out / "history.json"
    history: list[dict[str, float]] = []
    about = {"recipe": name, "epochs": recipe.epochs, "batch": batch, "seed": seed, "rows": len(train.labels)}
    about |= {"weights": [hashlib.sha256(path.read_bytes()).hexdigest() for path in start]}
    about |= {"classes": list(data.classes), "side": preprocessing.side, "colour": preprocessing.colour}
    begun = 0
    if checkpoint.exists():
        model.optimizer.build(model.trainable_variables)
        load_checkpoint(checkpoint, variables(), about)
        begun = int(keras.ops.convert_to_numpy(model.optimizer.iterations)) // steps
        try:
            history = json.loads(journal.read_bytes())[:begun]
        except (OSError, ValueError) as error:
            raise CheckpointUnusable(f"{journal}: {error}; delete {checkpoint} to begin again") from error
    # Every device takes as many rows: what fills the last batch up weighs nothing.
    rows = np.arange(len(chosen.labels) + -len(chosen.labels) % devices) % len(chosen.labels)
    weights = (np.arange(len(rows)) < len(chosen.labels)).astype(np.float32)
    truth = np.zeros((len(rows), targets.shape[1]), np.float32)
    truth[np.arange(len(rows)), chosen.labels[rows]] = 1
    of_chosen: Any = as_batch(chosen.images[rows])
    if raters is not None:
        of_chosen = of_chosen, np.zeros((len(rows), len(COLUMNS)), np.float32)  # the network's own head sees no votes
    try:
        model.fit(
            Batches(begun),
            initial_epoch=begun,
            epochs=recipe.epochs,
            verbose=0,
            validation_data=(of_chosen, truth, weights),
            validation_batch_size=512 // devices * devices,
            callbacks=[
                keras.callbacks.SwapEMAWeights(),  # judge the averaged weights, go on with the raw ones
                Journal(),
                Checkpoint(),
            ],
        )
    except Exception as error:  # each backend has its own
        if any(mark in f"{type(error).__name__} {error}" for mark in _EXHAUSTED):
            raise MemoryShort(
                f"batches of {batch} do not fit into the memory; try --batch {max(1, batch // 2)}"
            ) from error
        raise
    if recipe.teaches or teach:
        write_soft_labels(out / "soft-labels.npz", _teach(model, train, raters, classes, seed), train, data.classes)
    keras.config.set_dtype_policy("float32")
    shipped = recipe.build(preprocessing, classes)
    shipped.set_weights(network.get_weights())
    said = {"classes": data.classes, "colour": preprocessing.colour, "side": preprocessing.side, "network": name}
    return save_keras(shipped, out / "model.keras", {**said, "data": data.title, "rows": len(train.labels)})


def _mean_weights(
    name: str, recipe: Recipe, model: keras.Model, start: Sequence[Path], faces: npt.NDArray[np.uint8]
) -> list[npt.NDArray[Any]]:
    assert recipe.start is not None
    told = []
    for path in start:
        try:
            recipe.start(model, path, faces)
        except (OSError, ValueError) as error:
            raise ModelUnreadable(f"{path}: {str(error).splitlines()[0]}; give {name}'s own weights") from error
        told.append(model.get_weights())
    return [np.mean(same, axis=0) for same in zip(*told, strict=True)]


def _optimizer(recipe: Recipe, steps: int) -> keras.optimizers.Optimizer:
    import keras

    warmup = min(recipe.warmup_epochs, recipe.epochs - 1) * steps
    schedule = keras.optimizers.schedules.CosineDecay(
        0.0 if warmup else recipe.learning_rate,
        max(1, recipe.epochs * steps - warmup),
        warmup_target=recipe.learning_rate if warmup else None,
        warmup_steps=warmup,
    )
    # No more than the recipe's memory, and on small data no more than a few epochs.
    average = min(recipe.average, 1 - 1 / (AVERAGE_EPOCHS * steps))
    common = {"weight_decay": recipe.weight_decay or None, "use_ema": True, "ema_momentum": average}
    if recipe.optimizer == "adam":
        optimizer = keras.optimizers.Adam(schedule, **common)
    else:
        optimizer = keras.optimizers.SGD(schedule, recipe.momentum, nesterov=True, **common)
    if recipe.weight_decay:
        optimizer.exclude_from_weight_decay(var_names=["gamma", "beta", "bias"])
    return optimizer


def _teach(
    model: keras.Model, train: Labelled, raters: npt.NDArray[np.float32] | None, classes: int, seed: int
) -> npt.NDArray[np.float32]:
    """Return the mean probabilities over views of what the network was fitted on, float32 (n, classes)."""
    import keras

    total = np.zeros((len(train.labels), classes), np.float32)
    batches = range(0, len(total), 512)
    for begun in tqdm(batches, "soft labels", disable=not sys.stderr.isatty(), leave=False):
        rows = slice(begun, begun + 512)
        for view in range(VIEWS):
            images = train.images[rows]
            rng = np.random.default_rng((seed, view, begun))
            views = as_batch(images if view == 0 else images[:, :, ::-1]) if view < 2 else augment(images, rng)
            logits = np.asarray(model.predict_on_batch(views if raters is None else (views, raters[rows])))
            # The privileged head's are the last ones; without it the network's own are the first.
            logits = logits[:, :classes] if raters is None else logits[:, -classes:]
            total[rows] += keras.ops.convert_to_numpy(keras.ops.softmax(logits)) / VIEWS
    return total


def plot_history(history: list[dict[str, float]], path: Path, fitted: str, chosen: str) -> None:
    """Draw accuracy and loss by epoch into a PNG."""
    from matplotlib import pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
    epochs = [row["epoch"] for row in history]
    for axes, name in ((left, "accuracy"), (right, "loss")):
        axes.plot(epochs, [row[name] for row in history], label=f"{fitted} (augmented, raw weights)")
        axes.plot(epochs, [row[f"val_{name}"] for row in history], label=f"{chosen} (averaged weights)")
        axes.set(xlabel="epoch", ylabel=name)
        axes.legend()
        axes.grid(alpha=0.3)
    content = io.BytesIO()
    figure.savefig(content, dpi=100)
    plt.close(figure)
    replace_file(path, content.getvalue())
