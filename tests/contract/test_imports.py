"""The device never imports host code, and imports nothing that it does not use."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.imports import imported

HOST = {"lab", "training", "converter", "benchmarks", "tests", "tensorflow", "keras", "matplotlib", "tqdm"}


def imported_packages(path: Path) -> set[str]:
    return {name.partition(".")[0] for name in imported(path.read_text(), "edge")}


def test_no_line_of_the_device_names_host_code(repository: Path) -> None:
    files = sorted((repository / "edge").rglob("*.py"))
    assert len(files) > 10
    assert {str(path): found for path in files if (found := imported_packages(path) & HOST)} == {}


def test_a_whole_run_loads_no_host_code(repository: Path) -> None:
    script = (
        "import sys\n"
        "from edge.cli import main\n"
        "try:\n    main(['demo', '--seconds', '1', '--pace', 'fast'])\n"
        "except SystemExit as end:\n    assert not end.code, end.code\n"
        f"loaded = {{name.partition('.')[0] for name in sys.modules}} & {HOST!r}\n"
        "assert not loaded, loaded\n"
        "print('clean')"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=repository, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("clean\n")


@pytest.mark.parametrize(
    "module",
    [
        "edge.cli",
        "edge.commands.run",
        "edge.settings",
        "edge.settings_file",
        "edge.types",
        "edge.cue.policy",
        "edge.errors",
    ],
)
def test_what_judges_and_parses_does_not_load_the_camera_or_the_runtime(repository: Path, module: str) -> None:
    script = (
        f"import sys, {module}; print(*{{'cv2', 'tflite_runtime', 'ai_edge_litert', 'picamera2'}} & {{*sys.modules}})"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=repository, capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
