"""deploy/test.sh: what its summary and exit code make of failing tests; a pytest of our own fails as it is asked to."""

from __future__ import annotations

import json
import os
import select
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

VENV_SH = """
root=$(cd -- "$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")/.." && pwd)
say() { printf 'deploy.sh: %s\\n' "$*" >&2; }
environment() { :; }
"""
# Fails the tests that the file `failing` names for this environment, and once more what `lasting` names.
PYTEST = """#!{python}
import json, os, signal, sys
from pathlib import Path
given, here = sys.argv[1:], Path(__file__).parents[2]
place = Path(__file__).parents[1].name
with (here / "calls").open("a") as calls:
    print(place, *given, file=calls)
failing = json.loads((here / ("lasting" if "--last-failed" in given else "failing")).read_text())
marks = given[given.index("-m") + 1]
lane = failing.get(place, []) if marks.startswith("not host and not") else []
if "no tests" in lane:
    sys.exit(5)
if "killed" in lane:
    sys.exit(1)  # as one that could note nothing
if "waits" in lane:
    try:
        with (here / "waiting").open("w") as event:
            print(os.getpid(), file=event)
        signal.pause()
    except KeyboardInterrupt:
        sys.exit(2)
cache = next(Path(one.removeprefix("cache_dir=")) for one in given if one.startswith("cache_dir=")) / "v" / "cache"
cache.mkdir(parents=True, exist_ok=True)
(cache / "lastfailed").write_text(json.dumps(dict.fromkeys(lane, True)))
sys.exit(bool(lane))
"""

Runs = Callable[..., tuple[int, list[str], list[str]]]


@pytest.fixture
def checkout(tmp_path: Path, repository: Path) -> Path:
    """A copy of the script, in environments whose programs are stand-ins."""
    (tmp_path / "deploy").mkdir()
    shutil.copy(repository / "deploy" / "test.sh", tmp_path / "deploy")
    (tmp_path / "deploy" / "venv.sh").write_text(VENV_SH)
    for place in (".venv", ".venv-host"):
        programs = tmp_path / place / "bin"
        programs.mkdir(parents=True)
        for name in ("ruff", "mypy", "shellcheck"):
            (programs / name).symlink_to("/bin/true")
        (programs / "python").symlink_to(sys.executable)
        (programs / "pytest").write_text(PYTEST.format(python=sys.executable))
        (programs / "coverage").write_text('#!/bin/sh\n[ "$1" != run ] || { shift 2; exec "$@"; }\n')
        for name in ("pytest", "coverage"):
            (programs / name).chmod(0o755)
    return tmp_path


@pytest.fixture
def runs(checkout: Path) -> Runs:
    """Run the script; returns its exit code, the lines of its summary, and how pytest was called."""

    def run(
        *arguments: str, failing: dict[str, list[str]], lasting: dict[str, list[str]] | None = None
    ) -> tuple[int, list[str], list[str]]:
        (checkout / "failing").write_text(json.dumps(failing))
        (checkout / "lasting").write_text(json.dumps(lasting or {}))
        done = subprocess.run(
            ["bash", checkout / "deploy" / "test.sh", *arguments],
            check=False,
            capture_output=True,
            text=True,
            timeout=120,
        )
        summary = done.stderr.rpartition("\n\n")[2].splitlines()
        return done.returncode, summary, (checkout / "calls").read_text().splitlines()

    return run


def of(summary: list[str], name: str) -> str:
    (line,) = (line for line in summary if name in line)
    return line


def test_all_that_passes_is_ok_and_nothing_runs_twice(runs: Runs) -> None:
    code, summary, calls = runs("--all", failing={})
    assert code == 0
    assert [line.split()[1] for line in summary] == ["ok"] * 10
    assert len(calls) == 5
    assert not any("not slow" in call and call.startswith(".venv ") for call in calls)


def test_without_all_the_two_environments_run_what_is_quick(runs: Runs) -> None:
    code, summary, calls = runs(failing={})
    assert code == 0
    assert len(summary) == 6
    assert sorted(call.split()[0] for call in calls) == [".venv", ".venv-host"]
    assert all("not slow" in call for call in calls)


def test_named_tests_run_in_every_lane(runs: Runs) -> None:
    _, _, calls = runs("tests/web", "-x", failing={})
    assert len(calls) == 5
    assert all(call.endswith("tests/web -x") for call in calls)


@pytest.mark.parametrize("arguments", [(), ("--all",)])
def test_what_fails_once_and_passes_alone_is_named_and_fails_nothing(runs: Runs, arguments: tuple[str, ...]) -> None:
    code, summary, calls = runs(*arguments, failing={".venv": ["tests/a.py::one", "tests/a.py::two[x y]"]})
    assert code == 0
    assert "LATE    pytest, device packages" in of(summary, "device packages")
    assert {"tests/a.py::one", "tests/a.py::two[x y]"} < set(summary)
    assert sum("--last-failed" in call for call in calls) == 1


def test_the_rows_of_one_test_are_one_that_failed(runs: Runs) -> None:
    code, summary, calls = runs("--all", failing={".venv": [f"tests/a.py::table[{row}]" for row in range(33)]})
    assert code == 0
    assert "LATE    pytest, device packages" in of(summary, "device packages")
    assert sum("--last-failed" in call for call in calls) == 1


def test_what_fails_twice_fails(runs: Runs) -> None:
    failing = {".venv-host": ["tests/a.py::one"]}
    code, summary, _ = runs("--all", failing=failing, lasting=failing)
    assert code == 1
    assert "FAILED  pytest, host packages" in of(summary, "host packages")
    assert "ok" in of(summary, "device packages")


def test_a_lane_that_noted_nothing_fails_and_the_summary_is_printed(runs: Runs) -> None:
    code, summary, calls = runs("--all", failing={".venv": ["killed"]})
    assert code == 1
    assert "FAILED  pytest, device packages" in of(summary, "device packages")
    assert len(summary) == 10
    assert not any("--last-failed" in call for call in calls)


def test_what_runs_beside_ends_with_the_script(checkout: Path) -> None:
    """Ctrl-C in a terminal reaches what is in front; the pytest in the background holds a pipe open until it ends."""
    waiting = checkout / "waiting"
    os.mkfifo(waiting)
    started = os.open(waiting, os.O_RDWR)
    (checkout / "failing").write_text(json.dumps({".venv": ["waits"], ".venv-host": ["waits"]}))
    (checkout / "lasting").write_text("{}")
    lives, held = os.pipe()
    script = subprocess.Popen(
        ["bash", checkout / "deploy" / "test.sh"],
        stderr=subprocess.DEVNULL,
        pass_fds=[held],
        start_new_session=True,
        env={**os.environ, "TMPDIR": str(checkout)},
    )
    os.close(held)
    pids = b""
    try:
        while pids.count(b"\n") < 2:
            assert select.select([started], [], [], 60)[0], "they do not start"
            pids += os.read(started, 100)
        os.killpg(script.pid, signal.SIGINT)
        assert select.select([lives], [], [], 60)[0], "a process that it started lives on"
        assert os.read(lives, 1) == b""
        assert script.wait(60) == 130
    finally:
        os.close(lives)
        os.close(started)
        for pid in (script.pid, *map(int, pids.split())):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        script.wait(60)
    assert not list(checkout.glob("tmp.*")), "and its temporary files are gone"


def test_many_failures_are_no_lateness(runs: Runs) -> None:
    code, summary, calls = runs("--all", failing={".venv": [f"tests/a.py::{number}" for number in range(6)]})
    assert code == 1
    assert "FAILED  pytest, device packages" in of(summary, "device packages")
    assert not any("--last-failed" in call for call in calls)


def test_an_environment_without_tests_fails_unless_some_were_chosen(runs: Runs) -> None:
    nothing = {".venv": ["no tests"]}
    assert runs("--all", failing=nothing)[0] == 1
    assert runs("tests/a.py", failing=nothing)[0] == 0
