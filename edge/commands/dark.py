"""`cuelens dark`: what a killed run left on is put out: the camera's light, a motor, glasses' picture."""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from edge.backends import import_for
from edge.errors import CuelensError, SettingsInvalid
from edge.settings import PinSettings, Settings
from edge.settings_file import SettingsFile, read_toml
from edge.sinks.table import needs_of
from edge.system.messages import failed, say
from edge.system.systemd import service_settings_file

SECONDS = 4.0  # for all: the service manager gives what comes after a run five


@dataclass(frozen=True, slots=True)
class _Light:
    """What the settings file states of the light, whatever else it says."""

    pins: PinSettings = field(default_factory=PinSettings)


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
    failures: list[CuelensError] = []
    for step in _steps(config, end):
        try:
            step()
        except CuelensError as error:
            failures.append(error)
    for failure in failures[1:]:
        say(failed(failure, program="cuelens"))
    if failures:
        raise failures[0]
    return 0


def _steps(config: Path | None, end: float) -> Iterator[Callable[[], object]]:
    """Yield the steps, the camera's light before what sinks have set is read: that imports them, which takes time."""
    mistakes: list[str] = []
    file = _read_file(config, mistakes) if config else None
    yield partial(_close_light, file.build(_Light, []).pins if file else PinSettings())
    settings = file.build(Settings, mistakes) if file else Settings()
    yield partial(_lower_pins, settings)
    if os.environ.get("SERVICE_RESULT") != "success":  # else the run made them dark itself
        glasses = [spec.partition(":")[2] for spec in settings.sinks if spec.startswith("glasses:")]
        for number, spec in enumerate(glasses):
            yield partial(_blank, spec, end, len(glasses) - number)
    if mistakes:
        yield partial(_refuse, mistakes[0])  # as every other command does


def _read_file(config: Path, mistakes: list[str]) -> SettingsFile | None:
    try:
        return read_toml(config, mistakes)
    except SettingsInvalid as error:  # not even TOML, which the last step names
        mistakes.append(str(error))
        return None


def _refuse(mistake: str) -> None:
    raise SettingsInvalid(mistake)


def _close_light(pins: PinSettings) -> None:
    from edge.hardware.light import open_light

    light = open_light(pins)
    if light is not None:
        light.close()


def _lower_pins(settings: Settings) -> None:
    """Make the lines low that sinks drive; one whose own settings are the defaults names no line."""
    from edge.hardware.pins import open_chip

    for spec in settings.sinks:
        if spec.partition(":")[0] in settings.own:
            for pin in needs_of(spec, settings).pins:
                open_chip(settings.pins.chip).open_output(pin).close()  # which is low then


def _blank(argument: str, end: float, left: int) -> None:
    """Make a pair dark that keeps its picture, in its share of the time until `end`: `left` pairs are to come."""
    from edge.sinks.glasses.sink import choose_make, choose_pair

    make, name = choose_make(argument)
    if make.blanks_itself:
        return
    visit = import_for("glasses", "edge.sinks.glasses.visit", "bleak")
    visit.blank(make, choose_pair(make, name), max(0.0, end - time.monotonic()) / left)
