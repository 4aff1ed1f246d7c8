"""The maker's key, who knows it, the real bundles, and a disk that is as fast as memory."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.deploy.machines import make_key, run


@pytest.fixture(scope="session")
def key(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The key that bundles are signed with."""
    return make_key(tmp_path_factory.mktemp("key") / "key")


@pytest.fixture(scope="session")
def signers(key: Path) -> Path:
    """The allowed_signers that knows it."""
    path = key.with_name("signers")
    path.write_text(f'cuelens namespaces="cuelens-release" {key.with_suffix(".pub").read_text()}')
    return path


@pytest.fixture(scope="session")
def real_bundle(
    repository: Path, key: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[str, str], Path]]:
    """The checkout's own bundle for a suite and a machine, made by the real command at the first call."""
    folder = tmp_path_factory.mktemp("bundles")
    made: dict[tuple[str, str], Path] = {}

    def bundle(suite: str, arch: str) -> Path:
        if (suite, arch) not in made:
            done = subprocess.run(
                [sys.executable, "-P", "-m", "deploy.bundle", "--suite", suite, "--arch", arch, "--out", folder],
                env={**os.environ, "CUELENS_KEY": str(key)},
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=280,
                check=False,
            )
            if "[download-failed]" in done.stderr:
                pytest.skip(f"no packages here: {done.stderr.strip().splitlines()[-1]}")
            assert done.returncode == 0, done.stderr
            made[suite, arch] = Path(done.stdout.rstrip("\n").split("  ", 1)[1])
        return made[suite, arch]

    yield bundle
    shutil.rmtree(folder)  # up to 0.4 GB, of which pytest would keep three


@pytest.fixture(scope="module")
def memory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder in memory, for roots: an installer has the disk write all again and again."""
    folder = tmp_path_factory.mktemp("memory")
    mounted = run("mount", "-t", "tmpfs", "-o", "size=80%,mode=755", "tmpfs", folder)
    yield folder
    if mounted.returncode == 0:
        run("umount", "--lazy", folder)
