"""Which words of a line may leave the device in a report: those of a message as this code prints it, and no others.

A word by itself is no sign of that: Hall, Grace, Page and Will are words of many a source, and names of people.
"""

from __future__ import annotations

import ast
import builtins
import errno
import os
import re
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from functools import cache
from pathlib import Path
from typing import Any

from edge import errors
from edge.locale import read_locale
from edge.settings import Settings
from edge.sinks.table import SINKS, settings_types
from edge.sources import SOURCES

Words = tuple[str, ...]

_WORD = re.compile(r"\w+")
_HOLE = re.compile(r"\{[^{}]*\}|%[sdr]")  # of str.format and of %
_SYSTEM_LINE = re.compile(r"cuelens[\w-]*\.service: |(?:Start|Stopp)(?:ing|ed) cuelens|Failed to start cuelens")
# What is no name of anybody, and stands alone between what a message quotes; in small letters, as here.
JOINTS = "a and at before by for from high in is it its low no not now of off on or over the to was with"
UNITS = "ms s x fps MB kB GB Hz px deg"
SYSTEM_WORDS = """
    aborted abrt activating active applied at auto boot by changing code consumed control core counter cpu deactivated
    dead dependency dump dumped entered executable exit exited failed for from group hit inactive interval is it job
    kernel kill killed killing left limit main memory no not of on over peak pid process quickly reached repeated
    request restart result running scheduled segv service session signal spawn start started starting state status step
    stopped stopping success successfully swap systemd term time timed timeout to too triggered unit was watchdog with
    """
MACHINES = """
    imx219 imx290 imx296 imx378 imx462 imx477 imx500 imx519 imx708 ov5647 ov64a40 ov9281
    Raspberry Pi Zero Compute Module Model Rev Plus W B A aarch64 armv7l x86_64
    bookworm trixie Debian GNU Linux dev i2c video0 video1 gpiochip0 gpiochip4 spidev0 cuelens systemd Traceback
    throttled vcgencmd sink mp4 mkv avi wav jpg jsonl toml etc
"""


@cache
def names() -> frozenset[str]:
    """Return the names that things have here: sinks, sources, states, errors, boards; each only as it is written."""
    found = [*vars(errors).items(), *vars(builtins).items()]
    kinds = {name for name, item in found if isinstance(item, type) and issubclass(item, BaseException)}
    own = {*SINKS, *SOURCES, *read_locale("en").words, *f"{JOINTS} {UNITS} {MACHINES}".split()}
    return frozenset(own | kinds)


@cache
def literals() -> frozenset[str]:
    """Return the whole texts of this package's code: the keys and values of a status are among them."""
    return frozenset(text for tree in _trees() for text in _texts(tree))


@cache
def _runs() -> frozenset[Words]:
    """Return what the messages' parts between what they quote are made of: each three words, and whole parts of two."""
    texts = [*literals(), *(os.strerror(number) for number in errno.errorcode)]
    texts += [f"{table}.{item.name}" for table, kind in _tables().items() for item in fields(kind)]
    texts += [kind.identify() for kind in vars(errors).values() if isinstance(kind, type) and hasattr(kind, "identify")]
    runs: set[Words] = set()
    for words in {tuple(_WORD.findall(part)) for text in texts for part in _HOLE.split(text)}:
        runs |= {words[at : at + 3] for at in range(len(words) - 2)} if len(words) > 2 else {words}
    return frozenset(run for run in runs if len(run) > 1)


def _trees() -> Iterator[ast.Module]:
    for path in sorted(Path(__file__).parents[1].rglob("*.py")):
        yield ast.parse(path.read_text(encoding="utf-8"))


def _texts(tree: ast.Module) -> Iterator[str]:
    """Yield the texts that a module may print: neither comments nor docstrings, which nobody prints."""
    said = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in said:
            yield node.value


def _tables() -> dict[str, Any]:
    """Return the dataclass of each table of the settings."""
    standard = {item.name: getattr(Settings(), item.name) for item in fields(Settings)}
    return {name: type(value) for name, value in standard.items() if is_dataclass(value)} | settings_types()


def kept_words(line: str) -> list[tuple[int, int]]:
    """Return where in a line words stand that may leave: begin and end of each."""
    found = list(_WORD.finditer(line))
    words = [match[0] for match in found]
    keep = [word in names() for word in words]
    for size in (2, 3):
        for at in range(len(words) - size + 1):
            if tuple(words[at : at + size]) in _runs():
                keep[at : at + size] = [True] * size
    if _SYSTEM_LINE.match(line):
        keep = [kept or word.lower() in SYSTEM_WORDS.split() for kept, word in zip(keep, words, strict=True)]
    keep = [kept or _is_figure(line, found, keep, index) for index, kept in enumerate(keep)]
    return [match.span() for match, kept in zip(found, keep, strict=True) if kept]


_FIGURE = re.compile(r"(?:0|[1-9]\d{0,3})(?:s|ms|x|mb|gb|fps)?|0x[0-9a-f]{1,6}|\d{1,3}", re.IGNORECASE)
_GROUPED = re.compile(r"[ ./()+-]{1,3}")  # between the groups of a telephone number, a date, a version


def _is_figure(line: str, found: list[re.Match[str]], keep: list[bool], index: int) -> bool:
    """Return whether a word is a number of a message: short, beside a word of it, and no group of a longer one."""
    if not _FIGURE.fullmatch(found[index][0]):
        return False
    first, last = index, index
    while first and _joins(line, found[first - 1], found[first]):
        first -= 1
    while last + 1 < len(found) and _joins(line, found[last], found[last + 1]):
        last += 1
    whole = line[found[first].start() : found[last].end()]
    if first != last and not re.fullmatch(r"(?:0|[1-9]\d{0,3})\.\d{1,3}[a-z]{0,3}", whole, re.IGNORECASE):
        return False
    if first == last and found[index][0].startswith("0") and not re.fullmatch(r"0[a-z]*|0x.*", found[index][0]):
        return False
    if line[: found[first].start()].endswith(("/", "_")):  # of a path
        return False
    return (first > 0 and keep[first - 1]) or (last + 1 < len(found) and keep[last + 1])


def _joins(line: str, before: re.Match[str], after: re.Match[str]) -> bool:
    between = line[before.end() : after.start()]
    return before[0][-1].isdecimal() and after[0][0].isdecimal() and bool(_GROUPED.fullmatch(between))
