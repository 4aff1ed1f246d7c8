"""How a command of deploy/ fails, here and on a device. Standard library alone: the installer takes it along."""

from __future__ import annotations


class Failure(Exception):
    """A failure with one line for the maker and an exit code; without words they were printed already."""

    def __init__(self, exit_code: int, words: str = "") -> None:
        super().__init__(words)
        self.exit_code = exit_code


def plain(name: str) -> str:
    """A name that somebody else chose, as a terminal may show it."""
    return f"{name if name.isprintable() else ascii(name):.200}"
