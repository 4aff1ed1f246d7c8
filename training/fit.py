"""`cuelens-train`: fit a recipe on FER2013; killed at any moment, it goes on from the last whole epoch."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from pathlib import Path

import numpy as np
import numpy.typing as npt

from edge.command import command
from edge.errors import SettingsInvalid, SinkUnwritable
from edge.files import replace_file, sink_error
from training.augment import augment
from training.fer2013 import CLASSES, SIDE, Labelled, read_fer2013
from training.recipes import RECIPES, Recipe, count_macs


def fit(
    recipe: Recipe, train: Labelled, public: Labelled, out: Path, *, epochs: int, seed: int, precision: str
) -> Path:
    """Fit `recipe` on `train`, judge every epoch on `public`, and write OUT/emotion.keras.

    Leaves OUT/history.json (a row an epoch), OUT/history.png and OUT/checkpoint.weights.h5 to go on from.
    `precision` is a Keras dtype policy for the fit; the file written always computes in float32.
    The backend is Keras' own choice (KERAS_BACKEND): batches are numpy arrays, the step is Keras' fit.
    Raises SinkUnwritable or DiskFull.
    """
    import keras

    class Batches(keras.utils.PyDataset):  # type: ignore[misc]
        """Augmented batches of `train`, in an order drawn from the seed and the epoch."""

        def __init__(self, epoch: int) -> None:
            super().__init__()
            self._targets = np.eye(len(CLASSES), dtype=np.float32)[train.labels]
            self._begin(epoch)

        def _begin(self, epoch: int) -> None:
            self._epoch = epoch
            self._order = np.random.default_rng((seed, epoch)).permutation(len(train.labels))

        def __len__(self) -> int:
            return max(1, len(train.labels) // recipe.batch)

        def __getitem__(self, index: int) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
            rows = self._order[index * recipe.batch : (index + 1) * recipe.batch]
            rng = np.random.default_rng((seed, self._epoch, index))
            return augment(train.images[rows], rng), self._targets[rows]

        def on_epoch_end(self) -> None:
            self._begin(self._epoch + 1)

    class Journal(keras.callbacks.Callback):  # type: ignore[misc]
        """History as JSON and plot after every epoch; progress on a terminal, a line an epoch otherwise."""

        def on_epoch_begin(self, epoch: int, logs: object = None) -> None:
            self._since, self._number = time.monotonic(), epoch + 1

        def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
            if sys.stderr.isatty():
                done = f"epoch {self._number}/{epochs}: step {batch + 1}/{self.params['steps']}"
                print(f"\r{done} accuracy {(logs or {}).get('accuracy', 0):.3f} ", end="", file=sys.stderr)

        def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
            row = {"epoch": epoch + 1, "wall_s": round(time.monotonic() - self._since, 1)}
            row |= {name: round(float(value), 5) for name, value in (logs or {}).items()}
            history[epoch:] = [row]
            replace_file(out / "history.json", json.dumps(history, indent=1).encode() + b"\n")
            plot_history(history, out / "history.png")
            print(
                f"\repoch {epoch + 1}/{epochs}: loss {row['loss']:.4f} accuracy {row['accuracy']:.4f} "
                f"PublicTest {row['val_accuracy']:.4f} in {row['wall_s']:.0f} s",
                flush=True,
            )

    class Checkpoint(keras.callbacks.Callback):  # type: ignore[misc]
        """One file, replaced whole: Keras' BackupAndRestore, killed while it saves, leaves what it cannot load."""

        def on_epoch_end(self, epoch: int, logs: object = None) -> None:
            staged = out / "staged.weights.h5"
            self.model.save_weights(staged)
            staged.replace(checkpoint)

    checkpoint = out / "checkpoint.weights.h5"
    keras.utils.set_random_seed(seed)
    keras.config.set_dtype_policy(precision)
    model = recipe.build(SIDE, len(CLASSES))
    print(f"{model.name}: {model.count_params():,} parameters, {count_macs(model) / 1e6:.1f} M multiply-accumulates")
    steps = len(Batches(0))
    schedule = keras.optimizers.schedules.CosineDecay(
        0.0,
        max(1, (epochs - recipe.warmup_epochs) * steps),
        warmup_target=recipe.learning_rate,
        warmup_steps=recipe.warmup_epochs * steps,
    )
    optimizer = keras.optimizers.SGD(
        schedule,
        recipe.momentum,
        nesterov=True,
        weight_decay=recipe.weight_decay,
        use_ema=True,
        ema_momentum=recipe.average,
    )
    optimizer.exclude_from_weight_decay(var_names=["gamma", "beta", "bias"])
    loss = keras.losses.CategoricalCrossentropy(label_smoothing=recipe.label_smoothing)
    model.compile(optimizer, loss, metrics=["accuracy"])

    journal = out / "history.json"
    history: list[dict[str, float]] = json.loads(journal.read_bytes()) if journal.exists() else []
    begun = 0
    if checkpoint.exists():
        optimizer.build(model.trainable_variables)
        model.load_weights(checkpoint)  # the optimizer's state too: its steps tell the epoch
        begun = int(keras.ops.convert_to_numpy(optimizer.iterations)) // steps
    model.fit(
        Batches(begun),
        initial_epoch=begun,
        epochs=epochs,
        verbose=0,
        validation_data=(
            public.images[..., None].astype(np.float32),
            np.eye(len(CLASSES), dtype=np.float32)[public.labels],
        ),
        validation_batch_size=512,
        callbacks=[
            keras.callbacks.SwapEMAWeights(),  # judge the averaged weights, go on with the raw ones
            Journal(),
            Checkpoint(),
        ],
    )
    keras.config.set_dtype_policy("float32")
    shipped = recipe.build(SIDE, len(CLASSES))
    shipped.set_weights(model.get_weights())
    staged = out / "staged.keras"
    try:
        shipped.save(staged)
        return staged.replace(out / "emotion.keras")
    except OSError as error:
        staged.unlink(missing_ok=True)
        raise sink_error(out / "emotion.keras", error) from error


def plot_history(history: list[dict[str, float]], path: Path) -> None:
    """Draw accuracy and loss by epoch into a PNG."""
    from matplotlib import pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
    epochs = [row["epoch"] for row in history]
    for axes, name in ((left, "accuracy"), (right, "loss")):
        axes.plot(epochs, [row[name] for row in history], label="Training (augmented, raw weights)")
        axes.plot(epochs, [row[f"val_{name}"] for row in history], label="PublicTest (averaged weights)")
        axes.set(xlabel="epoch", ylabel=name)
        axes.legend()
        axes.grid(alpha=0.3)
    figure.savefig(path, dpi=100)
    plt.close(figure)


@command
def main(parser: argparse.ArgumentParser, argv: list[str] | None = None) -> None:
    """Fit a network on FER2013, checkpointed every epoch; run it again to go on."""
    parser.add_argument("recipe", choices=sorted(RECIPES))
    parser.add_argument("--data", type=Path, required=True, help="fer2013.csv, plain or .gz, .xz, .zip")
    parser.add_argument("--out", type=Path, required=True, help="folder for the model, history and checkpoint")
    parser.add_argument("--epochs", type=int, help="instead of the recipe's")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--precision", choices=("float32", "mixed_bfloat16", "mixed_float16"), default="float32", help="of the fit"
    )
    args = parser.parse_args(argv)
    recipe = RECIPES[args.recipe]
    epochs = recipe.epochs if args.epochs is None else args.epochs
    if epochs < 1:
        raise SettingsInvalid(f"--epochs is {epochs}; it must be 1 or more")
    data = read_fer2013(args.data, "Training", "PublicTest")
    try:
        args.out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SinkUnwritable(f"{args.out}: {error.strerror}; give --out a folder that can be written") from error
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    train, public = data["Training"], data["PublicTest"]
    print(fit(recipe, train, public, args.out, epochs=epochs, seed=args.seed, precision=args.precision))
