"""`deploy.sh bundle`: one signed file for each target, with all that a device needs and no network; and its check.

Nothing in it depends on the machine, the time or the folder it is built in: one commit and one key give one sequence of
bytes. A `Failure` has deploy.sh's exit code: 76 a missing tool, 77 the key, 78 a download, 79 a wheel that is not the
locks', 86 a path that cannot be written, 87 a full disk, 88 the checkout, 89 no valid bundle.
"""

from __future__ import annotations

import argparse
import errno
import hashlib
import io
import json
import os
import re
import shutil
import signal
import stat
import subprocess
import sys
import tarfile
import tempfile
import time
import tomllib
import uuid
import zipfile
from collections.abc import Iterable, Mapping
from contextlib import suppress
from email.message import Message
from email.parser import BytesHeaderParser
from pathlib import Path
from typing import IO, Any, NamedTuple
from urllib.parse import quote

from packaging.markers import Marker
from packaging.tags import Tag, compatible_tags, cpython_tags
from packaging.utils import InvalidWheelFilename, parse_wheel_filename

ROOT = Path(__file__).resolve().parent.parent
LOCKS = ("device", "sinks", "pip")
FILES = {  # a bundle's, and where the checkout has them
    "cuelens-settle.service": "deploy/device/cuelens-settle.service",
    "cuelens.service": "deploy/cuelens.service",
    "cuelens.toml": "deploy/cuelens.toml",
    "install.sh": "deploy/device/install.sh",
}
SIGNER, NAMESPACE = "cuelens", "cuelens-release"
EPOCH = 1580601600  # seconds: 2020-02-02, hatchling's own choice, where no commit says when
CHUNK = 1 << 20  # bytes
FULL = "the disk is full; free some space: a bundle takes up to 0.4 GB while it is made"


class Failure(Exception):
    """A failure with one line for the maker and deploy.sh's exit code."""

    def __init__(self, exit_code: int, words: str) -> None:
        super().__init__(words)
        self.exit_code = exit_code


class Target(NamedTuple):
    """What a bundle is for: a Debian or Raspberry Pi OS and a machine; Python and glibc (2.N) come with the first."""

    suite: str
    arch: str
    python: str
    glibc: int

    def __str__(self) -> str:
        return f"{self.suite} {self.arch}"

    @property
    def minor(self) -> str:
        """The Python, as 3.N."""
        return ".".join(self.python.split(".")[:2])

    @property
    def platforms(self) -> list[str]:
        """Platform tags of the wheels that run there, best first: none that needs a newer glibc."""
        return [*(f"manylinux_2_{n}_{self.arch}" for n in range(self.glibc, 16, -1)), f"manylinux2014_{self.arch}"]

    def tags(self) -> set[Tag]:
        """Every tag that a wheel may have there."""
        python = tuple(map(int, self.minor.split(".")))
        interpreter = "cp" + self.minor.replace(".", "")
        return {*cpython_tags(python, platforms=self.platforms), *compatible_tags(python, interpreter, self.platforms)}

    def environment(self) -> dict[str, str]:
        """What the locks' markers ask about."""
        return {
            "implementation_name": "cpython",
            "os_name": "posix",
            "platform_machine": self.arch,
            "platform_python_implementation": "CPython",
            "platform_system": "Linux",
            "python_full_version": self.python,
            "python_version": self.minor,
            "sys_platform": "linux",
        }


SUITES = {"bookworm": ("3.11.2", 36), "trixie": ("3.13.5", 41)}
ARCHES = ("aarch64", "x86_64")
TARGETS = tuple(Target(suite, arch, *facts) for suite, facts in SUITES.items() for arch in ARCHES)


class Pin(NamedTuple):
    """A line of a lock, without its marker."""

    name: str
    version: str
    hashes: tuple[str, ...]  # sha256

    def __str__(self) -> str:
        return " ".join((f"{self.name}=={self.version}", *(f"--hash=sha256:{digest}" for digest in self.hashes)))


class Wheel(NamedTuple):
    """A wheel, and what a bundle says of it."""

    path: Path
    name: str
    version: str
    sha256: str
    metadata: Message


class Contents(NamedTuple):
    """What a bundle says of itself, who signed it, and its files' sizes in bytes."""

    version: str
    target: str
    signer: str
    sizes: dict[str, int]


class Meter:
    """How much of a long work is done, shown on a terminal alone."""

    def __init__(self, words: str, total: int) -> None:
        self.words, self.total, self.done, self.shown = words, total, 0, -1

    def add(self, size: int) -> None:
        self.done += size
        percent = min(100, 100 * self.done // max(self.total, 1))
        if percent != self.shown and sys.stderr.isatty():
            self.shown = percent
            end = "\n" if percent == 100 else ""
            print(f"\rdeploy.sh: {self.words}: {percent} %", end=end, file=sys.stderr, flush=True)


class Counted(io.RawIOBase):
    """A file that tells a meter what is read of it."""

    def __init__(self, file: IO[bytes], meter: Meter) -> None:
        self.file, self.meter = file, meter

    def read(self, size: int = -1, /) -> bytes:
        chunk = self.file.read(size)
        self.meter.add(len(chunk))
        return chunk


def say(words: str) -> None:
    """Tell the maker, as deploy.sh does."""
    print(f"deploy.sh: {words}", file=sys.stderr, flush=True)


def run(
    *words: str | Path, given: IO[bytes] | None = None, cwd: Path | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a tool to its end, with `given` as its input, and keep what it says, in English.

    Raises Failure where it is missing.
    """
    pipe = subprocess.PIPE
    stdin = pipe if given else subprocess.DEVNULL
    environment = {**os.environ, "LC_ALL": "C"}
    try:
        process = subprocess.Popen(words, stdin=stdin, stdout=pipe, stderr=pipe, cwd=cwd, env=environment)
    except FileNotFoundError as error:
        package = {"ssh-keygen": "openssh-client"}.get(str(words[0]), str(words[0]))
        raise Failure(76, f"no {words[0]} on this machine; install it with: sudo apt install {package}") from error
    with process:
        if given and process.stdin:
            given.seek(0)
            with suppress(BrokenPipeError):  # it has heard enough
                shutil.copyfileobj(given, process.stdin, CHUNK)
        out, errors = (text.decode(errors="replace") for text in process.communicate())
    return subprocess.CompletedProcess(words, process.returncode, out, errors)


def last_line(done: subprocess.CompletedProcess[str]) -> str:
    """Say what a tool complained of last."""
    return (done.stderr.strip() or done.stdout.strip() or f"exit code {done.returncode}").splitlines()[-1]


def sha256_of(path: Path) -> str:
    """The file's sha256 in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


# The key


def default_key() -> Path:
    """Where the maker's key is or will be."""
    config = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    return Path(os.environ.get("CUELENS_KEY") or Path(config) / "cuelens" / "release-key")


def ensure_key(path: Path) -> Path:
    """Make the release key (Ed25519, no passphrase, for its owner alone) unless it is there; returns its path."""
    if path.exists():
        return path
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".key-") as folder:
        made = Path(folder) / path.name
        done = run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", NAMESPACE, "-f", made)
        if done.returncode:
            raise Failure(77, f"{path}: ssh-keygen made no key ({last_line(done)}); name another place in CUELENS_KEY")
        try:
            path.hardlink_to(made)  # whole, and never over one that another start has made meanwhile
        except FileExistsError:
            return path
        made.with_name(f"{path.name}.pub").replace(path.with_name(f"{path.name}.pub"))
    say(f"made the release key {path}; keep it and a copy: a device that has its public half takes no other's bundles")
    return path


def public_key(key: Path) -> str:
    """The public half of a release key as "ssh-ed25519 BASE64"; raises Failure where the key is not to be used."""
    try:
        mode = stat.S_IMODE(key.stat().st_mode)
    except OSError as error:
        raise Failure(77, f"{key}: {error.strerror}; name the release key in CUELENS_KEY") from error
    if mode & 0o077:
        raise Failure(77, f"{key}: others may read the key (mode {mode:04o}); valid is 0600: chmod 600 {key}")
    done = run("ssh-keygen", "-y", "-f", key)
    kind, _, rest = done.stdout.strip().partition(" ")
    if done.returncode:
        raise Failure(77, f"{key}: not a key that can be used ({last_line(done)}); name the release key in CUELENS_KEY")
    if kind != "ssh-ed25519":  # others sign the same with other bytes each time
        raise Failure(77, f"{key}: a key of type {kind}; valid is ssh-ed25519: name such a one in CUELENS_KEY")
    return f"{kind} {rest.split()[0]}"


def signers_line(key: Path) -> str:
    """What allowed_signers says of a release key."""
    return f'{SIGNER} namespaces="{NAMESPACE}" {public_key(key)}\n'


def sign(key: Path, file: Path) -> Path:
    """Sign a file; returns the signature's path beside it."""
    done = run("ssh-keygen", "-q", "-Y", "sign", "-f", key, "-n", NAMESPACE, file)
    if done.returncode:
        raise full_disk(done.stderr) or Failure(77, f"{key}: could not sign ({last_line(done)}); look at the key")
    return file.with_name(f"{file.name}.sig")


def full_disk(words: str) -> Failure | None:
    """The failure, where a tool's words are that the disk is full."""
    if os.strerror(errno.ENOSPC) not in words:
        return None
    return Failure(87, FULL)


# The packages


def read_lock(text: str, target: Target) -> list[Pin]:
    """The lines of a lock that are for a target: pip, asked for another machine, still judges markers by its own."""
    pins = []
    for line in re.sub(r" *\\\n *", " ", text).splitlines():
        if not line or line.startswith("#"):
            continue
        requirement, *hashes = line.split(" --hash=sha256:")
        pin, _, marker = requirement.partition(";")
        if not marker or Marker(marker).evaluate(target.environment()):
            name, _, version = pin.strip().partition("==")
            pins.append(Pin(name, version, tuple(sorted(digest.strip() for digest in hashes))))
    return pins


def locked(target: Target, folder: Path = ROOT / "deploy" / "locks") -> list[Pin]:
    """What a bundle takes from the locks, each package once, by name."""
    pins = {pin for name in LOCKS for pin in read_lock((folder / f"{name}.txt").read_text(), target)}
    names = [pin.name for pin in pins]
    if twice := {name for name in names if names.count(name) > 1}:
        raise Failure(79, f"the locks have several of {', '.join(sorted(twice))} for {target}; run deploy/lock.sh")
    return sorted(pins)


def fetch(pins: Iterable[Pin], target: Target, cache: Path) -> list[Path]:
    """The wheels of a target by their hashes: from `cache`, or by pip into it, all or none."""
    pins = list(pins)
    text = "".join(f"{pin}\n" for pin in pins)
    digest = hashlib.sha256("\n".join((text, *target.platforms)).encode()).hexdigest()
    folder = cache / f"{target.suite}-{target.arch}-{digest[:16]}"
    if not is_whole(folder, pins):
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache, prefix=".new-") as staged:
            download(text, target, Path(staged) / "wheels")
            shutil.rmtree(folder, ignore_errors=True)
            (Path(staged) / "wheels").rename(folder)
    return sorted(folder.iterdir())


def is_whole(folder: Path, pins: list[Pin]) -> bool:
    """Say whether a cached folder has just the wheels it should."""
    if not folder.is_dir():
        return False
    found = {sha256_of(path) for path in folder.iterdir()}
    return len(found) == len(pins) and all(found & set(pin.hashes) for pin in pins)


def download(text: str, target: Target, folder: Path) -> None:
    """Have pip download the wheels of these requirements for a target."""
    say(f"getting the packages for {target}")
    requirements = folder.with_name("requirements.txt")
    requirements.write_text(text, encoding="utf-8")
    platforms = (word for tag in target.platforms for word in ("--platform", tag))
    words = [sys.executable, "-m", "pip", "--disable-pip-version-check", "download", "--no-deps", "--require-hashes"]
    words += ["--only-binary=:all:", "--implementation", "cp", "--python-version", target.minor, *platforms]
    words += ["--dest", str(folder), "--requirement", str(requirements)]
    # On a terminal pip shows its own progress.
    out = sys.stderr if sys.stderr.isatty() else subprocess.DEVNULL
    done = subprocess.run(
        words, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.PIPE, text=True, errors="replace", check=False
    )
    if done.returncode == 0:
        return
    errors = [line.removeprefix("ERROR: ") for line in done.stderr.splitlines() if line.startswith("ERROR: ")]
    said = errors[-1] if errors else last_line(done)
    if failure := full_disk(done.stderr):
        raise failure
    if "DO NOT MATCH THE HASHES" in done.stderr:
        (name,) = re.findall(r"^ +(\S+) from .*:$", done.stderr, re.MULTILINE)[:1] or ["a package"]
        raise Failure(79, f"{name} for {target} is not what the lock says (another sha256); ask another package index")
    if re.search(r"\(from versions: (?!none)", done.stderr):
        raise Failure(79, f"the index has no wheel of the locks for {target} ({said}); ask another, or deploy/lock.sh")
    raise Failure(78, f"pip could not get the packages for {target} ({said}); check the network, then start again")


def read_wheel(path: Path, target: Target) -> Wheel:
    """Look into a wheel; raises Failure where it is none, or does not run on the target."""
    try:
        name, version, _, tags = parse_wheel_filename(path.name)
        with zipfile.ZipFile(path) as archive:
            (entry,) = (entry for entry in archive.namelist() if re.fullmatch(r"[^/]+\.dist-info/METADATA", entry))
            metadata = BytesHeaderParser().parsebytes(archive.read(entry))
    except (InvalidWheelFilename, zipfile.BadZipFile, ValueError) as error:
        raise Failure(79, f"{path}: not a whole wheel ({error}); delete it and start again") from error
    if not tags & target.tags():
        raise Failure(79, f"{path}: does not run on {target} (Python {target.minor}, glibc 2.{target.glibc})")
    return Wheel(path, name, str(version), sha256_of(path), metadata)


# The project


def git(root: Path, *words: str) -> str:
    """What git says of the checkout."""
    done = run("git", "-C", root, *words)
    if done.returncode:
        raise Failure(88, f"{root}: git cannot read the checkout ({last_line(done)}); mend it, or take a fresh clone")
    return done.stdout


def project_version(root: Path = ROOT) -> tuple[str, int]:
    """The version of what lies in the checkout, and its time (seconds since 1970).

    With git: pyproject.toml's + "+g" and 12 hex digits of the commit, and ".d" and 8 of what was changed since.
    """
    version = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    if not (root / ".git").exists():
        return version, int(os.environ.get("SOURCE_DATE_EPOCH", EPOCH))
    commit, seconds = git(root, "log", "-1", "--format=%H %ct").split()
    version += f"+g{commit[:12]}"
    status = git(root, "status", "--porcelain", "-z", "--no-renames", "--untracked-files=all")
    if changed := sorted(entry[3:] for entry in status.split("\0") if entry):
        digest = hashlib.sha256()
        for name in changed:
            path = root / name
            digest.update(f"{name}\0{sha256_of(path) if path.is_file() else None}\n".encode())
        version += f".d{digest.hexdigest()[:8]}"
    return version, int(seconds)


def build_project(version: str, epoch: int, folder: Path, root: Path = ROOT) -> Path:
    """Build the project's wheel, with the models, as `version` into a folder."""
    settings = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))
    sources = settings["tool"]["hatch"]["build"]["targets"]["sdist"]["only-include"]
    with tempfile.TemporaryDirectory() as scratch:
        staged, made = Path(scratch) / "source", Path(scratch) / "wheel"
        for name in (*sources, *settings["project"]["license-files"]):
            (staged / name).parent.mkdir(parents=True, exist_ok=True)
            if (root / name).is_dir():
                shutil.copytree(root / name, staged / name, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(root / name, staged / name)
        if (root / ".gitignore").exists():  # which hatchling heeds
            shutil.copy(root / ".gitignore", staged)
        text = (root / "pyproject.toml").read_text(encoding="utf-8")
        line = f'version = "{settings["project"]["version"]}"'
        (staged / "pyproject.toml").write_text(text.replace(line, f'version = "{version}"', 1), encoding="utf-8")
        done = run(sys.executable, "-m", "hatchling", "build", "-t", "wheel:standard", "-d", made, cwd=staged)
        wheels = list(made.glob("*.whl"))
        if done.returncode or len(wheels) != 1:
            raise full_disk(done.stderr) or Failure(88, f"the project's wheel could not be built: {last_line(done)}")
        return repack(wheels[0], folder / wheels[0].name, epoch)


def repack(wheel: Path, target: Path, epoch: int) -> Path:
    """Copy a wheel without compression, which is not the same bytes with every zlib."""
    when = time.gmtime(epoch)[:6]
    with zipfile.ZipFile(wheel) as archive, zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as copy:
        for name in archive.namelist():
            entry = zipfile.ZipInfo(name, when)
            entry.external_attr = (stat.S_IFREG | 0o644) << 16
            copy.writestr(entry, archive.read(name))
    return target


# The bundle


def licenses(metadata: Message) -> list[dict[str, Any]]:
    """A package's licences as CycloneDX has them."""
    if expression := metadata["License-Expression"]:
        return [{"expression": str(expression)}]
    named = str(metadata["License"] or "").strip()
    classified = [
        value.rpartition(" :: ")[2] for value in metadata.get_all("Classifier", []) if value.startswith("License ::")
    ]
    names = [named] if named and "\n" not in named else classified  # some have the whole text there
    return [{"license": {"name": name}} for name in names]


def component(wheel: Wheel) -> dict[str, Any]:
    """A package as CycloneDX has it."""
    purl = f"pkg:pypi/{wheel.name}@{quote(wheel.version, safe='')}"
    return {
        "type": "application" if wheel.name == "cuelens" else "library",
        "bom-ref": purl,
        "name": wheel.name,
        "version": wheel.version,
        "purl": purl,
        "hashes": [{"alg": "SHA-256", "content": wheel.sha256}],
        "licenses": licenses(wheel.metadata),
    }


def models(wheel: Wheel) -> list[dict[str, Any]]:
    """The models in a wheel as CycloneDX has them."""
    with zipfile.ZipFile(wheel.path) as archive:
        return [
            {
                "type": "machine-learning-model",
                "bom-ref": f"model:{Path(name).stem}",
                "name": Path(name).name,
                "hashes": [{"alg": "SHA-256", "content": hashlib.sha256(archive.read(name)).hexdigest()}],
            }
            for name in sorted(archive.namelist())
            if name.endswith(".tflite")
        ]


def bill_of_materials(version: str, target: Target, wheels: list[Wheel], epoch: int) -> bytes:
    """The bundle's SBOM (CycloneDX 1.6, JSON): the packages and the models, by sha256."""
    own = {"type": "application", "bom-ref": "bundle", "name": f"cuelens for {target}", "version": version}
    parts = [part for wheel in wheels for part in (component(wheel), *models(wheel))]
    content = json.dumps(parts, sort_keys=True)
    bill = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_OID, f'{version} {target} {content}')}",
        "version": 1,
        "metadata": {"timestamp": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(epoch)), "component": own},
        "components": parts,
        "dependencies": [{"ref": "bundle", "dependsOn": [part["bom-ref"] for part in parts]}],
    }
    return f"{json.dumps(bill, indent=1, sort_keys=True)}\n".encode()


def add(archive: tarfile.TarFile, name: str, content: bytes | Path, epoch: int, meter: Meter | None = None) -> None:
    """Add a file to a tar as root's, of that time, whoever has it and since when."""
    entry = tarfile.TarInfo(name)
    entry.uname = entry.gname = "root"
    entry.mtime = epoch
    entry.mode = 0o755 if name.endswith(".sh") else 0o644
    if isinstance(content, bytes):
        entry.size = len(content)
        archive.addfile(entry, io.BytesIO(content))
        return
    with content.open("rb") as file:
        entry.size = content.stat().st_size
        archive.addfile(entry, Counted(file, meter) if meter else file)


def build(
    version: str,
    target: Target,
    wheels: Iterable[Path],
    files: Mapping[str, bytes],
    key: Path,
    out: Path,
    *,
    epoch: int = EPOCH,
) -> Path:
    """Make OUT/cuelens-VERSION-SUITE-ARCH.tar, whole or not at all; returns its path.

    `wheels` are what is installed, and pip's. `files` are the other files by name (install.sh, cuelens.service, ...);
    VERSION, TARGET, SHA256SUMS, sbom.cdx.json, requirements.txt and allowed_signers are made here. `key` is a private
    Ed25519 key (`ensure_key` makes one). Raises Failure, and OSError where `out` cannot be written.
    """
    found = sorted((read_wheel(path, target) for path in wheels), key=lambda wheel: wheel.name)
    pins = (Pin(wheel.name, wheel.version, (wheel.sha256,)) for wheel in found if wheel.name != "pip")
    contents: dict[str, bytes | Path] = {
        **files,
        "VERSION": f"{version}\n".encode(),
        "TARGET": f"{target} {target.minor}\n".encode(),
        "allowed_signers": signers_line(key).encode(),
        "requirements.txt": "".join(f"{pin}\n" for pin in pins).encode(),
        "sbom.cdx.json": bill_of_materials(version, target, found, epoch),
        **{f"wheels/{wheel.path.name}": wheel.path for wheel in found},
    }
    digests = {f"wheels/{wheel.path.name}": wheel.sha256 for wheel in found}
    for name, content in contents.items():
        if isinstance(content, bytes):
            digests[name] = hashlib.sha256(content).hexdigest()
    contents["SHA256SUMS"] = "".join(f"{digests[name]}  {name}\n" for name in sorted(digests)).encode()
    bundle = out / f"cuelens-{version}-{target.suite}-{target.arch}.tar"
    out.mkdir(parents=True, exist_ok=True)
    total = sum(wheel.path.stat().st_size for wheel in found)
    meter = Meter(f"packing {target}", 2 * total)
    with tempfile.TemporaryDirectory(dir=out, prefix=f".{bundle.name}-") as folder:
        payload, whole = Path(folder) / "payload.tar", Path(folder) / bundle.name
        with tarfile.open(payload, "w") as archive:
            for name in sorted(contents):
                add(archive, name, contents[name], epoch, meter)
        with tarfile.open(whole, "w") as archive:
            add(archive, "payload.tar.sig", sign(key, payload), epoch)
            add(archive, "payload.tar", payload, epoch, meter)
        verify(whole)
        whole.replace(bundle)
    return bundle


# The check


def verify(path: Path, signers: bytes | None = None) -> Contents:
    """Check a bundle as a device does: its signature, then its list of files, then each one's sha256.

    `signers` is what an allowed_signers file says; None takes the bundle's own: then it is whole, whoever made it.
    Raises Failure.
    """
    try:
        with tarfile.open(path, "r:") as outer:
            members = outer.getmembers()
            names = [member.name for member in members]
            if names != ["payload.tar.sig", "payload.tar"]:
                raise Failure(
                    89, f"{path}: not a bundle (it has {', '.join(names) or 'nothing'}); build or copy it again"
                )
            signature, payload = (outer.extractfile(member) for member in members)
            if not signature or not payload:
                raise ValueError("its members are no files")
            with tarfile.open(fileobj=payload, mode="r:") as inner:
                own = read_member(inner, "allowed_signers")
                signer = check_signature(path, payload, signature.read(), signers or own)
                sizes = check_files(path, inner)
                version, target = (read_member(inner, name).decode().strip() for name in ("VERSION", "TARGET"))
    except (tarfile.TarError, KeyError, ValueError, EOFError) as error:
        raise Failure(89, f"{path}: not a whole bundle ({error}); build or copy it again") from error
    return Contents(version, target, signer, sizes)


def read_member(archive: tarfile.TarFile, name: str) -> bytes:
    """A file of a tar; raises KeyError where it is not there."""
    file = archive.extractfile(name)
    if file is None:
        raise KeyError(f"{name} is no file")
    return file.read()


def check_signature(path: Path, payload: IO[bytes], signature: bytes, signers: bytes) -> str:
    """Hold a payload to its signature; returns the key's fingerprint."""
    with tempfile.TemporaryDirectory() as folder:
        for name, content in {"sig": signature, "signers": signers}.items():
            (Path(folder) / name).write_bytes(content)
        words = ["ssh-keygen", "-Y", "verify", "-f", f"{folder}/signers", "-I", SIGNER, "-n", NAMESPACE]
        done = run(*words, "-s", f"{folder}/sig", given=payload)
    if done.returncode:
        raise Failure(89, f"{path}: the signature is not good ({last_line(done)}); take the maker's own bundle and key")
    return done.stdout.split()[-1]


def check_files(path: Path, archive: tarfile.TarFile) -> dict[str, int]:
    """Hold a payload's files to SHA256SUMS, which must list them all; returns their sizes."""
    members = archive.getmembers()
    if odd := [member.name for member in members if not member.isreg()]:
        raise Failure(89, f"{path}: {odd[0]} is no plain file; build or copy it again")
    lines = (line.split("  ", 1) for line in read_member(archive, "SHA256SUMS").decode().splitlines())
    sums = {name: digest for digest, name in lines}
    names = [member.name for member in members]
    if sorted(names) != sorted((*sums, "SHA256SUMS")):
        raise Failure(89, f"{path}: SHA256SUMS is not the list of its files; build or copy it again")
    for name, digest in sums.items():
        if hashlib.sha256(read_member(archive, name)).hexdigest() != digest:
            raise Failure(89, f"{path}: {name} has another sha256 than SHA256SUMS says; build or copy it again")
    return {member.name: member.size for member in members}


def make(targets: Iterable[Target], out: Path) -> None:
    """Build the checkout's bundles into a folder; prints each one's sha256 and path."""
    version, epoch = project_version()
    key = ensure_key(default_key())
    public_key(key)
    if missing := [name for name in FILES.values() if not (ROOT / name).is_file()]:
        raise Failure(88, f"{ROOT} lacks {', '.join(missing)}; take a whole clone")
    files = {name: (ROOT / source).read_bytes() for name, source in FILES.items()}
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out, prefix=".project-") as folder:
        project = build_project(version, epoch, Path(folder))
        for target in targets:
            wheels = fetch(locked(target), target, ROOT / ".cache" / "wheels")
            bundle = build(version, target, [*wheels, project], files, key, out, epoch=epoch)
            print(f"{sha256_of(bundle)}  {bundle}", flush=True)


def check(path: Path, signers: Path | None) -> None:
    """Check a bundle and print what is in it; without `signers` it is held to the maker's own key, if there is one."""
    key = default_key()
    if signers:
        known = signers.read_bytes()
    elif key.exists():
        known = signers_line(key).encode()
    else:
        known = None
        say(f"no key {key} here: only held to the key that the bundle itself brings; name another with --signers")
    contents = verify(path, known)
    print(f"cuelens {contents.version} for {contents.target}, signed by {contents.signer}")
    for name, size in contents.sizes.items():
        print(f"{size:12}  {name}")


def os_failure(error: OSError, place: Path) -> Failure:
    """The failure behind an operating system's refusal."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return Failure(87, FULL)
    words = f"{error.filename or place}: {error.strerror}"
    return Failure(86, f"{words}; name a folder that you may write (--out, TMPDIR), a file that you may read")


def main(argv: list[str] | None = None) -> int:
    """Build the bundles that are asked for, or check one; returns deploy.sh's exit code."""
    parser = argparse.ArgumentParser(
        prog="deploy.sh bundle", description="Make signed release files for devices, one for each target."
    )
    parser.add_argument("--suite", choices=tuple(SUITES), help="of the device's system; default each")
    parser.add_argument("--arch", choices=ARCHES, help="of the device; default each")
    parser.add_argument("--out", type=Path, default=ROOT / "dist", help="folder for them; default dist/")
    parser.add_argument("--verify", type=Path, metavar="FILE", help="check a bundle instead, and list what is in it")
    parser.add_argument("--signers", type=Path, metavar="FILE", help="allowed_signers that --verify holds it to")
    parser.add_argument("--debug", action="store_true", help="show the traceback of a failure")
    args = parser.parse_args(argv)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # by way of what removes half a bundle
    try:
        if args.verify:
            check(args.verify, args.signers)
        else:
            make((target for target in TARGETS if {args.suite, args.arch} <= {None, *target}), args.out)
    except (Failure, OSError) as error:
        if args.debug:
            raise
        failure = os_failure(error, args.out) if isinstance(error, OSError) else error
        say(str(failure))
        return failure.exit_code
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    return 0


if __name__ == "__main__":
    sys.exit(main())
