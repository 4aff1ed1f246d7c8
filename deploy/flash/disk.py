"""Which disk may be written: a whole one, that nothing uses, of a card's size; and writing it, and reading it back.

The kernel is asked by its files (/sys, /proc), whose places are arguments, so that tests can make up machines.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import signal
import stat
import sys
from dataclasses import dataclass
from pathlib import Path

from deploy.failure import Failure
from deploy.packages import progress_bar
from deploy.parser import Parser
from deploy.tools import say

LARGEST = 256_000_000_000  # bytes; the largest card that makers use, and below most built-in disks
CHUNK = 4 << 20
BLKFLSBUF = 0x1261  # linux/fs.h: write out what is buffered of a block device, and forget it


@dataclass(frozen=True, slots=True)
class Disk:
    """A whole disk; `card` says whether it can be taken out."""

    name: str
    model: str
    size: int
    card: bool
    partitions: tuple[str, ...]


def _text(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""


def device_number(device: Path) -> str:
    """Return the kernel's number (major:minor) of a block device; raises Failure."""
    try:
        status = device.stat()
    except OSError as error:
        raise Failure(
            "disk-refused", f"{device}: {error.strerror}; give a disk such as /dev/sdb (lsblk lists them)"
        ) from error
    if not stat.S_ISBLK(status.st_mode):
        raise Failure(
            "disk-refused", f"{device} is no disk; give one such as /dev/sdb (lsblk lists them), or --out FILE"
        )
    return f"{os.major(status.st_rdev)}:{os.minor(status.st_rdev)}"


def find_disk(number: str, sysfs: Path = Path("/sys"), procfs: Path = Path("/proc"), large: bool = False) -> Disk:
    """Describe the disk of this number (major:minor); raises Failure unless it may be overwritten."""
    folder = (sysfs / "dev" / "block" / number).resolve()
    name = folder.name
    if (folder / "partition").exists():
        raise Failure("disk-refused", f"/dev/{name} is a partition; give the whole disk: /dev/{folder.parent.name}")
    parts = sorted(path.parent for path in folder.glob("*/partition"))
    holders = [holder.name for part in (folder, *parts) for holder in (part / "holders").glob("*")]
    if holders:
        raise Failure(
            "disk-refused", f"/dev/{name} is in use by {', '.join(holders)} (LVM, RAID or encryption); free it first"
        )
    numbers = {_text(part / "dev") for part in (folder, *parts)} - {""}
    names = {f"/dev/{part.name}" for part in (folder, *parts)}
    mounted = [
        fields[4]
        for fields in (line.split() for line in _text(procfs / "self" / "mountinfo").splitlines())
        if fields[2] in numbers or names & {fields[-2], fields[-3]}
    ]
    if mounted:
        system = "/" in mounted or any(point.startswith(("/boot", "/usr", "/var", "/home")) for point in mounted)
        advice = "it holds this system: never that" if system else f"unmount it first: umount {' '.join(mounted)}"
        raise Failure("disk-refused", f"/dev/{name} is mounted at {', '.join(mounted)}; {advice}")
    swaps = [line.split()[0] for line in _text(procfs / "swaps").splitlines()[1:]]
    if names & set(swaps):
        raise Failure("disk-refused", f"/dev/{name} holds this system's swap; give another disk")
    if _text(folder / "ro") == "1":
        raise Failure("disk-refused", f"/dev/{name} is write-protected; move the card's lock, or take another reader")
    size = int(_text(folder / "size") or 0) * 512
    if not size:
        raise Failure("disk-refused", f"/dev/{name} has no medium; put the card into the reader")
    if size > LARGEST and not large:
        raise Failure(
            "disk-refused",
            f"/dev/{name} has {size / 1e9:.0f} GB, more than a card of {LARGEST / 1e9:.0f} GB; "
            "if it is the right one, say so with --large",
        )
    model = " ".join(filter(None, (_text(folder / "device" / key) for key in ("vendor", "model", "name"))))
    card = _text(folder / "removable") == "1" or _text(folder / "device" / "type") == "SD"
    return Disk(name, model or "no name", size, card, tuple(part.name for part in parts))


def write_disk(device: Path, image: Path, large: bool = False) -> None:
    """Write the image to the disk and compare what is read back; raises Failure."""
    disk, size = find_disk(device_number(device), large=large), image.stat().st_size
    if size > disk.size:
        raise Failure(
            "disk-refused", f"the image has {size / 1e9:.1f} GB, {device} only {disk.size / 1e9:.1f} GB: take another"
        )
    written, seen = hashlib.sha256(), hashlib.sha256()
    try:
        # Of a block device, O_EXCL fails where the kernel itself uses it: mounted meanwhile, say.
        target = os.open(device, os.O_RDWR | os.O_EXCL)
    except OSError as error:
        raise Failure(
            "disk-refused", f"{device} cannot be opened: {error.strerror}; write as root, with nothing mounted"
        ) from error
    try:
        with image.open("rb") as source, progress_bar(f"writing {device} and reading it back", 2 * size) as bar:
            while chunk := source.read(CHUNK):
                written.update(chunk)
                view = memoryview(chunk)
                while view:
                    view = view[os.write(target, view) :]
                bar.update(len(chunk))
            os.fsync(target)
            fcntl.ioctl(target, BLKFLSBUF)
            os.lseek(target, 0, os.SEEK_SET)
            left = size
            while left and (chunk := os.read(target, min(CHUNK, left))):
                seen.update(chunk)
                left -= len(chunk)
                bar.update(len(chunk))
    except OSError as error:
        raise Failure(
            "disk-refused", f"{device}: {error.strerror}; it is half written: try another card or reader"
        ) from error
    finally:
        os.close(target)
    if seen.digest() != written.digest():
        raise Failure(
            "card-faulty", f"{device} gives back other bytes than were written; it is worn, or smaller than it says"
        )


def main(argv: list[str] | None = None) -> int:
    """Write one disk; returns deploy.sh's exit code."""
    parser = Parser(prog="deploy.flash.disk")
    parser.add_argument("image", type=Path)
    parser.add_argument("device", type=Path)
    parser.add_argument("--large", action="store_true")
    args = parser.parse_args(argv)
    try:
        write_disk(args.device, args.image, args.large)
    except Failure as failure:
        say(failure.line)
        return failure.exit_code
    except KeyboardInterrupt:
        say(f"{args.device} is half written")
        return 128 + signal.SIGINT
    return 0


if __name__ == "__main__":
    sys.exit(main())
