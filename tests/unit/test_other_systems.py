"""What works without what is Linux' own: played by tests.support.other_system, as no macOS or Windows is at hand."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from edge.errors import RuntimeMissing
from tests.support.other_system import KINDS

PEOPLE = "tests/golden/demo.png"

systems = pytest.mark.parametrize("system", KINDS)


def start(repository: Path, *words: str | Path) -> subprocess.CompletedProcess[str]:
    python = [sys.executable, "-m", "tests.support.other_system", *map(str, words)]
    return subprocess.run(python, cwd=repository, capture_output=True, text=True, timeout=240, check=False)


@systems
def test_the_demo_shows_its_cues(repository: Path, system: str) -> None:
    done = start(repository, system, "demo", "--seconds", "2")
    assert (done.returncode, "Traceback" in done.stderr) == (0, False), done.stderr
    assert re.search(r"^cues shown: .*\dx", done.stdout, re.MULTILINE), done.stdout


@systems
def test_a_run_on_a_picture_writes_log_pictures_and_video(repository: Path, system: str, tmp_path: Path) -> None:
    log, drawn, film = tmp_path / "cues.log", tmp_path / "cue.png", tmp_path / "cues.avi"
    sinks = [word for sink in (f"log:{log}", f"png:{drawn}", f"video:{film}") for word in ("--sink", sink)]
    done = start(repository, system, "run", "--source", f"file:{PEOPLE}", "--pace", "fast", *sinks)
    assert (done.returncode, "Traceback" in done.stderr) == (0, False), done.stderr
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert max(len(line["faces"]) for line in lines) == 3
    assert drawn.read_bytes().startswith(b"\x89PNG")
    assert film.read_bytes().startswith(b"RIFF")


@systems
def test_it_finds_the_faces_that_linux_finds(repository: Path, system: str) -> None:
    here = subprocess.run(
        [sys.executable, "-c", "from edge.cli import main; main()", "faces", PEOPLE],
        cwd=repository,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    done = start(repository, system, "faces", PEOPLE)
    assert (done.returncode, done.stdout) == (0, here.stdout), done.stderr
    assert "3 faces" in done.stdout


@systems
@pytest.mark.parametrize(
    ("words", "what"),
    [
        (["check"], "cuelens check"),
        (["status"], "cuelens status"),
        (["run", "--source", "v4l2"], "--source v4l2"),
        (["run", "--source", "picamera"], "--source picamera"),
        (["demo", "--status", "status.sock"], "--status"),
        (["demo", "--sink", "audio"], "--sink audio"),
    ],
)
def test_what_needs_linux_is_named_in_a_sentence(repository: Path, system: str, words: list[str], what: str) -> None:
    done = start(repository, system, *words)
    assert (done.returncode, done.stdout) == (RuntimeMissing.exit_code, ""), done.stderr
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"cuelens: {what} needs Linux, and this system is {system}; what works here: cuelens demo")


@systems
def test_the_played_system_lacks_what_the_real_one_lacks(repository: Path, system: str) -> None:
    """Without this, a test that passes could mean that nothing was taken away."""
    script = (
        "import sys; from tests.support.other_system import play; play(sys.argv[1])\n"
        "import importlib.util, os, signal, socket\n"
        "modules = [name for name in ('fcntl', 'termios', 'resource') if sys.modules.get(name, 0) is None]\n"
        "names = [hasattr(os, 'eventfd'), hasattr(signal, 'SIGPWR'), os.path.isdir('/proc')]\n"
        "try:\n    open('/proc/self/status')\nexcept FileNotFoundError:\n    names.append('no /proc')\n"
        "print(len(modules), names[:2], names[3:], hasattr(socket, 'AF_UNIX'), hasattr(signal, 'SIGHUP'))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, system], cwd=repository, capture_output=True, text=True, timeout=60, check=False
    )
    expected = "3 {0} False False" if system == "win32" else "0 {0} True True"
    assert done.stdout.strip() == expected.format("[False, False] ['no /proc']"), done.stderr
