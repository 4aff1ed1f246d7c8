"""Who may see a frame: README's list, held to the code and to whole runs; whoever is new and not listed is found."""

from __future__ import annotations

import ast
import gc
import pickle
import re
import sys
import threading
import time
import weakref
from collections.abc import Iterator
from dataclasses import fields
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge.config import Settings, WebSettings
from edge.control import Control
from edge.loop import run
from edge.model import ExpressionModel
from edge.sinks import SINKS, open_sink
from edge.sources.demo import DemoSource
from edge.types import Capabilities, Frame, Update

EDGE = Path(__file__).resolve().parents[2] / "edge"
README = EDGE.parent / "README.md"
# What of edge.types has pixels in it, what is made of those, and how OpenCV reads, writes and encodes pictures.
HOLDS = {"Gray", "Frame", "Update", "Pyramid", "Arrived"}
TOUCHES = {
    "crop_face",
    "load_picture",
    "luma",
    "VideoCapture",
    "VideoWriter",
    "imdecode",
    "imencode",
    "imread",
    "imwrite",
}
# These have pixels of their own, and get an update for its cue alone. A run shows that they look into no frame.
OWN_PIXELS = {
    "edge/glyphs.py": "draws the cue",
    "edge/sinks/audio.py": "samples of sound",
    "edge/sinks/display.py": "shows what glyphs.py drew",
    "edge/sinks/oled.py": "shows what glyphs.py drew",
    "edge/sinks/png.py": "writes what glyphs.py drew",
}
# ... and these get one as every sink does, or say what one is.
CUE_ALONE = {f"edge/sinks/{name}.py" for name in ("log", "missing", "mqtt", "terminal", "truth", "web")}
TYPES = "edge/types.py"


def touched(tree: ast.AST) -> tuple[set[str], set[str]]:
    """Return what a module names of a frame: its pixels or arrays that may be such, and what has a frame inside."""
    pixels, holders = set(), set()
    for node in ast.walk(tree):
        match node:
            case ast.Attribute(attr=name) | ast.Name(id=name) | ast.alias(name=name) | ast.Constant(value=str(name)):
                if name in TOUCHES or name in ("NDArray", "Gray", "Pyramid"):
                    pixels.add(name)
                elif isinstance(node, ast.Attribute | ast.Constant) and name == "gray":
                    pixels.add(".gray")
                elif name in HOLDS:
                    holders.add(name)
                elif isinstance(node, ast.Attribute) and name == "frame":
                    holders.add(".frame")
            case ast.Call(func=ast.Name(id=name)) if name in ("asdict", "astuple", "vars", "getattr"):
                pixels.update(
                    {name}
                    if {"Update", "Frame"} & {word.id for word in ast.walk(tree) if isinstance(word, ast.Name)}
                    else ()
                )
    return pixels, holders


def listed() -> set[str]:
    """The modules of README's list."""
    chapter = README.read_text(encoding="utf-8").split("## Who sees a frame")[1].split("\n## ")[0]
    rows = [line.split("|")[1] for line in chapter.splitlines() if line.startswith("| `edge/")]
    return set(re.findall(r"`(edge/[\w/]+\.py)`", " ".join(rows)))


def consumers(folder: Path) -> dict[str, set[str]]:
    """Whoever of a folder's modules names pixels, by path from above it; whoever has a frame and should not look in."""
    found = {}
    for path in sorted(folder.rglob("*.py")):
        name = str(path.relative_to(folder.parent))
        pixels, holders = touched(ast.parse(path.read_text(encoding="utf-8")))
        if pixels | holders:
            found[name] = pixels | holders
    return found
