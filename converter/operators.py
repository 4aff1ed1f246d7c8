"""Which operators, in which versions, the oldest runtime supported knows; asked by the gate before a file is run.

`python -m converter.operators` measures that into operators.json, by giving that runtime a tiny model of each.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from functools import cache
from importlib.metadata import version as version_of
from itertools import product
from pathlib import Path
from typing import Any

from ai_edge_litert import schema_py_generated as schema

from converter.graph import Graph, name_layer, pack
from converter.runtimes import CHECKOUT, probe
from edge.errors import OperatorUnsupported, RuntimeMissing
from edge.files import replace_file
from edge.system.program import command

OLDEST = "tflite-runtime 2.14.0"
TABLE = Path(__file__).with_name("operators.json")
MOST_VERSION = 20  # the schema's newest operator is at 14


def check_operators(graph: Graph) -> None:
    """Raise OperatorUnsupported for the first operator that the oldest runtime does not have."""
    table = read_table()
    for step in graph.operators:
        most = table.get(step.name)
        if most is not None and step.version <= most:
            continue
        layer = name_layer(graph.tensors[step.outputs[0]].name)
        if most is None:
            has, way = "no such operator", "build the layer of others"
        else:
            has, way = f"it up to version {most}", "convert it without what the newer version adds"
        raise OperatorUnsupported(f"layer {layer}: {step.name} version {step.version}; {OLDEST} has {has}: {way}")


def list_operators(graph: Graph) -> list[dict[str, Any]]:
    """List what a graph is made of: operator, version, count, and most, the oldest runtime's version or None."""
    table = read_table()
    counts = Counter((step.name, step.version) for step in graph.operators)
    return [
        {"operator": name, "version": version, "count": count, "most": table.get(name)}
        for (name, version), count in sorted(counts.items())
    ]


@cache
def read_table() -> dict[str, int]:
    """Read the highest version of each operator that the oldest runtime has; what it has not is missing."""
    operators: dict[str, int] = json.loads(TABLE.read_bytes())["operators"]
    return operators


def measure(python: Path) -> dict[str, Any]:
    """Ask the oldest runtime, in the Python it is installed in, for the highest version it has of each operator.

    Returns what operators.json holds. Raises RuntimeMissing where that Python has another runtime or none.
    """
    codes = {name: code for name, code in vars(schema.BuiltinOperator).items() if isinstance(code, int)}
    versions = range(1, MOST_VERSION + 1)
    asked = {f"{name} {number}": build_tiny(codes[name], number) for name, number in product(codes, versions)}
    report = probe((str(python),), asked)
    runtime = f"{report['runtime']} {report['version']}"
    if runtime != OLDEST:
        raise RuntimeMissing(f"{python} has {runtime}; the oldest runtime supported is {OLDEST}: name a Python with it")
    known = {name: [number for number in versions if f"{name} {number}" not in report["refused"]] for name in codes}
    return {
        "runtime": runtime,
        "machine": report["machine"],
        "python": report["python"],
        "schema": f"ai-edge-litert {version_of('ai-edge-litert')}",
        "asked": {"operators": len(codes), "versions": [1, MOST_VERSION]},
        "operators": {name: max(numbers) for name, numbers in sorted(known.items()) if numbers},
    }


def build_tiny(code: int, version: int) -> bytes:
    """Write a TFLite file that only has an entry for an operator: a runtime resolves it or refuses the file."""
    model, entry, graph = schema.ModelT(), schema.OperatorCodeT(), schema.SubGraphT()
    entry.builtinCode, entry.deprecatedBuiltinCode, entry.version = code, min(code, 127), version
    graph.tensors = graph.inputs = graph.outputs = graph.operators = []
    model.version, model.operatorCodes, model.subgraphs, model.buffers = 3, [entry], [graph], [schema.BufferT()]
    return pack(model)


@command
def main(parser: argparse.ArgumentParser, argv: list[str] | None = None) -> None:
    """Measure which operators the oldest runtime has, and write operators.json."""
    python = CHECKOUT / ".venv" / "bin" / "python"
    parser.add_argument("--device-python", type=Path, default=python, help=f"a Python with {OLDEST} (.venv/bin/python)")
    args = parser.parse_args(argv)
    table = measure(args.device_python)
    replace_file(TABLE, json.dumps(table, indent=1).encode() + b"\n")
    print(f"{TABLE.name}: {len(table['operators'])} operators of {table['runtime']}")


if __name__ == "__main__":
    main()
