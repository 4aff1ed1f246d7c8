"""Programs of the system, run to their end: all that deploy/ starts. Standard library alone: the installer takes it."""

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

BytesDone = subprocess.CompletedProcess[bytes]
TextDone = subprocess.CompletedProcess[str]


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


def complete(
    *words: str | Path,
    given: IO[bytes] | None = None,
    cwd: Path | None = None,
    variables: Mapping[str, str] | None = None,
    without: str = "",
    stdout: IO[str] | None = None,
    together: bool = False,
) -> BytesDone:
    """Run a program to its end, with `given` as its input, and keep what it prints, in English.

    It gets `variables` beside the environment's, of these not those whose names begin with `without`. With `stdout` it
    prints there instead; `together` keeps standard error with the rest. Raises OSError where it cannot be started.
    """
    pipe = subprocess.PIPE
    kept = {name: value for name, value in os.environ.items() if not without or not name.startswith(without)}
    # What is inheritable, as the file that the installer has locked, stays open in what is started: killed, this leaves
    # it locked until that has ended, too. A signal that is ignored here is ignored there: a connection may break.
    process = subprocess.Popen(
        words,
        stdin=pipe if given else subprocess.DEVNULL,
        stdout=stdout or pipe,
        stderr=subprocess.STDOUT if together else pipe,
        cwd=cwd,
        env={**kept, "LC_ALL": "C", **(variables or {})},
        close_fds=False,
        restore_signals=False,
    )
    with process:
        try:
            if given and process.stdin:
                given.seek(0)
                with suppress(BrokenPipeError):  # it has heard enough
                    shutil.copyfileobj(given, process.stdin, CHUNK)
            out, errors = process.communicate()
        except BaseException:
            process.kill()
            raise
    return BytesDone(words, process.returncode, out or b"", errors or b"")


def run(
    *words: str | Path,
    given: IO[bytes] | None = None,
    cwd: Path | None = None,
    variables: Mapping[str, str] | None = None,
    without: str = "",
    stdout: IO[str] | None = None,
) -> TextDone:
    """Run a tool as complete() does, and read what it prints as text; raises Failure where it is missing."""
    try:
        done = complete(*words, given=given, cwd=cwd, variables=variables, without=without, stdout=stdout)
    except FileNotFoundError as error:
        tool = str(words[0])
        raise Failure("tool-missing", absent(tool, {"ssh-keygen": "openssh-client"}.get(tool, tool))) from error
    return TextDone(words, done.returncode, as_text(done.stdout), as_text(done.stderr))


def hand_over(*words: str | Path, variables: Mapping[str, str] | None = None) -> int:
    """Run a program that talks with the maker itself, on standard error; returns its exit code."""
    return subprocess.run(words, stdout=sys.stderr, env={**os.environ, **(variables or {})}, check=False).returncode


def as_text(printed: bytes) -> str:
    """Return what a program printed as text, whatever its encoding."""
    return printed.decode(errors="replace")


def last_line(done: TextDone) -> str:
    """Return what a tool complained of last."""
    return (done.stderr.strip() or done.stdout.strip() or f"exit code {done.returncode}").splitlines()[-1]
