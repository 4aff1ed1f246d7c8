"""Images with Raspberry Pi OS' partitions, made without root, flashed, and what is then on their boot partition."""

from __future__ import annotations

import hashlib
import os
import struct
import subprocess
import sys
from pathlib import Path

ALIGN = 8  # MiB, as pi-gen has it
BOOT_AT = f"@@{ALIGN}M"
CMDLINE = "console=serial0,115200 console=tty1 root=PARTUUID={disk}-02 rootfstype=ext4 fsck.repair=yes rootwait"
# What each release has after that in the images that are downloaded.
FIRST = {"bookworm": " quiet init=/usr/lib/raspberrypi-sys-mods/firstboot\n", "trixie": " resize\n"}
FSTAB = """\
proc            /proc           proc    defaults          0       0
PARTUUID={disk}-01  /boot/firmware  vfat    defaults          0       2
PARTUUID={disk}-02  /               ext4    defaults,noatime  0       1
"""

PACKAGES = {
    "bookworm": "python3 openssh-server sudo raspberrypi-sys-mods userconf-pi network-manager",
    "trixie": "python3 openssh-server sudo cloud-init network-manager",
}
GROUPS = ("root", "adm", "sudo", "audio", "video", "users", "input", "render", "netdev", "gpio", "i2c", "spi")
CLOUD = "etc/cloud/cloud.cfg.d/99_raspberry-pi.cfg"


def do(*words: str | Path, given: bytes = b"") -> bytes:
    """Run a tool that must succeed; returns what it says."""
    environment = {**os.environ, "MTOOLS_SKIP_CHECK": "1"}
    done = subprocess.run(words, input=given, capture_output=True, env=environment, timeout=120, check=False)
    assert done.returncode == 0, f"{words}: {done.stdout.decode()}{done.stderr.decode()}"
    return done.stdout


def write_tree(tree: Path, suite: str) -> None:
    """Write what says of a root that it is Raspberry Pi OS."""
    number = {"bookworm": 12, "trixie": 13}[suite]
    packages = "\n".join(
        f"Package: {name}\nStatus: install ok installed\nArchitecture: arm64\n" for name in PACKAGES[suite].split()
    )
    elf = b"\x7fELF\x02\x01\x01".ljust(18, b"\0") + struct.pack("<H", 183) + bytes(64)
    release = f'PRETTY_NAME="Debian GNU/Linux {number} ({suite})"\nID=debian\nVERSION_CODENAME={suite}\n'
    users = ("root:x:0:0:root:/root:/bin/bash", "sshd:x:104:65534::/run/sshd:/x", "pi:x:1000:1000::/home/pi:/bin/bash")
    files: dict[str, str | bytes] = {
        "usr/lib/os-release": release,
        "etc/rpi-issue": "Raspberry Pi reference 2026-06-18\nGenerated using pi-gen\n",
        "usr/bin/dpkg": elf,
        "var/lib/dpkg/status": packages,
        "etc/passwd": "\n".join((*users, "")),
        "etc/group": "".join(f"{name}:x:{number}:\n" for number, name in enumerate(GROUPS)) + "pi:x:1000:\n",
    }
    if suite == "trixie":
        files[CLOUD] = (
            "datasource_list: [ NoCloud, None ]\ndatasource:\n  NoCloud:\n    seedfrom: file:///boot/firmware\n"
        )
    for name, content in files.items():
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).write_bytes(content if isinstance(content, bytes) else content.encode())


def write_digest(image: Path) -> None:
    """Put the image's checksum beside it, as the download page does."""
    digest = hashlib.sha256(image.read_bytes()).hexdigest()
    image.with_name(f"{image.name}.sha256").write_text(f"{digest}  {image.name}\n")


def make_image(image: Path, tree: Path, suite: str, boot_mib: int, root_mib: int, first: str | None = None) -> Path:
    """Make an image of a root's tree, into which fstab is written, and a boot partition with cmdline.txt."""
    start, end = ALIGN + boot_mib, ALIGN + boot_mib + root_mib
    with image.open("wb") as file:
        file.truncate((end + 1) << 20)
    layout = f"mklabel msdos unit MiB mkpart primary fat32 {ALIGN} {start} mkpart primary ext4 {start} {end}"
    do("parted", "--script", image, *layout.split())
    with image.open("rb") as file:
        file.seek(440)
        disk = f"{struct.unpack('<I', file.read(4))[0]:08x}"
    (tree / "etc" / "fstab").write_text(FSTAB.format(disk=disk))
    do("mkfs.vfat", "-F", "32", "-s", "1", "-n", "BOOTFS", "--offset", str(ALIGN << 11), image, str(boot_mib << 10))
    ext4 = ("-O", "^64bit,^huge_file", "-E", f"offset={start << 20}")
    do("mkfs.ext4", "-q", "-L", "rootfs", *ext4, "-d", tree, image, f"{root_mib}M")
    text = CMDLINE.format(disk=disk) + (FIRST[suite] if first is None else first)
    do("mcopy", "-i", f"{image}{BOOT_AT}", "-", "::/cmdline.txt", given=text.encode())
    return image


def boot_files(image: Path) -> dict[str, bytes]:
    """Return the files of the boot partition by their paths."""
    where = f"{image}{BOOT_AT}"
    names = do("mdir", "-/", "-b", "-i", where, "::/").decode().splitlines()
    paths = [name.removeprefix("::/") for name in names if not name.endswith("/")]
    return {path: do("mtype", "-i", where, f"::/{path}") for path in paths}


def flash(*words: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the tool with nobody there to answer it."""
    return subprocess.run(
        (sys.executable, "-m", "deploy.flash", *words),
        env={**os.environ, **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
