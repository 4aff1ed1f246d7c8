"""A name for this device that stays the same, that no other has, and that says nothing about it."""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import socket
import uuid
from pathlib import Path

from edge.hardware.board import serial_number

# A card that was copied has the same machine-id in two devices; the board's number differs.
SOURCES = ("/etc/machine-id", "/var/lib/dbus/machine-id")


def device_id(purpose: str) -> str:
    """Return 32 hexadecimal digits: the same after a restart, others on another device and for another purpose.

    machine-id(5) asks for such a hash, as the id itself is to be kept to the machine.
    """
    known = []
    for source in SOURCES:
        with contextlib.suppress(OSError):
            known.append(Path(source).read_bytes().strip(b"\0\n "))
    known.append((serial_number() or "").encode())
    secret = b"\n".join(part for part in known if part) or f"{socket.gethostname()} {uuid.getnode():x}".encode()
    return hmac.new(secret, f"cuelens {purpose}".encode(), hashlib.sha256).hexdigest()[:32]
