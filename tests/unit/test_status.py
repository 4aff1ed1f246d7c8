"""The status socket: what it sends, and that nobody who asks can stop or slow the loop."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from edge.diagnostics import status
from edge.diagnostics.status import StatusServer, ask, describe_status, gather_status, own_version
from edge.errors import CuelensError, NotRunning, SettingsInvalid, SinkUnwritable
from edge.runtime.control import Control
from edge.runtime.links import LinkReport
from edge.runtime.metrics import Metrics, SinkMetrics
from edge.settings import Settings
from edge.types import Cue, Face
from edge.vision.model import ExpressionModel
from tests.support.failures import ended_by

LEAST_KEYS = {
    *("version", "state", "expression", "reason", "frames", "inferences", "watchdog", "uptime", "fps", "recent_fps"),
    *("dropped", "latency_ms", "sinks", "source", "model", "runtime", "temperature_c", "throttled", "memory_mb"),
    *("last_frame_age", "paused"),
}


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a busy machine take its time to answer."""
    monkeypatch.setattr(status, "ASK_DEADLINE", 60.0)


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder whose path leaves room in a socket's address, as pytest's own may not."""
    with tempfile.TemporaryDirectory(dir="/tmp") as name:
        yield Path(name)


@pytest.fixture
def server(folder: Path) -> Iterator[StatusServer]:
    served = StatusServer(folder / "status.sock", lambda: {"state": "no_face", "frames": 3})
    yield served
    served.close()


class Running:
    """`cuelens run` on the demo, with a status socket, until the end of a with."""

    def __init__(self, repository: Path, *words: str, **environment: str) -> None:
        script = "from edge.cli import main; main()"
        words = (sys.executable, "-c", script, "run", "--source", "demo", *words)
        self.process = subprocess.Popen(
            words,
            cwd=repository,
            env=os.environ | environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> Running:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.communicate()

    def end(self) -> str:
        self.process.send_signal(signal.SIGTERM)
        out, err = self.process.communicate(timeout=60)
        assert self.process.returncode == 0, err
        assert "frames," in out
        return err


def ask_until(path: Path, frames: int) -> dict[str, Any]:
    """Ask until the status counts so many frames."""
    end = time.monotonic() + 60
    while time.monotonic() < end:
        with contextlib.suppress(NotRunning):
            shown = ask(path)
            if shown["frames"] >= frames:
                return shown
        time.sleep(0.05)
    raise AssertionError(f"never {frames} frames")


def test_a_run_answers_how_it_is_doing_and_takes_its_socket_away_at_the_end(repository: Path, folder: Path) -> None:
    path = folder / "status.sock"
    with Running(repository, "--status", str(path)) as running:
        shown = ask_until(path, 40)
        assert shown.keys() >= LEAST_KEYS
        assert shown["state"] in ("expression", "unsure", "no_face")
        assert shown["inferences"] > 1
        assert shown["latency_ms"].keys() == {"capture", "find", "read", "cue", "total"}
        assert shown["sinks"]["terminal"]["state"] == "working"
        assert shown["model"] == {
            "name": "emotion.tflite",
            "sha256": json.loads((repository / "models" / "emotion.json").read_text())["sha256"],
        }
        assert shown["uptime"] > 0
        assert 0 <= shown["last_frame_age"] < shown["uptime"]
        assert shown["changes"][0][1] in ("face", "no_face")
        again = ask_until(path, shown["frames"] + 1)
        assert again["uptime"] > shown["uptime"]
        assert running.end() == ""
    assert not path.exists()
    with pytest.raises(NotRunning, match="sudo systemctl start cuelens"):
        ask(path)


def test_a_loop_that_hangs_is_reported_and_its_last_cue_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    control, model = Control(), ExpressionModel()
    instants = [now := time.monotonic()]
    control.metrics = health = Metrics("x", clock=lambda: instants[-1])
    for number in range(3):
        health.count(Cue("expression", "smile", 0.9, 0.0), [], {"total": 1.0}, now - 1 + number / 10)
    shown = gather_status(control, model, "1")
    assert (shown["state"], shown["expression"]) == ("expression", "smile")
    assert shown["recent_fps"] == 10.0
    later = now + 60.0
    instants.append(later)
    monkeypatch.setattr(time, "monotonic", lambda: later)
    shown = gather_status(control, model, "1")
    assert (shown["state"], shown["expression"], shown["reason"]) == ("stalled", None, None)
    assert shown["cue_age"] >= 59
    assert shown["recent_fps"] == 0.0
    assert re.search(r"^cue +stalled \(for \d+\.?\d* s\)$", describe_status(shown), re.MULTILINE)
    health.show(Cue("no_camera", None, 0.0, 0.0), 0.0)
    assert gather_status(control, model, "1")["state"] == "no_camera"


def test_the_services_socket_is_in_its_runtime_directory_and_its_watchdog_is_counted(
    repository: Path, folder: Path
) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(folder / "notify"))
        manager.settimeout(0.2)
        ended = threading.Event()

        def listen() -> None:
            while not ended.is_set():
                with contextlib.suppress(TimeoutError):
                    manager.recv(200)

        listener = threading.Thread(target=listen)
        listener.start()
        places = {"RUNTIME_DIRECTORY": f"{folder}:/elsewhere", "NOTIFY_SOCKET": str(folder / "notify")}
        with Running(repository, **places) as running:
            shown = ask_until(folder / "status.sock", 10)
            assert shown["watchdog"] >= 1
            running.end()
        ended.set()
        listener.join()


def test_what_is_in_the_way_of_the_services_socket_does_not_stop_the_cue(repository: Path, folder: Path) -> None:
    (folder / "status.sock").write_text("not a socket")
    with Running(repository, "--seconds", "0.5", RUNTIME_DIRECTORY=str(folder)) as running:
        out, err = running.process.communicate(timeout=60)
    assert running.process.returncode == 0
    assert "no socket" in err
    assert "continuing without a status" in err
    assert "frames," in out
    assert (folder / "status.sock").read_text() == "not a socket"


def test_a_socket_that_was_asked_for_and_cannot_be_made_is_an_error(repository: Path, tmp_path: Path) -> None:
    words = ("--seconds", "0.5", "--status", str(tmp_path / ("x" * 120)))
    with Running(repository, *words) as running:
        _, err = running.process.communicate(timeout=60)
    assert "107" in ended_by(SettingsInvalid, running.process.returncode, err)
    assert "Traceback" not in err


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_only_the_services_user_and_group_may_ask(folder: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        server = StatusServer(folder / "status.sock", dict)
        mode = stat.S_IMODE((folder / "status.sock").stat().st_mode)
        server.close()
    finally:
        os.umask(before)
    assert mode == 0o660


def test_a_socket_left_behind_is_replaced(folder: Path) -> None:
    path = folder / "status.sock"
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as left:
        left.bind(str(path))
    assert path.exists()
    with pytest.raises(NotRunning):
        ask(path)
    server = StatusServer(path, lambda: {"frames": 1})
    assert ask(path) == {"frames": 1}
    server.close()


def test_a_socket_that_somebody_answers_at_is_not_taken(server: StatusServer) -> None:
    with pytest.raises(SinkUnwritable, match="another Cuelens"):
        StatusServer(server.path, dict)
    assert ask(server.path)["frames"] == 3


def test_closing_twice_or_after_another_took_the_place_removes_nothing_of_the_others(server: StatusServer) -> None:
    server.path.unlink()
    other = StatusServer(server.path, lambda: {"frames": 9})
    server.close()
    server.close()
    assert ask(server.path) == {"frames": 9}
    other.close()


@pytest.mark.parametrize("path", ["/nowhere/status.sock", "/proc/status.sock"])
def test_a_place_that_cannot_be_written_is_named(path: str) -> None:
    with pytest.raises(SinkUnwritable, match=path):
        StatusServer(Path(path), dict)


def test_an_address_too_long_is_reported_on_both_sides(folder: Path) -> None:
    long = folder / ("ü" * 50)
    for attempt in (lambda: ask(long), lambda: StatusServer(long, dict)):
        with pytest.raises(SettingsInvalid, match=f"{len(os.fsencode(long))} bytes.*107"):
            attempt()


def test_askers_who_say_much_hear_nothing_or_never_go_do_not_stop_the_next(
    server: StatusServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(status, "SEND_DEADLINE", 0.1)
    with contextlib.ExitStack() as held:
        for _ in range(5):
            hostile = held.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
            hostile.setblocking(False)
            hostile.connect(str(server.path))
            with contextlib.suppress(OSError):
                while True:
                    hostile.send(b"x" * 65536)
        gone = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        gone.connect(str(server.path))
        gone.close()
        assert ask(server.path)["frames"] == 3


def test_an_asker_who_does_not_take_a_long_answer_is_left(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(status, "SEND_DEADLINE", 1.0)
    path = folder / "status.sock"
    server = StatusServer(path, lambda: {"long": "x" * 900_000})
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as hostile:
        hostile.connect(str(path))
        assert len(ask(path)["long"]) == 900_000
    server.close()


@pytest.mark.parametrize("failure", [RuntimeError("dictionary changed size"), OSError("gone"), None])
def test_a_status_that_cannot_be_gathered_is_answered_with_why_and_gathered_again(
    folder: Path, failure: Exception | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(status, "FRESH", 0.0)
    asked: list[int] = []

    def gather() -> dict[str, Any]:
        asked.append(1)
        if len(asked) > 1:
            return {"frames": 3}
        if failure is not None:
            raise failure
        return {"frames": object()}  # which no JSON has

    server = StatusServer(folder / "s", gather)
    why = ask(folder / "s")
    named = "TypeError: Object" if failure is None else f"{type(failure).__name__}: {failure}"
    assert str(why["error"]).startswith(named)
    assert f"cannot be gathered: {named}" in describe_status(why)
    assert ask(folder / "s") == {"frames": 3}
    server.close()


def test_who_asks_all_the_time_gets_the_same_again(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    monkeypatch.setattr(status, "FRESH", 1000.0)
    monkeypatch.setattr(status, "PAUSE", 0.001)
    server = StatusServer(folder / "s", lambda: asked.append(1) or {"frames": len(asked)})
    assert [ask(folder / "s")["frames"] for _ in range(10)] == [1] * 10
    server.close()


@pytest.mark.parametrize("answer", [b"", b"\xff\xfe", b"{", b"[1]", b"x" * (1 << 21)])
def test_whatever_else_answers_is_no_running_cuelens(folder: Path, answer: bytes) -> None:
    path = folder / "other"
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as other:
        other.bind(str(path))
        other.listen()

        def reply() -> None:
            asker, _ = other.accept()
            with asker, contextlib.suppress(OSError):
                asker.sendall(answer)

        thread = threading.Thread(target=reply)
        thread.start()
        with pytest.raises(NotRunning, match=str(path)):
            ask(path)
        thread.join()


def test_one_that_never_answers_is_not_waited_for(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(status, "ASK_DEADLINE", 0.2)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as mute:
        mute.bind(str(folder / "mute"))
        mute.listen()
        with pytest.raises(NotRunning):
            ask(folder / "mute")


def test_nobody_running_is_an_exit_code_of_its_own(repository: Path, folder: Path) -> None:
    words = [sys.executable, "-c", "from edge.cli import main; main()", "status", "--socket", str(folder / "none")]
    done = subprocess.run(words, cwd=repository, capture_output=True, text=True, timeout=60, check=False)
    assert "--status PATH" in ended_by(NotRunning, done.returncode, done.stderr)
    assert (done.returncode, done.stdout) == (64, "")
    assert "Traceback" not in done.stderr


@pytest.fixture(scope="module")
def model() -> ExpressionModel:
    return ExpressionModel()


def test_before_the_first_frame_it_is_starting(model: ExpressionModel) -> None:
    shown = gather_status(Control(), model, "1")
    assert (shown["state"], shown["frames"], shown["watchdog"]) == ("starting", 0, 0)
    assert "starting" in describe_status(shown)


def test_a_status_for_a_person_names_what_is_wrong_and_leaves_out_what_is_unknown(model: ExpressionModel) -> None:
    control = Control(Settings(source="file:rtsp://ada:secret@camera/1"))
    control.metrics = health = Metrics("none 0")
    health.sinks["oled"] = SinkMetrics("waiting", 4, 1, 2, "no display")
    health.count(Cue("unsure", None, 0.2, 0.0, "away"), [Face(1, (0, 0, 9, 9), 0.0)], {"total": 7.0}, health.begun + 1)
    text = describe_status(gather_status(control, model, "0.1.0+g0123456789ab"))
    assert "unsure (away)" in text
    assert "oled" in text
    assert "no display" in text
    assert "secret" not in text
    assert "rtsp://camera/1" in text
    assert "temperature" not in text or "degrees" in text
    assert describe_status({"version": "9", "state": "dreaming"}).split() == ["cue", "dreaming"]


def test_a_sink_whose_link_is_lost_does_not_work(model: ExpressionModel) -> None:
    control = Control()
    control.metrics = metrics = Metrics("none 0")
    spec = "glasses:halo:Halo 08"
    metrics.sinks[spec] = SinkMetrics("working", 4)
    link = control.links[spec] = LinkReport("halo", "Halo 08", "connected", battery=80)
    link.latency_ms.extend((30.0, 10.0, 20.0))
    status = gather_status(control, model, "1")
    assert status["sinks"][spec]["state"] == "working"
    assert (status["links"][spec]["median_ms"], status["links"][spec]["battery"]) == (20.0, 80)
    link.state, link.error, link.losses = "lost", "Halo 08 is out of reach", 1
    status = gather_status(control, model, "1")
    assert status["sinks"][spec]["state"] == "lost"
    assert "Halo 08 lost, battery 80 %, lost 1 times: Halo 08 is out of reach" in describe_status(status)
    metrics.sinks[spec] = SinkMetrics("failed", 4, error="a fault")
    assert gather_status(control, model, "1")["sinks"][spec]["state"] == "failed"


def test_a_status_has_what_is_wrong_with_the_camera_now_and_was_before(model: ExpressionModel) -> None:
    control = Control()
    control.metrics = health = Metrics("none 0")
    health.miss_camera("frozen")
    health.find_camera(3.0)
    health.miss_camera("dark")
    health.count_fault("finder")
    for _ in range(2):
        health.count_stall()
    shown = gather_status(control, model, "1")
    assert shown["camera_losses"] == 2
    assert shown["camera"] == {
        "trouble": "dark",
        "causes": {"frozen": 1, "dark": 1},
        "slowest_notice": 0.0,
        "slowest_return": 3.0,
    }
    text = describe_status(shown)
    assert "lost 2 times (frozen 1x, dark 1x); now: dark" in text
    assert "finder 1x" in text
    assert "2 times" in text.split("blocked")[1]


def test_a_release_says_its_own_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    release = tmp_path / "releases" / "0.1.0+gabc"
    (release / "venv").mkdir(parents=True)
    (tmp_path / "current").symlink_to(release)
    monkeypatch.setattr(sys, "prefix", str(tmp_path / "current" / "venv"))
    assert own_version() == "0.1.0+gabc"  # also when `current` has become another by the time it is asked
    monkeypatch.setattr(sys, "prefix", str(tmp_path / "venv"))
    assert own_version() == version("cuelens")


def test_every_failure_here_is_one_of_ours() -> None:
    assert issubclass(NotRunning, CuelensError)
    assert NotRunning.exit_code == 64
