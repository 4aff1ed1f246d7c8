"""What deploy.sh says of a device before it sends anything; ssh is a stand-in that answers for one."""

from __future__ import annotations

import shutil
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from deploy.keys import ensure_key, signers_line
from tests.deploy.machines import run
from tests.support.failures import cause_of

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
echo "$*" >>{log}.words
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

    def deploy(
        self,
        *words: str | Path,
        user: str = "root",
        code: int = 0,
        script: str = SSH,
        cwd: Path | None = None,
        **facts: str,
    ) -> CompletedProcess[str]:
        """Run ./deploy.sh, the device having these facts beside the usual ones."""
        facts_file, log = self.folder / "facts", self.folder / "log"
        facts_file.write_text("".join(f"{name}={value}\n" for name, value in (FACTS | facts).items()))
        log.unlink(missing_ok=True)
        program = self.folder / "ssh"
        program.write_text(script.format(log=log, facts=facts_file, folder=self.folder, user=user, code=code))
        program.chmod(0o755)
        path = f"{self.folder}:/usr/bin:/bin"
        return run(REPOSITORY / "deploy.sh", *words, cwd=cwd, PATH=path, HOME=str(self.folder))

    def asked(self) -> list[str]:
        """What the device was asked to do."""
        return (self.folder / "log").read_text().splitlines()


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


@pytest.mark.parametrize(
    ("facts", "cause", "words"),
    [
        ({"arch": "armv7l"}, "device-architecture", "pi@glasses is armv7l; valid are aarch64 and x86_64"),
        ({"suite": "bullseye", "system": "Debian 11"}, "device-system", "pi@glasses has Debian 11; valid are"),
        ({"systemd": "no"}, "device-system", "does not run systemd"),
        ({"python": "3.12"}, "device-tools", "python3 is 3.12, trixie's own is 3.13"),
        ({"python": ""}, "device-tools", "python3 is missing"),
        ({"free_kib": "100000"}, "device-space-short", "pi@glasses has 97 MiB free, 114 are needed"),
        ({"file_system": "read-only"}, "device-read-only", "the root file system is read-only"),
        ({"file_system": "overlay"}, "device-read-only", "the root file system is overlay"),
    ],
)
def test_a_device_that_will_not_do_is_refused_before_anything_is_sent(
    desk: Desk, facts: dict[str, str], cause: str, words: str
) -> None:
    done = desk.deploy("push", "pi@glasses", "--bundle", desk.bundle, **facts)
    assert (cause_of(done), words in done.stderr) == (cause, True), done.stderr
    assert not [command for command in desk.asked() if "cat >" in command or "install" in command]


# ssh to a device that is this machine; its sudo wants a password, and its .bashrc prints something.
LOCAL_SSH = """#!/bin/sh
for word; do command=$word; done
printf '%s\\n' "$*" >>{log}
case $* in *"-O exit"*) exit ;; esac
printf 'Welcome\\n\\nsystem = odd\\n'
PATH={folder}/there:$PATH exec sh -c "$command"
"""
THERE = {
    "id": '#!/bin/sh\n[ "$1" = -u ] && echo 1000 || echo pi\n',
    "sudo": """#!/bin/sh
case $1 in
-n) echo "sudo: a password is required" >&2; exit 1 ;;
-A) shift ;;
esac
[ "$("$SUDO_ASKPASS" prompt)" = "$WANTED" ] || { echo "sudo: 3 incorrect password attempts" >&2; exit 1; }
unset CUELENS_SUDO_PASSWORD
exec "$@"
""",
    "journalctl": '#!/bin/sh\ncat\necho "journal: $*"\n',
}
WANTED = """it's "odd" $(id) \\n %s `x` ü"""


class LocalDevice:
    """A device that runs what it is asked to."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.log = folder, folder / "log"
        (folder / "there").mkdir()
        programs = {"ssh": LOCAL_SSH.format(log=self.log, folder=folder)}
        programs |= {f"there/{name}": text for name, text in THERE.items()}
        for name, text in programs.items():
            (folder / name).write_text(text)
            (folder / name).chmod(0o755)

    def deploy(self, *words: str, **environment: str) -> CompletedProcess[str]:
        path = f"{self.folder}:/usr/bin:/bin"
        given = {"TMPDIR": str(self.folder), "WANTED": WANTED, "CUELENS_ROOT": str(self.folder), **environment}
        return run(REPOSITORY / "deploy.sh", *words, PATH=path, HOME=str(self.folder), **given)


@pytest.mark.parametrize(
    ("command", "said"), [("status", "no release is installed"), ("logs", "journal: --unit=cuelens")]
)
def test_sudos_password_is_handed_over_and_shown_nowhere(tmp_path: Path, command: str, said: str) -> None:
    device = LocalDevice(tmp_path)
    done = device.deploy(command, "pi@glasses", CUELENS_SUDO_PASSWORD=WANTED)
    assert (done.returncode, said in done.stdout) == (0, True), done.stdout + done.stderr
    assert WANTED not in done.stdout + done.stderr + device.log.read_text()
    assert {path.name for path in tmp_path.iterdir()} == {"ssh", "there", "log"}, "and nothing of it stays there"


def test_a_wrong_sudo_password_is_reported_at_once(tmp_path: Path) -> None:
    done = LocalDevice(tmp_path).deploy("status", "pi@glasses", CUELENS_SUDO_PASSWORD="guess")
    assert (cause_of(done), "sudo there does not take this password" in done.stderr) == ("root-needed", True), (
        done.stderr
    )
    assert "guess" not in done.stderr


def test_what_a_bashrc_prints_is_no_answer(tmp_path: Path) -> None:
    done = LocalDevice(tmp_path).deploy("push", "pi@glasses")
    assert cause_of(done) in ("device-architecture", "device-system", "device-tools"), done.stderr
    assert "pi@glasses: " in done.stderr
    assert "bad array subscript" not in done.stderr


@pytest.mark.parametrize(
    ("given", "host"),
    [
        ("pi@fd00::5", "pi@fd00::5"),
        ("pi@[fd00::5]", "pi@fd00::5"),
        ("pi@fe80::1%eth0", "pi@fe80::1%eth0"),
        ("[::1]", "::1"),
        ("ssh://pi@glasses/", "pi@glasses"),
    ],
)
def test_an_address_is_given_to_ssh_as_ssh_takes_it(desk: Desk, given: str, host: str) -> None:
    desk.deploy("status", given)
    words = [line.split() for line in (desk.folder / "log.words").read_text().splitlines()]
    assert {line[line.index("--") + 1] for line in words if "--" in line} == {host}
    assert ["-O", "exit", host] in [line[-3:] for line in words]


@pytest.mark.parametrize(
    ("given", "host"),
    [("pi@fe80::1%eth0", "pi@[fe80::1%eth0]"), ("[::1]", "[::1]"), ("pi@10.0.0.7", "pi@10.0.0.7")],
)
def test_an_address_is_given_to_rsync_as_rsync_takes_it(desk: Desk, given: str, host: str) -> None:
    rsync = desk.folder / "rsync"
    rsync.write_text(f'#!/bin/sh\nfor word; do :; done\necho "$word" >{desk.folder}/sent\n')
    rsync.chmod(0o755)
    desk.deploy("push", given, "--bundle", desk.bundle, rsync="/usr/bin/rsync")
    assert (desk.folder / "sent").read_text() == f"{host}:/home/pi/.cache/cuelens/bundle.tar\n"


def test_where_rsync_is_disturbed_the_bundle_is_sent_without_it(desk: Desk) -> None:
    rsync = desk.folder / "rsync"
    rsync.write_text("#!/bin/sh\necho 'protocol version mismatch -- is your shell clean?' >&2\nexit 2\n")
    rsync.chmod(0o755)
    done = desk.deploy("push", "pi@glasses", "--bundle", desk.bundle, rsync="/usr/bin/rsync")
    assert "sending without it" in done.stderr
    assert "cat >>/home/pi/.cache/cuelens/bundle.tar" in desk.asked()


# ssh to a device that is this machine for all that is sent; what installs only keeps the bundle that arrived.
TAKING_SSH = """#!/bin/sh
for word; do command=$word; done
echo "$command" >>{log}
case $command in
"bash -s facts") cat >/dev/null; cat {facts} ;;
*"id -u"*) echo root ;;
"bash -s install "*) cat >/dev/null; cp ~/.cache/cuelens/bundle.tar {folder}/arrived ;;
*) cd {folder} && exec sh -c "$command" ;;
esac
"""
TAKING_RSYNC = """#!/bin/sh
while [ "$1" != -- ]; do shift; done
case $2 in [!/]*:*) echo "this is a remote source" >&2; exit 1 ;; esac
exec cp -- "$2" "${3#*:}"
"""


@pytest.mark.parametrize("rsync", ["", "/usr/bin/rsync"], ids=["without rsync", "rsync"])
@pytest.mark.parametrize(
    "name",
    [
        "cuelens-1.0 (1).tar",
        "[x]*?.tar",
        """it's "mine".tar""",
        "a; touch pwned; b.tar",
        "$(touch pwned)`touch pwned`.tar",
        "-C.tar",
        "pi@x:y.tar",
    ],
)
def test_a_bundle_arrives_whatever_it_is_called(desk: Desk, name: str, rsync: str) -> None:
    (desk.folder / "rsync").write_text(TAKING_RSYNC)
    (desk.folder / "rsync").chmod(0o755)
    bundle = desk.folder / name
    bundle.write_bytes(bytes(range(256)) * 9)
    done = desk.deploy("push", "pi@glasses", "--bundle", name, script=TAKING_SSH, cwd=desk.folder, rsync=rsync)
    assert done.returncode == 0, done.stderr
    assert (desk.folder / "arrived").read_bytes() == bundle.read_bytes()
    assert not (desk.folder / "pwned").exists()
    assert not [command for command in desk.asked() if name in command]
    assert [command for command in desk.asked() if command.startswith("bash -s install ")] == [
        f"bash -s install {desk.folder}/.cache/cuelens/bundle.tar"
    ]


def test_what_is_left_there_of_another_bundle_is_replaced(desk: Desk) -> None:
    left = desk.folder / ".cache" / "cuelens" / "bundle.tar"
    left.parent.mkdir(parents=True)
    left.write_bytes(b"another")
    done = desk.deploy("push", "pi@glasses", "--bundle", desk.bundle, script=TAKING_SSH)
    assert done.returncode == 0, done.stderr
    assert (desk.folder / "arrived").read_bytes() == desk.bundle.read_bytes()


def test_a_new_device_without_a_key_here_to_sign_by_is_reported_before_anything_is_sent(desk: Desk) -> None:
    done = desk.deploy("push", "pi@glasses", "--bundle", desk.bundle, signers="no")
    assert cause_of(done) == "key-unusable"
    assert "Traceback" not in done.stderr
    line = done.stderr.splitlines()[-1]
    assert f"{desk.folder}/.config/cuelens/release-key: No such file or directory" in line
    assert "--signers FILE" in line
    assert line.endswith("[key-unusable]")
    assert not [command for command in desk.asked() if "cat >" in command or "mkdir" in command or "install" in command]


def test_a_key_that_others_may_read_is_reported_before_anything_is_sent(desk: Desk) -> None:
    key = desk.folder / ".config" / "cuelens" / "release-key"
    key.parent.mkdir(parents=True)
    key.touch(mode=0o644)
    done = desk.deploy("push", "pi@glasses", "--bundle", desk.bundle, signers="no")
    line = done.stderr.splitlines()[-1]
    assert (cause_of(done), "others may read the key" in line, "--signers FILE" in line) == (
        "key-unusable",
        True,
        True,
    ), line
    assert not [command for command in desk.asked() if "cat >" in command or "mkdir" in command]


def test_a_new_device_gets_the_makers_key_to_verify_by(desk: Desk) -> None:
    key = ensure_key(desk.folder / ".config" / "cuelens" / "release-key")
    log = desk.folder / "signers"
    kept = TAKING_SSH.replace("cp ~", f"cp ~/.cache/cuelens/allowed_signers {log}; cp ~")
    done = desk.deploy("push", "pi@glasses", "--bundle", desk.bundle, script=kept, signers="no")
    assert done.returncode == 0, done.stderr
    assert log.read_text() == signers_line(key)


def test_sudo_that_wants_a_password_is_reported(desk: Desk) -> None:
    done = desk.deploy("push", "pi@glasses", "--bundle", desk.bundle, user="pi")
    assert (cause_of(done), "may not use sudo there without a password" in done.stderr) == ("root-needed", True), (
        done.stderr
    )


def test_a_connection_that_breaks_is_reported_with_what_continues(desk: Desk) -> None:
    done = desk.deploy("push", "pi@glasses", "--bundle", desk.bundle, code=255)
    assert cause_of(done) == "device-silent", done.stderr
    assert "pi@glasses is not reached" in done.stderr


def test_no_ssh_is_reported(desk: Desk) -> None:
    tools = ("bash", "dirname", "readlink")
    for tool in tools:
        found = shutil.which(tool)
        assert found
        (desk.folder / tool).symlink_to(found)
    done = run(REPOSITORY / "deploy.sh", "status", "pi@glasses", PATH=str(desk.folder))
    assert (cause_of(done), "no ssh on this machine" in done.stderr) == ("device-silent", True), done.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["push"], "push needs a [USER@]HOST"),
        (["push", "--bundle", "x"], "push needs a [USER@]HOST"),
        (["push", "pi@glasses", "--now"], "unknown argument '--now'"),
        (["push", "pi@glasses", "--bundle"], "--bundle needs a value"),
        (["push", "pi@glasses", "--settings", "/nowhere"], "/nowhere: no file that can be read"),
        (["uninstall", "pi@glasses", "--some"], "unknown argument '--some'"),
        (["status", "pi@glasses:2222"], 'CUELENS_SSH="-p 2222" ./deploy.sh status pi@glasses'),
        (["logs", "pi@[fd00::5]:22"], 'CUELENS_SSH="-p 22" ./deploy.sh logs pi@fd00::5'),
        (["bench", "pi@1:2:3"], "'pi@1:2:3' is no host"),
        (["rollback", "pi@"], "names no host"),
    ],
)
def test_a_wrong_command_line_is_named(desk: Desk, words: list[str], said: str) -> None:
    done = desk.deploy(*words)
    assert (cause_of(done), said in done.stderr) == ("command-line", True), done.stderr


def test_the_help_names_every_command(desk: Desk) -> None:
    done = desk.deploy("push", "--help")
    assert done.returncode == 0
    for command in ("push", "status", "logs", "rollback", "bench", "uninstall"):
        assert f"\n  {command} " in done.stdout
