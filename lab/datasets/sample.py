"""Fewer pictures, the same share of each class: small fits, and what calibrates a quantisation."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


def draw_rows(labels: npt.NDArray[np.int64], count: int, seed: int) -> npt.NDArray[np.int64]:
    """Draw about `count` rows of labels (n,), as many of each class as of every other as far as it has them."""
    rng = np.random.default_rng(seed)
    present = np.unique(labels)
    chosen = [rng.permutation(np.flatnonzero(labels == label))[: max(1, count // len(present))] for label in present]
    return rng.permutation(np.concatenate(chosen))
