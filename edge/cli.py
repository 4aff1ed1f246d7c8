"""`cuelens`: run the device's loop or its demo, with settings from a file and the command line, and look after it."""

from __future__ import annotations

import argparse
import json
import os
import sys
import threading
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge.arguments import add_commands
from edge.command import command
from edge.commands import dark, demo, pair, preview, read
from edge.control import Control
from edge.ending import ended_by_signals
from edge.errors import (
    CameraMissing,
    CheckFailed,
    CuelensError,
    NotRunning,
    SettingsInvalid,
    printable,
    printable_lines,
)
from edge.pause import KeptPause, pause_file
from edge.quiet import tame_opencv
from edge.settings import CameraSettings, CueSettings, Settings, check, with_sensitivity
from edge.settings_file import hide_secrets, load_settings, load_settings_safely
from edge.sinks import open_sink, open_sinks
from edge.sinks.places import check_places, one_at_each_place
from edge.sources import is_camera, open_source
from edge.status import SERVICE_SOCKET, StatusServer, ask, default_socket, describe_status, own_version, tell_status
from edge.systemd import is_service

if TYPE_CHECKING:
    from edge.doctor.machine import Line
    from edge.finders.net import NetFinder
    from edge.model import ExpressionModel
    from edge.types import Source
    from edge.verifier import FaceVerifier


@command
def main(parser: argparse.ArgumentParser, argv: list[str] | None = None) -> int:
    """Show which facial expression the person in front makes, and look after the device that does."""
    add_commands(parser)
    args = parser.parse_args(argv)
    return _COMMANDS[args.command](args)


def _run(args: argparse.Namespace) -> int:
    """Run the loop, or its demo, and say how it went."""
    settings, mistakes = _settings(args)
    control = Control(
        settings, args.saved or _saved_by_systemd(), KeptPause(pause_file(folder_of_run=_folder_of_recording(settings)))
    )
    _take_pause(control, go_on=args.go_on)
    for mistake in mistakes:
        _go_on(control, mistake, "using the other settings, and the defaults")
    try:
        control.load()
    except SettingsInvalid as error:
        _go_on(control, str(error), "ignoring what was saved")
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
        _say(f"cuelens: {control.pause_problem}")
    if control.paused and go_on:
        control.paused = False
    elif control.paused:
        _say(
            "cuelens: still paused since an earlier run; the camera stays closed until somebody resumes: "
            "with the button, on the page, or with cuelens run --go-on"
        )


def _run_and_keep(args: argparse.Namespace) -> int:
    """Run, and keep of a service why it ends in error, for its safe mode."""
    from edge.safe import forget_failure, keep_failure

    forget_failure()
    try:
        return _run(args)
    except Exception as error:
        keep_failure(error)
        raise


def _loop(args: argparse.Namespace, control: Control, stop: threading.Event, ends: ExitStack) -> int:
    """Run the loop with what the settings name, and leave to `ends` what is to be let go of after it."""
    from edge.button import open_button
    from edge.light import open_light
    from edge.memory import lock_memory
    from edge.runtime.run import run
    from edge.runtime.throttle import Throttle
    from edge.safe import keep_failure
    from edge.sources.missing import ClosedCamera

    settings = control.settings
    lock_memory()
    tame_opencv()
    model, verifier, proposer = _choose_models(args, control)
    if status := _open_status(args.status, control, model):
        ends.callback(status.close)
    if light := open_light(settings.pins):
        ends.callback(light.close)
    if button := open_button(settings.pins, control, _say):
        ends.callback(button.close)

    def open_again() -> Source:
        return open_source(settings.source, live=settings.pace == "live", light=light, camera=settings.camera)

    source: Source
    try:
        source = ClosedCamera() if control.paused and is_camera(settings.source) else open_again()
    except CameraMissing as error:
        if not is_service():
            raise
        from edge.sources.missing import MissingCamera

        source = MissingCamera(error)  # whoever wears it is told, and it may come yet
    try:
        sinks = open_sinks(settings.sinks, control)
    except BaseException:
        source.close()
        raise
    throttle = None
    if source.live:
        throttle = Throttle(settings.slow, _say)
        ends.callback(throttle.close)
        throttle.start()
    truth = None
    if args.command == "demo":
        from edge.sinks.truth import TruthSink
        from edge.sources.demo import DemoSource

        assert isinstance(source, DemoSource)
        truth = TruthSink(source, settings.cue)
        sinks.append(("truth", truth))
        if args.open and (problem := demo.open_page(sinks)):
            _say(f"cuelens: {problem}")
    outcome = run(
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
    )
    # Standard output belongs to the log where the log writes there.
    out = sys.stderr if "log" in settings.sinks or "log:" in settings.sinks else sys.stdout
    summary = "\n".join([outcome.metrics.summary(), *([truth.summary()] if truth is not None else [])])
    try:
        print(summary, file=out, flush=True)
    except OSError:  # nobody reads it there: the sinks alone say whether the run failed
        _say(summary)
    if truth is not None and not args.open:
        _say(f"cuelens: {demo.HINT}")
    if outcome.failures:
        keep_failure(outcome.failures[0])
    if outcome.failures and args.debug:
        raise outcome.failures[0]  # with the traceback of the thread it came from
    return outcome.failures[0].exit_code if outcome.failures else 0


def _choose_models(
    args: argparse.Namespace, control: Control
) -> tuple[ExpressionModel, Callable[[], FaceVerifier], Callable[[], NetFinder]]:
    """Open the settings' network, or the shipped one, and say how to open the verifier and the scanner.

    A service goes on with the next where one is refused, also with those of the releases before it.
    """
    from edge.finders.net import NetFinder
    from edge.model import ExpressionModel, former_folders, models_folder, open_first
    from edge.verifier import FaceVerifier

    settings = control.settings
    by_hand = bool(args.model or getattr(args, "config", None))
    folders = [models_folder(), *(() if by_hand else former_folders())]
    paths = [Path(settings.model)] if settings.model else []
    if not (paths and by_hand):
        paths += [folder / "emotion.tflite" for folder in folders]

    def refused(error: CuelensError) -> None:
        _go_on(control, str(error), "trying the next")

    def open_verifier() -> FaceVerifier:
        return open_first(FaceVerifier, [folder / "face.tflite" for folder in folders], refused)

    def open_proposer() -> NetFinder:
        return open_first(NetFinder, [folder / "scan.tflite" for folder in folders], refused)

    model = open_first(lambda path: ExpressionModel(path, settings.threads), paths, refused)
    return model, open_verifier, open_proposer


def _go_on(control: Control, problem: str, how: str) -> None:
    """Say what is wrong, and that it runs in spite of it."""
    control.problems.append(problem)
    _say(f"cuelens: {problem}; {how}")


def _say(line: str) -> None:
    print(printable(line), file=sys.stderr, flush=True)


def _open_status(path: Path | None, control: Control, model: ExpressionModel) -> StatusServer | None:
    """Answer at `path`, or where systemd wants it; there, what is in the way must not stop the cue."""
    where = path or default_socket()
    if where is None:
        return None
    version = own_version()
    try:
        return StatusServer(where, lambda: tell_status(control, model, version))
    except CuelensError as error:
        if path:
            raise
        print(f"cuelens: {error}; continuing without a status", file=sys.stderr)
        return None


def _check(args: argparse.Namespace) -> int:
    """Say what was found, line by line; raises CheckFailed where something must be done."""
    from edge.doctor import describe, examine
    from edge.doctor.machine import Machine

    lines = []
    for line in examine(Machine(status=_running()), args.config):
        lines.append(line)
        if not args.json:
            print("\n".join(map(printable, describe(line))), flush=True)
    todo = sum(line.state == "do" for line in lines)
    if args.json:
        print(json.dumps({"ok": not todo, "lines": [asdict(line) for line in lines]}))
    if todo:
        raise CheckFailed(f"{todo} of {len(lines)} lines say what to do")
    return 0


def _report(args: argparse.Namespace) -> int:
    """Write the report, whole or not at all."""
    from edge.doctor.machine import Machine
    from edge.doctor.report import make_report
    from edge.files import replace_file

    live = sys.stderr.isatty()

    def say(line: Line) -> None:
        if live:
            print(f"\r\033[Kchecked: {line.name}", end="", file=sys.stderr, flush=True)

    content = make_report(Machine(status=_running()), args.config, say)
    replace_file(args.out, content)
    print("\r\033[K" if live else "", end="", file=sys.stderr)
    out = printable(args.out)
    print(f"{out}: {len(content) / 1000:.0f} kB; read it before you send it: tar -xzOf {out}")
    return 0


def _running() -> dict[str, Any] | None:
    """Return the service's status, None where it does not answer us."""
    try:
        return ask(SERVICE_SOCKET)
    except NotRunning:
        return None


def _status(args: argparse.Namespace) -> int:
    """Ask the running one, and print what it says."""
    told = ask(args.socket)
    print(json.dumps(told) if args.json else printable_lines(describe_status(told)))
    return 0


def _show_failure(args: argparse.Namespace) -> int:
    """Show why the service stopped, with its settings as far as they are valid."""
    from edge.safe import read_failure, show_failure

    config = args.config or _settings_by_systemd()
    control = Control(load_settings_safely(config)[0] if config else Settings(), _saved_by_systemd())
    with suppress(SettingsInvalid):
        control.load()
    stop = threading.Event()
    with ended_by_signals(stop):
        show_failure(control, read_failure(), stop, args.seconds)
    return 0


def _find_faces(args: argparse.Namespace) -> int:
    """Print the faces of each picture, with their expressions if wanted; one that cannot be read costs only itself."""
    from edge.sources.pictures import load_picture
    from edge.stills import StillFinder, describe_still, failed_record, still_record, watching

    if args.read:
        return read.run(argparse.Namespace(**vars(args), out=None, model=None))
    tame_opencv()
    finder = StillFinder((load_settings(args.config) if args.config else Settings()).faces)
    code = 0
    for path in args.pictures:
        try:
            gray = load_picture(path, lambda line: _say(f"cuelens: {line}"))
            with watching(path) as progress:
                faces = finder.find(gray, progress)
        except CuelensError as error:
            if args.debug:
                raise
            print(f"cuelens: {error.line}", file=sys.stderr)
            if args.json:
                print(json.dumps(failed_record(path, error)), flush=True)
            code = code or error.exit_code
            continue
        print(
            json.dumps(still_record(path, faces)) if args.json else printable_lines(describe_still(path, faces)),
            flush=True,
        )
    return code


def _replay(args: argparse.Namespace) -> int:
    """Decide a log's cues again, and write, draw and count them."""
    from edge.files import replace_file
    from edge.replay import describe_summary, replay, summarise
    from edge.sinks.log import log_line

    settings = load_settings(args.settings).cue if args.settings else None
    if args.sensitivity:
        settings = with_sensitivity(settings or CueSettings(), args.sensitivity)
    decisions = list(replay(args.log, settings))
    if args.out:
        replace_file(args.out, b"".join(log_line(item.record) for item in decisions))
    if args.timeline:
        from edge.timeline import draw_timeline

        replace_file(args.timeline, draw_timeline(decisions, args.start, args.seconds).encode())
    summary = summarise(decisions)
    print(json.dumps(summary) if args.json else printable_lines(describe_summary(summary)))
    return 0


def _saved_by_systemd() -> Path | None:
    folder = os.environ.get("STATE_DIRECTORY")  # systemd.exec(5)
    return Path(folder) / "settings.toml" if folder else None


def _settings_by_systemd() -> Path | None:
    folder = os.environ.get("CONFIGURATION_DIRECTORY")
    path = Path(folder, "cuelens.toml") if folder else None
    return path if path and path.exists() else None  # a device whose settings were lost still shows cues


def _settings(args: argparse.Namespace) -> tuple[Settings, list[str]]:
    """Return the settings, and what was wrong with the service's file."""
    settings = load_settings(args.config) if getattr(args, "config", None) else Settings()
    mistakes: list[str] = []
    service_alone = args.command == "run" and not args.config and not args.sink
    if args.command == "run" and not args.config and (service := _settings_by_systemd()):
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


_COMMANDS = {
    "run": _run_and_keep,
    "demo": _run_and_keep,
    "faces": _find_faces,
    "read": read.run,
    "pair": pair.run,
    "preview": preview.run,
    "replay": _replay,
    "status": _status,
    "check": _check,
    "report": _report,
    "dark": dark.run,
    "safe": _show_failure,
}
