"""What a link to something worn says of itself: its sink writes, the status and the page read."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Any, Literal

RECENT = 200  # pictures that the latency is of

LinkState = Literal["looking", "connected", "lost", "refused", "ended"]


@dataclass(slots=True)
class LinkReport:
    """How a link is doing; `lost` after it was up once, `refused` where somebody must do something about it."""

    make: str
    name: str = ""
    state: LinkState = "looking"
    battery: int | None = None  # per cent
    error: str = ""  # why it is not connected
    losses: int = 0
    orders: int = 0  # pictures, blanks and words that a picture still holds, which were acknowledged
    bytes: int = 0  # that were written, over all connections
    latency_ms: deque[float] = field(default_factory=lambda: deque(maxlen=RECENT))  # of pictures, taken to acknowledged

    def as_values(self) -> dict[str, Any]:
        """Return the link's state as JSON-ready values."""
        ranked = sorted(self.latency_ms)
        return {
            "make": self.make,
            "name": self.name,
            "state": self.state,
            "battery": self.battery,
            "error": self.error,
            "losses": self.losses,
            "orders": self.orders,
            "bytes": self.bytes,
            "median_ms": round(ranked[len(ranked) // 2], 1) if ranked else None,
        }
