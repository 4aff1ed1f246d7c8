"""`cuelens run` and `cuelens demo`: the device's loop, with settings from a file and the command line."""

from __future__ import annotations

import argparse
import os
import sys
import threading
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from edge.commands import demo
from edge.diagnostics.status import StatusServer, default_socket, gather_status, own_version
from edge.errors import CameraMissing, CuelensError, SettingsInvalid
from edge.runtime.control import Control
from edge.runtime.pause import KeptPause, pause_file
from edge.settings import CameraSettings, Settings, check
from edge.settings_file import hide_secrets, load_settings, load_settings_safely
from edge.sinks.opening import open_sink, open_sinks
from edge.sinks.places import STREAMS, check_places, one_at_each_place
from edge.sinks.table import needs_of
from edge.sources import is_camera, open_source
from edge.sources.missing import ClosedCamera, MissingCamera
from edge.system.messages import Warned, failed, say
from edge.system.quiet import tame_opencv
from edge.system.signals import ended_by_signals
from edge.system.systemd import is_service, saved_settings_file, service_settings_file

if TYPE_CHECKING:
    from edge.hardware.light import Light
    from edge.runtime.run import Outcome
    from edge.runtime.throttle import Throttle
    from edge.sinks.truth import TruthSink
    from edge.types import Sink, Source
    from edge.vision.finders.net import NetFinder
    from edge.vision.model import ExpressionModel
    from edge.vision.verifier import FaceVerifier


def run(args: argparse.Namespace) -> int:
    """Run, and keep of a service why it ends in error, for its safe mode."""
    from edge.diagnostics.safe_mode import forget_failure, keep_failure

    forget_failure()
    try:
        return _run(args)
    except Exception as error:
        keep_failure(error)
        raise


def _run(args: argparse.Namespace) -> int:
    """Run the loop, or its demo, and say how it went."""
    settings, mistakes = _settings(args)
    control = Control(
        settings,
        args.saved or saved_settings_file(os.environ),
        KeptPause(pause_file(folder_of_run=_folder_of_recording(settings))),
    )
    _take_pause(control, go_on=args.go_on)
    for mistake in mistakes:
        _go_on(control, SettingsInvalid(mistake), "using the other settings, and the defaults")
    try:
        control.load()
    except SettingsInvalid as error:
        _go_on(control, error, "ignoring what was saved")
    stop = threading.Event()
    # Signals first: what ends us after a camera was opened puts its light out.
    with ended_by_signals(stop), ExitStack() as ends:
        return _loop(args, control, stop, ends)


def _folder_of_recording(settings: Settings) -> Path | None:
    """Return the folder that a recording's run is in; None for a camera's, whose pause holds everywhere."""
    return None if is_camera(settings.source) else Path().absolute()


def _take_pause(control: Control, *, go_on: bool) -> None:
    """Say that an earlier run's pause holds, or end it."""
    if control.paused and control.pause_problem:
        say(Warned(f"cuelens: {control.pause_problem}"))
    if control.paused and go_on:
        control.paused = False
    elif control.paused:
        say(
            "cuelens: still paused since an earlier run; the camera stays closed until somebody resumes: "
            "with the button, on the page, or with cuelens run --go-on"
        )


def _loop(args: argparse.Namespace, control: Control, stop: threading.Event, ends: ExitStack) -> int:
    """Run the loop with what the settings name, and leave to `ends` what is to be let go of after it."""
    from edge.runtime.run import run as run_loop
    from edge.system.memory import lock_memory

    settings = control.settings
    lock_memory()
    tame_opencv()
    model, verifier, proposer = _choose_models(args, control)
    if status := _open_status(args.status, control, model):
        ends.callback(status.close)
    light = _open_pins(control, ends)

    def open_again() -> Source:
        return open_source(settings.source, live=settings.pace == "live", light=light, camera=settings.camera)

    closed = control.paused and is_camera(settings.source)  # asked once: the button may end the pause any time
    with ExitStack() as opened:  # and closed where the loop cannot begin, which closes them after that
        source = ClosedCamera() if closed else _open_first(open_again)
        opened.callback(source.close)
        sinks = open_sinks(settings.sinks, control)
        for _, sink in sinks:
            opened.callback(sink.close)
        throttle = _start_throttle(settings, ends) if source.live else None
        truth = _watch_truth(args, source, settings, sinks) if args.command == "demo" else None
        opened.pop_all()
    outcome = run_loop(
        control,
        source,
        model,
        sinks,
        stop,
        args.seconds,
        reopen=lambda spec: open_sink(spec, control),
        resume=open_again if is_camera(settings.source) else None,
        throttle=throttle,
        verifier=verifier,
        proposer=proposer,
        closed=closed,
    )
    return _conclude(args, settings, outcome, truth)


def _open_pins(control: Control, ends: ExitStack) -> Light | None:
    """Open the light and the button that the settings name, and leave both to `ends`; without, neither is imported."""
    pins, light = control.settings.pins, None
    if max(pins.light, pins.light_sense) >= 0:
        from edge.hardware.light import open_light

        if light := open_light(pins):
            ends.callback(light.close)
    if pins.pause >= 0:
        from edge.hardware.button import open_button

        if button := open_button(pins, control, say):
            ends.callback(button.close)
    return light


def _open_first(open_source: Callable[[], Source]) -> Source:
    """Open the source; return a stand-in for a camera that a service waits for."""
    try:
        return open_source()
    except CameraMissing as error:
        if not is_service():
            raise
        return MissingCamera(error)  # it names the camera's fault on the sinks, and the camera may come yet


def _start_throttle(settings: Settings, ends: ExitStack) -> Throttle:
    from edge.runtime.throttle import Throttle

    throttle = Throttle(settings.slow, say)
    ends.callback(throttle.close)
    throttle.start()
    return throttle


def _watch_truth(
    args: argparse.Namespace, source: Source, settings: Settings, sinks: list[tuple[str, Sink]]
) -> TruthSink:
    """Add to the demo's sinks the one that counts how often the cue is true, and open the page if wanted."""
    from edge.sinks.truth import TruthSink
    from edge.sources.demo import DemoSource

    assert isinstance(source, DemoSource)
    truth = TruthSink(source, settings.cue)
    sinks.append(("truth", truth))
    if args.open and (problem := demo.open_page(sinks)):
        say(Warned(f"cuelens: {problem}"))
    return truth


def _conclude(args: argparse.Namespace, settings: Settings, outcome: Outcome, truth: TruthSink | None) -> int:
    """Print how the run went, and return its exit code."""
    from edge.diagnostics.safe_mode import keep_failure

    # Standard output belongs to the sink that writes a file there.
    out = sys.stderr if any(needs_of(spec, settings).file in STREAMS for spec in settings.sinks) else sys.stdout
    summary = "\n".join([outcome.metrics.summary(), *([truth.summary()] if truth is not None else [])])
    try:
        print(summary, file=out, flush=True)
    except OSError:  # nobody reads it there: the sinks alone say whether the run failed
        say(summary)
    if truth is not None and not args.open:
        say(f"cuelens: {demo.HINT}")
    if outcome.failures:
        keep_failure(outcome.failures[0])
    if outcome.failures and args.debug:
        raise outcome.failures[0]  # with the traceback of the thread it came from
    return outcome.failures[0].exit_code if outcome.failures else 0


def _choose_models(
    args: argparse.Namespace, control: Control
) -> tuple[ExpressionModel, Callable[[], FaceVerifier], Callable[[], NetFinder]]:
    """Open the settings' network, or the shipped one, and say how to open the verifier and the scanner.

    A service takes the next where one is refused, also those of the releases before it.
    """
    from edge.vision.finders.net import NetFinder
    from edge.vision.model import ExpressionModel, former_folders, open_first
    from edge.vision.tflite import models_folder
    from edge.vision.verifier import FaceVerifier

    settings = control.settings
    by_hand = bool(args.model or getattr(args, "config", None))
    folders = [models_folder(), *(() if by_hand else former_folders())]
    paths = [Path(settings.model)] if settings.model else []
    if not (paths and by_hand):
        paths += [folder / "emotion.tflite" for folder in folders]

    def refused(error: CuelensError) -> None:
        _go_on(control, error, "trying the next")

    def open_verifier() -> FaceVerifier:
        return open_first(FaceVerifier, [folder / "face.tflite" for folder in folders], refused)

    def open_proposer() -> NetFinder:
        return open_first(NetFinder, [folder / "scan.tflite" for folder in folders], refused)

    model = open_first(lambda path: ExpressionModel(path, settings.threads), paths, refused)
    return model, open_verifier, open_proposer


def _go_on(control: Control, problem: CuelensError, how: str) -> None:
    """Say what is wrong, and how it runs in spite of it."""
    control.keep_problem(str(problem))
    say(failed(problem, how, "cuelens"))


def _open_status(path: Path | None, control: Control, model: ExpressionModel) -> StatusServer | None:
    """Answer at `path`, or where systemd wants it; there, what is in the way must not stop the cue."""
    where = path or default_socket()
    if where is None:
        return None
    version = own_version()
    try:
        return StatusServer(where, lambda: gather_status(control, model, version))
    except CuelensError as error:
        if path:
            raise
        say(failed(error, "continuing without a status", "cuelens"))
        return None


def _settings(args: argparse.Namespace) -> tuple[Settings, list[str]]:
    """Return the settings, and what was wrong with the service's file."""
    settings = load_settings(args.config) if getattr(args, "config", None) else Settings()
    mistakes: list[str] = []
    service_alone = args.command == "run" and not args.config and not args.sink
    if args.command == "run" and not args.config and (service := service_settings_file(os.environ)):
        settings, mistakes = load_settings_safely(service)
    if args.command == "demo":
        settings = replace(settings, source=f"demo:{args.seed}")
        if args.seconds is None:
            args.seconds = demo.OPEN_SECONDS if args.open else demo.SECONDS
    given = {
        "source": getattr(args, "source", None),
        "sinks": tuple(args.sink) if args.sink else None,
        "pace": args.pace,
        "model": args.model,
        "threads": args.threads,
    }
    settings = replace(settings, **{name: value for name, value in given.items() if value is not None})
    if args.command == "demo" and args.open:
        settings = demo.with_page(settings)
    hide_secrets(settings)
    if service_alone:  # whose sinks nobody is there to correct
        sinks, twice = one_at_each_place(settings)
        settings, mistakes = replace(settings, sinks=sinks), mistakes + twice
    else:
        check_places(settings)
    if (rotate_deg := getattr(args, "rotate", None)) is not None:
        settings = replace(settings, camera=replace(settings.camera, rotate_deg=rotate_deg))
    if getattr(args, "mirror", False):
        settings = replace(settings, camera=replace(settings.camera, mirror=True))
    if complaint := check(CameraSettings, "rotate_deg", settings.camera.rotate_deg):
        raise SettingsInvalid(f"--rotate is {settings.camera.rotate_deg}; {complaint}")
    complaint = check(Settings, "threads", settings.threads)
    if complaint:
        raise SettingsInvalid(f"--threads is {settings.threads}; {complaint}")
    if args.seconds is not None and not args.seconds > 0:
        raise SettingsInvalid(f"--seconds is {args.seconds}; it must be more than 0")
    return settings, mistakes
