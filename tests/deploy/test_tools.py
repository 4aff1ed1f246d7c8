"""The one way in which deploy/ starts a program: what goes in, what comes out, and what a missing one means."""

from __future__ import annotations

import io
import os
import re
from pathlib import Path

import pytest

import deploy
from deploy.failure import Failure
from deploy.tools import CHUNK, complete, hand_over, last_line, run

pytestmark = pytest.mark.once


def test_what_a_program_prints_and_complains_of_are_kept_apart_or_together() -> None:
    words = ("sh", "-c", "echo out; echo wrong >&2; exit 3")
    assert [complete(*words).stdout, complete(*words).stderr] == [b"out\n", b"wrong\n"]
    assert complete(*words, together=True).stdout == b"out\nwrong\n"
    done = run(*words)
    assert (done.returncode, done.stdout, done.stderr, last_line(done)) == (3, "out\n", "wrong\n", "wrong")


def test_bytes_that_are_no_text_are_replaced() -> None:
    assert run("printf", r"a\377b\n").stdout == "a\N{REPLACEMENT CHARACTER}b\n"


def test_a_program_gets_a_whole_file_from_its_beginning_and_may_leave_most_of_it() -> None:
    given = io.BytesIO(b"x" * (3 * CHUNK))
    given.seek(CHUNK)
    assert run("wc", "-c", given=given).stdout.strip() == str(3 * CHUNK)
    assert run("head", "-c", "1", given=given).stdout == "x"
    assert run("cat").stdout == ""


def test_it_speaks_english_and_gets_the_variables_that_it_should(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"LC_ALL": "de_DE.UTF-8", "GIT_DIR": "/elsewhere", "CUELENS_A": "1", "CUELENS_B": "2"}.items():
        monkeypatch.setenv(name, value)
    script = 'echo "$LC_ALL,$GIT_DIR,$CUELENS_A,$CUELENS_B,$(pwd)"'
    done = run("sh", "-c", script, cwd=tmp_path, variables={"CUELENS_B": "3"}, without="GIT_")
    assert done.stdout == f"C,,1,3,{tmp_path}\n"


def test_a_missing_tool_is_named_with_its_package() -> None:
    with pytest.raises(FileNotFoundError):
        complete("nowhere-to-be-found")
    with pytest.raises(Failure, match=r"no nowhere-to-be-found on this machine; .*apt install nowhere-to-be-found"):
        run("nowhere-to-be-found")


def test_what_is_inheritable_stays_open_there(tmp_path: Path) -> None:
    with (tmp_path / "lock").open("w") as lock:
        os.set_inheritable(lock.fileno(), True)
        assert run("readlink", f"/proc/self/fd/{lock.fileno()}").stdout == f"{tmp_path / 'lock'}\n"


def test_a_program_that_talks_with_the_maker_does_so_on_standard_error(capfd: pytest.CaptureFixture[str]) -> None:
    assert hand_over("sh", "-c", 'echo "$A"; echo b >&2; exit 4', variables={"A": "a"}) == 4
    assert capfd.readouterr() == ("", "a\nb\n")


def test_nothing_else_in_deploy_starts_a_program() -> None:
    folder = Path(deploy.__file__).parent
    found = {
        str(path.relative_to(folder))
        for path in folder.rglob("*.py")
        if re.search(
            r"\bsubprocess\b|\bos\.(system|popen|fork|exec|spawn|posix_spawn)", path.read_text(encoding="utf-8")
        )
    }
    assert found == {"tools.py"}
