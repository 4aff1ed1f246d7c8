"""The service manager's notifications, sd_notify(3): ready, alive, stopping."""

from __future__ import annotations

import contextlib
import os
import socket


def is_service() -> bool:
    """Return whether a service manager started this process and waits to hear of it."""
    return bool(os.environ.get("NOTIFY_SOCKET"))


def notify(state: str) -> bool:
    """Tell systemd `state`; returns whether a service manager took it."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return False
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel:
        channel.setblocking(False)
        # A manager that cannot listen just now must not stop the cue; its watchdog decides.
        with contextlib.suppress(OSError):
            channel.sendto(state.encode(), "\0" + address[1:] if address.startswith("@") else address)
            return True
    return False
