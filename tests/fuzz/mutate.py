"""Inputs that are nearly whole: seeds, cut, spliced and with words put in, as hypothesis strategies."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

NUMBERS = (b"0", b"-1", b"255", b"65536", b"2147483647", b"-9223372036854775808", b"1e999", b"NaN", b"\0", b"\xff" * 4)


def mutated(seeds: Sequence[bytes], words: Sequence[bytes]) -> SearchStrategy[bytes]:
    """Return a strategy for `seeds` with a few of their parts replaced, removed, repeated or cut off."""
    pieces = st.sampled_from([*words, *NUMBERS]) | st.binary(max_size=8)
    edit = st.tuples(
        st.sampled_from(["replace", "insert", "remove", "repeat", "cut", "flip"]),
        st.floats(0, 1, allow_nan=False),
        st.integers(0, 64),
        pieces,
    )
    return st.builds(_edited, st.sampled_from(list(seeds)), st.lists(edit, min_size=1, max_size=6))


def _edited(seed: bytes, edits: Sequence[tuple[str, float, int, bytes]]) -> bytes:
    data = seed
    for kind, share, length, piece in edits:
        at = int(share * len(data))
        if kind == "replace":
            data = data[:at] + piece + data[at + len(piece) :]
        elif kind == "insert":
            data = data[:at] + piece + data[at:]
        elif kind == "remove":
            data = data[:at] + data[at + length :]
        elif kind == "repeat":
            data = data[: at + length] + data[at : at + length] + data[at + length :]
        elif kind == "cut":
            data = data[:at]
        elif data:
            at = min(at, len(data) - 1)
            data = data[:at] + bytes([data[at] ^ (1 << length % 8)]) + data[at + 1 :]
    return data
