"""The fit of a recipe: what a network is taught, the loop, and the journal and checkpoint from which it goes on."""

from __future__ import annotations

import hashlib
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from edge.errors import (
    MemoryShort,
    ModelUnreadable,
)
from edge.vision.preprocessing import Preprocessing
from lab.datasets.ferplus import COLUMNS, soft_labels
from lab.datasets.labelled import DataSet, Labelled
from lab.datasets.sample import draw_rows
from lab.networks.keras_file import as_batch, import_keras, save_keras
from training.augment import augment, cutmix, mixup
from training.journal import Run
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


@dataclass(frozen=True, slots=True)
class Lessons:
    """What a network is taught: pictures with the targets of its heads."""

    train: Labelled
    targets: npt.NDArray[np.float32]  # (n, classes), and behind them the votes' shares where a head learns those
    classes: int
    votes: float | None  # weight of the head that learns votes; None without one
    raters: npt.NDArray[np.float32] | None  # (n, 10), what the privileged head sees; None without one


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

    train, classes = data.fit, len(data.classes)
    keras.utils.set_random_seed(seed)
    devices = _spread_over_devices()
    batch = max(1, min(recipe.batch, len(train.labels)) // devices) * devices
    steps = len(train.labels) // batch
    keras.config.set_dtype_policy(precision)
    plain = recipe.build(preprocessing, classes)
    print(f"{name}: {plain.count_params():,} parameters, {count_macs(plain) / 1e6:.1f} M multiply-accumulates")
    if start:
        plain.set_weights(_mean_weights(name, recipe, plain, start, train.images[draw_rows(train.labels, FACES, seed)]))
    network = fuse(plain)
    model = assemble(recipe, network, votes=train.votes is not None and not voted)
    lessons = _prepare(recipe, model, data, read_soft_labels(teachers, train, data.classes), voted=voted)
    model.compile(_optimizer(recipe, steps), _make_loss(lessons), weighted_metrics=[_make_accuracy(classes)])
    about = {"recipe": name, "epochs": recipe.epochs, "batch": batch, "seed": seed, "rows": len(train.labels)}
    about |= {"weights": [hashlib.sha256(path.read_bytes()).hexdigest() for path in start]}
    about |= {"classes": list(data.classes), "side": preprocessing.side, "colour": preprocessing.colour}
    fitted, chosen = list(data.splits)[:2]
    run = Run(recipe, (fitted, chosen), steps, out, model, about)
    begun = run.resume()
    _run_epochs(run, lessons, _make_batches(lessons, recipe, seed, batch, steps, begun), data.choose, begun, devices)
    if recipe.teaches or teach:
        write_soft_labels(out / "soft-labels.npz", _soften(model, lessons, seed), train, data.classes)
    keras.config.set_dtype_policy("float32")
    shipped = recipe.build(preprocessing, classes)
    shipped.set_weights(network.get_weights())
    described = {"classes": data.classes, "colour": preprocessing.colour, "side": preprocessing.side, "network": name}
    return save_keras(shipped, out / "model.keras", {**described, "data": data.title, "rows": len(train.labels)})


def _spread_over_devices() -> int:
    """Have JAX spread every batch over its devices; returns how many there are, 1 with another backend."""
    import keras

    devices = len(keras.distribution.list_devices()) if keras.backend.backend() == "jax" else 1
    if devices > 1:
        keras.distribution.set_distribution(keras.distribution.DataParallel(auto_shard_dataset=False))
    return devices


def _prepare(
    recipe: Recipe, model: keras.Model, data: DataSet, soft: npt.NDArray[np.float32] | None, *, voted: bool
) -> Lessons:
    """Make the targets of the heads that `model` has."""
    train, classes = data.fit, len(data.classes)
    learns_votes = any(layer.name == "votes" for layer in model.layers)
    raters = vote_shares(train.votes) if train.votes is not None and len(model.inputs) > 1 else None
    shares = soft_labels(train.votes, least=LEAST_VOTES) if voted and train.votes is not None else None
    targets = make_targets(train, shares, classes, recipe.label_smoothing, soft, recipe.distil)
    if learns_votes and train.votes is not None:
        targets = np.hstack([targets, vote_shares(train.votes)])
    return Lessons(train, targets, classes, recipe.votes if learns_votes else None, raters)


def _make_loss(lessons: Lessons) -> Callable[[Any, Any], Any]:
    """Make the loss: cross-entropy of each head; the privileged one learns the classes again."""
    from keras import ops

    classes = lessons.classes

    def cross_entropy(true: Any, logits: Any) -> Any:
        return -ops.sum(true * ops.log_softmax(logits), axis=-1)

    def loss(true: Any, logits: Any) -> Any:
        of_class = true[:, :classes]
        total = cross_entropy(of_class, logits[:, :classes])
        begun = classes
        if lessons.votes is not None:
            total += lessons.votes * cross_entropy(true[:, classes:], logits[:, classes : classes + len(COLUMNS)])
            begun += len(COLUMNS)
        if lessons.raters is not None:
            total += cross_entropy(of_class, logits[:, begun:])
        return total

    return loss


def _make_accuracy(classes: int) -> Callable[[Any, Any], Any]:
    from keras import ops

    def accuracy(true: Any, logits: Any) -> Any:
        return ops.argmax(true[:, :classes], axis=-1) == ops.argmax(logits[:, :classes], axis=-1)

    return accuracy


def _make_batches(lessons: Lessons, recipe: Recipe, seed: int, batch: int, steps: int, epoch: int) -> Any:
    """Make augmented batches, from an epoch on, in an order drawn from the seed and the epoch."""
    import keras

    class Batches(keras.utils.PyDataset):  # type: ignore[misc]
        def __init__(self, epoch: int) -> None:
            super().__init__()
            self._begin(epoch)

        def _begin(self, epoch: int) -> None:
            self._epoch = epoch
            self._order = np.random.default_rng((seed, epoch)).permutation(len(lessons.targets))

        def __len__(self) -> int:
            return steps

        def __getitem__(self, index: int) -> tuple[Any, npt.NDArray[np.float32]]:
            rows = self._order[index * batch : (index + 1) * batch]
            rng = np.random.default_rng((seed, self._epoch, index))
            views, goals = augment(lessons.train.images[rows], rng), lessons.targets[rows]
            mixed = rng.random()
            if mixed < recipe.cutmix:
                views, goals = cutmix(views, goals, rng)
            elif mixed < recipe.cutmix + recipe.mixup:
                views, goals = mixup(views, goals, rng)
            return (views if lessons.raters is None else (views, lessons.raters[rows])), goals

        def on_epoch_end(self) -> None:
            self._begin(self._epoch + 1)

    return Batches(epoch)


def _make_journal(run: Run) -> Any:
    """Make what has journal, plot and checkpoint written after each epoch; progress on a terminal, a line an epoch."""
    import keras

    class Journal(keras.callbacks.Callback):  # type: ignore[misc]
        def on_epoch_begin(self, epoch: int, logs: object = None) -> None:
            self._since, self._number = time.monotonic(), epoch + 1

        def on_train_batch_end(self, step: int, logs: dict[str, float] | None = None) -> None:
            run.end_step(logs or {}, self._number, step + 1)

        def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
            run.end_epoch(logs or {}, epoch + 1, round(time.monotonic() - self._since, 1))

    return Journal()


def _run_epochs(run: Run, lessons: Lessons, batches: Any, chosen: Labelled, begun: int, devices: int) -> None:
    """Fit from epoch `begun` on, each judged on `chosen`; raises MemoryShort, and what the journal raises."""
    import keras

    # Every device takes as many rows: what fills the last batch up weighs nothing.
    rows = np.arange(len(chosen.labels) + -len(chosen.labels) % devices) % len(chosen.labels)
    weights = (np.arange(len(rows)) < len(chosen.labels)).astype(np.float32)
    truth = np.zeros((len(rows), lessons.targets.shape[1]), np.float32)
    truth[np.arange(len(rows)), chosen.labels[rows]] = 1
    of_chosen: Any = as_batch(chosen.images[rows])
    if lessons.raters is not None:
        of_chosen = of_chosen, np.zeros((len(rows), len(COLUMNS)), np.float32)  # the network's own head sees no votes
    try:
        run.model.fit(
            batches,
            initial_epoch=begun,
            epochs=run.recipe.epochs,
            verbose=0,
            validation_data=(of_chosen, truth, weights),
            validation_batch_size=512 // devices * devices,
            # Judge the averaged weights, go on with the raw ones.
            callbacks=[keras.callbacks.SwapEMAWeights(), _make_journal(run)],
        )
    except Exception as error:  # each backend has its own
        if any(mark in f"{type(error).__name__} {error}" for mark in _EXHAUSTED):
            batch = run.about["batch"]
            raise MemoryShort(
                f"batches of {batch} do not fit into the memory; try --batch {max(1, batch // 2)}"
            ) from error
        raise


def _mean_weights(
    name: str, recipe: Recipe, model: keras.Model, start: Sequence[Path], faces: npt.NDArray[np.uint8]
) -> list[npt.NDArray[Any]]:
    assert recipe.start is not None
    snapshots = []
    for path in start:
        try:
            recipe.start(model, path, faces)
        except (OSError, ValueError) as error:
            raise ModelUnreadable(f"{path}: {str(error).splitlines()[0]}; give {name}'s own weights") from error
        snapshots.append(model.get_weights())
    return [np.mean(same, axis=0) for same in zip(*snapshots, strict=True)]


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


def _soften(model: keras.Model, lessons: Lessons, seed: int) -> npt.NDArray[np.float32]:
    """Return the mean probabilities over views of what the network was fitted on, float32 (n, classes)."""
    import keras

    train, raters, classes = lessons.train, lessons.raters, lessons.classes
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
