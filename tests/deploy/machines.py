"""Devices and releases for tests: Debian roots, entered or booted, and small bundles whose program obeys the test."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
import zipfile
from pathlib import Path

import pytest

from deploy.bundle import build, packed_installer
from deploy.packages import TARGETS

REPOSITORY = Path(__file__).resolve().parents[2]
# Answers what the installer asks of a release; BEHAVIOUR is how it runs.
PROGRAM = """
import json, os, socket, sys, threading, time

VERSION, BEHAVIOUR = {version!r}, {behaviour!r}
SOCKET = "/run/cuelens/status.sock"

def notify(state):
    address = os.environ["NOTIFY_SOCKET"]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        channel.sendto(state.encode(), "\\0" + address[1:] if address[0] == "@" else address)

def answer(status):
    with socket.socket(socket.AF_UNIX) as listener:
        if os.path.exists(SOCKET):
            os.unlink(SOCKET)
        listener.bind(SOCKET)
        listener.listen()
        while True:
            asker, _ = listener.accept()
            with asker:
                asker.sendall(json.dumps(status).encode())

def main():
    words = sys.argv[1:]
    if words == ["--version"]:
        print("cuelens", VERSION)
    elif words[0] == "status":
        with socket.socket(socket.AF_UNIX) as channel:
            channel.connect(SOCKET)
            print(channel.makefile().read())
    elif words == ["check"]:
        print("ok    all\\nnote  nothing")
    elif "--seconds" in words:
        sys.exit("a broken build" if BEHAVIOUR == "broken" else 0)
    elif BEHAVIOUR == "dies":
        sys.exit("no idea what to do")
    elif "NOTIFY_SOCKET" not in os.environ:
        print("running", VERSION)
    else:
        status = dict(version=VERSION, state="no_face", frames=0, inferences=1, watchdog=0)
        threading.Thread(target=answer, args=(status,), daemon=True).start()
        notify("READY=1")
        print("running", VERSION, flush=True)
        while True:
            time.sleep(0.1)
            status["frames"] += BEHAVIOUR != "blind"
            status["watchdog"] += 1
            notify("WATCHDOG=1")
"""
WHEEL = {
    "METADATA": "Metadata-Version: 2.1\nName: cuelens\nVersion: {version}\n",
    "WHEEL": "Wheel-Version: 1.0\nGenerator: a test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    "RECORD": "",
    "entry_points.txt": "[console_scripts]\ncuelens = stub:main\n",
}


def run(
    *words: str | Path, given: str | None = None, cwd: Path | None = None, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end, in an environment of PATH and what is given."""
    return subprocess.run(
        words,
        cwd=cwd,
        input=given,
        stdin=subprocess.DEVNULL if given is None else None,
        env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", **environment},
        capture_output=True,
        text=True,
        errors="replace",
        timeout=300,
        check=False,
    )


def copy_root(name: str, target: Path) -> Path:
    """A Debian root of its own, SUITE-amd64; skips where none can be made."""
    if missing := next((tool for tool in ("mmdebstrap", "systemd-nspawn") if not shutil.which(tool)), None):
        pytest.skip(f"no {missing} on this system; .ci/run installs it")
    made = run("bash", REPOSITORY / "tests" / "deploy" / "roots.sh", name, HOME="/root")
    if made.returncode:
        pytest.skip(f"no Debian root can be made here: {made.stderr.strip().splitlines()[-1:]}")
    done = run("cp", "--archive", "--reflink=auto", made.stdout.strip(), target)
    assert done.returncode == 0, done.stderr
    return target


def pip_wheel(root: Path) -> Path:
    """The pip of a root's python3-venv."""
    return next((root / "usr" / "share" / "python-wheels").glob("pip-*.whl"))


def make_key(path: Path) -> Path:
    """An Ed25519 key."""
    done = run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", path)
    assert done.returncode == 0, done.stderr
    return path


def small_bundle(
    folder: Path,
    key: Path,
    pip: Path,
    version: str = "1.0",
    behaviour: str = "works",
    suite: str = "trixie",
    arch: str = "x86_64",
) -> Path:
    """A bundle as ./deploy.sh bundle makes it, of `PROGRAM` alone."""
    wheel = folder / f"cuelens-{version}-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("stub.py", PROGRAM.format(version=version, behaviour=behaviour))
        for name, text in WHEEL.items():
            archive.writestr(f"cuelens-{version}.dist-info/{name}", text.format(version=version))
    device = REPOSITORY / "deploy" / "device"
    files = {path.name: path.read_bytes() for path in device.glob("*.service")}
    for name in ("cuelens.service", "cuelens.toml"):
        files[name] = (REPOSITORY / "deploy" / name).read_bytes()
    files["install.sh"] = packed_installer()
    target = next(target for target in TARGETS if str(target) == f"{suite} {arch}")
    return build(version, target, [wheel, pip], files, key, folder)


def plant_killer(root: Path) -> None:
    """Have every Python of a root load killer.py."""
    packages = root / "usr" / "lib" / "python3" / "dist-packages"
    packages.mkdir(parents=True, exist_ok=True)
    shutil.copy(REPOSITORY / "tests" / "deploy" / "killer.py", packages / "cuelens_killer.py")
    (packages / "cuelens-killer.pth").write_text("import cuelens_killer\n")


def enter(root: Path, *words: str, given: str | None = None, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a command inside a root, with processes and a /tmp of its own; all that it started ends with it."""
    script = """
        mount -t proc proc "$0/proc" && mount --rbind /dev "$0/dev" && mount -t tmpfs tmpfs "$0/tmp" &&
            mount -t tmpfs tmpfs "$0/dev/shm" || exit 125
        chroot "$0" "$@"
        exit $?  # not by exec: the first process of a space cannot be killed from within
    """
    space = ("unshare", "--mount", "--pid", "--fork", "--kill-child")
    return run(*space, "sh", "-c", script, root, *words, given=given, **environment)


class Machine:
    """A booted root: systemd, sshd on a port of this host, a user `maker` who may use sudo, as on a Raspberry Pi."""

    def __init__(self, root: Path, key: Path) -> None:
        self.root, self.key = root, key
        self.name = f"cuelens-{os.getpid()}-{root.name}"
        self._process: subprocess.Popen[bytes] | None = None
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self._console = root.with_name(f"{root.name}.console")
        home = root / "home" / "maker"
        for words in (
            ("useradd", "--create-home", "--shell", "/bin/bash", "maker"),
            *(("groupadd", "--system", group) for group in ("gpio", "i2c", "spi")),  # as Raspberry Pi OS has them
        ):
            done = run("chroot", root, *words)
            assert done.returncode == 0, done.stderr
        (home / ".ssh").mkdir()
        shutil.copy(key.with_suffix(".pub"), home / ".ssh" / "authorized_keys")
        (root / "etc" / "sudoers.d" / "maker").write_text("maker ALL=(ALL) NOPASSWD: ALL\n")
        sshd = f"Port {self.port}\nListenAddress 127.0.0.1\nUseDNS no\nStrictModes no\n"
        (root / "etc" / "ssh" / "sshd_config.d" / "test.conf").write_text(sshd)

    @property
    def ssh(self) -> str:
        """Options for ssh."""
        known = "-o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR"
        return f"-p {self.port} -i {self.key} -o BatchMode=yes {known}"

    def start(self) -> None:
        """Boot it, and wait until it can be logged in to."""
        command = ["systemd-nspawn", "--quiet", "--boot", "--register=no", "--keep-unit", f"--machine={self.name}"]
        with self._console.open("ab") as console:
            self._process = subprocess.Popen(
                [*command, f"--directory={self.root}"], stdin=subprocess.DEVNULL, stdout=console, stderr=console
            )
        self.wait_for("true")

    def say(self, command: str, user: str = "maker") -> subprocess.CompletedProcess[str]:
        """Run a command there."""
        return run("ssh", *self.ssh.split(), f"{user}@127.0.0.1", command)

    def ask(self, command: str) -> str:
        """What a command there prints; it must succeed."""
        done = self.say(command)
        assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
        return done.stdout.strip()

    def wait_for(self, command: str, seconds: float = 90) -> None:
        """Wait until a command there succeeds."""
        deadline = time.monotonic() + seconds
        while (done := self.say(command)).returncode:
            ended = self._process is None or self._process.poll() is not None
            if ended or time.monotonic() > deadline:
                console = self._console.read_text(errors="replace")[-2000:]
                pytest.fail(f"never: {command}: {done.stdout}{done.stderr}{console}")
            time.sleep(0.2)

    def cut_power(self) -> None:
        """End everything in it at once."""
        assert self._process is not None
        pid = self._process.pid
        for first in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
            os.kill(int(first), signal.SIGKILL)  # with which all others in it end
        self._process.wait(60)

    def restart(self) -> None:
        """Shut it down, and boot it again."""
        assert self._process is not None
        self.say("sudo systemctl poweroff")
        self._process.wait(60)
        self.start()
