"""One place between two threads: from the camera to the loop, and from the loop to each sink."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from typing import Generic, Protocol, TypeVar

from edge.errors import LoopStuck

Item = TypeVar("Item")

END = 3.0  # seconds a thread may take to end, or to take an item, before it is named and left behind


class Mailbox(Generic[Item]):
    """One place between two threads: the newest item wins, or, lossless, `put` waits up to END seconds."""

    def __init__(self, *, lossless: bool) -> None:
        self.dropped = 0
        self._lossless = lossless
        self._items: list[Item] = []
        self._closed = False
        self._change = threading.Condition()

    def put(self, item: Item) -> bool:
        """Leave an item; returns False when the mailbox is closed."""
        with self._change:
            if self._lossless:
                self._change.wait_for(lambda: self._closed or not self._items, END)
            if self._closed:
                return False
            self.dropped += len(self._items)
            self._items = [item]
            self._change.notify_all()
            return True

    def get(self, timeout: float) -> Item | None:
        """Take the item; None when none came in `timeout` seconds or the mailbox is closed and empty."""
        with self._change:
            if not self._items and not self._closed:
                self._change.wait(timeout)
            if not self._items:
                return None
            item = self._items.pop()
            self._change.notify_all()
            return item

    def close(self) -> None:
        """Let nothing more in, and nobody wait; what is inside can still be taken."""
        with self._change:
            self._closed = True
            self._change.notify_all()

    def wait_closed(self, timeout: float) -> bool:
        """Wait up to `timeout` seconds for it to be closed, and return whether it is."""
        with self._change:
            return self._change.wait_for(lambda: self._closed, max(0.0, timeout))

    @property
    def closed(self) -> bool:
        """Whether it was closed."""
        with self._change:
            return self._closed

    @property
    def ended(self) -> bool:
        """Whether it is closed and empty."""
        with self._change:
            return self._closed and not self._items


class Joined(Protocol):
    """What has a thread."""

    name: str

    def join(self, deadline: float) -> bool:
        """Wait for its end until `deadline`; returns whether it came."""


def name_stuck(threads: Iterable[Joined], deadline: float) -> list[LoopStuck]:
    """Wait until `deadline` for threads to end, and name those that do not."""
    stuck = [thread.name for thread in threads if not thread.join(deadline)]
    return [LoopStuck(f"{name}: did not end within {END:.0f} s; it was left behind") for name in stuck]
