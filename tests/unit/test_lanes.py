"""`./deploy.sh test`: its lanes leave no test out; what runs in one environment alone cannot differ in the other."""

from __future__ import annotations

import ast
import itertools
import re
from collections.abc import Iterator
from pathlib import Path

from tests.conftest import ONCE
from tests.support.claims import find_empty_tests

DIFFERENT = {"cv2", "numpy", "tflite_runtime", "ai_edge_litert"}


def lanes_of(script: str, quick: str) -> tuple[list[str], list[str]]:
    """Return the marks of the lanes of the device's and the host's environment."""
    lanes = re.findall(r'(\S+)/pytest\b.*? -m "([^"]+)"', script.replace("$quick", quick))
    device = [expression for where, expression in lanes if where == "$bin"]
    host = [expression for where, expression in lanes if where == ".venv-host/bin"]
    assert (len(device), len(host)) == (2, 3)
    return device, host


def every_marks() -> Iterator[dict[str, bool]]:
    for present in itertools.product((False, True), repeat=4):
        marks = dict(zip(("host", "root", "slow", "once"), present, strict=True))
        if not (marks["host"] and (marks["root"] or marks["once"])):  # there are none
            yield marks


def test_every_test_runs_in_some_lane_and_what_both_environments_may_change_in_both(repository: Path) -> None:
    lanes = lanes_of((repository / "deploy" / "test.sh").read_text(), quick="")
    for marks in every_marks():
        in_device, in_host = (sum(eval(lane, {}, marks) for lane in some) for some in lanes)
        assert in_device + in_host == 1 or (in_device == in_host == 1), marks
        if not any(marks.values()):
            assert in_device == in_host == 1


def test_without_all_nothing_is_left_out_that_is_quick_and_needs_neither_root_nor_keras(repository: Path) -> None:
    script = (repository / "deploy" / "test.sh").read_text()
    (quick,) = re.findall(r'^quick="( and .*)"$', script, flags=re.MULTILINE)
    (device, *_), (host, *_) = lanes_of(script, quick)  # the first of each runs without --all
    for marks in every_marks():
        expected = not (marks["host"] or marks["root"] or marks["slow"])
        assert bool(eval(device, {}, marks)) == expected
        assert bool(eval(host, {}, marks)) == (expected and not marks["once"])


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


def test_no_test_imports_another_one(repository: Path) -> None:
    """What tests share is in tests/support, or in a module of their room that is no test."""
    for path in (repository / "tests").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("tests."):
                names = [node.module or "", *(alias.name for alias in node.names)]
                assert not any(part.startswith("test_") for part in ".".join(names).split(".")), path


def test_every_test_can_fail(repository: Path) -> None:
    """One that asserts nothing, and expects no error, passes whatever the product does."""
    assert list(find_empty_tests(repository)) == []


def test_a_test_that_asserts_nothing_is_found(tmp_path: Path) -> None:
    (tmp_path / "tests" / "support").mkdir(parents=True)
    (tmp_path / "tests" / "support" / "holding.py").write_text("def hold(x):\n    assert x\n\ndef run(x):\n    x()\n")
    (tmp_path / "tests" / "conftest.py").write_text("def held():\n    yield\n    assert ended()\n")
    bodies = {
        "nothing": "run(print)",
        "prints": "print(1)",
        "asserts": "assert 1",
        "expects": "with pytest.raises(OSError):\n        run(fail)",
        "asks": "hold(1)",
        "passes_on": "run(hold)",
    }
    tests = "".join(f"def test_it_{name}():\n    {body}\n\n" for name, body in bodies.items())
    text = f"from tests.support.holding import hold, run\n\n{tests}def test_it_is_held(held):\n    print(2)\n"
    (tmp_path / "tests" / "test_some.py").write_text(text)
    assert [found.split(": ")[1] for found in find_empty_tests(tmp_path)] == ["test_it_nothing", "test_it_prints"]
