"""`cuelens check`: examine this device, and print what to do."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict

from edge.diagnostics.checks.examine import describe, examine
from edge.diagnostics.checks.machine import Machine
from edge.diagnostics.status import ask_service
from edge.errors import CheckFailed, printable


def run(args: argparse.Namespace) -> int:
    """Print what was found, line by line; raises CheckFailed where something must be done.

    With --json the failure is in the object with the lines.
    """
    lines = []
    for line in examine(Machine(status=ask_service()), args.config):
        lines.append(line)
        if not args.json:
            print("\n".join(map(printable, describe(line))), flush=True)
    todo = sum(line.state == "do" for line in lines)
    failure = CheckFailed(f"{todo} of {len(lines)} lines say what to do") if todo else None
    if args.json:
        values = failure.as_values() if failure else {}
        print(json.dumps({"ok": failure is None, **values, "lines": [asdict(line) for line in lines]}), flush=True)
    if failure:
        failure.in_json = args.json
        raise failure
    return 0
