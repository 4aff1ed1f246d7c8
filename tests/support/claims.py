"""Which tests can fail: those that assert, or expect an error, by themselves or in what of tests/ they call."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import TypeAlias

EXPECTING = {"raises", "warns", "fail", "expect"}  # of pytest, and of playwright
Function: TypeAlias = ast.FunctionDef | ast.AsyncFunctionDef
Named: TypeAlias = Function | ast.Assign | ast.AnnAssign


def find_empty_tests(root: Path) -> Iterator[str]:
    """Yield each test below root/tests that nothing fails but an error that nobody expects, as path:line: name."""
    for path in sorted((root / "tests").rglob("test_*.py")):
        for test in read(path).body:
            if isinstance(test, Function) and test.name.startswith("test_") and not claims(test, path, set()):
                yield f"{path.relative_to(root)}:{test.lineno}: {test.name}"


@cache
def read(path: Path) -> ast.Module:
    """Read a module."""
    return ast.parse(path.read_text())


@cache
def named_in(path: Path) -> dict[str, list[Named]]:
    """Return a module's functions by their names, those of its classes too, and its tables, which may name some."""
    found: dict[str, list[Named]] = {}
    for node in ast.walk(read(path)):
        if isinstance(node, Function):
            found.setdefault(node.name, []).append(node)
    for node in read(path).body:
        if isinstance(node, ast.Assign | ast.AnnAssign):
            for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
                if isinstance(target, ast.Name):
                    found.setdefault(target.id, []).append(node)
    return found


@cache
def sources_of(path: Path) -> tuple[Path, ...]:
    """Return the module, the modules of tests/ that it imports, and the conftest.py above it: what its names can be."""
    root = next(folder.parent for folder in path.parents if folder.name == "tests")
    found = [path, *(folder / "conftest.py" for folder in path.parents if folder.is_relative_to(root / "tests"))]
    for node in ast.walk(read(path)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("tests"):
            module = root.joinpath(*(node.module or "").split("."))
            found += [module.with_suffix(".py"), *(module / f"{alias.name}.py" for alias in node.names)]
    return tuple(dict.fromkeys(each for each in found if each.is_file()))


def claims(named: Named, path: Path, seen: set[tuple[Path, str]]) -> bool:
    """Say whether a function asserts or expects anything, or uses one of tests/ that does, a fixture included."""
    used = set()
    for node in ast.walk(named):
        match node:
            case ast.Assert() | ast.Raise(exc=ast.Call(func=ast.Name(id="AssertionError"))):
                return True
            case ast.Call(func=ast.Name(id=name) | ast.Attribute(attr=name)):
                if name in EXPECTING or name.startswith("assert_"):
                    return True
                used.add(name)
            case ast.Name(id=name) | ast.arg(arg=name):
                used.add(name)
    for source in sources_of(path):
        for name in used:
            if (source, name) not in seen:
                seen.add((source, name))
                if any(claims(each, source, seen) for each in named_in(source).get(name, [])):
                    return True
    return False
