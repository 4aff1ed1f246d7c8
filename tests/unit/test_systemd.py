"""What the service manager hears: ready, alive, stopping, over the socket it names."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from edge.errors import SettingsInvalid
from edge.system.systemd import notify, service_settings_file
from tests.support.failures import ended_by


@pytest.mark.parametrize("abstract", [False, True])
def test_a_run_says_ready_then_alive_with_every_frame_then_stopping(
    tmp_path: Path, repository: Path, abstract: bool
) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        address = f"@cuelens-test-{os.getpid()}" if abstract else str(tmp_path / "notify")
        manager.bind(address.replace("@", "\0", 1) if abstract else address)
        manager.settimeout(60)
        script = "from edge.cli import main; main()"
        words = ["run", "--source", "demo", "--seconds", "3"]  # 90 frames, of which a busy machine shows some
        environment = os.environ | {"NOTIFY_SOCKET": address}
        with subprocess.Popen(
            [sys.executable, "-c", script, *words], cwd=repository, env=environment, stdout=subprocess.DEVNULL
        ) as process:
            heard = [manager.recv(100).decode()]
            while heard[-1] != "STOPPING=1":
                heard.append(manager.recv(100).decode())
            assert process.wait(timeout=60) == 0
    assert heard[0] == "READY=1"
    assert heard[-1] == "STOPPING=1"
    assert {line.partition("\n")[0] for line in heard[1:-1]} == {"WATCHDOG=1"}
    answer = [line.partition("\n")[2] for line in heard[1:-1] if "\n" in line]
    assert len(answer) == 1  # the next would come ten seconds later
    assert re.fullmatch(r"STATUS=\d+\.\d fps, (face|no_face|unsure)", answer[0])
    assert len(heard) > 10


def test_without_a_service_manager_nothing_is_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    monkeypatch.setattr(socket, "socket", lambda *_: pytest.fail("a socket was opened"))
    notify("READY=1")


def test_a_manager_that_went_away_stops_nothing(tmp_path: Path, repository: Path) -> None:
    environment = os.environ | {"NOTIFY_SOCKET": str(tmp_path / "gone")}
    words = [sys.executable, "-c", "from edge.cli import main; main()", "run", "--source", "demo", "--seconds", "1"]
    done = subprocess.run(words, cwd=repository, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "frames," in done.stdout


def test_the_services_settings_are_read_where_systemd_says_but_need_not_be_there(
    tmp_path: Path, repository: Path
) -> None:
    def run(*words: str) -> subprocess.CompletedProcess[str]:
        script = "from edge.cli import main; main()"
        environment = os.environ | {"CONFIGURATION_DIRECTORY": str(tmp_path)}
        words = ("run", "--seconds", "1", "--pace", "fast", *words)
        return subprocess.run(
            [sys.executable, "-c", script, *words],
            cwd=repository,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )

    assert run("--source", "demo").returncode == 0
    (tmp_path / "cuelens.toml").write_text('source = "demo:x"')
    done = run()
    assert "demo:x: no seed" in ended_by(SettingsInvalid, done.returncode, done.stderr)
    (tmp_path / "cuelens.toml").write_text('source = "demo"\nsinks = ["log"]')
    done = run()
    assert done.stdout.count('"seq"') > 10, done.stderr


def test_of_several_folders_of_settings_the_first_is_the_services(tmp_path: Path) -> None:
    (tmp_path / "cuelens.toml").touch()
    for folders in (f"{tmp_path}", f"{tmp_path}:/etc/other"):
        assert service_settings_file({"CONFIGURATION_DIRECTORY": folders}) == tmp_path / "cuelens.toml"
    assert service_settings_file({"CONFIGURATION_DIRECTORY": f"/etc/other:{tmp_path}"}) is None


def test_a_mistake_in_the_services_settings_is_reported_and_the_rest_counts(tmp_path: Path, repository: Path) -> None:
    (tmp_path / "cuelens.toml").write_text(
        'source = "demo"\npace = "fast"\nthreads = 99\nsinks = ["terminal", "log"]\n'
    )
    environment = os.environ | {"CONFIGURATION_DIRECTORY": str(tmp_path)}
    words = [sys.executable, "-c", "from edge.cli import main; main()", "run", "--seconds", "1"]
    done = subprocess.run(
        words, cwd=repository, env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "cuelens.toml:3: threads is 99; valid are 1 to 8; using the other" in done.stderr
    assert '"state"' in done.stdout, "the log that the settings name is written"
    by_hand = subprocess.run(
        [*words, "--config", str(tmp_path / "cuelens.toml")],
        cwd=repository,
        capture_output=True,
        text=True,
        check=False,
    )
    ended_by(SettingsInvalid, by_hand.returncode, by_hand.stderr)  # whoever names a file wants its error
