"""The releases: which are there and whole, which one starts, and how a file and a link change in one step."""

from __future__ import annotations

import fcntl
import os
import re
import shutil
from pathlib import Path

from deploy.device.programs import base, place, say
from deploy.failure import Failure

KEEP = 3  # releases
VERSION = re.compile(r"[0-9A-Za-z][0-9A-Za-z.+_-]*")
LINKS = ("current", "good", "previous")


def lock() -> None:
    """Wait until no other installer is at work, and keep others waiting until this has ended."""
    place("/opt").mkdir(parents=True, exist_ok=True)
    folder = os.open(place("/opt"), os.O_RDONLY)
    os.set_inheritable(folder, True)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        say("waiting for another installation to end")
        fcntl.flock(folder, fcntl.LOCK_EX)


def release(version: str) -> Path:
    """The folder of a release."""
    return base() / "releases" / version


def version_of(link: str) -> str:
    """The version that a link names, empty where there is no such link."""
    path = base() / link
    return path.readlink().name if path.is_symlink() else ""


def is_whole(version: str) -> bool:
    """Return whether a release is there, and whole."""
    return bool(version) and (release(version) / "whole").exists()


def is_usable(link: str) -> bool:
    """Return whether a link names a whole release."""
    return (base() / link / "whole").exists()


def is_named(version: str) -> bool:
    """Return whether a link names this version."""
    return version in map(version_of, LINKS)


def need_release() -> None:
    """Raise Failure where no release is installed."""
    if not is_usable("current"):
        raise Failure("release-failed", "no release is installed here; install one first")


def flush(path: Path) -> None:
    """Have a file or a folder written to the disk."""
    file = os.open(path, os.O_RDONLY)
    try:
        os.fsync(file)
    finally:
        os.close(file)


def replace(path: Path, content: bytes) -> None:
    """Replace a file, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(f"{path.name}.new")
    with new.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)
    flush(path.parent)


def point(link: Path, target: str) -> None:
    """Have a link name a target, the old or the new at any time."""
    if link.is_symlink() and str(link.readlink()) == target:
        return
    new = link.with_name(f"{link.name}.new")
    new.unlink(missing_ok=True)
    new.symlink_to(target)
    new.replace(link)


def set_link(link: str, version: str) -> None:
    """Have a link of ours name a release, and the disk know it."""
    point(base() / link, f"releases/{version}")
    flush(base())


def whole_releases() -> list[tuple[int, str]]:
    """The whole releases' numbers and versions, the newest first."""
    found = []
    for file in base().glob("releases/*/whole"):
        text = file.read_text(encoding="utf-8", errors="replace").strip()
        found.append((int(text) if text.isdecimal() else 0, file.parent.name))
    return sorted(found, reverse=True)


def drop(version: str) -> None:
    """Remove a release; it is not whole any more from the first moment on."""
    (release(version) / "whole").unlink(missing_ok=True)
    flush(release(version))
    shutil.rmtree(release(version))


def remove_half() -> None:
    """Remove what an installation that was killed left."""
    for new in base().glob("*.new"):
        new.unlink()
    for folder in sorted(base().glob("releases/*")):
        if folder.is_dir() and not is_whole(folder.name) and not is_named(folder.name):
            drop(folder.name)


def remove_old(room: int) -> None:
    """Remove the oldest releases that no link names, until there is room for as many more."""
    versions = [version for _, version in whole_releases()]
    others = [version for version in versions if not is_named(version)]
    most = KEEP - (len(versions) - len(others)) - room
    for version in others[max(most, 0) :]:
        drop(version)
