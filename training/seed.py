"""The option --seed, alike for every command that draws by chance."""

from __future__ import annotations

import argparse

MOST = 2**31 - 1  # what NumPy, Keras and TensorFlow all take


def add_seed(parser: argparse.ArgumentParser, text: str = "Seed of everything that is drawn by chance.") -> None:
    """Add --seed, 0 to MOST; `text` is its help."""
    parser.add_argument("--seed", type=_read_seed, default=0, help=text)


def _read_seed(word: str) -> int:
    try:
        seed = int(word)
    except ValueError:
        seed = -1
    if not 0 <= seed <= MOST:
        raise argparse.ArgumentTypeError(f"{word!r} is no seed; valid are 0 to {MOST}")
    return seed
