"""deploy.sh, run for real in a copy of its files; Python and pip are a stand-in that notes each request."""

from __future__ import annotations

import itertools
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from tests.support.failures import cause_of

SYSTEM = "/usr/bin:/bin"

# Plays `python3`, `-m venv` and `-m pip`; everything else is for the real one.
STAND_IN = f"""#!/bin/bash
if [ "$1 $2" = "-m venv" ]; then
    echo "venv" >>"$CALLS"
    target=${{!#}}
    mkdir -p "$target/bin" && cp "$0" "$target/bin/python"
elif [ "$1 $2" = "-m pip" ]; then
    echo "pip $*" >>"$CALLS"
    sleep "${{STAND_IN_SECONDS:-0}}"
    if [ -n "${{STAND_IN_FAILS:-}}" ]; then
        echo "no such wheel" >&2
        exit 1
    fi
    printf '#!/bin/sh\\necho "cuelens $*"\\n' >"${{0%/*}}/cuelens" && chmod +x "${{0%/*}}/cuelens"
else
    exec {sys.executable} "$@"
fi
"""


class Checkout:
    """A copy of what deploy.sh needs, and a PATH whose first folder is the test's own."""

    def __init__(self, folder: Path, repository: Path) -> None:
        self.root = folder / "check out"  # people's folders have blanks
        self.bin = folder / "bin"
        self.calls = folder / "calls"
        self.bin.mkdir()
        self.root.mkdir()
        shutil.copytree(repository / "deploy", self.root / "deploy")
        for name in ("deploy.sh", "pyproject.toml"):
            shutil.copy(repository / name, self.root)
        self.program("python3", STAND_IN)

    def program(self, name: str, text: str) -> None:
        path = self.bin / name
        path.write_text(text, encoding="utf-8")
        path.chmod(0o755)

    def environment(self, **extra: str) -> dict[str, str]:
        return {"PATH": f"{self.bin}:{SYSTEM}", "HOME": os.environ.get("HOME", "/"), "CALLS": str(self.calls), **extra}

    def start(self, *words: str, **extra: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [self.root / "deploy.sh", *words],
            env=self.environment(**extra),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def run(self, *words: str, **extra: str) -> subprocess.CompletedProcess[str]:
        with self.start(*words, **extra) as process:
            output, errors = process.communicate(timeout=60)
        return subprocess.CompletedProcess(words, process.returncode, output, errors)

    def called(self) -> list[str]:
        return self.calls.read_text(encoding="utf-8").splitlines() if self.calls.exists() else []


@pytest.fixture
def checkout(tmp_path: Path, repository: Path) -> Checkout:
    return Checkout(tmp_path, repository)


def test_unknown_command_names_the_valid_ones(checkout: Checkout) -> None:
    done = checkout.run("fly")
    assert cause_of(done) == "command-line"
    valid = (
        "demo, run, faces, read, replay, check, status, needs, report, dark, pair, preview, safe, sinks, host, arm64"
    )
    assert f"'fly'; valid are {valid}" in done.stderr


def test_no_command_shows_the_help(checkout: Checkout) -> None:
    done = checkout.run()
    assert (done.returncode, done.stderr, checkout.called()) == (0, "", [])
    assert "demo" in done.stdout


@pytest.mark.parametrize("machine", ["armv6l", "armv7l", "armv8l"])
def test_32_bit_arm_is_refused(checkout: Checkout, machine: str) -> None:
    checkout.program("uname", f'#!/bin/sh\n[ "$1" = -s ] && echo Linux || echo {machine}\n')
    done = checkout.run("demo")
    assert (cause_of(done), checkout.called()) == ("machine-unsupported", [])
    assert machine in done.stderr
    assert "64-bit" in done.stderr


def test_32_bit_python_on_a_64_bit_kernel_is_refused(checkout: Checkout) -> None:
    checkout.program("uname", '#!/bin/sh\n[ "$1" = -s ] && echo Linux || echo aarch64\n')
    checkout.program("python3", "#!/bin/sh\necho 3.11 32\n")
    done = checkout.run("demo")
    assert cause_of(done) == "machine-unsupported"
    assert "32-bit Python" in done.stderr


def test_other_system_is_refused(checkout: Checkout) -> None:
    checkout.program("uname", '#!/bin/sh\n[ "$1" = -s ] && echo Darwin || echo arm64\n')
    for command in (("demo",), ("bundle",), ("push", "pi@glasses")):
        done = checkout.run(*command)
        assert (cause_of(done), done.stderr.count("\n"), checkout.called()) == ("machine-unsupported", 1, [])
        assert "Darwin arm64" in done.stderr
        assert "on a Mac in a container" in done.stderr


def test_a_system_without_flock_is_reported_before_anything_is_locked(checkout: Checkout) -> None:
    """As macOS and Git Bash are; and a Linux without util-linux."""
    for name in ("bash", "env", "dirname", "readlink"):
        found = shutil.which(name)
        assert found
        (checkout.bin / name).symlink_to(found)
    for system, words in (("MINGW64_NT-10.0", "on Windows in WSL"), ("Linux", "sudo apt install util-linux")):
        checkout.program("uname", f'#!/bin/sh\n[ "$1" = -s ] && echo {system} || echo x86_64\n')
        done = checkout.run("demo", PATH=str(checkout.bin))
        assert (cause_of(done), words in done.stderr, done.stderr.count("\n")) == ("machine-unsupported", True, 1), (
            done.stderr
        )


def test_windows_line_ends_are_named(checkout: Checkout) -> None:
    program = checkout.root / "deploy.sh"
    program.write_bytes(program.read_bytes().replace(b"\n", b"\r\n"))
    done = subprocess.run(["bash", program, "demo"], capture_output=True, text=True, check=False)
    assert (cause_of(done), "take a fresh clone" in done.stderr) == ("checkout-incomplete", True), done.stderr
    assert done.stderr.count("\n") == 1


def test_a_clone_by_windows_git_has_no_windows_line_ends(repository: Path, tmp_path: Path) -> None:
    if not (repository / ".git").exists():
        pytest.skip("no clone")
    clone = tmp_path / "clone"
    settings = ("-c", "core.autocrlf=true", "-c", "core.eol=crlf")
    subprocess.run(["git", *settings, "clone", "-q", "--depth", "1", f"file://{repository}", clone], check=True)
    listed = subprocess.run(
        ["git", *settings, "ls-files", "--eol"], cwd=clone, capture_output=True, text=True, check=True
    )
    assert not [line for line in listed.stdout.splitlines() if "crlf" in line.partition("attr/")[0]]
    assert not [line for line in listed.stdout.splitlines() if line.split()[1] == "w/mixed"]


def test_python_of_a_wrong_version_is_named_with_what_is_valid(checkout: Checkout) -> None:
    checkout.program("old", "#!/bin/sh\necho 3.9 64\n")
    done = checkout.run("demo", CUELENS_PYTHON=str(checkout.bin / "old"))
    assert cause_of(done) == "python-unusable"
    assert "is cpython 3.9" not in done.stderr
    assert "is 3.9; valid are 3.11 to 3.14: install one" in done.stderr


@pytest.mark.parametrize(
    ("answer", "cause", "words"),
    [
        ("3.15 64 cpython", "python-unusable", "is 3.15; valid are 3.11 to 3.14"),
        ("3.14 64 free-threaded", "python-unusable", "is free-threaded 3.14; valid are"),
        ("3.11 64 pypy", "python-unusable", "is pypy 3.11; valid are"),
        ("3.12 64 musl", "machine-unsupported", "use Debian, Ubuntu or Raspberry Pi OS"),
    ],
)
def test_a_python_that_no_package_is_locked_for_is_named(
    checkout: Checkout, answer: str, cause: str, words: str
) -> None:
    checkout.program("other", f"#!/bin/sh\necho {answer}\n")
    done = checkout.run("demo", CUELENS_PYTHON=str(checkout.bin / "other"))
    assert (cause_of(done), words in done.stderr, checkout.called()) == (cause, True, []), done.stderr


def test_the_host_needs_a_python_that_tensorflow_has_packages_for(checkout: Checkout) -> None:
    checkout.program("newest", STAND_IN.replace("exec", '[ "$1" != -c ] || exec echo 3.14 64 cpython\n    exec'))
    done = checkout.run("host", CUELENS_PYTHON=str(checkout.bin / "newest"))
    assert cause_of(done) == "python-unusable"
    assert "is 3.14; valid are 3.11 to 3.13, after which TensorFlow has no packages" in done.stderr
    assert checkout.run("demo", CUELENS_PYTHON=str(checkout.bin / "newest")).returncode == 0


def test_missing_python_is_named(checkout: Checkout) -> None:
    done = checkout.run("demo", CUELENS_PYTHON="python3.99")
    assert cause_of(done) == "python-unusable"
    assert "python3.99 is missing" in done.stderr


def test_later_name_is_tried_when_python3_is_too_old(checkout: Checkout) -> None:
    checkout.program("python3.13", STAND_IN)
    checkout.program("python3", "#!/bin/sh\necho 3.9 64\n")
    assert checkout.run("demo").returncode == 0


def test_missing_venv_module_names_the_package(checkout: Checkout) -> None:
    checkout.program("python3", '#!/bin/sh\ncase "$*" in *ensurepip*) exit 1 ;; *) echo 3.11 64 ;; esac\n')
    done = checkout.run("demo")
    assert cause_of(done) == "venv-missing"
    assert "sudo apt install python3-venv" in done.stderr


def test_arguments_and_exit_code_pass_through(checkout: Checkout) -> None:
    done = checkout.run("run", "--source", "a b.mp4")
    assert (done.returncode, done.stdout) == (0, "cuelens run --source a b.mp4\n")
    program = checkout.root / ".venv/bin/cuelens"
    program.write_text("#!/bin/sh\nexit 12\n", encoding="utf-8")
    assert checkout.run("run").returncode == 12


def test_packages_are_taken_from_the_lock_only(checkout: Checkout) -> None:
    checkout.run("demo")
    packages = next(line for line in checkout.called() if "device.txt" in line)
    assert "--require-hashes --only-binary=:all:" in packages
    assert not [line for line in checkout.called() if "host.txt" in line or "dev.txt" in line]
    assert not [line for line in checkout.called() if "index-url" in line or "find-links" in line]


def test_bundle_has_the_locks_build_tools_and_gets_its_arguments(checkout: Checkout) -> None:
    done = checkout.run("bundle", "--suite", "buster")
    assert done.returncode == 2
    assert "invalid choice: 'buster' (choose from" in done.stderr
    target = f"--target {checkout.root}/.venv/backend -r {checkout.root}/deploy/locks/build.txt"
    assert sum(line.endswith(target) for line in checkout.called()) == 1


def test_sinks_are_added_from_their_lock_and_only_when_asked_for(checkout: Checkout) -> None:
    checkout.run("demo")
    assert not [line for line in checkout.called() if "sinks.txt" in line]
    before = len(checkout.called())
    done = checkout.run("sinks")
    assert (done.returncode, done.stdout) == (0, "")
    assert "adding the libraries of the optional sinks to .venv" in done.stderr
    assert "ready in .venv: the sinks display, oled, web, mqtt and glasses, and [pins]" in done.stderr
    calls = checkout.called()[before:]
    assert all("--no-deps --require-hashes --only-binary=:all:" in call for call in calls)
    assert [call.rpartition("deploy/locks/")[2] for call in calls] == ["sinks.txt", "glasses.txt"]
    assert checkout.run("sinks").returncode == 0
    assert len(checkout.called()) == before + 2


def test_sinks_stay_when_the_environment_is_made_again_or_their_lock_changes(checkout: Checkout) -> None:
    checkout.run("sinks")
    for lock in ("device", "sinks"):
        with (checkout.root / f"deploy/locks/{lock}.txt").open("a") as file:
            file.write("# changed\n")
        checkout.run("demo")
    assert checkout.called().count("venv") == 2
    assert sum("sinks.txt" in line for line in checkout.called()) == 3


def test_the_tests_have_sinks_and_tools_in_both_environments(checkout: Checkout) -> None:
    checkout.run("test")
    steps = ("install_sinks", "install_glasses", "install_tools", "install_emulation")
    for venv, step in itertools.product((".venv", ".venv-host"), steps):
        assert (checkout.root / venv / f".{step}").exists(), (venv, step)
    for lock in ("sinks.txt", "glasses.txt", "dev.txt", "emulation.txt"):
        assert sum(line.endswith(lock) for line in checkout.called()) == 2


def test_failed_install_of_sinks_is_taken_up_again(checkout: Checkout) -> None:
    checkout.run("demo")
    assert cause_of(checkout.run("sinks", STAND_IN_FAILS="1")) == "installation-failed"
    assert checkout.run("sinks").returncode == 0
    assert sum("sinks.txt" in line for line in checkout.called()) == 2


def test_second_start_asks_nothing_of_pip(checkout: Checkout) -> None:
    assert checkout.run("demo").returncode == 0
    before = checkout.called()
    done = checkout.run("demo", "--seconds", "1")
    assert (done.stdout, done.stderr, checkout.called()) == ("cuelens demo --seconds 1\n", "", before)


def test_failed_install_shows_pips_words_and_is_taken_up_again(checkout: Checkout) -> None:
    done = checkout.run("demo", STAND_IN_FAILS="1")
    assert cause_of(done) == "installation-failed"
    assert "no such wheel" in done.stderr
    assert checkout.run("demo").returncode == 0


@pytest.mark.parametrize("word", ["device.txt", "build.txt", "--editable"])
def test_killed_in_the_middle_is_repaired_by_the_next_start(checkout: Checkout, word: str) -> None:
    process = checkout.start("demo", STAND_IN_SECONDS="0.5")
    try:
        deadline = time.monotonic() + 30
        while not any(word in line for line in checkout.called()):
            assert time.monotonic() < deadline, checkout.called()
            time.sleep(0.01)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
    done = checkout.run("demo")
    assert (done.returncode, done.stdout) == (0, "cuelens demo\n"), done.stderr
    assert sum("--editable" in line for line in checkout.called()) == (2 if word == "--editable" else 1)


def test_broken_environment_is_made_again(checkout: Checkout) -> None:
    checkout.run("demo")
    (checkout.root / ".venv/bin/python").unlink()
    assert checkout.run("demo").returncode == 0
    assert checkout.called().count("venv") == 2


def test_changed_lock_makes_it_again_and_changed_project_only_installs_that(checkout: Checkout) -> None:
    checkout.run("demo")
    with (checkout.root / "pyproject.toml").open("a") as file:
        file.write("# changed\n")
    checkout.run("demo")
    assert checkout.called().count("venv") == 1
    assert sum("--editable" in line for line in checkout.called()) == 2
    with (checkout.root / "deploy/locks/device.txt").open("a") as file:
        file.write("# changed\n")
    checkout.run("demo")
    assert checkout.called().count("venv") == 2


def test_moved_checkout_makes_it_again(checkout: Checkout) -> None:
    """Scripts in an environment name their interpreter by its whole path."""
    checkout.run("demo")
    checkout.root = checkout.root.rename(checkout.root.with_name("elsewhere"))
    checkout.run("demo")
    assert checkout.called().count("venv") == 2


def test_concurrent_starts_set_up_once(checkout: Checkout) -> None:
    starts = [checkout.start("demo", STAND_IN_SECONDS="0.2") for _ in range(3)]
    outputs = [start.communicate(timeout=60)[0] for start in starts]
    assert outputs == ["cuelens demo\n"] * 3
    assert checkout.called().count("venv") == 1
    assert sum("--editable" in line for line in checkout.called()) == 1


def test_a_running_program_holds_no_lock(checkout: Checkout) -> None:
    checkout.run("demo")
    program = checkout.root / ".venv/bin/cuelens"
    program.unlink()
    (checkout.root / ".venv/.install_project").unlink()
    process = checkout.start("demo", STAND_IN_SECONDS="0")
    process.communicate(timeout=60)
    program.write_text("#!/bin/sh\nls -l /proc/$$/fd\n", encoding="utf-8")
    assert "pyproject" not in checkout.run("demo").stdout


def test_pi_keeps_the_systems_numpy(checkout: Checkout, tmp_path: Path) -> None:
    """Where picamera2 is the system's, the environment sees it, and numpy does not come from pip."""
    modules = tmp_path / "modules"
    for name in ("picamera2", "numpy"):
        (modules / name).mkdir(parents=True)
        (modules / name / "__init__.py").touch()
    copy = tmp_path / "lock"
    system = STAND_IN.replace("sleep", f'[ -e {copy} ] || cat "${{!#}}" >{copy}\n    sleep')
    probe = (
        f'case "$*" in *find_spec*) shift; PYTHONPATH={modules} ;; esac; export PYTHONPATH\n    exec {sys.executable}'
    )
    checkout.program("python3", system.replace(f"exec {sys.executable}", probe))
    done = checkout.run("demo")
    assert done.returncode == 0, done.stderr
    names = [line.partition("==")[0] for line in copy.read_text(encoding="utf-8").splitlines() if "==" in line]
    assert "opencv-python-headless" in names
    assert "numpy" not in names


def test_signals_reach_the_program(checkout: Checkout) -> None:
    checkout.run("demo")
    (checkout.root / ".venv/bin/cuelens").write_text("#!/bin/bash\necho ready; exec sleep 600\n", encoding="utf-8")
    process = checkout.start("demo")
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.terminate()
    process.communicate(timeout=60)
    assert process.returncode == -signal.SIGTERM


# What people's shells and files have set for pip and Python, by what it breaks.
PIP_SETTINGS = {"PIP_USER": "1", "PIP_TARGET": "/nowhere", "PIP_PREFIX": "/nowhere", "PIP_REQUIRE_HASHES": "1"}
PYTHON_SETTINGS = {"PYTHONPATH": "/nowhere", "PYTHONHOME": "/nowhere", "PYTHONUSERBASE": "/nowhere"}
SHOW = STAND_IN.replace(
    'echo "pip $*" >>"$CALLS"', 'echo "pip $*" >>"$CALLS"; env | grep -E "^(PIP|PYTHON|TMPDIR)" | sort >"$CALLS.env"'
)


def settings_of(checkout: Checkout) -> dict[str, str]:
    """What pip was started with at last, of its own settings, Python's and the folder for temporary files."""
    text = checkout.calls.with_name("calls.env").read_text(encoding="utf-8")
    return dict(line.split("=", 1) for line in text.splitlines())


def test_settings_of_pip_and_python_have_a_say_in_where_packages_come_from_alone(checkout: Checkout) -> None:
    checkout.program("python3", SHOW)
    kept = {"PIP_INDEX_URL": "http://mirror/simple", "PIP_CERT": "/some.pem", "PIP_RETRIES": "2"}
    done = checkout.run("demo", **PIP_SETTINGS, **PYTHON_SETTINGS, **kept, PIP_CONFIG_FILE="/dev/null")
    assert (done.returncode, done.stdout) == (0, "cuelens demo\n"), done.stderr
    backend = {"PYTHONPATH": f"{checkout.root}/.venv/backend"}
    ours = {"PIP_CONFIG_FILE": "/dev/null", "PYTHONNOUSERSITE": "1", "TMPDIR": f"{checkout.root}/.cache/tmp"}
    assert settings_of(checkout) == {**kept, **ours, **backend}


def test_a_pip_conf_has_a_say_in_where_packages_come_from_alone(checkout: Checkout, tmp_path: Path) -> None:
    checkout.program("python3", SHOW)
    conf = tmp_path / "pip.conf"
    conf.write_text(
        "[global]\nuser = yes\nindex-url = http://mirror/simple\nextra-index-url =\n    http://a b\n    http://c\n"
        "[install]\ntarget = /nowhere\nindex-url = http://nearer/simple\nretries = 7\n[download]\ncert = /x\n",
        encoding="utf-8",
    )
    done = checkout.run("demo", PIP_CONFIG_FILE=str(conf), PIP_RETRIES="2")
    assert done.returncode == 0, done.stderr
    found = settings_of(checkout)
    assert (found["PIP_INDEX_URL"], found["PIP_RETRIES"], found["PIP_CONFIG_FILE"]) == (
        "http://nearer/simple",
        "2",
        "/dev/null",
    )
    assert not {"PIP_USER", "PIP_TARGET"} & found.keys()


def test_what_is_temporary_lies_beside_the_environment_unless_somebody_says_where(
    checkout: Checkout, tmp_path: Path
) -> None:
    checkout.program("python3", SHOW)
    checkout.run("demo")
    assert settings_of(checkout)["TMPDIR"] == f"{checkout.root}/.cache/tmp"
    assert not (checkout.root / ".cache/tmp").exists(), "and nothing of it stays"
    checkout.run("sinks", TMPDIR=str(tmp_path))
    assert settings_of(checkout)["TMPDIR"] == str(tmp_path)


def test_a_full_folder_for_temporary_files_is_named_with_what_is_missing(checkout: Checkout, tmp_path: Path) -> None:
    checkout.program(
        "df", f"#!/bin/sh\necho head\ncase $* in *{tmp_path}/small) echo x 1 1 65536 ;; *) echo x 1 1 9999999 ;; esac\n"
    )
    (tmp_path / "small").mkdir()
    done = checkout.run("demo", STAND_IN_FAILS="1", TMPDIR=str(tmp_path / "small"))
    assert cause_of(done) == "installation-failed"
    assert f"{tmp_path}/small has 64 MiB free, 400 are needed" in done.stderr
    assert "TMPDIR=FOLDER ./deploy.sh" in done.stderr
    done = checkout.run("demo", STAND_IN_FAILS="1", TMPDIR=str(tmp_path / "none"))
    assert f"TMPDIR is {tmp_path}/none, which is no folder" in done.stderr
    assert "check the network" in checkout.run("demo", STAND_IN_FAILS="1").stderr


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to be two users")
@pytest.mark.parametrize("mask", ["022", "077"])
def test_what_another_user_made_is_named_with_what_gives_it_back(repository: Path, mask: str) -> None:
    # Neither pytest's own folder nor what TMPDIR names need be open to another user.
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        Path(folder).chmod(0o755)
        checkout = Checkout(Path(folder), repository)
        subprocess.run(["chmod", "-R", "a+rX", folder], check=True)
        hold_to_what_another_user_may(checkout, mask)


def hold_to_what_another_user_may(checkout: Checkout, mask: str) -> None:
    os.chown(checkout.root, 65534, 65534)
    first = ["sh", "-c", f"umask {mask}; exec ./deploy.sh demo"]
    made = checkout.environment(SUDO_USER="nobody")
    done = subprocess.run(first, cwd=checkout.root, env=made, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr.count("this needs no sudo")) == (0, 1), done.stderr
    os.chown(checkout.root / ".cache", 65534, 65534)
    with (checkout.root / "deploy/locks/device.txt").open("a") as file:
        file.write("# changed\n")
    user = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "./deploy.sh", "demo"]
    done = subprocess.run(
        user, cwd=checkout.root, env=checkout.environment(), capture_output=True, text=True, check=False
    )
    assert cause_of(done) == "installation-failed", done.stderr
    assert f"sudo chown -R nobody {checkout.root}/.venv" in done.stderr
    assert "cannot remove" not in done.stderr
