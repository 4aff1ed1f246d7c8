"""Hostile bytes at every parser of ours: only the documented errors come out. Longer: python -m tests.fuzz MINUTES."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fuzz.mutate import mutated
from tests.fuzz.targets import TARGETS, Target, one, refusals

pytestmark = pytest.mark.slow  # all of it together

EXAMPLES = 150
WITH_SINKS = pytest.mark.skipif(
    not find_spec("starlette"), reason="starlette is not installed; ./deploy.sh sinks adds it"
)
PARAMETERS = [pytest.param(name, marks=WITH_SINKS) if name == "web" else name for name in TARGETS]


@pytest.mark.parametrize("name", PARAMETERS)
def test_whole_inputs_are_taken_or_refused_as_documented(name: str, tmp_path: Path) -> None:
    for seed in TARGETS[name].seeds():
        one(TARGETS[name], seed, tmp_path)


@pytest.mark.filterwarnings("ignore:Generating overly large repr")
@pytest.mark.parametrize("name", PARAMETERS)
def test_damaged_inputs_are_taken_or_refused_as_documented(name: str, tmp_path: Path) -> None:
    target = TARGETS[name]

    @settings(
        max_examples=max(10, int(EXAMPLES * target.share)), suppress_health_check=list(HealthCheck), database=None
    )
    @given(st.one_of(mutated(target.seeds(), target.words), st.binary(max_size=300)))
    def fuzz(data: bytes) -> None:
        one(target, data, tmp_path)

    fuzz()


def test_an_undocumented_error_and_a_line_that_a_terminal_obeys_are_findings(tmp_path: Path) -> None:
    def raising(error: Exception) -> Target:
        def parse(_: bytes, __: Path) -> None:
            with refusals(ValueError):
                raise error

        return Target("parser", parse, lambda: [b""])

    one(raising(ValueError("a file is wrong; copy it again")), b"", tmp_path)
    for error in (
        KeyError("x"),
        RecursionError("x"),
        ValueError("a\nb"),
        ValueError("\x1b[2J"),
        ValueError("a" * 5000),
    ):
        with pytest.raises((type(error), AssertionError)):
            one(raising(error), b"", tmp_path)


def test_the_table_of_the_long_run_has_every_target(repository: Path) -> None:
    table = (repository / "tests" / "fuzz" / "README.md").read_text(encoding="utf-8")
    assert re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE) == list(TARGETS)


def test_the_long_run_prints_what_it_did(repository: Path) -> None:
    """Guided or not, as the environment has it."""
    words = [sys.executable, "-m", "tests.fuzz", "0.02", "stamp"]
    done = subprocess.run(words, cwd=repository, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert answer["target"] == "stamp"
    assert answer["inputs"] > 100
    assert answer["found"] == []
