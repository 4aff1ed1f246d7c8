"""./deploy.sh flash: images as Raspberry Pi OS has them, flashed by the real tool, compared with goldens.

CUELENS_UPDATE_GOLDEN=1 writes the goldens again. How such a card starts is in test_first_boot.py.
"""

from __future__ import annotations

import hashlib
import lzma
import os
import pty
import shutil
import struct
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from deploy.bundle import build, packed_installer
from deploy.failure import Failure
from deploy.flash.disk import find_disk
from deploy.flash.network import wpa_key
from deploy.packages import TARGETS
from tests.deploy.machines import make_key
from tests.deploy.pi_image import ALIGN, CLOUD, boot_files, do, flash, make_image, write_digest, write_tree
from tests.support.failures import CODES, cause_of

pytestmark = [
    pytest.mark.skipif(shutil.which(tool) is None, reason=f"no {tool} on this system; .ci/run installs it")
    for tool in ("mcopy", "debugfs", "parted", "mkfs.vfat", "ssh-keygen")
]

GOLDEN = Path(__file__).resolve().parents[1] / "golden" / "flash"
SUITES = ("bookworm", "trixie")
# A shell, YAML and NetworkManager would each read something else into one of these.
WIFI = 'it\'s "my\\net" $(reboot); #é✓'
PASSWORD = "correct horse; `reboot`"
BLOB = f"AAAAC3NzaC1lZDI1NTE5AAAAI{'A' * 43}"  # of a whole key: its type, and 32 bytes


class Desk:
    """A maker's: a key, bundles of one small wheel, a network's password, and the tool."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.home = folder / "home"
        (self.home / ".ssh").mkdir(parents=True)
        self.release_key = make_key(folder / "release-key")
        (self.home / ".ssh" / "id_ed25519.pub").write_text(f'ssh-ed25519 {BLOB} maker\'s "desk" $(reboot)\n')
        (folder / "password").write_text(f"{PASSWORD}\n")
        wheel = folder / "cuelens-1.0-py3-none-any.whl"
        with zipfile.ZipFile(wheel, "w") as archive:
            archive.writestr("cuelens-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: cuelens\nVersion: 1.0\n")
        self.bundles = {
            target.suite: build("1.0", target, [wheel], {}, self.release_key, folder)
            for target in TARGETS
            if target.arch == "aarch64"
        }

    def image(self, suite: str, boot_mib: int = 40, change: Callable[[Path], object] | None = None) -> Path:
        """An image with its checksum beside it; `change` may change the root's tree first."""
        tree, image = self.folder / f"{suite}-tree", self.folder / f"{suite}.img"
        shutil.rmtree(tree, ignore_errors=True)
        write_tree(tree, suite)
        if change:
            change(tree)
        make_image(image, tree, suite, boot_mib, 8)
        write_digest(image)
        return image

    def shared_image(self, suite: str) -> Path:
        """An image that nobody changes, made once."""
        image = self.folder / "shared" / f"{suite}.img"
        if not image.exists():
            image.parent.mkdir(exist_ok=True)
            self.image(suite).rename(image)
            write_digest(image)
        return image

    def flash(self, *words: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
        return flash(*words, **{"HOME": str(self.home), "CUELENS_KEY": str(self.release_key), **environment})


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Desk:
    return Desk(tmp_path_factory.mktemp("flash"))


@pytest.mark.parametrize("suite", SUITES)
def test_the_boot_partition_holds_what_this_release_reads(suite: str, desk: Desk, tmp_path: Path) -> None:
    image, out = desk.image(suite), tmp_path / "card.img"
    before = image.read_bytes()
    wifi = ("--wifi", WIFI, "--country", "DE", "--wifi-password-file", desk.folder / "password")
    repository = GOLDEN.parents[2]
    settings = repository / "deploy" / "cuelens.toml"
    words = ("--image", image, "--out", out, "--bundle", desk.bundles[suite], "--hostname", "glasses", *wifi)
    done = desk.flash(*words, "--settings", settings)
    assert done.returncode == 0, done.stderr
    files = boot_files(out)
    assert files.pop(f"cuelens/{desk.bundles[suite].name}") == desk.bundles[suite].read_bytes()
    public = desk.release_key.with_suffix(".pub").read_text().split()[:2]
    assert files.pop("cuelens/allowed_signers").decode().split()[-2:] == public
    assert files.pop("cuelens/cuelens.toml") == settings.read_bytes()
    assert files.pop("cuelens/install.sh") == packed_installer()
    for name in ("first-boot.sh", "cuelens-first-boot.service"):
        assert files.pop(f"cuelens/{name}") == (repository / "deploy" / "device" / name).read_bytes()
    disk = f"{struct.unpack_from('<I', before, 440)[0]:08x}"
    files["cmdline.txt"] = files["cmdline.txt"].replace(disk.encode(), b"DISK")
    folder = GOLDEN / suite
    if os.environ.get("CUELENS_UPDATE_GOLDEN"):
        shutil.rmtree(folder, ignore_errors=True)
        for name, content in files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(content)
    golden = {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert files == golden
    holders = [name for name, content in files.items() if PASSWORD.encode() in content]
    assert holders == [{"bookworm": "firstrun.sh", "trixie": "network-config"}[suite]]
    assert "note: the image has no picamera2" in done.stderr
    # Nothing but the boot partition is touched.
    start, end = ALIGN << 20, ALIGN + 40 << 20
    after = out.read_bytes()
    assert (after[:start], after[end:]) == (before[:start], before[end:])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["card.img"]


@pytest.mark.parametrize("suite", SUITES)
def test_of_a_network_of_wpa2_alone_the_card_has_the_key_and_not_the_password(
    suite: str, desk: Desk, tmp_path: Path
) -> None:
    out = tmp_path / "card.img"
    words = (
        "--image",
        desk.shared_image(suite),
        "--out",
        out,
        "--bundle",
        desk.bundles[suite],
        "--wifi",
        WIFI,
        "--country",
    )
    done = desk.flash(*words, "DE", "--wifi-password-file", desk.folder / "password", "--wifi-security", "wpa2")
    assert done.returncode == 0, done.stderr
    files = boot_files(out)
    assert not any(PASSWORD.encode() in content for content in files.values())
    assert wpa_key(WIFI, PASSWORD) in files[{"bookworm": "firstrun.sh", "trixie": "network-config"}[suite]].decode()


@pytest.mark.parametrize("name", ["1234", "on", "no", "0x1f", "1e3", "2026-11-29", "null", "1-2"])
def test_a_name_that_yaml_takes_for_something_else_is_quoted(name: str, desk: Desk, tmp_path: Path) -> None:
    out = tmp_path / "card.img"
    words = (
        "--image",
        desk.shared_image("trixie"),
        "--out",
        out,
        "--bundle",
        desk.bundles["trixie"],
        "--hostname",
        name,
    )
    user = name if name.isalpha() else "maker"
    assert desk.flash(*words, "--user", user).returncode == 0
    lines = boot_files(out)["user-data"].decode().splitlines()
    assert f'hostname: "{name}"' in lines
    assert f'  name: "{user}"' in lines


def test_the_images_first_user_keeps_its_name(desk: Desk, tmp_path: Path) -> None:
    """The group of that name is the user's own, and no reason for a refusal."""
    words = (
        "--image",
        desk.shared_image("bookworm"),
        "--out",
        tmp_path / "card.img",
        "--bundle",
        desk.bundles["bookworm"],
    )
    assert desk.flash(*words, "--user", "pi").returncode == 0


def test_a_packed_image_gives_the_same_card(desk: Desk, tmp_path: Path) -> None:
    image = desk.image("trixie")
    packed = image.with_name("packed.img.xz")
    packed.write_bytes(lzma.compress(image.read_bytes(), preset=0))
    digest = hashlib.sha256(packed.read_bytes()).hexdigest()
    cards = []
    odd = tmp_path / "a?b@@c; d"  # mtools and debugfs would read something into it
    odd.mkdir()
    for name, words in (("plain", (image,)), ("packed", (packed, "--sha256", digest))):
        done = desk.flash("--out", odd / name, "--bundle", desk.bundles["trixie"], "--image", *words)
        assert done.returncode == 0, done.stderr
        (odd / name).rename(tmp_path / name)
        cards.append(boot_files(tmp_path / name))
    assert cards[0] == cards[1]
    root = (ALIGN + 40) << 20
    assert (tmp_path / "packed").read_bytes()[root:] == image.read_bytes()[root:]


def test_flashing_a_flashed_image_leaves_nothing_of_the_first(desk: Desk, tmp_path: Path) -> None:
    first, second = tmp_path / "first.img", tmp_path / "second.img"
    for image, out, name in ((desk.image("bookworm"), first, "left"), (first, second, "right")):
        write_digest(image)
        words = ("--image", image, "--out", out, "--bundle", desk.bundles["bookworm"], "--hostname", name)
        assert desk.flash(*words).returncode == 0
    files = boot_files(second)
    assert files["cmdline.txt"].count(b"systemd.run=") == 1
    assert b"left" not in files["firstrun.sh"]


def remove(name: str) -> Callable[[Path], object]:
    return lambda tree: (tree / name).unlink()


def replace(name: str, old: str | bytes, new: str | bytes) -> Callable[[Path], object]:
    old, new = (text if isinstance(text, bytes) else text.encode() for text in (old, new))
    return lambda tree: (tree / name).write_bytes((tree / name).read_bytes().replace(old, new))


def disable_cloud_init(tree: Path) -> None:
    (tree / "etc" / "cloud" / "cloud-init.disabled").touch()


ELF32 = b"\x7fELF\x01\x01\x01".ljust(18, b"\0") + struct.pack("<H", 40)
SYSTEMS = {  # name: suite, change of its root, cause, words
    "Debian": ("trixie", remove("etc/rpi-issue"), "image-foreign", "not Raspberry Pi OS"),
    "Ubuntu": ("trixie", replace("usr/lib/os-release", "debian", "ubuntu"), "image-foreign", "not Raspberry Pi OS"),
    "nothing": ("trixie", remove("usr/lib/os-release"), "image-foreign", "does not say its name"),
    "32 bits": ("bookworm", lambda tree: (tree / "usr/bin/dpkg").write_bytes(ELF32), "image-32-bit", "64-bit"),
    "x86": ("bookworm", replace("usr/bin/dpkg", b"\xb7\0", b"\x3e\0"), "image-32-bit", "64-bit"),
    "bullseye": (
        "bookworm",
        replace("usr/lib/os-release", "bookworm", "bullseye"),
        "image-unsupported",
        "is bullseye; served are",
    ),
    "forky": ("trixie", replace("usr/lib/os-release", "trixie", "forky"), "image-unsupported", "bookworm and trixie"),
    "trixie without cloud-init": (
        "trixie",
        replace("var/lib/dpkg/status", "cloud-init", "other"),
        "image-unsupported",
        "cloud-init",
    ),
    "cloud-init that looks elsewhere": ("trixie", remove(CLOUD), "image-unsupported", "/boot/firmware"),
    "cloud-init turned off": ("trixie", disable_cloud_init, "image-unsupported", "/boot/firmware"),
    "bookworm without userconf": (
        "bookworm",
        replace("var/lib/dpkg/status", "userconf-pi", "x"),
        "image-unsupported",
        "userconf-pi",
    ),
    "a package that was removed": (
        "bookworm",
        replace(
            "var/lib/dpkg/status", "userconf-pi\nStatus: install ok installed", "userconf-pi\nStatus: deinstall ok"
        ),
        "image-unsupported",
        "userconf-pi",
    ),
}


def refuse(done: subprocess.CompletedProcess[str], cause: str, words: str, folder: Path) -> None:
    """Hold a refusal to one line, its cause, and nothing left behind."""
    assert (cause_of(done), words in done.stderr) == (cause, True), done.stderr
    last = done.stderr.splitlines()[-1]
    assert last.startswith("deploy.sh: ")
    assert words in last
    assert "Traceback" not in done.stderr
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("name", SYSTEMS)
def test_an_image_that_cannot_be_served_is_refused(name: str, desk: Desk, tmp_path: Path) -> None:
    suite, change, cause, words = SYSTEMS[name]
    image = desk.image(suite, change=change)
    done = desk.flash("--image", image, "--out", tmp_path / "card.img", "--bundle", desk.bundles[suite])
    refuse(done, cause, words, tmp_path)


def cut(image: Path) -> None:
    os.truncate(image, image.stat().st_size - (4 << 20))


def pack(size: float | None = None, flip: bool = False) -> Callable[[Path], None]:
    def change(image: Path) -> None:
        packed = bytearray(lzma.compress(image.read_bytes(), preset=0))
        if flip:
            packed[len(packed) // 2] ^= 0xFF
        image.write_bytes(packed[: int(size * len(packed))] if size else packed)

    return change


def table(image: Path, at: int, value: int) -> None:
    with image.open("r+b") as file:
        file.seek(at)
        file.write(bytes([value]))


FILES: dict[str, tuple[Callable[[Path], object], str, str]] = {  # name: change of the image, cause, words
    "a page of HTML": (lambda image: image.write_text("<!doctype html>" * 99), "image-missing", "no partition table"),
    "an empty file": (lambda image: image.write_bytes(b""), "image-missing", "no partition table"),
    "a GPT": (lambda image: table(image, 450, 0xEE), "image-missing", "has a GPT"),
    "other partitions": (lambda image: table(image, 466, 0x07), "image-missing", "0x0c, 0x07"),
    "no file systems": (lambda image: table(image, (ALIGN << 20) + 82, 0), "image-missing", "not FAT32 and ext4"),
    "a raw image cut short": (cut, "image-damaged", "its partitions after"),
    "a packed image cut short": (pack(0.9), "image-damaged", "cut short"),
    "a packed image with a wrong byte": (pack(flip=True), "image-damaged", "damaged"),
    "a packed page": (
        lambda image: image.write_bytes(lzma.compress(b"<!doctype html>")),
        "image-missing",
        "no partition table",
    ),
}


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_is_no_whole_image_is_refused(name: str, desk: Desk, tmp_path: Path) -> None:
    change, cause, words = FILES[name]
    image = desk.image("trixie")
    change(image)
    write_digest(image)
    done = desk.flash("--image", image, "--out", tmp_path / "card.img", "--bundle", desk.bundles["trixie"])
    refuse(done, cause, words, tmp_path)


def test_an_image_is_held_to_its_checksum(desk: Desk, tmp_path: Path) -> None:
    image, out = desk.image("trixie"), tmp_path / "card.img"
    beside = image.with_name(f"{image.name}.sha256")
    words: tuple[str | Path, ...] = ("--image", image, "--out", out, "--bundle", desk.bundles["trixie"])
    refuse(desk.flash(*words, "--sha256", "0" * 64), "image-checksum", "not 0000", tmp_path)
    beside.write_text(f"{'1' * 64}  {image.name}\n")
    refuse(desk.flash(*words), "image-checksum", "not 1111", tmp_path)
    beside.write_text(f"{'1' * 64}  another.img\n")
    refuse(desk.flash(*words), "image-checksum", "no sha256 of trixie.img", tmp_path)
    beside.unlink()
    refuse(desk.flash(*words), "image-checksum", f"{beside} is not there", tmp_path)
    image.unlink()
    refuse(desk.flash(*words), "image-missing", "is not there; download", tmp_path)


def test_a_boot_partition_without_room_is_refused_in_numbers(desk: Desk, tmp_path: Path) -> None:
    image = desk.image("trixie")
    filler = desk.folder / "filler"
    filler.write_bytes(bytes(38 << 20))
    do("mcopy", "-i", f"{image}@@{ALIGN}M", filler, "::/filler")
    write_digest(image)
    big = desk.folder / "big"
    big.mkdir(exist_ok=True)
    wheel = big / "cuelens-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("cuelens-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: cuelens\nVersion: 1.0\n")
        archive.writestr("weights", bytes(3 << 20))
    target = next(target for target in TARGETS if str(target) == "trixie aarch64")
    bundle = build("1.0", target, [wheel], {}, desk.release_key, big)
    done = desk.flash("--image", image, "--out", tmp_path / "card.img", "--bundle", bundle)
    refuse(done, "image-unfit", "has 1 MB free, Cuelens needs 3 MB", tmp_path)


TEXTS = {
    "UTF16": "Gruß und Kuß\n".encode("utf-16"),
    "LATIN1": "Gruß und Kuß\n".encode("latin-1"),
    "LINES": b"correct horse\nbattery staple\n",
    "HEX": b"0f" * 32,
    "EMPTY": b"\n# none yet\n",
}
NETWORK = ("--wifi", "x", "--country", "DE")
WISHES: dict[str, tuple[tuple[str, ...], str, str]] = {  # name: arguments, cause, words
    "a user of the system": (("--user", "sshd"), "image-unfit", "a user of the system itself"),
    "the service's user": (("--user", "cuelens"), "image-unfit", "a user of the system itself"),
    "cloud-init's name for the image's own user": (("--user", "default"), "image-unfit", "a user of the system itself"),
    "a group of the system": (("--user", "video"), "image-unfit", "a group of the system itself"),
    "another group of the system": (("--user", "gpio"), "image-unfit", "a group of the system itself"),
    "a key that came out in UTF-16": (("--ssh-key", "UTF16"), "flash-means-missing", "is UTF-16 or binary"),
    "a file without a key": (("--ssh-key", "EMPTY"), "flash-means-missing", "has no ssh key to log in by"),
    "a password file that is not there": (
        (*NETWORK, "--wifi-password-file", "/nowhere"),
        "flash-means-missing",
        "/nowhere: No such file",
    ),
    "a password file that is a folder": (
        (*NETWORK, "--wifi-password-file", "/"),
        "flash-means-missing",
        "/: Is a directory",
    ),
    "a password in UTF-16": (
        (*NETWORK, "--wifi-password-file", "UTF16"),
        "flash-means-missing",
        "PowerShell's > writes UTF-16",
    ),
    "a password in latin-1": ((*NETWORK, "--wifi-password-file", "LATIN1"), "flash-means-missing", "is not UTF-8"),
    "a password of several lines": (
        (*NETWORK, "--wifi-password-file", "LINES"),
        "flash-means-missing",
        "of several lines",
    ),
    "a key of WPA2 for WPA3": (
        (*NETWORK, "--wifi-password-file", "HEX", "--wifi-security", "wpa3"),
        "flash-means-missing",
        "WPA3 needs the password itself",
    ),
    "a bundle that is not there": (
        ("--bundle", "/nowhere.tar"),
        "flash-means-missing",
        "give --bundle a file that is there",
    ),
    "a bundle that is a folder": (("--bundle", "/"), "flash-means-missing", "give --bundle a file that is there"),
    "settings that are not there": (("--settings", "/nowhere.toml"), "settings-invalid", "/nowhere.toml"),
    "another release's bundle": (
        ("--bundle", "BOOKWORM"),
        "image-unfit",
        "is for bookworm aarch64 3.11, the image is trixie",
    ),
    "a read-only root without overlayroot": (("--read-only",), "image-unfit", "no overlayroot"),
    "a private key": (("--ssh-key", "PRIVATE"), "flash-means-missing", "no public key"),
    "a key that is not there": (("--ssh-key", "/nowhere"), "flash-means-missing", "/nowhere: No such file"),
    "a short password": (
        ("--wifi", "x", "--country", "DE", "--wifi-password-file", "SHORT"),
        "flash-means-missing",
        "of 5 letters",
    ),
    "no way to ask for a password": (
        ("--wifi", "x", "--country", "DE"),
        "flash-means-missing",
        "--wifi-password-file FILE",
    ),
    "a mistake in the settings": (("--settings", "MISTAKE"), "settings-invalid", "pace"),
    "a folder that is not there": (("--out", "/nowhere/card.img"), "disk-refused", "/nowhere"),
    "a disk that is not there": (("--device", "/dev/nowhere"), "disk-refused", "/dev/nowhere: No such file"),
    "a disk that is a file": (("--device", "PRIVATE"), "disk-refused", "is no disk"),
}


@pytest.mark.parametrize("name", WISHES)
def test_a_wish_that_cannot_be_granted_is_refused(name: str, desk: Desk, tmp_path: Path) -> None:
    words, cause, expected = WISHES[name]
    (desk.folder / "short").write_text("12345\n")
    (desk.folder / "mistake.toml").write_text('pace = "slow"\n')
    known = {
        "BOOKWORM": desk.bundles["bookworm"],
        "PRIVATE": desk.release_key,
        "SHORT": desk.folder / "short",
        "MISTAKE": desk.folder / "mistake.toml",
        **{name: desk.folder / name for name in TEXTS},
    }
    for name, content in TEXTS.items():
        (desk.folder / name).write_bytes(content)
    given = [str(known.get(word, word)) for word in words]
    if "--bundle" not in given:
        given += ["--bundle", str(desk.bundles["trixie"])]
    if not {"--out", "--device"} & {*given}:
        given += ["--out", str(tmp_path / "card.img")]
    refuse(desk.flash("--image", desk.shared_image("trixie"), *given), cause, expected, tmp_path)


def test_without_a_key_to_log_in_by_nothing_is_written(desk: Desk, tmp_path: Path) -> None:
    words = ("--image", desk.shared_image("trixie"), "--out", tmp_path / "card.img", "--bundle", desk.bundles["trixie"])
    refuse(desk.flash(*words, HOME=str(desk.folder)), "flash-means-missing", "no ssh key", tmp_path)


def test_a_missing_tool_is_named_with_its_package(desk: Desk, tmp_path: Path) -> None:
    words = ("--image", desk.shared_image("trixie"), "--out", tmp_path / "card.img", "--bundle", desk.bundles["trixie"])
    refuse(desk.flash(*words, PATH="/nowhere"), "flash-means-missing", "sudo apt install mtools", tmp_path)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("--hostname", "a b"), "--hostname is 'a b'"),
        (("--hostname", "x;reboot"), "--hostname"),
        (("--user", "root\n"), "--user"),
        (("--user", "$(id)"), "--user"),
        (("--wifi", "x" * 33, "--country", "DE"), "--wifi"),
        (("--wifi", "x\udcff", "--country", "DE"), "--wifi"),
        (("--wifi", "x"), "--country is ''"),
        (("--wifi", "x", "--country", "de'"), "--country"),
        (("--wifi", "x", "--country", "de"), "did you mean DE?"),
        (("--wifi", "x", "--country", "UK"), "did you mean GB?"),
        (("--wifi", "x", "--country", "QQ"), "the two letters of ISO 3166"),
        (("--wifi", "x", "--country", "DE", "--wifi-security", "wpa4"), "valid are wpa2-wpa3, wpa2, wpa3, open"),
        (("--wifi", "x", "--country", "DE", "--wifi-security", "WPA2-Enterprise"), "an enterprise network"),
        (("--wifi", "x", "--country", "DE", "--wifi-security", "wep"), "WEP is no protection"),
        (("--wifi", "x", "--country", "DE", "--wifi-security", "open", "--wifi-password-file", "y"), "no password"),
        (("--hidden",), "--hidden is of a network; name it with --wifi"),
        (("--wifi-security", "wpa3"), "--wifi-security is of a network"),
        (("--hostname", "glasses.local"), "leave the domain out"),
        (("--hostname", "localhost"), "but not localhost"),
        (("--sha256", "12"), "--sha256"),
    ],
)
def test_a_wrong_command_line_is_answered_with_what_is_valid(words: tuple[str, ...], expected: str, desk: Desk) -> None:
    done = desk.flash("--image", "x.img", "--out", "y.img", *words)
    assert (done.returncode, expected in done.stderr) == (2, True), done.stderr


class Kernel:
    """A made-up /sys and /proc."""

    def __init__(self, folder: Path) -> None:
        self.sys, self.proc = folder / "sys", folder / "proc"
        (self.proc / "self").mkdir(parents=True)
        (self.sys / "dev" / "block").mkdir(parents=True)
        self.mounts("8:1 / / rw - ext4 /dev/sda1 rw")
        (self.proc / "swaps").write_text("Filename Type Size Used Priority\n")
        self.disk("sda", "8:0", 500, removable=0, partitions=2)

    def disk(self, name: str, number: str, gb: float, removable: int = 1, partitions: int = 0, **more: str) -> None:
        major, minor = number.split(":")
        folder = self.sys / "devices" / "block" / name
        self._device(folder, number, {"size": str(int(gb * 1e9 / 512)), "removable": str(removable), **more})
        for index in range(1, partitions + 1):
            separator = "p" if name[-1].isdigit() else ""
            part = folder / f"{name}{separator}{index}"
            self._device(part, f"{major}:{int(minor) + index}", {"partition": str(index)})

    def _device(self, folder: Path, number: str, files: dict[str, str]) -> None:
        (folder / "holders").mkdir(parents=True)
        for name, text in {"dev": number, "ro": "0", **files}.items():
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_text(f"{text}\n")
        (self.sys / "dev" / "block" / number).symlink_to(folder)

    def hold(self, path: str, holder: str) -> None:
        (self.sys / "devices" / "block" / path / "holders" / holder).mkdir()

    def mounts(self, *mounts: str) -> None:
        lines = "".join(f"{index} 1 {mount}\n" for index, mount in enumerate(mounts))
        (self.proc / "self" / "mountinfo").write_text(lines)


@pytest.fixture
def kernel(tmp_path: Path) -> Kernel:
    made = Kernel(tmp_path)
    made.disk("sdb", "8:16", 32, partitions=2, **{"device/vendor": "SanDisk ", "device/model": "Ultra  "})
    return made


def test_a_card_in_a_reader_may_be_written(kernel: Kernel) -> None:
    disk = find_disk("8:16", kernel.sys, kernel.proc)
    assert (disk.name, disk.model, disk.card, disk.partitions) == ("sdb", "SanDisk Ultra", True, ("sdb1", "sdb2"))
    assert round(disk.size / 1e9) == 32


def test_a_built_in_slots_card_is_one_and_a_built_in_disk_is_none(kernel: Kernel) -> None:
    kernel.disk("mmcblk0", "179:0", 64, removable=0, **{"device/type": "SD", "device/name": "SR64G"})
    kernel.disk("mmcblk1", "179:8", 64, removable=0, **{"device/type": "MMC"})
    assert [find_disk(number, kernel.sys, kernel.proc).card for number in ("179:0", "179:8")] == [True, False]


DISKS: dict[str, tuple[str, Callable[[Kernel], object], str]] = {  # name: number, what the kernel has, words
    "a partition": ("8:17", lambda kernel: None, "give the whole disk: /dev/sdb"),
    "the system's disk": ("8:0", lambda kernel: None, "/dev/sda is mounted at /; it holds this system"),
    "a mounted partition": (
        "8:16",
        lambda kernel: kernel.mounts("8:18 / /media/card rw - ext4 /dev/sdb2 rw"),
        "umount /media/card",
    ),
    "a file system that hides its number": (
        "8:16",
        lambda kernel: kernel.mounts("0:40 / /data rw - btrfs /dev/sdb1 rw"),
        "is mounted at /data",
    ),
    "a mounted whole disk": (
        "8:16",
        lambda kernel: kernel.mounts("8:16 / /mnt rw shared:1 - vfat /dev/sdb rw"),
        "is mounted at /mnt",
    ),
    "the system's boot partition": (
        "8:16",
        lambda kernel: kernel.mounts("8:17 / /boot/efi rw - vfat /dev/sdb1 rw"),
        "it holds this system",
    ),
    "swap": (
        "8:16",
        lambda kernel: (kernel.proc / "swaps").write_text("Filename\n/dev/sdb2 partition 1 0 -2\n"),
        "swap",
    ),
    "a part of a volume group": ("8:16", lambda kernel: kernel.hold("sdb/sdb2", "dm-0"), "in use by dm-0"),
    "a member of a RAID": ("8:16", lambda kernel: kernel.hold("sdb", "md0"), "in use by md0"),
    "a locked card": (
        "8:16",
        lambda kernel: (kernel.sys / "devices/block/sdb/ro").write_text("1\n"),
        "write-protected",
    ),
    "an empty reader": (
        "8:16",
        lambda kernel: (kernel.sys / "devices/block/sdb/size").write_text("0\n"),
        "no medium",
    ),
    "a disk of a terabyte": ("8:32", lambda kernel: kernel.disk("sdc", "8:32", 1000), "1000 GB, more than a card"),
}


@pytest.mark.parametrize("name", DISKS)
def test_a_disk_that_must_not_be_written_is_refused(name: str, kernel: Kernel) -> None:
    number, change, words = DISKS[name]
    change(kernel)
    with pytest.raises(Failure, match=words) as caught:
        find_disk(number, kernel.sys, kernel.proc)
    assert caught.value.cause == "disk-refused"


def test_a_large_disk_is_taken_with_the_option_for_it(kernel: Kernel) -> None:
    kernel.disk("sdc", "8:32", 1000)
    assert find_disk("8:32", kernel.sys, kernel.proc, large=True).name == "sdc"


@pytest.fixture
def loop(tmp_path: Path) -> Iterator[tuple[Path, Path]]:
    """A real block device of 80 MiB, and the file behind it."""
    backing = tmp_path / "backing"
    backing.write_bytes(os.urandom(1 << 20) * 80)
    if shutil.which("losetup") is None:
        pytest.skip("no losetup on this system; .ci/run installs it")
    made = subprocess.run(["losetup", "--find", "--show", backing], capture_output=True, text=True, check=False)
    if made.returncode:
        pytest.skip(f"no loop device can be had here: {made.stderr.strip()}")
    yield Path(made.stdout.strip()), backing
    subprocess.run(["losetup", "--detach", made.stdout.strip()], check=True)


@pytest.mark.root
def test_a_real_disk_is_written_and_read_back(desk: Desk, loop: tuple[Path, Path], tmp_path: Path) -> None:
    device, backing = loop
    image = desk.image("trixie")
    words = ("--image", image, "--bundle", desk.bundles["trixie"])
    untouched = backing.read_bytes()
    done = desk.flash(*words, "--device", device, "--yes")
    assert cause_of(done) == "disk-refused"
    assert "if so, say --yes --yes" in done.stderr
    done = desk.flash(*words, "--device", device, "--yes", "--yes", "--sha256", "0" * 64)
    assert (cause_of(done), backing.read_bytes() == untouched) == ("image-checksum", True)
    assert desk.flash(*words, "--out", tmp_path / "card.img").returncode == 0
    done = desk.flash(*words, "--device", device, "--yes", "--yes")
    assert done.returncode == 0, done.stderr
    card = (tmp_path / "card.img").read_bytes()
    assert backing.read_bytes()[len(card) :] == untouched[len(card) :]
    assert boot_files(backing) == boot_files(tmp_path / "card.img")
    assert "maker@cuelens.local" in done.stderr


@pytest.mark.root
def test_flash_asks_for_the_disks_name_and_leaves_it_alone_at_another(desk: Desk, loop: tuple[Path, Path]) -> None:
    device, backing = loop
    untouched = backing.read_bytes()
    for answers, cause in (
        ("no\n", "disk-refused"),
        (f"{device.name}\nyes\n", "disk-refused"),
        (f"{device.name}\n{device}\n", ""),
    ):
        ours, theirs = pty.openpty()
        words = ("--image", desk.image("trixie"), "--bundle", desk.bundles["trixie"], "--device", device)
        command = (sys.executable, "-m", "deploy.flash", *map(str, words))
        environment = {**os.environ, "HOME": str(desk.home), "CUELENS_KEY": str(desk.release_key)}
        process = subprocess.Popen(
            command, stdin=theirs, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=environment
        )
        os.write(ours, answers.encode())
        output, _ = process.communicate(timeout=60)
        os.close(ours)
        os.close(theirs)
        assert process.returncode == (CODES[cause] if cause else 0), output.decode()
        assert not cause or f" [{cause}]" in output.decode()
        assert b"NO card" in output
        assert (backing.read_bytes() == untouched) == bool(cause)


@pytest.mark.root
def test_a_disk_that_is_too_small_is_refused_before_it_is_written(desk: Desk, loop: tuple[Path, Path]) -> None:
    device, backing = loop
    untouched = backing.read_bytes()
    words = ("--image", desk.image("trixie", boot_mib=80), "--bundle", desk.bundles["trixie"], "--yes", "--yes")
    done = desk.flash(*words, "--device", device)
    assert (cause_of(done), "take another" in done.stderr) == ("disk-refused", True), done.stderr
    assert backing.read_bytes() == untouched


@pytest.mark.root
def test_a_disk_that_is_really_mounted_is_refused(desk: Desk, loop: tuple[Path, Path], tmp_path: Path) -> None:
    device, _ = loop
    do("mkfs.ext4", "-q", device)
    place = tmp_path / "mounted here"
    place.mkdir()
    mounted = subprocess.run(["mount", device, place], capture_output=True, text=True, check=False)
    if mounted.returncode:
        pytest.skip(f"nothing can be mounted here: {mounted.stderr.strip()}")
    try:
        words = ("--image", desk.image("trixie"), "--bundle", desk.bundles["trixie"], "--yes", "--yes")
        done = desk.flash(*words, "--device", device)
    finally:
        do("umount", place)
    assert (cause_of(done), f"{device} is mounted at" in done.stderr) == ("disk-refused", True), done.stderr
