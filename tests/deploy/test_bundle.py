"""Bundles: the same bytes from one commit and key, what a device's own tools make of them, and what is refused."""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tarfile
import time
import uuid
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from deploy import bundle as bundles
from deploy import packages
from deploy.failure import Failure
from deploy.packages import TARGETS, Target
from deploy.verify import sha256_of
from tests.support.failures import cause_of

BOOKWORM, TRIXIE = (next(target for target in TARGETS if target.suite == suite) for suite in ("bookworm", "trixie"))
VERSION = "1.2+g0123456789ab"
FILES = {
    "install.sh": b"#!/bin/sh\n",
    "cuelens.service": b"[Service]\n",
    "cuelens-safe.service": b"[Service]\n",
    "cuelens-settle.service": b"[Service]\n",
    "cuelens.toml": b"",
}

WHEEL = "Wheel-Version: 1.0\nGenerator: by-hand\nRoot-Is-Purelib: true\nTag: {tag}\n"


def write_wheel(
    folder: Path, name: str, version: str = "1.0", tag: str = "py3-none-any", licence: str = "", **files: str
) -> Path:
    """Write a wheel that pip installs; `files` are further ones of its .dist-info, `licence` lines of its METADATA."""
    folder.mkdir(parents=True, exist_ok=True)
    info = f"{name}-{version}.dist-info"
    content = {
        f"{name}.py": f"__version__ = {version!r}\n",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{licence}",
        f"{info}/WHEEL": WHEEL.format(tag=tag),
        **{f"{info}/{file}": text for file, text in files.items()},
    }
    content[f"{info}/RECORD"] = "".join(f"{entry},,\n" for entry in (*content, f"{info}/RECORD"))
    wheel = folder / f"{name}-{version}-{tag}.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for entry, text in content.items():
            archive.writestr(entry, text)
    return wheel


@pytest.fixture
def wheels(tmp_path: Path) -> list[Path]:
    folder = tmp_path / "wheels"
    own = write_wheel(folder, "cuelens", VERSION, licence="License-Expression: Apache-2.0\n")
    with zipfile.ZipFile(own, "a") as archive:
        archive.writestr("edge/model/emotion.tflite", b"a model")
    return [
        own,
        write_wheel(folder, "quiet_one", licence="Classifier: License :: OSI Approved :: MIT License\n"),
        write_wheel(folder, "pip", "25.0", licence="License: MIT\n"),
    ]


@pytest.fixture
def tiny(wheels: list[Path], key: Path, tmp_path: Path) -> Path:
    return bundles.build(VERSION, TRIXIE, wheels, FILES, key, tmp_path / "out")


def payload(bundle: Path) -> tarfile.TarFile:
    with tarfile.open(bundle) as outer:
        return tarfile.open(fileobj=io.BytesIO(bundles.read_member(outer, "payload.tar")))


def text(bundle: Path, name: str) -> str:
    return bundles.read_member(payload(bundle), name).decode()


def refused(cause: str, words: str, call: Callable[..., object], *arguments: object) -> None:
    """Assert that the call fails with this cause and a line that has these words and a next step."""
    with pytest.raises(Failure) as caught:
        call(*arguments)
    assert caught.value.cause == cause, caught.value
    assert caught.value.line.endswith(f" [{cause}]")
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


# The form


def test_the_signature_comes_before_what_it_signs(tiny: Path) -> None:
    assert tiny.name == f"cuelens-{VERSION}-trixie-{TRIXIE.arch}.tar"
    with tarfile.open(tiny) as outer:
        assert outer.getnames() == ["payload.tar.sig", "payload.tar"]


def test_every_file_is_roots_in_order_and_of_one_time(tiny: Path) -> None:
    members = payload(tiny).getmembers()
    names = [member.name for member in members]
    made = {"VERSION", "TARGET", "SHA256SUMS", "sbom.cdx.json", "requirements.txt", "allowed_signers"}
    assert names == sorted(names)
    assert {name for name in names if not name.startswith("wheels/")} == made | FILES.keys()
    assert {(member.uid, member.gid, member.uname, member.mtime) for member in members} == {
        (0, 0, "root", packages.EPOCH)
    }
    assert {member.name for member in members if member.mode == 0o755} == {"install.sh"}
    assert {member.mode for member in members} == {0o755, 0o644}


def test_it_says_what_it_is(tiny: Path) -> None:
    assert text(tiny, "VERSION") == f"{VERSION}\n"
    assert text(tiny, "TARGET") == f"trixie {TRIXIE.arch} 3.13\n"


def test_built_again_elsewhere_it_is_the_same_bytes(tiny: Path, wheels: list[Path], key: Path) -> None:
    """Another folder, umask, time zone, and wheels of another time and owner's mode, given in another order."""
    folder = tiny.parent.parent / "else where"
    folder.mkdir()
    copies = [Path(shutil.copyfile(wheel, folder / wheel.name)) for wheel in reversed(wheels)]
    for copy in copies:
        copy.chmod(0o600)
        os.utime(copy, (1, 1))
    before, zone = os.umask(0o077), os.environ.get("TZ")
    os.environ["TZ"] = "Asia/Tokyo"
    time.tzset()
    try:
        again = bundles.build(VERSION, TRIXIE, copies, dict(reversed(FILES.items())), key, folder)
    finally:
        os.umask(before)
        os.environ.pop("TZ")
        if zone:
            os.environ["TZ"] = zone
        time.tzset()
    assert again.read_bytes() == tiny.read_bytes()


def test_a_device_checks_it_with_its_own_tools(tiny: Path, tmp_path: Path) -> None:
    """The signature over the payload as it streams out of the bundle; the hashes once it is unpacked."""
    folder = tmp_path / "device"
    folder.mkdir()
    (folder / "allowed_signers").write_text(text(tiny, "allowed_signers"))
    script = f"""
        set -euo pipefail
        tar -xf {tiny} payload.tar.sig
        tar -xOf {tiny} payload.tar |
            ssh-keygen -Y verify -f allowed_signers -I cuelens -n cuelens-release -s payload.tar.sig
        mkdir release && tar -xOf {tiny} payload.tar | tar -x -C release
        cd release && sha256sum --check --strict --quiet SHA256SUMS && wc -l <SHA256SUMS && find . -type f | wc -l
    """
    done = subprocess.run(["bash", "-c", script], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    listed, found = map(int, done.stdout.splitlines()[-2:])
    assert found == listed + 1


def test_pip_installs_it_without_a_network_and_by_hash(tiny: Path, tmp_path: Path) -> None:
    payload(tiny).extractall(tmp_path / "release", filter="data")
    words = [sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps", "--require-hashes"]
    done = subprocess.run(
        [*words, "--find-links", "wheels", "--requirement", "requirements.txt", "--target", tmp_path / "there"],
        cwd=tmp_path / "release",
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert {path.name for path in (tmp_path / "there").glob("*.py")} == {"cuelens.py", "quiet_one.py"}


def test_the_bill_of_materials_has_every_wheel_and_model(tiny: Path, wheels: list[Path]) -> None:
    bill = json.loads(text(tiny, "sbom.cdx.json"))
    assert (bill["bomFormat"], bill["specVersion"], bill["version"]) == ("CycloneDX", "1.6", 1)
    assert uuid.UUID(bill["serialNumber"].removeprefix("urn:uuid:")).version == 5
    assert bill["metadata"]["timestamp"] == "2020-02-02T00:00:00Z"
    hashes = {part["name"]: part["hashes"] for part in bill["components"]}
    expected = {wheel.name.split("-")[0].replace("_", "-"): wheel.read_bytes() for wheel in wheels}
    expected["emotion.tflite"] = b"a model"
    assert hashes == {
        name: [{"alg": "SHA-256", "content": hashlib.sha256(content).hexdigest()}] for name, content in expected.items()
    }
    parts = {part["name"]: part for part in bill["components"]}
    assert parts["cuelens"]["licenses"] == [{"expression": "Apache-2.0"}]
    assert parts["pip"]["licenses"] == [{"license": {"name": "MIT"}}]
    assert parts["quiet-one"]["licenses"] == [{"license": {"name": "MIT License"}}]
    assert parts["cuelens"]["purl"] == "pkg:pypi/cuelens@1.2%2Bg0123456789ab"
    assert parts["emotion.tflite"]["type"] == "machine-learning-model"
    (depends,) = bill["dependencies"]
    assert depends["ref"] == bill["metadata"]["component"]["bom-ref"]
    assert depends["dependsOn"] == [part["bom-ref"] for part in bill["components"]]
    assert len(set(depends["dependsOn"])) == 4


@pytest.mark.parametrize(
    ("tag", "target", "fits"),
    [
        ("py2.py3-none-any", BOOKWORM, True),
        ("cp311-cp311-manylinux_2_34_{arch}", BOOKWORM, True),
        ("cp37-abi3-manylinux2014_{arch}", BOOKWORM, True),
        ("cp311-cp311-manylinux_2_38_{arch}", BOOKWORM, False),
        ("cp313-cp313-manylinux_2_38_{arch}", TRIXIE, True),
        ("cp313-cp313-manylinux_2_42_{arch}", TRIXIE, False),
        ("cp313-cp313-manylinux_2_17_{arch}", BOOKWORM, False),
        ("cp313-cp313t-manylinux_2_17_{arch}", TRIXIE, False),
        ("cp313-cp313-manylinux_2_17_armv7l", TRIXIE, False),
        ("cp313-cp313-musllinux_1_2_{arch}", TRIXIE, False),
    ],
)
def test_no_wheel_is_taken_that_the_target_cannot_run(tag: str, target: Target, fits: bool, tmp_path: Path) -> None:
    wheel = write_wheel(tmp_path, "some", tag=tag.format(arch=target.arch))
    if fits:
        assert packages.read_wheel(wheel, target).name == "some"
    else:
        refused(
            "package-foreign",
            f"does not run on {target} (Python {target.minor}, glibc 2.",
            packages.read_wheel,
            wheel,
            target,
        )


def test_a_damaged_wheel_is_refused(wheels: list[Path], key: Path, tmp_path: Path) -> None:
    wheels[1].write_bytes(wheels[1].read_bytes()[:100])
    out = tmp_path / "out"
    refused("package-foreign", "not a whole wheel", bundles.build, VERSION, TRIXIE, wheels, FILES, key, out)
    assert not out.exists() or not list(out.iterdir())


# The check


def sealed(key: Path, files: dict[str, bytes], folder: Path, link: str = "") -> Path:
    """A bundle of these very files, well signed."""
    inside = folder / "payload.tar"
    with tarfile.open(inside, "w") as archive:
        for name, content in files.items():
            bundles.add(archive, name, content, 0)
        if link:
            entry = tarfile.TarInfo(link)
            entry.type, entry.linkname = tarfile.SYMTYPE, "/etc/passwd"
            archive.addfile(entry)
    signature = bundles.sign(key, inside)
    whole = folder / "sealed.tar"
    with tarfile.open(whole, "w") as archive:
        for part in (signature, inside):
            bundles.add(archive, part.name, part, 0)
    return whole


def contents(bundle: Path) -> dict[str, bytes]:
    archive = payload(bundle)
    return {name: bundles.read_member(archive, name) for name in archive.getnames()}


def test_a_whole_bundle_passes_and_is_listed(tiny: Path, key: Path) -> None:
    stated = bundles.verify(tiny, bundles.signers_line(key).encode())
    assert (stated.version, stated.target) == (VERSION, f"{TRIXIE} 3.13")
    assert stated.signer.startswith("SHA256:")
    assert stated.sizes == {name: len(content) for name, content in contents(tiny).items()}


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.9999])
def test_a_truncated_bundle_is_refused(tiny: Path, share: float) -> None:
    with tarfile.open(tiny) as outer:
        member = outer.getmember("payload.tar")
    os.truncate(tiny, int(share * (member.offset_data + member.size)))
    with pytest.raises(Failure) as caught:
        bundles.verify(tiny)
    assert caught.value.cause == "bundle-invalid"


def test_a_flipped_bit_anywhere_in_the_payload_is_refused(tiny: Path) -> None:
    whole = tiny.read_bytes()
    with tarfile.open(tiny) as outer:
        start = outer.getmember("payload.tar").offset_data
    for place in range(start, len(whole) - 10240, 1009):
        tiny.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        with pytest.raises(Failure) as caught:
            bundles.verify(tiny)
        assert caught.value.cause == "bundle-invalid", place


def test_another_makers_bundle_is_refused(tiny: Path, tmp_path: Path) -> None:
    other = bundles.ensure_key(tmp_path / "other-key")
    refused("bundle-invalid", "the signature is not good", bundles.verify, tiny, bundles.signers_line(other).encode())


def test_a_signature_for_another_purpose_is_refused(tiny: Path, key: Path, tmp_path: Path) -> None:
    folder = tmp_path / "mail"
    with tarfile.open(tiny) as outer:
        outer.extractall(folder, filter="data")
    (folder / "payload.tar.sig").unlink()
    subprocess.run(["ssh-keygen", "-q", "-Y", "sign", "-f", key, "-n", "email", folder / "payload.tar"], check=True)
    with tarfile.open(tiny, "w") as outer:
        for name in ("payload.tar.sig", "payload.tar"):
            outer.add(folder / name, name)
    refused("bundle-invalid", "the signature is not good", bundles.verify, tiny)


def test_a_third_member_is_refused(tiny: Path) -> None:
    with tarfile.open(tiny, "a") as outer:
        bundles.add(outer, "payload.tar", b"another", 0)
    refused("bundle-invalid", "not a bundle (it has payload.tar.sig, payload.tar, payload.tar)", bundles.verify, tiny)


def test_what_is_no_tar_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file.tar").write_bytes(b"no tar" * 1000)
    refused("bundle-invalid", "not a whole bundle", bundles.verify, tmp_path / "file.tar")


def test_what_is_well_signed_is_still_looked_at(tiny: Path, key: Path, tmp_path: Path) -> None:
    files = contents(tiny)
    assert bundles.verify(sealed(key, files, tmp_path)).version == VERSION
    cases: dict[str, tuple[dict[str, bytes], str]] = {
        "install.sh has another sha256": ({**files, "install.sh": b"other"}, ""),
        "not the list of its files": ({**files, "extra": b""}, ""),
        "SHA256SUMS is not the list": ({name: files[name] for name in files if name != "TARGET"}, ""),
        "link is no plain file": (files, "link"),
        "'SHA256SUMS' not found": ({name: files[name] for name in files if name != "SHA256SUMS"}, ""),
    }
    for words, (changed, link) in cases.items():
        (tmp_path / "payload.tar.sig").unlink(missing_ok=True)
        refused("bundle-invalid", words, bundles.verify, sealed(key, changed, tmp_path, link))


# The key


def test_the_key_is_made_once_for_its_owner_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    key = tmp_path / "config" / "cuelens" / "release-key"
    bundles.ensure_key(key)
    said = capsys.readouterr().err
    assert f"made the release key {key}; keep it" in said
    assert said.count("\n") == 1
    assert (key.stat().st_mode & 0o777, key.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    before = key.read_bytes()
    bundles.ensure_key(key)
    assert (key.read_bytes(), capsys.readouterr().err) == (before, "")
    assert sorted(path.name for path in key.parent.iterdir()) == ["release-key", "release-key.pub"]
    assert bundles.public_key(key) in key.with_name("release-key.pub").read_text()


def test_the_place_of_the_key_is_the_users_to_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUELENS_KEY", raising=False)
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    monkeypatch.setenv("HOME", "/home/maker")
    assert bundles.default_key() == Path("/home/maker/.config/cuelens/release-key")
    monkeypatch.setenv("XDG_CONFIG_HOME", "/etc/xdg")
    assert bundles.default_key() == Path("/etc/xdg/cuelens/release-key")
    monkeypatch.setenv("CUELENS_KEY", "/media/stick/key")
    assert bundles.default_key() == Path("/media/stick/key")


def test_a_key_that_others_may_read_is_refused(key: Path, tmp_path: Path) -> None:
    key = Path(shutil.copy(key, tmp_path))
    key.chmod(0o640)
    refused(
        "key-unusable", f"others may read the key (mode 0640); valid is 0600: chmod 600 {key}", bundles.public_key, key
    )


def test_a_key_that_signs_differently_each_time_is_refused(tmp_path: Path) -> None:
    key = tmp_path / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ecdsa", "-N", "", "-f", key], check=True)
    refused("key-unusable", "of type ecdsa-sha2-nistp256; valid is ssh-ed25519", bundles.public_key, key)


def test_what_is_no_key_is_refused(tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.write_text("no key\n")
    key.chmod(0o600)
    refused("key-unusable", "not a key that can be used", bundles.public_key, key)
    refused("key-unusable", "No such file", bundles.public_key, tmp_path / "nowhere")


def test_a_bundle_names_no_maker(tiny: Path, key: Path) -> None:
    """Neither user nor machine, which ssh-keygen puts into a key's comment."""
    assert len(text(tiny, "allowed_signers").split()) == 4
    assert str(key.parent).encode() not in tiny.read_bytes()


# The packages


@pytest.mark.parametrize("target", TARGETS, ids=str)
def test_of_the_locks_a_target_gets_its_own_lines_and_each_once(target: Target) -> None:
    pins = {pin.name: pin for pin in packages.locked(target)}
    assert len(pins) == len(packages.locked(target))
    assert {"numpy", "opencv-python-headless", "pip", "starlette", "luma-oled", "pygame-ce", "paho-mqtt"} <= pins.keys()
    old = target.suite == "bookworm"
    assert ("tflite-runtime" in pins, "ai-edge-litert" in pins) == (old, not old)
    assert pins["numpy"].version.startswith("1." if old else "2.")
    assert not {"hatchling", "pytest", "keras"} & pins.keys()


def test_locks_that_disagree_are_refused(tmp_path: Path) -> None:
    for name, version in {"device": "1.0", "sinks": "1.1", "glasses": "1.0", "pip": "1.0"}.items():
        (tmp_path / f"{name}.txt").write_text(f"some=={version} \\\n    --hash=sha256:{'0' * 64}\n")
    refused("package-foreign", "several of some for trixie", packages.locked, TRIXIE, tmp_path)


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that pip takes for its index, with a wheel for each machine and two Pythons."""
    folder = tmp_path / "index"
    for arch in ("x86_64", "aarch64"):
        for python in ("cp311", "cp313"):
            for glibc in ("17", "36", "42"):
                write_wheel(folder, "some", tag=f"{python}-{python}-manylinux_2_{glibc}_{arch}")
    write_wheel(folder, "pure")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    return folder


def pins_of(folder: Path) -> list[packages.Pin]:
    return [
        packages.Pin(name, "1.0", tuple(sorted(sha256_of(wheel) for wheel in folder.glob(f"{name}-*"))))
        for name in ("pure", "some")
    ]


@pytest.mark.parametrize("target", TARGETS, ids=str)
def test_the_wheels_are_the_targets_best(target: Target, index: Path, tmp_path: Path) -> None:
    python = target.minor.replace("3.", "cp3")
    found = packages.fetch(pins_of(index), target, tmp_path / "cache")
    assert [wheel.name for wheel in found] == [
        "pure-1.0-py3-none-any.whl",
        f"some-1.0-{python}-{python}-manylinux_2_36_{target.arch}.whl",
    ]


def test_a_second_time_only_what_is_damaged_is_downloaded(index: Path, tmp_path: Path) -> None:
    pins, cache = pins_of(index), tmp_path / "cache"
    found = packages.fetch(pins, TRIXIE, cache)
    contents = {wheel: wheel.read_bytes() for wheel in found}
    hidden = index.rename(tmp_path / "hidden")
    assert packages.fetch(pins, TRIXIE, cache) == found
    found[0].write_bytes(b"rotten")
    refused("download-failed", "pip could not get the packages for trixie", packages.fetch, pins, TRIXIE, cache)
    hidden.rename(index)
    assert {wheel: wheel.read_bytes() for wheel in packages.fetch(pins, TRIXIE, cache)} == contents
    assert len(list(cache.iterdir())) == 1


def test_a_wheel_that_differs_from_the_lock_is_refused(index: Path, tmp_path: Path) -> None:
    pins = pins_of(index)
    write_wheel(index, "pure", licence="License: of somebody else\n")
    refused("package-foreign", "another sha256", packages.fetch, pins, TRIXIE, tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []


def test_an_index_without_the_locked_version_is_named(index: Path, tmp_path: Path) -> None:
    pins = [packages.Pin("pure", "2.0", ("0" * 64,))]
    refused("package-foreign", "pure==2.0", packages.fetch, pins, TRIXIE, tmp_path / "cache")


def test_no_network_and_a_wrong_index_have_different_messages(
    index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PIP_NO_INDEX")
    monkeypatch.delenv("PIP_FIND_LINKS")
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")  # where nothing listens
    monkeypatch.setenv("PIP_RETRIES", "0")
    refused("download-failed", "check the network", packages.fetch, pins_of(index), TRIXIE, tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []


# The command, in a checkout with locks of tiny packages


class Checkout:
    """A clone of what a bundle is made of, whose locks name tiny wheels in a folder beside it."""

    def __init__(self, folder: Path, repository: Path, key: Path) -> None:
        self.folder, self.root, self.index = folder, folder / "check out", folder / "index"
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("GIT_", "PIP_"))},
            "CUELENS_KEY": str(key),
            "PIP_NO_INDEX": "1",
            "PIP_FIND_LINKS": str(self.index),
            "PIP_CONFIG_FILE": os.devnull,
            "GIT_CONFIG_GLOBAL": os.devnull,
            "GIT_COMMITTER_DATE": "2026-01-02T03:04:05Z",
        }
        self.root.mkdir()
        skip = shutil.ignore_patterns("__pycache__", "locks")
        for name in ("edge", "models", "deploy"):
            shutil.copytree(repository / name, self.root / name, ignore=skip)
        for name in ("pyproject.toml", "LICENSE", ".gitignore"):
            shutil.copy(repository / name, self.root)
        for lock, name in {"device": "some", "sinks": "other", "glasses": "worn", "pip": "pip"}.items():
            wheel = write_wheel(self.index, name)
            self.write(f"deploy/locks/{lock}.txt", f"{name}==1.0 \\\n    --hash=sha256:{sha256_of(wheel)}\n")

    def write(self, name: str, text: str) -> None:
        (self.root / name).parent.mkdir(parents=True, exist_ok=True)
        (self.root / name).write_text(text)

    def git(self, *words: str | Path) -> str:
        identity = ("-c", "user.name=A", "-c", "user.email=a@example.org")
        done = subprocess.run(
            ["git", *identity, *words], cwd=self.root, env=self.environment, capture_output=True, text=True, check=True
        )
        return done.stdout

    def commit(self) -> None:
        self.git("init", "--quiet")
        self.git("add", "--all")
        self.git("commit", "--quiet", "--message=all")

    def start(self, *words: str, prefix: tuple[str, ...] = (), **extra: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [*prefix, sys.executable, "-P", "-m", "deploy.bundle", *words],
            cwd=self.folder,
            env={**self.environment, "PYTHONPATH": str(self.root), **extra},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *words: str, prefix: tuple[str, ...] = (), **extra: str) -> subprocess.CompletedProcess[str]:
        with self.start(*words, prefix=prefix, **extra) as process:
            output, errors = process.communicate(timeout=60)
        return subprocess.CompletedProcess(words, process.returncode, output, errors)

    def fails(self, cause: str, words: str, *arguments: str, prefix: tuple[str, ...] = (), **extra: str) -> None:
        """Assert that it ends with the exit code of this cause and one line with these words, and leaves no bundle."""
        done = self.run(*arguments, prefix=prefix, **extra)
        assert cause_of(done) == cause, done.stderr
        (line,) = (line for line in done.stderr.splitlines() if not re.search(": (getting|made) the", line))
        assert line.startswith("deploy.sh: ")
        assert words in line
        assert line.endswith(f" [{cause}]")
        assert not list(self.folder.rglob("cuelens-*.tar*"))
        assert "Traceback" in self.run(*arguments, "--debug", prefix=prefix, **extra).stderr


@pytest.fixture
def checkout(tmp_path: Path, repository: Path, key: Path) -> Checkout:
    return Checkout(tmp_path, repository, key)


def test_one_command_makes_the_bundles_of_all_targets_and_says_their_sha256(checkout: Checkout) -> None:
    checkout.commit()
    done = checkout.run()
    assert done.returncode == 0, done.stderr
    made = dict(reversed(line.split("  ", 1)) for line in done.stdout.splitlines())
    version = f"0.1.0+g{checkout.git('rev-parse', 'HEAD')[:12]}"
    dist = checkout.root / "dist"
    assert list(made) == [f"{dist}/cuelens-{version}-{target.suite}-{target.arch}.tar" for target in TARGETS]
    assert sorted(made) == sorted(map(str, dist.iterdir()))
    for target, (path, digest) in zip(TARGETS, made.items(), strict=True):
        assert sha256_of(Path(path)) == digest
        stated = bundles.verify(Path(path))
        assert (stated.version, stated.target) == (version, f"{target} {target.minor}")
        names = re.findall(r"^([a-z]+)==", text(Path(path), "requirements.txt"), re.MULTILINE)
        assert names == ["cuelens", "other", "some", "worn"]


def test_the_projects_wheel_is_of_that_version_and_has_the_models(checkout: Checkout, repository: Path) -> None:
    checkout.commit()
    done = checkout.run("--suite", "trixie", "--arch", "aarch64")
    path = Path(done.stdout.rstrip("\n").split("  ", 1)[1])
    version = text(path, "VERSION").strip()
    wheel = bundles.read_member(payload(path), f"wheels/cuelens-{version}-py3-none-any.whl")
    with zipfile.ZipFile(io.BytesIO(wheel)) as archive:
        assert f"\nVersion: {version}\n" in archive.read(f"cuelens-{version}.dist-info/METADATA").decode()
        for name in ("emotion.tflite", "emotion.json", "face.tflite", "face.json", "scan.tflite", "scan.json"):
            assert archive.read(f"edge/model/{name}") == (repository / "models" / name).read_bytes()
        assert {entry.date_time for entry in archive.infolist()} == {(2026, 1, 2, 3, 4, 4)}  # a zip's seconds are even


def test_two_clones_with_one_key_make_the_same_bytes(checkout: Checkout) -> None:
    checkout.commit()
    first = checkout.run("--suite", "bookworm")
    clone = checkout.folder / "umlauts äö"
    checkout.git("clone", "--quiet", checkout.root, clone)
    checkout.root = clone
    umask = ("sh", "-c", 'umask 077; exec "$@"', "sh")
    second = checkout.run("--suite", "bookworm", prefix=umask, TZ="Asia/Tokyo", LC_ALL="C.UTF-8", HOME=str(clone))
    digests = [[line.split()[0] for line in done.stdout.splitlines()] for done in (first, second)]
    assert digests[0] == digests[1], second.stderr
    assert len(digests[0]) == 2


def test_a_second_build_needs_no_index(checkout: Checkout) -> None:
    checkout.commit()
    first = checkout.run("--suite", "trixie")
    shutil.rmtree(checkout.index)
    second = checkout.run("--suite", "trixie")
    assert (second.returncode, second.stdout, second.stderr) == (0, first.stdout, "")


def test_two_starts_at_once_do_not_get_in_each_others_way(checkout: Checkout) -> None:
    starts = [checkout.start("--suite", "trixie") for _ in range(2)]
    ends = [start.communicate(timeout=120) for start in starts]
    assert [start.returncode for start in starts] == [0, 0], ends
    assert ends[0][0] == ends[1][0]
    assert "".join(errors for _, errors in ends).count("getting the packages") == 2, "each target's once"


def test_the_version_names_what_was_changed(checkout: Checkout) -> None:
    checkout.commit()
    clean, seconds = packages.project_version(checkout.root)
    assert re.fullmatch(r"0\.1\.0\+g[0-9a-f]{12}", clean)
    assert seconds == int(checkout.git("log", "-1", "--format=%ct"))
    seen = {clean}
    changes: list[tuple[str, str | None]] = [
        ("edge/cue/policy.py", "changed"),
        ("edge/cue/policy.py", "changed again"),
        ("a new one", "new"),
        ("edge/cli.py", None),
    ]
    for name, words in changes:
        if words is None:
            (checkout.root / name).unlink()
        else:
            checkout.write(name, words)
        version = packages.project_version(checkout.root)[0]
        assert re.fullmatch(re.escape(clean) + r"\.d[0-9a-f]{8}", version)
        assert version not in seen
        assert packages.project_version(checkout.root)[0] == version
        seen.add(version)
    checkout.git("add", "--all")
    assert packages.project_version(checkout.root)[0] in seen, "staged or not, it is the same change"


def test_without_git_the_version_names_the_content(checkout: Checkout) -> None:
    seen = set()
    for name in (
        "",
        "edge/cue/policy.py",
        "deploy/device/install.sh",
        "deploy/locks/device.txt",
        "models/face.json",
        "edge/a.py",
    ):
        if name:
            checkout.write(name, "changed")
        version, seconds = packages.project_version(checkout.root)
        assert re.fullmatch(r"0\.1\.0\+c[0-9a-f]{12}", version)
        assert (seconds, version in seen) == (packages.EPOCH, False), name
        seen.add(version)
    (checkout.root / "edge/__pycache__").mkdir()
    checkout.write("edge/__pycache__/cue.cpython-311.pyc", "compiled")
    checkout.write("dist/some.tar", "made")
    assert packages.project_version(checkout.root)[0] in seen, "what is made by a run is no change"
    copy = checkout.root.rename(checkout.folder / "unpacked elsewhere")
    assert packages.project_version(copy)[0] in seen


def test_an_unpacked_archive_makes_a_bundle_of_its_version(checkout: Checkout) -> None:
    version = packages.project_version(checkout.root)[0]
    done = checkout.run("--suite", "trixie", "--arch", "x86_64")
    assert (done.returncode, done.stderr.count("note:")) == (0, 0), done.stderr
    assert done.stdout.endswith(f"/cuelens-{version}-trixie-x86_64.tar\n")


def test_a_shallow_clone_a_worktree_and_a_submodule_have_their_commits_version(checkout: Checkout) -> None:
    checkout.commit()
    version = packages.project_version(checkout.root)[0]
    checkout.git("clone", "--quiet", "--depth", "1", f"file://{checkout.root}", checkout.folder / "shallow")
    checkout.git("worktree", "add", "--quiet", checkout.folder / "tree")
    outer = checkout.folder / "outer"
    checkout.git("init", "--quiet", outer)
    add = ("-c", "protocol.file.allow=always", "submodule", "--quiet", "add", str(checkout.root), "inner")
    checkout.git("-C", outer, *add)
    for place in (checkout.folder / "shallow", checkout.folder / "tree", outer / "inner"):
        assert packages.project_version(place)[0] == version
        (place / "edge/cue/policy.py").write_text("changed")
        assert packages.project_version(place)[0].startswith(f"{version}.d")


def test_an_archive_unpacked_inside_another_repository_is_not_of_its_commit(checkout: Checkout) -> None:
    inner = checkout.folder / "inner"
    shutil.copytree(checkout.root, inner)
    checkout.commit()
    inner = inner.rename(checkout.root / "inner")
    assert "+c" in packages.project_version(inner)[0]


def test_a_file_that_git_is_set_to_ignore_changes_in_is_seen(checkout: Checkout) -> None:
    checkout.commit()
    clean = packages.project_version(checkout.root)[0]
    for flag in ("--assume-unchanged", "--skip-worktree"):
        checkout.git("update-index", flag, "edge/cue/policy.py")
        checkout.write("edge/cue/policy.py", f"changed behind {flag}")
        assert packages.project_version(checkout.root)[0].startswith(f"{clean}.d")


def test_a_hooks_git_dir_is_not_the_checkouts(checkout: Checkout, monkeypatch: pytest.MonkeyPatch) -> None:
    checkout.commit()
    version = packages.project_version(checkout.root)
    monkeypatch.setenv("GIT_DIR", str(checkout.folder / "nowhere"))
    assert packages.project_version(checkout.root) == version


GIT_FAULTS = {  # name: what git says
    "a clone of another user": "fatal: detected dubious ownership in repository at 'check out'",
    "a worktree whose repository is gone": "fatal: not a git repository: /nowhere",
}


@pytest.mark.parametrize("name", [*GIT_FAULTS, "no git"])
def test_where_git_does_not_answer_the_version_names_the_content(
    name: str, checkout: Checkout, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    checkout.commit()
    tools = checkout.folder / "tools"
    tools.mkdir()
    if name in GIT_FAULTS:
        (tools / "git").write_text(f'#!/bin/sh\necho "{GIT_FAULTS[name]}" >&2\nexit 128\n')
        (tools / "git").chmod(0o755)
        monkeypatch.setenv("PATH", f"{tools}:{os.environ['PATH']}")
    else:
        monkeypatch.setenv("PATH", str(tools))
    before = packages.project_version(checkout.root)[0]
    assert re.fullmatch(r"0\.1\.0\+c[0-9a-f]{12}", before)
    note = capfd.readouterr().err
    assert note.startswith("deploy.sh: note: ")
    assert GIT_FAULTS.get(name, "no git on this machine") in note
    checkout.write("edge/cue/policy.py", "changed")
    assert packages.project_version(checkout.root)[0] != before


def test_a_checkout_without_the_installer_is_reported(checkout: Checkout) -> None:
    (checkout.root / "deploy/device/install.sh").unlink()
    checkout.fails("checkout-incomplete", "lacks deploy/device/install.sh")


def test_a_wheel_that_does_not_build_is_reported(checkout: Checkout) -> None:
    checkout.write("deploy/wheel.py", "broken(")
    checkout.fails("checkout-incomplete", "the project's wheel could not be built")


def test_a_missing_tool_is_reported_with_its_package(checkout: Checkout) -> None:
    tools = checkout.folder / "tools"
    tools.mkdir()
    checkout.fails(
        "tool-missing",
        "no ssh-keygen on this machine; install it with: sudo apt install openssh-client",
        PATH=str(tools),
    )


def test_an_open_key_is_reported(checkout: Checkout, key: Path) -> None:
    key = Path(shutil.copy(key, checkout.folder / "key"))
    key.chmod(0o644)
    checkout.fails("key-unusable", f"chmod 600 {key}", CUELENS_KEY=str(key))


def test_a_folder_that_cannot_be_written_is_reported(checkout: Checkout) -> None:
    (checkout.folder / "file").touch()
    checkout.fails("path-refused", "file: ", "--out", str(checkout.folder / "file"))
    checkout.fails("path-refused", "file: ", CUELENS_KEY=str(checkout.folder / "file" / "key"))


@pytest.mark.parametrize("owner", [0, 65534])
def test_a_file_of_another_user_is_reported_with_what_gives_it_back(
    owner: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As `sudo ./deploy.sh bundle` leaves them."""
    monkeypatch.setattr(packages, "ROOT", tmp_path)
    monkeypatch.setattr(packages.os, "geteuid", lambda: 1000)
    folder = tmp_path / "dist"
    folder.mkdir()
    real = Path.stat
    monkeypatch.setattr(Path, "stat", lambda path: os.stat_result((*real(path)[:4], owner, *real(path)[5:])))
    error = PermissionError(13, "Permission denied", str(folder))
    words = packages.refused(error, tmp_path)
    assert f"{folder}: Permission denied, for {folder} belongs to {'root' if owner == 0 else 'user 65534'}" in words
    assert f"sudo chown -R $USER {folder}" in words
    assert packages.refused(OSError(2, "No such file", "x"), tmp_path) == "x: No such file"
    assert packages.refused(OSError(5, "Input/output error"), tmp_path) == f"{tmp_path}: Input/output error"


def test_no_network_is_reported(checkout: Checkout) -> None:
    nowhere = {"PIP_NO_INDEX": "0", "PIP_FIND_LINKS": "", "PIP_INDEX_URL": "http://127.0.0.1:9/", "PIP_RETRIES": "0"}
    checkout.fails("download-failed", "check the network", **nowhere)


def test_another_package_than_the_locks_is_reported(checkout: Checkout) -> None:
    write_wheel(checkout.index, "some", licence="License: of somebody else\n")
    checkout.fails("package-foreign", "some==1.0 for bookworm aarch64 is not what the lock says")


@pytest.mark.root
@pytest.mark.parametrize("kilobytes", [16, 600, 1500])
def test_a_full_disk_is_reported(checkout: Checkout, kilobytes: int) -> None:
    """Before, amid and after the payload."""
    small = checkout.folder / "small"
    small.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs", small]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("no tmpfs can be mounted here")
    try:
        checkout.fails("space-short", "the disk is full", "--out", str(small))
        assert list(small.iterdir()) == []
    finally:
        subprocess.run(["umount", small], check=True)


def test_stopped_in_the_middle_it_leaves_nothing(checkout: Checkout) -> None:
    tools, begun = checkout.folder / "tools", checkout.folder / "begun"
    tools.mkdir()
    stand_in = tools / "ssh-keygen"
    real = shutil.which("ssh-keygen")
    stand_in.write_text(f'#!/bin/sh\ncase "$*" in *sign*) touch {begun}; exec sleep 60 ;; esac\nexec {real} "$@"\n')
    stand_in.chmod(0o755)
    for number, code in ((signal.SIGTERM, 143), (signal.SIGINT, 130)):
        begun.unlink(missing_ok=True)
        process = checkout.start(PATH=f"{tools}:{os.environ['PATH']}")
        deadline = time.monotonic() + 60
        while not begun.exists():
            assert time.monotonic() < deadline
            time.sleep(0.02)
        process.send_signal(number)
        _, errors = process.communicate(timeout=60)
        assert process.returncode == code, errors
        assert list((checkout.root / "dist").iterdir()) == []


def test_a_bundle_is_checked_and_listed(checkout: Checkout, tiny: Path, tmp_path: Path) -> None:
    done = checkout.run("--verify", str(tiny))
    assert done.returncode == 0, done.stderr
    first, *files = done.stdout.splitlines()
    assert first.startswith(f"cuelens {VERSION} for {TRIXIE} 3.13, signed by SHA256:")
    assert [line.split()[1] for line in files] == payload(tiny).getnames()
    other = bundles.ensure_key(tmp_path / "other-key")
    assert cause_of(checkout.run("--verify", str(tiny), CUELENS_KEY=str(other))) == "bundle-invalid"
    signers = tmp_path / "allowed_signers"
    signers.write_text(text(tiny, "allowed_signers"))
    assert checkout.run("--verify", str(tiny), "--signers", str(signers), CUELENS_KEY=str(other)).returncode == 0
    keyless = checkout.run("--verify", str(tiny), CUELENS_KEY=str(tmp_path / "nowhere"))
    assert keyless.returncode == 0
    assert "the bundle itself brings" in keyless.stderr


def test_a_missing_file_is_reported(checkout: Checkout) -> None:
    checkout.fails("path-refused", "nowhere.tar: No such file or directory; give --verify", "--verify", "nowhere.tar")


# The real ones


@pytest.mark.slow
@pytest.mark.parametrize("target", TARGETS, ids=str)
def test_the_real_bundle_is_whole_and_runs_on_its_system(
    real_bundle: Callable[[str, str], Path], target: Target
) -> None:
    """No compiled file in it asks for a newer glibc than the system has, whatever its wheel's name says."""
    path = real_bundle(target.suite, target.arch)
    assert bundles.verify(path).target == f"{target} {target.minor}"
    wanted = {f"{pin.name}=={pin.version}" for pin in packages.locked(target) if pin.name != "pip"}
    requirements = text(path, "requirements.txt").splitlines()
    assert {line.split()[0] for line in requirements if not line.startswith("cuelens==")} == wanted
    archive = payload(path)
    asked = set()
    for name in archive.getnames():
        if name.startswith("wheels/"):
            with zipfile.ZipFile(io.BytesIO(bundles.read_member(archive, name))) as wheel:
                for entry in wheel.namelist():
                    if ".so" in entry:
                        asked |= {int(number) for number in re.findall(rb"GLIBC_2\.(\d+)", wheel.read(entry))}
    assert 17 <= max(asked) <= target.glibc
