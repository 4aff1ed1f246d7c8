"""How a program of ours fails: by the exit code of the kind, and the cause's identifier at the end of the line."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from subprocess import CompletedProcess
from typing import Any

from deploy.failure import CAUSES, KINDS, Failure
from edge import errors
from edge.errors import CuelensError

CODES = {cause: KINDS[kind] for cause, kind in CAUSES.items()} | {
    item.identify(): int(item.exit_code)
    for item in vars(errors).values()
    if inspect.isclass(item) and issubclass(item, CuelensError)
}


def cause_of(done: CompletedProcess[str]) -> str:
    """Return the cause at the end of the last line that has one; asserts that the exit code is its kind's."""
    causes = [name for name in re.findall(r" \[([a-z0-9-]+)\]\r?$", done.stderr, re.MULTILINE) if name in CODES]
    assert causes, (done.returncode, done.stdout, done.stderr)
    assert done.returncode == CODES[causes[-1]], done.stderr
    return causes[-1]


def ended_by(cause: type[CuelensError], code: object, errors: str) -> str:
    """Assert that a program ended by this failure, and return what it printed as errors.

    Causes of a kind share the exit code: the identifier says which of them it was.
    """
    assert code == cause.exit_code, errors
    assert [line for line in errors.splitlines() if line.endswith(f" [{cause.identify()}]")], errors
    return errors


def refusal_of(call: Callable[..., Any], *given: Any) -> str:
    """Return what a call is refused with, "" where it is not."""
    try:
        call(*given)
    except (CuelensError, Failure) as error:
        return str(error)
    return ""
