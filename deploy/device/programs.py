"""What the installer says, and the programs that it starts."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

from deploy.failure import Failure
from deploy.tools import as_text, complete
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
    code, output, _ = _run(*words, together=True)
    return code, output


def ask_apart(*words: str | Path) -> tuple[int, str, str]:
    """Run a program; returns its exit code, its output, and what it complained of."""
    return _run(*words)


def _run(*words: str | Path, together: bool = False) -> tuple[int, str, str]:
    try:
        done = complete(*words, together=together)
    except OSError as error:
        complaint = f"{words[0]}: {error.strerror}"
        return (127, complaint, "") if together else (127, "", complaint)
    return done.returncode, as_text(done.stdout), as_text(done.stderr)


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
        raise Failure("device-space-short", words)
    raise Failure("installation-failed", f"{failed} (its words are above); nothing was changed")


def place(path: str) -> Path:
    """A path on the device; CUELENS_ROOT names an image that is mounted elsewhere, and the folders of tests."""
    return Path(os.environ.get("CUELENS_ROOT", "") + path)


def base() -> Path:
    """Where releases are."""
    return place("/opt/cuelens")
