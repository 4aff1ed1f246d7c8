"""What the tests of bundles, and of what is done with them, share: tiny wheels, a key, and the real bundles."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from deploy.bundle import ensure_key

WHEEL = "Wheel-Version: 1.0\nGenerator: by-hand\nRoot-Is-Purelib: true\nTag: {tag}\n"


def write_wheel(
    folder: Path, name: str, version: str = "1.0", tag: str = "py3-none-any", licence: str = "", **files: str
) -> Path:
    """Write a wheel that pip installs; `files` are further ones of its .dist-info, `licence` lines of its METADATA."""
    folder.mkdir(parents=True, exist_ok=True)
    info = f"{name}-{version}.dist-info"
    content = {
        f"{name}.py": f"__version__ = {version!r}\n",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{licence}",
        f"{info}/WHEEL": WHEEL.format(tag=tag),
        **{f"{info}/{file}": text for file, text in files.items()},
    }
    content[f"{info}/RECORD"] = "".join(f"{entry},,\n" for entry in (*content, f"{info}/RECORD"))
    wheel = folder / f"{name}-{version}-{tag}.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for entry, text in content.items():
            archive.writestr(entry, text)
    return wheel


@pytest.fixture(scope="session")
def release_key(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A release key of these tests' own."""
    if shutil.which("ssh-keygen") is None:
        pytest.skip("no ssh-keygen on this system; .ci/run installs it")
    return ensure_key(tmp_path_factory.mktemp("key") / "release-key")


@pytest.fixture(scope="session")
def real_bundle(
    repository: Path, release_key: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[str, str], Path]]:
    """The checkout's own bundle for a suite and a machine, made by the real command at the first call."""
    folder = tmp_path_factory.mktemp("bundles")
    made: dict[tuple[str, str], Path] = {}

    def bundle(suite: str, arch: str) -> Path:
        if (suite, arch) not in made:
            done = subprocess.run(
                [sys.executable, "-P", "-m", "deploy.bundle", "--suite", suite, "--arch", arch, "--out", folder],
                env={**os.environ, "CUELENS_KEY": str(release_key)},
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=280,
                check=False,
            )
            if done.returncode == 78:
                pytest.skip(f"no packages here: {done.stderr.strip().splitlines()[-1]}")
            assert done.returncode == 0, done.stderr
            made[suite, arch] = Path(done.stdout.rstrip("\n").split("  ", 1)[1])
        return made[suite, arch]

    yield bundle
    shutil.rmtree(folder)  # up to 0.4 GB, of which pytest would keep three
