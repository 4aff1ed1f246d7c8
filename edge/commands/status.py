"""`cuelens status`: print how the running Cuelens is doing."""

from __future__ import annotations

import argparse
import json

from edge.diagnostics.status import ask, describe_status
from edge.errors import printable_lines


def run(args: argparse.Namespace) -> int:
    """Ask the running one, and print its answer."""
    status = ask(args.socket)
    print(json.dumps(status) if args.json else printable_lines(describe_status(status)))
    return 0
