"""The runtimes of this machine, each in its own Python: found, or missing with how to get it; and what they refuse."""

from __future__ import annotations

import ast
import os
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("flatbuffers", reason="flatbuffers is the host's")

from converter import raw_outputs, runtimes
from converter.runtimes import Runtime, find_runtimes, run_raw
from edge.errors import ModelMissing, ModelUnreadable, RuntimeMissing
from edge.vision.model import ExpressionModel, shipped_model

DEVICE_PYTHON = Path(os.environ.get("CUELENS_DEVICE_PYTHON", runtimes.CHECKOUT / ".venv" / "bin" / "python"))


def command_of(python: Path | str, *options: str) -> tuple[str, ...]:
    return (str(python), "-P", raw_outputs.__file__, *options)


def pretend(*words: str) -> Runtime:
    """A runtime that is some other program."""
    return Runtime("pretended 1.0", "built-in", "x86_64", False, words)


@pytest.fixture(scope="module")
def here() -> Runtime:
    """The runtime of the Python that runs the tests, with its default kernels."""
    return runtimes._try_runtime(command_of(sys.executable), emulated=False)


@pytest.fixture
def without_arm64(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(runtimes, "ARM64", tmp_path / "arm64")


def draw(rows: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (rows, 48, 48), dtype=np.uint8)


def prepare(pictures: np.ndarray) -> np.ndarray:
    model = ExpressionModel()
    return np.concatenate([model.prepare(picture) for picture in pictures])


def test_a_runtime_in_another_process_gives_the_bytes_of_this_one(here: Runtime) -> None:
    pictures, model = draw(5), ExpressionModel()
    raw = run_raw(here, shipped_model(), prepare(pictures))
    assert here.name == model.runtime
    assert np.array_equal(raw, [model.read_raw(picture) for picture in pictures])


@pytest.mark.usefixtures("without_arm64")
def test_every_runtime_that_is_found_runs_the_shipped_model() -> None:
    found, missing = find_runtimes(DEVICE_PYTHON)
    if not found:
        pytest.skip(f"no runtime: {'; '.join(missing)}")
    inputs = prepare(draw(3))
    raw = {runtime: run_raw(runtime, shipped_model(), inputs) for runtime in found}
    assert {outputs.shape for outputs in raw.values()} == {(3, 7)}
    kernels = {runtime.kernels for runtime in found if runtime.name.startswith("ai-edge-litert")}
    assert kernels in (set(), {"XNNPACK", "built-in", "reference"})
    assert all(runtime.name in str(runtime) and runtime.kernels in str(runtime) for runtime in found)


@pytest.mark.usefixtures("without_arm64")
def test_a_missing_runtime_is_named_with_how_to_get_it(tmp_path: Path) -> None:
    found, missing = find_runtimes(tmp_path / "python")
    assert not [runtime for runtime in found if runtime.name.startswith("tflite-runtime")]
    (line,) = [line for line in missing if line.startswith("tflite-runtime")]
    assert f"{tmp_path / 'python'}: No such file" in line
    assert "./deploy.sh demo" in line


@pytest.mark.usefixtures("without_arm64")
def test_a_python_with_the_other_runtime_is_not_the_one_searched(here: Runtime) -> None:
    found, missing = find_runtimes(Path(sys.executable))
    other = "tflite-runtime" if here.name.startswith("ai-edge-litert") else "ai-edge-litert"
    assert not [runtime for runtime in found if runtime.name.startswith(other)]
    assert [line for line in missing if line.startswith(f"{other}: {sys.executable} has {here.name} instead; run ")]


@pytest.mark.usefixtures("without_arm64")
def test_without_the_arm64_tree_it_says_what_makes_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    for name in runtimes._QEMU:
        (tmp_path / name).touch(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    assert find_runtimes(DEVICE_PYTHON)[1][-1].endswith("run ./deploy.sh arm64")
    monkeypatch.setenv("PATH", str(tmp_path / "nowhere"))
    assert "apt install qemu-user-static" in find_runtimes(DEVICE_PYTHON)[1][-1]


@pytest.mark.parametrize("content", [b"", b"\x10\0\0\0TFL3" + bytes(2000)])
def test_a_file_that_a_runtime_refuses_is_reported_in_its_own_words(
    here: Runtime, tmp_path: Path, content: bytes
) -> None:
    file = tmp_path / "bad.tflite"
    file.write_bytes(content)
    with pytest.raises(ModelUnreadable, match=r"bad\.tflite: .* kernels, .*: .{10}") as caught:
        run_raw(here, file, prepare(draw(1)))
    assert "\n" not in str(caught.value)


def test_inputs_of_another_dtype_are_reported_in_the_runtimes_own_words(here: Runtime) -> None:
    with pytest.raises(ModelUnreadable, match="FLOAT32"):
        run_raw(here, shipped_model(), prepare(draw(1)).astype(np.float32))


def test_a_missing_file_is_named(here: Runtime, tmp_path: Path) -> None:
    with pytest.raises(ModelMissing, match="none"):
        run_raw(here, tmp_path / "none.tflite", prepare(draw(1)))


def test_a_runtime_that_crashes_takes_only_its_own_process_along() -> None:
    crash = "import os, sys; print('last words', file=sys.stderr, flush=True); os.abort()"
    with pytest.raises(ModelUnreadable, match=r"pretended 1\.0.*SIGABRT, saying: last words"):
        run_raw(pretend(sys.executable, "-c", crash), shipped_model(), prepare(draw(1)))


def test_a_runtime_that_never_ends_is_ended() -> None:
    with pytest.raises(ModelUnreadable, match=r"not done after 0\.2 s"):
        run_raw(pretend(sys.executable, "-c", "import time; time.sleep(60)"), shipped_model(), prepare(draw(1)), 0.2)


def test_a_python_without_a_runtime_reports_so(tmp_path: Path) -> None:
    # -S leaves out site-packages: numpy alone is given back.
    (tmp_path / "numpy").symlink_to(Path(np.__file__).parent)
    for folder in Path(np.__file__).parent.parent.glob("numpy.libs"):
        (tmp_path / folder.name).symlink_to(folder)
    start = f"import runpy, sys; sys.path.insert(0, {str(tmp_path)!r}); sys.argv = sys.argv[1:]; "
    command = (sys.executable, "-S", "-c", start + "runpy.run_path(sys.argv[0], run_name='__main__')")
    with pytest.raises(RuntimeMissing, match="neither tflite-runtime nor ai-edge-litert is installed"):
        run_raw(pretend(*command, raw_outputs.__file__), shipped_model(), prepare(draw(1)))


def test_what_other_pythons_run_imports_nothing_of_the_project() -> None:
    tree = ast.parse(Path(raw_outputs.__file__).read_text())
    names = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    names |= {str(node.module) for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert {name.partition(".")[0] for name in names} - sys.stdlib_module_names == {"numpy"}
