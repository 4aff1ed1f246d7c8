"""What is built: a wheel that holds the device's code and model, and an editable install that has everything."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.support.wheel import MODELS, console_scripts

HOST = {
    f"cuelens-{name}"
    for name in (
        "data",
        "train",
        "evaluate",
        "explain",
        "ship",
        "convert",
        "verifier",
        "scanner",
        "bench",
    )
}
SCRIPTS = {"cuelens", *HOST}


def build(repository: Path, folder: Path, target: str) -> Path:
    done = subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", target, "-d", folder],
        cwd=repository,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (wheel,) = folder.glob("*.whl")
    return wheel


@pytest.fixture(scope="module")
def wheel(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(repository, tmp_path_factory.mktemp("wheel"), "wheel:standard")


def test_wheel_is_the_devices(wheel: Path, repository: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        files = {name for name in archive.namelist() if ".dist-info/" not in name}
        code = {path for path in repository.glob("edge/**/*") if path.is_file() and path.parent.name != "__pycache__"}
        expected = {path.relative_to(repository).as_posix() for path in code}
        assert files == expected | {f"edge/model/{name}" for name in MODELS}
        assert console_scripts(archive) == {"cuelens"}


def test_wheel_holds_the_shipped_model(wheel: Path, repository: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        for name in MODELS:
            assert archive.read(f"edge/model/{name}") == (repository / "models" / name).read_bytes()
        json.loads(archive.read("edge/model/emotion.json"))


def test_installed_wheel_starts_without_the_checkout(wheel: Path, tmp_path: Path) -> None:
    """Unpacked elsewhere, the program runs from there and asks for nothing of the host's."""
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path)
    code = (
        "import sys; sys.modules.update(training=None, converter=None, benchmarks=None)\n"
        "import edge.cli; assert edge.__file__.startswith(sys.argv.pop()), edge.__file__\n"
        "edge.cli.main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "--help", tmp_path],
        cwd=tmp_path,
        env={"PYTHONPATH": str(tmp_path), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "demo" in done.stdout


def test_editable_install_has_every_script(repository: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(build(repository, tmp_path, "wheel:editable")) as archive:
        assert console_scripts(archive) == SCRIPTS
