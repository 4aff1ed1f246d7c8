"""`cuelens`: run the device's loop or its demo, and look after the device; each command is a file of edge.commands."""

from __future__ import annotations

import argparse
from importlib import import_module

from edge.commands.arguments import add_commands
from edge.system.program import command


@command
def main(parser: argparse.ArgumentParser, argv: list[str] | None = None) -> int:
    """Show which facial expression the person in front makes, and look after the device that does."""
    add_commands(parser)
    args = parser.parse_args(argv)
    module = "run" if args.command == "demo" else args.command
    code: int = import_module(f"edge.commands.{module}").run(args)  # alone: a start counts its imports
    return code
