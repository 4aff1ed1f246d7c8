"""Whatever a file, a name or an option has in it, a terminal only shows it."""

from __future__ import annotations

import argparse
import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest

import edge.errors
from edge.errors import CuelensError, printable, printable_lines
from edge.system.program import command

# ANSI, a line end, a bidi override, an 8-bit control, a zero-width one, a line separator, half of a surrogate pair.
HOSTILE = "\x1b]0;x\x07\x1b[2J\nfine\r\u202egnp.exe\x9b31m\u200b\u2028\udce9"
ERRORS = [
    kind
    for _, kind in inspect.getmembers(edge.errors, inspect.isclass)
    if issubclass(kind, CuelensError) and kind.__module__ == "edge.errors"
]


@pytest.mark.parametrize("kind", ERRORS)
def test_no_error_says_what_a_terminal_would_obey(kind: type[CuelensError]) -> None:
    line = str(kind(f"x.csv: no column {HOSTILE}"))
    assert line.isprintable()
    assert line.startswith("x.csv: no column \\x1b]0;x\\x07")
    assert "\\u202egnp.exe\\x9b31m" in line
    assert str(kind("plain words")) == "plain words"


@pytest.mark.parametrize(
    "error",
    [
        ValueError(HOSTILE),
        KeyError(HOSTILE),
        OSError(2, "x", HOSTILE),
        CuelensError(HOSTILE),
        RuntimeError("a\n" * 9000),
    ],
)
def test_a_failure_of_any_kind_is_one_line_that_is_only_shown(
    error: Exception, capsys: pytest.CaptureFixture[str]
) -> None:
    @command
    def main(parser: argparse.ArgumentParser, argv: list[str] | None = None) -> None:
        """Fail."""
        raise error

    with pytest.raises(SystemExit):
        main([])
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.removesuffix("\n").isprintable()
    assert len(printed.err) < 1300


def test_each_cause_has_a_name_of_its_own_behind_its_line(capsys: pytest.CaptureFixture[str]) -> None:
    @command
    def main(parser: argparse.ArgumentParser, argv: list[str] | None = None) -> None:
        """Fail."""
        raise edge.errors.CameraStuck("/dev/video0: no answer")

    with pytest.raises(SystemExit):
        main([])
    assert capsys.readouterr().err.endswith(": /dev/video0: no answer [camera-stuck]\n")
    identifiers = {kind.identify() for kind in ERRORS}
    assert len(identifiers) == len(ERRORS)
    assert all(re.fullmatch("[a-z]+(-[a-z]+)+", name) for name in identifiers)


@pytest.mark.parametrize("words", [[HOSTILE], ["--number", HOSTILE], ["--colour", HOSTILE]])
def test_words_that_do_not_fit_are_only_shown(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    @command
    def main(parser: argparse.ArgumentParser, argv: list[str] | None = None) -> None:
        """Parse."""
        parser.add_argument("--number", type=int)
        parser.add_argument("--colour", choices=("red", "blue"))
        parser.parse_args(argv)

    with pytest.raises(SystemExit):
        main(words)
    assert all(line.isprintable() for line in capsys.readouterr().err.split("\n"))


def test_a_traceback_is_only_shown(tmp_path: Path) -> None:
    script = tmp_path / "fails.py"
    script.write_text(
        "from edge.system.program import command\n@command\ndef main(parser, argv=None):\n"
        f"    'Fail.'\n    raise ValueError({HOSTILE!a})\nmain()\n"
    )
    environment = {"PYTHONPATH": str(Path(edge.errors.__file__).parents[1])}
    done = subprocess.run(
        [sys.executable, str(script), "--debug"], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "Traceback" in done.stderr
    assert "ValueError" in done.stderr
    assert all(line.isprintable() for line in done.stderr.split("\n"))


def test_what_can_be_shown_stays_as_it_is() -> None:
    assert printable("Lächeln, 微笑, ابتسامة") == "Lächeln, 微笑, ابتسامة"
    assert printable_lines("two\nlines\x1b[m") == "two\nlines\\x1b[m"
