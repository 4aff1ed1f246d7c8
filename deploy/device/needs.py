"""What the settings need of the service beyond what its unit allows."""

from __future__ import annotations

import tomllib
from pathlib import Path


def needs(settings: Path) -> set[str]:
    """Those of "network", "audio" and "bluetooth" that a settings file needs; none where it cannot be read.

    The service itself names what is wrong with such a file.
    """
    try:
        content = settings.read_bytes()
        wide = (
            content[:2] in (b"\xff\xfe", b"\xfe\xff") or b"\0" in content[:2]
        )  # as the service reads it: edge/system/encodings.py
        text = content.decode("utf-16" if wide else "utf-8-sig", "replace")
        values = tomllib.loads(text.replace("\0", ""))
    except (OSError, ValueError):
        return set()
    named = values.get("sinks")
    sinks = {str(sink).partition(":")[0] for sink in named} if isinstance(named, list) else set()
    found = {
        "network": bool(sinks & {"mqtt", "web"}) or "://" in str(values.get("source", "")),
        "audio": "audio" in sinks,
        "bluetooth": "glasses" in sinks,  # which are reached through bluetoothd, over the D-Bus
    }
    return {name for name, needed in found.items() if needed}
