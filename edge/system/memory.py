"""Keeps this process' memory, and with it pictures of people, out of the swap."""

from __future__ import annotations

import ctypes
import sys

_CURRENT, _FUTURE, _ON_FAULT = 1, 2, 4  # mlockall(2); the last: only what is in use, not all that is mapped


def lock_memory() -> bool:
    """Lock what is in use now or later into memory, on Linux and without a limit to that; returns whether it is.

    The unit's MemorySwapMax does the same only where the kernel counts memory, as Raspberry Pi's does not by default.
    """
    if sys.platform != "linux":
        return False
    import resource  # Windows has none

    # With a limit, what goes beyond it later would be refused, not swapped.
    if resource.getrlimit(resource.RLIMIT_MEMLOCK)[0] != resource.RLIM_INFINITY:
        return False
    return bool(ctypes.CDLL(None).mlockall(_CURRENT | _FUTURE | _ON_FAULT) == 0)
