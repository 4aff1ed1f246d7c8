"""What goes into a bundle: the locks' wheels for a target, and the project's own with the models."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import re
import shutil
import stat
import sys
import tempfile
import time
import tomllib
import zipfile
from collections.abc import Iterable
from contextlib import suppress
from email.message import Message
from email.parser import BytesHeaderParser
from pathlib import Path
from typing import IO, Any, NamedTuple

from packaging.markers import Marker
from packaging.tags import Tag, compatible_tags, cpython_tags
from packaging.utils import InvalidWheelFilename, parse_wheel_filename
from packaging.version import Version

from deploy.failure import Failure
from deploy.tools import last_line, run, say
from deploy.verify import sha256_of

ROOT = Path(__file__).resolve().parent.parent
LOCKS = ("device", "sinks", "glasses", "pip")
EPOCH = 1580601600  # seconds: 2020-02-02, hatchling's own choice, where no commit says when
FULL = "the disk is full; free some space: a bundle takes up to 0.4 GB while it is made"


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


def progress_bar(words: str, total: int) -> Any:
    """Return a bar of `total` bytes, of nothing where nobody watches."""
    from tqdm import tqdm

    shown = sys.stderr.isatty()
    return tqdm(total=total, desc=f"deploy.sh: {words}", unit="B", unit_scale=True, leave=False, disable=not shown)


def counted(file: IO[bytes], bar: Any) -> Any:
    """Return the file as one that moves the bar by what is read of it."""
    from tqdm.utils import CallbackIOWrapper

    return CallbackIOWrapper(bar.update, file, "read")


def refused(error: OSError, place: Path) -> str:
    """Return what was refused of which path and, where another user's file is in the way, how to get it back."""
    path = Path(os.fsdecode(error.filename)) if isinstance(error.filename, str | bytes) else place
    words = f"{path}: {error.strerror}"
    if error.errno not in (errno.EACCES, errno.EPERM):
        return words
    for found in (path, *path.parents):
        with suppress(OSError):
            owner = found.stat().st_uid
            if owner not in (os.geteuid(), 0) or (owner == 0 and found.is_relative_to(ROOT)):
                whose = "root" if owner == 0 else f"user {owner}"
                words += (
                    f", for {found} belongs to {whose} (was something started with sudo?); sudo chown -R $USER {found}"
                )
            break
    return words


def full_disk(words: str) -> Failure | None:
    """The failure, where a tool's words are that the disk is full."""
    if os.strerror(errno.ENOSPC) not in words:
        return None
    return Failure("space-short", FULL)


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
        raise Failure(
            "package-foreign", f"the locks have several of {', '.join(sorted(twice))} for {target}; run deploy/lock.sh"
        )
    return sorted(pins)


def fetch(pins: Iterable[Pin], target: Target, cache: Path) -> list[Path]:
    """The wheels of a target by their hashes: from `cache`, or by pip into it, all or none."""
    pins = list(pins)
    text = "".join(f"{pin}\n" for pin in pins)
    digest = hashlib.sha256("\n".join((text, *target.platforms)).encode()).hexdigest()
    folder = cache / f"{target.suite}-{target.arch}-{digest[:16]}"
    cache.mkdir(parents=True, exist_ok=True)
    lock = os.open(cache, os.O_RDONLY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)  # another start may be at it
        if not is_whole(folder, pins):
            with tempfile.TemporaryDirectory(dir=cache, prefix=".new-") as staged:
                download(text, target, Path(staged) / "wheels")
                shutil.rmtree(folder, ignore_errors=True)
                (Path(staged) / "wheels").rename(folder)
    finally:
        os.close(lock)
    return sorted(folder.iterdir())


def is_whole(folder: Path, pins: list[Pin]) -> bool:
    """Return whether a cached folder has just the wheels it should."""
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
    out = sys.stderr if sys.stderr.isatty() else None
    space = {"TMPDIR": os.environ.get("TMPDIR", str(folder.parent))}  # /tmp is often small, and in memory
    done = run(*words, variables=space, stdout=out)
    if done.returncode == 0:
        return
    errors = [line.removeprefix("ERROR: ") for line in done.stderr.splitlines() if line.startswith("ERROR: ")]
    said = errors[-1] if errors else last_line(done)
    if failure := full_disk(done.stderr):
        raise failure
    if "DO NOT MATCH THE HASHES" in done.stderr:
        (name,) = re.findall(r"^ +(\S+) from .*:$", done.stderr, re.MULTILINE)[:1] or ["a package"]
        raise Failure(
            "package-foreign",
            f"{name} for {target} is not what the lock says (another sha256); ask another package index",
        )
    if re.search(r"\(from versions: (?!none)", done.stderr):
        raise Failure(
            "package-foreign",
            f"the index has no wheel of the locks for {target} ({said}); ask another, or deploy/lock.sh",
        )
    raise Failure(
        "download-failed", f"pip could not get the packages for {target} ({said}); check the network, then start again"
    )


def read_wheel(path: Path, target: Target) -> Wheel:
    """Look into a wheel; raises Failure where it is none, or does not run on the target."""
    try:
        name, version, _, tags = parse_wheel_filename(path.name)
        with zipfile.ZipFile(path) as archive:
            (entry,) = (entry for entry in archive.namelist() if re.fullmatch(r"[^/]+\.dist-info/METADATA", entry))
            metadata = BytesHeaderParser().parsebytes(archive.read(entry))
    except (InvalidWheelFilename, zipfile.BadZipFile, ValueError) as error:
        raise Failure("package-foreign", f"{path}: not a whole wheel ({error}); delete it and start again") from error
    if not tags & target.tags():
        raise Failure(
            "package-foreign", f"{path}: does not run on {target} (Python {target.minor}, glibc 2.{target.glibc})"
        )
    return Wheel(path, name, str(version), sha256_of(path), metadata)


def git(root: Path, *words: str) -> str:
    """What git says of the checkout, whatever repository a hook's GIT_DIR names; raises Failure."""
    done = run("git", "-C", root, *words, without="GIT_")
    if done.returncode:
        raise Failure("checkout-incomplete", f"git cannot read {root} ({last_line(done)})")
    return done.stdout


def project_version(root: Path = ROOT) -> tuple[str, int]:
    """The version of what lies in the checkout, and its time (seconds since 1970).

    Where git can say it: pyproject.toml's + "+g" and 12 hex digits of the commit, and ".d" and 8 of what was changed
    since. Elsewhere (an unpacked archive, another user's clone, no git): "+c" and 12 hex digits of what a release is
    made of.
    """
    version = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    seconds = EPOCH
    try:
        if not (root / ".git").exists():
            raise Failure("checkout-incomplete", f"{root} is no clone")
        commit, committed = git(root, "-c", "log.showSignature=false", "log", "-1", "--format=%H %ct").split()
        changed = changes(root)
        version += f"+g{commit[:12]}" + (f".d{digest_of_files(root, changed)[:8]}" if changed else "")
        seconds = int(committed)
    except Failure as failure:
        if (root / ".git").exists():
            say(f"note: {failure}; the version is of the content instead")
        version += f"+c{digest_of_files(root, release_files(root))[:12]}"
    return str(Version(version)), seconds  # as the wheel will have it


def changes(root: Path) -> list[str]:
    """The files that differ from the commit, or that git was set to ignore; raises Failure."""
    status = git(root, "status", "--porcelain", "-z", "--no-renames", "--untracked-files=all")
    flags = git(root, "ls-files", "-v", "-z")  # a small letter: assumed to be unchanged; S: not checked out
    hidden = {entry[2:] for entry in flags.split("\0") if entry[:1].islower() or entry[:1] == "S"}
    return sorted(
        {entry[3:] for entry in status.split("\0") if entry} | {name for name in hidden if (root / name).exists()}
    )


def release_files(root: Path) -> list[str]:
    """The files that a release is made of, and what makes it, by their paths in the checkout."""
    found = [name for name in ("pyproject.toml", "LICENSE", ".gitignore") if (root / name).is_file()]
    for folder in ("deploy", "edge", "models"):
        paths = (path for path in (root / folder).rglob("*") if path.is_file() and "__pycache__" not in path.parts)
        found += [path.relative_to(root).as_posix() for path in paths]
    return sorted(found)


def digest_of_files(root: Path, names: Iterable[str]) -> str:
    """The sha256 in hex of these files' names and contents; one that is gone counts, too."""
    digest = hashlib.sha256()
    for name in names:
        path = root / name
        digest.update(f"{name}\0{sha256_of(path) if path.is_file() else None}\n".encode(errors="surrogateescape"))
    return digest.hexdigest()


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
            raise full_disk(done.stderr) or Failure(
                "checkout-incomplete", f"the project's wheel could not be built: {last_line(done)}"
            )
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
