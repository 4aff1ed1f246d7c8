"""Every way a run can end: the camera's light is dark, and what was written is whole and readable."""

from __future__ import annotations

import fcntl
import os
import pty
import signal
import subprocess
import sys
import termios
import wave
from pathlib import Path
from typing import Any

import cv2
import pytest

from edge.errors import DiskFull, SinkFailed
from tests.support.failures import ended_by
from tests.support.light import SETTINGS, Run

FILES = ("log:log.jsonl", "video:out.mp4", "audio:file:out.wav", "png:cue.png")
ENDING = ("HUP", "INT", "QUIT", "TERM", "USR1", "USR2", "XCPU", "PWR", "RTMIN")


def begin(folder: Path, **popen: Any) -> Run:
    started = Run(folder, sinks=FILES, **popen)
    wait_until_filmed(started)
    assert started.lit()
    return started


def wait_until_filmed(started: Run) -> None:
    """Wait until the video sink, which a busy machine may leave behind, has opened its file for the first frames."""
    started.wait_for(lambda: any(path.stat().st_size for path in started.folder.glob("*.part*.mp4")))


def see_whole(folder: Path) -> None:
    """Read back every file that FILES names, and find nothing beside them."""
    film = cv2.VideoCapture(str(folder / "out.mp4"))
    frames = 0
    while film.grab():
        frames += 1
    film.release()
    assert frames > 5
    with wave.open(str(folder / "out.wav")) as sound:
        assert sound.getnframes() * 2 == (folder / "out.wav").stat().st_size - 44
    assert cv2.imread(str(folder / "cue.png")) is not None
    assert (folder / "log.jsonl").read_bytes().endswith(b"}\n")
    assert [path.name for path in folder.iterdir() if ".part" in path.name] == []


@pytest.mark.parametrize("name", ENDING)
def test_a_signal_leaves_it_dark_and_its_files_whole(tmp_path: Path, name: str) -> None:
    started = begin(tmp_path)
    started.send(getattr(signal, f"SIG{name}"))
    code, errors = started.end()
    assert (code, errors) == (0, "")
    assert not started.lit()
    see_whole(tmp_path)


def test_a_terminal_that_goes_away_ends_it_dark_and_whole(tmp_path: Path) -> None:
    ours, its = pty.openpty()

    def take_terminal() -> None:
        os.setsid()
        fcntl.ioctl(its, termios.TIOCSCTTY, 0)

    started = Run(
        tmp_path,
        sinks=("terminal", *FILES),
        stdin=its,
        stdout=its,
        stderr=its,
        preexec_fn=take_terminal,
        env={**os.environ, "TERM": "xterm"},
    )
    os.close(its)
    wait_until_filmed(started)
    os.close(ours)  # the window is closed: SIGHUP, and every write fails with EIO
    started.end()
    assert not started.lit()
    see_whole(tmp_path)


def test_a_run_that_a_shell_keeps_from_the_terminals_end_goes_on(tmp_path: Path) -> None:
    started = begin(tmp_path, preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN))  # as nohup does
    started.send(signal.SIGHUP)
    seen = started.count("frame")
    started.wait_for(lambda: started.count("frame") > seen + 5)
    started.send(signal.SIGTERM)
    assert started.end()[0] == 0
    see_whole(tmp_path)


@pytest.mark.parametrize("closed", [(0,), (1,), (2,), (1, 2), (0, 1, 2)])
def test_streams_that_are_closed_at_the_start_are_not_needed(tmp_path: Path, closed: tuple[int, ...]) -> None:
    started = begin(tmp_path, preexec_fn=lambda: [os.close(number) for number in closed])
    started.send(signal.SIGTERM)
    assert started.end() == (0, "")
    assert not started.lit()
    see_whole(tmp_path)


def test_a_reader_of_errors_that_goes_away_ends_nothing(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    started = begin(tmp_path, stderr=writing)
    os.close(writing)
    os.close(reading)
    started.press()  # what is said from now on, nobody reads
    started.press()
    seen = started.count("frame")
    started.wait_for(lambda: started.count("frame") > seen + 5)
    started.send(signal.SIGTERM)
    assert started.end()[0] == 0
    see_whole(tmp_path)


def test_a_reader_of_the_terminals_lines_that_goes_away_ends_its_sink_alone(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    started = Run(tmp_path, SETTINGS, sinks=("terminal", *FILES), stdout=writing)
    os.close(writing)
    started.wait_for(lambda: started.count("frame") > 10)
    os.close(reading)
    started.wait_for(lambda: started.count("frame") > 80)
    wait_until_filmed(started)
    started.send(signal.SIGTERM)
    code, errors = started.end()
    ended_by(SinkFailed, code, errors)
    assert errors.splitlines()[0] == "standard output: Broken pipe; what read it has ended [sink-failed]"
    assert "Traceback" not in errors
    assert not started.lit()
    see_whole(tmp_path)


CUELENS = [sys.executable, "-c", "from edge.cli import main; main()"]
COMMANDS = (["--version"], ["replay", "log.jsonl"], ["faces", "face.png"])


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory, repository: Path) -> Path:
    """A folder with what the commands read."""
    folder = tmp_path_factory.mktemp("written")
    words = ["demo", "--pace", "fast", "--seconds", "1", "--sink", "log:log.jsonl"]
    subprocess.run([*CUELENS, *words], cwd=folder, env=_environment(repository), check=True, capture_output=True)
    cv2.imwrite(str(folder / "face.png"), cv2.imread(str(repository / "tests/golden/demo.png")))
    return folder


def _environment(repository: Path) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(repository)}


@pytest.mark.parametrize("words", [*COMMANDS, ["check"]], ids=" ".join)
def test_a_command_whose_reader_went_away_ends_as_every_program_does(
    repository: Path, written: Path, words: list[str]
) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [*CUELENS, *words],
        cwd=written,
        env=_environment(repository),
        stdout=writing,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    os.close(writing)
    assert (done.returncode, done.stderr) == (128 + signal.SIGPIPE, "")


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
@pytest.mark.parametrize("closed", [(1,), (2,), (0, 1, 2)])
def test_a_command_without_streams_ends_as_with_them(
    repository: Path, written: Path, words: list[str], closed: tuple[int, ...]
) -> None:
    def run(**more: Any) -> int:
        environment = _environment(repository)
        done = subprocess.run([*CUELENS, *words], cwd=written, env=environment, check=False, **more)
        return done.returncode

    without = run(preexec_fn=lambda: [os.close(number) for number in closed])
    assert without == run(stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_a_command_whose_output_does_not_fit_says_so(repository: Path, written: Path, words: list[str]) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [*CUELENS, *words],
            cwd=written,
            env=_environment(repository),
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert done.returncode == DiskFull.exit_code
    assert done.stderr.endswith(
        ": standard output: No space left on device; free some space or choose another disk [disk-full]\n"
    )
    assert done.stderr.count("\n") == 1
