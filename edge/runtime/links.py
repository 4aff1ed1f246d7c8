"""How a link to something worn is doing: its sink writes it, the status and the page read it."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Any, Literal

from edge.runtime.metrics import SinkMetrics, percentile

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
        return {
            "make": self.make,
            "name": self.name,
            "state": self.state,
            "battery": self.battery,
            "error": self.error,
            "losses": self.losses,
            "orders": self.orders,
            "bytes": self.bytes,
            "median_ms": round(percentile(self.latency_ms, 50), 1) if self.latency_ms else None,
        }


def sink_state(sink: SinkMetrics, link: LinkReport | None) -> tuple[str, str]:
    """Return how a sink is doing, and what is wrong: its link's state where the sink works and the link does not."""
    if link is None or sink.state != "working" or link.state == "connected":
        return sink.state, sink.error
    return link.state, link.error
