"""Standard streams that lack letters, descriptors or a width: everything is still printed."""

from __future__ import annotations

import io
import os
import pty
import struct
import subprocess
import sys
from fcntl import ioctl
from pathlib import Path
from termios import TIOCSWINSZ

import pytest

from edge.errors import SettingsInvalid
from edge.locale import LANGUAGES
from edge.runtime.control import Control
from edge.settings import LookSettings, Settings
from edge.sinks.terminal import TerminalSink
from edge.system.streams import STANDARD, columns, is_live
from edge.types import Cue, Update

SCRIPT = """
from edge.system.program import command
from edge.settings import LookSettings
from edge.locale import LANGUAGES, read_locale
from edge.locale.words import describe
from edge.types import Cue

@command
def main(parser, argv):
    for language in LANGUAGES:
        for state in ("no_camera", "no_face", "unsure", "paused", "stopped"):
            print(describe(Cue(state, None, 0.0, 0.0), LookSettings(language=language)))
        for word in read_locale(language).words.values():
            print(word)
    print("na\\u00efve \\u2013 \\u00dc \\u6f22 caf\\udce9 \\u2026 \\u00df")
main()
"""


def printed(repository: Path, **environment: str) -> bytes:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], cwd=repository, env=os.environ | environment, capture_output=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, b"")
    return done.stdout


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "koi8-r", "iso8859-5", "cp437", "utf-8"])
def test_every_word_of_every_language_is_printed_on_a_terminal_of_any_letters(repository: Path, encoding: str) -> None:
    lines = printed(repository, PYTHONIOENCODING=encoding).decode(encoding).splitlines()
    assert len(lines) > 4 * len(LANGUAGES)
    assert "?" not in "".join(lines[:-1]), "each letter has one that stands for it"
    expected = {"utf-8": "naïve \u2013 Ü 漢 caf\\xe9 … ß", "ascii": "naive - U ? caf\\xe9 ... ss"}
    assert lines[-1] == expected.get(encoding, lines[-1])


def test_a_system_without_a_locale_prints_too(repository: Path) -> None:
    out = printed(repository, LC_ALL="C", PYTHONCOERCECLOCALE="0", PYTHONUTF8="0")
    assert out.decode("ascii").splitlines()[-1] == "naive - U ? caf\\xe9 ... ss"


def terminal(columns: int) -> tuple[int, io.TextIOWrapper]:
    ours, its = pty.openpty()
    ioctl(its, TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    return ours, os.fdopen(its, "w", encoding="utf-8")


@pytest.mark.parametrize(("wide", "expected"), [(100, 100), (20, 20), (0, STANDARD), (1, STANDARD)])
def test_a_terminal_without_a_width_has_the_usual_one(wide: int, expected: int) -> None:
    ours, stream = terminal(wide)
    with stream:
        assert columns(stream) == expected
    os.close(ours)


def test_what_is_no_terminal_has_the_usual_width(tmp_path: Path) -> None:
    with (tmp_path / "file").open("w") as stream:
        assert columns(stream) == STANDARD
    assert columns(io.StringIO()) == STANDARD


@pytest.mark.parametrize(("name", "live"), [("xterm", True), ("linux", True), ("dumb", False), ("", False)])
def test_a_line_is_rewritten_only_where_the_terminal_knows_how(
    monkeypatch: pytest.MonkeyPatch, name: str, live: bool
) -> None:
    monkeypatch.setenv("TERM", name)
    ours, stream = terminal(40)
    with stream:
        assert is_live(stream) == live
        sink = TerminalSink("", Control(Settings(look=LookSettings(language="fr"))), stream)
        sink.show(Update(None, (), (), (), Cue("no_camera", None, 0.0, 0.0), {}, 0))
        shown = os.read(ours, 1000).decode()
        sink.close()
    os.close(ours)
    assert ("\033" in shown) == live
    assert not live or len(shown.removeprefix("\r\033[K")) < 40


def test_a_terminal_takes_no_argument() -> None:
    with pytest.raises(SettingsInvalid, match="terminal:foo: this sink takes no argument"):
        TerminalSink("foo", Control())
