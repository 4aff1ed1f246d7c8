"""`cuelens needs`: what the settings' source and sinks need of the service, for the installer."""

from __future__ import annotations

import argparse
import json
import os
from contextlib import suppress
from typing import Any

from edge import sources
from edge.errors import SinkUnknown, SourceUnknown
from edge.needs import Needs
from edge.settings import Settings
from edge.settings_file import load_settings_safely
from edge.sinks.table import needs_of
from edge.system.systemd import service_settings_file


def run(args: argparse.Namespace) -> int:
    """Print what the settings need, as far as they are valid: the service starts with that."""
    config = args.config or service_settings_file(os.environ)
    needed = sum_up(load_settings_safely(config)[0] if config else Settings())
    if args.json:
        print(json.dumps(needed))
    else:
        print(f"network: {'yes' if needed['network'] else 'no'}")
        print(*(f"{name}: {', '.join(needed[name]) or 'none'}" for name in ("groups", "devices")), sep="\n")
    return 0


def sum_up(settings: Settings) -> dict[str, Any]:
    """Return whether a network is needed, and which groups and devices, in the order in which they are stated."""
    stated: list[Needs] = []
    with suppress(SourceUnknown):  # the run says so
        stated.append(sources.needs_of(settings.source, settings))
    for spec in settings.sinks:
        with suppress(SinkUnknown):
            stated.append(needs_of(spec, settings))
    return {
        "network": any(needs.network for needs in stated),
        "groups": [*dict.fromkeys(group for needs in stated for group in needs.groups)],
        "devices": [*dict.fromkeys(device for needs in stated for device in needs.devices)],
    }
