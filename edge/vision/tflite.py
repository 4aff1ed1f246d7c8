"""What all networks of the device share: their files, contracts' tables, the runtime, and interpreters held to them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np
import numpy.typing as npt

from edge.errors import ContractMismatch, ContractUnreadable, ModelMissing, ModelShape, ModelUnreadable, RuntimeMissing
from edge.files import read_file
from edge.needs import AGAIN
from edge.system.quiet import quiet
from edge.types import Gray

RUNTIMES = (("tflite-runtime", "tflite_runtime.interpreter"), ("ai-edge-litert", "ai_edge_litert.interpreter"))
_PACKAGED = Path(__file__).parents[1] / "model"
_CHECKOUT = Path(__file__).parents[2] / "models"
LARGEST_MODEL, LARGEST_CONTRACT = 1 << 27, 1 << 20  # bytes of their files


@dataclass(frozen=True, slots=True)
class Tensor:
    """One end of the network: real value = scale * (stored - zero_point); of float32 they are 1.0 and 0."""

    shape: tuple[int, ...]
    dtype: str
    scale: float
    zero_point: int


@dataclass(frozen=True, slots=True)
class NetworkContract:
    """What the contracts of the finder's networks have in common."""

    sha256: str  # of the whole file, in hex
    size: int  # bytes
    input: Tensor
    outputs: dict[str, Tensor]


Promised = TypeVar("Promised", bound=NetworkContract)


def models_folder() -> Path:
    """Return the folder of the models that came with this installation or checkout."""
    return _PACKAGED if _PACKAGED.is_dir() else _CHECKOUT


def read_model(path: Path) -> bytes:
    """Read a .tflite file, whole or not; raises ModelMissing or ModelUnreadable."""
    try:
        content = read_file(path, LARGEST_MODEL)
    except FileNotFoundError as error:
        raise ModelMissing(f"{path}: no such file; give the path of a .tflite model") from error
    except OSError as error:
        raise ModelUnreadable(f"{path}: {error.strerror}; give the path of a .tflite model") from error
    if content[4:8] != b"TFL3":
        raise ModelUnreadable(f"{path}: not a TFLite model (no TFL3 mark); convert it with cuelens-convert")
    return content


def read_promise(table: dict[str, Any]) -> Tensor:
    """Read one end of a network from a contract's table; raises KeyError, TypeError or ValueError."""
    shape = tuple(int(length) for length in table["shape"])
    tensor = Tensor(shape, str(table["dtype"]), float(table["scale"]), int(table["zero_point"]))
    if not 0 < tensor.scale < float("inf"):
        raise ValueError(f"scale {tensor.scale}; valid is a finite one above 0")
    if tensor.dtype == "float32" and (tensor.scale, tensor.zero_point) != (1.0, 0):
        raise ValueError(f"float32 with scale {tensor.scale} and zero point {tensor.zero_point}; valid are 1.0 and 0")
    return tensor


def read_tensor(details: dict[str, Any]) -> Tensor:
    """Read one end of a network from what `get_input_details` or `get_output_details` of an interpreter states."""
    scale, zero_point = details["quantization"]
    dtype = np.dtype(details["dtype"]).name
    if dtype == "float32" and scale == 0:  # the interpreter's word for: not quantised
        scale = 1.0
    return Tensor(tuple(int(length) for length in details["shape"]), dtype, float(scale), int(zero_point))


def check_content(path: Path, content: bytes, size: int, sha256: str) -> None:
    """Raise ModelUnreadable or ContractMismatch where a model's file is not the one of its contract."""
    if len(content) < size:
        raise ModelUnreadable(f"{path}: ends after {len(content)} of {size} bytes; copy it again")
    found = hashlib.sha256(content).hexdigest()
    if found != sha256:
        raise ContractMismatch(
            f"{path}: sha256 {found[:12]}…, its contract has {sha256[:12]}…; install model and contract together"
        )


def check_tensor(path: Path, name: str, found: Tensor, promised: Tensor) -> None:
    """Raise ModelShape or ContractMismatch where one end of a network differs from its contract."""
    if (found.shape, found.dtype) != (promised.shape, promised.dtype):
        raise ModelShape(
            f"{path}: {name} is {found.dtype} {found.shape}, its contract has "
            f"{promised.dtype} {promised.shape}; convert it again"
        )
    if not np.isclose(found.scale, promised.scale, rtol=1e-6) or found.zero_point != promised.zero_point:
        raise ContractMismatch(
            f"{path}: {name} scale {found.scale} zero point {found.zero_point}, its contract has "
            f"{promised.scale} and {promised.zero_point}; convert it again"
        )


def read_common(table: dict[str, Any], outputs: Iterable[str]) -> dict[str, Any]:
    """Read what NetworkContract has from a contract's table, by field; raises KeyError, TypeError or ValueError."""
    return {
        "sha256": str(table["sha256"]),
        "size": int(table["size"]),
        "input": read_promise(table["input"]),
        "outputs": {name: read_promise(table["outputs"][name]) for name in outputs},
    }


@contextmanager
def contract_table(path: Path, formats: tuple[int, ...], maker: str) -> Iterator[dict[str, Any]]:
    """Give the JSON of a contract of one of those formats; what is wrong in it, or in its use here, is named.

    `maker` is the program that writes such contracts. Raises ModelMissing or ContractUnreadable.
    """
    try:
        table = json.loads(read_file(path, LARGEST_CONTRACT))
        if not isinstance(table, dict):
            raise ContractUnreadable(f"{path}: no table; write the contract with {maker}")
        if table["format"] not in formats:
            valid = " and ".join(map(str, formats))
            raise ContractUnreadable(
                f"{path}: format {table['format']!r}; this version reads {valid}: make the model again with {maker}"
            )
        yield table
    except FileNotFoundError as error:
        raise ModelMissing(f"{path}: no such file; a model's contract, by {maker}, lies beside it") from error
    except ContractUnreadable:
        raise
    except KeyError as error:
        raise ContractUnreadable(f"{path}: no key {error}; write the contract with {maker}") from error
    except (TypeError, AttributeError, IndexError) as error:
        raise ContractUnreadable(
            f"{path}: not of a contract's form ({error}); write the contract with {maker}"
        ) from error
    except (OSError, ValueError, OverflowError, RecursionError) as error:
        raise ContractUnreadable(f"{path}: {error}; write the contract with {maker}") from error


def load_interpreter(content: bytes, threads: int = 1) -> tuple[Any, str]:
    """Build the TFLite interpreter this system has; returns it with its name and version.

    Raises RuntimeMissing, or ValueError for what is not a model.
    """
    for distribution, module in RUNTIMES:
        try:
            interpreter_class = import_module(module).Interpreter
        except ImportError:
            continue
        # Not importlib.metadata: it costs 5 MB of memory.
        runtime = f"{distribution} {import_module(module.partition('.')[0]).__version__}"
        try:
            return interpreter_class(model_content=content, num_threads=threads), runtime
        except (SystemError, ImportError, AttributeError) as error:  # how a library built for another numpy dies
            raise RuntimeMissing(f"{runtime} does not work with numpy {np.__version__}; {AGAIN}") from error
    raise RuntimeMissing(f"neither tflite-runtime nor ai-edge-litert is installed; {AGAIN}")


def build_interpreter(path: Path, content: bytes, threads: int = 1) -> tuple[Any, str]:
    """Build the interpreter of a .tflite file's content, ready to run; returns it and its runtime's name and version.

    Raises ModelUnreadable or RuntimeMissing.
    """
    try:
        with quiet():
            interpreter, runtime = load_interpreter(content, threads)
            interpreter.allocate_tensors()
    except (ValueError, RuntimeError) as error:
        raise ModelUnreadable(f"{path}: {error}; this runtime cannot load it") from error
    return interpreter, runtime


def find_outputs(
    path: Path, interpreter: Any, contracted: Mapping[str, Tensor], shapes: Mapping[str, tuple[int, ...]], maker: str
) -> dict[str, tuple[int, Tensor]]:
    """Find outputs by the lengths of their last axes; returns the index and the contract's tensor of each, by name.

    Raises ModelShape where the network, or its contract, has none of a shape, and ContractMismatch where they differ.
    """
    outputs: dict[str, tuple[int, Tensor]] = {}
    for name, shape in shapes.items():
        promised = contracted[name]
        found = next((end for end in interpreter.get_output_details() if end["shape"][-1] == shape[-1]), None)
        if found is None:
            raise ModelShape(f"{path}: no output {name} of {shape[-1]}; make it again with {maker}")
        if promised.shape != shape:
            raise ModelShape(
                f"{path}: its contract has {promised.shape} for {name}; valid is {shape}: make it again with {maker}"
            )
        check_tensor(path, name, read_tensor(found), promised)
        outputs[name] = found["index"], promised
    return outputs


class Network(Generic[Promised]):
    """One of the finder's networks, held to its contract: int8 in, some outputs by name."""

    def __init__(
        self, path: Path, read: Callable[[Path], Promised], shapes: Mapping[str, tuple[int, ...]], maker: str
    ) -> None:
        """Load `path` and hold it to the contract beside it, which `read` reads, and to the outputs' shapes.

        `maker` is the program that makes such networks. Raises ModelMissing, ModelUnreadable, ModelShape,
        ContractMismatch, ContractUnreadable, RuntimeMissing.
        """
        content = read_model(path)
        self.contract = contract = read(path.with_suffix(".json"))
        check_content(path, content, contract.size, contract.sha256)
        self._interpreter, _ = build_interpreter(path, content)
        (given,) = self._interpreter.get_input_details()
        check_tensor(path, "input", read_tensor(given), contract.input)
        self._outputs = find_outputs(path, self._interpreter, contract.outputs, shapes, maker)
        self._input = given["index"]
        self._levels = tabulate_levels(contract.input)

    def put(self, view: Gray) -> None:
        """Run it on pixels, uint8 (height, width) as its input has them."""
        levels = self._levels.take(view)  # half of what indexing costs
        self._interpreter.set_tensor(self._input, levels[None, ..., None])
        self._interpreter.invoke()

    def real(self, name: str) -> npt.NDArray[np.float64]:
        """Return an output of the last run as real values, float64 of its shape without the first axis."""
        index, tensor = self._outputs[name]
        stored: npt.NDArray[np.float64] = self._interpreter.get_tensor(index)[0].astype(np.float64)
        return (stored - tensor.zero_point) * tensor.scale


def tabulate_levels(given: Tensor) -> npt.NDArray[np.int8]:
    """Return what an int8 input is given for each pixel value, int8 (256,)."""
    levels = np.round(np.arange(256) / given.scale) + given.zero_point
    return np.clip(levels, -128, 127).astype(np.int8)


def name_delegate(interpreter: Any) -> str:
    """Return who runs an interpreter's operators: XNNPACK where it took some over, else the runtime's own kernels."""
    nodes = interpreter._get_ops_details()  # no public call has it
    return "XNNPACK" if any(node["op_name"] == "DELEGATE" for node in nodes) else "built-in kernels"
