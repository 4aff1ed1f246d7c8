"""What deploy.sh says of a device before it sends anything; ssh is a stand-in that answers for one."""

from __future__ import annotations

import shutil
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from tests.deploy.machines import run

REPOSITORY = Path(__file__).resolve().parents[2]
FACTS = {
    "system": "Debian GNU/Linux 13 (trixie)",
    "suite": "trixie",
    "arch": "aarch64",
    "board": "Raspberry Pi 4 Model B Rev 1.4",
    "python": "3.13",
    "free_kib": "20000000",
    "file_system": "writable",
    "systemd": "running",
    "groups": "video render gpio i2c spi",
    "cameras": "",
    "picamera2": "yes",
    "rsync": "",
    "signers": "yes",
    "current": "1.0",
    "good": "1.0",
    "previous": "",
}
SSH = """#!/bin/sh
for word; do command=$word; done
echo "$command" >>{log}
case $command in
"bash -s facts") cat >/dev/null; cat {facts} ;;
*"id -u"*) echo {user} ;;
*pwd) echo /home/pi/.cache/cuelens ;;
*) cat >/dev/null; exit {code} ;;
esac
"""


class Desk:
    """A maker's desk, with a device that says what it is and does nothing."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.bundle = folder / "some.tar"
        self.bundle.write_bytes(b"\0" * 20_000_000)

    def deploy(self, *words: str | Path, user: str = "root", code: int = 0, **facts: str) -> CompletedProcess[str]:
        """Run ./deploy.sh, the device having these facts beside the usual ones."""
        told, log = self.folder / "facts", self.folder / "log"
        told.write_text("".join(f"{name}={value}\n" for name, value in (FACTS | facts).items()))
        log.unlink(missing_ok=True)
        program = self.folder / "ssh"
        program.write_text(SSH.format(log=log, facts=told, user=user, code=code))
        program.chmod(0o755)
        return run(REPOSITORY / "deploy.sh", *words, PATH=f"{self.folder}:/usr/bin:/bin", HOME=str(self.folder))

    def asked(self) -> list[str]:
        """What the device was asked to do."""
        return (self.folder / "log").read_text().splitlines()


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


@pytest.mark.parametrize(
    ("facts", "code", "words"),
    [
        ({"arch": "armv7l"}, 92, "pi@glasses is armv7l; valid are aarch64 and x86_64"),
        ({"suite": "bullseye", "system": "Debian 11"}, 93, "pi@glasses has Debian 11; valid are"),
        ({"systemd": "no"}, 93, "does not run systemd"),
        ({"python": "3.12"}, 94, "python3 is 3.12, trixie's own is 3.13"),
        ({"python": ""}, 94, "python3 is missing"),
        ({"free_kib": "100000"}, 95, "pi@glasses has 97 MiB free, 114 are needed"),
        ({"file_system": "read-only"}, 96, "the root file system is read-only"),
        ({"file_system": "overlay"}, 96, "the root file system is overlay"),
    ],
)
def test_a_device_that_will_not_do_is_refused_before_anything_is_sent(
    desk: Desk, facts: dict[str, str], code: int, words: str
) -> None:
    done = desk.deploy("push", "pi@glasses", "--bundle", desk.bundle, **facts)
    assert (done.returncode, words in done.stderr) == (code, True), done.stderr
    assert not [command for command in desk.asked() if "cat >" in command or "install" in command]


def test_sudo_that_wants_a_password_is_said(desk: Desk) -> None:
    done = desk.deploy("push", "pi@glasses", "--bundle", desk.bundle, user="pi")
    assert (done.returncode, "may not use sudo there without a password" in done.stderr) == (91, True), done.stderr


def test_a_connection_that_breaks_is_said_with_what_goes_on(desk: Desk) -> None:
    done = desk.deploy("push", "pi@glasses", "--bundle", desk.bundle, code=255)
    assert done.returncode == 90, done.stderr
    assert "pi@glasses is not reached" in done.stderr


def test_no_ssh_is_said(desk: Desk) -> None:
    tools = ("bash", "dirname", "readlink")
    for tool in tools:
        found = shutil.which(tool)
        assert found
        (desk.folder / tool).symlink_to(found)
    done = run(REPOSITORY / "deploy.sh", "status", "pi@glasses", PATH=str(desk.folder))
    assert (done.returncode, "no ssh on this machine" in done.stderr) == (90, True), done.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["push"], "push needs a [USER@]HOST"),
        (["push", "--bundle", "x"], "push needs a [USER@]HOST"),
        (["push", "pi@glasses", "--now"], "unknown argument '--now'"),
        (["push", "pi@glasses", "--bundle"], "--bundle needs a value"),
        (["push", "pi@glasses", "--settings", "/nowhere"], "/nowhere: no file that can be read"),
        (["uninstall", "pi@glasses", "--some"], "unknown argument '--some'"),
    ],
)
def test_a_wrong_command_line_is_named(desk: Desk, words: list[str], said: str) -> None:
    done = desk.deploy(*words)
    assert (done.returncode, said in done.stderr) == (2, True), done.stderr


def test_the_help_names_every_command(desk: Desk) -> None:
    done = desk.deploy("push", "--help")
    assert done.returncode == 0
    for command in ("push", "status", "logs", "rollback", "bench", "uninstall"):
        assert f"\n  {command} " in done.stdout
