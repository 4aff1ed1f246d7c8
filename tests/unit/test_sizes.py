"""No function over 60 lines and no file over 400, but for those listed here; at most 8 modules on edge's floor."""

from __future__ import annotations

import ast
from pathlib import Path

ROOMS = ("edge", "lab", "converter", "training", "benchmarks", "deploy")
WRITTEN = {
    ".py",
    ".sh",
    ".js",
    ".css",
    ".c",
}  # by hand: locks, reference reports, tables and drawings are generated data
MOST_OF_FILE, MOST_OF_FUNCTION = 400, 60
MOST_ON_FLOOR = 8  # modules of edge/ itself, beside its rooms

LONG_FILES: set[str] = set()
LONG_FUNCTIONS: set[str] = set()


def long_files(root: Path) -> set[str]:
    """Return the files of the rooms with more lines than a file may have, by their paths under `root`."""
    paths = [path for room in ROOMS for path in (root / room).rglob("*") if path.suffix in WRITTEN]
    return {str(path.relative_to(root)) for path in paths if len(path.read_text().splitlines()) > MOST_OF_FILE}


def long_functions(root: Path) -> set[str]:
    """Return `path name` of each Python function of the rooms with more lines than a function may have."""
    return {
        f"{path.relative_to(root)} {node.name}"
        for room in ROOMS
        for path in (root / room).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (node.end_lineno or node.lineno) - node.lineno >= MOST_OF_FUNCTION
    }


def test_no_file_is_long_but_the_listed_ones_and_those_still_are(repository: Path) -> None:
    assert long_files(repository) == LONG_FILES


def test_no_function_is_long_but_the_listed_ones_and_those_still_are(repository: Path) -> None:
    assert long_functions(repository) == LONG_FUNCTIONS


def test_the_floor_of_the_device_shows_its_rooms(repository: Path) -> None:
    floor = {path.stem for path in (repository / "edge").glob("*.py")} - {"__init__"}
    assert {"cli", "types", "errors"} <= floor
    assert len(floor) <= MOST_ON_FLOOR, f"{', '.join(sorted(floor))}: move one into a room"


def test_each_room_of_the_device_reports_what_it_is_for(repository: Path) -> None:
    for room in {path.parent for path in (repository / "edge").rglob("*.py")}:
        assert ast.get_docstring(ast.parse((room / "__init__.py").read_text())), room
    page = (repository / "docs" / "architecture.md").read_text()
    rooms = {path.parent.name for path in (repository / "edge").glob("*/__init__.py")}
    assert {room for room in rooms if f"`{room}/`" not in page} == set()


def test_a_file_and_a_function_of_one_line_too_many_are_found(tmp_path: Path) -> None:
    for room in ROOMS:
        (tmp_path / room / "inner").mkdir(parents=True)
    (tmp_path / "edge" / "inner" / "whole.py").write_text("x = 1\n" * MOST_OF_FILE)
    (tmp_path / "deploy" / "inner" / "over.sh").write_text("x=1\n" * (MOST_OF_FILE + 1))
    (tmp_path / "training" / "allowed.py").write_text("def long():\n" + "    x = 1\n" * (MOST_OF_FUNCTION - 1))
    over = "class A:\n    async def long(self):\n" + "        x = 1\n" * MOST_OF_FUNCTION
    (tmp_path / "converter" / "over.py").write_text(over)
    assert long_files(tmp_path) == {"deploy/inner/over.sh"}
    assert long_functions(tmp_path) == {"converter/over.py long"}
