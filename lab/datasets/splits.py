"""Splits of whole groups, as of all the pictures of a patient; lab/datasets/folder.py uses it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

_STARTS = 8  # of the search for a split by patient, and one where there are many: few can lead a start astray
_MANY = 100


def split_groups(counts: npt.NDArray[np.int64], shares: Sequence[float], seed: int) -> list[int]:
    """Put whole groups into splits: int64 (groups, classes) pictures in, the split's number by group out.

    Begins at random, then makes the one move that brings the splits' sizes by class nearest to `shares`
    until none does; a class that a split lacks weighs more than any size. The best of a few starts.
    """
    total = counts.sum(0)
    wanted = np.outer(shares, total)

    def miss(filled: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
        # Of (..., splits, classes); a deviation's square is 1 at most, a class lacking costs more than all of them.
        off = (((filled - wanted) / total) ** 2).sum((-2, -1))
        return np.asarray(off + 2 * total.size * (filled == 0).sum((-2, -1)))

    best: tuple[float, list[int]] = (np.inf, [])
    unit = np.eye(len(shares), dtype=np.int64)
    for start in range(_STARTS if len(counts) < _MANY else 1):
        home = np.random.default_rng((seed, start)).choice(len(shares), len(counts), p=shares)
        while True:
            filled = unit[home].T @ counts
            step = unit[None] - unit[home][:, None]  # (groups, to, splits)
            after = miss(filled + step[..., None] * counts[:, None, None])
            group, to = np.unravel_index(after.argmin(), after.shape)
            if after[group, to] >= miss(filled) - 1e-9:
                break
            home[group] = to
        best = min(best, (float(miss(filled)), home.tolist()))
    return best[1]
