"""`cuelens safe`: show on the displays that the service stopped, and why."""

from __future__ import annotations

import argparse
import os
import threading
from contextlib import suppress

from edge.diagnostics.safe_mode import read_failure, show_failure
from edge.errors import SettingsInvalid
from edge.runtime.control import Control
from edge.settings import Settings
from edge.settings_file import load_settings_safely
from edge.system.signals import ended_by_signals
from edge.system.systemd import saved_settings_file, service_settings_file


def run(args: argparse.Namespace) -> int:
    """Show why the service stopped, with its settings as far as they are valid."""
    config = args.config or service_settings_file(os.environ)
    control = Control(load_settings_safely(config)[0] if config else Settings(), saved_settings_file(os.environ))
    with suppress(SettingsInvalid):
        control.load()
    stop = threading.Event()
    with ended_by_signals(stop):
        show_failure(control, read_failure(), stop, args.seconds)
    return 0
