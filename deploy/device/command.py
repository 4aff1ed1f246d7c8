"""The command `cuelens` on the PATH: a link to the program of the release that starts."""

from __future__ import annotations

from deploy.device.programs import place, say

ON_PATH = "/usr/local/bin/cuelens"
PROGRAM = "/opt/cuelens/current/venv/bin/cuelens"


def put_on_path() -> None:
    """Put the command there, unless another program has its name."""
    link = place(ON_PATH)
    if is_ours():
        return
    if link.exists() or link.is_symlink():
        say(f"{link} is another program and stays; start Cuelens with {PROGRAM}")
    else:
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(PROGRAM)


def take_off_path() -> None:
    """Remove the command where it is ours."""
    if is_ours():
        place(ON_PATH).unlink()


def is_ours() -> bool:
    """Return whether the command on the PATH is this link."""
    link = place(ON_PATH)
    return link.is_symlink() and str(link.readlink()) == PROGRAM
