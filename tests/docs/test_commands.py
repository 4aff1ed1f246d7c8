"""Every command of README and docs runs; of those for another machine, the program and its command exist."""

from __future__ import annotations

import argparse
import os
import re
import shlex
import subprocess
import tomllib
from pathlib import Path

import pytest

from edge.commands.arguments import add_commands
from tests.support.tables import write_table

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]


def blocks(kind: str) -> list[str]:
    """The lines of every block of that kind, in README and the pages."""
    return [
        line.strip()
        for page in PAGES
        for block in re.findall(rf"```{kind}\n(.*?)```", page.read_text(), re.DOTALL)
        for line in re.sub(r"\\\n", " ", block).splitlines()
        if line.strip()
    ]


COMMANDS = [line.partition("#")[0].strip() for line in blocks("sh")]
ELSEWHERE = [line.removeprefix("$ ") for line in blocks("console") if line.startswith("$ ")]
DEPLOY = subprocess.run([ROOT / "deploy.sh", "help"], capture_output=True, text=True, check=True)
SCRIPTS = {
    *tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"],
    "python",
    "pytest",
    "ruff",
    "mypy",
}
# Without these devices the answer must be the one line that says so.
HARDWARE = {"v4l2": {0, 14}, "picamera": {0, 14, 60}}


@pytest.fixture(scope="module")
def desk(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that looks like the checkout to the docs' commands, and keeps what they write out of it."""
    folder = tmp_path_factory.mktemp("desk")
    for name in ("deploy.sh", "models", "tests", ".venv", ".venv-host"):
        (folder / name).symlink_to(repository / name)
    write_table(folder / "fer2013.csv", PrivateTest=70)
    return folder


def test_there_are_commands() -> None:
    assert COMMANDS[:2] == ["./deploy.sh demo", "./deploy.sh test"]
    assert len(COMMANDS) >= 17
    assert len(set(COMMANDS)) == len(COMMANDS)
    assert len(ELSEWHERE) >= 15


@pytest.mark.parametrize("line", ELSEWHERE)
def test_a_command_for_another_machine_is_one(line: str) -> None:
    words = [word for word in shlex.split(line) if "=" not in word or word.startswith("-")]
    names = {word for part in DEPLOY.stdout.splitlines() if part.startswith("  ") for word in re.split(r"[ ,]+", part)}
    if words[0] == "./deploy.sh":
        assert words[1] in names
    elif words[0].startswith((".venv", "/opt/cuelens/current", "cuelens-venv/bin/")):
        assert words[0].rpartition("/")[2] in SCRIPTS | {"pip"}
    else:
        assert words[0] in {"sudo", "git", "ssh", "cd", "pre-commit", "python3", "wsl", "docker"}
    while words[0].rpartition("/")[2] in {"sudo", "./deploy.sh"}:
        words.pop(0)
    if words[0].rpartition("/")[2] == "cuelens":
        parser = argparse.ArgumentParser()
        add_commands(parser)
        parser.parse_args(words[1:])


@pytest.mark.host  # once, in the second of the two environments: by then both exist
@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_of_the_docs_runs(command: str, desk: Path) -> None:
    words = shlex.split(command)
    if words[0].startswith(".venv") and not (desk / words[0]).exists():
        pytest.skip(f"{words[0]} is not set up; ./deploy.sh test makes it")
    if words == ["./deploy.sh", "test"]:
        words.append("tests/unit/test_settings.py")  # all of it would run this test again
    if words[0].endswith("cuelens-train"):
        words += ["--epochs", "30", "--batch", "32"]  # enough for the demo's faces
    environment = {name: value for name, value in os.environ.items() if name != "PYTEST_ADDOPTS"}
    done = subprocess.run(words, cwd=desk, env=environment, capture_output=True, text=True, check=False)
    allowed = next((codes for name, codes in HARDWARE.items() if name in words), {0})
    assert done.returncode in allowed, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    if words == ["./deploy.sh", "demo"]:
        share = re.search(r"truth: ([\d.]+)% of (\d+) frames", done.stdout)
        assert share, done.stdout
        assert float(share[1]) >= 90
        assert int(share[2]) > 100
