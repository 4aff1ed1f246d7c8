"""What this device is: its system, its Python, its disk and its groups, as far as an installation asks."""

from __future__ import annotations

import os
import platform
import shutil
from pathlib import Path

from deploy.device.programs import ask, base, place
from deploy.failure import Failure

GROUPS = ("video", "render", "gpio", "i2c", "spi")
PACKAGES = {"ssh-keygen": "openssh-client", "python3": "python3"}  # what is started, and whose it is
HAS_PICAMERA = """import sys
from importlib.util import find_spec
sys.exit(not (find_spec("picamera2") and find_spec("numpy")))"""


def is_booted() -> bool:
    """Return whether systemd runs: sd_booted(3)."""
    return place("/run/systemd/system").is_dir()


def read(path: Path) -> str:
    """A file's text without the blanks around it, empty where it cannot be read."""
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""


def system_value(name: str) -> str:
    """A value of os-release, empty where it has none."""
    lines = [line.partition("=") for line in read(place("/etc/os-release")).splitlines()]
    return "".join(value.replace('"', "") for key, _, value in lines if key == name)


def python_version() -> str:
    """The version of the system's python3, as 3.N; empty where there is none."""
    code, output = ask("python3", "-I", "-c", 'import sys; print("%d.%d" % sys.version_info[:2])')
    return "" if code else output.strip()


def has_picamera() -> bool:
    """Return whether the system's python3 has picamera2."""
    return ask("python3", "-I", "-c", HAS_PICAMERA)[0] == 0


def existing_folder(path: Path) -> Path:
    """A folder, or the nearest one above that is there."""
    return path if path.is_dir() else existing_folder(path.parent)


def free_kib() -> int:
    """What is free where releases are, in KiB."""
    return shutil.disk_usage(existing_folder(base())).free // 1024


def file_system() -> str:
    """What becomes of what is written where releases are: "writable", "read-only", or "overlay", which forgets it."""
    folder = existing_folder(base())
    # raspi-config's overlay and the package overlayroot are named on the kernel's command line, a container's is not.
    if kind_of(folder) == "overlay" and any(
        word == "boot=overlay" or (word.startswith("overlayroot=") and word[12:13] not in ("", "d"))
        for word in read(Path("/proc/cmdline")).split()
    ):
        return "overlay"
    return "writable" if os.access(folder, os.W_OK) or os.geteuid() else "read-only"


def kind_of(folder: Path) -> str:
    """The type of the file system that a folder is on, empty where the kernel does not list it."""
    device = folder.stat().st_dev
    number = f"{os.major(device)}:{os.minor(device)}"
    mounts = (line.split() for line in read(Path("/proc/self/mountinfo")).splitlines())
    return next((words[words.index("-") + 1] for words in mounts if words[2] == number), "")


def existing_groups(*names: str) -> list[str]:
    """Those of some groups that the system has."""
    found = {line.partition(":")[0] for line in read(place("/etc/group")).splitlines()}
    return [name for name in names if name in found]


def facts() -> dict[str, str]:
    """What ./deploy.sh push and the playbook ask before they send anything."""
    model = read(place("/proc/device-tree/model")).replace("\0", "")
    return {
        "system": system_value("PRETTY_NAME"),
        "suite": system_value("VERSION_CODENAME"),
        "arch": platform.machine(),
        "board": model,
        "python": python_version(),
        "free_kib": str(free_kib()),
        "file_system": file_system(),
        "systemd": "running" if is_booted() else "no",
        "groups": " ".join(existing_groups(*GROUPS)),
        "cameras": " ".join(sorted(path.name for path in place("/dev").glob("video*") if path.exists())),
        "picamera2": "yes" if has_picamera() else "no",
        "rsync": shutil.which("rsync") or "",
    }


def need_root(command: str) -> None:
    """Raise Failure unless this may change the device."""
    if os.geteuid() and not os.environ.get("CUELENS_ROOT"):
        raise Failure("root-needed", f"{command} needs root; start it with sudo")


def need_writable() -> None:
    """Raise Failure where nothing that is installed would stay."""
    kind = file_system()
    if kind == "read-only":
        raise Failure(
            "device-read-only", "the root file system is read-only; make it writable with: mount -o remount,rw /"
        )
    if kind == "overlay":
        raise Failure(
            "device-read-only",
            "the root file system is an overlay, which forgets all at the next start; turn it off with: raspi-config "
            "nonint disable_overlayfs, then restart, install, and turn it on again",
        )
