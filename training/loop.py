"""The loop of every fit: batches by their seed, journal, checkpoint, going on after any end, a stop at no number."""

from __future__ import annotations

import json
import random
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from edge.errors import CheckpointUnusable, FitDiverged
from edge.files import replace_file
from training.checkpoint import load_checkpoint, save_checkpoint

if TYPE_CHECKING:
    import keras

Row = dict[str, Any]
"""A row of the journal: what an epoch was, and what it is judged to be worth."""
Rows = npt.NDArray[np.int64]

AVERAGE_EPOCHS = 2  # most that averaged weights remember, which matters on small data


@dataclass(frozen=True, slots=True)
class Batches:
    """A fit's data: the rows of an epoch, and batches drawn of them by seed, epoch and number alone."""

    seed: tuple[int, ...]
    size: int
    steps: int  # of an epoch
    order: Callable[[np.random.Generator], Rows]  # an epoch's rows
    draw: Callable[[Rows, np.random.Generator], tuple[Any, npt.NDArray[np.float32]]]  # pixels and targets of some
    first: int = 1  # number of the first epoch, as the seed has it
    shuffle: bool = False  # whether Keras changes the order of an epoch's batches

    def skip(self, epochs: int) -> None:
        """Draw what Keras drew for so many epochs: a fit that goes on has then the order of one that was not killed.

        Once an epoch Keras 3's adapter of a PyDataset shuffles the list of its batches by the module `random`.
        """
        for _ in range(epochs if self.shuffle else 0):
            random.shuffle(list(range(self.steps)))

    def feed(self) -> Any:
        """Make what Keras takes batches from, once `begin` has named the epoch."""
        import keras

        batches = self

        class Feed(keras.utils.PyDataset):  # type: ignore[misc]
            def begin(self, epoch: int) -> None:
                """Begin an epoch, numbered from 0. Keras calls on_epoch_end once too often to count by it."""
                self._seed = *batches.seed, batches.first + epoch
                self._order = batches.order(np.random.default_rng(self._seed))

            def __len__(self) -> int:
                return batches.steps

            def __getitem__(self, index: int) -> tuple[Any, npt.NDArray[np.float32]]:
                rows = self._order[index * batches.size : (index + 1) * batches.size]
                return batches.draw(rows, np.random.default_rng((*self._seed, index)))

        return Feed()


@dataclass(slots=True)
class Run:
    """A fit under way: what is fitted and judged, and the journal and checkpoint that it goes on from."""

    model: keras.Model  # compiled
    epochs: int
    batches: Batches
    checkpoint: Path  # the journal lies beside it: history.json and .png
    about: Mapping[str, Any]  # what a checkpoint must be of
    advice: str  # for a loss that is no number
    describe: Callable[[Row], str]  # what an epoch's line has of its row
    # An epoch's figures, given the rows before. The averaged weights are in the model then, where there are any.
    judge: Callable[[Sequence[Row]], Mapping[str, Any]] = lambda before: {}
    draw: Callable[[Sequence[Row]], bytes] | None = None  # the journal as a PNG; None for a fit without a journal
    name: str = ""  # of the fit among those of one journal
    before: Sequence[Row] = ()  # the journal's rows of the others
    kept: Sequence[Any] = ()  # variables in the checkpoint beside the model's
    history: list[Row] = field(default_factory=list)

    def fit(self) -> None:
        """Fit from the checkpoint's epoch on, where there is one, to the last.

        Raises SinkUnwritable, DiskFull, CheckpointUnusable, FitDiverged.
        """
        begun, feed = self._resume(), self.batches.feed()
        self.batches.skip(begun)
        feed.begin(begun)
        # Also after the last epoch: it ends with the averaged weights in the model.
        self.model.fit(
            feed,
            initial_epoch=begun,
            epochs=self.epochs,
            verbose=0,
            shuffle=self.batches.shuffle,
            callbacks=[_make_callback(self, feed)],
        )

    @property
    def _of_fit(self) -> str:
        return f" of the {self.name} fit" if self.name else ""

    def _variables(self) -> list[Any]:
        return [*self.model.variables, *self.model.optimizer.variables, *self.kept]

    def _resume(self) -> int:
        """Load the checkpoint, if there is one, and the journal's rows; returns the epochs done."""
        from keras import ops

        if not self.checkpoint.exists():
            return 0
        self.model.optimizer.build(self.model.trainable_variables)
        load_checkpoint(self.checkpoint, self._variables(), self.about)
        begun = int(ops.convert_to_numpy(self.model.optimizer.iterations)) // self.batches.steps
        if self.draw is not None:
            rows = read_history(self.checkpoint.parent, named=bool(self.name))
            self.history = [row for row in rows if row.get("round", "") == self.name][:begun]
            if len(self.history) < begun:
                raise CheckpointUnusable(
                    f"{self.checkpoint.with_name('history.json')}: {len(self.history)} of {begun} epochs"
                    f"{self._of_fit}; delete {self.checkpoint} to begin again"
                )
        return begun

    def end_step(self, now: Mapping[str, float], epoch: int, step: int) -> None:
        """Raise FitDiverged for a loss that is no number; show a terminal how far it is."""
        if not np.isfinite(now.get("loss", 0.0)):
            raise FitDiverged(
                f"{self.checkpoint.parent}: the loss is {now['loss']} at epoch {epoch}{self._of_fit}, step {step}; "
                f"{f'{self.checkpoint} holds epoch {epoch - 1}: ' if epoch > 1 else ''}{self.advice}"
            )
        if sys.stderr.isatty():
            figures = " ".join(f"{name} {value:.4f}" for name, value in now.items())
            print(f"\r{self._number(epoch)}: step {step}/{self.batches.steps} {figures} ", end="", file=sys.stderr)

    def end_epoch(self, now: Mapping[str, float], epoch: int, since: float) -> None:
        """Judge an epoch, numbered from 1, write journal and checkpoint, and print its line."""
        with averaged(self.model):
            judged = self.judge(self.history[: epoch - 1])
        row: Row = {"round": self.name} if self.name else {}
        row |= {"epoch": epoch, "wall_s": round(time.monotonic() - since, 1)}
        row |= {name: round(float(value), 5) for name, value in now.items()}
        row |= judged
        self.history[epoch - 1 :] = [row]
        if self.draw is not None:
            history = [*self.before, *self.history]
            content = json.dumps(history, indent=1).encode() + b"\n"
            replace_file(self.checkpoint.with_name("history.json"), content)
            replace_file(self.checkpoint.with_name("history.png"), self.draw(history))
        save_checkpoint(self.checkpoint, self._variables(), self.about)
        print(f"\r{self._number(epoch)}: {self.describe(row)} in {row['wall_s']:.0f} s", flush=True)

    def _number(self, epoch: int) -> str:
        return f"{self.name} epoch {epoch}/{self.epochs}".lstrip()


@contextmanager
def averaged(model: keras.Model) -> Iterator[None]:
    """Have a compiled model's averaged weights in it, where its optimizer keeps any, and then the raw ones again."""
    import keras

    if not getattr(model.optimizer, "inner_optimizer", model.optimizer).use_ema:  # inside is one whose loss is scaled
        yield
        return
    swap = keras.callbacks.SwapEMAWeights()
    swap.set_model(model)
    swap.on_test_begin()
    try:
        yield
    finally:
        swap.on_test_end()


def average_momentum(most: float, steps: int) -> float:
    """Return the memory of averaged weights, a step: `most`, or of AVERAGE_EPOCHS epochs of so many steps, if less."""
    return min(most, 1 - 1 / (AVERAGE_EPOCHS * steps))


def make_schedule(rate: float, steps: int, warmup: int) -> keras.optimizers.schedules.LearningRateSchedule:
    """Make a learning rate that rises to `rate` within `warmup` steps, and falls as a cosine to none after `steps`."""
    import keras

    return keras.optimizers.schedules.CosineDecay(
        0.0 if warmup else rate,
        max(1, steps - warmup),
        warmup_target=rate if warmup else None,
        warmup_steps=warmup,
    )


def _make_callback(run: Run, feed: Any) -> keras.callbacks.Callback:
    """Make what has Keras begin each epoch's batches, and call a run after each step and each epoch."""
    import keras

    class Call(keras.callbacks.Callback):  # type: ignore[misc]
        def on_epoch_begin(self, epoch: int, logs: object = None) -> None:
            self._since, self._number = time.monotonic(), epoch + 1
            feed.begin(epoch)

        def on_train_batch_end(self, step: int, logs: dict[str, float] | None = None) -> None:
            run.end_step(logs or {}, self._number, step + 1)

        def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
            run.end_epoch(logs or {}, epoch + 1, self._since)

    return Call()


def read_history(out: Path, *, named: bool) -> list[Row]:
    """Read OUT/history.json, nothing where there is none; `named` for rows that say of which fit they are.

    Raises CheckpointUnusable for one that is damaged or of the other kind.
    """
    path = out / "history.json"
    if not path.exists():
        return []
    try:
        rows = [dict(row) for row in json.loads(path.read_bytes())]
        if any(("round" in row) != named for row in rows):
            raise ValueError("a journal of another kind of fit")
    except (OSError, ValueError, TypeError) as error:
        raise CheckpointUnusable(f"{path}: {error}; give --out another folder to begin again") from error
    return rows
