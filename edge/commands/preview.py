"""`cuelens preview`: what each pair of glasses shows, at its own size, as a picture of all cues."""

from __future__ import annotations

import argparse
from pathlib import Path

from edge.settings import Settings
from edge.settings_file import load_settings
from edge.sinks.table import MAKE_NAMES


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what `cuelens preview` takes."""
    parser.add_argument("make", choices=MAKE_NAMES, metavar="GLASSES", help=f"The make: {' or '.join(MAKE_NAMES)}.")
    parser.add_argument("--out", type=Path, metavar="PNG", help="File to write. The default is GLASSES.png.")
    parser.add_argument("--config", type=Path, help="Settings file (TOML), of which [look] is used.")


def run(args: argparse.Namespace) -> int:
    """Draw it; raises SettingsInvalid, SinkUnwritable or DiskFull."""
    import cv2

    from edge.files import replace_file
    from edge.sinks.glasses.makes import MAKES
    from edge.sinks.glasses.preview import draw_preview

    look = (load_settings(args.config) if args.config else Settings()).look
    make = MAKES[args.make]
    path = args.out or Path(f"{make.name}.png")
    _, content = cv2.imencode(".png", cv2.cvtColor(draw_preview(make, look), cv2.COLOR_RGB2BGR))
    replace_file(path, content.tobytes())
    print(f"{path}: what {make.title} show, {make.width} x {make.height} pixels each")
    return 0
