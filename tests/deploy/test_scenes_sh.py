"""training/scenes.sh: how it fails; apt is a stand-in."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.deploy.machines import run
from tests.support.failures import cause_of

SCRIPT = Path(__file__).resolve().parents[2] / "training" / "scenes.sh"
APT = '#!/bin/sh\n[ "$(basename "$0")" = {fails} ] && exit 100\nexit 0\n'


@pytest.mark.parametrize("words", [(), ("--help",), ("a", "b")])
def test_a_wrong_command_line_is_named(words: tuple[str, ...]) -> None:
    done = run("bash", SCRIPT, *words)
    assert cause_of(done) == "command-line"
    assert done.stderr.startswith("scenes.sh: usage: training/scenes.sh OUT")


def test_a_missing_tool_is_named(tmp_path: Path) -> None:
    for tool in ("bash", "dirname", "readlink"):
        found = shutil.which(tool)
        assert found
        (tmp_path / tool).symlink_to(found)
    done = run("bash", SCRIPT, tmp_path / "out", PATH=str(tmp_path))
    assert (cause_of(done), "no apt-get on this machine" in done.stderr) == ("tool-missing", True), done.stderr


@pytest.mark.parametrize(
    ("fails", "words"), [("apt-cache", "apt does not know plasma-workspace-wallpapers"), ("apt-get", "could not fetch")]
)
def test_what_apt_does_not_give_is_named(tmp_path: Path, fails: str, words: str) -> None:
    for tool in ("apt-get", "apt-cache", "dpkg-deb"):
        (tmp_path / tool).write_text(APT.format(fails=fails))
        (tmp_path / tool).chmod(0o755)
    done = run("bash", SCRIPT, tmp_path / "out", PATH=f"{tmp_path}:/usr/bin:/bin")
    assert (cause_of(done), words in done.stderr) == ("download-failed", True), done.stderr


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    for tool in ("apt-get", "apt-cache", "dpkg-deb"):
        (tmp_path / tool).symlink_to("/bin/true")
    (tmp_path / "file").touch()
    done = run("bash", SCRIPT, tmp_path / "file" / "out", PATH=f"{tmp_path}:/usr/bin:/bin")
    assert (cause_of(done), "choose a folder that you may write" in done.stderr) == ("path-refused", True), done.stderr
