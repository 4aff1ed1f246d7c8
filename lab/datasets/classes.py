"""Which classes a model and a data set have in common, whatever their names and their order; all tools use it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from lab.datasets.labelled import DataSet, Labelled

Floats = npt.NDArray[np.float64]

_ALIASES = {
    "anger": "angry",
    "disgusted": "disgust",
    "fearful": "fear",
    "happiness": "happy",
    "sadness": "sad",
    "surprised": "surprise",
    "contemptuous": "contempt",
}
_LEAST = 1e-6  # of probability: what the classes in common are given together, no more, says nothing about them


def canonical(name: str) -> str:
    """Return a class's name as FER2013 has it where it is one of the expressions' names, in lower case."""
    folded = name.strip().casefold()
    return _ALIASES.get(folded, folded)


@dataclass(frozen=True, slots=True)
class Match:
    """Which of a model's columns is which of a data set's classes; what has no partner is left out."""

    model: tuple[str, ...]  # its classes, in its order
    data: tuple[str, ...]
    pairs: tuple[tuple[int, int], ...]  # the data's label and the model's column, in the order of the labels

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes in common, by the data's names and in its order."""
        return tuple(self.data[label] for label, _ in self.pairs)

    @property
    def columns(self) -> list[int]:
        """Where each of the classes in common is in the model's output."""
        return [column for _, column in self.pairs]

    @property
    def model_only(self) -> tuple[str, ...]:
        """The model's classes that are left out."""
        return tuple(name for column, name in enumerate(self.model) if column not in self.columns)

    @property
    def data_only(self) -> tuple[str, ...]:
        """The data's classes that are left out."""
        return tuple(name for name in self.data if name not in self.classes)

    def narrow(self, classes: Iterable[str]) -> Match:
        """Leave out all classes in common but these."""
        kept = set(classes)
        return replace(self, pairs=tuple(pair for pair in self.pairs if self.data[pair[0]] in kept))

    def select(self, probabilities: Floats) -> Floats:
        """Return the model's probabilities (n, width) of the classes in common, (n, classes), as shares of them.

        A row that gives them nothing gives each the same.
        """
        chosen = probabilities[:, self.columns]
        if not self.model_only:
            return chosen
        total = chosen.sum(axis=1, keepdims=True)
        return np.where(total > _LEAST, chosen / np.maximum(total, _LEAST), 1 / len(self.columns))

    def relabel(self, labels: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Return the data's labels (n,) as indices into the classes in common, -1 for a class that is left out."""
        places = np.full(len(self.data), -1, np.int64)
        places[[label for label, _ in self.pairs]] = np.arange(len(self.pairs))
        return places[labels]


def match_classes(model: Sequence[str], data: Sequence[str]) -> Match:
    """Match a model's classes with a data set's by their names; what is not in both is left out."""
    of_model = {canonical(name): column for column, name in reversed(list(enumerate(model)))}
    pairs = [(label, of_model[canonical(name)]) for label, name in enumerate(data) if canonical(name) in of_model]
    return Match(tuple(model), tuple(data), tuple(pairs))


def reorder(data: DataSet, classes: Sequence[str]) -> DataSet:
    """Return a data set with its classes in the order of `classes`, which are the same by name, under its own names."""
    column_of = dict(match_classes(classes, data.classes).pairs)
    label_of = {column: label for label, column in column_of.items()}
    places = np.array([column_of[label] for label in range(len(data.classes))], np.int64)

    def move(rows: Labelled) -> Labelled:
        return replace(rows, labels=places[rows.labels])

    names = tuple(data.classes[label_of[column]] for column in range(len(classes)))
    return replace(data, classes=names, splits={name: move(rows) for name, rows in data.splits.items()})
