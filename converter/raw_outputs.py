"""Run by other Pythons, the device's and an emulated one: a TFLite file's raw outputs, or which tiny models build.

Imports nothing of the project, only numpy and whichever TFLite runtime that Python has.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

RUNTIMES = (("tflite-runtime", "tflite_runtime"), ("ai-edge-litert", "ai_edge_litert"))
KERNELS = {"default": "AUTO", "built-in": "BUILTIN_WITHOUT_DEFAULT_DELEGATES", "reference": "BUILTIN_REF"}
NO_RUNTIME = 3  # exit code


def import_runtime() -> tuple[str, str, Any]:
    """Import the TFLite runtime of this Python; returns its name, version and module.

    Raises ImportError where there is none.
    """
    for name, package in RUNTIMES:
        try:
            module = import_module(f"{package}.interpreter")
        except ModuleNotFoundError as error:
            if error.name != package:
                raise
            continue
        return name, str(import_module(package).__version__), module
    raise ImportError(f"neither {' nor '.join(name for name, _ in RUNTIMES)} is installed in {sys.executable}")


def run(module: Any, content: bytes, inputs: npt.NDArray[Any], kernels: str) -> tuple[npt.NDArray[Any], str]:
    """Run inputs (n, ...) of the model's own input dtype one by one on one thread.

    Returns the raw outputs (n, labels), and the kernels that were used: XNNPACK, built-in or reference.
    Raises ValueError or RuntimeError where the runtime refuses the file.
    """
    resolver = getattr(module.OpResolverType, KERNELS[kernels])
    interpreter = module.Interpreter(model_content=content, num_threads=1, experimental_op_resolver_type=resolver)
    interpreter.allocate_tensors()
    (given,), (taken,) = interpreter.get_input_details(), interpreter.get_output_details()
    # A delegate takes the place of the operators that it runs; of all there are, only XNNPACK comes unasked.
    delegated = any(operator["op_name"] == "DELEGATE" for operator in interpreter._get_ops_details())
    outputs = np.empty((len(inputs), *taken["shape"][1:]), taken["dtype"])
    for row, picture in enumerate(inputs):
        interpreter.set_tensor(given["index"], picture.reshape(given["shape"]))
        interpreter.invoke()
        outputs[row] = interpreter.get_tensor(taken["index"])[0]
    return outputs, "XNNPACK" if delegated else "reference" if kernels == "reference" else "built-in"


def probe(module: Any, content: bytes) -> str | None:
    """Return in the runtime's words why it builds no interpreter of a model; None where it does."""
    try:
        module.Interpreter(model_content=content, num_threads=1)
    except (ValueError, RuntimeError) as error:
        return one_line(error)
    return None


def one_line(error: Exception) -> str:
    """Return a runtime's words, which it breaks into lines, in one."""
    return " ".join(str(error).split())


def main() -> None:
    """Print one JSON line, or the runtime's words on stderr and exit code 1; exit code 3 without a runtime."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("files", nargs="*", type=Path, metavar="MODEL.tflite INPUTS.npy OUTPUTS.npy")
    parser.add_argument("--kernels", choices=KERNELS, default="default")
    parser.add_argument("--probe", type=Path, metavar="FILES.npz", help="Models as uint8 (bytes,) arrays, by name.")
    args = parser.parse_args()
    if (args.probe is None) == (len(args.files) != 3):
        parser.error("give either MODEL.tflite INPUTS.npy OUTPUTS.npy or --probe FILES.npz")
    try:
        name, version, module = import_runtime()
    except ImportError as error:
        print(one_line(error), file=sys.stderr)
        sys.exit(NO_RUNTIME)
    report: dict[str, Any] = {
        "runtime": name,
        "version": version,
        "machine": platform.machine(),
        "python": platform.python_version(),
    }
    if args.probe is not None:
        with np.load(args.probe) as models:
            report["refused"] = {
                key: words for key in models.files if (words := probe(module, models[key].tobytes())) is not None
            }
    else:
        model, inputs, outputs = args.files
        try:
            raw, report["kernels"] = run(module, model.read_bytes(), np.load(inputs), args.kernels)
        except (ValueError, RuntimeError) as error:
            print(one_line(error), file=sys.stderr)
            sys.exit(1)
        np.save(outputs, raw)
    print(json.dumps(report))


if __name__ == "__main__":
    main()
