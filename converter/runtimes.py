"""The runtimes that an int8 file will meet, as far as this machine has them, each in a Python of its own.

What runs in them is raw_outputs.py; edge/errors.py says what goes wrong there.
"""

from __future__ import annotations

import io
import json
import platform
import shutil
import signal
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from ai_edge_litert import schema_py_generated as schema

from converter.graph import pack
from converter.raw_outputs import KERNELS, NO_RUNTIME
from edge.errors import ModelMissing, ModelUnreadable, RuntimeMissing
from edge.files import replace_file

CHECKOUT = Path(__file__).resolve().parent.parent
ARM64 = CHECKOUT / ".cache" / "roots" / "arm64"  # by deploy/arm64.sh
CORE = "cortex-a72"  # a Raspberry Pi 4's, which that tree describes in its proc and sys
_QEMU = ("qemu-aarch64-static", "qemu-aarch64")
_SCRIPT = Path(__file__).with_name("raw_outputs.py")
_SECONDS = 600.0


@dataclass(frozen=True, slots=True)
class Runtime:
    """One TFLite runtime with one choice of its kernels."""

    name: str  # distribution and version
    kernels: str  # XNNPACK, built-in or reference, as the runtime reports it
    machine: str
    emulated: bool  # some hundred times slower
    command: tuple[str, ...]  # takes MODEL.tflite INPUTS.npy OUTPUTS.npy

    def __str__(self) -> str:
        """Name it in full, for a report."""
        return f"{self.name}, {self.kernels} kernels, {self.machine}{' (emulated)' if self.emulated else ''}"


def find_runtimes(device_python: Path | None = None, *, native: bool = False) -> tuple[list[Runtime], list[str]]:
    """Find every runtime of this machine; returns them, and a line for each that is missing with how to get it.

    Looked for are tflite-runtime of `device_python` (the checkout's .venv where None), ai-edge-litert of this Python
    with each of its kernels, and, unless `native`, both on emulated aarch64. Each is tried on a model of one sum.
    """
    found: list[Runtime] = []
    missing: list[str] = []

    def look(python: tuple[str, ...], wanted: str, kernels: tuple[str, ...], *, emulated: bool, hint: str) -> None:
        for choice in kernels:
            try:
                runtime = _try_runtime((*python, "-P", str(_SCRIPT), "--kernels", choice), emulated=emulated)
            except RuntimeMissing as error:
                missing.append(f"{wanted}: {error}; {hint}")
                return
            except ModelUnreadable as error:
                missing.append(f"{wanted}, {choice} kernels: {error}; {hint}")
                continue
            if not runtime.name.startswith(wanted):
                missing.append(f"{wanted}: {python[-1]} has {runtime.name} instead; {hint}")
                return
            found.append(runtime)

    device = device_python or CHECKOUT / ".venv" / "bin" / "python"
    every = tuple(KERNELS)
    hint = "run ./deploy.sh demo with Python 3.11 (CUELENS_PYTHON), the last that it is made for"
    look((str(device),), "tflite-runtime", ("default",), emulated=False, hint=hint)
    look((sys.executable,), "ai-edge-litert", every, emulated=False, hint="run ./deploy.sh host and use .venv-host/bin")
    if platform.machine() == "aarch64":
        return found, missing
    if native:
        return found, [*missing, "aarch64: left out, as asked"]
    qemu = next(filter(shutil.which, _QEMU), None)
    if qemu is None:
        missing.append("aarch64: no qemu-aarch64 on this machine; sudo apt install qemu-user-static")
    elif not ARM64.is_dir():
        missing.append(f"aarch64: no {ARM64}; run ./deploy.sh arm64")
    else:
        for wanted, kernels in (("tflite-runtime", ("default",)), ("ai-edge-litert", every)):
            python = emulate(qemu, ARM64, ARM64 / "opt" / wanted)
            look(python, wanted, kernels, emulated=True, hint="run ./deploy.sh arm64")
    return found, missing


def emulate(qemu: str, root: Path, packages: Path) -> tuple[str, ...]:
    """Return the command that starts the Python of an arm64 tree, with the packages of one folder, on this machine."""
    environment = {"PYTHONHOME": root / "usr", "PYTHONPATH": packages}
    options = [word for name, value in environment.items() for word in ("-E", f"{name}={value}")]
    return (qemu, "-cpu", CORE, *options, "-L", str(root), str(root / "usr" / "bin" / "python3.11"))


def run_raw(runtime: Runtime, model: Path, inputs: npt.NDArray[Any], seconds: float = _SECONDS) -> npt.NDArray[Any]:
    """Run inputs (n, ...) of the model's own input dtype through a runtime; returns raw outputs (n, labels).

    Raises ModelMissing; ModelUnreadable, with the runtime's own words, where it refuses the file, crashes or takes
    longer than `seconds`; RuntimeMissing where it has gone.
    """
    if not model.is_file():
        raise ModelMissing(f"{model}: no such file; give the path of a .tflite model")
    try:
        outputs, _ = _run(runtime.command, model, inputs, seconds)
    except ModelUnreadable as error:
        raise ModelUnreadable(
            f"{model}: {runtime}: {error}; check inputs and operators, then convert it again"
        ) from error
    return outputs


def probe(command: tuple[str, ...], models: dict[str, bytes]) -> dict[str, Any]:
    """Ask the runtime of a Python's `command` which models it builds no interpreter of, and what it says of those.

    Returns runtime, version, machine, python, and refused: the runtime's words by the model's name. Raises
    RuntimeMissing where it has none or crashes.
    """
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "models.npz"
        # numpy's stubs take a table of arrays for the options beside it.
        np.savez(file, **{name: np.frombuffer(content, np.uint8) for name, content in models.items()})  # type: ignore[arg-type]
        try:
            return _call((*command, "-P", str(_SCRIPT), "--probe", str(file)), _SECONDS)
        except ModelUnreadable as error:
            raise RuntimeMissing(f"{' '.join(command)}: {error}; set it up again") from error


def _try_runtime(command: tuple[str, ...], *, emulated: bool) -> Runtime:
    with tempfile.TemporaryDirectory() as folder:
        model = Path(folder) / "sum.tflite"
        model.write_bytes(build_sum())
        _, report = _run(command, model, np.zeros((1, 4), np.int8), _SECONDS)
    return Runtime(f"{report['runtime']} {report['version']}", report["kernels"], report["machine"], emulated, command)


def build_sum() -> bytes:
    """Write a TFLite file that adds its input, int8 (1, 4), to itself: every runtime and delegate has that."""
    model, graph, step, code = schema.ModelT(), schema.SubGraphT(), schema.OperatorT(), schema.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.ADD
    code.version = 2
    step.opcodeIndex, step.inputs, step.outputs = 0, [0, 0], [1]
    step.builtinOptionsType, step.builtinOptions = schema.BuiltinOptions.AddOptions, schema.AddOptionsT()
    tensors = [schema.TensorT(), schema.TensorT()]
    for number, tensor in enumerate(tensors):
        tensor.name, tensor.shape, tensor.type, tensor.buffer = str(number), [1, 4], schema.TensorType.INT8, 0
        tensor.quantization = schema.QuantizationParametersT()
        tensor.quantization.scale, tensor.quantization.zeroPoint = [1.0 + number], [0]
    graph.tensors, graph.inputs, graph.outputs, graph.operators = tensors, [0], [1], [step]
    model.version, model.operatorCodes, model.subgraphs, model.buffers = 3, [code], [graph], [schema.BufferT()]
    return pack(model)


def _run(
    command: tuple[str, ...], model: Path, inputs: npt.NDArray[Any], seconds: float
) -> tuple[npt.NDArray[Any], dict[str, Any]]:
    with tempfile.TemporaryDirectory() as folder:
        given, taken = Path(folder) / "inputs.npy", Path(folder) / "outputs.npy"
        content = io.BytesIO()
        np.save(content, inputs)  # which to a full disk says no more than that it is less
        replace_file(given, content.getvalue())
        report = _call((*command, str(model), str(given), str(taken)), seconds)
        return np.load(taken), report


def _call(command: tuple[str, ...], seconds: float) -> dict[str, Any]:
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=seconds, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise ModelUnreadable(f"not done after {seconds:g} s") from error
    except OSError as error:
        raise RuntimeMissing(f"{command[0]}: {error.strerror}") from error
    reason = done.stderr.strip().splitlines()[-1:] or ["no word"]
    if done.returncode == NO_RUNTIME:
        raise RuntimeMissing(reason[0])
    if done.returncode < 0:
        raise ModelUnreadable(f"killed by {signal.Signals(-done.returncode).name}, saying: {reason[0]}")
    if done.returncode:
        raise ModelUnreadable(reason[0])
    report: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return report
