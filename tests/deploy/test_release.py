"""./deploy.sh release: its checks in made-up repositories, and its artefacts in clean environments."""

from __future__ import annotations

import hashlib
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from deploy.failure import Failure
from deploy.release import build, check_commit, check_version, newest_entry
from tests.support.wheel import MODELS, console_scripts

PYTHONS = ("3.11", "3.12", "3.13", "3.14")


def git(root: Path, *words: str) -> str:
    names = ("-c", "user.name=a", "-c", "user.email=a@b.c")
    done = subprocess.run(["git", "-C", root, *names, *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A clone at version 1.2.0, all committed."""
    (tmp_path / "pyproject.toml").write_text('[project]\nversion = "1.2.0"\n')
    (tmp_path / "CHANGELOG.md").write_text("# Changelog\n\n## [Unreleased]\n\n## [1.2.0] - 2026-01-02\n\n## [1.1.0]\n")
    git(tmp_path, "init", "--quiet")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "--quiet", "--message", "one")
    return tmp_path


def test_this_version_is_released_in_the_changelog(repository: Path) -> None:
    version = check_version(repository)
    assert newest_entry((repository / "CHANGELOG.md").read_text()) == version


def test_a_version_that_the_changelog_lacks_is_refused(project: Path) -> None:
    assert check_version(project) == "1.2.0"
    (project / "pyproject.toml").write_text('[project]\nversion = "1.3.0"\n')
    with pytest.raises(Failure, match=r"has version 1\.3\.0, CHANGELOG\.md's newest release is 1\.2\.0"):
        check_version(project)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("## [Unreleased]\n", "no release"),
        ("## [1.0.0]\n", "1.0.0 has no date"),
        ("## [1.0.0] - soon\n", "1.0.0 has no date"),
    ],
)
def test_a_changelog_without_a_dated_release_is_refused(text: str, words: str) -> None:
    with pytest.raises(Failure, match=words):
        newest_entry(text)


def test_a_changed_checkout_is_refused(project: Path) -> None:
    assert not check_commit(project, "1.2.0"), "which has no tag yet"
    (project / "new").touch()
    with pytest.raises(Failure, match="first in 'new'"):
        check_commit(project, "1.2.0")


def test_a_tag_of_another_commit_is_refused(project: Path) -> None:
    git(project, "tag", "v1.2.0")
    assert check_commit(project, "1.2.0")
    git(project, "commit", "--quiet", "--allow-empty", "--message", "two")
    with pytest.raises(Failure, match=r"v1\.2\.0 is the tag of"):
        check_commit(project, "1.2.0")
    assert git(project, "tag") == "v1.2.0"


def test_another_repository_that_a_hook_names_is_not_asked(
    project: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path_factory.mktemp("other")
    git(other, "init", "--quiet")
    git(other, "commit", "--quiet", "--allow-empty", "--message", "another")
    git(other, "tag", "v1.2.0")
    for name, place in {"GIT_DIR": ".git", "GIT_WORK_TREE": "", "GIT_INDEX_FILE": ".git/index"}.items():
        monkeypatch.setenv(name, str(other / place))
    assert not check_commit(project, "1.2.0"), "whose own repository has no tag"


def test_a_tag_with_a_message_is_of_its_commit(project: Path) -> None:
    git(project, "tag", "--annotate", "--message", "1.2.0", "v1.2.0")
    assert check_commit(project, "1.2.0")


def test_what_is_no_clone_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Failure, match="is no clone"):
        check_commit(tmp_path, "1.2.0")


@pytest.fixture(scope="module")
def artefacts(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    build(repository, folder)
    return folder


def test_a_release_is_a_wheel_an_sdist_and_their_checksums(artefacts: Path) -> None:
    """The wheel is made from the sdist, which build() compares with that of the checkout."""
    names = {path.name for path in artefacts.iterdir()}
    assert names == {"cuelens-0.1.0-py3-none-any.whl", "cuelens-0.1.0.tar.gz", "SHA256SUMS"}
    sums = dict(line.split("  ")[::-1] for line in (artefacts / "SHA256SUMS").read_text().splitlines())
    assert sums == {
        name: hashlib.sha256((artefacts / name).read_bytes()).hexdigest() for name in names - {"SHA256SUMS"}
    }
    (wheel,) = artefacts.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        assert console_scripts(archive) == {"cuelens"}
        assert {f"edge/model/{name}" for name in MODELS} <= set(archive.namelist())


def find_python(version: str) -> str:
    """Return a Python of that version; skips where there is none."""
    found = [Path.home() / f".pyenv/versions/{version}.{patch}/bin/python" for patch in range(20)]
    for name in (f"python{version}", *map(str, found)):
        words = [name, "-c", "import sys, venv, ensurepip; print('%d.%d' % sys.version_info[:2])"]
        try:
            done = subprocess.run(words, capture_output=True, text=True, timeout=30, check=False)
        except OSError:
            continue
        if done.stdout.strip() == version:
            return name
    pytest.skip(f"no Python {version} with venv on this machine")


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("kind", ["wheel", "sdist"])
@pytest.mark.parametrize("version", PYTHONS)
def test_pip_installs_a_working_cuelens(
    version: str, kind: str, artefacts: Path, repository: Path, tmp_path: Path
) -> None:
    """In a clean environment of each Python that is here, with the packages of the lock where pip gets them."""
    python, venv = find_python(version), tmp_path / "venv"
    (artefact,) = artefacts.glob("*.whl" if kind == "wheel" else "*.tar.gz")

    def run(*words: str | Path) -> subprocess.CompletedProcess[str]:
        return subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, timeout=600, check=False)

    made = run(python, "-m", "venv", venv)
    assert made.returncode == 0, made.stderr
    lock = repository / "deploy" / "locks" / "device.txt"
    pip = (venv / "bin" / "pip", "--quiet", "--disable-pip-version-check", "--retries", "1", "install")
    got = run(*pip, "--no-deps", "--require-hashes", "--only-binary=:all:", "--requirement", lock)
    if got.returncode:
        pytest.skip(f"pip reaches no packages here: {got.stderr.strip().splitlines()[-1:]}")
    if kind == "sdist":  # its build has an environment of its own, which pip fills from the registry
        build_lock = repository / "deploy" / "locks" / "build.txt"
        got = run(*pip, "--no-deps", "--require-hashes", "--only-binary=:all:", "--requirement", build_lock)
        assert got.returncode == 0, got.stderr
    installed = run(*pip, "--no-index", "--no-build-isolation", artefact)  # its dependencies are those of the lock
    assert installed.returncode == 0, installed.stderr
    assert {path.name for path in (venv / "bin").glob("cuelens*")} == {"cuelens"}
    cuelens = venv / "bin" / "cuelens"
    demo = run(cuelens, "demo", "--seconds", "5")
    assert demo.returncode == 0, demo.stderr
    assert re.search(r"^cues shown: .*\dx", demo.stdout, re.MULTILINE), demo.stdout
    picture = repository / "tests" / "golden" / "demo.png"
    found = run(cuelens, "faces", picture)
    assert (found.returncode, "3 faces" in found.stdout) == (0, True), found.stderr
    shown = run(cuelens, "run", "--source", f"file:{picture}", "--pace", "fast", "--sink", "log")
    assert (shown.returncode, '"seq":0' in shown.stdout) == (0, True), shown.stderr
    checked = run(cuelens, "check", "--json")
    assert '"name": "network", "state": "ok"' in checked.stdout, checked.stdout + checked.stderr
    newer = run(cuelens, "demo", "--seconds", "1", "--sink", "web:0")
    assert (newer.returncode, "install cuelens[web]" in newer.stderr) == (60, True), newer.stderr


def test_the_pythons_are_those_of_the_project(repository: Path) -> None:
    text = (repository / "pyproject.toml").read_text()
    assert tuple(re.findall(r"Python :: (3\.\d+)", text)) == PYTHONS
    assert sys.version_info[:2] >= (3, 11)


def test_the_workflows_take_others_actions_by_their_commits_alone(repository: Path) -> None:
    used = [
        line.split("uses: ", 1)[1]
        for path in (repository / ".github" / "workflows").glob("*.yml")
        for line in path.read_text(encoding="utf-8").splitlines()
        if "uses: " in line
    ]
    assert used
    assert [action for action in used if not re.fullmatch(r"[\w/-]+@[0-9a-f]{40}  # v\d+\.\d+\.\d+", action)] == []
