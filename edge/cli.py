"""`cuelens`: run the device's loop or its demo, and look after the device; each command is a file of edge.commands."""

from __future__ import annotations

import argparse
from importlib import import_module

from edge.backends import require_linux
from edge.commands.arguments import add_commands
from edge.system.program import command

# They examine or serve a Linux device; elsewhere they name what works there.
LINUX_ALONE = ("check", "dark", "pair", "report", "safe", "status")


@command
def main(parser: argparse.ArgumentParser, argv: list[str] | None = None) -> int:
    """Show which facial expression the person in front makes, and look after the device that does."""
    add_commands(parser)
    args = parser.parse_args(argv)
    if args.command in LINUX_ALONE:
        require_linux(f"cuelens {args.command}")
    module = "run" if args.command == "demo" else args.command
    code: int = import_module(f"edge.commands.{module}").run(args)  # alone: a start counts its imports
    return code
