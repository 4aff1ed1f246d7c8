"""The installer in a Debian root: killed after every step and in every command, given bad bundles and bad places."""

from __future__ import annotations

import io
import itertools
import shlex
import shutil
import tarfile
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from deploy.bundle import packed_installer
from edge.settings import Settings
from edge.settings_file import load_settings
from tests.deploy.machines import copy_root, enter, make_key, pip_wheel, plant_killer, run, small_bundle
from tests.support.failures import cause_of

pytestmark = [pytest.mark.root, pytest.mark.slow]

BUILT = (  # where no systemd runs; test_machine.py goes on
    "checking the signature",
    "reading the bundle",
    "removing what an earlier one left",
    "unpacking {version}",
    "checking its files",
    "making its venv",
    "installing its packages",
    "compiling",
    "trying it out",
    "writing it all to the disk",
    "declaring it whole",
    "putting the settings in place",
    "putting the units in place",
    "making it the release that starts",
)
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
        for path in (*bundles.values(), signers):
            shutil.copy(path, root / "files")
        (root / "files" / "install.sh").write_bytes(packed_installer())
        plant_killer(root)
        (root / "files" / "boot").write_text(BOOT)
        self.bundles = {version: path.name for version, path in bundles.items()}

    def install(self, bundle: str, *words: str, before: str = "", **environment: str) -> CompletedProcess[str]:
        """Install a bundle by its version, or by its name in /files; `before` is done first, in the same space."""
        name = self.bundles.get(bundle, bundle)
        script = f'{before}\nbash /files/install.sh install "$@"'
        words = (f"/files/{name}", "--signers", "/files/signers", *words)
        return enter(self.root, "bash", "-c", script, "install", *words, **environment)

    def kill(self, bundle: str, at: str, *words: str, after: int = 0) -> CompletedProcess[str]:
        """Install a bundle and be killed before a step, or some lines and changes later."""
        return self.install(bundle, *words, KILL_AT=at, KILL_AFTER=str(after))

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
        run(
            "sh", "-c", 'mkdir "$0.$1" && cd "$0" && cp -a --parents opt/cuelens etc usr/local "$0.$1"', self.root, name
        )

    def load(self, name: str) -> None:
        """Go back to what was kept."""
        script = 'cd "$0" && rm -rf opt/cuelens etc usr/local && cp -a "$0.$1/." .'
        done = run("sh", "-c", script, self.root, name)
        assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def device(memory: Path, key: Path, signers: Path) -> Device:
    """A Trixie root with bundles of versions old, new and broken, saved at three times."""
    root = copy_root("trixie-amd64", memory / "root")
    bundles = {
        name: small_bundle(memory, key, pip_wheel(root), version, behaviour)
        for name, version, behaviour in (("old", "1.0", "works"), ("new", "2.0", "works"), ("broken", "3.0", "broken"))
    }
    device = Device(root, bundles, signers)
    (root / "opt/cuelens").mkdir()
    device.save("first install")
    done = device.install("old")
    assert done.returncode == 0, done.stderr
    assert device.boot() == "1.0"
    device.save("update")
    assert device.install("new").returncode == 0
    device.save("trial")
    return device


def test_every_step_of_an_installation_is_one_of_the_table(device: Device) -> None:
    device.load("first install")
    done = device.install("old")
    said = [line.removeprefix("cuelens: ") for line in done.stderr.splitlines()][:-1]
    assert said == [step.format(version="1.0") for step in BUILT]


def test_killed_after_every_step_the_next_boot_runs_old_or_new(
    device: Device, capsys: pytest.CaptureFixture[str]
) -> None:
    """... and the boot after it too, when nobody saw the new one work; and then it can be installed again."""
    known = {"1.0": "old", "2.0": "new", "none": "none yet"}
    table = []
    for (number, step), kind in itertools.product(enumerate([*BUILT, "the end"]), ("first install", "update")):
        device.load(kind)
        killed = device.kill("new", step.format(version="2.0"))
        assert killed.returncode == (0 if step == "the end" else 137), killed.stderr
        boots = [known[device.boot()] for _ in range(2)]
        assert device.install("new").returncode == 0
        assert device.boot() == "2.0"
        table.append((kind, BUILT[number - 1].format(version="it") if number else "the start", *boots))
    with capsys.disabled():
        print(f"\n{'killed after':38}{'':15}next boot  the one after, unproven")
        for kind, step, *boots in table:
            print(f"{step:38}{kind:15}{boots[0]:11}{boots[1]}")
    flips = [step for kind, step, first, _ in table if kind == "update" and first == "new"]
    assert flips == ["making it the release that starts"]
    assert all(second == "old" for kind, _, _, second in table if kind == "update")
    assert {first for kind, _, first, _ in table if kind == "first install"} == {"none yet", "new"}
    assert all(first == second for kind, _, first, second in table if kind == "first install")


@pytest.mark.parametrize(
    ("kind", "first"), [("first install", "putting the units in place"), ("update", "putting the settings in place")]
)
def test_killed_at_every_line_and_change_of_the_last_steps_the_next_boot_runs_old_or_new_with_its_settings(
    device: Device, kind: str, first: str
) -> None:
    device.load(kind)
    (device.root / "files" / "new.toml").write_text('source = "demo"\n')
    settings = device.root / "etc/cuelens/cuelens.toml"
    before = settings.read_text() if settings.exists() else ""
    device.kill("new", first)
    shutil.rmtree(f"{device.root}.whole", ignore_errors=True)
    device.save("whole")
    seen = []
    for after in itertools.count():
        device.load("whole")
        killed = device.kill("new", first, "--settings", "/files/new.toml", after=after)
        seen.append(device.boot())
        if kind == "update":
            assert settings.read_text() == ('source = "demo"\n' if seen[-1] == "2.0" else before), (after, seen[-1])
        if killed.returncode == 0:
            break
        assert killed.returncode == 137, killed.stderr
    assert len(seen) > 50
    changes = [version for version, _ in itertools.groupby(seen)]
    assert changes == (["none", "2.0"] if kind == "first install" else ["1.0", "2.0"])
    if kind == "update":
        assert device.boot() == "1.0"  # not seen working
        assert settings.read_text() == before


def members(bundle: Path) -> dict[str, tuple[int, int]]:
    """Offset and size of the content of each member of a bundle, and of its payload's."""
    found = {}
    with tarfile.open(bundle) as outer:
        for member in outer:
            found[member.name] = (member.offset_data, member.size)
    base = found["payload.tar"][0]
    with tarfile.open(bundle) as outer, tarfile.open(fileobj=outer.extractfile("payload.tar")) as inner:
        for member in inner:
            found[member.name] = (base + member.offset_data, member.size)
    return found


def refused(device: Device, bundle: str, cause: str, words: str, *more: str, before: str = "") -> None:
    """Hold a refusal to its cause and words, and to leaving everything as it was."""
    files = device.files()
    done = device.install(bundle, *more, before=before)
    assert (cause_of(done), words in done.stderr) == (cause, True), done.stderr
    assert "Traceback" not in done.stderr
    assert device.files() == files


def test_a_bundle_with_one_other_byte_is_refused_wherever_it_is(device: Device) -> None:
    device.load("update")
    good = (device.root / "files" / device.bundles["new"]).read_bytes()
    places = members(device.root / "files" / device.bundles["new"])
    assert {"VERSION", "install.sh", "SHA256SUMS", "payload.tar.sig"} <= places.keys()
    for name, (offset, size) in places.items():
        damaged = bytearray(good)
        damaged[offset + size // 2] ^= 1
        (device.root / "files" / "damaged.tar").write_bytes(damaged)
        refused(device, "damaged.tar", "bundle-damaged", "not as it was signed")
        assert name


@pytest.mark.parametrize("share", [0, 0.001, 0.3, 0.99])
def test_a_truncated_bundle_is_refused(device: Device, share: float) -> None:
    device.load("first install")
    good = (device.root / "files" / device.bundles["new"]).read_bytes()
    (device.root / "files" / "short.tar").write_bytes(good[: int(share * len(good))])
    refused(device, "short.tar", "bundle-damaged", "/files/short.tar: no")


def test_an_unsigned_bundle_is_refused(device: Device) -> None:
    device.load("update")
    with tarfile.open(device.root / "files" / device.bundles["new"]) as bundle:
        payload = bundle.extractfile("payload.tar").read()
    entry = tarfile.TarInfo("payload.tar")
    entry.size = len(payload)
    with tarfile.open(device.root / "files" / "unsigned.tar", "w") as archive:
        archive.addfile(entry, io.BytesIO(payload))
    refused(device, "unsigned.tar", "bundle-damaged", "no signed bundle (in it: payload.tar")


def test_a_bundle_of_another_key_is_refused_unless_that_key_is_given(
    device: Device, memory: Path, tmp_path: Path
) -> None:
    device.load("update")
    other = make_key(tmp_path / "other")
    bundle = small_bundle(tmp_path, other, pip_wheel(device.root), "2.0")
    shutil.copy(bundle, device.root / "files" / "other.tar")
    line = f'cuelens namespaces="cuelens-release" {other.with_suffix(".pub").read_text()}'
    (device.root / "files" / "other signers").write_text(line)
    refused(device, "other.tar", "signer-unknown", "signed by a key that is not in /files/signers")
    known = device.root / "etc/cuelens/allowed_signers"
    before = known.read_text()
    assert device.install("other.tar", "--signers", "/files/other signers").returncode == 0
    assert known.read_text().split()[3] == line.split()[3]
    assert [device.boot() for _ in range(2)] == ["2.0", "1.0"], "it was not seen working"
    assert known.read_text() == before


def test_without_a_known_key_nothing_is_installed(device: Device) -> None:
    device.load("first install")
    refused(device, "new", "signer-unknown", "no key is known here", "--signers", "")


@pytest.mark.parametrize(
    ("suite", "arch", "cause", "words"),
    [
        ("trixie", "aarch64", "device-architecture", "this bundle is for aarch64, this device is x86_64"),
        ("bookworm", "x86_64", "device-system", "this bundle is for bookworm, this system is trixie"),
    ],
)
def test_a_bundle_for_another_device_is_refused(
    device: Device, tmp_path: Path, key: Path, suite: str, arch: str, cause: str, words: str
) -> None:
    device.load("first install")
    bundle = small_bundle(tmp_path, key, pip_wheel(device.root), "2.0", suite=suite, arch=arch)
    shutil.copy(bundle, device.root / "files" / "foreign.tar")
    refused(device, "foreign.tar", cause, words)


def test_a_python_that_is_not_the_systems_is_refused(device: Device) -> None:
    device.load("update")
    python = '#!/bin/sh\ncase "$*" in *version_info*) echo 3.12 ;; *) exec /usr/bin/python3 "$@" ;; esac\n'
    before = f"mkdir /tmp/bin; printf %s {shlex.quote(python)} >/tmp/bin/python3; chmod +x /tmp/bin/python3; "
    refused(
        device, "new", "device-tools", "for Python 3.13, python3 here is 3.12", before=before + "PATH=/tmp/bin:$PATH"
    )


def test_a_disk_that_is_too_small_is_refused_with_numbers(device: Device) -> None:
    device.load("first install")
    small = "mount -t tmpfs -o size=8M tmpfs /opt"
    refused(device, "new", "device-space-short", "/opt has 8 MiB free, 23 are needed", before=small)


def test_a_disk_that_fills_up_leaves_nothing_half(device: Device) -> None:
    device.load("first install")
    done = device.install(
        "new", before="mount -t tmpfs -o nr_inodes=40 tmpfs /opt; trap 'ls /opt/cuelens/releases' EXIT"
    )
    assert (cause_of(done), "pip could not install the packages: the disk is full" in done.stderr) == (
        "device-space-short",
        True,
    ), done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize(
    ("before", "words"),
    [
        ("mount --bind /opt /opt; mount -o remount,bind,ro /opt", "the root file system is read-only"),
        (
            """cd /tmp; mkdir low up work; mount -t overlay -o lowerdir=low,upperdir=up,workdir=work none /opt
            echo root=/dev/mmcblk0p2 overlayroot=tmpfs >line; mount --bind line /proc/cmdline""",
            "the root file system is an overlay",
        ),
    ],
)
def test_a_root_that_keeps_nothing_is_refused(device: Device, before: str, words: str) -> None:
    device.load("first install")
    refused(device, "new", "device-read-only", words, before=before)


def test_a_release_that_does_not_run_is_not_installed(device: Device) -> None:
    device.load("update")
    done = device.install("broken")
    assert (cause_of(done), "a broken build" in done.stderr) == ("installation-failed", True), done.stderr
    assert device.releases() == ["1.0"]
    assert device.boot() == "1.0"


def test_it_installs_on_a_clock_in_1970(device: Device) -> None:
    """A Raspberry Pi has no clock: until a network gives it the time it may be any, also one that no zip file has."""
    library = next(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"), None)
    if library is None:
        pytest.skip("no libfaketime on this system; .ci/run installs it")
    device.load("first install")
    shutil.copy(library, device.root / "files")
    (device.root / "etc/faketimerc").write_text("@1970-01-01 00:00:20\n")
    clock = (
        "echo /files/libfaketime.so.1 >/etc/ld.so.preload; date +%Y; python3 -c 'import time; print(time.gmtime()[0])'"
    )
    done = device.install("new", before=clock)
    assert (done.returncode, done.stdout) == (0, "1970\n1970\n"), done.stderr
    assert device.boot() == "2.0"


def test_three_releases_are_kept(device: Device, tmp_path: Path, key: Path) -> None:
    device.load("first install")
    for number in range(1, 5):
        bundle = small_bundle(tmp_path, key, pip_wheel(device.root), f"{number}.0")
        shutil.copy(bundle, device.root / "files" / "next.tar")
        done = device.install("next.tar")
        assert done.returncode == 0, done.stderr
        assert enter(device.root, "bash", "/files/install.sh", "mark-good").returncode == 0
    assert device.releases() == ["2.0", "3.0", "4.0"]
    status = enter(device.root, "bash", "/files/install.sh", "status").stdout
    assert status == "4.0 current, good\n3.0 previous\n2.0 \n"


def test_the_second_time_it_changes_nothing(device: Device) -> None:
    device.load("update")
    files = device.files()
    done = device.install("old")
    assert (done.returncode, device.files()) == (0, files), done.stderr


def test_the_makers_settings_stay(device: Device) -> None:
    device.load("update")
    settings = device.root / "etc/cuelens/cuelens.toml"
    assert load_settings(settings) == Settings()
    settings.write_text("threads = 2\n")
    assert device.install("new").returncode == 0
    assert settings.read_text() == "threads = 2\n"


@pytest.mark.parametrize(
    ("settings", "lines"),
    [
        ('sinks = ["terminal"]', ["SupplementaryGroups=video render"]),
        ('sinks = ["web"]', ["SupplementaryGroups=video render", "RestrictAddressFamilies=AF_INET AF_INET6"]),
        (
            'source = "file:rtsp://camera/1"',
            ["SupplementaryGroups=video render", "RestrictAddressFamilies=AF_INET AF_INET6"],
        ),
        (
            'sinks = ["audio:hw:0"]',
            ["SupplementaryGroups=video render", "SupplementaryGroups=audio", "DeviceAllow=char-alsa rw"],
        ),
        (
            'sinks = ["terminal", "glasses:halo"]',
            ["SupplementaryGroups=video render", "SupplementaryGroups=bluetooth"],
        ),
        ("sinks = 3", ["SupplementaryGroups=video render"]),
        ("sinks", ["SupplementaryGroups=video render"]),
    ],
)
def test_the_service_reaches_what_its_settings_need_and_no_more(
    device: Device, settings: str, lines: list[str]
) -> None:
    device.load("update")
    (device.root / "etc/cuelens/cuelens.toml").write_text(settings)
    if "SupplementaryGroups=bluetooth" in lines:  # of the package bluez
        with (device.root / "etc/group").open("a") as groups:
            groups.write("bluetooth:x:912:\n")
    assert enter(device.root, "bash", "/files/install.sh", "apply").returncode == 0
    safe = [line for line in lines if "INET" not in line]
    for unit, expected in (("cuelens", [*safe, "RestartMode=direct", *lines[len(safe) :]]), ("cuelens-safe", safe)):
        drop_in = (device.root / f"etc/systemd/system/{unit}.service.d/device.conf").read_text().splitlines()
        assert drop_in[1:] == ["[Service]", *expected]


def test_a_systemd_without_direct_restart_gets_no_such_line(device: Device) -> None:
    device.load("update")
    release = device.root / "etc/os-release"
    text = release.read_text()
    release.unlink()  # a link out of what load() restores
    release.write_text(text.replace("=trixie", "=bookworm"))
    assert enter(device.root, "bash", "/files/install.sh", "apply").returncode == 0
    drop_in = (device.root / "etc/systemd/system/cuelens.service.d/device.conf").read_text()
    assert "Supplementary" in drop_in
    assert "Restart" not in drop_in


@pytest.mark.parametrize("words", [[], ["--all"]])
def test_removed_it_leaves_nothing(device: Device, words: list[str]) -> None:
    device.load("first install")
    files = device.files()
    device.load("trial")
    done = enter(device.root, "bash", "/files/install.sh", "remove", *words)
    assert done.returncode == 0, done.stderr
    left = device.files().keys() - files.keys()
    settings = {"etc/cuelens", "etc/cuelens/allowed_signers", "etc/cuelens/cuelens.toml"}
    assert left == (set() if words else settings)
    assert files.keys() - device.files().keys() == {"opt/cuelens"}  # made by this test's device


def test_the_user_that_glasses_need_lasts_until_all_is_removed(device: Device) -> None:
    device.load("update")
    (device.root / "etc/cuelens/cuelens.toml").write_text('sinks = ["glasses:halo"]')
    with (device.root / "etc/group").open("a") as groups:  # of the package bluez
        groups.write("bluetooth:x:912:\n")
    before = (device.root / "etc/passwd").read_text()
    assert enter(device.root, "bash", "/files/install.sh", "apply").returncode == 0
    after = (device.root / "etc/passwd").read_text()
    assert after.startswith(before)
    assert after.removeprefix(before).startswith("cuelens:")
    done = enter(device.root, "bash", "/files/install.sh", "remove")
    assert done.returncode == 0, done.stderr
    assert (device.root / "etc/passwd").read_text() == before
    assert not (device.root / "etc/sysusers.d/cuelens.conf").exists()


def test_cuelens_on_the_path_is_the_release_that_starts(device: Device) -> None:
    for saved, command, version in (
        ("update", "mark-good", "1.0"),
        ("trial", "mark-good", "2.0"),
        ("trial", "rollback", "1.0"),
    ):
        device.load(saved)
        assert enter(device.root, "bash", "/files/install.sh", command).returncode == 0
        done = enter(device.root, "sh", "-c", "PATH=/usr/local/bin:/usr/bin:/bin cuelens --version")
        assert (done.returncode, done.stdout) == (0, f"cuelens {version}\n"), done.stderr


def test_another_program_of_that_name_stays(device: Device) -> None:
    for make in ("echo mine >$0", "ln -s /home/me/cuelens $0"):
        device.load("first install")
        assert enter(device.root, "sh", "-c", make, "/usr/local/bin/cuelens").returncode == 0
        before = device.files()["usr/local/bin/cuelens"]
        done = device.install("old")
        assert (done.returncode, "/usr/local/bin/cuelens is another program and stays" in done.stderr) == (0, True)
        assert device.boot() == "1.0"
        assert enter(device.root, "bash", "/files/install.sh", "remove", "--all").returncode == 0
        assert device.files()["usr/local/bin/cuelens"] == before


def test_a_release_on_trial_can_be_called_good_or_taken_back_by_hand(device: Device) -> None:
    for command, version, code in (("mark-good", "2.0", 0), ("rollback", "1.0", 0)):
        device.load("trial")
        assert enter(device.root, "bash", "/files/install.sh", command).returncode == code
        assert [device.boot() for _ in range(2)] == [version, version]
    done = enter(device.root, "bash", "/files/install.sh", "rollback")
    assert (cause_of(done), "no release before 1.0" in done.stderr) == ("release-failed", True)


def test_where_nothing_is_installed_that_is_reported(device: Device) -> None:
    device.load("first install")
    for command in ("rollback", "prove", "apply", "mark-good"):
        done = enter(device.root, "bash", "/files/install.sh", command)
        assert (cause_of(done), "no release is installed here" in done.stderr) == ("release-failed", True), done.stderr
    assert enter(device.root, "bash", "/files/install.sh", "status").stdout == "no release is installed\n"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["fly"], "unknown command 'fly'"),
        (["install"], "install needs a BUNDLE"),
        (["install", "a", "b"], "two bundles"),
        (["install", "a", "--now"], "install takes no option '--now'"),
        (["install", "a", "--deadline", "soon"], "--deadline is 'soon'"),
        (["install", "a", "--settings", "/nowhere"], "--settings /nowhere: no file"),
        (["remove", "--some"], "remove takes no option '--some'; valid: --all"),
    ],
)
def test_a_wrong_command_line_is_named(words: list[str], said: str) -> None:
    done = run("bash", "-s", *words, given=packed_installer().decode())
    assert (cause_of(done), said in done.stderr) == ("command-line", True), done.stderr


def test_not_root_is_reported() -> None:
    done = run("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "bash", given=packed_installer().decode())
    assert done.returncode == 0, done.stderr  # the help
    done = run(
        "setpriv",
        "--reuid=65534",
        "--regid=65534",
        "--clear-groups",
        "bash",
        "-s",
        "rollback",
        given=packed_installer().decode(),
    )
    assert (cause_of(done), "rollback needs root; start it with sudo" in done.stderr) == ("root-needed", True), (
        done.stderr
    )
