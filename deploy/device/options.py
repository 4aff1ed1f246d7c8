"""What a command of the installer is given."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

from deploy.failure import Failure

# Seconds from the start to the first frame, inference and watchdog's feed: a Zero 2 W with a cold card may take 30 (an
# estimate).
DEADLINE = 90


class Options(NamedTuple):
    """What a command is given."""

    bundle: str = ""
    signers: str = ""
    settings: Path | None = None
    deadline: int = DEADLINE
    start: bool = True
    everything: bool = False


TAKEN = {  # by each command, beside its name; "" is a bundle
    "install": ("", "--signers", "--settings", "--deadline", "--no-start"),
    "apply": ("--settings", "--deadline"),
    "rollback": ("--deadline",),
    "prove": ("--deadline",),
    "remove": ("--all",),
}


def read_options(command: str, words: list[str]) -> Options:
    """What a command is given; raises Failure (2), also for what the command would ignore."""
    taken = TAKEN.get(command, ())
    valid = ", ".join(name or "a bundle" for name in taken) or "none"
    found: dict[str, str] = {}
    rest = iter(words)
    for word in rest:
        name = word if word.startswith("-") else ""
        if name not in taken:
            raise Failure(
                "command-line",
                f"{command} takes no {f'option {word!r}' if name else f'bundle or word {word!r}'}; valid: {valid}",
            )
        if word in ("--signers", "--settings", "--deadline"):
            value = next(rest, None)
            if value is None:
                raise Failure("command-line", f"{word} needs a value")
            found[word] = value
        elif name:
            found[word] = word
        elif "bundle" in found:
            raise Failure("command-line", f"two bundles, '{found['bundle']}' and '{word}'; give one")
        else:
            found["bundle"] = word
    options = Options(
        found.get("bundle", ""),
        found.get("--signers", ""),
        start="--no-start" not in found,
        everything="--all" in found,
    )
    if (deadline := found.get("--deadline")) is not None:
        if not (deadline.isascii() and deadline.isdecimal()) or deadline.startswith("0"):
            raise Failure("command-line", f"--deadline is '{deadline}'; valid are whole seconds from 1 on")
        options = options._replace(deadline=int(deadline))
    if (settings := found.get("--settings")) is not None:
        if not os.access(settings, os.R_OK):
            raise Failure("command-line", f"--settings {settings}: no file that can be read")
        options = options._replace(settings=Path(settings))
    return options
