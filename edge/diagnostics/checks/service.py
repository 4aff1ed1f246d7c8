"""The service: its settings file, its user's groups, its unit, its release."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from edge import sources
from edge.diagnostics.checks.machine import UNIT, CheckLine, Machine
from edge.errors import SettingsInvalid, SinkUnknown, SourceUnknown
from edge.settings import Settings
from edge.settings_file import load_settings
from edge.sinks.table import needs_of

SETTINGS = "/etc/cuelens/cuelens.toml"
BASE = "/opt/cuelens"
JOURNAL = "journalctl --unit=cuelens --boot"


def read_settings_file(machine: Machine, path: Path | None) -> tuple[Settings, CheckLine]:
    """Read `path`, or the service's file below the root; the defaults where there is none, or one with a mistake."""
    found = path or machine.path(SETTINGS)
    if path is None and not found.exists():
        return Settings(), CheckLine("settings", "ok", "no file; all is at its default")
    try:
        return load_settings(found), CheckLine("settings", "ok", f"{found} is valid")
    except SettingsInvalid as error:
        todo = "mend that line; the rest is checked with the defaults"
        return Settings(), CheckLine("settings", "do", str(error), todo, error.identify())


def groups_needed(settings: Settings) -> dict[str, str]:
    """Return the groups that the settings' devices belong to on Raspberry Pi OS, and what for."""
    needed: dict[str, str] = {}
    with suppress(SourceUnknown):  # the camera's line says so
        needed |= sources.needs_of(settings.source, settings).groups
    if max(settings.pins.pause, settings.pins.light) >= 0:
        needed["gpio"] = "light and button"
    for spec in settings.sinks:
        with suppress(SinkUnknown):  # the sink's line says so
            needed |= needs_of(spec, settings).groups
    return needed


def check_groups(machine: Machine, settings: Settings) -> Iterator[CheckLine]:
    """Look whether the service's user, or without a service the one who asks, is in the groups that it needs."""
    rows = [line.split(":") for line in (machine.text("/etc/group") or "").splitlines()]
    members = {row[0]: set(filter(None, row[3].split(","))) for row in rows if len(row) == 4}
    needed = groups_needed(settings)
    if machine.installed:
        user = machine.unit.get("User") or "root"
        own = set(machine.unit.get("SupplementaryGroups", "").split())
        own |= {name for name, users in members.items() if user in users}
        unknown = sorted(set(machine.unit.get("SupplementaryGroups", "").split()) - members.keys())
        if unknown:
            todo = "; ".join(f"sudo groupadd --system {name}" for name in unknown)
            yield CheckLine("groups", "do", f"the service wants {', '.join(unknown)}, which this system has not", todo)
            return
        who, todo = f"the service's user {user}", "push again: the installer adds them"
    else:
        user, found = machine.user
        own = set(found)
        who, todo = f"user {user}", f"sudo usermod -aG {','.join(sorted(set(needed) - own))} {user}, then log in again"
    absent = {name: what for name, what in needed.items() if name not in own}
    if user == "root":
        yield CheckLine("groups", "ok", f"{who} needs none")
    elif absent:
        says = ", ".join(f"{name} for {what}" for name, what in absent.items())
        yield CheckLine("groups", "do", f"{who} is not in {says}", todo)
    else:
        yield CheckLine(
            "groups", "ok", f"{who} is in {', '.join(needed) or 'all that the settings need, which is none'}"
        )


def check_unit(machine: Machine, settings: Settings) -> Iterator[CheckLine]:
    """Look whether the service runs, stays up, and starts on boot."""
    unit = machine.unit
    if not unit:
        yield CheckLine("service", "note", "unknown: systemd is missing, or does not answer")
        return
    if not machine.installed:
        yield CheckLine("service", "note", f"{UNIT} is not installed here; ./deploy.sh push does that")
        return
    state = f"{unit.get('ActiveState')} ({unit.get('SubState')})"
    restarts = int(unit["NRestarts"]) if unit.get("NRestarts", "").isdecimal() else 0
    if unit.get("ActiveState") not in ("active", "activating", "reloading"):
        why = f", {unit.get('Result')}" if unit.get("Result") not in ("success", None) else ""
        yield CheckLine(
            "service",
            "do",
            f"{state}{why}",
            f"{JOURNAL} says why; then sudo systemctl reset-failed cuelens && sudo systemctl start cuelens",
        )
    elif unit.get("SubState") == "auto-restart":
        yield CheckLine("service", "do", f"{state}: it ends again and again, {restarts} times", f"{JOURNAL} says why")
    elif not unit.get("WantedBy"):
        yield CheckLine("service", "do", f"{state}: it does not start on boot", "sudo systemctl enable cuelens")
    elif restarts:
        yield CheckLine("service", "note", f"{state}; restarted {restarts} times since the boot: {JOURNAL} says why")
    else:
        yield CheckLine("service", "ok", f"{state}, and starts on boot")


def check_release(machine: Machine, settings: Settings) -> Iterator[CheckLine]:
    """Yield which release starts, and whether it was seen working."""
    base = machine.path(BASE)
    links = {name: _target(base / name) for name in ("current", "good")}
    current = links["current"]
    if current is None:
        yield CheckLine("release", "note", f"none in {BASE}; this is a checkout or an installation by hand")
        return
    if not (base / "releases" / current / "venv" / "bin" / "cuelens").exists():
        yield CheckLine("release", "do", f"{current} is not whole", "push again, or sudo install.sh rollback")
        return
    failed = machine.text(f"{BASE}/failed")
    if current != links["good"]:
        yield CheckLine("release", "note", f"{current} is on trial: it was not seen working yet")
    elif failed:
        version, _, why = failed.partition(" ")
        yield CheckLine("release", "note", f"{current} works; {version} was taken back: {why}")
    else:
        yield CheckLine("release", "ok", f"{current} was seen working")


def _target(link: Path) -> str | None:
    try:
        return link.readlink().name
    except OSError:
        return None
