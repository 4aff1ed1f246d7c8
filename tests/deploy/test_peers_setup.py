"""benchmarks/peers/setup.sh, run for real in a copy of its files; Python and pip are a stand-in."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

# Plays `python3`, `-m venv` and `-m pip`, which has no wheel of what $MISSING names; all else is for the real one.
STAND_IN = f"""#!/bin/bash
if [ "$1 $2" = "-m venv" ]; then
    target=${{!#}}
    mkdir -p "$target/bin" && cp "$0" "$target/bin/python"
elif [ "$1 $2" = "-m pip" ]; then
    echo "pip $*" >>"$CALLS"
    if [ -n "${{MISSING:-}}" ] && grep -q "^$MISSING==" "${{!#}}"; then
        echo "WARNING: an index is slow" >&2
        echo "ERROR: Could not find a version that satisfies the requirement $MISSING (from versions: none)" >&2
        echo "ERROR: No matching distribution found for $MISSING" >&2
        exit 1
    fi
else
    exec {sys.executable} "$@"
fi
"""

Setup = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def checkout(tmp_path: Path, repository: Path) -> Path:
    root = tmp_path / "check out"  # people's folders have blanks
    shutil.copytree(repository / "deploy", root / "deploy")
    shutil.copytree(repository / "benchmarks" / "peers", root / "benchmarks" / "peers")
    shutil.copy(repository / "pyproject.toml", root)
    return root


@pytest.fixture
def setup(checkout: Path, tmp_path: Path) -> Setup:
    program = tmp_path / "bin" / "python3"
    program.parent.mkdir()
    program.write_text(STAND_IN, encoding="utf-8")
    program.chmod(0o755)

    def run(*words: str, **extra: str) -> subprocess.CompletedProcess[str]:
        environment = {"PATH": f"{program.parent}:/usr/bin:/bin", "CALLS": str(tmp_path / "calls"), **extra}
        environment["HOME"] = os.environ.get("HOME", "/")
        command = [str(checkout / "benchmarks" / "peers" / "setup.sh"), *words]
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)

    return run


@pytest.mark.parametrize("words", [("nobody",), ("fer", "nobody"), (), ("all", "fer")])
def test_an_unknown_peer_is_refused_before_anything_is_made(
    setup: Setup, checkout: Path, words: tuple[str, ...]
) -> None:
    done = setup(*words)
    assert done.returncode == 2
    wrong = [word for word in words if word != "fer"]
    assert (f"no peer '{wrong[0]}'" if wrong else "no peer named") in done.stderr
    assert "valid are fer face_classification mediapipe, or all" in done.stderr
    assert not list(checkout.glob(".venv-peer-*"))


def test_each_peer_has_its_own_environment_from_its_own_lock_with_hashes(
    setup: Setup, checkout: Path, tmp_path: Path
) -> None:
    done = setup("all")
    assert done.returncode == 0, done.stderr
    calls = (tmp_path / "calls").read_text(encoding="utf-8").splitlines()
    assert len(calls) == 3
    for peer, call in zip(("fer", "face_classification", "mediapipe"), calls, strict=True):
        assert (checkout / f".venv-peer-{peer}" / "bin" / "python").exists()
        assert call.endswith(f"benchmarks/peers/{peer}.txt")
        assert "--no-deps --require-hashes --only-binary=:all:" in call


def test_a_peer_that_cannot_be_installed_says_why_and_the_others_are_set_up(setup: Setup, checkout: Path) -> None:
    done = setup("mediapipe", "fer", MISSING="mediapipe")
    assert done.returncode == 73
    reason = (checkout / ".venv-peer-mediapipe.failed").read_text(encoding="utf-8")
    assert reason == "No matching distribution found for mediapipe\n"
    assert "fer is ready" in done.stderr
    assert (checkout / ".venv-peer-fer" / ".make_venv").exists()
    assert setup("mediapipe").returncode == 0
    assert not (checkout / ".venv-peer-mediapipe.failed").exists()


def test_a_python_that_is_too_old_is_the_reason(setup: Setup, checkout: Path) -> None:
    done = setup("fer", CUELENS_PYTHON="python3.99")
    assert done.returncode == 70
    assert "python3.99 is missing" in (checkout / ".venv-peer-fer.failed").read_text(encoding="utf-8")
