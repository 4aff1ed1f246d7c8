"""`cuelens report`: write a file that helps to find a fault, without personal data."""

from __future__ import annotations

import argparse
import sys

from edge.diagnostics.checks.machine import CheckLine, Machine
from edge.diagnostics.report import make_report
from edge.diagnostics.status import ask_service
from edge.errors import printable
from edge.files import replace_file


def run(args: argparse.Namespace) -> int:
    """Write the report, whole or not at all."""
    live = sys.stderr.isatty()

    def say(line: CheckLine) -> None:
        if live:
            print(f"\r\033[Kchecked: {line.name}", end="", file=sys.stderr, flush=True)

    content = make_report(Machine(status=ask_service()), args.config, say)
    replace_file(args.out, content)
    print("\r\033[K" if live else "", end="", file=sys.stderr)
    out = printable(args.out)
    print(f"{out}: {len(content) / 1000:.0f} kB; read it before you send it: tar -xzOf {out}")
    return 0
