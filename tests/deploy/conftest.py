"""The maker's key, and who knows it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.deploy.machines import make_key


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
