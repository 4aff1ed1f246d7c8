"""What systemd reads: the units, the drop-ins that give the service what its settings need, and the journal's place."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from deploy.device.needs import Reach, needs
from deploy.device.programs import ask, place, show
from deploy.device.releases import is_usable, point, replace
from deploy.device.stated import STATED
from deploy.device.system import GROUPS, existing_groups, is_booted, read, system_value
from deploy.device.user import keep_user
from deploy.failure import Failure

SETTINGS, SIGNERS = "/etc/cuelens/cuelens.toml", "/etc/cuelens/allowed_signers"
SYSTEM = "/etc/systemd/system"
UNITS = "/usr/local/lib/systemd/system"  # not /etc: `systemctl disable` would take a link there away for good
WANTS = f"{SYSTEM}/multi-user.target.wants"
DROP_IN = f"{SYSTEM}/cuelens.service.d/device.conf"
SAFE_DROP_IN = f"{SYSTEM}/cuelens-safe.service.d/device.conf"
JOURNAL = "/etc/systemd/journald.conf.d/cuelens.conf"
JOURNAL_TEXT = b"""\
# Of Cuelens: the journal is kept in memory, so that the log wears no card out and ends with the power.
# To keep it on the disk, empty this file; it is then left as it is.
[Journal]
Storage=volatile
RuntimeMaxUse=16M
"""


def drop_ins(needed: Iterable[Reach]) -> tuple[str, str]:
    """The lines for the service and for the safe mode, with which they reach what is needed and no more."""
    needed = list(needed)
    head = [
        f"# Written by install.sh, from this system's groups and {place(SETTINGS)}; after a change: install.sh apply",
        "[Service]",
        f"SupplementaryGroups={' '.join(existing_groups(*GROUPS))}",
    ]
    main = [*head, *dict.fromkeys(line for reach in needed for line in _lines(reach))]
    safe = [*head, *dict.fromkeys(line for reach in needed if reach.safe_mode for line in _lines(reach))]
    # From systemd 254 on OnFailure= acts at each restart unless RestartMode is direct; before, only after the last.
    if system_value("VERSION_CODENAME") != "bookworm":
        main += ["RestartMode=direct"]
    if any(reach.network for reach in needed):  # safe mode has none, whatever is set
        main += ["RestrictAddressFamilies=AF_INET AF_INET6"]
    return "\n".join(main), "\n".join(safe)


def _lines(reach: Reach) -> Iterator[str]:
    """The lines of what is needed beyond the groups that each has: a group that a system lacks would stop the start."""
    yield from (f"SupplementaryGroups={group}" for group in existing_groups(*reach.groups) if group not in GROUPS)
    yield from (f"DeviceAllow={device}" for device in reach.devices)


def write_drop_ins() -> bool:
    """Give the service what the settings need; says whether that changed anything."""
    needed = needs(place(SETTINGS), STATED)
    main, safe = drop_ins(needed)
    changed = [_put(place(path), text) for path, text in ((SAFE_DROP_IN, safe), (DROP_IN, main))]
    return any([*changed, keep_user(needed)])


def _put(path: Path, text: str) -> bool:
    if read(path) == text.strip():
        return False
    replace(path, f"{text}\n".encode())
    return True


def put_units() -> bool:
    """Put all that systemd reads in place; says whether a drop-in changed."""
    for folder in (UNITS, WANTS):
        place(folder).mkdir(parents=True, exist_ok=True)
    changed = write_drop_ins()
    point(place(f"{UNITS}/cuelens.service"), "/opt/cuelens/current/cuelens.service")
    for unit in ("cuelens-settle", "cuelens-safe"):
        point(place(f"{UNITS}/{unit}.service"), f"/opt/cuelens/good/{unit}.service")
    if not is_usable("good"):  # later it is the maker's choice
        for unit in ("cuelens", "cuelens-settle"):
            point(place(f"{WANTS}/{unit}.service"), f"/usr/local/lib/systemd/system/{unit}.service")
    if not place(JOURNAL).exists():
        replace(place(JOURNAL), JOURNAL_TEXT)
        if is_booted():
            ask("systemctl", "restart", "systemd-journald.service")
    code, output = ask("sync", "--file-system", "--", place(WANTS))
    if code:  # settings and units are there already, the release does not start yet
        show(output)
        raise Failure(
            "installation-failed", "the disk did not take all of the units (its words are above); install again"
        )
    return changed
