"""The wheel in Debian sid, whose Python is the newest that Cuelens is for."""

from __future__ import annotations

import platform
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from deploy.release import build
from tests.deploy.machines import enter

HERE = Path(__file__).parent
INSTALL = ("/opt/venv/bin/pip", "--quiet", "--disable-pip-version-check", "install")
pytestmark = [
    pytest.mark.root,
    pytest.mark.slow,
    pytest.mark.once,
    pytest.mark.timeout(1800),
    pytest.mark.skipif(platform.machine() != "x86_64", reason="its root is for x86-64"),
    *(
        pytest.mark.skipif(shutil.which(tool) is None, reason=f"no {tool} on this system; .ci/run installs it")
        for tool in ("mmdebstrap", "unshare")
    ),
]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sid of its own; skips with apt's reason where none can be made, as between two states of sid's archive."""
    made = subprocess.run([HERE / "sid.sh"], capture_output=True, text=True, errors="replace", check=False)
    if made.returncode:
        pytest.skip(f"no root of Debian sid can be made here: {made.stderr.strip().splitlines()[-1:]}")
    copy = tmp_path_factory.mktemp("sid") / "root"
    subprocess.run(["cp", "--archive", "--reflink=auto", made.stdout.strip(), copy], check=True)
    return copy


def test_pip_installs_a_working_cuelens_in_python_3_14(root: Path, repository: Path, tmp_path: Path) -> None:
    build(repository, tmp_path)
    (wheel,) = tmp_path.glob("*.whl")
    shutil.copy(wheel, root / "opt")
    installed = enter(root, *INSTALL, "--no-index", f"/opt/{wheel.name}")  # its dependencies are those of the lock
    assert installed.returncode == 0, installed.stderr
    version = enter(root, "/opt/venv/bin/python", "-c", "import sys; print(*sys.version_info[:2])")
    assert version.stdout == "3 14\n", version.stderr
    demo = enter(root, "/opt/venv/bin/cuelens", "demo", "--seconds", "5")
    assert demo.returncode == 0, demo.stderr
    assert re.search(r"^cues shown: .*\dx", demo.stdout, re.MULTILINE), demo.stdout
