"""Devices as they are: Debian machines with systemd and sshd, booted in containers, pushed to, cut off, restarted."""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.bundle import packed_installer
from tests.deploy.machines import Machine, copy_root, make_key, pip_wheel, plant_killer, run, small_bundle
from tests.support.failures import cause_of

pytestmark = [
    pytest.mark.root,
    pytest.mark.slow,
    pytest.mark.timeout(600),
    pytest.mark.skipif(platform.machine() != "x86_64", reason="systemd-nspawn boots an x86-64 root here"),
    *(
        pytest.mark.skipif(shutil.which(tool) is None, reason=f"no {tool} on this system; .ci/run installs it")
        for tool in ("systemd-nspawn", "ssh", "rsync")
    ),
]

REPOSITORY = Path(__file__).resolve().parents[2]
HOST = "maker@127.0.0.1"
PROGRAM = "/opt/cuelens/current/venv/bin/cuelens"
WORKS = f"sudo {PROGRAM} status --json | grep -q '\"frames\": [1-9]'"
SETTINGS = 'source = "demo"\nsinks = ["terminal"]\n'


class Device:
    """A booted machine, and this host as the maker's."""

    def __init__(self, machine: Machine, folder: Path, suite: str, key: Path) -> None:
        self.machine, self.suite, self._folder, self._key = machine, suite, folder, key
        self.before: list[str] = []  # files before the first installation
        self.settings = folder / "settings.toml"
        self.settings.write_text(SETTINGS)

    def deploy(self, *words: str | Path, **more: str) -> subprocess.CompletedProcess[str]:
        """Run ./deploy.sh COMMAND HOST ARGUMENTS here."""
        command, *rest = words
        return run(REPOSITORY / "deploy.sh", command, HOST, *rest, **self.environment(), **more)

    def environment(self) -> dict[str, str]:
        """What ./deploy.sh needs to know here."""
        more = {name: value for name, value in os.environ.items() if name.startswith(("PIP_", "SSL_", "HTTP", "http"))}
        more |= {"HOME": str(self._folder), "PATH": os.environ["PATH"]}
        return more | {"CUELENS_KEY": str(self._key), "CUELENS_SSH": self.machine.ssh}

    def small(self, version: str, behaviour: str = "works") -> Path:
        """A small bundle for it."""
        return small_bundle(self._folder, self._key, pip_wheel(self.machine.root), version, behaviour, suite=self.suite)

    def show(self, name: str) -> str:
        """A property of the service."""
        return self.machine.ask(f"systemctl show cuelens --property={name} --value")

    def cut(self, step: str, bundle: Path) -> None:
        """Install a bundle, cut the power before a step of that, and start again."""
        files = self.machine.root / "root"
        shutil.copy(bundle, files / "new.tar")
        (files / "install.sh").write_bytes(packed_installer())
        line = f'cuelens namespaces="cuelens-release" {self._key.with_suffix(".pub").read_text()}'
        (files / "signers").write_text(line)
        plant_killer(self.machine.root)
        install = "bash /root/install.sh install /root/new.tar --signers /root/signers"
        (files / "install").write_text(f"export HALT=yes KILL_AFTER=0 KILL_AT='{step}'\n{install}")
        self.machine.ask("sudo systemd-run --quiet bash /root/install")
        self.machine.wait_for("[ -e /reached ]")
        self.machine.cut_power()
        (self.machine.root / "reached").unlink()
        self.machine.start()

    def link(self, name: str) -> str:
        """The version that a link names, "" where it is not there."""
        path = self.machine.root / "opt/cuelens" / name
        return path.readlink().name if path.is_symlink() else ""

    def files(self) -> list[str]:
        """What lies where an installation leaves something."""
        return sorted(
            path.relative_to(self.machine.root).as_posix()
            for folder in ("etc", "home", "opt", "usr/local", "usr/lib/systemd", "var/lib")
            for path in (self.machine.root / folder).rglob("*")
        )


@pytest.fixture(scope="module", params=["trixie", "bookworm"])
def device(request: pytest.FixtureRequest, memory: Path, key: Path) -> Iterator[Device]:
    """A machine that was just booted for the first time, with a Pi's groups; bookworm's has rsync."""
    suite = request.param
    machine = Machine(copy_root(f"{suite}-amd64", memory / suite), make_key(memory / f"login-{suite}"))
    if suite == "bookworm":
        give_rsync(machine.root)
    machine.start()
    device = Device(machine, memory, suite, key)
    device.before = device.files()
    try:
        yield device
    finally:
        machine.cut_power()


def give_rsync(root: Path) -> None:
    """Copy this host's rsync into a root, with the libraries it wants."""
    folder = root / "opt" / "rsync"
    folder.mkdir()
    libraries = [word for word in run("ldd", "/usr/bin/rsync").stdout.split() if word.startswith("/")]
    for path in ("/usr/bin/rsync", *libraries):
        shutil.copy(path, folder)
    script = '#!/bin/sh\nexec /opt/rsync/ld-linux-x86-64.so.2 --library-path /opt/rsync /opt/rsync/rsync "$@"\n'
    program = root / "usr" / "local" / "bin" / "rsync"
    program.write_text(script)
    program.chmod(0o755)


@pytest.fixture(scope="module")
def pushed(device: Device) -> Iterator[Device]:
    """... with this checkout pushed to it."""
    bundles = set((REPOSITORY / "dist").glob("*.tar"))
    done = device.deploy("push", "--settings", device.settings)
    if "[download-failed]" in done.stderr:
        pytest.skip(f"no packages to be had here: {done.stderr.strip().splitlines()[-1]}")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "works" in done.stderr
    yield device
    for bundle in set((REPOSITORY / "dist").glob("*.tar")) - bundles:
        bundle.unlink()


only_trixie = pytest.mark.parametrize("device", ["trixie"], indirect=True, scope="module")


@only_trixie
def test_sudos_password_is_handed_over(device: Device) -> None:
    """As a new Raspberry Pi OS wants it; the machine's own sudo judges."""
    password, root = """it's "odd" $(id) \\n %s ü""", device.machine.root
    sudoers = root / "etc" / "sudoers.d" / "maker"
    before = sudoers.read_text()
    done = run("chroot", root, "chpasswd", given=f"maker:{password}\n")
    assert done.returncode == 0, done.stderr
    sudoers.write_text("Defaults lecture=never\nmaker ALL=(ALL) ALL\n")
    try:
        asked = device.deploy("status")
        wrong = device.deploy("status", CUELENS_SUDO_PASSWORD="guess")
        right = device.deploy("status", CUELENS_SUDO_PASSWORD=password)
    finally:
        sudoers.write_text(before)
    assert (cause_of(asked), "CUELENS_SUDO_PASSWORD" in asked.stderr) == ("root-needed", True), asked.stderr
    assert (cause_of(wrong), "does not take this password" in wrong.stderr) == ("root-needed", True), wrong.stderr
    assert (right.returncode, right.stdout) == (0, "no release is installed\n"), right.stderr
    assert not device.machine.ask("ls /tmp/tmp.* 2>/dev/null || :")


def test_pushed_it_runs_and_shows_cues(pushed: Device) -> None:
    machine = pushed.machine
    assert pushed.show("ActiveState") == "active"
    answer = json.loads(machine.ask(f"sudo {PROGRAM} status --json"))
    assert answer["version"] == pushed.link("current") == pushed.link("good")
    assert answer["frames"] > 0
    machine.wait_for("sudo journalctl --unit cuelens --output cat | grep -E 'smile|surprise|upset'", 30)
    status = pushed.deploy("status")
    assert (status.returncode, f"{answer['version']} current, good" in status.stdout) == (0, True), status.stderr
    logs = pushed.deploy("logs", "--lines=2")
    assert (logs.returncode, len(logs.stdout.splitlines())) == (0, 2), logs.stderr


def test_it_is_no_root_and_reaches_no_network_and_few_devices(pushed: Device) -> None:
    machine, pid = pushed.machine, pushed.show("MainPID")
    status = machine.ask(f"cat /proc/{pid}/status")
    assert "Uid:\t0" not in status
    names = machine.ask(f"getent group $(grep ^Groups: /proc/{pid}/status | cut -f 2) | cut -d: -f 1").split()
    assert set(names) <= {"video", "render", "gpio", "i2c", "spi", "cuelens"}
    assert {"video", "gpio", "i2c", "spi"} <= set(names)
    assert pushed.show("RestrictAddressFamilies").split() == ["AF_NETLINK", "AF_UNIX"]
    assert pushed.show("DevicePolicy") == "closed"
    said = "sudo journalctl --quiet --unit cuelens --directory"
    assert machine.ask(f"{said} /run/log/journal")
    assert machine.ask(f"{said} /var/log/journal") == ""  # which this Debian had made


def test_pushed_again_nothing_is_sent_or_restarted(pushed: Device) -> None:
    before = pushed.show("MainPID"), pushed.files()
    done = pushed.deploy("push")
    assert (done.returncode, "is there already" in done.stderr) == (0, True), done.stderr
    assert "sending" not in done.stderr
    assert (pushed.show("MainPID"), pushed.files()) == before


def test_it_starts_at_boot_by_itself_also_after_a_power_cut(pushed: Device) -> None:
    version = pushed.link("current")
    pushed.machine.restart()
    pushed.machine.wait_for(WORKS)
    pushed.machine.cut_power()
    pushed.machine.start()
    pushed.machine.wait_for(WORKS)
    assert (pushed.link("current"), pushed.link("good")) == (version, version)
    assert (
        pushed.machine.ask("systemctl is-active cuelens-settle || systemctl show cuelens-settle -P Result") != "failed"
    )


@only_trixie
def test_killed_it_is_started_again(pushed: Device) -> None:
    pid = pushed.show("MainPID")
    pushed.machine.ask(f"sudo kill -KILL {pid}")
    pushed.machine.wait_for(f'[ "$(systemctl show cuelens -P MainPID)" != {pid} ] && {WORKS}')
    assert pushed.show("NRestarts") == "1"


@only_trixie
def test_hung_it_is_ended_by_the_watchdog_and_started_again(pushed: Device) -> None:
    pid = pushed.show("MainPID")
    pushed.machine.ask("sudo systemctl reset-failed cuelens")
    pushed.machine.ask(f"sudo kill -STOP {pid}")
    pushed.machine.wait_for(f'[ "$(systemctl show cuelens -P MainPID)" != {pid} ] && {WORKS}')
    assert "Watchdog timeout" in pushed.machine.ask("sudo journalctl --unit cuelens --output cat")


# Tried inside the service's own sandbox: what of this works there?
PROBE = r"""
import ctypes, json, os, socket, subprocess, sys, time

def tried(name, attempt):
    child = os.fork()  # of its own: some calls are answered with SIGSYS
    if not child:
        try:
            attempt()
            os._exit(0)
        except BaseException:
            os._exit(1)
    return [name] if os.waitpid(child, 0)[1] == 0 else []

libc = ctypes.CDLL(None, use_errno=True)

def call(function, *words):
    if function(*words):
        raise OSError(ctypes.get_errno(), "refused")

worked = [
    *(tried(f"a socket {name}", lambda name=name: socket.socket(getattr(socket, name), socket.SOCK_DGRAM))
      for name in ("AF_INET", "AF_INET6", "AF_PACKET", "AF_BLUETOOTH", "AF_VSOCK")),
    *(tried(f"writing {path}", lambda path=path: open(path, "a"))
      for path in ("/etc/cuelens/cuelens.toml", "/etc/passwd", "/opt/cuelens/x", "/usr/x", "/root/x", "/home/maker/x",
                   "/proc/sys/kernel/core_pattern", "/sys/kernel/x", "/var/lib/x")),
    *(tried(f"reading {path}", lambda path=path: open(path).read(1) if os.path.isfile(path) else os.listdir(path))
      for path in ("/home/maker", "/root", "/etc/shadow", "/proc/1/environ")),
    *(tried(f"opening {path}", lambda path=path: os.open(path, os.O_RDWR))
      for path in ("/dev/mem", "/dev/kmsg", "/dev/console")),
    tried("mounting", lambda: call(libc.mount, b"/", b"/mnt", b"", 4096, None) or call(libc.umount, b"/mnt")),
    tried("a space of its own", lambda: call(libc.unshare, 0x10000000)),
    tried("setting the clock", lambda: time.clock_settime(time.CLOCK_REALTIME, time.time())),
    tried("tracing", lambda: call(libc.ptrace, 0, 0, 0, 0)),
    tried("becoming root", lambda: subprocess.run(["sudo", "-n", "true"], check=True)),
    tried("a setuid file", lambda: os.chmod(open(os.environ["STATE_DIRECTORY"] + "/probe", "w").name, 0o4755)),
]
allowed = tried("a local socket", lambda: socket.socket(socket.AF_UNIX)) + tried(
    "its state folder", lambda: open(os.environ["STATE_DIRECTORY"] + "/probe", "w"))
print("PROBE", json.dumps({"worked": sum(worked, []), "allowed": allowed}), flush=True)
"""


@only_trixie
def test_its_sandbox_refuses_all_but_its_socket_and_its_folder(pushed: Device) -> None:
    machine = pushed.machine
    (machine.root / "usr/local/share/probe.py").write_text(PROBE)
    machine.ask(drop_in("probe", "[Service]", "ExecStartPre=/usr/bin/python3 /usr/local/share/probe.py"))
    machine.ask("sudo systemctl restart cuelens")
    machine.wait_for("sudo journalctl --unit cuelens --output cat --grep ^PROBE")
    said = machine.ask("sudo journalctl --unit cuelens --output cat --grep ^PROBE")
    machine.ask("sudo rm -r /run/systemd/system/cuelens.service.d/probe.conf /usr/local/share/probe.py")
    machine.ask("sudo rm /var/lib/private/cuelens/probe; sudo systemctl daemon-reload; sudo systemctl restart cuelens")
    answer = json.loads(said.splitlines()[-1].removeprefix("PROBE"))
    assert answer == {"worked": [], "allowed": ["a local socket", "its state folder"]}
    # Outside, most of it works: what refuses is the sandbox.
    (machine.root / "root/probe.py").write_text(PROBE)
    outside = machine.ask("sudo STATE_DIRECTORY=/tmp python3 /root/probe.py")
    machine.ask("sudo rm /root/probe.py /root/x /home/maker/x /opt/cuelens/x /usr/x /var/lib/x")
    assert len(json.loads(outside.removeprefix("PROBE"))["worked"]) > 15


def drop_in(name: str, *lines: str, unit: str = "cuelens") -> str:
    """The command that gives a unit further lines until the next boot."""
    folder = f"/run/systemd/system/{unit}.service.d"
    text = "\\n".join(lines)
    return (
        f"sudo mkdir -p {folder} && printf '{text}\\n' | sudo tee {folder}/{name}.conf && sudo systemctl daemon-reload"
    )


BROKEN = 'source = "file:/nowhere.mp4"\nsinks = ["png:/var/lib/cuelens/cue.png"]\n'


def test_a_service_that_ends_again_and_again_stops_the_display_shows_why_and_it_is_tried_later(pushed: Device) -> None:
    machine, settings = pushed.machine, pushed.machine.root / "etc/cuelens/cuelens.toml"
    before = settings.read_text()
    machine.ask(drop_in("quick", "[Unit]", "StartLimitBurst=3", "[Service]", "RestartSec=100ms"))
    machine.ask(drop_in("quick", "[Service]", "RuntimeMaxSec=8", unit="cuelens-safe"))
    settings.write_text(BROKEN)
    machine.ask("sudo systemctl reset-failed cuelens; sudo systemctl restart --no-block cuelens")
    machine.wait_for("systemctl is-active cuelens-safe")
    assert pushed.show("ActiveState") == "failed"
    machine.wait_for("sudo test -s /var/lib/private/cuelens/cue.png")
    said = machine.ask("sudo journalctl --unit cuelens-safe --output cat")
    assert "stopped: --source file:/nowhere.mp4: no such file" in said
    for service in ("cuelens", "cuelens-safe"):
        failed = machine.ask(f"sudo journalctl --unit {service} --priority err --output cat")
        assert re.search(r"^cuelens: .*/nowhere\.mp4: no such file .*\[source-missing\]$", failed, re.MULTILINE), (
            service
        )
    settings.write_text(before)
    machine.wait_for(WORKS)
    machine.wait_for("! systemctl is-active cuelens-safe && sudo test ! -e /var/lib/private/cuelens/failure")
    machine.ask("sudo rm -r /run/systemd/system/cuelens*.service.d; sudo systemctl daemon-reload")


@only_trixie
def test_a_service_that_hangs_is_stopped_too_and_safe_mode_stopped_by_hand_starts_nothing(pushed: Device) -> None:
    machine = pushed.machine
    quick = drop_in("quick", "[Unit]", "StartLimitBurst=1", "[Service]", "WatchdogSec=2", "TimeoutStopSec=1")
    machine.ask(f"{quick}; sudo systemctl reset-failed cuelens; sudo systemctl restart cuelens")
    machine.ask("sudo kill -STOP $(systemctl show cuelens -P MainPID)")
    machine.wait_for("sudo journalctl --unit cuelens-safe --output cat | grep -q 'stopped: it hung'")
    machine.ask("sudo systemctl stop cuelens-safe")
    assert [machine.ask(f"systemctl is-active {unit} || :") for unit in ("cuelens-safe", "cuelens")] == [
        "inactive",
        "failed",
    ]
    machine.ask("sudo rm -r /run/systemd/system/cuelens.service.d; sudo systemctl daemon-reload")
    machine.ask("sudo systemctl reset-failed cuelens; sudo systemctl start cuelens")


@only_trixie
def test_bench_brings_its_report_back_and_leaves_the_service_running(pushed: Device) -> None:
    done = pushed.deploy("bench", "stages", "--frames", "20", "--warmup", "5", "--rounds", "1")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["result"]["frames"] == 20
    assert report["provenance"]["software"]["os"].startswith("Debian")
    assert not list((pushed.machine.root / "tmp").glob("tmp.*"))
    pushed.machine.wait_for(WORKS)


@only_trixie
def test_settings_that_are_pushed_are_tried_before_they_count(pushed: Device) -> None:
    pid = pushed.show("MainPID")
    pushed.settings.write_text("threads = 99")
    done = pushed.deploy("push", "--settings", pushed.settings)
    pushed.settings.write_text('source = "demo:2"\nsinks = ["terminal", "web"]\n')
    assert (cause_of(done), "threads is 99; valid are 1 to 8" in done.stderr) == ("installation-failed", True), (
        done.stderr
    )
    assert pushed.show("MainPID") == pid
    done = pushed.deploy("push", "--settings", pushed.settings)
    assert done.returncode == 0, done.stderr
    assert "AF_INET" in pushed.show("RestrictAddressFamilies")
    page = "import urllib.request as r; print(r.urlopen('http://127.0.0.1:8317/').status)"
    pushed.machine.wait_for(f'python3 -c "{page}"')
    assert pushed.deploy("push").returncode == 0
    assert 'source = "demo:2"' in (pushed.machine.root / "etc/cuelens/cuelens.toml").read_text()


@only_trixie
@pytest.mark.parametrize(
    ("behaviour", "why"), [("dies", "it died 3 times"), ("blind", "no frame yet"), ("broken", "does not run")]
)
def test_a_bad_release_goes_back_by_itself_and_says_why(pushed: Device, behaviour: str, why: str) -> None:
    version = pushed.link("current")
    bundle = pushed.small("9.9", behaviour)
    done = pushed.deploy("push", "--bundle", bundle, "--deadline", "6" if behaviour == "blind" else "60")
    assert cause_of(done) == ("installation-failed" if behaviour == "broken" else "release-failed"), done.stderr
    assert why in done.stderr
    if behaviour == "dies":
        assert "no idea what to do" in done.stderr  # its own words, from the journal
    assert (pushed.link("current"), pushed.link("good")) == (version, version)
    pushed.machine.wait_for(WORKS)
    if behaviour != "broken":
        assert f"taken back: 9.9 {why}" in pushed.deploy("status").stdout


@only_trixie
@pytest.mark.parametrize("arrived", ["nothing", "its first half", "something else"])
def test_a_wrongly_signed_bundle_is_refused_over_ssh_whatever_of_it_arrived_before(
    pushed: Device, tmp_path: Path, arrived: str
) -> None:
    """Refused as signed by another: had it not arrived whole, it would be as damaged."""
    version, pid = pushed.link("current"), pushed.show("MainPID")
    other = make_key(tmp_path / "other")
    bundle = small_bundle(tmp_path, other, pip_wheel(pushed.machine.root), "8.0", suite=pushed.suite)
    inbox = "/home/maker/.cache/cuelens"
    if arrived != "nothing":
        half = bundle.stat().st_size // 2
        content = bundle.read_bytes()[:half] if arrived == "its first half" else b"x" * half
        pushed.machine.ask(f"mkdir -p {inbox}; touch {inbox}/{bundle.name}")
        (pushed.machine.root / inbox.lstrip("/") / bundle.name).write_bytes(content)
    done = pushed.deploy("push", "--bundle", bundle)
    assert (cause_of(done), "signed by a key that is not in" in done.stderr) == ("signer-unknown", True), done.stderr
    assert (pushed.link("current"), pushed.show("MainPID")) == (version, pid)
    assert pushed.machine.say(f"ls {inbox}").returncode != 0


CUTS = [  # and what runs when the power is back
    ("installing its packages", "old"),
    ("making it the release that starts", "old"),
    ("starting it", "new"),
    ("waiting for its first frame", "new"),
    ("removing older releases", "new"),
]


@only_trixie
@pytest.mark.parametrize(("step", "runs"), CUTS)
def test_the_power_is_cut_before_a_step_and_the_next_boot_runs_old_or_new_and_proves_it(
    pushed: Device, step: str, runs: str
) -> None:
    machine, old, new = pushed.machine, pushed.link("good"), f"7.{CUTS.index((step, runs))}"
    pushed.cut(step, pushed.small(new))
    expected = {"old": old, "new": new}[runs]
    machine.wait_for(f'{WORKS} && [ "$(readlink /opt/cuelens/good)" = releases/{expected} ]')
    assert pushed.link("current") == expected
    assert machine.ask(f'sudo {PROGRAM} status --json | grep -o \'"version": "[^"]*"\'') == f'"version": "{expected}"'
    machine.ask("sudo bash /root/install.sh install /root/new.tar")
    assert pushed.link("good") == new


@only_trixie
def test_a_release_that_did_not_work_in_the_boot_it_got_is_taken_back(pushed: Device) -> None:
    machine, old = pushed.machine, pushed.link("good")
    shutil.copy(pushed.small("6.0", "blind"), machine.root / "root" / "new.tar")
    machine.ask("sudo bash /root/install.sh install /root/new.tar --no-start")
    assert (pushed.link("current"), pushed.link("good")) == ("6.0", old)
    for expected in ("6.0", old):
        machine.cut_power()
        machine.start()
        machine.wait_for("systemctl is-active cuelens")
        assert pushed.link("current") == expected
    machine.wait_for(WORKS)
    assert "taken back: 6.0 it was started once" in pushed.deploy("status").stdout


@only_trixie
def test_rolled_back_by_hand_the_one_before_runs(pushed: Device) -> None:
    current, previous = pushed.link("current"), pushed.link("previous")
    assert current != previous
    for expected in (previous, current):
        done = pushed.deploy("rollback")
        assert done.returncode == 0, done.stderr
        assert (pushed.link("current"), pushed.link("good")) == (expected, expected)
        pushed.machine.wait_for(WORKS)


@only_trixie
def test_the_page_about_devices_works_word_by_word(pushed: Device, tmp_path: Path) -> None:
    chapter = (REPOSITORY / "docs" / "device.md").read_text().split("```")[1]
    commands = re.findall(r"^\$ (.*)$", chapter, re.MULTILINE)
    assert [command.split()[1] for command in commands] == ["push", "status", "logs", "bench", "rollback", "uninstall"]
    (tmp_path / "deploy.sh").symlink_to(REPOSITORY / "deploy.sh")
    for command in commands:
        done = run("sh", "-c", f"cd {tmp_path}; {command.replace('pi@glasses.local', HOST)}", **pushed.environment())
        assert done.returncode == 0, f"{command}: {done.stderr}"
    assert json.loads((tmp_path / "pi.json").read_text())["result"]["frames"] == 300


def test_uninstalled_it_leaves_nothing(pushed: Device) -> None:
    done = pushed.deploy("uninstall")
    assert done.returncode == 0, done.stderr
    assert set(pushed.files()) - set(pushed.before) == set()
    assert pushed.machine.say("systemctl cat cuelens cuelens-settle").returncode != 0
    assert pushed.machine.ask("systemctl --failed --no-legend") == ""


@only_trixie
def test_a_first_release_that_does_not_work_is_reported_and_tried_again(device: Device) -> None:
    done = device.deploy("push", "--bundle", device.small("5.0", "blind"), "--deadline", "4")
    assert (cause_of(done), "5.0 is installed but does not work: no frame yet" in done.stderr) == (
        "release-failed",
        True,
    ), done.stderr
    done = device.deploy("push", "--bundle", device.small("5.1"))
    assert done.returncode == 0, done.stderr
    assert device.deploy("uninstall", "--keep-settings").returncode == 0
    assert sorted(set(device.files()) - set(device.before)) == [
        "etc/cuelens",
        "etc/cuelens/allowed_signers",
        "etc/cuelens/cuelens.toml",
        *(f"var/lib/{name}" for name in ("cuelens", "private/cuelens")),
    ]


@only_trixie
@pytest.mark.parametrize("step", ["starting it", "waiting for its first frame"])
def test_the_power_is_cut_in_a_first_installation_and_the_next_boot_runs_it(device: Device, step: str) -> None:
    device.cut(step, device.small("4.0"))
    device.machine.wait_for(WORKS)
    assert (device.link("current"), device.link("good")) == ("4.0", "4.0")
    assert device.deploy("uninstall").returncode == 0


@only_trixie
def test_no_sudo_and_no_such_host_are_reported(device: Device) -> None:
    sudoers = device.machine.root / "etc/sudoers.d/maker"
    allowed = sudoers.read_text()
    sudoers.write_text("")
    done = device.deploy("push", "--bundle", device.small("5.1"))
    sudoers.write_text(allowed)
    assert (cause_of(done), "may not use sudo" in done.stderr) == ("root-needed", True), done.stderr
    device.machine.key = device.machine.key.with_name("none")
    done = device.deploy("push")
    assert (cause_of(done), "is not reached" in done.stderr) == ("device-silent", True), done.stderr
