"""What the tests of the installer share: Debian roots, and releases of a few kilobytes whose program does as told."""

from __future__ import annotations

import shutil
import subprocess
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from deploy.bundle import build
from deploy.packages import TARGETS

REPOSITORY = Path(__file__).resolve().parents[2]
# Answers what the installer asks of a release; BEHAVIOUR is how it runs.
PROGRAM = '''
import json, os, socket, sys, threading, time

VERSION, BEHAVIOUR = {version!r}, {behaviour!r}
SOCKET = "/run/cuelens/status.sock"

def notify(state):
    address = os.environ["NOTIFY_SOCKET"]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        channel.sendto(state.encode(), "\\0" + address[1:] if address[0] == "@" else address)

def answer(told):
    with socket.socket(socket.AF_UNIX) as listener:
        if os.path.exists(SOCKET):
            os.unlink(SOCKET)
        listener.bind(SOCKET)
        listener.listen()
        while True:
            asker, _ = listener.accept()
            with asker:
                asker.sendall(json.dumps(told).encode())

def main():
    words = sys.argv[1:]
    if words == ["--version"]:
        print("cuelens", VERSION)
    elif words[0] == "status":
        with socket.socket(socket.AF_UNIX) as channel:
            channel.connect(SOCKET)
            print(channel.makefile().read())
    elif "--seconds" in words:
        sys.exit("a broken build" if BEHAVIOUR == "broken" else 0)
    elif BEHAVIOUR == "dies":
        sys.exit("no idea what to do")
    elif "NOTIFY_SOCKET" not in os.environ:
        print("running", VERSION)
    else:
        told = dict(version=VERSION, state="no_face", frames=0, inferences=1, watchdog=0)
        threading.Thread(target=answer, args=(told,), daemon=True).start()
        notify("READY=1")
        print("running", VERSION, flush=True)
        while True:
            time.sleep(0.1)
            told["frames"] += BEHAVIOUR != "blind"
            told["watchdog"] += 1
            notify("WATCHDOG=1")
'''
WHEEL = {
    "METADATA": "Metadata-Version: 2.1\nName: cuelens\nVersion: {version}\n",
    "WHEEL": "Wheel-Version: 1.0\nGenerator: a test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    "RECORD": "",
    "entry_points.txt": "[console_scripts]\ncuelens = stub:main\n",
}


def run(*words: str | Path, given: str | None = None, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a command to its end, in an environment of PATH and what is given."""
    return subprocess.run(
        words,
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


Maker = Callable[..., Path]


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
    files = {path.name: path.read_bytes() for path in device.iterdir()}
    for name in ("cuelens.service", "cuelens.toml"):
        files[name] = (REPOSITORY / "deploy" / name).read_bytes()
    target = next(target for target in TARGETS if str(target) == f"{suite} {arch}")
    return build(version, target, [wheel, pip], files, key, folder)


@pytest.fixture(scope="session")
def key(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The maker's key."""
    return make_key(tmp_path_factory.mktemp("key") / "key")


@pytest.fixture(scope="session")
def signers(key: Path) -> Path:
    """The allowed_signers that knows the maker's key."""
    path = key.with_name("signers")
    path.write_text(f'cuelens namespaces="cuelens-release" {key.with_suffix(".pub").read_text()}')
    return path
