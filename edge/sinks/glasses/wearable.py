"""What the link must know of a make of glasses, and what a make may do over a link; no transport is named here."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Protocol

from edge.drawing.glyphs import Canvas, Plan
from edge.errors import SinkFailed
from edge.settings import LookSettings
from edge.sinks.glasses.stage import Order

LONGEST_WRITE = 512  # bytes of a GATT value: a longer one is refused (Core 5.4, Vol 3, Part F, 3.2.9)


class Channel(Protocol):
    """A connection to one pair of glasses."""

    name: str

    @property
    def largest(self) -> int:
        """Bytes that one write may have."""

    async def write(self, uuid: str, data: bytes) -> None:
        """Write, and wait for the acknowledgement; at most `largest` bytes."""

    async def notify(self, uuid: str, heard: Callable[[bytes], None]) -> None:
        """Have `heard` called with each notification of a characteristic."""


class Wearable(Protocol):
    """Glasses that are connected; any call may raise, and the link is then made again."""

    async def set_up(self) -> None:
        """Make them ready, and dark, once in a connection."""

    async def send(self, order: Order) -> None:
        """Carry an order out; returns when the glasses have acknowledged it."""


def check_firmware(found: tuple[int, ...], least: tuple[int, ...], name: str) -> None:
    """Raise SinkFailed where glasses' firmware is older than `least`; an empty `found` is unknown, and too old."""
    if found < least:
        seen, needed = (".".join(map(str, version)) for version in (found, least))
        raise SinkFailed(
            f"{name} has firmware {seen or 'unknown'}, {needed} or newer is needed; update it with its maker's app"
        )


class Make(NamedTuple):
    """A make of glasses: how it is found, what it shows, how it is spoken to."""

    name: str  # as in glasses:NAME
    title: str
    service: str  # UUID of the service that it is spoken to by, in small letters
    mailbox: str  # UUID of that service's characteristic that is written to
    mark: bytes  # that the manufacturer's data in its advertisement ends with; empty: the service stands there
    bonds: bool  # it wants to be paired with before it answers
    least_mtu: int  # bytes of a packet, below which it cannot be spoken to
    width: int  # pixels
    height: int
    least_interval: float  # seconds between two pictures that it can show
    blanks_itself: bool  # when it hears nothing; else it keeps its last picture
    wearable: Callable[[Channel, LookSettings], Wearable]
    draw: Callable[[Plan], Canvas]  # what the wearer sees of a plan, RGB (height, width, 3)
