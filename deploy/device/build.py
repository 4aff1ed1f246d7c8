"""A release, built beside the others from a bundle that is already verified, and tried before it counts."""

from __future__ import annotations

import os
import re
import shutil
import tarfile
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from deploy.device.programs import ask, base, fail_step, place, run_step, show, step
from deploy.device.releases import release, replace, whole_releases
from deploy.device.system import existing_folder, free_kib, has_picamera
from deploy.device.units import SETTINGS
from deploy.failure import Failure, plain
from deploy.tools import CHUNK
from deploy.verify import SUMS, Refused, check_sums, member_file, refusing, sha256_of

SPARE_KIB = 16 * 1024
NUMPY = re.compile(r"^numpy==.*\n(?: .*\n)*", re.MULTILINE)  # with its hashes


class Sizes(NamedTuple):
    """A payload's files, packed and unpacked, in KiB."""

    packed: int
    unpacked: int


def sizes_of(archive: tarfile.TarFile) -> Sizes:
    """Count what a payload takes; raises Refused where a wheel of it is none."""
    packed = unpacked = 0
    with refusing():
        for member in archive.getmembers():
            packed += member.size
            if member.name.endswith(".whl"):
                with zipfile.ZipFile(member_file(archive, member.name)) as wheel:
                    unpacked += sum(entry.file_size for entry in wheel.infolist())
    return Sizes(-(-packed // 1024), -(-unpacked // 1024))


def check_space(sizes: Sizes) -> None:
    """Raise Failure where a release would not fit."""
    needed = sizes.packed + sizes.unpacked * 5 // 4 + SPARE_KIB  # byte code adds a quarter
    free = free_kib()
    if free < needed:
        raise Failure(
            "device-space-short",
            f"{existing_folder(base())} has {free // 1024} MiB free, {needed // 1024} are needed (packed "
            f"{sizes.packed // 1024}, unpacked {sizes.unpacked // 1024}, and byte code); free some, then start again",
        )


@contextmanager
def building(version: str) -> Iterator[Path]:
    """The folder of a release that is made whole in here; it goes where that fails."""
    folder = release(version)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        yield folder
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def build(archive: tarfile.TarFile, version: str, settings: Path | None) -> None:
    """Make a release of a verified payload, whole and tried with these settings, or not at all; raises Failure."""
    step(f"unpacking {version}")
    with building(version) as folder, tempfile.TemporaryDirectory() as scratch:
        unpack(archive, folder)
        step("checking its files")
        check_files(folder)
        step("making its venv")
        make_venv(folder)
        step("installing its packages")
        install_packages(folder, Path(scratch))
        step("compiling")
        compile_packages(folder)
        step("trying it out")
        try_out(folder, settings)
        step("writing it all to the disk")
        run_step("the disk did not take it all", "sync", "--file-system", "--", base())
        step("declaring it whole")
        make_whole(folder)


def unpack(archive: tarfile.TarFile, folder: Path) -> None:
    """Unpack a payload of plain files, all root's, into a folder; raises Failure."""
    try:
        with refusing():
            for member in archive.getmembers():
                path = PurePosixPath(member.name)
                if path.is_absolute() or ".." in path.parts:
                    raise ValueError(f"{plain(member.name)} lies elsewhere")
                target = folder / path
                target.parent.mkdir(parents=True, exist_ok=True)
                with target.open("xb") as file:
                    shutil.copyfileobj(member_file(archive, member.name), file, CHUNK)
                target.chmod(member.mode & 0o755)
                os.utime(target, (member.mtime, member.mtime))
    except (Refused, OSError) as error:
        fail_step("the bundle could not be unpacked", str(error))


def check_files(folder: Path) -> None:
    """Hold what lies on the disk now to SHA256SUMS; raises Failure."""
    names = [path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir()]
    try:
        with refusing():
            sums = (folder / SUMS).read_bytes()
            check_sums(sums, names, lambda name: sha256_of(folder / name))
    except (Refused, OSError) as error:
        fail_step("what was unpacked is not what was packed", str(error))


def make_venv(folder: Path) -> None:
    """Make a release's venv; it sees the system's packages: picamera2 is one of them, or may come later."""
    words = ("python3", "-I", "-m", "venv", "--without-pip", "--system-site-packages", folder / "venv")
    run_step("python3 could not make a venv", *words)


def install_packages(folder: Path, scratch: Path) -> None:
    """Have the bundle's pip install its wheels by their hashes, without a network."""
    requirements = folder / "requirements.txt"
    if has_picamera():  # whose compiled parts break with a numpy newer than the system's
        text = NUMPY.sub("", requirements.read_text(encoding="utf-8"))
        requirements = scratch / "requirements.txt"
        requirements.write_text(text, encoding="utf-8")
    pip = next((folder / "wheels").glob("pip-*.whl"), folder / "wheels" / "pip.whl")
    # An environment of its own: Raspberry Pi OS' pip.conf names an index.
    own = ("env", "-i", f"PATH={os.environ['PATH']}", f"HOME={scratch}", "LC_ALL=C.UTF-8", "PIP_CONFIG_FILE=/dev/null")
    words: list[str | Path] = [*own, folder / "venv" / "bin" / "python", pip / "pip", "--quiet"]
    words += ["--disable-pip-version-check", "--no-cache-dir", "install", "--ignore-installed", "--no-index"]
    words += ["--find-links", folder / "wheels", "--no-deps", "--require-hashes", "--only-binary=:all:"]
    words += ["--no-compile", "--requirement", requirements]
    run_step("pip could not install the packages", *words)
    shutil.rmtree(folder / "wheels")


def compile_packages(folder: Path) -> None:
    """Compile a release's packages; some carry files for other Pythons, which do not compile."""
    show(ask(folder / "venv" / "bin" / "python", "-m", "compileall", "-qq", folder / "venv" / "lib")[1])


def try_out(folder: Path, settings: Path | None) -> None:
    """Run the program and the model with settings (None: those that are there), without a camera; raises Failure."""
    program = folder / "venv" / "bin" / "cuelens"
    config = settings or place(SETTINGS)
    words: list[str | Path] = ["--config", config] if config.exists() else []
    run_step("the release does not start", program, "--version")
    demo = ("--source", "demo", "--sink", "log:/dev/null", "--pace", "fast", "--seconds", "1")
    run_step("the release does not run with the settings", program, "run", *words, *demo)


def make_whole(folder: Path) -> None:
    """Declare a release whole: from now on it may start."""
    number = max((number for number, _ in whole_releases()), default=0)
    replace(folder / "whole", f"{number + 1}\n".encode())
