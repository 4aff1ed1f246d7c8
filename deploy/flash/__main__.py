"""`deploy.sh flash`: checks an image, puts on a copy's boot partition what the first boot reads, writes the card."""

from __future__ import annotations

import argparse
import getpass
import hashlib
import lzma
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

from deploy.bundle import default_key, ensure_key, make, signers_line, verify
from deploy.flash.disk import Disk, device_number, find_disk
from deploy.flash.image import Boot, Root, System, identify, read_partitions
from deploy.flash.seed import FOLDER, Wifi, Wishes, seed_files, wpa_key
from deploy.packages import CHUNK, ROOT, TARGETS, Failure, counted, progress_bar, project_version, say
from edge.config import Settings, load_settings
from edge.errors import CuelensError

DEVICE = ROOT / "deploy" / "device"
TOOLS = {"mcopy": "mtools", "debugfs": "e2fsprogs"}
KEY = re.compile(
    r"(ssh-(ed25519|rsa)|ecdsa-sha2-nistp\d+|sk-(ssh-ed25519|ecdsa-sha2-nistp256)@openssh\.com) [\w+/=]+( [ -~]*)?"
)
HOSTNAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
USER = re.compile(r"[a-z][a-z0-9-]{0,31}")


def parse(argv: list[str] | None) -> argparse.Namespace:
    """The command line, each value by itself."""
    parser = argparse.ArgumentParser(
        prog="deploy.sh flash", description="Write a card that starts as Cuelens from a Raspberry Pi OS image."
    )
    parser.add_argument("--image", type=Path, required=True, metavar="IMG", help="Raspberry Pi OS, .img or .img.xz")
    target = parser.add_mutually_exclusive_group(required=True)
    target.add_argument("--device", type=Path, metavar="/dev/sdX", help="the card, a whole disk; all on it is lost")
    target.add_argument("--out", type=Path, metavar="FILE", help="an image instead of a card, without root")
    parser.add_argument("--sha256", metavar="HEX", help="of the image as it is given; default what IMG.sha256 says")
    parser.add_argument("--hostname", default="cuelens", help="of the device; default cuelens")
    parser.add_argument("--user", default="maker", help="who may log in, by ssh key alone, and sudo; default maker")
    parser.add_argument(
        "--ssh-key", type=Path, metavar="FILE", help="public keys of that user; default ~/.ssh/id_*.pub"
    )
    parser.add_argument("--wifi", metavar="SSID", help="name of a WPA2 network; its password is asked for")
    parser.add_argument("--wifi-password-file", type=Path, metavar="FILE", help="read the password there instead")
    parser.add_argument("--country", metavar="CC", help="two letters (DE): whose radio rules hold for --wifi")
    parser.add_argument("--settings", type=Path, metavar="TOML", help="as deploy/cuelens.toml; default none set")
    parser.add_argument("--bundle", type=Path, metavar="FILE", help="default dist/'s, made where it is not there")
    parser.add_argument(
        "--read-only", action="store_true", help="after the first boot, keep nothing written to the root"
    )
    parser.add_argument("--large", action="store_true", help="allow a disk of more than 256 GB")
    parser.add_argument("--yes", action="count", default=0, help="do not ask; twice for a disk that is no card")
    parser.add_argument("--debug", action="store_true", help="show the traceback of a failure")
    args = parser.parse_args(argv)
    if not HOSTNAME.fullmatch(args.hostname):
        parser.error(f"--hostname is '{args.hostname}'; valid are a to z, 0 to 9 and inner hyphens, 63 at most")
    if not USER.fullmatch(args.user):
        parser.error(f"--user is '{args.user}'; valid are a to z, 0 to 9 and hyphens, a letter first, 32 at most")
    if args.wifi is not None and (
        not 1 <= len(os.fsencode(args.wifi)) <= 32 or re.search("[\ud800-\udfff]", args.wifi)
    ):
        parser.error(f"--wifi is {args.wifi!r}; valid are 1 to 32 bytes of UTF-8")
    if args.wifi is not None and not re.fullmatch(r"[A-Z]{2}", args.country or ""):
        parser.error(
            f"--country is '{args.country or ''}'; --wifi needs two letters such as DE, by whose rules it sends"
        )
    if args.sha256 and not re.fullmatch(r"[0-9A-Fa-f]{64}", args.sha256):
        parser.error("--sha256 is not 64 hexadecimal digits")
    return args


def main(argv: list[str] | None = None) -> int:
    """Flash; returns deploy.sh's exit code."""
    args = parse(argv)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # by way of what removes half an image
    try:
        flash(args)
    except (Failure, CuelensError) as error:
        if args.debug:
            raise
        say(str(error))
        return error.exit_code
    except OSError as error:
        if args.debug:
            raise
        where = error.filename or args.out or args.device
        say(f"{where}: {error.strerror}; name a place that has room and may be written")
        return 107
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    return 0


def flash(args: argparse.Namespace) -> None:
    """Do it, from the checks that cost nothing to the write that cannot be taken back."""
    for tool, package in TOOLS.items():
        if not shutil.which(tool):
            raise Failure(109, f"no {tool} on this machine; install it with: sudo apt install {package}")
    settings = load_settings(args.settings) if args.settings else Settings()
    keys = public_keys(args.ssh_key)
    digest: str = args.sha256 or told_digest(args.image)
    disk = find_disk(device_number(args.device), large=args.large) if args.device else None
    if disk:
        confirm(args.device, disk, args.yes)
    wifi = Wifi(args.wifi, wpa_key(args.wifi, password(args)), args.country) if args.wifi is not None else None
    wishes = Wishes(args.hostname, args.user, keys, wifi, args.read_only)
    check_digest(args.image, digest.lower())
    # A card, too, is written from a whole image that was looked into: what cannot be served leaves it as it was.
    place = args.out.absolute().parent if args.out else ROOT / ".cache"
    if args.device:
        place.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=place, prefix=".flash-") as folder:
        image = Path(folder) / "card.img"
        copy_image(args.image, image)
        boot, root = read_partitions(image, args.image.name)
        system = identify(Root(image, root))
        say(f"{args.image.name} is {system.issue} ({system.suite}, 64-bit)")
        check_wishes(system, wishes, settings)
        customise(Boot(image, boot), system, wishes, args.settings, args.bundle)
        if args.out:
            image.replace(args.out)
            say(f"{args.out} is ready: write it to a card as it is")
            return
        if find_disk(device_number(args.device), large=args.large) != disk:
            raise Failure(107, f"{args.device} is another disk than a while ago; start again")
        write_card(args.device, image, args.large)
    say(f"{args.device} is ready: its first boot takes some minutes, then it is {wishes.user}@{wishes.hostname}.local")


def write_card(device: Path, image: Path, large: bool) -> None:
    """Write and compare in a process of its own: of all this it alone needs root, and asks for it by sudo."""
    command = [
        sys.executable,
        "-P",
        "-m",
        "deploy.flash.disk",
        str(image),
        str(device),
        *(["--large"] if large else []),
    ]
    if not os.access(device, os.R_OK | os.W_OK):
        say(f"sudo is asked for, to write {device}")
        command = ["sudo", "env", f"PYTHONPATH={os.environ.get('PYTHONPATH', '')}", *command]
    if code := subprocess.run(command, check=False).returncode:
        sys.exit(code)


def public_keys(given: Path | None) -> tuple[str, ...]:
    """Return the ssh keys that may log in; raises Failure where there is none, or it is no public one."""
    found = [given] if given else sorted((Path.home() / ".ssh").glob("id_*.pub"))
    if not found:
        raise Failure(109, "no ssh key ~/.ssh/id_*.pub; make one with ssh-keygen, or give --ssh-key FILE")
    keys = []
    for path in found:
        try:
            lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
        except OSError as error:
            raise Failure(109, f"{path}: {error.strerror}; give --ssh-key the file of a public key (.pub)") from error
        for line in filter(None, map(str.strip, lines)):
            if not KEY.fullmatch(line):
                raise Failure(109, f"{path} has a line that is no public key; give --ssh-key the .pub file")
            keys.append(line)
    return tuple(keys)


def password(args: argparse.Namespace) -> str:
    """Return the network's password, from the file or the maker; raises Failure."""
    if args.wifi_password_file:
        word: str = args.wifi_password_file.read_text(encoding="utf-8").rstrip("\n")
    elif sys.stdin.isatty():
        word = getpass.getpass(f"password of {args.wifi}: ")
    else:
        raise Failure(109, "no terminal to ask for the network's password; give it with --wifi-password-file FILE")
    if not re.fullmatch(r"[ -~]{8,63}|[0-9A-Fa-f]{64}", word):
        raise Failure(
            109, f"a password of {len(word)} letters; WPA2 takes 8 to 63 ASCII letters, or 64 hexadecimal digits"
        )
    return word


def told_digest(image: Path) -> str:
    """Return what the file beside the image says its sha256 is; raises Failure."""
    if not image.is_file():
        raise Failure(100, f"{image} is not there; download Raspberry Pi OS Lite (64-bit) and its .sha256 file")
    beside = image.with_name(f"{image.name}.sha256")
    if not beside.is_file():
        raise Failure(102, f"no checksum: {beside} is not there; download it too, or give --sha256")
    for line in beside.read_text(encoding="utf-8", errors="replace").splitlines():
        digest, _, name = line.strip().partition(" ")
        if re.fullmatch(r"[0-9A-Fa-f]{64}", digest) and name.lstrip(" *") in ("", image.name):
            return digest
    raise Failure(102, f"{beside} has no sha256 of {image.name}; download it again, or give --sha256")


def check_digest(image: Path, digest: str) -> None:
    """Hold the image to its sha256; raises Failure."""
    found = hashlib.sha256()
    with image.open("rb") as file, progress_bar(f"checking {image.name}", image.stat().st_size) as bar:
        while chunk := file.read(CHUNK):
            found.update(chunk)
            bar.update(len(chunk))
    if found.hexdigest() != digest:
        raise Failure(102, f"{image.name} has sha256 {found.hexdigest()}, not {digest}; download it again")


def copy_image(image: Path, copy: Path) -> None:
    """Copy an image, unpacked, with holes where it is empty; raises Failure where it is cut short or damaged."""
    with ExitStack() as stack:
        bar = stack.enter_context(progress_bar(f"unpacking {image.name}", image.stat().st_size))
        file, out = stack.enter_context(image.open("rb")), stack.enter_context(copy.open("wb"))
        source = counted(file, bar)
        if file.peek(6).startswith(b"\xfd7zXZ\0"):
            source = stack.enter_context(lzma.open(source))
        try:
            while chunk := source.read(CHUNK):
                if chunk.strip(b"\0"):
                    out.write(chunk)
                else:
                    out.seek(len(chunk), os.SEEK_CUR)
            out.truncate()
        except EOFError as error:
            raise Failure(101, f"{image.name} is cut short; download it again") from error
        except lzma.LZMAError as error:
            raise Failure(101, f"{image.name} is damaged ({error}); download it again") from error


def check_wishes(system: System, wishes: Wishes, settings: Settings) -> None:
    """Say what the image cannot do, or will do only later; raises Failure."""
    if wishes.user in {*system.users, "cuelens"}:  # the latter is the service's
        raise Failure(106, f"--user is '{wishes.user}', a user of the system itself; choose another name")
    if wishes.wifi and "network-manager" not in system.packages:
        raise Failure(106, f"the image ({system.issue}) has no NetworkManager for --wifi; take an official one")
    if wishes.read_only and "overlayroot" not in system.packages:
        raise Failure(
            106,
            f"the image ({system.issue}) has no overlayroot, and a first boot no network to get it; leave --read-only "
            "out, and turn it on later, with a network: sudo raspi-config nonint enable_overlayfs",
        )
    if settings.source == "picamera" and "python3-picamera2" not in system.packages:
        say(
            "note: the image has no picamera2, which the settings' source picamera needs: once it has a network, "
            "sudo apt install --no-install-recommends python3-picamera2; a USB camera (source v4l2) needs nothing"
        )


def customise(boot: Boot, system: System, wishes: Wishes, settings: Path | None, bundle: Path | None) -> None:
    """Put the bundle and all that the first boot reads on the boot partition; raises Failure."""
    target = next(target for target in TARGETS if (target.suite, target.arch) == (system.suite, "aarch64"))
    if not bundle:
        bundle = ROOT / "dist" / f"cuelens-{project_version()[0]}-{target.suite}-{target.arch}.tar"
        if not bundle.exists():
            make([target], bundle.parent)
    signers = signers_line(ensure_key(default_key())).encode()
    contents = verify(bundle, signers)
    if contents.target.split()[:2] != [target.suite, target.arch]:
        raise Failure(106, f"{bundle} is for {contents.target}, the image is {target}; give that one's bundle")
    cmdline = boot.read("cmdline.txt")
    if not cmdline:
        raise Failure(103, "the boot partition has no cmdline.txt; take Raspberry Pi OS Lite (64-bit)")
    say(f"putting {bundle.name} ({bundle.stat().st_size / 1e6:.0f} MB) on the boot partition")
    files = {
        f"{FOLDER}/{bundle.name}": bundle.read_bytes(),
        f"{FOLDER}/allowed_signers": signers,
        **({f"{FOLDER}/cuelens.toml": settings.read_bytes()} if settings else {}),
        **{
            f"{FOLDER}/{name}": (DEVICE / name).read_bytes()
            for name in ("install.sh", "first-boot.sh", "cuelens-first-boot.service")
        },
    }
    boot.write(files | seed_files(system.suite, wishes, cmdline.decode()))


def confirm(device: Path, disk: Disk, yes: int) -> None:
    """Ask before all on a disk is lost, twice where it is no card; raises Failure."""
    questions = 1 if disk.card else 2
    if yes >= questions:
        return
    kind = "a card" if disk.card else "NO card: built in, or a large USB disk"
    print(f"{device}: {disk.model}, {disk.size / 1e9:.1f} GB, {kind}", file=sys.stderr)
    subprocess.run(["lsblk", "--output", "NAME,SIZE,FSTYPE,LABEL", device], stdout=sys.stderr, check=False)
    if not sys.stdin.isatty():
        more = " --yes" * questions
        raise Failure(107, f"no terminal to ask whether all on {device} may be lost; if so, say{more}")
    for question in ("All on it will be lost. Type its name to go on", "It cannot be taken out. Type its name again")[
        yes:questions
    ]:
        if input(f"{question} ({disk.name}): ").strip() not in (disk.name, str(device)):
            raise Failure(107, f"{device} was left as it is")


if __name__ == "__main__":
    sys.exit(main())
