"""The next step where something is not installed: one form for each way by which a device or a checkout gets it."""

from __future__ import annotations

from edge.errors import RuntimeMissing

AGAIN = "install cuelens again (in a checkout: ./deploy.sh demo)"
ADDED = "./deploy.sh sinks adds it; a release that is pushed has it"  # for `check`, which looks at a device


def from_system(*packages: str) -> str:
    """Return how packages of the system are installed."""
    return f"sudo apt install {' '.join(packages)}"


def from_extra(extra: str) -> str:
    """Return how the libraries of one of cuelens' extras are installed."""
    return f"install cuelens[{extra}], or in a checkout ./deploy.sh sinks"


def missing_library(sink: str, library: str) -> RuntimeMissing:
    """Return the error for a sink whose library is not installed."""
    return RuntimeMissing(f"the {sink} sink's {library} is not installed; {from_extra(sink)}")
