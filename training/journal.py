"""A fit under way: its journal, its plot, and the checkpoint that it goes on from."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edge.errors import CheckpointUnusable, FitDiverged
from edge.files import replace_file
from lab.reporting.plots import as_png, make_figure
from training.checkpoint import load_checkpoint, save_checkpoint
from training.recipes import Recipe

if TYPE_CHECKING:
    import keras


@dataclass(slots=True)
class Run:
    """A fit under way: the network with its heads, and the journal and checkpoint that it goes on from."""

    recipe: Recipe
    splits: tuple[str, str]  # fitted, and chosen by
    steps: int  # of an epoch
    out: Path
    model: keras.Model
    about: Mapping[str, Any]  # what a checkpoint must be of
    history: list[dict[str, float]] = field(default_factory=list)

    @property
    def checkpoint(self) -> Path:
        """Where all is kept that it goes on from."""
        return self.out / "checkpoint.npz"

    def variables(self) -> list[Any]:
        """Return what a checkpoint holds."""
        return [*self.model.variables, *self.model.optimizer.variables]

    def resume(self) -> int:
        """Go on from the checkpoint, if there is one; returns the epochs done. Raises CheckpointUnusable."""
        from keras import ops

        if not self.checkpoint.exists():
            return 0
        self.model.optimizer.build(self.model.trainable_variables)
        load_checkpoint(self.checkpoint, self.variables(), self.about)
        begun = int(ops.convert_to_numpy(self.model.optimizer.iterations)) // self.steps
        journal = self.out / "history.json"
        try:
            self.history = json.loads(journal.read_bytes())[:begun]
        except (OSError, ValueError) as error:
            raise CheckpointUnusable(f"{journal}: {error}; delete {self.checkpoint} to begin again") from error
        return begun

    def end_step(self, now: Mapping[str, float], epoch: int, step: int) -> None:
        """Raise FitDiverged for a loss that is no number; show a terminal how far it is."""
        if not np.isfinite(now.get("loss", 0.0)):
            raise FitDiverged(
                f"{self.out}: the loss is {now['loss']} at epoch {epoch}, step {step}; "
                f"{self.checkpoint} holds epoch {epoch - 1}: start again with a lower --learning-rate and another --out"
            )
        if sys.stderr.isatty():
            done = f"epoch {epoch}/{self.recipe.epochs}: step {step}/{self.steps}"
            print(f"\r{done} accuracy {now.get('accuracy', 0):.3f} ", end="", file=sys.stderr)

    def end_epoch(self, now: Mapping[str, float], epoch: int, wall_s: float) -> None:
        """Write journal, plot and checkpoint after an epoch, numbered from 1, and print its line."""
        row = {"epoch": epoch, "wall_s": wall_s}
        row |= {name: round(float(value), 5) for name, value in now.items()}
        self.history[epoch - 1 :] = [row]
        replace_file(self.out / "history.json", json.dumps(self.history, indent=1).encode() + b"\n")
        plot_history(self.history, self.out / "history.png", *self.splits)
        print(
            f"\repoch {epoch}/{self.recipe.epochs}: loss {row['loss']:.4f} accuracy {row['accuracy']:.4f} "
            f"{self.splits[1]} {row['val_accuracy']:.4f} in {row['wall_s']:.0f} s",
            flush=True,
        )
        save_checkpoint(self.checkpoint, self.variables(), self.about)


def plot_history(history: list[dict[str, float]], path: Path, fitted: str, chosen: str) -> None:
    """Draw accuracy and loss by epoch into a PNG."""
    figure = make_figure(10, 4)
    left, right = figure.subplots(1, 2)
    epochs = [row["epoch"] for row in history]
    for axes, name in ((left, "accuracy"), (right, "loss")):
        axes.plot(epochs, [row[name] for row in history], label=f"{fitted} (augmented, raw weights)")
        axes.plot(epochs, [row[f"val_{name}"] for row in history], label=f"{chosen} (averaged weights)")
        axes.set(xlabel="epoch", ylabel=name)
        axes.legend()
        axes.grid(alpha=0.3)
    replace_file(path, as_png(figure))
