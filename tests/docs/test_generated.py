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
from deploy.failure import CAUSES, KINDS, Failure
from edge import errors
from edge.system.program import USAGE


def test_settings_and_errors_are_what_the_code_gives() -> None:
    stale = [path.name for path, text in pages.make_pages().items() if path.read_text(encoding="utf-8") != text]
    assert not stale, "make them again with .venv/bin/python -m deploy.pages"


def test_every_cause_and_every_exit_code_stands_there_once_with_what_to_do() -> None:
    page = pages.errors_page()
    rows = re.findall(r'^\| <a id="([a-z0-9-]+)"></a>`\1` \|.*\| ([^|]+) \|$', page, re.MULTILINE)
    names = [*(kind.identify() for kind in pages.error_kinds()), USAGE, *CAUSES]
    assert sorted(name for name, _ in rows) == sorted(set(names))
    codes = re.findall(r'^\| <a id="(\d+)"></a>\1 \|', page, re.MULTILINE)
    assert sorted(map(int, codes)) == sorted({*errors.Kind, *KINDS.values()})
    assert {kind.exit_code for kind in pages.error_kinds()} == set(errors.Kind), "no code is of nothing"
    assert all(remedy[0] in "`ABCDEFGHIJKLMNOPQRSTUVWXYZ" and remedy.endswith((".", "`")) for _, remedy in rows)


def test_the_kinds_of_deploy_have_codes_of_their_own_and_causes() -> None:
    assert KINDS == {
        "usage": 2,
        "host": 70,
        "installation": 73,
        "key": 77,
        "download": 78,
        "path": 86,
        "checkout": 88,
        "bundle": 89,
        "device": 90,
        "release": 99,
        "image": 100,
        "card": 107,
    }
    assert set(KINDS.values()) & set(errors.Kind) == {errors.Kind.USAGE}
    assert set(CAUSES.values()) == set(KINDS) == {"usage", *pages.DEPLOY_KINDS}
    assert set(KINDS) & set(CAUSES) == set(), "the shell looks both up by their names"
    assert CAUSES.keys() & {kind.identify() for kind in pages.error_kinds()} == set()


def test_the_causes_of_deploy_are_those_that_it_fails_for(repository: Path) -> None:
    written = [path for path in (repository / "deploy").rglob("*") if path.suffix in (".sh", ".py")]
    written += [repository / name for name in ("deploy.sh", "training/scenes.sh", "benchmarks/peers/setup.sh")]
    text = "\n".join(path.read_text(encoding="utf-8") for path in written)
    text = re.sub(r"^def .*|^ *die\(\) .*", "", text, flags=re.MULTILINE)
    given = {*re.findall(r"\bdie ([a-z0-9-]+) \"", text), *re.findall(r'\bFailure\(\s*"([^"]+)"', text)}
    given |= {cause for pair in re.findall(r'\bFailure\("([^"]+)" if \w+ else "([^"]+)"', text) for cause in pair}
    assert given == CAUSES.keys() == {USAGE, *pages.DEPLOY_CAUSES}
    assert re.findall(r"\b(?:die |Failure\(\s*)\d+\b", text) == []
    ends = {int(code) for code in re.findall(r"\bexit (\d{2,3})\b", text)}
    ends -= {128 + signal.SIGINT}  # a shell's own for Ctrl-C, and no cause
    assert ends == {KINDS["checkout"], KINDS["device"]}, "before the table can be read"


def test_a_cause_that_is_in_no_table_is_refused() -> None:
    with pytest.raises(KeyError, match="key-odd"):
        Failure("key-odd", "it went wrong")


def test_deploys_failures_end_in_the_identifier_of_their_cause_from_shell_and_python_alike(repository: Path) -> None:
    for cause, kind in CAUSES.items():
        words = f"source {repository}/deploy/venv.sh; die {cause} 'it went wrong'"
        done = subprocess.run(["bash", "-c", words], capture_output=True, text=True, check=False)
        failure = Failure(cause, "it went wrong")
        assert (done.returncode, done.stderr) == (failure.exit_code, f"deploy.sh: {failure.line}\n")
        assert failure.exit_code == KINDS[kind]
        assert done.stderr.endswith(f" [{cause}]\n")


def test_what_ends_before_the_table_can_be_read_ends_as_it_says(repository: Path) -> None:
    for name, cause in {"deploy.sh": "checkout-incomplete", "deploy/device/install.sh": "device-tools"}.items():
        said = (repository / name).read_text(encoding="utf-8")
        assert {*re.findall(r"\[([a-z-]+)\]\" >&2", said)} == {cause}
        assert {int(code) for code in re.findall(r"\bexit (\d+)", said)} == {KINDS[CAUSES[cause]]}


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
