"""What people read is spelt right and plain: docs, help, messages, comments of the settings file, words of the page."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.docs.prose import complaints

ROOT = Path(__file__).resolve().parents[2]
PAGES = [
    *(ROOT / name for name in ("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md", "CODE_OF_CONDUCT.md")),
    *sorted((ROOT / "docs").rglob("*.md")),
    *sorted((ROOT / ".github").rglob("*.*")),
    *sorted((ROOT / "models").glob("*.md")),
    *sorted((ROOT / "benchmarks").rglob("*.md")),
    ROOT / "tests" / "fuzz" / "README.md",
]
SETTINGS = [ROOT / "deploy" / "cuelens.toml", ROOT / "edge" / "locale" / "en.toml"]
ROOMS = ("edge", "lab", "converter", "training", "benchmarks", "deploy", "tests")
PROGRAMS = sorted(path for room in ROOMS if room != "tests" for path in (ROOT / room).rglob("*.py"))
SCRIPTS = [ROOT / "deploy.sh", *sorted((ROOT / "deploy").rglob("*.sh"))]


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def without_code(text: str) -> str:
    """Blank code, addresses and comments of HTML out of Markdown, line by line."""
    blank = re.compile(r"```.*?```|`[^`\n]*`|<!--.*?-->|\]\([^)]*\)|https?://\S+", re.DOTALL)
    return blank.sub(lambda match: "\n" * match[0].count("\n"), text)


def messages(path: Path) -> Iterator[tuple[int, str]]:
    """Every text of a module that is more than a word and no docstring: what it may print."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    alone = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Constant)
            and isinstance(node.value, str)
            and id(node) not in alone
            and " " in node.value
        ):
            yield node.lineno, node.value


def explanations(path: Path) -> Iterator[tuple[int, str]]:
    """Every docstring of a module, and the name of each function and class, as words."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        match node:
            case ast.Expr(value=ast.Constant(value=str() as text)):
                yield node.lineno, text
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                yield node.lineno, node.name.replace("_", " ")


def comments(path: Path) -> Iterator[tuple[int, str]]:
    """Every comment of a module."""
    with path.open("rb") as lines:
        for token in tokenize.tokenize(lines.readline):
            if token.type == tokenize.COMMENT:
                yield token.start[0], token.string


def printed(path: Path) -> Iterator[tuple[int, str]]:
    """What a shell script prints: its help, and the words after `say` and `die`."""
    text = path.read_text(encoding="utf-8")
    for match in re.finditer(r"<<'END'\n(.*?)\nEND\n|\b(?:say|die \d+) (\"[^\n]*)", text, re.DOTALL):
        yield text[: match.start()].count("\n") + 1, match[1] or match[2]


@pytest.mark.parametrize("path", PAGES, ids=name)
def test_a_page_is_plain(path: Path) -> None:
    assert complaints(without_code(path.read_text(encoding="utf-8"))) == []


@pytest.mark.parametrize("path", SETTINGS, ids=name)
def test_settings_and_words_are_plain(path: Path) -> None:
    assert complaints(path.read_text(encoding="utf-8")) == []


def test_every_message_is_plain() -> None:
    found = [(path, *message) for path in PROGRAMS for message in messages(path)]
    found += [(path, *message) for path in SCRIPTS for message in printed(path)]
    assert len(found) > 1000
    wrong = [f"{name(path)}:{line}: {each}" for path, line, text in found for each in complaints(text, british=False)]
    assert not wrong, "\n".join(wrong)


def test_every_docstring_and_name_is_plain() -> None:
    found = [
        (path, *each) for room in ROOMS for path in sorted((ROOT / room).rglob("*.py")) for each in explanations(path)
    ]
    assert len(found) > 5000
    wrong = [f"{name(path)}:{line}: {each}" for path, line, text in found for each in complaints(text, british=False)]
    assert not wrong, "\n".join(wrong)


def test_every_comment_is_plain() -> None:
    found = [(path, *comment) for path in PROGRAMS for comment in comments(path)]
    assert len(found) > 1000
    wrong = [f"{name(path)}:{line}: {each}" for path, line, text in found for each in complaints(text, british=False)]
    assert not wrong, "\n".join(wrong)


def test_all_of_it_is_spelt_right() -> None:
    paths = [*PAGES, *SETTINGS, *PROGRAMS, *SCRIPTS, *sorted((ROOT / "edge" / "web").glob("*.html"))]
    command = [sys.executable, "-m", "codespell_lib", "--ignore-words-list", "stopp,fo,alph,covert", *map(str, paths)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, ""), done.stdout


@pytest.mark.parametrize(
    "text",
    [
        "A camera that gives nothing is said to within 3 s.",
        "What ends ten times is given up.",
        "The page tells how it runs.",
        "It goes on without a status.",
        "The behavior of a color",
        "| word | told right |",
        "Each model is what its contract says.",
        "first line\nA known face is looked at afresh.",
    ],
)
def test_what_is_banned_is_found(text: str) -> None:
    assert complaints(text)


def test_what_is_plain_is_not() -> None:
    assert (
        complaints("Please tell me if you mind. People and models cannot tell them apart. It shows no more than one.")
        == []
    )
    assert complaints(without_code("```\nis told\n```\n`told`")) == []
