"""`deploy.sh flash`: checks an image, puts on a copy's boot partition what the first boot reads, writes the card."""

from __future__ import annotations

import argparse
import getpass
import hashlib
import lzma
import os
import re
import signal
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

from deploy.bundle import make, packed_installer, verify
from deploy.failure import Failure
from deploy.flash.disk import Disk, device_number, find_disk
from deploy.flash.given import read_text
from deploy.flash.image import Boot, Root, System, identify, read_partitions
from deploy.flash.keys import public_keys
from deploy.flash.network import (
    SECURITIES,
    Wifi,
    check_password,
    mistake_in_country,
    mistake_in_security,
    notes,
    wpa_key,
)
from deploy.flash.seed import FOLDER, Wishes, seed_files
from deploy.keys import default_key, ensure_key, signers_line
from deploy.packages import ROOT, TARGETS, counted, progress_bar, project_version, refused
from deploy.parser import Parser
from deploy.tools import CHUNK, first_absent, hand_over, say
from edge.errors import CuelensError
from edge.settings import Settings
from edge.settings_file import load_settings

DEVICE = ROOT / "deploy" / "device"
TOOLS = {"mcopy": "mtools", "debugfs": "e2fsprogs"}
HOSTNAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
USER = re.compile(r"[a-z][a-z0-9-]{0,31}")
TAKEN = ("cuelens", "default")  # the service's user; what cloud-init calls the image's own


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="./deploy.sh flash",
        description="Write a card that starts as Cuelens from a Raspberry Pi OS image.",
        epilog="example: ./deploy.sh flash --image raspios.img.xz --device /dev/sdX --hostname glasses",
    )
    parser.add_argument(
        "--image", type=Path, required=True, metavar="IMG", help="Image of Raspberry Pi OS, .img or .img.xz."
    )
    target = parser.add_mutually_exclusive_group(required=True)
    target.add_argument(
        "--device", type=Path, metavar="/dev/sdX", help="The card, a whole disk. Everything on it is erased."
    )
    target.add_argument("--out", type=Path, metavar="FILE", help="Write this image instead of a card, without root.")
    parser.add_argument("--sha256", metavar="HEX", help="Checksum of the image file. The default is in IMG.sha256.")
    parser.add_argument("--hostname", default="cuelens", help="Name of the device. The default is cuelens.")
    parser.add_argument(
        "--user", default="maker", help="User who may log in, by ssh key alone, and use sudo. The default is maker."
    )
    parser.add_argument(
        "--ssh-key", type=Path, metavar="FILE", help="Public keys of that user. The default is ~/.ssh/id_*.pub."
    )
    parser.add_argument("--wifi", metavar="SSID", help="Name of a wireless network. flash asks for its password.")
    parser.add_argument(
        "--wifi-password-file", type=Path, metavar="FILE", help="Read the password of the network from this file."
    )
    securities = "; ".join(f"{name}: {words}" for name, words in SECURITIES.items())
    parser.add_argument(
        "--wifi-security", metavar="KIND", help=f"Security of the network. {securities}. The default is wpa2-wpa3."
    )
    parser.add_argument("--hidden", action="store_true", help="The network does not send its name.")
    parser.add_argument(
        "--country", metavar="CC", help="Country whose radio rules apply to --wifi, as two letters (DE)."
    )
    parser.add_argument(
        "--settings",
        type=Path,
        metavar="TOML",
        help="Settings for the device, as in deploy/cuelens.toml. The default sets none.",
    )
    parser.add_argument(
        "--bundle",
        type=Path,
        metavar="FILE",
        help="Bundle to install. The default is the one in dist/, which flash makes if it is missing.",
    )
    parser.add_argument("--read-only", action="store_true", help="Never write to the card after its first start.")
    parser.add_argument("--large", action="store_true", help="Allow a disk of more than 256 GB.")
    parser.add_argument(
        "--yes", action="count", default=0, help="Do not ask. Give it twice for a disk that is no card."
    )
    parser.add_argument("--debug", action="store_true", help="Show the traceback of a failure.")
    return parser


def parse(argv: list[str] | None) -> argparse.Namespace:
    """The command line, each value by itself."""
    parser = _parser()
    args = parser.parse_args(argv)
    if not HOSTNAME.fullmatch(args.hostname) or args.hostname == "localhost":
        advice = "; leave the domain out: the device adds .local" if "." in args.hostname else ""
        parser.error(
            f"--hostname is '{args.hostname}'; valid are a to z, 0 to 9 and inner hyphens, 63 at most, "
            f"but not localhost{advice}"
        )
    if not USER.fullmatch(args.user):
        parser.error(f"--user is '{args.user}'; valid are a to z, 0 to 9 and hyphens, a letter first, 32 at most")
    check_wifi(parser, args)
    if args.sha256 and not re.fullmatch(r"[0-9A-Fa-f]{64}", args.sha256):
        parser.error("--sha256 is not 64 hexadecimal digits")
    return args


def check_wifi(parser: argparse.ArgumentParser, args: argparse.Namespace) -> None:
    """Check the options of the network; a mistake ends the program (2)."""
    if args.wifi is None:
        given = {"--wifi-password-file": args.wifi_password_file, "--wifi-security": args.wifi_security}
        if alone := [name for name, value in {**given, "--hidden": args.hidden}.items() if value]:
            parser.error(f"{alone[0]} is of a network; name it with --wifi")
        return
    if not 1 <= len(os.fsencode(args.wifi)) <= 32 or re.search("[\ud800-\udfff]", args.wifi):
        parser.error(f"--wifi is {args.wifi!r}; valid are 1 to 32 bytes of UTF-8")
    if mistake := mistake_in_country(args.country or ""):
        parser.error(mistake)
    args.wifi_security = args.wifi_security or "wpa2-wpa3"
    if mistake := mistake_in_security(args.wifi_security):
        parser.error(mistake)
    if args.wifi_security == "open" and args.wifi_password_file:
        parser.error("--wifi-security is open, which has no password; leave --wifi-password-file out")


def main(argv: list[str] | None = None) -> int:
    """Flash; returns deploy.sh's exit code."""
    args = parse(argv)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # by way of what removes half an image
    try:
        flash(args)
    except (Failure, CuelensError) as error:
        if args.debug:
            raise
        say(error.line)
        return error.exit_code
    except OSError as error:
        if args.debug:
            raise
        failure = os_failure(error, args)
        say(failure.line)
        return failure.exit_code
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    return 0


def os_failure(error: OSError, args: argparse.Namespace) -> Failure:
    """Return the failure behind an operating system's refusal, of what was to be read or to be written."""
    read = {"--image": args.image, "--bundle": args.bundle, "--settings": args.settings}
    for option, path in read.items():
        if path and str(error.filename) == str(path):
            cause = "image-missing" if option == "--image" else "flash-means-missing"
            return Failure(cause, f"{path}: {error.strerror}; give {option} a file that is there and may be read")
    return Failure(
        "disk-refused", f"{refused(error, args.out or args.device)}; name a place that has room and may be written"
    )


def flash(args: argparse.Namespace) -> None:
    """Do it, from the checks that cost nothing to the write that cannot be taken back."""
    if lacking := first_absent(TOOLS):
        raise Failure("flash-means-missing", lacking)
    settings = load_settings(args.settings) if args.settings else Settings()
    keys = public_keys(args.ssh_key, Path.home())
    digest: str = args.sha256 or published_digest(args.image)
    disk = find_disk(device_number(args.device), large=args.large) if args.device else None
    if disk:
        confirm(args.device, disk, args.yes)
    wishes = Wishes(args.hostname, args.user, keys, wished_wifi(args), args.read_only)
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
            raise Failure("disk-refused", f"{args.device} is another disk than a while ago; start again")
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
        say(f"using sudo to write {device}")
        command = ["sudo", "env", f"PYTHONPATH={os.environ.get('PYTHONPATH', '')}", *command]
    if code := hand_over(*command):
        sys.exit(code)


def wished_wifi(args: argparse.Namespace) -> Wifi | None:
    """Return the network of the options, with its password from the file or the maker; raises Failure."""
    if args.wifi is None:
        return None
    password = ""
    if args.wifi_security != "open":
        password = ask_password(args)
        check_password(password, args.wifi_security)
    secret = wpa_key(args.wifi, password) if args.wifi_security == "wpa2" else password
    wifi = Wifi(args.wifi, args.country, args.wifi_security, secret, args.hidden)
    for note in notes(wifi, password):
        say(f"note: {note}")
    return wifi


def ask_password(args: argparse.Namespace) -> str:
    """Return the network's password as it is given, without the end of its line; raises Failure."""
    if args.wifi_password_file:
        advice = "give --wifi-password-file a file that is there and has the password alone"
        return read_text(args.wifi_password_file, advice).rstrip("\n")
    if not sys.stdin.isatty():
        raise Failure(
            "flash-means-missing",
            "no terminal to ask for the network's password; give it with --wifi-password-file FILE",
        )
    return getpass.getpass(f"password of {args.wifi}: ").rstrip("\r\n")


def published_digest(image: Path) -> str:
    """Return what the file beside the image says its sha256 is; raises Failure."""
    if not image.is_file():
        raise Failure(
            "image-missing", f"{image} is not there; download Raspberry Pi OS Lite (64-bit) and its .sha256 file"
        )
    beside = image.with_name(f"{image.name}.sha256")
    if not beside.is_file():
        raise Failure("image-checksum", f"no checksum: {beside} is not there; download it too, or give --sha256")
    for line in read_text(beside, "download it again, or give --sha256").splitlines():
        digest, _, name = line.strip().partition(" ")
        if re.fullmatch(r"[0-9A-Fa-f]{64}", digest) and name.lstrip(" *") in ("", image.name):
            return digest
    raise Failure("image-checksum", f"{beside} has no sha256 of {image.name}; download it again, or give --sha256")


def check_digest(image: Path, digest: str) -> None:
    """Hold the image to its sha256; raises Failure."""
    found = hashlib.sha256()
    with image.open("rb") as file, progress_bar(f"checking {image.name}", image.stat().st_size) as bar:
        while chunk := file.read(CHUNK):
            found.update(chunk)
            bar.update(len(chunk))
    if found.hexdigest() != digest:
        raise Failure("image-checksum", f"{image.name} has sha256 {found.hexdigest()}, not {digest}; download it again")


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
            raise Failure("image-damaged", f"{image.name} is cut short; download it again") from error
        except lzma.LZMAError as error:
            raise Failure("image-damaged", f"{image.name} is damaged ({error}); download it again") from error


def check_wishes(system: System, wishes: Wishes, settings: Settings) -> None:
    """Say what the image cannot do, or will do only later; raises Failure."""
    if wishes.user in {*system.users, *TAKEN}:
        raise Failure("image-unfit", f"--user is '{wishes.user}', a user of the system itself; choose another name")
    if wishes.user in system.groups:  # useradd makes each user a group of that name
        raise Failure("image-unfit", f"--user is '{wishes.user}', a group of the system itself; choose another name")
    if wishes.wifi and "network-manager" not in system.packages:
        raise Failure(
            "image-unfit", f"the image ({system.issue}) has no NetworkManager for --wifi; take an official one"
        )
    if wishes.read_only and "overlayroot" not in system.packages:
        raise Failure(
            "image-unfit",
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
        raise Failure(
            "image-unfit", f"{bundle} is for {contents.target}, the image is {target}; give that one's bundle"
        )
    cmdline = boot.read("cmdline.txt")
    if not cmdline:
        raise Failure("image-foreign", "the boot partition has no cmdline.txt; take Raspberry Pi OS Lite (64-bit)")
    say(f"putting {bundle.name} ({bundle.stat().st_size / 1e6:.0f} MB) on the boot partition")
    files = {
        f"{FOLDER}/{bundle.name}": bundle.read_bytes(),
        f"{FOLDER}/allowed_signers": signers,
        **({f"{FOLDER}/cuelens.toml": settings.read_bytes()} if settings else {}),
        **{
            f"{FOLDER}/{name}": (DEVICE / name).read_bytes() for name in ("first-boot.sh", "cuelens-first-boot.service")
        },
        f"{FOLDER}/install.sh": packed_installer(),
    }
    boot.write(files | seed_files(system.suite, wishes, cmdline.decode()))


def confirm(device: Path, disk: Disk, yes: int) -> None:
    """Ask before all on a disk is lost, twice where it is no card; raises Failure."""
    questions = 1 if disk.card else 2
    if yes >= questions:
        return
    kind = "a card" if disk.card else "NO card: built in, or a large USB disk"
    print(f"{device}: {disk.model}, {disk.size / 1e9:.1f} GB, {kind}", file=sys.stderr)
    hand_over("lsblk", "--output", "NAME,SIZE,FSTYPE,LABEL", device)
    if not sys.stdin.isatty():
        more = " --yes" * questions
        raise Failure("disk-refused", f"no terminal to ask whether all on {device} may be lost; if so, say{more}")
    for question in ("All on it will be lost. Type its name to go on", "It cannot be taken out. Type its name again")[
        yes:questions
    ]:
        if input(f"{question} ({disk.name}): ").strip() not in (disk.name, str(device)):
            raise Failure("disk-refused", f"{device} was left as it is")


if __name__ == "__main__":
    sys.exit(main())
