"""The service's user: systemd makes it for each run, but where the D-Bus is needed it lasts."""

from __future__ import annotations

import os
from collections.abc import Iterable

from deploy.device.needs import Reach
from deploy.device.programs import ask, place, say, show
from deploy.device.releases import replace
from deploy.device.system import existing_groups, read

NAME = "cuelens"
FILE = "/etc/sysusers.d/cuelens.conf"
TEXT = b"""\
# Of Cuelens: the D-Bus, by which Bluetooth is reached, refuses a user that systemd makes for a run alone.
u cuelens - "Cuelens"
"""
OF_D_BUS = ("bluetooth",)  # groups of what is reached by it


def keep_user(needed: Iterable[Reach]) -> bool:
    """Give the service a user that lasts where what is needed is reached by the D-Bus; says whether it is new."""
    groups = {group for reach in needed for group in existing_groups(*reach.groups)}
    if groups.isdisjoint(OF_D_BUS) or is_there():
        return False
    replace(place(FILE), TEXT)
    # The user of a run that lasts at this moment has the same name: it is not to be found.
    code, output = ask(
        "env", "SYSTEMD_NSS_DYNAMIC_BYPASS=1", "systemd-sysusers", *_under_root("--root"), str(place(FILE))
    )
    if code or not is_there():
        show(output)
        say(f"no lasting user {NAME} could be made, systemd-sysusers printed why: glasses stay dark")
    return is_there()


def is_there() -> bool:
    """Return whether the user lasts."""
    return any(line.startswith(f"{NAME}:") for line in read(place("/etc/passwd")).splitlines())


def remove_user() -> None:
    """Remove the user where it was made here."""
    place(f"{FILE}.new").unlink(missing_ok=True)
    if not place(FILE).exists():
        return
    if is_there():
        code, output = ask("env", "SYSTEMD_NSS_DYNAMIC_BYPASS=1", "userdel", *_under_root("--prefix"), NAME)
        if code:
            show(output)
            say(f"userdel did not remove the user {NAME}, and printed why: sudo userdel {NAME} removes it")
            return
    place(FILE).unlink()


def _under_root(option: str) -> list[str]:
    root = os.environ.get("CUELENS_ROOT")
    return [f"{option}={root}"] if root else []
