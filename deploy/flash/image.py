"""A Raspberry Pi OS image: where its partitions lie, which system it holds, and the files on its boot partition.

All without root or a mount: the partition table is read here, ext4 by debugfs, FAT by mtools.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path, PurePosixPath

from deploy.failure import Failure, plain
from deploy.tools import BytesDone, as_text, complete

SECTOR = 512  # bytes
FAT32, LINUX, GPT = 0x0C, 0x83, 0xEE  # types of partitions
AARCH64 = 183  # ELF's number of the machine
# What the first boot of a release calls: of Raspberry Pi Imager's helpers, or cloud-init.
NEEDED = {"bookworm": ("raspberrypi-sys-mods", "userconf-pi"), "trixie": ("cloud-init",)}
SEED = b"seedfrom: file:///boot/firmware"  # where Raspberry Pi OS has cloud-init look


@dataclass(frozen=True, slots=True)
class Partition:
    """Where a partition lies in the image, in bytes."""

    start: int
    size: int


@dataclass(frozen=True, slots=True)
class System:
    """What an image holds: its suite, what it calls itself, its installed packages, its users and groups.

    Not among the last two is the first user (1000) with the group of the same name, whom the first boot may rename.
    """

    suite: str
    issue: str
    packages: frozenset[str]
    users: frozenset[str]
    groups: frozenset[str]


def read_partitions(image: Path, name: str) -> tuple[Partition, Partition]:
    """Return the FAT boot partition and the ext4 root; `name` is what the maker calls it. Raises Failure."""
    with image.open("rb") as file:
        table = file.read(SECTOR)
        if len(table) < SECTOR or table[510:] != b"\x55\xaa":
            raise Failure(
                "image-missing", f"{name} has no partition table; give a Raspberry Pi OS image (.img or .img.xz)"
            )
        entries = [struct.unpack_from("<4xB3xII", table, 446 + 16 * index) for index in range(4)]
        kinds = [kind for kind, _, _ in entries]
        if kinds[0] == GPT:
            raise Failure("image-missing", f"{name} has a GPT; Raspberry Pi OS images have an MBR: give one of those")
        if kinds[:2] != [FAT32, LINUX]:
            found = ", ".join(f"{kind:#04x}" for kind in kinds if kind) or "none"
            raise Failure(
                "image-missing",
                f"{name} has partitions of types {found}, Raspberry Pi OS has {FAT32:#04x} and {LINUX:#04x}; "
                "give one of its images",
            )
        boot, root = (Partition(start * SECTOR, sectors * SECTOR) for _, start, sectors in entries[:2])
        size, end = image.stat().st_size, max(part.start + part.size for part in (boot, root))
        if size < end:
            raise Failure(
                "image-damaged", f"{name} ends after {size} bytes, its partitions after {end}; download it again"
            )
        file.seek(boot.start)
        fat = file.read(SECTOR)
        file.seek(root.start + 1080)
        ext4 = file.read(2)
    if fat[82:87] != b"FAT32" or ext4 != b"\x53\xef":
        raise Failure("image-missing", f"{name}'s partitions are not FAT32 and ext4; give a Raspberry Pi OS image")
    return boot, root


class Root:
    """Files of the ext4 root partition, as debugfs reads them; links are not followed."""

    def __init__(self, image: Path, partition: Partition) -> None:
        # debugfs and mtools give some letters of a path a meaning; in its folder the file's name has none.
        self._folder, self._file = image.parent, f"{image.name}?offset={partition.start}"

    def _ask(self, request: str) -> bytes:
        words = ["debugfs", "-R", request, self._file]
        return complete(*words, cwd=self._folder).stdout

    def read(self, path: str) -> bytes:
        """Return a file's bytes; none where it is not there."""
        return self._ask(f"cat {path}")

    def text(self, path: str) -> str:
        """Return a file as text; empty where it is not there."""
        return self.read(path).decode(errors="replace")

    def names(self, folder: str) -> list[str]:
        """Return the names in a folder; none where it is not there."""
        lines = self._ask(f"ls -p {folder}").decode(errors="replace").splitlines()
        return [fields[5] for fields in (line.split("/") for line in lines) if len(fields) > 6]


def identify(root: Root) -> System:
    """Return which system this is; raises Failure where it is not served, or its first boot would lack something."""
    lines = (line.partition("=") for line in root.text("/usr/lib/os-release").splitlines())
    release = {key: value.strip('"') for key, _, value in lines}
    issue = plain(root.text("/etc/rpi-issue").partition("\n")[0])
    if release.get("ID") not in ("debian", "raspbian") or not issue.startswith("Raspberry Pi"):
        name = release.get("PRETTY_NAME", "a system that does not say its name")
        raise Failure(
            "image-foreign", f"the image holds {plain(name)}, not Raspberry Pi OS; take Raspberry Pi OS Lite (64-bit)"
        )
    program = root.read("/usr/bin/dpkg")[:20]
    if program[:5] != b"\x7fELF\x02" or program[18:] != struct.pack("<H", AARCH64):
        raise Failure("image-32-bit", f"the image ({issue}) is not a 64-bit one; take Raspberry Pi OS Lite (64-bit)")
    suite = release.get("VERSION_CODENAME", "unknown")
    if suite not in NEEDED:
        raise Failure("image-unsupported", f"the image ({issue}) is {plain(suite)}; served are {' and '.join(NEEDED)}")
    packages = installed(root.text("/var/lib/dpkg/status"))
    missing = [name for name in ("python3", "openssh-server", "sudo", *NEEDED[suite]) if name not in packages]
    if missing:
        raise Failure(
            "image-unsupported",
            f"the image ({issue}) lacks {', '.join(missing)}, which its first boot needs; take a newer one",
        )
    if suite == "trixie" and not seeds_cloud_init(root):
        raise Failure(
            "image-unsupported", f"cloud-init of the image ({issue}) does not look at /boot/firmware; take a newer one"
        )
    accounts = [line.split(":") for line in root.text("/etc/passwd").splitlines()]
    first = {fields[0] for fields in accounts if fields[2:3] == ["1000"]}
    groups = {line.partition(":")[0] for line in root.text("/etc/group").splitlines()}
    return System(
        suite, issue, packages, frozenset({fields[0] for fields in accounts} - first), frozenset(groups - first)
    )


def seeds_cloud_init(root: Root) -> bool:
    """Return whether cloud-init starts, and takes its files from the boot partition."""
    folder = "/etc/cloud/cloud.cfg.d"
    return "cloud-init.disabled" not in root.names("/etc/cloud") and any(
        SEED in root.read(f"{folder}/{name}") for name in root.names(folder)
    )


def installed(status: str) -> frozenset[str]:
    """Return the names of the packages that dpkg's status file calls installed."""
    names = set()
    for paragraph in status.split("\n\n"):
        fields = dict(line.split(": ", 1) for line in paragraph.splitlines() if ": " in line)
        if fields.get("Status", "").endswith(" installed") and "Package" in fields:
            names.add(fields["Package"])
    return frozenset(names)


class Boot:
    """The FAT boot partition, read and written by mtools."""

    def __init__(self, image: Path, partition: Partition) -> None:
        self._folder, self._where = image.parent, f"{image.name}@@{partition.start}"
        with image.open("rb") as file:
            file.seek(partition.start)
            sector, sectors = struct.unpack_from("<HB", file.read(SECTOR), 11)
        self._cluster: int = sector * sectors
        if not self._cluster:
            raise Failure("image-missing", f"{image.name} has a boot partition without clusters; download it again")

    def _tool(self, tool: str, *words: str, given: bytes = b"") -> BytesDone:
        # mtools knows how many sectors a track has to have; no disk of this century has such tracks.
        variables = {"MTOOLS_SKIP_CHECK": "1"}
        return complete(tool, "-i", self._where, *words, cwd=self._folder, given=BytesIO(given), variables=variables)

    def free(self) -> int:
        """Return the bytes that are free; raises Failure where mtools cannot read the file system."""
        done = self._tool("mdir", "::/")
        last = as_text(done.stdout).strip().rpartition("\n")[2]
        if done.returncode or not last.endswith(" bytes free"):
            raise Failure("image-missing", f"mtools cannot read the boot partition: {as_text(done.stderr).strip()}")
        return int(last.removesuffix(" bytes free").replace(" ", ""))

    def read(self, path: str) -> bytes | None:
        """Return a file's bytes; None where it is not there."""
        done = self._tool("mtype", f"::/{path}")
        return None if done.returncode else done.stdout

    def write(self, files: dict[str, bytes]) -> None:
        """Put files there by their paths and read each back; raises Failure."""
        # Each in whole clusters, and one more for its name.
        needed = sum((-(-len(content) // self._cluster) + 1) * self._cluster for content in files.values())
        if needed > (free := self.free()):
            raise Failure(
                "image-unfit",
                f"the boot partition has {free / 1e6:.0f} MB free, Cuelens needs {needed / 1e6:.0f} MB there until its "
                "first boot is done; take an image with a larger one (Raspberry Pi OS has 512 MB)",
            )
        for folder in sorted({str(PurePosixPath(path).parent) for path in files} - {"."}):
            self._tool("mmd", "-D", "s", f"::/{folder}")
        for path, content in files.items():
            done = self._tool("mcopy", "-o", "-", f"::/{path}", given=content)
            if done.returncode:
                words = as_text(done.stderr).strip()
                raise Failure("disk-refused", f"{path} could not be written to the boot partition: {words}")
            if self.read(path) != content:
                raise Failure(
                    "card-faulty", f"{path}, read back from the boot partition, is not what was written; check the disk"
                )
