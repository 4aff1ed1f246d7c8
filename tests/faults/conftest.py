"""The fault table, printed at the end of a session."""

from __future__ import annotations

import pytest

from tests.faults.stage import RESULTS, describe


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if RESULTS:
        terminalreporter.section("faults")
        for line in describe(RESULTS):
            terminalreporter.line(line)
