"""`cuelens pair`: find glasses, bond with them, save on them what they need, and remember them as ours."""

from __future__ import annotations

import argparse
from pathlib import Path

from edge.backends import import_for
from edge.errors import SettingsInvalid, printable
from edge.settings import Settings
from edge.settings_file import load_settings
from edge.sinks.table import MAKE_NAMES
from edge.system.systemd import STATE_FOLDER

SECONDS = 10.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what `cuelens pair` takes."""
    parser.add_argument("make", nargs="?", choices=MAKE_NAMES, help="Make of the glasses. The default is any.")
    parser.add_argument("--name", default="", help="Name of the glasses, if several are in reach.")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="Seconds to search. The default is %(default)s.")
    parser.add_argument("--list", action="store_true", help="Only print which glasses are paired.")
    parser.add_argument("--forget", metavar="NAME", help="Only forget the glasses of this name or address.")
    parser.add_argument(
        "--state", type=Path, metavar="FOLDER", help="Folder to remember them in. The default is the service's."
    )
    parser.add_argument("--config", type=Path, help="Settings file (TOML), of which [look] is used.")


def run(args: argparse.Namespace) -> int:
    """Pair, list or forget; raises SettingsInvalid, SinkFailed, SinkUnwritable or RuntimeMissing."""
    from edge.sinks.glasses.known import NAME, load_glasses

    path = args.state / NAME if args.state else _place()
    if args.list:
        for known in load_glasses(path):
            print(printable(f"{known.name}  {known.address}  glasses:{known.make}"))
    elif args.forget:
        _forget(path, args.forget)
    else:
        _pair(path, args)
    return 0


def _place() -> Path:
    """Return the service's file where it is installed, else the user's."""
    from edge.sinks.glasses.known import NAME, glasses_file

    if STATE_FOLDER.is_symlink() or STATE_FOLDER.is_dir():
        return STATE_FOLDER / NAME
    path = glasses_file()
    if path is None:
        raise SettingsInvalid("there is no home to remember glasses in; name a folder with --state")
    return path


def _forget(path: Path, name: str) -> None:
    from edge.sinks.glasses.known import forget_glasses, load_glasses

    for known in load_glasses(path):
        if name in (known.name, known.address):
            forget_glasses(path, known.address)
            print(printable(f"forgot {known.name}; bluetoothctl remove {known.address} takes the bond away too"))
            return
    paired = ", ".join(known.name for known in load_glasses(path)) or "none"
    raise SettingsInvalid(f"{name!r} is not paired; paired are {paired}")


def _pair(path: Path, args: argparse.Namespace) -> None:
    from edge.sinks.glasses.known import remember_glasses

    if not 0 < args.seconds <= 600:
        raise SettingsInvalid(f"--seconds is {args.seconds}; valid are more than 0, up to 600")
    look = (load_settings(args.config) if args.config else Settings()).look
    visit = import_for("glasses", "edge.sinks.glasses.visit", "bleak")
    from edge.sinks.glasses.makes import MAKES

    makes = (MAKES[args.make],) if args.make else tuple(MAKES.values())
    print(f"looking for glasses for {args.seconds:g} s", flush=True)
    found = visit.pair(makes, args.name, args.seconds, look)
    remember_glasses(path, found.glasses)
    battery = "" if found.battery is None else f", battery {found.battery} %"
    print(printable(f"paired {found.glasses.name} ({found.glasses.address}){battery}"))
    print(f'to show on them: sinks = ["glasses:{found.glasses.make}"] in the settings, or --sink')
