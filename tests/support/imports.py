"""`python -m tests.support.imports`: draws which module imports which, and fails where some do so in a circle.

Imports inside functions and those for type checkers alone count as any other, and with a module its packages, whose
__init__ runs first. Nothing is run: the files are parsed.
"""

from __future__ import annotations

import argparse
import ast
import sys
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from pathlib import Path

ROOMS = ("edge", "converter", "training", "benchmarks", "deploy", "lab")
ROOT = Path(__file__).resolve().parents[2]

Graph = Mapping[str, frozenset[str]]  # a module, and the modules that it imports

WIDE, TALL = 260, 18  # pixels of a column and a row of the drawing


def read_graph(root: Path = ROOT, rooms: Sequence[str] = ROOMS) -> Graph:
    """Return the imports among the modules in folders of `root`; those of other packages are left out."""
    paths = {module_name(path.relative_to(root)): path for room in rooms for path in (root / room).rglob("*.py")}
    return {
        name: frozenset(_known(imported(path.read_text(encoding="utf-8"), package_of(name, path)), paths)) - {name}
        for name, path in paths.items()
    }


def module_name(path: Path) -> str:
    """Return the dotted name of a file by its path under the root; a package's is its folder's."""
    parts = path.with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def package_of(name: str, path: Path) -> str:
    """Return the package that a module's relative imports begin at."""
    return name if path.name == "__init__.py" else name.rpartition(".")[0]


def imported(text: str, package: str) -> Iterator[str]:
    """Yield the dotted names that a module's text imports anywhere, each after the packages that it lies in."""
    for name in _written(text, package):
        parts = name.split(".")
        yield from (".".join(parts[:count]) for count in range(1, len(parts) + 1))


def _written(text: str, package: str) -> Iterator[str]:
    """Yield the names as the text has them; of `from a import b` both a and a.b."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package.split(".")[: len(package.split(".")) + 1 - node.level] if node.level else []
            whole = ".".join([*base, *([node.module] if node.module else [])])
            yield whole
            yield from (f"{whole}.{alias.name}" for alias in node.names)


def _known(names: Iterator[str], paths: Mapping[str, Path]) -> Iterator[str]:
    """Yield those that are modules of ours."""
    return (name for name in names if name in paths)


def find_circles(graph: Graph) -> list[list[str]]:
    """Return the sets of modules that import each other, directly or through others, sorted.

    Tarjan, Depth-first search and linear graph algorithms, 1972, without recursion.
    """
    number: dict[str, int] = {}
    lowest: dict[str, int] = {}
    stack: list[str] = []
    circles = []
    for start in sorted(graph):
        work = [(start, iter(sorted(graph[start])))] if start not in number else []
        while work:
            name, further = work[-1]
            if name not in number:
                number[name] = lowest[name] = len(number)
                stack.append(name)
            after = next(further, None)
            if after is not None:
                if after not in number:
                    work.append((after, iter(sorted(graph[after]))))
                elif after in stack:
                    lowest[name] = min(lowest[name], number[after])
                continue
            work.pop()
            if work:
                lowest[work[-1][0]] = min(lowest[work[-1][0]], lowest[name])
            if lowest[name] == number[name]:
                place = stack.index(name)
                circle, stack[place:] = sorted(stack[place:]), []
                if len(circle) > 1:
                    circles.append(circle)
    return sorted(circles)


def depths(graph: Graph) -> dict[str, int]:
    """Return how many imports lie below each module at most: 0 imports none of ours. Those of a circle are alike."""
    circle_of = {name: tuple(circle) for circle in find_circles(graph) for name in circle}
    known: dict[str, int] = {}

    def depth(name: str) -> int:
        if name not in known:
            own = circle_of.get(name, (name,))
            below = {other for member in own for other in graph[member]} - set(own)
            known.update(dict.fromkeys(own, 1 + max(map(depth, sorted(below)), default=-1)))
        return known[name]

    return {name: depth(name) for name in sorted(graph)}


def draw_text(graph: Graph) -> str:
    """Return a line for each module, with what it imports."""
    return "\n".join(f"{name}: {', '.join(sorted(graph[name])) or '-'}" for name in sorted(graph))


def draw_dot(graph: Graph) -> str:
    """Return the graph in Graphviz' language."""
    lines = [f'  "{name}" -> "{other}";' for name in sorted(graph) for other in sorted(graph[name])]
    alone = [f'  "{name}";' for name in sorted(graph)]
    return "\n".join(["digraph imports {", "  rankdir=LR;", *alone, *lines, "}"])


def draw_svg(graph: Graph) -> str:
    """Return a drawing: the modules that import most on the left, lines to what they import, circles in red."""
    circled = {name for circle in find_circles(graph) for name in circle}
    columns: dict[int, list[str]] = {}
    for name, depth in depths(graph).items():
        columns.setdefault(depth, []).append(name)
    most = max(columns, default=0)
    places = {
        name: ((most - depth) * WIDE + 10, row * TALL + 20)
        for depth, names in columns.items()
        for row, name in enumerate(names)
    }
    lines, words = [], []
    for name, (x, y) in places.items():
        for other in sorted(graph[name]):
            colour = "#c00" if {name, other} <= circled else "#bbb"
            end = places[other]
            lines.append(f'<line x1="{x + 4}" y1="{y}" x2="{end[0]}" y2="{end[1]}" stroke="{colour}"/>')
        words.append(f'<text x="{x}" y="{y}" fill="{"#c00" if name in circled else "#000"}">{escape(name)}</text>')
    width, height = (most + 1) * WIDE + 20, max(map(len, columns.values()), default=0) * TALL + 30
    head = f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" font-family="sans-serif"'
    return "\n".join([f'{head} font-size="10" stroke-width="0.5">', *lines, *words, "</svg>"])


DRAWINGS = {"text": draw_text, "dot": draw_dot, "svg": draw_svg}


def main(argv: Sequence[str] | None = None) -> int:
    """Print the drawing; returns 1 where there is a circle, which is named on standard error."""
    parser = argparse.ArgumentParser(prog="python -m tests.support.imports", description=__doc__)
    parser.add_argument("rooms", nargs="*", default=ROOMS, help=f"folders; default {' '.join(ROOMS)}")
    parser.add_argument("--format", choices=tuple(DRAWINGS), default="text")
    args = parser.parse_args(argv)
    graph = read_graph(rooms=args.rooms)
    print(DRAWINGS[args.format](graph))
    circles = find_circles(graph)
    for circle in circles:
        print(f"these import each other in a circle: {', '.join(circle)}", file=sys.stderr)
    return 1 if circles else 0


if __name__ == "__main__":
    sys.exit(main())
