"""The fit of a recipe: what an expression network is taught and judged by, and what is written of it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from edge.errors import (
    MemoryShort,
    ModelUnreadable,
)
from edge.vision.preprocessing import Preprocessing
from lab.datasets.ferplus import COLUMNS, soft_labels
from lab.datasets.labelled import DataSet, Labelled
from lab.datasets.sample import draw_rows
from lab.networks.keras_file import as_batch, import_keras, save_keras
from lab.progress import progress
from lab.reporting.plots import as_png, make_figure
from training.augment import augment, cutmix, mixup
from training.loop import Batches, Row, Run, average_momentum, make_schedule
from training.recipes import Recipe, count_macs
from training.targets import make_targets, read_soft_labels, vote_shares, write_soft_labels

if TYPE_CHECKING:
    import keras


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

    train, classes, (fitted, chosen) = data.fit, len(data.classes), list(data.splits)[:2]
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
    run = Run(
        model,
        recipe.epochs,
        _make_batches(lessons, recipe, seed, batch, steps),
        out / "checkpoint.npz",
        about,
        advice="start again with a lower --learning-rate and another --out",
        describe=partial(_describe, chosen),
        judge=_make_judge(model, lessons, data.choose, devices),
        draw=partial(plot_history, fitted=fitted, chosen=chosen),
    )
    _fit_within_memory(run)
    if recipe.teaches or teach:
        write_soft_labels(out / "soft-labels.npz", _soften(model, lessons, seed), train, data.classes)
    return _write(network, name, recipe, preprocessing, data, out)


def _write(
    network: keras.Model, name: str, recipe: Recipe, preprocessing: Preprocessing, data: DataSet, out: Path
) -> Path:
    """Write OUT/model.keras, which computes in float32."""
    import keras

    keras.config.set_dtype_policy("float32")
    shipped = recipe.build(preprocessing, len(data.classes))
    shipped.set_weights(network.get_weights())
    described = {"classes": data.classes, "colour": preprocessing.colour, "side": preprocessing.side, "network": name}
    return save_keras(shipped, out / "model.keras", {**described, "data": data.title, "rows": len(data.fit.labels)})


def _describe(chosen: str, row: Row) -> str:
    return f"loss {row['loss']:.4f} accuracy {row['accuracy']:.4f} {chosen} {row['val_accuracy']:.4f}"


def _fit_within_memory(run: Run) -> None:
    """Fit; raises MemoryShort, which names a batch that may fit, and what the loop raises."""
    try:
        run.fit()
    except Exception as error:  # each backend has its own
        if any(mark in f"{type(error).__name__} {error}" for mark in _EXHAUSTED):
            batch = run.batches.size
            raise MemoryShort(
                f"batches of {batch} do not fit into the memory; try --batch {max(1, batch // 2)}"
            ) from error
        raise


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


def _make_batches(lessons: Lessons, recipe: Recipe, seed: int, batch: int, steps: int) -> Batches:
    """Make augmented batches in an order drawn from the seed and the epoch."""

    def draw(rows: npt.NDArray[np.int64], rng: np.random.Generator) -> tuple[Any, npt.NDArray[np.float32]]:
        views, goals = augment(lessons.train.images[rows], rng), lessons.targets[rows]
        mixed = rng.random()
        if mixed < recipe.cutmix:
            views, goals = cutmix(views, goals, rng)
        elif mixed < recipe.cutmix + recipe.mixup:
            views, goals = mixup(views, goals, rng)
        return (views if lessons.raters is None else (views, lessons.raters[rows])), goals

    count = len(lessons.targets)
    # Keras shuffles the batches once more, as for every network so far: a seed gives the same one.
    return Batches((seed,), batch, steps, lambda rng: rng.permutation(count), draw, shuffle=True)


def _make_judge(
    model: keras.Model, lessons: Lessons, chosen: Labelled, devices: int
) -> Callable[[Sequence[Row]], Mapping[str, float]]:
    """Make what judges the weights on `chosen`."""
    # Every device takes as many rows: what fills the last batch up weighs nothing.
    rows = np.arange(len(chosen.labels) + -len(chosen.labels) % devices) % len(chosen.labels)
    weights = (np.arange(len(rows)) < len(chosen.labels)).astype(np.float32)
    truth = np.zeros((len(rows), lessons.targets.shape[1]), np.float32)
    truth[np.arange(len(rows)), chosen.labels[rows]] = 1
    pixels: Any = as_batch(chosen.images[rows])
    if lessons.raters is not None:
        pixels = pixels, np.zeros((len(rows), len(COLUMNS)), np.float32)  # the network's own head sees no votes
    batch = 512 // devices * devices

    def judge(_: Sequence[Row]) -> dict[str, float]:
        judged = model.evaluate(pixels, truth, batch, verbose=0, sample_weight=weights, return_dict=True)
        return {f"val_{name}": round(float(value), 5) for name, value in judged.items()}

    return judge


def plot_history(history: Sequence[Row], fitted: str, chosen: str) -> bytes:
    """Draw accuracy and loss by epoch, as a PNG."""
    figure = make_figure(10, 4)
    left, right = figure.subplots(1, 2)
    epochs = [row["epoch"] for row in history]
    for axes, name in ((left, "accuracy"), (right, "loss")):
        axes.plot(epochs, [row[name] for row in history], label=f"{fitted} (augmented, raw weights)")
        axes.plot(epochs, [row[f"val_{name}"] for row in history], label=f"{chosen} (averaged weights)")
        axes.set(xlabel="epoch", ylabel=name)
        axes.legend()
        axes.grid(alpha=0.3)
    return as_png(figure)


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
    schedule = make_schedule(recipe.learning_rate, recipe.epochs * steps, warmup)
    average = average_momentum(recipe.average, steps)
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
    for begun in progress(batches, "soft labels"):
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
