"""What the installer says, and the programs that it starts."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

from deploy.failure import Failure
from deploy.tools import say as say_as

FULL = ("No space left on device", "Disk quota exceeded")


def say(words: str) -> None:
    """Print a line of the installer's."""
    say_as(words, "cuelens")


def step(words: str) -> None:
    """Announce a step of an installation: a power cut may come before any, and anywhere in between."""
    say(words)


def show(text: str) -> None:
    """Print a program's own words, indented."""
    with suppress(OSError):
        print("".join(f"  {line}\n" for line in text.splitlines()), end="", file=sys.stderr, flush=True)


def ask(*words: str | Path) -> tuple[int, str]:
    """Run a program; returns its exit code, and what it printed, both streams together."""
    code, output, _ = _run(words, subprocess.STDOUT)
    return code, output


def ask_apart(*words: str | Path) -> tuple[int, str, str]:
    """Run a program; returns its exit code, its output, and what it complained of."""
    return _run(words, subprocess.PIPE)


def _run(words: Sequence[str | Path], stderr: int) -> tuple[int, str, str]:
    # The lock's file stays open in what is started: killed, this leaves it locked until that has ended, too.
    try:
        done = subprocess.run(
            words,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
            errors="replace",
            close_fds=False,
            restore_signals=False,
            check=False,
        )
    except OSError as error:
        complaint = f"{words[0]}: {error.strerror}"
        return (127, "", complaint) if stderr == subprocess.PIPE else (127, complaint, "")
    return done.returncode, done.stdout, done.stderr or ""


def run_step(failed: str, *words: str | Path) -> None:
    """Run a program of a step; raises Failure with `failed` where it fails."""
    code, output = ask(*words)
    if code:
        fail_step(failed, output)


def fail_step(failed: str, output: str) -> NoReturn:
    """End a step that went wrong, after its own words."""
    show(output)
    if any(words in output for words in FULL):
        words = f"{failed}: the disk is full; free some space on {base()}, then start again; nothing was changed"
        raise Failure(95, words)
    raise Failure(73, f"{failed} (its words are above); nothing was changed")


def place(path: str) -> Path:
    """A path on the device; CUELENS_ROOT names an image that is mounted elsewhere, and the folders of tests."""
    return Path(os.environ.get("CUELENS_ROOT", "") + path)


def base() -> Path:
    """Where releases are."""
    return place("/opt/cuelens")
