"""How a program of ours fails: by the exit code of the kind, and the cause's identifier at the end of the line."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from deploy.failure import Failure
from edge.errors import CuelensError


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
