"""Lines on standard error: a failure's ends in its identifier; in systemd's journal each begins with its priority."""

from __future__ import annotations

import argparse
import ast
import inspect
import io
import json
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr
from pathlib import Path

import pytest

import edge.errors
from edge.errors import CameraStuck, CuelensError
from edge.runtime.control import Control
from edge.system.messages import Failed, Warned, failed, say
from edge.system.program import command

ERRORS = [kind for _, kind in inspect.getmembers(edge.errors, inspect.isclass) if issubclass(kind, CuelensError)]


@contextmanager
def journal(path: Path, named: str | None = "its own") -> Iterator[None]:
    """Print to a file, which the service manager names as its journal's stream."""
    with path.open("w") as stream, redirect_stderr(stream), pytest.MonkeyPatch.context() as patch:
        status = os.fstat(stream.fileno())
        if named is None:
            patch.delenv("JOURNAL_STREAM", raising=False)
        else:
            patch.setenv("JOURNAL_STREAM", f"{status.st_dev}:{status.st_ino}" if named == "its own" else named)
        yield


def end_by(error: Exception, *words: str) -> None:
    """Run a program with these words that ends by an error."""

    @command
    def main(parser: argparse.ArgumentParser, argv: list[str] | None = None) -> None:
        """Fail."""
        parser.add_argument("--json", action="store_true")
        parser.parse_args(argv)
        raise error

    with pytest.raises((SystemExit, CuelensError)):
        main(list(words))


@pytest.mark.parametrize("kind", ERRORS)
def test_every_failure_ends_in_its_identifier_for_people_and_in_json(
    kind: type[CuelensError], capsys: pytest.CaptureFixture[str]
) -> None:
    name = kind.identify()
    assert re.fullmatch("[a-z]+(-[a-z]+)+", name)
    end_by(kind("x: seen 3; valid are 1 and 2"), "--json")
    printed = capsys.readouterr()
    assert printed.err.endswith(f": x: seen 3; valid are 1 and 2 [{name}]\n")
    assert json.loads(printed.out) == {"error": name, "message": "x: seen 3; valid are 1 and 2"}
    assert failed(kind("x"), "trying again", "cuelens") == f"cuelens: x; trying again [{name}]"


def test_what_no_class_names_is_a_fault_of_ours_and_a_wrong_command_line_has_a_name_too(
    capsys: pytest.CaptureFixture[str],
) -> None:
    end_by(KeyError("x"), "--json")
    printed = capsys.readouterr()
    assert printed.err.endswith(": KeyError: 'x'; a fault of ours: see --debug [cuelens-error]\n")
    assert json.loads(printed.out)["error"] == "cuelens-error"
    end_by(KeyError("x"), "--what")
    assert capsys.readouterr().err.endswith("error: unrecognized arguments: --what [command-line]\n")


def test_without_json_a_failure_prints_nothing_for_programs(capsys: pytest.CaptureFixture[str]) -> None:
    end_by(CameraStuck("x"))
    assert capsys.readouterr().out == ""


def test_in_the_journal_each_line_begins_with_its_priority(tmp_path: Path) -> None:
    with journal(tmp_path / "lines"):
        end_by(CameraStuck("/dev/video0: no answer\n<0>x"))
        end_by(KeyError("x"), "--what")
        say(Warned("slower"))
        say("web sink: http://127.0.0.1/")
        Control().begin_problem("glasses: their battery is low")
    lines = (tmp_path / "lines").read_text().splitlines()
    assert lines[0].startswith("<3>")
    assert lines[0].endswith(": /dev/video0: no answer\\n<0>x [camera-stuck]")
    assert [line[:3] for line in lines if line.endswith("[command-line]")] == ["<3>"]
    assert lines[-3:] == ["<4>slower", "<6>web sink: http://127.0.0.1/", "<4>cuelens: glasses: their battery is low"]


def test_a_traceback_is_what_failed_in_the_journal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)  # --debug puts another in its place
    error = CameraStuck("x")
    end_by(error, "--debug")
    with journal(tmp_path / "lines"):
        sys.excepthook(CameraStuck, error, error.__traceback__)
    lines = (tmp_path / "lines").read_text().splitlines()
    assert lines[0] == "<3>Traceback (most recent call last):"
    assert {line[:3] for line in lines} == {"<3>"}


@pytest.mark.parametrize("named", [None, "", "1:2", "no stream"])
def test_on_another_stream_no_line_has_a_priority(named: str | None, tmp_path: Path) -> None:
    """A terminal or pipe below a service inherits the variable."""
    with journal(tmp_path / "lines", named):
        say(Failed("cuelens: x [camera-lost]"))
    assert (tmp_path / "lines").read_text() == "cuelens: x [camera-lost]\n"


def test_a_standard_error_that_is_no_file_has_none(tmp_path: Path) -> None:
    text = io.StringIO()
    with journal(tmp_path / "lines"), redirect_stderr(text):
        say(Failed("cuelens: x [camera-lost]"))
    assert text.getvalue() == "cuelens: x [camera-lost]\n"


def test_nothing_prints_a_line_to_standard_error_by_another_way(repository: Path) -> None:
    """But what moves a bar along, and what runs without the package."""
    found = []
    for room in ("edge", "lab", "converter", "training", "benchmarks"):
        for path in (repository / room).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Call) and ast.unparse(node.func) == "print":
                    given = {word.arg: ast.unparse(word.value) for word in node.keywords}
                    if given.get("file") == "sys.stderr" and given.get("end") != "''":
                        found.append(str(path.relative_to(repository)))
    assert set(found) == {"converter/raw_outputs.py", "edge/system/messages.py"}
