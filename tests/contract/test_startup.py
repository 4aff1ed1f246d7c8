"""A start is light: nothing is imported that the settings do not use, and what is costs no more than a budget.

Instructions are counted, not seconds: they are the same on a busy machine.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.start import IMPORTS, LIBRARIES, count_instructions, steps
from edge.errors import CuelensError

NUMERIC = {"numpy", "cv2", "tflite_runtime", "ai_edge_litert"}
CAMERA = {"picamera2", "libcamera", "v4l2", "prctl"}
DISPLAY = {"pygame", "luma", "PIL"}
NETWORK = {
    "starlette",
    "uvicorn",
    "websockets",
    "h11",
    "anyio",
    "paho",
    "ssl",
    "asyncio",
    "bleak",
    "dbus_fast",
    "http",
    "email",
    "urllib.request",
}
NEVER = {
    "tensorflow",
    "keras",
    "matplotlib",
    "tqdm",
    "multiprocessing",
    "unittest",
    "pip",
    "setuptools",
    "sqlite3",
    "pdb",
}
HEAVY = {"logging", "xml", "html", "importlib.metadata", "importlib.resources", "subprocess", "concurrent"}
OTHERS = {
    "edge.diagnostics.checks",
    "edge.web",
    "edge.drawing.glyphs",
    "edge.diagnostics.replay",
    "edge.stills",
    "edge.diagnostics.timeline",
    "edge.sources.picamera",
}
LIGHTEST = CAMERA | DISPLAY | NETWORK | NEVER | OTHERS

# What is started, and what it must not import.
STARTS: dict[str, set[str]] = {
    "run --source demo --seconds 0.2": LIGHTEST | HEAVY | {"edge.sources.v4l2", "edge.sources.file"},
    "run --source v4l2:77": LIGHTEST | HEAVY | {"edge.sources.demo"},
    "run --source demo --seconds 0.2 --sink log": LIGHTEST | HEAVY | {"edge.locale.words", "edge.sinks.terminal"},
    "run --source demo --seconds 0.2 --sink oled:dummy": CAMERA
    | {"pygame"}
    | NETWORK
    | {"edge.web", "edge.diagnostics.checks"},
    "run --source demo --seconds 0.2 --sink web:0": CAMERA | DISPLAY | {"paho", "edge.diagnostics.checks"},
    "status --socket /nowhere": LIGHTEST
    | HEAVY
    | NUMERIC
    | {"edge.vision.model", "edge.runtime", "edge.types", "tomllib"},
    "report --help": LIGHTEST | HEAVY | NUMERIC,
    "check --help": LIGHTEST | HEAVY | NUMERIC,
    "run --help": LIGHTEST | HEAVY | NUMERIC,
    "--version": LIGHTEST - NETWORK | NUMERIC,  # the package's metadata is a mail's header
}
MOST_MODULES = 220  # of Python's and ours, for the terminal; 218 on Python 3.11

MOST_IMPORTS_M = 320.0  # millions of instructions beyond numpy's and OpenCV's; 312 on Python 3.11
MOST_STATUS_M = 400.0  # 311

needs_valgrind = pytest.mark.skipif(shutil.which("valgrind") is None, reason="no valgrind here; .ci/run installs it")


def imported(repository: Path, words: str) -> set[str]:
    """Start `cuelens` and return the modules that it imported."""
    script = f"import sys\nsys.argv = ['cuelens', *{words.split()!r}]\nfrom edge.cli import main\nmain()"
    python = [sys.executable, "-X", "importtime", "-c", script]
    done = subprocess.run(python, cwd=repository, capture_output=True, text=True, timeout=120, check=False)
    assert "Traceback" not in done.stderr
    return set(re.findall(r"^import time:.*\| +(\S+)$", done.stderr, re.MULTILINE))


@pytest.mark.parametrize("words", STARTS)
def test_nothing_is_imported_that_the_settings_do_not_use(repository: Path, words: str) -> None:
    modules = imported(repository, words)
    assert "edge.cli" in modules
    forbidden = STARTS[words]
    assert sorted(name for name in modules if any(f"{name}.".startswith(f"{other}.") for other in forbidden)) == []
    if words.startswith("run --source demo") and "web" not in words and "oled" not in words:
        own = {name for name in modules if name.partition(".")[0] not in NUMERIC}
        assert 50 < len(own) <= MOST_MODULES, len(own)


@needs_valgrind
@pytest.mark.slow
def test_our_own_imports_keep_their_budget_of_instructions() -> None:
    ours_m = (count_instructions(IMPORTS) - count_instructions(LIBRARIES)) / 1e6
    assert 20 < ours_m <= MOST_IMPORTS_M


@needs_valgrind
def test_asking_for_the_status_keeps_its_budget_of_instructions(tmp_path: Path) -> None:
    assert 20 < count_instructions(steps(tmp_path / "none")["status"]) / 1e6 <= MOST_STATUS_M


@needs_valgrind
def test_a_step_that_fails_is_not_counted() -> None:
    with pytest.raises(CuelensError, match="ended with 1"):
        count_instructions("raise ValueError('odd')")
