"""A Raspberry Pi OS image: where its partitions lie, which system it holds, and files on its boot partition.

All without root or a mount: the partition table is read here, ext4 by debugfs, FAT by mtools.
"""

from __future__ import annotations

import os
import struct
import subprocess
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from deploy.flash.errors import (
    ImageCannot,
    ImageCutShort,
    ImageIs32Bit,
    NotAnImage,
    NotRaspberryPiOS,
    ReadBackDiffers,
    ReleaseNotServed,
)

SECTOR = 512  # bytes
FAT32, LINUX, GPT = (0x0B, 0x0C), (0x83,), (0xEE,)  # partition types
AARCH64 = 183  # ELF's machine
SUITES = ("bookworm", "trixie")
# What the first boot of each calls: Bookworm's helpers of Raspberry Pi Imager, Trixie's cloud-init.
NEEDED = {"bookworm": ("raspberrypi-sys-mods", "userconf-pi"), "trixie": ("cloud-init",)}
SEED = b"seedfrom: file:///boot/firmware"  # how Raspberry Pi OS tells cloud-init where to look


@dataclass(frozen=True, slots=True)
class Partition:
    """Where a partition lies in the image, in bytes."""

    start: int
    size: int


@dataclass(frozen=True, slots=True)
class System:
    """What an image holds: the suite, its words about itself, its installed packages and its users' names."""

    suite: str
    issue: str
    packages: frozenset[str]
    users: frozenset[str]


def read_partitions(image: Path) -> tuple[Partition, Partition]:
    """Return the FAT boot partition and the ext4 root; raises NotAnImage or ImageCutShort."""
    size = image.stat().st_size
    with image.open("rb") as file:
        table = file.read(SECTOR)
        if len(table) < SECTOR or table[510:] != b"\x55\xaa":
            raise NotAnImage(f"{image.name} has no partition table; give a Raspberry Pi OS image, .img or .img.xz")
        entries = [struct.unpack_from("<4xB3xII", table, 446 + 16 * index) for index in range(4)]
        if entries[0][0] in GPT:
            raise NotAnImage(f"{image.name} has a GPT; Raspberry Pi OS images have an MBR: give one of those")
        if entries[0][0] not in FAT32 or entries[1][0] not in LINUX:
            found = ", ".join(f"{kind:#04x}" for kind, _, _ in entries if kind) or "none"
            raise NotAnImage(
                f"{image.name} has partitions of types {found}; Raspberry Pi OS has 0x0c (boot) and 0x83 (root)"
            )
        boot, root = (Partition(start * SECTOR, sectors * SECTOR) for _, start, sectors in entries[:2])
        end = max(boot.start + boot.size, root.start + root.size)
        if size < end:
            raise ImageCutShort(f"{image.name} has {size} bytes, its partitions end at {end}; download it again")
        file.seek(boot.start)
        fat = file.read(SECTOR)
        file.seek(root.start + 1024 + 56)
        ext4 = file.read(2)
    if fat[82:87] != b"FAT32" or fat[510:] != b"\x55\xaa" or ext4 != b"\x53\xef":
        raise NotAnImage(f"{image.name}'s partitions hold no FAT32 and ext4 file systems; download it again")
    return boot, root


class Root:
    """Files of the ext4 root partition."""

    def __init__(self, image: Path, partition: Partition) -> None:
        self._file = f"{image}?offset={partition.start}"

    def _ask(self, request: str) -> bytes:
        return subprocess.run(["debugfs", "-R", request, self._file], capture_output=True, check=False).stdout

    def read(self, path: str) -> bytes:
        """Return a file's bytes, none where it is not there; links are not followed."""
        return self._ask(f"cat {path}")

    def names(self, folder: str) -> list[str]:
        """Return the names in a folder, none where it is not there."""
        lines = self._ask(f"ls -p {folder}").decode(errors="replace").splitlines()
        return [line.split("/")[5] for line in lines if line.count("/") >= 6]


def identify(root: Root) -> System:
    """Say which system this is; raises NotRaspberryPiOS, ImageIs32Bit or ReleaseNotServed."""
    told = dict(line.split("=", 1) for line in root.read("/usr/lib/os-release").decode().splitlines() if "=" in line)
    release = {key: value.strip('"') for key, value in told.items()}
    issue = root.read("/etc/rpi-issue").decode(errors="replace").partition("\n")[0]
    if release.get("ID") not in ("debian", "raspbian") or "Raspberry Pi" not in issue:
        name = release.get("PRETTY_NAME", "no system that says its name")
        raise NotRaspberryPiOS(f"the image holds {name}, not Raspberry Pi OS; give a Raspberry Pi OS Lite (64-bit)")
    program = root.read("/usr/bin/dpkg")[:20]
    machine = struct.unpack_from("<H", program, 18)[0] if program[:5] == b"\x7fELF\x02" else None
    if machine != AARCH64:
        raise ImageIs32Bit(f"the image ({issue}) is not for 64-bit Arm; take Raspberry Pi OS Lite (64-bit)")
    suite = release.get("VERSION_CODENAME", "")
    if suite not in SUITES:
        raise ReleaseNotServed(f"the image is Raspberry Pi OS {suite or 'unknown'}; served are {' and '.join(SUITES)}")
    packages = installed(root.read("/var/lib/dpkg/status").decode(errors="replace"))
    missing = [name for name in ("python3", "openssh-server", *NEEDED[suite]) if name not in packages]
    if missing:
        raise ReleaseNotServed(f"the image ({issue}) lacks {', '.join(missing)}, which its first boot needs; take a newer")
    if suite == "trixie" and (
        "cloud-init.disabled" in root.names("/etc/cloud")
        or not any(SEED in root.read(f"/etc/cloud/cloud.cfg.d/{name}") for name in root.names("/etc/cloud/cloud.cfg.d"))
    ):
        raise ReleaseNotServed(f"cloud-init in the image ({issue}) does not look at /boot/firmware; take a newer")
    users = frozenset(
        fields[0]
        for fields in (line.split(":") for line in root.read("/etc/passwd").decode(errors="replace").splitlines())
        if len(fields) > 2 and fields[2] != "1000"  # the first boot renames the user 1000
    )
    return System(suite, issue, packages, users)


def installed(status: str) -> frozenset[str]:
    """Return the names of the packages that dpkg's status file calls installed."""
    names = set()
    for paragraph in status.split("\n\n"):
        fields = dict(line.split(": ", 1) for line in paragraph.splitlines() if ": " in line and line[0] != " ")
        if fields.get("Status", "").endswith(" installed"):
            names.add(fields.get("Package", ""))
    return frozenset(names)


class Boot:
    """The FAT boot partition, read and written by mtools."""

    def __init__(self, image: Path, partition: Partition) -> None:
        self._image, self._partition = image, partition

    def _tool(self, tool: str, *words: str | Path) -> subprocess.CompletedProcess[bytes]:
        # mtools has views on how many sectors a track has; no disk of this century has tracks of 63.
        environment = {**os.environ, "MTOOLS_SKIP_CHECK": "1"}
        where = f"{self._image}@@{self._partition.start}"
        return subprocess.run([tool, "-i", where, *words], capture_output=True, env=environment, check=False)

    @cached_property
    def _cluster(self) -> int:
        with self._image.open("rb") as file:
            file.seek(self._partition.start)
            sector, clusters = struct.unpack_from("<HB", file.read(SECTOR), 11)
        return int(sector * clusters)

    def free(self) -> int:
        """Return the bytes that are free; raises NotAnImage where mtools cannot read the file system."""
        told = self._tool("mdir", "::/")
        words = told.stdout.decode(errors="replace").strip().rpartition("\n")[2].split()
        if told.returncode or words[-2:] != ["bytes", "free"]:
            raise NotAnImage(f"mtools cannot read the boot partition: {told.stderr.decode(errors='replace').strip()}")
        return int("".join(words[:-2]))

    def read(self, path: str) -> bytes | None:
        """Return a file's bytes, None where it is not there."""
        told = self._tool("mcopy", "-n", f"::/{path}", "-")
        return None if told.returncode else told.stdout

    def need(self, sizes: list[int]) -> int:
        """Return the bytes that files of these sizes take, in whole clusters, with a cluster each for their names."""
        return sum(-(-size // self._cluster) * self._cluster + self._cluster for size in sizes)

    def write(self, files: dict[str, bytes | Path]) -> None:
        """Put files there, by their paths, and read each back; raises ImageCannot or ReadBackDiffers."""
        sizes = [len(content) if isinstance(content, bytes) else content.stat().st_size for content in files.values()]
        needed, free = self.need(sizes), self.free()
        if needed > free:
            raise ImageCannot(
                f"the boot partition has {free / 1e6:.0f} MB free, Cuelens needs {needed / 1e6:.0f} MB on it until "
                "its first boot is done; take an image whose boot partition is larger (Raspberry Pi OS' has 512 MB)"
            )
        for folder in sorted({str(Path(path).parent) for path in files} - {"."}):
            self._tool("mmd", "-D", "s", f"::/{folder}")
        for path, content in files.items():
            if isinstance(content, Path):
                put = self._tool("mcopy", "-o", content, f"::/{path}")
                content = content.read_bytes()
            else:
                put = self._put(path, content)
            if put.returncode:
                said = put.stderr.decode(errors="replace").strip()
                raise ImageCannot(f"{path} cannot be written to the boot partition: {said}")
            if self.read(path) != content:
                raise ReadBackDiffers(f"{path} on the boot partition is not what was written; check the disk")

    def _put(self, path: str, content: bytes) -> subprocess.CompletedProcess[bytes]:
        where = f"{self._image}@@{self._partition.start}"
        environment = {**os.environ, "MTOOLS_SKIP_CHECK": "1"}
        return subprocess.run(
            ["mcopy", "-o", "-i", where, "-", f"::/{path}"],
            input=content,
            capture_output=True,
            env=environment,
            check=False,
        )
