"""`./deploy.sh test`: its lanes leave no test out; what runs in one environment alone cannot differ in the other."""

from __future__ import annotations

import ast
import itertools
import re
from pathlib import Path

from tests.conftest import ONCE

DIFFERENT = {"cv2", "numpy", "tflite_runtime", "ai_edge_litert"}


def test_every_test_runs_in_some_lane_and_what_both_environments_may_change_in_both(repository: Path) -> None:
    script = (repository / "deploy" / "test.sh").read_text()
    lanes = re.findall(r'(\S+)/pytest\b.*? -m "([^"]+)"', script)
    device = [expression for where, expression in lanes if where == "$bin"]
    host = [expression for where, expression in lanes if where == ".venv-host/bin"]
    assert (len(device), len(host)) == (2, 2)
    for present in itertools.product((False, True), repeat=4):
        marks = dict(zip(("host", "root", "slow", "once"), present, strict=True))
        if marks["host"] and (marks["root"] or marks["once"]):
            continue  # there are none
        in_device, in_host = (sum(eval(lane, {}, marks) for lane in lanes) for lanes in (device, host))
        assert in_device + in_host == 1 or (in_device == in_host == 1), marks
        if not any(present):
            assert in_device == in_host == 1


def test_what_runs_once_imports_nothing_that_the_environments_have_in_different_versions() -> None:
    for path in ONCE.glob("test_*.py"):
        if "pytest.mark.root,\n" in path.read_text():
            continue  # machines of their own
        names = {
            alias.name.partition(".")[0]
            for node in ast.walk(ast.parse(path.read_text()))
            if isinstance(node, ast.Import)
            for alias in node.names
        }
        assert not names & DIFFERENT, path
