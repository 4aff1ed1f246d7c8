"""The installer's parts without root: on a device that is a folder, with a clock and a systemd of the test's."""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from deploy import device, verify
from deploy.bundle import packed_installer
from deploy.device import build, install, programs, releases, service, system, trial, units, user
from deploy.device.__main__ import main
from deploy.device.needs import Reach, needs
from deploy.device.options import Options, read_options
from deploy.device.stated import STATED
from deploy.failure import Failure
from tests.deploy.machines import make_key, run
from tests.support.failures import cause_of

pytestmark = pytest.mark.once

MODULES = sorted(path.stem for path in Path(device.__file__).parent.glob("*.py"))


class Place:
    """A device that is a folder."""

    def __init__(self, root: Path) -> None:
        self.root, self.base = root, root / "opt/cuelens"
        (root / "etc").mkdir(parents=True)
        (root / "etc/os-release").write_text('PRETTY_NAME="Debian 13"\nVERSION_CODENAME=trixie\n')
        (root / "etc/group").write_text("video:x:44:\naudio:x:29:\nbluetooth:x:30:\n")

    def release(self, version: str, number: int = 0) -> Path:
        """A release, whole where it has a number."""
        folder = self.base / "releases" / version
        folder.mkdir(parents=True)
        if number:
            (folder / "whole").write_text(f"{number}\n")
        return folder

    def links(self) -> dict[str, str]:
        """The links that are there, and the versions that they name."""
        return {link: version for link in releases.LINKS if (version := releases.version_of(link))}

    def versions(self) -> list[str]:
        """The releases there, whole or not."""
        return sorted(path.name for path in self.base.glob("releases/*"))


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    monkeypatch.setenv("CUELENS_ROOT", str(tmp_path / "device"))
    return Place(tmp_path / "device")


# The one file that a device gets


def packed(folder: Path) -> Path:
    path = folder / "install.sh"
    path.write_bytes(packed_installer())
    return path


def test_the_one_file_has_every_module_and_says_what_the_checkout_says(tmp_path: Path, place: Place) -> None:
    text = packed_installer().decode()
    assert {f"deploy/device/{name}.py" for name in MODULES} < set(re.findall(r"^#==> (.*)$", text, re.MULTILINE))
    there = {"PATH": os.environ["PATH"], "CUELENS_ROOT": str(place.root)}
    from_file = run("bash", packed(tmp_path), "facts", **there)
    from_pipe = run("bash", "-s", "facts", given=text, **there)
    found = dict(line.split("=", 1) for line in from_file.stdout.splitlines())
    assert from_file.returncode == from_pipe.returncode == 0, from_file.stderr + from_pipe.stderr
    assert found.pop("free_kib").isdecimal()
    assert found["suite"] == "trixie"
    assert [line.split("=")[0] for line in from_pipe.stdout.splitlines()] == [
        *("system", "suite", "arch", "board", "python", "free_kib", "file_system", "systemd", "groups", "cameras"),
        *("picamera2", "rsync", "signers", "current", "good", "previous"),
    ]


def test_from_a_file_on_standard_input_it_reads_the_rest_of_it(tmp_path: Path, place: Place) -> None:
    words = ("bash", "-c", f"bash -s status <{packed(tmp_path)}")
    done = run(*words, PATH=os.environ["PATH"], CUELENS_ROOT=str(place.root))
    assert (done.returncode, done.stdout) == (0, "no release is installed\n"), done.stderr


def test_it_imports_nothing_of_the_folder_it_is_started_in_or_of_the_users(tmp_path: Path, place: Place) -> None:
    for name in ("tarfile", "deploy", "json"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('another program')")
    words = ("bash", "-c", 'cd "$0" && bash -s status', tmp_path)
    paths = {"PYTHONPATH": str(tmp_path), "PYTHONSTARTUP": str(tmp_path / "json.py")}
    given = packed_installer().decode()
    done = run(*words, given=given, PATH=os.environ["PATH"], CUELENS_ROOT=str(place.root), **paths)
    assert (done.returncode, done.stdout) == (0, "no release is installed\n"), done.stderr


@pytest.mark.parametrize(("version", "words"), [("", "no python3 on this system"), ("3.9", "python3 here is 3.9")])
def test_without_a_python_from_3_11_on_it_is_reported_and_push_gets_the_facts_that_it_names(
    version: str, words: str, tmp_path: Path, place: Place
) -> None:
    tools = tmp_path / "tools"
    tools.mkdir()
    for tool in ("bash", "sed", "tr", "uname", "df", "tail"):
        (tools / tool).symlink_to(shutil.which(tool) or "")
    if version:
        (tools / "python3").write_text(f"#!{tools}/bash\ncase $3 in *exit*) exit 1 ;; esac\necho {version}\n")
        (tools / "python3").chmod(0o755)
    there = {"PATH": str(tools), "CUELENS_ROOT": str(place.root)}
    done = run(tools / "bash", packed(tmp_path), "status", **there)
    assert (cause_of(done), words in done.stderr) == ("device-tools", True), done.stderr
    facts = run(tools / "bash", packed(tmp_path), "facts", **there)
    found = dict(line.split("=", 1) for line in facts.stdout.splitlines())
    assert facts.returncode == 0, facts.stderr
    assert (found["system"], found["suite"], found["python"]) == ("Debian 13", "trixie", version)
    assert int(found["free_kib"]) > 0
    assert found["arch"] == os.uname().machine


def test_what_a_boot_waits_for_imports_nothing_that_reads_bundles(tmp_path: Path, place: Place) -> None:
    (place.base / "releases").mkdir(parents=True)
    text = packed_installer().decode().replace("    return 0\n", "    print(*sys.modules)\n    return 0\n")
    done = run("bash", "-s", "settle", given=text, PATH=os.environ["PATH"], CUELENS_ROOT=str(place.root))
    assert done.returncode == 0, done.stderr
    bare = run("python3", "-I", "-c", "import sys; print(*sys.modules)", PATH=os.environ["PATH"])
    found = set(done.stdout.split()) - set(bare.stdout.split())
    assert "deploy.device.trial" in found
    assert not {"deploy.device.install", "deploy.verify", "tarfile", "zipfile", "hashlib", "tempfile"} & found


def test_it_needs_the_standard_library_alone() -> None:
    text = packed_installer().decode()
    roots = set(re.findall(r"^(?:from|import) (\w+)", text, re.MULTILINE))
    assert roots - {"deploy", "edge", "__future__"} <= set(os.sys.stdlib_module_names)
    ours = set(re.findall(r"^from ((?:deploy|edge)[\w.]*) import", text, re.MULTILINE))
    shared = {"deploy.failure", "deploy.tools", "deploy.verify", "deploy.device"}
    shared |= {"edge.system.addresses", "edge.system.encodings"}
    assert ours <= shared | {f"deploy.device.{name}" for name in MODULES}


# The releases


def test_a_file_is_replaced_whole_and_nothing_is_left_beside_it(place: Place) -> None:
    path = place.root / "etc/cuelens/some"
    for content in (b"old", b"new"):
        releases.replace(path, content)
        assert (path.read_bytes(), [each.name for each in path.parent.iterdir()]) == (content, ["some"])


def test_a_link_changes_over_what_a_killed_installer_left(place: Place) -> None:
    place.release("1.0", 1)
    (place.base / "current.new").symlink_to("elsewhere")
    releases.set_link("current", "1.0")
    assert place.links() == {"current": "1.0"}
    assert sorted(path.name for path in place.base.iterdir()) == ["current", "releases"]


def test_of_the_releases_the_newest_and_the_named_stay(place: Place) -> None:
    for number in (2, 10, 1, 3):  # by number, not by name or time
        place.release(f"{number}.0", number)
    releases.set_link("current", "1.0")
    assert [version for _, version in releases.whole_releases()] == ["10.0", "3.0", "2.0", "1.0"]
    releases.remove_old(1)
    assert place.versions() == ["1.0", "10.0"]


def test_what_is_half_goes_unless_a_link_names_it(place: Place) -> None:
    for version, number in (("1.0", 1), ("2.0", 0), ("3.0", 0)):
        place.release(version, number)
    releases.set_link("current", "3.0")
    (place.base / "good.new").symlink_to("releases/1.0")
    releases.remove_half()
    assert place.versions() == ["1.0", "3.0"]
    assert not list(place.base.glob("*.new"))


# Boot settling, and a release on trial


@pytest.mark.parametrize(
    ("whole", "links", "tried", "after", "now_tried"),
    [
        ("1", {"current": "1"}, "", {"current": "1", "good": "1"}, ""),
        ("12", {"current": "1", "good": "1"}, "1", {"current": "1", "good": "1"}, ""),
        ("12", {"current": "2", "good": "1"}, "", {"current": "2", "good": "1"}, "2"),
        ("12", {"current": "2", "good": "1"}, "2", {"current": "1", "good": "1"}, ""),
        ("12", {"current": "2", "good": "1"}, "0", {"current": "2", "good": "1"}, "2"),
        ("1", {"current": "2", "good": "1"}, "", {"current": "1", "good": "1"}, ""),
        ("1", {"current": "3", "good": "2", "previous": "1"}, "", {"current": "1", "good": "1", "previous": "2"}, ""),
        ("1", {"good": "1"}, "", {"current": "1", "good": "1"}, ""),
        ("12", {}, "", {"current": "2", "good": "2"}, ""),
        ("", {"current": "1"}, "", {"current": "1"}, ""),
    ],
)
def test_settled_at_boot_a_whole_release_starts_and_one_on_trial_has_one_boot(
    whole: str, links: dict[str, str], tried: str, after: dict[str, str], now_tried: str, place: Place
) -> None:
    (place.base / "releases").mkdir(parents=True)
    for version in whole:
        place.release(version, int(version))
    for link, version in links.items():
        releases.set_link(link, version)
    if tried:
        (place.base / "tried").write_text(f"{tried}\n")
    trial.settle()
    assert place.links() == after
    assert system.read(place.base / "tried") == now_tried
    assert (place.base / "failed").exists() == (tried == links.get("current") != links.get("good"))


def test_settings_come_back_with_the_release_that_had_them(place: Place) -> None:
    for number in (1, 2):
        place.release(f"{number}.0", number)
    for link, version in (("good", "1.0"), ("current", "1.0")):
        releases.set_link(link, version)
    settings, given = place.root / units.SETTINGS[1:], place.root / "given.toml"
    releases.replace(settings, b"threads = 1\n")
    given.write_text("threads = 2\n")
    assert install.put_settings("2.0", given)
    install.flip("2.0")
    trial.take_back()
    assert settings.read_text() == "threads = 2\n", "on trial they stay"
    trial.go_back("of a test")
    assert (settings.read_text(), place.links()["current"]) == ("threads = 1\n", "1.0")
    assert system.read(place.base / "failed") == "2.0 of a test"
    assert not list(place.base.glob("before-*"))
    assert not install.put_settings("1.0", settings), "the same again are no change"


def test_known_keys_come_back_with_the_release_that_they_signed(place: Place) -> None:
    for number in (1, 2, 3):
        place.release(f"{number}.0", number)
        (releases.release(f"{number}.0") / "allowed_signers").write_text(f"key {number}\n")
    signers = place.root / units.SIGNERS[1:]
    install.put_signers("1.0")
    install.flip("1.0")
    assert signers.read_text() == "key 1\n"
    install.put_signers("2.0")
    trial.settle()
    assert signers.read_text() == "key 1\n", "killed before it was the release that starts"
    install.put_signers("2.0")
    install.flip("2.0")
    trial.take_back()
    assert signers.read_text() == "key 2\n", "on trial they stay"
    trial.go_back("of a test")
    assert (signers.read_text(), place.links()["current"]) == ("key 1\n", "1.0")
    install.put_signers("3.0")
    install.flip("3.0")
    trial.mark_good()
    assert signers.read_text() == "key 3\n"
    assert not list(place.base.glob("signers-*"))


@pytest.mark.parametrize(("third", "good"), [("key 2", True), ("key 3", True), ("key 3", False)])
def test_a_release_that_comes_while_another_is_on_trial_begins_from_the_good_ones_keys_and_settings(
    place: Place, third: str, good: bool
) -> None:
    signers, settings, given = (
        place.root / units.SIGNERS[1:],
        place.root / units.SETTINGS[1:],
        place.root / "given.toml",
    )
    releases.replace(settings, b"threads = 1\n")
    for number, key in enumerate(("key 1", "key 2", third), 1):
        place.release(f"{number}.0", number)
        (releases.release(f"{number}.0") / "allowed_signers").write_text(f"{key}\n")
        given.write_text(f"threads = {number}\n")
        trial.end_trial()
        install.put_settings(f"{number}.0", given)
        install.put_signers(f"{number}.0")
        install.flip(f"{number}.0")
    if good:
        trial.mark_good()
    else:
        trial.go_back("of a test")
    after = ("key 1\n", "threads = 1\n", "1.0") if not good else (f"{third}\n", "threads = 3\n", "3.0")
    assert (signers.read_text(), settings.read_text(), place.links()["current"]) == after
    assert not [*place.base.glob("signers-*"), *place.base.glob("before-*")]


def test_seen_working_it_is_good_and_the_former_one_is_the_previous(place: Place) -> None:
    for number in (1, 2):
        place.release(f"{number}.0", number)
    releases.set_link("good", "1.0")
    releases.set_link("current", "2.0")
    for name in ("failed", "tried"):
        (place.base / name).write_text("2.0\n")
    trial.mark_good()
    assert place.links() == {"current": "2.0", "good": "2.0", "previous": "1.0"}
    assert not {"failed", "tried"} & {path.name for path in place.base.iterdir()}


GOOD = {"version": "2.0", "frames": 3, "inferences": 1, "watchdog": 2}


@pytest.mark.parametrize(
    ("status", "missing"),
    [
        (GOOD, ""),
        (GOOD | {"version": "1.0"}, "1.0 answers in its place"),
        (GOOD | {"frames": 0}, "no frame yet"),
        (GOOD | {"frames": 0, "inferences": 0}, "no frame and no inference yet"),
        (GOOD | {"frames": 0, "paused": True}, ""),
        (GOOD | {"watchdog": 0, "paused": True}, "no word to the watchdog yet"),
        ({"version": "2.0"}, "no frame and no inference and no word to the watchdog yet"),
        ([], "it does not answer ('list' object has no attribute 'get')"),
    ],
)
def test_a_release_works_once_it_saw_frames_read_one_and_fed_the_watchdog(status: object, missing: str) -> None:
    assert service.judge("2.0", json.dumps(status)) == missing
    assert service.judge("2.0", "no JSON").startswith("it does not answer (")


class Systemd:
    """Answers for systemctl, cuelens and journalctl, and counts the time that the installer waits."""

    def __init__(self) -> None:
        self.now, self.restarts, self.state = 0.0, 0, "active"
        self.works_at: dict[str, float] = {}  # by version, in seconds
        self.asked: list[str] = []
        self.clock = service.Clock(lambda: self.now, self._sleep)

    def _sleep(self, seconds: float) -> None:
        self.now += seconds

    def ask(self, *words: str | Path) -> tuple[int, str]:
        match [str(word) for word in words]:
            case ["systemctl", "is-active", _]:
                return 0, f"{self.state}\n"
            case ["systemctl", "show", *_]:
                return 0, f"{self.restarts}\n"
            case [*line]:
                self.asked.append(" ".join(line))
        return 0, "the last words\n"

    def ask_apart(self, program: Path, *words: str) -> tuple[int, str, str]:
        assert words == ("status", "--json")
        version = program.parents[2].resolve().name
        frames = int(self.now >= self.works_at.get(version, float("inf")))
        return 0, json.dumps(GOOD | {"version": version, "frames": frames}), "cuelens: a warning\n"


@pytest.fixture
def systemd(place: Place, monkeypatch: pytest.MonkeyPatch) -> Systemd:
    """... on a device with release 2.0 on trial, and 1.0 good."""
    systemd = Systemd()
    monkeypatch.setattr(service, "ask", systemd.ask)
    monkeypatch.setattr(service, "ask_apart", systemd.ask_apart)
    monkeypatch.setattr(trial, "lock", lambda: None)  # which a process holds to its end
    (place.root / "run/systemd/system").mkdir(parents=True)
    for number in (1, 2):
        place.release(f"{number}.0", number)
    releases.set_link("good", "1.0")
    releases.set_link("current", "2.0")
    return systemd


def test_a_release_that_works_in_time_is_good(place: Place, systemd: Systemd) -> None:
    systemd.works_at = {"2.0": 89.9}
    trial.try_current(90, systemd.clock)
    assert place.links() == {"current": "2.0", "good": "2.0", "previous": "1.0"}
    assert not systemd.asked, "nothing is started again"


@pytest.mark.parametrize(
    ("state", "restarts", "why", "waited"),
    [("active", 0, "no frame yet", 90), ("failed", 0, "it is failed", 0), ("active", 3, "it died 3 times", 0)],
)
def test_a_release_that_does_not_goes_back_after_the_deadline_or_once_it_keeps_dying(
    state: str,
    restarts: int,
    why: str,
    waited: float,
    place: Place,
    systemd: Systemd,
    capsys: pytest.CaptureFixture[str],
) -> None:
    systemd.state, systemd.restarts, systemd.works_at = state, restarts, {"1.0": 0}
    with pytest.raises(Failure) as caught:
        trial.try_current(90, systemd.clock)
    assert (caught.value.cause, str(caught.value)) == ("release-failed", f"2.0 does not work: {why}")
    assert place.links() == {"current": "1.0", "good": "1.0"}
    assert systemd.now == waited
    said = capsys.readouterr().err
    assert f"2.0 was taken back: {why}; 1.0 is the release again" in said
    assert "  the last words\n" in said
    assert "systemctl start --no-block cuelens.service" in systemd.asked
    assert ("1.0 does not work either" in said) == (state == "failed")


def test_the_only_release_is_kept_though_it_does_not_work(place: Place, systemd: Systemd) -> None:
    releases.set_link("good", "2.0")
    with pytest.raises(Failure, match=r"2\.0 is installed but does not work: no frame yet; the service goes on"):
        trial.try_current(90, systemd.clock)
    assert place.links() == {"current": "2.0", "good": "2.0"}


def test_rolled_back_by_hand_it_goes_to_the_good_one_then_to_the_one_before(place: Place, systemd: Systemd) -> None:
    systemd.works_at = {"1.0": 0, "2.0": 0}
    trial.roll_back(90, systemd.clock)
    assert place.links() == {"current": "1.0", "good": "1.0"}
    with pytest.raises(Failure, match=r"no release before 1\.0"):
        trial.roll_back(90, systemd.clock)
    releases.set_link("previous", "2.0")
    trial.roll_back(90, systemd.clock)
    assert place.links() == {"current": "2.0", "good": "2.0", "previous": "1.0"}


# What the service reaches


NETWORK = Reach(network=True)
AUDIO = Reach(("audio",), ("char-alsa rw",), safe_mode=True)
GLASSES = Reach(("bluetooth",), safe_mode=True)
CAMERA = Reach(("video",))


@pytest.mark.parametrize(
    ("content", "needed"),
    [
        (b'sinks = ["terminal"]', [CAMERA]),
        (b'source = "demo"\nsinks = ["web:8000", "log"]', [NETWORK]),
        (b'source = "demo"\nsinks = ["mqtt", "web", "nobody"]', [NETWORK, NETWORK]),
        (b'source = "file:rtsp://camera/1"', [NETWORK]),
        (b'source = "file:film.mp4"', []),
        (b'source = "demo"\nsinks = ["audio:hw:0", "glasses:halo"]', [AUDIO, GLASSES]),
        (b'\xef\xbb\xbfsinks = ["audio"]', [CAMERA, AUDIO]),
        ('sinks = ["audio"]'.encode("utf-16"), [CAMERA, AUDIO]),
        ('sinks = ["audio"]'.encode("utf-16-le"), [CAMERA, AUDIO]),
        (b'source = "demo"\nsinks = 3', []),
        (b'source = 3\nsinks = ["web", 3]', [CAMERA]),
        (b'sinks = ["web"]\nsinks', [CAMERA]),
        (None, [CAMERA]),
    ],
)
def test_a_settings_file_states_what_the_service_needs(
    content: bytes | None, needed: list[Reach], tmp_path: Path
) -> None:
    if content is not None:
        (tmp_path / "cuelens.toml").write_bytes(content)
    assert needs(tmp_path / "cuelens.toml", STATED) == needed


def test_the_service_gets_what_is_needed_and_safe_mode_no_network_and_what_shows_there_alone(place: Place) -> None:
    unseen = Reach(("video", "bluetooth"), ("/dev/unseen rw",))
    main, safe = (text.splitlines()[1:] for text in units.drop_ins([CAMERA, NETWORK, AUDIO, GLASSES, AUDIO, unseen]))
    common = ["[Service]", "SupplementaryGroups=video", "SupplementaryGroups=audio", "DeviceAllow=char-alsa rw"]
    assert safe == [*common, "SupplementaryGroups=bluetooth"]
    online = ["RestartMode=direct", "RestrictAddressFamilies=AF_INET AF_INET6"]
    assert main == [*safe, "DeviceAllow=/dev/unseen rw", *online]
    assert units.write_drop_ins()
    assert not units.write_drop_ins(), "a second time nothing changes"


def test_a_group_that_the_system_lacks_is_not_named(place: Place) -> None:
    (place.root / "etc/group").write_text("video:x:44:\n")
    for text in units.drop_ins([AUDIO, GLASSES]):
        assert [line for line in text.splitlines() if line.startswith("Supp")] == ["SupplementaryGroups=video"]


@pytest.mark.skipif(shutil.which("systemd-sysusers") is None, reason="no systemd-sysusers here; .ci/run installs it")
def test_only_for_what_the_d_bus_reaches_the_user_lasts(place: Place) -> None:
    assert not user.keep_user([CAMERA, NETWORK, AUDIO])
    assert not (place.root / "etc/passwd").exists()
    assert user.keep_user([CAMERA, GLASSES])
    made = (place.root / "etc/passwd").read_text()
    assert [line.split(":")[0] for line in made.splitlines()] == ["cuelens"]
    assert not user.keep_user([GLASSES]), "a second time nothing changes"
    assert (place.root / "etc/passwd").read_text() == made


def test_a_user_that_cannot_be_made_is_reported(
    place: Place, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(user, "ask", lambda *_: (127, "systemd-sysusers: No such file or directory"))
    assert not user.keep_user([GLASSES])
    assert "no lasting user cuelens could be made" in capsys.readouterr().err


def test_a_user_that_userdel_does_not_remove_is_named_and_removed_the_next_time(
    place: Place, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file, users = place.root / user.FILE[1:], place.root / "etc/passwd"
    releases.replace(file, user.TEXT)
    users.write_text("cuelens:x:999:999::/:/usr/sbin/nologin\n")
    monkeypatch.setattr(user, "ask", lambda *_: (8, "userdel: user cuelens is currently used by process 7"))
    user.remove_user()
    assert "sudo userdel cuelens removes it" in capsys.readouterr().err
    assert file.exists()
    monkeypatch.setattr(user, "ask", lambda *_: (0, ""))
    user.remove_user()
    assert not file.exists()


def test_without_bluetooth_no_user_is_made(place: Place) -> None:
    (place.root / "etc/group").write_text("video:x:44:\n")
    assert not user.keep_user([GLASSES])
    assert not (place.root / "etc/passwd").exists()


# The bundle


@pytest.fixture
def sealed(tmp_path: Path, key: Path) -> Callable[[dict[str, bytes]], Path]:
    """Make a well signed bundle of these very files."""

    def seal(files: dict[str, bytes], key: Path = key) -> Path:
        inner = tmp_path / "payload.tar"
        inner.write_bytes(tar_of(files))
        signature = tmp_path / "payload.tar.sig"
        signature.unlink(missing_ok=True)
        run("ssh-keygen", "-q", "-Y", "sign", "-f", key, "-n", verify.NAMESPACE, inner)
        path = tmp_path / "bundle.tar"
        path.write_bytes(tar_of({"payload.tar.sig": signature.read_bytes(), "payload.tar": inner.read_bytes()}))
        return path

    return seal


def tar_of(files: dict[str, bytes]) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return file.getvalue()


def test_nothing_of_a_payload_is_read_before_its_signature_was_good(
    sealed: Callable[..., Path],
    signers: Path,
    place: Place,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Neither parsed as a tar nor unpacked: by the order of the calls, and by a payload that would break them."""
    opened = []
    real = install.open_payload
    monkeypatch.setattr(install, "open_payload", lambda payload: opened.append(payload) or real(payload))
    other = sealed({"VERSION": b"x"}, make_key(tmp_path / "other"))
    options = Options(str(other), str(signers))
    with pytest.raises(Failure, match="signed by a key that is not in") as caught, install.verified(options):
        pass
    assert (caught.value.cause, opened) == ("signer-unknown", [])
    damaged = bytearray(other.read_bytes())
    damaged[-11000] ^= 1
    other.write_bytes(damaged)
    with pytest.raises(Failure, match="not as it was signed") as caught, install.verified(options):
        pass
    assert (caught.value.cause, opened) == ("bundle-damaged", [])
    assert "reading the bundle" not in capsys.readouterr().err
    assert not place.base.exists()
    with install.verified(Options(str(sealed({"VERSION": b"x"})), str(signers))) as archive:
        assert (archive.getnames(), len(opened)) == (["VERSION"], 1)


@pytest.mark.parametrize("name", ["/etc/passwd", "../../outside", "a/../../outside"])
def test_a_name_that_leads_elsewhere_is_not_unpacked(name: str, tmp_path: Path, place: Place) -> None:
    folder = tmp_path / "release"
    folder.mkdir()
    with tarfile.open(fileobj=io.BytesIO(tar_of({name: b"x"}))) as archive, pytest.raises(Failure) as caught:
        build.unpack(archive, folder)
    assert caught.value.cause == "installation-failed"
    assert (list(folder.iterdir()), (tmp_path / "outside").exists()) == ([], False)


def test_what_lies_on_the_disk_is_held_to_the_list_of_files(tmp_path: Path, place: Place) -> None:
    digest = verify.digest_of(io.BytesIO(b"x"))
    files = {"a": b"x", "wheels/b": b"x", "SHA256SUMS": f"{digest}  a\n{digest}  wheels/b\n".encode()}

    def unpacked() -> Path:
        folder = tmp_path / "release"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        with tarfile.open(fileobj=io.BytesIO(tar_of(files))) as archive:
            build.unpack(archive, folder)
        return folder

    build.check_files(unpacked())
    for name, content in (("a", b"y"), ("wheels/b", b""), ("another", b"x")):
        folder = unpacked()
        (folder / name).write_bytes(content)
        with pytest.raises(Failure, match="what was unpacked is not what was packed"):
            build.check_files(folder)


def test_with_the_systems_picamera_the_bundles_numpy_is_left_out() -> None:
    text = "luma==1 --hash=sha256:a\nnumpy==2.0 \\\n    --hash=sha256:b\nnumpy-more==1 --hash=sha256:c\n"
    assert build.NUMPY.sub("", text) == "luma==1 --hash=sha256:a\nnumpy-more==1 --hash=sha256:c\n"


# The command line


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["fly"], "unknown command 'fly'"),
        (["install"], "install needs a BUNDLE"),
        (["install", "a", "b"], "two bundles, 'a' and 'b'"),
        (["install", "a", "--now"], "install takes no option '--now'; valid: a bundle, --signers, --settings, "),
        (["apply", "--no-start"], "apply takes no option '--no-start'; valid: --settings, --deadline"),
        (["apply", "a.tar"], "apply takes no bundle or word 'a.tar'; valid: --settings, --deadline"),
        (["rollback", "--settings", "a"], "rollback takes no option '--settings'; valid: --deadline"),
        (["mark-good", "2.0"], "mark-good takes no bundle or word '2.0'; valid: none"),
        (["settle", "--all"], "settle takes no option '--all'; valid: none"),
        (["status", "--json"], "status takes no option '--json'; valid: none"),
        (["facts", "all"], "facts takes no bundle or word 'all'; valid: none"),
        (["install", "a", "--signers"], "--signers needs a value"),
        (["install", "a", "--deadline", "0"], "--deadline is '0'"),
        (["install", "a", "--deadline", "soon"], "--deadline is 'soon'"),
        (["install", "a", "--deadline", ""], "--deadline is ''"),
        (["install", "a", "--settings", "/nowhere"], "--settings /nowhere: no file"),
        (["remove", "--some"], "remove takes no option '--some'; valid: --all"),
    ],
)
def test_a_wrong_command_line_is_code_2(
    words: list[str], said: str, place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("signal.signal", lambda *_: None)
        assert main(words) == 2
    line = capsys.readouterr().err
    assert line.startswith(f"cuelens: {said}")
    assert line.endswith(" [command-line]\n")


def test_options_are_read(tmp_path: Path) -> None:
    assert [read_options(command, []) for command in ("install", "settle")] == [Options(), Options()]
    assert read_options("remove", ["--all"]).everything
    given = ["b.tar", "--signers", "s", "--deadline", "5", "--settings", str(tmp_path), "--no-start"]
    assert read_options("install", given) == Options("b.tar", "s", tmp_path, 5, start=False)


def test_what_a_program_complains_of_is_no_part_of_its_output() -> None:
    script = "echo out; echo wrong >&2; exit 3"
    assert programs.ask_apart("sh", "-c", script) == (3, "out\n", "wrong\n")
    assert programs.ask("sh", "-c", script) == (3, "out\nwrong\n")
    assert programs.ask_apart("/nowhere/program")[:2] == (127, "")
    assert programs.ask("/nowhere/program") == (127, "/nowhere/program: No such file or directory")


@pytest.mark.parametrize("before", [b"threads = 1\n", None])
def test_settings_that_do_not_work_go_and_those_before_or_none_come_back(
    before: bytes | None, place: Place, systemd: Systemd, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where a cuelens.toml.old of another time lies beside them."""
    monkeypatch.setattr(install.build, "try_out", lambda *_: None)
    monkeypatch.setattr(install.releases, "lock", lambda: None)
    settings, given = place.root / units.SETTINGS[1:], place.root / "given.toml"
    releases.replace(settings.with_name("cuelens.toml.old"), b"threads = 7\n")
    if before is not None:
        releases.replace(settings, before)
    given.write_bytes(b"threads = 2\n")
    with pytest.raises(Failure, match="it does not work with these settings: no frame yet; those before are back"):
        install.apply(read_options("apply", ["--settings", str(given)]), systemd.clock)
    assert (settings.read_bytes() if settings.exists() else None) == before
