"""`cuelens dark`: what a killed run left on is put out: the camera's light, a motor, glasses' picture."""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from edge.backends import import_for
from edge.errors import CuelensError
from edge.settings import Settings
from edge.settings_file import load_settings
from edge.system.messages import failed, say
from edge.system.systemd import service_settings_file

SECONDS = 4.0  # for all: the service manager gives what comes after a run five


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what `cuelens dark` takes."""
    parser.add_argument("--config", type=Path, help="Settings file (TOML), of which [pins] and sinks are used.")


def run(args: argparse.Namespace) -> int:
    """Put each of them out, whatever becomes of the others; raises what the first that stays lit raised.

    A Raspberry Pi's pin may keep the level that a process which was killed gave it. The service does this at each end,
    and keeps then why that came, if it was not meant to.
    """
    from edge.diagnostics.safe_mode import keep_result

    end = time.monotonic() + SECONDS
    keep_result()
    config = args.config or service_settings_file(os.environ)
    settings = load_settings(config) if config else Settings()
    steps: list[Callable[[], None]] = [partial(_close_light, settings), partial(_stop_motor, settings)]
    if os.environ.get("SERVICE_RESULT") != "success":  # else the run made them dark itself
        glasses = [spec.partition(":")[2] for spec in settings.sinks if spec.startswith("glasses:")]
        steps += [partial(_blank, spec, end, len(glasses) - number) for number, spec in enumerate(glasses)]
    failures: list[CuelensError] = []
    for step in steps:
        try:
            step()
        except CuelensError as error:
            failures.append(error)
    for failure in failures[1:]:
        say(failed(failure, program="cuelens"))
    if failures:
        raise failures[0]
    return 0


def _close_light(settings: Settings) -> None:
    from edge.hardware.light import open_light

    light = open_light(settings.pins)
    if light is not None:
        light.close()


def _stop_motor(settings: Settings) -> None:
    from edge.hardware.pins import open_chip

    if settings.haptic.driver == "pin" and settings.haptic.pin >= 0 and "haptic" in settings.sinks:
        open_chip(settings.pins.chip).open_output(settings.haptic.pin).close()  # which is low then


def _blank(argument: str, end: float, left: int) -> None:
    """Make a pair dark that keeps its picture, in its share of the time until `end`: `left` pairs are to come."""
    from edge.sinks.glasses.sink import choose_make, choose_pair

    make, name = choose_make(argument)
    if make.blanks_itself:
        return
    visit = import_for("glasses", "edge.sinks.glasses.visit", "bleak")
    visit.blank(make, choose_pair(make, name), (end - time.monotonic()) / left)
