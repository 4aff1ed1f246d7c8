"""What a service gets from its manager: its folders, and the notifications of sd_notify(3): ready, alive, stopping."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Mapping
from pathlib import Path

STATE_FOLDER = Path("/var/lib/cuelens")  # the unit's StateDirectory: the one folder where the service may write


def is_service() -> bool:
    """Return whether a service manager started this process and waits to hear of it."""
    return bool(os.environ.get("NOTIFY_SOCKET"))


def service_settings_file(environment: Mapping[str, str]) -> Path | None:
    """Return the service's settings file; None outside a service, and where the file was lost: the cue goes on."""
    folder = environment.get("CONFIGURATION_DIRECTORY", "").partition(":")[0]  # systemd.exec(5)
    path = Path(folder, "cuelens.toml") if folder else None
    return path if path and path.exists() else None


def state_folder(environment: Mapping[str, str]) -> Path | None:
    """Return the folder where the service keeps what outlasts a run; None outside a service."""
    folder = environment.get("STATE_DIRECTORY", "").partition(":")[0]  # systemd.exec(5)
    return Path(folder) if folder else None


def saved_settings_file(environment: Mapping[str, str]) -> Path | None:
    """Return the service's file for settings that are changed during a run; None outside a service."""
    folder = state_folder(environment)
    return folder / "settings.toml" if folder else None


def notify(state: str) -> bool:
    """Send `state` to systemd; returns whether a service manager took it."""
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
