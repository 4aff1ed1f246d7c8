"""`cuelens dark`: what a killed run left on is put out: the camera's light, a motor, glasses' picture."""

from __future__ import annotations

import argparse
import os
from importlib import import_module
from pathlib import Path

from edge.errors import RuntimeMissing
from edge.settings import Settings
from edge.settings_file import load_settings
from edge.systemd import service_settings_file

SECONDS = 4.0  # for glasses: the service manager gives what comes after a run five


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what `cuelens dark` takes."""
    parser.add_argument("--config", type=Path, help="Settings file (TOML), of which [pins] and sinks are used.")


def run(args: argparse.Namespace) -> int:
    """Put the light out; a Raspberry Pi's pin may keep the level that a process which was killed gave it.

    The service does it at each end, and keeps then why that came, if it was not meant to. Raises SinkFailed where
    glasses that keep their picture cannot be reached.
    """
    from edge.light import open_light
    from edge.pins import open_chip
    from edge.safe import keep_result

    keep_result()
    config = args.config or service_settings_file(os.environ)
    settings = load_settings(config) if config else Settings()
    light = open_light(settings.pins)
    if light is not None:
        light.close()
    if settings.haptic.driver == "pin" and settings.haptic.pin >= 0 and "haptic" in settings.sinks:
        open_chip(settings.pins.chip).open_output(settings.haptic.pin).close()  # which is low then
    if os.environ.get("SERVICE_RESULT") != "success":  # else the run made them dark itself
        for spec in settings.sinks:
            if spec.startswith("glasses:"):
                _blank(spec.partition(":")[2])
    return 0


def _blank(argument: str) -> None:
    from edge.sinks.glasses.sink import choose_make, paired

    make, name = choose_make(argument)
    if make.blanks_itself:
        return
    try:
        visit = import_module("edge.sinks.glasses.visit")
        radio = import_module("edge.sinks.glasses.radio")
    except ImportError as error:
        raise RuntimeMissing("the glasses sink's bleak is not installed; ./deploy.sh sinks adds it") from error
    known = None if name else paired(make.name)
    visit.blank(make, radio.Wanted(known.address, known.name) if known else radio.Wanted(name=name), SECONDS)
