"""Programs of the system, run to their end. Standard library alone: the installer takes it along."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import IO

from deploy.failure import Failure

CHUNK = 1 << 20  # bytes


def say(words: str, program: str = "deploy.sh") -> None:
    """Print a line for the maker; whoever listened may be gone: the work goes on."""
    with suppress(OSError):
        print(f"{program}: {words}", file=sys.stderr, flush=True)


def absent(tool: str, package: str) -> str:
    """The words for a missing tool that a package of Debian's has."""
    return f"no {tool} on this machine; install it with: sudo apt install {package}"


def first_absent(packages: Mapping[str, str]) -> str:
    """The words for the first missing tool, "" where all are there; `packages` are Debian's, by tool."""
    return next((absent(tool, package) for tool, package in packages.items() if not shutil.which(tool)), "")


def run(
    *words: str | Path, given: IO[bytes] | None = None, cwd: Path | None = None, without: str = ""
) -> subprocess.CompletedProcess[str]:
    """Run a tool to its end, with `given` as its input, and keep what it says, in English.

    Of the environment's variables it does not get those whose names begin with `without`. Raises Failure where it is
    missing.
    """
    pipe = subprocess.PIPE
    stdin = pipe if given else subprocess.DEVNULL
    kept = {name: value for name, value in os.environ.items() if not without or not name.startswith(without)}
    environment = {**kept, "LC_ALL": "C"}
    try:
        process = subprocess.Popen(words, stdin=stdin, stdout=pipe, stderr=pipe, cwd=cwd, env=environment)
    except FileNotFoundError as error:
        tool = str(words[0])
        raise Failure(76, absent(tool, {"ssh-keygen": "openssh-client"}.get(tool, tool))) from error
    with process:
        try:
            if given and process.stdin:
                given.seek(0)
                with suppress(BrokenPipeError):  # it has heard enough
                    shutil.copyfileobj(given, process.stdin, CHUNK)
            out, errors = (text.decode(errors="replace") for text in process.communicate())
        except BaseException:
            process.kill()
            raise
    return subprocess.CompletedProcess(words, process.returncode, out, errors)


def last_line(done: subprocess.CompletedProcess[str]) -> str:
    """Say what a tool complained of last."""
    return (done.stderr.strip() or done.stdout.strip() or f"exit code {done.returncode}").splitlines()[-1]
