"""`--help` of every command is sentences with an example that the command takes, and the docs name each command."""

from __future__ import annotations

import argparse
import re
import shlex
from pathlib import Path

import pytest

from edge.commands.arguments import add_commands


def parsers() -> dict[str, argparse.ArgumentParser]:
    """The parser of each command of `cuelens`."""
    parser = argparse.ArgumentParser(prog="cuelens")
    add_commands(parser)
    (commands,) = (action for action in parser._actions if isinstance(action, argparse._SubParsersAction))
    return dict(commands.choices)


COMMANDS = parsers()


def is_sentence(text: str | None) -> bool:
    """Whether text is one or more sentences: a capital first, a full stop last."""
    return bool(text and re.fullmatch(r"[A-Z0-9].*\.", text, re.DOTALL) and "  " not in text)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_help_is_sentences(name: str) -> None:
    parser = COMMANDS[name]
    assert is_sentence(parser.description)
    for action in parser._actions:
        if action.help not in (argparse.SUPPRESS, "show this help message and exit"):
            assert is_sentence(action.help), f"{name} {action.option_strings or action.dest}: {action.help!r}"


@pytest.mark.parametrize("name", COMMANDS)
def test_every_help_has_an_example_that_the_command_takes(name: str) -> None:
    epilog = COMMANDS[name].epilog or ""
    assert epilog.startswith("example: ")
    words = shlex.split(epilog.removeprefix("example: ").removeprefix("sudo "))
    assert words[:2] == ["cuelens", name]
    COMMANDS[name].parse_args(words[2:])


def test_deploy_passes_every_command_on_and_its_help_names_it(repository: Path) -> None:
    text = (repository / "deploy.sh").read_text(encoding="utf-8")
    (passed,) = re.findall(r"^([\w| ]+)\)\n    environment \.venv device\n    exec ", text, re.MULTILINE)
    assert {"demo", *passed.split(" | ")} == set(COMMANDS)
    for name in COMMANDS:
        assert f"\n  {name} " in text


def test_the_docs_name_every_command(repository: Path) -> None:
    pages = [repository / "README.md", *(repository / "docs").glob("*.md")]
    text = "\n".join(page.read_text(encoding="utf-8") for page in pages)
    for name in COMMANDS:
        assert re.search(rf"(cuelens|deploy\.sh) {name}\b", text), name
