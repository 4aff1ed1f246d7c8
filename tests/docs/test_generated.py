"""The pages that deploy/pages.py makes are current, whole, and fail for what has no words."""

from __future__ import annotations

import inspect
import re
import signal
import subprocess
from dataclasses import dataclass, fields
from pathlib import Path

import pytest

from deploy import pages
from deploy.failure import CAUSES, Failure
from edge import errors
from edge.system.program import USAGE


def test_settings_and_errors_are_what_the_code_gives() -> None:
    stale = [path.name for path, text in pages.make_pages().items() if path.read_text(encoding="utf-8") != text]
    assert not stale, "make them again with .venv/bin/python -m deploy.pages"


def test_every_cause_and_every_exit_code_stands_there_once_with_what_to_do() -> None:
    page = pages.errors_page()
    rows = re.findall(r'^\| <a id="([a-z-]+)"></a>`\1` \|.*\| ([^|]+) \|$', page, re.MULTILINE)
    assert sorted(name for name, _ in rows) == sorted([*(kind.identify() for kind in pages.error_kinds()), USAGE])
    codes = re.findall(r'^\| <a id="(\d+)"></a>\1 \|.*\| ([^|]+) \|$', page, re.MULTILINE)
    assert sorted(int(code) for code, _ in codes) == sorted([*errors.Kind, *pages.DEPLOY_CODES])
    assert {kind.exit_code for kind in pages.error_kinds()} == set(errors.Kind), "no code is of nothing"
    assert all(remedy[0] in "`ABCDEFGHIJKLMNOPQRSTUVWXYZ" and remedy.endswith((".", "`")) for _, remedy in rows)


def test_the_codes_of_deploy_are_those_that_it_ends_with(repository: Path) -> None:
    written = [path for path in (repository / "deploy").rglob("*") if path.suffix in (".sh", ".py")]
    text = "\n".join(path.read_text(encoding="utf-8") for path in [*written, repository / "deploy.sh"])
    ends = {int(code) for code in re.findall(r"(?:\bdie|\bFailure\(|\bexit) (?=\d)?(\d{2,3})\b", text)}
    ends |= {int(code) for code in re.findall(r"\bFailure\(\s*(\d{2,3})\b", text)}
    ends -= {128 + signal.SIGINT}  # a shell's own for Ctrl-C, and no cause
    assert ends == pages.DEPLOY_CODES.keys()
    assert CAUSES.keys() == {2, *ends}
    assert len(set(CAUSES.values())) == len(CAUSES)
    assert set(CAUSES.values()) & {kind.identify() for kind in pages.error_kinds()} == set()


def test_deploys_failures_end_in_the_identifier_of_their_code_from_shell_and_python_alike(repository: Path) -> None:
    for code, cause in CAUSES.items():
        words = f"source {repository}/deploy/venv.sh; die {code} 'it went wrong'"
        done = subprocess.run(["bash", "-c", words], capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (code, f"deploy.sh: {Failure(code, 'it went wrong').line}\n")
        assert done.stderr.endswith(f" [{cause}]\n")
    said = (repository / "deploy" / "device" / "install.sh").read_text(encoding="utf-8")
    assert {*re.findall(r"\[([a-z-]+)\]\" >&2", said)} == {CAUSES[94]}


def test_a_setting_without_a_sentence_is_refused() -> None:
    @dataclass
    class Some:
        silent: int = 3

    with pytest.raises(ValueError, match="silent has no sentence"):
        pages._with_sentences(fields(Some), {})


def test_every_setting_has_its_row(repository: Path) -> None:
    page = (repository / "docs" / "settings.md").read_text(encoding="utf-8")
    written = (repository / "deploy" / "cuelens.toml").read_text(encoding="utf-8")
    for name in re.findall(r"^(\w+) = ", written, re.MULTILINE):
        assert f"| `{name}` |" in page


def test_an_error_without_a_remedy_is_refused_and_no_remedy_is_for_nothing() -> None:
    class Unheard(errors.CuelensError):
        """Nobody wrote about it."""

    with pytest.raises(ValueError, match="what to do about unheard"):
        pages._cause_and_remedy(Unheard)
    kinds = {kind.identify() for kind in pages.error_kinds()} - {"cuelens-error"}
    assert kinds == pages.REMEDIES.keys()


def test_every_error_is_also_the_builtin_a_caller_would_expect() -> None:
    for _, item in inspect.getmembers(errors, inspect.isclass):
        if issubclass(item, errors.CuelensError) and item is not errors.CuelensError:
            builtin = [base for base in item.__mro__ if base.__module__ == "builtins" and issubclass(base, Exception)]
            assert set(builtin) != {Exception}, item
            assert item.__doc__, item
