"""What ./deploy.sh flash puts on a card, started by each release's own means, with the plug pulled.

And a whole image, started in an emulated 64-bit Arm machine.
"""

from __future__ import annotations

import itertools
import json
import os
import platform
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from deploy.bundle import FILES, build, packed_installer
from deploy.failure import Failure
from deploy.flash.network import Wifi, netplan
from deploy.packages import TARGETS, build_project, fetch, locked, project_version, read_lock, read_wheel
from tests.deploy.machines import REPOSITORY, enter, make_key, pip_wheel, run, small_bundle
from tests.deploy.pi_image import boot_files, flash, make_image, write_digest, write_tree

pytestmark = [
    pytest.mark.root,
    pytest.mark.slow,
    pytest.mark.skipif(platform.machine() != "x86_64", reason="systemd-nspawn boots x86-64 roots here"),
    *(
        pytest.mark.skipif(shutil.which(tool) is None, reason=f"no {tool} on this system; .ci/run installs it")
        for tool in ("mmdebstrap", "systemd-nspawn", "mcopy", "debugfs", "parted", "mkfs.vfat")
    ),
]

# Says on the console how it is once the first boot is done, then turns the machine off.
PROBE = """#!/bin/sh
while [ -e /boot/firmware/cuelens ] || [ -e /etc/systemd/system/cuelens-first-boot.service ]; do sleep 0.5; done
cuelens=/opt/cuelens/current/venv/bin/cuelens
# A run answers before its first frame is through, and has no camera while a frame takes longer than that may: on an
# emulated machine, asking takes as long as many frames.
tries=0
until [ $tries = 60 ] || echo "$status" | grep -Eq '"state": "(no_face|unsure|expression)".*"frames": [1-9]'; do
    sleep 5
    status=$($cuelens status --json 2>/dev/null)
    tries=$((tries + 1))
done
echo "PROBE service $(systemctl is-active cuelens.service)"
echo "PROBE status $status"
echo "PROBE host $(hostname)"
echo "PROBE ssh $(systemctl is-enabled ssh.service)"
echo "PROBE user $(passwd --status maker | cut -d ' ' -f 2) $(su maker -c 'sudo -n id -u')"
journalctl --sync  # which brings the lines to the console
systemctl poweroff
"""
PROBE_UNIT = """
[Service]
ExecStart=/bin/sh /probe.sh
StandardOutput=journal+console
[Install]
WantedBy=multi-user.target
"""
# In the place of what Debian has not: raspberrypi-sys-mods, userconf-pi and raspi-config, as far as they are called.
HELPERS = {
    "usr/lib/raspberrypi-sys-mods/imager_custom": """#!/bin/sh -e
case $1 in
set_hostname) echo "$2" >/etc/hostname ;;
enable_ssh)
    shift 2
    home=$(getent passwd 1000 | cut -d: -f6)
    mkdir -p "$home/.ssh"
    printf '%s\\n' "$@" >>"$home/.ssh/authorized_keys"
    systemctl enable ssh
    ;;
esac
""",
    "usr/lib/userconf-pi/userconf": """#!/bin/sh -e
old=$(getent passwd 1000 | cut -d: -f1)
if [ "$old" != "$1" ]; then
    usermod -l "$1" "$old"
    usermod -m -d "/home/$1" "$1"
    groupmod -n "$1" "$old"
fi
echo "$1:$2" | chpasswd -e
""",
    "usr/bin/raspi-config": '#!/bin/sh\necho "$*" >>/var/log/raspi-config\nsleep 0.5\n',
}


def root_of(name: str, target: Path) -> Path:
    """A copy of one of pi-roots.sh' with the probe in it; skips where none can be made."""
    made = run("bash", REPOSITORY / "tests" / "deploy" / "pi-roots.sh", name, HOME="/root")
    if made.returncode:
        pytest.skip(f"no root like Raspberry Pi OS' can be made here: {made.stderr.strip().splitlines()[-1:]}")
    done = run("cp", "--archive", "--reflink=auto", made.stdout.strip(), target)
    assert done.returncode == 0, done.stderr
    (target / "probe.sh").write_text(PROBE)
    (target / "etc/systemd/system/probe.service").write_text(PROBE_UNIT)
    done = run("chroot", target, "systemctl", "enable", "probe.service")
    assert done.returncode == 0, done.stderr
    return target


@pytest.fixture(scope="module")
def release_key(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_key(tmp_path_factory.mktemp("key") / "release-key")


class Container:
    """A root with a card's files on its boot partition, started with the kernel's command line that stands there."""

    def __init__(self, suite: str, key: Path, folder: Path, *words: str) -> None:
        tree, image, card = folder / "tree", folder / "pi.img", folder / "card.img"
        write_tree(tree, suite)
        status = tree / "var/lib/dpkg/status"
        status.write_text(f"{status.read_text()}\nPackage: overlayroot\nStatus: install ok installed\n")
        make_image(image, tree, suite, 40, 8)
        write_digest(image)
        self.login = make_key(folder / "login")
        self.root = root_of(f"{suite}-amd64", folder / "root")
        pip = pip_wheel(self.root)
        bundle = small_bundle(folder, key, pip, suite=suite, arch="aarch64")
        given = ("--image", image, "--out", card, "--bundle", bundle, "--ssh-key", self.login.with_suffix(".pub"))
        done = flash(*given, *words, CUELENS_KEY=str(key))
        assert done.returncode == 0, done.stderr
        self.boot = self.root / "boot" / "firmware"
        for name, content in boot_files(card).items():
            (self.boot / name).parent.mkdir(exist_ok=True)
            (self.boot / name).write_bytes(content)
            (self.boot / name).chmod(0o755)  # as FAT has all files
        for name, text in HELPERS.items():
            if suite == "bookworm" or name.endswith("raspi-config"):
                (self.root / name).parent.mkdir(parents=True, exist_ok=True)
                (self.root / name).write_text(text)
                (self.root / name).chmod(0o755)
        (self.root / "etc/NetworkManager/system-connections").mkdir(parents=True, exist_ok=True)
        # The machine that tests run on is another.
        (self.boot / "cuelens" / bundle.name).unlink()
        shutil.copy(small_bundle(folder, key, pip, suite=suite), self.boot / "cuelens")
        self.console = folder / "console"

    def prepared(self) -> bool:
        """Say whether the unit of the first boot is there."""
        return (self.root / "etc/systemd/system/cuelens-first-boot.service").exists()

    def installing(self) -> bool:
        """Say whether the installer has begun to unpack."""
        return any((self.root / "opt/cuelens").glob("releases/*"))

    def wiped(self) -> bool:
        """Say whether the bundle is gone, but not all is done."""
        return (self.boot / "cuelens").exists() and not any((self.boot / "cuelens").glob("*.tar"))

    def start(self, cut_when: Callable[[], bool] | None = None) -> str:
        """Boot it until it turns itself off or restarts, or pull the plug when this is so; returns what it said."""
        words = (self.boot / "cmdline.txt").read_text().split()
        command = ["systemd-nspawn", "--quiet", "--boot", "--register=no", "--keep-unit", "--private-network"]
        command += [f"--machine=cuelens-{os.getpid()}", f"--directory={self.root}"]
        with self.console.open("wb") as console:
            process = subprocess.Popen(
                [*command, *(word for word in words if word.startswith(("systemd.", "ds=")))],
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=console,
            )
            deadline = time.monotonic() + 120
            while process.poll() is None:
                if cut_when and cut_when():
                    # Its first process: with it all others end at once, which they do not with nspawn.
                    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
                    os.kill(int(children[0]), signal.SIGKILL)
                    process.wait()
                    cut_when = None
                assert time.monotonic() < deadline, self.console.read_text(errors="replace")
                time.sleep(0.02)
        printed = self.console.read_text(errors="replace")
        assert cut_when is None, printed
        return printed


def probed(printed: str) -> dict[str, str]:
    """Return what the probe said."""
    return dict(re.findall(r"PROBE (\w+) (.*?)\r?$", printed, re.MULTILINE))


def hold_to_a_finished_first_boot(container: Container, printed: str) -> None:
    """Hold a device to what was wished for, and its boot partition to having no secret any more."""
    facts = probed(printed)
    assert facts.keys() == {"service", "status", "host", "ssh", "user"}, printed
    status = json.loads(facts.pop("status"))
    assert (status["version"], status["frames"] > 0) == ("1.0", True)
    assert facts == {"service": "active", "host": "glasses", "ssh": "enabled", "user": "L 0"}, printed
    keys = (container.root / "home/maker/.ssh/authorized_keys").read_text()
    assert container.login.with_suffix(".pub").read_text().split()[1] in keys
    assert (container.root / "opt/cuelens/current").readlink().name == "1.0"
    assert not (container.root / "etc/systemd/system/cuelens-first-boot.service").exists()
    assert not {"cuelens", "firstrun.sh", "user-data", "network-config", "cuelens-first-boot.log"} & {
        path.name for path in container.boot.iterdir()
    }
    assert "systemd.run" not in (container.boot / "cmdline.txt").read_text()


@pytest.mark.timeout(400)
def test_bookworm_runs_firstrun_and_the_plug_may_be_pulled(release_key: Path, tmp_path: Path) -> None:
    password = tmp_path / "password"
    password.write_text("correct horse\n")
    wifi = ("--wifi", "a; b", "--country", "DE", "--wifi-password-file", str(password))
    container = Container("bookworm", release_key, tmp_path, "--hostname", "glasses", "--read-only", *wifi)
    container.start(container.prepared)
    assert "systemd.run=" in (container.boot / "cmdline.txt").read_text()
    printed = container.start()
    assert probed(printed) == {}, "the next start is a normal one"
    assert not (container.boot / "firstrun.sh").exists()
    keyfile = container.root / "etc/NetworkManager/system-connections/cuelens.nmconnection"
    assert (keyfile.stat().st_mode & 0o777, "ssid=97;59;32;98;\n" in keyfile.read_text()) == (0o600, True)
    container.start(container.installing)
    assert (container.boot / "cuelens" / "first-boot.conf").exists()
    container.start(container.wiped)
    assert "cuelens: done" in container.start(), "and it restarts, for the read-only root"
    hold_to_a_finished_first_boot(container, container.start())
    asked = (container.root / "var/log/raspi-config").read_text().splitlines()
    assert asked.count("nonint enable_overlayfs") == 2
    assert asked[0] == "nonint do_wifi_country DE"


@pytest.mark.timeout(400)
def test_trixies_cloud_init_sets_it_up_and_the_plug_may_be_pulled(release_key: Path, tmp_path: Path) -> None:
    container = Container("trixie", release_key, tmp_path, "--hostname", "glasses")
    container.start(container.prepared)
    assert "cloud-init starts again" in container.start()
    container.start(container.installing)
    assert (container.boot / "user-data").exists()
    assert not (container.root / "var/lib/cuelens-first-boot").exists(), "cloud-init had come to its end"
    hold_to_a_finished_first_boot(container, container.start())
    assert (container.root / "etc/cloud/cloud-init.disabled").exists()
    # And once more, as in all later starts.
    (container.root / "etc/ssh/ssh_host_ed25519_key.pub").rename(tmp_path / "host-key")
    hold_to_a_finished_first_boot(container, container.start())
    assert not (container.root / "etc/ssh/ssh_host_ed25519_key.pub").exists(), "its host keys are made once"


def test_cloud_init_and_netplan_read_what_is_written_for_them(tmp_path: Path) -> None:
    root = root_of("trixie-amd64", tmp_path / "root")
    golden = REPOSITORY / "tests" / "golden" / "flash" / "trixie"
    for name in ("user-data", "network-config"):
        shutil.copy(golden / name, root / name)
    printed = enter(root, "cloud-init", "schema", "--config-file", "/user-data")
    assert (printed.returncode, "Valid schema" in printed.stdout) == (0, True), printed.stdout + printed.stderr
    plan = root / "plan" / "etc" / "netplan"
    plan.mkdir(parents=True)
    (plan / "card.yaml").write_bytes(
        (golden / "network-config")
        .read_bytes()
        .replace(b"  version: 2\n", b"  version: 2\n  renderer: NetworkManager\n")
    )
    (plan / "card.yaml").chmod(0o600)
    printed = enter(root, "netplan", "generate", "--root-dir", "/plan")
    assert printed.returncode == 0, printed.stdout + printed.stderr
    keyfile = next((root / "plan/run/NetworkManager/system-connections").glob("netplan-wlan0-*"))
    name = re.search(r"^ssid=(.*);$", keyfile.read_text(), re.MULTILINE)
    assert name
    assert bytes(map(int, name[1].split(";"))).decode() == 'it\'s "my\\net" $(reboot); #é✓'


# As cloud-init passes it on, and as GKeyFile reads what netplan then writes: NetworkManager's own reader.
READ_PLANS = """
import ctypes, json, pathlib, shutil, subprocess, sys, yaml
glib = ctypes.CDLL("libglib-2.0.so.0")
glib.g_key_file_new.restype = ctypes.c_void_p
glib.g_key_file_load_from_file.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int, ctypes.c_void_p]
glib.g_key_file_get_string.restype = ctypes.c_char_p
glib.g_key_file_get_string.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_void_p]
for text in json.load(sys.stdin):
    shutil.rmtree("/tmp/plan", ignore_errors=True)
    folder = pathlib.Path("/tmp/plan/etc/netplan")
    folder.mkdir(parents=True)
    plan = yaml.safe_load(text)
    plan["network"]["renderer"] = "NetworkManager"
    (folder / "50-cloud-init.yaml").write_text(yaml.safe_dump(plan))
    (folder / "50-cloud-init.yaml").chmod(0o600)
    subprocess.run(["netplan", "generate", "--root-dir", "/tmp/plan"], check=True)
    (path,) = pathlib.Path("/tmp/plan/run/NetworkManager/system-connections").glob("netplan-wlan0-*")
    file = glib.g_key_file_new()
    assert glib.g_key_file_load_from_file(file, bytes(path), 0, None)
    keys = [("wifi", "ssid"), ("wifi", "hidden"), ("wifi-security", "key-mgmt"), ("wifi-security", "psk")]
    found = [glib.g_key_file_get_string(file, group.encode(), key.encode(), None) for group, key in keys]
    print(json.dumps([value and value.decode() for value in found]))
"""
ODD = (
    "plain name",
    " blanks ",
    "1;2;",
    "on",
    "~",
    "0x10",
    "1e3",
    "2026-11-29",
    "a\\b",
    "é✓",
    "a: #b",
    "$x%s`id`",
    "t\tb",
)
SECRETS = ("12345678", "on: #null", " blanks  ", "back\\slash;\"'", "Grüße-Kuß", "%n$HOME`x`", "0f" * 32, "=[~]{&*!|>")


def test_netplan_hands_every_name_and_password_on_as_it_was_given(tmp_path: Path) -> None:
    root = root_of("trixie-amd64", tmp_path / "root")
    protections = {"wpa2-wpa3": "wpa-psk", "wpa3": "sae", "open": None}
    networks = [
        Wifi(name, "NO", kind, "" if kind == "open" else secret, hidden)
        for name, secret in itertools.zip_longest(ODD, SECRETS, fillvalue="correct horse")
        for kind, hidden in zip(protections, (True, False, True), strict=True)
    ]
    (root / "read.py").write_text(READ_PLANS)
    printed = enter(root, "python3", "/read.py", given=json.dumps([netplan(wifi) for wifi in networks]))
    assert printed.returncode == 0, printed.stderr
    for wifi, line in zip(networks, printed.stdout.splitlines(), strict=True):
        name, hidden, protection, secret = json.loads(line)
        octets = bytes(map(int, name.split(";")[:-1])) if name.endswith(";") else name.encode()
        assert octets.decode() == wifi.name
        assert hidden == ("true" if wifi.hidden else None)
        assert (protection, secret or "") == (protections[wifi.security], wifi.secret)


def device_bundle(folder: Path, key: Path) -> Path:
    """This checkout's bundle for a Raspberry Pi, without the optional sinks: emulated, each package costs seconds."""
    target = next(target for target in TARGETS if str(target) == "trixie aarch64")
    try:
        wheels = fetch(locked(target), target, REPOSITORY / ".cache" / "wheels")
    except Failure as failure:
        pytest.skip(str(failure))
    locks = REPOSITORY / "deploy" / "locks"
    names = {pin.name for lock in ("device", "pip") for pin in read_lock((locks / f"{lock}.txt").read_text(), target)}
    version, epoch = project_version()
    project = build_project(version, epoch, folder)
    files = {name: (REPOSITORY / source).read_bytes() for name, source in FILES.items()}
    files["install.sh"] = packed_installer()
    needed = [wheel for wheel in wheels if read_wheel(wheel, target).name in names]
    return build(version, target, [*needed, project], files, key, folder)


@pytest.mark.skipif(shutil.which("qemu-system-aarch64") is None, reason="no qemu-system-aarch64; .ci/run installs it")
@pytest.mark.timeout(1800)
def test_a_whole_card_starts_in_an_emulated_machine_without_a_network(release_key: Path, tmp_path: Path) -> None:
    made = run("bash", REPOSITORY / "tests" / "deploy" / "pi-roots.sh", "kernel", HOME="/root")
    if made.returncode:
        pytest.skip(f"no kernel can be had here: {made.stderr.strip().splitlines()[-1:]}")
    kernel = Path(made.stdout.strip())
    bundle = device_bundle(tmp_path, release_key)
    image, card, settings = tmp_path / "pi.img", tmp_path / "card.img", tmp_path / "cuelens.toml"
    make_image(image, root_of("trixie-arm64", tmp_path / "root"), "trixie", 160, 1200, first="\n")
    shutil.rmtree(tmp_path / "root")
    write_digest(image)
    text = (REPOSITORY / "deploy" / "cuelens.toml").read_text()
    settings.write_text(re.sub("^source = .*", 'source = "demo"', text, flags=re.MULTILINE))
    login = make_key(tmp_path / "login").with_suffix(".pub")
    words = ("--image", image, "--out", card, "--bundle", bundle, "--settings", settings, "--ssh-key", login)
    done = flash(*words, "--hostname", "glasses", CUELENS_KEY=str(release_key))
    assert done.returncode == 0, done.stderr
    # What a Raspberry Pi's firmware does; the emulated machine's serial port has another name.
    cmdline = boot_files(card)["cmdline.txt"].decode().replace("console=serial0,115200 console=tty1", "console=ttyAMA0")
    machine = ["qemu-system-aarch64", "-machine", "virt", "-cpu", "cortex-a72", "-smp", "2", "-m", "1024", "-no-reboot"]
    machine += ["-nographic", "-nic", "none", "-drive", f"file={card},if=virtio,format=raw"]
    machine += ["-kernel", f"{kernel}/vmlinuz", "-initrd", f"{kernel}/initrd.gz", "-append", cmdline.strip()]
    nothing = subprocess.DEVNULL
    printed = subprocess.run(
        machine, stdin=nothing, capture_output=True, text=True, errors="replace", check=False
    ).stdout
    facts = probed(printed)
    assert facts.keys() == {"service", "status", "host", "ssh", "user"}, printed[-6000:]
    status = json.loads(facts.pop("status"))
    assert status["version"] in bundle.name
    assert min(status[key] for key in ("frames", "inferences", "watchdog")) > 0, status
    assert status["state"] in ("no_face", "unsure", "expression"), status
    assert facts == {"service": "active", "host": "glasses", "ssh": "enabled", "user": "L 0"}
    assert boot_files(card).keys() == {"cmdline.txt", "meta-data"}
