"""A wrong command line of each of deploy's programs: one line, its cause, and the exit code of that."""

from __future__ import annotations

import sys

import pytest

from deploy.tools import run
from tests.support.failures import cause_of

pytestmark = pytest.mark.once

PROGRAMS = ("bundle", "flash", "flash.disk", "release", "site")


@pytest.mark.parametrize("program", PROGRAMS)
def test_an_unknown_option_is_refused_with_its_cause(program: str) -> None:
    done = run(sys.executable, "-m", f"deploy.{program}", "--gl\u00fccklich\x1b[2J")
    assert cause_of(done) == "command-line"
    assert done.stderr.startswith("usage: ")
    assert "\x1b" not in done.stderr
    assert done.stdout == ""
