"""No modules import each other in a circle, neither openly nor in a function or for a type checker."""

from __future__ import annotations

import ast
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from tests.support.imports import ROOMS, depths, draw_dot, draw_svg, draw_text, find_circles, main, read_graph


def tree(root: Path, **texts: str) -> Path:
    """Write a room of modules; that of `package` is a package's own."""
    for name, text in texts.items():
        path = root / "room" / ("package/__init__.py" if name == "package" else f"{name}.py")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def test_no_modules_of_any_room_import_each_other(repository: Path) -> None:
    graph = read_graph(repository)
    assert {name.partition(".")[0] for name in graph} == set(ROOMS)
    assert find_circles(graph) == []


def test_no_two_public_classes_of_the_device_have_one_name(repository: Path) -> None:
    places: dict[str, list[str]] = {}
    for path in sorted((repository / "edge").rglob("*.py")):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                places.setdefault(node.name, []).append(str(path.relative_to(repository)))
    assert len(places) > 100
    assert {name: paths for name, paths in places.items() if len(paths) > 1} == {}


def test_the_rooms_of_the_host_stand_on_each_other_in_one_order(repository: Path) -> None:
    below = {
        "edge": {"edge"},
        "lab": {"edge", "lab"},
        "converter": {"edge", "lab", "converter"},
        "training": {"edge", "lab", "converter", "training"},
        "benchmarks": {"edge", "lab", "benchmarks"},
        "deploy": set(ROOMS),  # it packs and describes all of them
    }
    assert set(below) == set(ROOMS)
    wrong = {
        name: others
        for name, found in read_graph(repository).items()
        if (others := {each.partition(".")[0] for each in found} - below[name.partition(".")[0]])
    }
    assert wrong == {}


def test_the_runner_stands_on_the_pipeline_and_neither_pipeline_nor_sources_on_a_runner(repository: Path) -> None:
    graph = read_graph(repository, ("edge",))
    assert "edge.vision.pipeline" in graph["edge.runtime.runner"]
    below = {"edge.vision.pipeline", "edge.vision.sight", "edge.hardware.board"}
    while (more := below.union(*(graph[name] for name in below))) != below:
        below = more
    assert [name for name in below if name.startswith(("edge.runtime", "edge.sources"))] == []
    sources = {name for name in graph if name.startswith("edge.sources")}
    assert len(sources) > 5
    assert {
        name: graph[name] for name in sources if any(other.startswith("edge.runtime") for other in graph[name])
    } == {}
    assert depths(graph)["edge.hardware.board"] == 0


@pytest.mark.parametrize(
    "back",
    [
        "from room.first import x",
        "import room.first",
        "from room import first",
        "from . import first",
        "from .first import x",
        "def late():\n    from room.first import x",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from room.first import x",
    ],
)
def test_a_circle_is_found_however_it_is_hidden(tmp_path: Path, back: str) -> None:
    tree(tmp_path, first="import room.second", second="import room.third\nimport sys", third=back, alone="import os")
    graph = read_graph(tmp_path, ("room",))
    assert find_circles(graph) == [["room.first", "room.second", "room.third"]]
    assert "#c00" in draw_svg(graph)


@pytest.mark.parametrize("back", ["from room.package.inner import x", "from room.package import inner"])
def test_a_circle_through_a_package_whose_module_is_imported_is_found(tmp_path: Path, back: str) -> None:
    tree(tmp_path, package="import room.outer", outer=back)
    (tmp_path / "room" / "package" / "inner.py").write_text("import os")
    graph = read_graph(tmp_path, ("room",))
    assert graph["room.outer"] == {"room.package", "room.package.inner"}
    assert find_circles(graph) == [["room.outer", "room.package"]]


def test_two_circles_that_a_way_connects_stay_two(tmp_path: Path) -> None:
    tree(tmp_path, a="import room.b", b="import room.a\nimport room.c", c="import room.d", d="from room.c import x")
    assert find_circles(read_graph(tmp_path, ("room",))) == [["room.a", "room.b"], ["room.c", "room.d"]]


def test_a_package_is_what_its_folder_is_called_and_may_import_its_modules(tmp_path: Path) -> None:
    tree(tmp_path, package="from .inner import x", top="import room.package")
    (tmp_path / "room" / "package" / "inner.py").write_text("from ..other import y")
    tree(tmp_path, other="import os")
    graph = read_graph(tmp_path, ("room",))
    assert graph["room.top"] == {"room.package"}
    assert graph["room.package"] == {"room.package.inner"}
    assert find_circles(graph) == []
    assert depths(graph) == {"room.top": 3, "room.package": 2, "room.package.inner": 1, "room.other": 0}


def test_it_is_drawn_as_text_dot_and_svg(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    graph = read_graph(tree(tmp_path, a="import room.b", b="import sys"), ("room",))
    assert draw_text(graph) == "room.a: room.b\nroom.b: -"
    assert '"room.a" -> "room.b";' in draw_dot(graph)
    drawn = ET.fromstring(draw_svg(graph))
    assert [item.text for item in drawn.iter("{http://www.w3.org/2000/svg}text")] == ["room.a", "room.b"]
    assert len(list(drawn.iter("{http://www.w3.org/2000/svg}line"))) == 1
    assert main(["edge", "--format", "dot"]) == 0
    assert capsys.readouterr().out.startswith("digraph imports {")
