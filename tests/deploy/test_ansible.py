"""The playbook, by the real ansible-playbook, on devices that are folders of this machine."""

from __future__ import annotations

import ensurepip
import json
import os
import platform
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.deploy.machines import REPOSITORY, make_key, run, small_bundle

PLAYBOOKS = REPOSITORY / "deploy" / "ansible"
PIPS = (Path(ensurepip.__file__).parent / "_bundled", Path("/usr/share/python-wheels"))
SUITES = {"3.11": "bookworm", "3.13": "trixie"}
HOSTS = ("first", "second", "third")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        shutil.which("ansible-playbook") is None, reason="no ansible-playbook on this system; .ci/run installs it"
    ),
]


class Fleet:
    """Three devices that are folders, a maker's folder of bundles, and a playbook that knows both."""

    def __init__(self, folder: Path, key: Path) -> None:
        self.folder, self.dist, self._key = folder, folder / "dist", key
        python = run("python3", "-c", "import sys; print('%d.%d' % sys.version_info[:2])", PATH=os.environ["PATH"])
        if python.stdout.strip() not in SUITES:
            pytest.skip(f"python3 is {python.stdout.strip()}: no suite's own")
        self.suite, self.arch = SUITES[python.stdout.strip()], platform.machine()
        self.roots = {name: folder / name for name in HOSTS}
        for root in self.roots.values():
            (root / "etc").mkdir(parents=True)
            (root / "etc" / "os-release").write_text(f"VERSION_CODENAME={self.suite}\nPRETTY_NAME=Debian\n")
            (root / "etc" / "group").write_text("video:x:44:\n")
        lines = (f"{name} cuelens_root='{root}'\n" for name, root in self.roots.items())
        (folder / "hosts").write_text("".join(lines))

    def make(self, version: str) -> None:
        """Make a bundle of that version."""
        pip = next(wheel for place in PIPS for wheel in place.glob("pip-*.whl"))
        self.dist.mkdir(exist_ok=True)
        small_bundle(self.dist, self._key, pip, version, suite=self.suite, arch=self.arch)
        for wheel in self.dist.glob("*.whl"):
            wheel.unlink()

    def push(self, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run the playbook as its users do, but on folders and as who we are."""
        more = {
            "ansible_connection": "local",
            "ansible_python_interpreter": "{{ ansible_playbook_python }}",
            "ansible_become": False,
            "dist": str(self.dist),
            **variables,
        }
        return run(
            "ansible-playbook",
            PLAYBOOKS / "push.yml",
            f"--inventory={self.folder}/hosts",
            f"--extra-vars={json.dumps(more)}",
            *words,
            PATH=os.environ["PATH"],
            HOME=str(self.folder),
            LC_ALL="C.UTF-8",
            CUELENS_KEY=str(self._key),
            ANSIBLE_CONFIG=str(PLAYBOOKS / "ansible.cfg"),
        )

    def current(self) -> dict[str, str | None]:
        """Which release starts on each."""
        links = {name: root / "opt" / "cuelens" / "current" for name, root in self.roots.items()}
        return {name: link.readlink().name if link.is_symlink() else None for name, link in links.items()}


def words(done: subprocess.CompletedProcess[str]) -> str:
    """What it said, on one line: Ansible breaks messages where its YAML would be too wide."""
    return " ".join(done.stdout.split())


def recap(done: subprocess.CompletedProcess[str]) -> dict[str, tuple[int, int]]:
    """How many tasks changed something, and how many failed, on each host that was visited."""
    lines = re.findall(r"^(\w+) +: .* changed=(\d+) +unreachable=\d+ +failed=(\d+)", done.stdout, re.MULTILINE)
    return {name: (int(changed), int(failed)) for name, changed, failed in lines}


@pytest.fixture
def fleet(memory: Path, key: Path, tmp_path: Path) -> Iterator[Fleet]:
    folder = memory / tmp_path.name
    yield Fleet(folder, key)
    shutil.rmtree(folder)


@pytest.mark.parametrize("option", ["--syntax-check", "--list-hosts"])
def test_ansible_takes_the_playbook_and_the_inventory_beside_it(option: str, tmp_path: Path) -> None:
    done = subprocess.run(
        ["ansible-playbook", "push.yml", option],
        cwd=PLAYBOOKS,
        env={"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8", "HOME": str(tmp_path)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert ("glasses-2.local" in done.stdout) == (option == "--list-hosts")


def test_it_asks_for_ansibles_own_modules_alone() -> None:
    text = (PLAYBOOKS / "push.yml").read_text()
    assert set(re.findall(r"^ +([a-z.]+)\.[a-z_]+:", text, re.MULTILINE)) == {"ansible.builtin"}


def test_all_get_the_release_and_a_second_time_nothing_changes(fleet: Fleet) -> None:
    fleet.make("1.0")
    first = fleet.push()
    assert first.returncode == 0, first.stdout + first.stderr
    assert fleet.current() == dict.fromkeys(HOSTS, "1.0")
    assert all(changed > 0 for changed, _ in recap(first).values())
    second = fleet.push()
    assert (second.returncode, recap(second)) == (0, dict.fromkeys(HOSTS, (0, 0))), second.stdout
    assert not list(fleet.folder.glob(".ansible/tmp/ansible.*"))


def test_the_first_that_fails_says_why_and_ends_it(fleet: Fleet, tmp_path: Path) -> None:
    """The second knows another maker's key alone; once it knows ours the same command goes on."""
    fleet.make("1.0")
    signers = fleet.roots["second"] / "etc" / "cuelens" / "allowed_signers"
    signers.parent.mkdir()
    other = make_key(tmp_path / "other")
    signers.write_text(f"cuelens {other.with_suffix('.pub').read_text()}")
    done = fleet.push()
    assert done.returncode != 0
    assert fleet.current() == {"first": "1.0", "second": None, "third": None}
    assert list(recap(done)) == ["first", "second"]
    assert "signed by a key that is not in" in words(done)
    signers.unlink()
    again = fleet.push()
    assert (again.returncode, recap(again)["first"]) == (0, (0, 0)), again.stdout
    assert fleet.current() == dict.fromkeys(HOSTS, "1.0")


def test_one_that_is_not_reached_ends_it(fleet: Fleet) -> None:
    fleet.make("1.0")
    hosts = fleet.folder / "hosts"
    hosts.write_text(hosts.read_text().replace("second ", "second ansible_host=127.0.0.1 ansible_port=9 "))
    done = fleet.push(ansible_connection="{{ 'ssh' if inventory_hostname == 'second' else 'local' }}")
    assert done.returncode != 0
    assert fleet.current() == {"first": "1.0", "second": None, "third": None}, done.stdout
    assert "UNREACHABLE" in done.stdout
    assert "third" not in recap(done)


def test_of_several_releases_one_is_chosen(fleet: Fleet) -> None:
    for version in ("1.0", "1.1"):
        fleet.make(version)
    done = fleet.push()
    assert done.returncode != 0
    assert "has 2 bundles for" in words(done)
    assert "release=VERSION" in words(done)
    assert fleet.current() == dict.fromkeys(HOSTS)
    for version in ("1.0", "1.1"):
        done = fleet.push("--limit=first", release=version)
        assert done.returncode == 0, done.stdout
        assert fleet.current()["first"] == version


def test_no_bundle_for_a_device_is_reported_before_anything_is_sent(fleet: Fleet) -> None:
    fleet.make("1.0")
    (fleet.roots["first"] / "etc" / "os-release").write_text("VERSION_CODENAME=buster\nPRETTY_NAME=Debian 10\n")
    done = fleet.push()
    assert done.returncode != 0
    assert "has 0 bundles for buster" in words(done)
    assert fleet.current() == dict.fromkeys(HOSTS)


def test_settings_are_put_in_place_once(fleet: Fleet) -> None:
    fleet.make("1.0")
    settings = fleet.folder / "mine.toml"
    for text in ('source = "demo"\n', 'source = "demo:2"\n'):
        settings.write_text(text)
        done = fleet.push("--limit=first", settings=str(settings))
        assert done.returncode == 0, done.stdout
        assert recap(done)["first"][0] > 0
        assert (fleet.roots["first"] / "etc" / "cuelens" / "cuelens.toml").read_text() == text
        again = fleet.push("--limit=first", settings=str(settings))
        assert (again.returncode, recap(again)["first"]) == (0, (0, 0)), again.stdout
