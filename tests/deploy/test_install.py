"""The installer in a Debian root: killed after every step and in every command, given bad bundles and bad places."""

from __future__ import annotations

import io
import itertools
import re
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from tests.deploy.machines import copy_root, enter, make_key, pip_wheel, run, small_bundle

pytestmark = [pytest.mark.root, pytest.mark.slow]

INSTALLER = Path(__file__).resolve().parents[2] / "deploy" / "device" / "install.sh"
STEPS = re.findall(r'^ +(step ".*")$', INSTALLER.read_text(), re.MULTILINE)
BUILT = STEPS[: STEPS.index('step "starting it"')]  # where no systemd runs; test_machine.py goes on
ONCE_WHOLE = 'step "putting the settings in place"'

# Sourced by bash before the installer: kills it, and all that it started, at the KILL_AFTER-th command from KILL_AT on.
KILLER = r"""
set -o functrace
trap '
[[ $BASH_COMMAND != "$KILL_AT" ]] || printf . >/tmp/begun
[ ! -e /tmp/begun ] || printf . >>/tmp/commands
[ ! -e /tmp/begun ] || [ "$(stat -c %s /tmp/commands)" -le "$KILL_AFTER" ] || kill -KILL $$ $BASHPID
' DEBUG
"""
# What systemd does at boot with the units that are there.
BOOT = r"""
start() {
    unit=$(readlink -e "/etc/systemd/system/multi-user.target.wants/$1") || return
    $(sed -n 's/^ExecStart=//p' "$unit")
}
start cuelens-settle.service && start cuelens.service || echo none
"""


class Device:
    """A root without a systemd that runs: the installer stages all, and a boot is played."""

    def __init__(self, root: Path, bundles: dict[str, Path], signers: Path) -> None:
        self.root = root
        (root / "files").mkdir()
        for path in (*bundles.values(), signers, INSTALLER):
            shutil.copy(path, root / "files")
        (root / "files" / "killer").write_text(KILLER)
        (root / "files" / "boot").write_text(BOOT)
        self._bundles = {version: path.name for version, path in bundles.items()}

    def install(self, bundle: str, *words: str, before: str = "", **environment: str) -> CompletedProcess[str]:
        """Install a bundle by its version, or by its name in /files; `before` is done first, in the same space."""
        name = self._bundles.get(bundle, bundle)
        script = f'{before}\nbash /files/install.sh install "$@"'
        words = (f"/files/{name}", "--signers", "/files/signers", *words)
        return enter(self.root, "bash", "-c", script, "install", *words, **environment)

    def kill(self, bundle: str, at: str, commands: int = 0) -> CompletedProcess[str]:
        """Install a bundle and be killed before a step, or some commands later."""
        return self.install(
            bundle, before=f"export BASH_ENV=/files/killer KILL_AT={at!r} KILL_AFTER={commands}".replace('\\"', '"')
        )

    def boot(self) -> str:
        """Start as after a power cut; returns the version that runs, "none" where none does."""
        done = enter(self.root, "sh", "/files/boot")
        assert done.returncode == 0, done.stdout + done.stderr
        for release in self.releases():
            assert (self.root / "opt/cuelens/releases" / release / "whole").exists() or done.stdout == "none\n", release
        return done.stdout.removeprefix("running ").strip()

    def releases(self) -> list[str]:
        """The versions there, whole or not."""
        return sorted(path.name for path in self.root.glob("opt/cuelens/releases/*"))

    def files(self) -> dict[str, str]:
        """Every file that an installer might have left, with what is in it."""
        found = {}
        for folder in ("etc", "opt", "usr/local", "var/lib"):
            for path in sorted((self.root / folder).rglob("*")):
                inner = path.relative_to(self.root).as_posix()
                if path.is_symlink():
                    found[inner] = f"-> {path.readlink()}"
                elif path.is_file():
                    found[inner] = path.read_text(errors="replace")
                else:
                    found[inner] = "a folder"
        return found

    def save(self, name: str) -> None:
        """Keep what the installer changes, under a name."""
        run("sh", "-c", 'mkdir "$0.$1" && cd "$0" && cp -a --parents opt/cuelens etc usr/local "$0.$1"', self.root, name)

    def load(self, name: str) -> None:
        """Go back to what was kept."""
        script = 'cd "$0" && rm -rf opt/cuelens etc usr/local && cp -a "$0.$1/." .'
        done = run("sh", "-c", script, self.root, name)
        assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def device(tmp_path_factory: pytest.TempPathFactory, key: Path, signers: Path) -> Device:
    """A Trixie root with bundles of versions old, new and broken, saved as it was before and with `old` installed."""
    folder = tmp_path_factory.mktemp("install")
    root = copy_root("trixie-amd64", folder / "root")
    bundles = {
        name: small_bundle(folder, key, pip_wheel(root), version, behaviour)
        for name, version, behaviour in (("old", "1.0", "works"), ("new", "2.0", "works"), ("broken", "3.0", "broken"))
    }
    device = Device(root, bundles, signers)
    (root / "opt/cuelens").mkdir()
    device.save("first install")
    done = device.install("old")
    assert done.returncode == 0, done.stderr
    assert device.boot() == "1.0"
    device.save("update")
    return device


def test_every_step_of_an_installation_is_one_of_the_table(device: Device) -> None:
    device.load("first install")
    done = device.install("old")
    said = [line.removeprefix("cuelens: ") for line in done.stderr.splitlines()][:-1]
    assert said == [step.removeprefix('step "').removesuffix('"').replace("$version", "1.0") for step in BUILT]


def test_killed_after_every_step_the_next_boot_runs_old_or_new(
    device: Device, capsys: pytest.CaptureFixture[str]
) -> None:
    """... and the boot after it too, when nobody saw the new one work; and then it can be installed again."""
    known = {"1.0": "old", "2.0": "new", "none": "none yet"}
    table = []
    for (number, step), kind in itertools.product(enumerate([*BUILT, "the end"]), ("first install", "update")):
        device.load(kind)
        killed = device.kill("new", step)
        assert killed.returncode == (0 if step == "the end" else 137), killed.stderr
        boots = [known[device.boot()] for _ in range(2)]
        assert device.install("new").returncode == 0
        assert device.boot() == "2.0"
        table.append((kind, BUILT[number - 1].removeprefix('step ').strip('"') if number else "the start", *boots))
    with capsys.disabled():
        print(f"\n{'killed after':38}{'':15}next boot  the one after, unproven")
        for kind, step, *boots in table:
            print(f"{step:38}{kind:15}{boots[0]:11}{boots[1]}")
    flips = [step for kind, step, first, _ in table if kind == "update" and first == "new"]
    assert flips == ["making it the release that starts"]
    assert all(second == "old" for kind, _, _, second in table if kind == "update")
    assert {first for kind, _, first, _ in table if kind == "first install"} == {"none yet", "new"}
    assert all(first == second for kind, _, first, second in table if kind == "first install")


@pytest.mark.parametrize("kind", ["first install", "update"])
def test_killed_in_every_command_of_the_last_steps_the_next_boot_runs_old_or_new(device: Device, kind: str) -> None:
    device.load(kind)
    device.kill("new", ONCE_WHOLE)
    shutil.rmtree(f"{device.root}.whole", ignore_errors=True)
    device.save("whole")
    before = "none" if kind == "first install" else "1.0"
    seen = []
    for commands in itertools.count():
        device.load("whole")
        killed = device.kill("new", ONCE_WHOLE, commands)
        seen.append(device.boot())
        if killed.returncode == 0:
            break
        assert killed.returncode == 137, killed.stderr
    assert len(seen) > 50
    assert list(dict.fromkeys(seen)) == [before, "2.0"]  # first the one, from some command on the other
    assert seen == sorted(seen, reverse=before == "none")
