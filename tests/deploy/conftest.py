"""The maker's key, who knows it, and a disk that is as fast as memory."""

from __future__ import annotations

from collections.abc import Iterator
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


@pytest.fixture(scope="module")
def memory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder in memory, for roots: an installer has the disk write all again and again."""
    folder = tmp_path_factory.mktemp("memory")
    mounted = run("mount", "-t", "tmpfs", "-o", "size=80%,mode=755", "tmpfs", folder)
    yield folder
    if mounted.returncode == 0:
        run("umount", "--lazy", folder)
