"""The expression network behind one call: upright crops in, probabilities out.

A model comes with a contract (JSON beside it). What differs from its contract is never parsed, let alone run.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edge.errors import ContractMismatch, ContractUnreadable, ModelMissing, ModelShape, ModelUnreadable, RuntimeMissing
from edge.preprocessing import Preprocessing
from edge.quiet import quiet
from edge.types import Gray

_RUNTIMES = (("tflite-runtime", "tflite_runtime.interpreter"), ("ai-edge-litert", "ai_edge_litert.interpreter"))
_PACKAGED = Path(__file__).parent / "model"
_CHECKOUT = Path(__file__).parent.parent / "models"
CONTRACT_FORMAT = 2  # 2: the preprocessing says how a picture is resized


@dataclass(frozen=True, slots=True)
class Tensor:
    """One end of the network: real value = scale * (quantised - zero_point)."""

    shape: tuple[int, ...]
    dtype: str
    scale: float
    zero_point: int


@dataclass(frozen=True, slots=True)
class Contract:
    """What a model promises; the pixels go in as they are, 0 to 255 (scaling is inside the network)."""

    sha256: str
    size: int  # bytes
    preprocessing: Preprocessing
    input: Tensor
    output: Tensor
    labels: tuple[str, ...]

    @property
    def side(self) -> int:
        """Width and height of a crop in pixels."""
        return self.preprocessing.side


def shipped_model() -> Path:
    """Return the path of the model that came with this installation or checkout."""
    folder = _PACKAGED if _PACKAGED.is_dir() else _CHECKOUT
    return folder / "emotion.tflite"


def read_contract(path: Path) -> Contract:
    """Read a model's contract; raises ModelMissing or ContractUnreadable."""
    try:
        table = json.loads(path.read_bytes())
    except FileNotFoundError as error:
        raise ModelMissing(f"{path}: no such file; a model's contract, by cuelens-convert, lies beside it") from error
    except (OSError, ValueError) as error:
        raise ContractUnreadable(f"{path}: {error}; a contract is JSON written by cuelens-convert") from error
    try:
        if table["format"] != CONTRACT_FORMAT:
            raise ContractUnreadable(f"{path}: format {table['format']!r}; this version reads {CONTRACT_FORMAT}")
        given = _read_tensor(table["input"])
        preprocessing = Preprocessing(given.shape[1], table["preprocessing"]["colour"])
        if table["preprocessing"] != preprocessing.describe():
            raise ContractUnreadable(
                f"{path}: preprocessing {table['preprocessing']}; this version does {preprocessing.describe()}"
            )
        return Contract(
            sha256=str(table["sha256"]),
            size=int(table["size"]),
            preprocessing=preprocessing,
            input=given,
            output=_read_tensor(table["output"]),
            labels=tuple(str(label) for label in table["labels"]),
        )
    except KeyError as error:
        raise ContractUnreadable(f"{path}: no key {error}; write the contract with cuelens-convert") from error
    except (TypeError, ValueError, AttributeError, IndexError) as error:
        if isinstance(error, ContractUnreadable):
            raise
        raise ContractUnreadable(f"{path}: {error}; write the contract with cuelens-convert") from error


def _read_tensor(table: dict[str, Any]) -> Tensor:
    shape = tuple(int(length) for length in table["shape"])
    return Tensor(shape, str(table["dtype"]), float(table["scale"]), int(table["zero_point"]))


def load_interpreter(content: bytes, threads: int = 1) -> tuple[Any, str]:
    """Build the TFLite interpreter this system has; returns it with its name and version.

    Raises RuntimeMissing, or ValueError for what is not a model.
    """
    for distribution, module in _RUNTIMES:
        try:
            interpreter_class = import_module(module).Interpreter
        except ImportError:
            continue
        # Not importlib.metadata: it costs 5 MB of memory.
        runtime = f"{distribution} {import_module(module.partition('.')[0]).__version__}"
        try:
            return interpreter_class(model_content=content, num_threads=threads), runtime
        except (SystemError, ImportError, AttributeError) as error:  # how a library built for another numpy dies
            raise RuntimeMissing(
                f"{runtime} does not work with numpy {np.__version__}; set up again by the lock: ./deploy.sh demo"
            ) from error
    raise RuntimeMissing("neither tflite-runtime nor ai-edge-litert is installed; run ./deploy.sh demo once")


class ExpressionModel:
    """An int8 TFLite classifier of pictures: upright faces on the device, anything with labels elsewhere."""

    def __init__(self, path: Path | None = None, threads: int = 1) -> None:
        """Load `path` (the shipped model where None) and hold it to the contract beside it.

        Raises ModelMissing, ModelUnreadable, ModelShape, ContractMismatch, ContractUnreadable, RuntimeMissing.
        """
        self.path = shipped_model() if path is None else path
        try:
            content = self.path.read_bytes()
        except FileNotFoundError as error:
            raise ModelMissing(f"{self.path}: no such file; give the path of a .tflite model") from error
        except OSError as error:
            raise ModelUnreadable(f"{self.path}: {error.strerror}; give the path of a .tflite model") from error
        if content[4:8] != b"TFL3":
            raise ModelUnreadable(f"{self.path}: not a TFLite model (no TFL3 mark); convert it with cuelens-convert")
        self.contract = contract = read_contract(self.path.with_suffix(".json"))
        if len(content) < contract.size:
            raise ModelUnreadable(f"{self.path}: ends after {len(content)} of {contract.size} bytes; copy it again")
        sha256 = hashlib.sha256(content).hexdigest()
        if sha256 != contract.sha256:
            raise ContractMismatch(
                f"{self.path}: sha256 {sha256[:12]}…, its contract says {contract.sha256[:12]}…; "
                "install model and contract together"
            )
        try:
            with quiet():
                self._interpreter, self.runtime = load_interpreter(content, threads)
                self._interpreter.allocate_tensors()
        except (ValueError, RuntimeError) as error:
            raise ModelUnreadable(f"{self.path}: {error}; this runtime cannot load it") from error
        (given,) = self._interpreter.get_input_details()
        (taken,) = self._interpreter.get_output_details()
        for name, details, promised in (("input", given, contract.input), ("output", taken, contract.output)):
            shape, dtype = tuple(int(length) for length in details["shape"]), np.dtype(details["dtype"]).name
            if (shape, dtype) != (promised.shape, promised.dtype):
                raise ModelShape(
                    f"{self.path}: {name} is {dtype} {shape}, its contract says {promised.dtype} {promised.shape}; "
                    "convert it again"
                )
            scale, zero_point = details["quantization"]
            if not np.isclose(scale, promised.scale, rtol=1e-6) or zero_point != promised.zero_point:
                raise ContractMismatch(
                    f"{self.path}: {name} scale {scale} zero point {zero_point}, its contract says "
                    f"{promised.scale} and {promised.zero_point}; convert it again"
                )
        side, channels = contract.preprocessing.side, contract.preprocessing.channels
        count = len(contract.labels)
        if contract.input.shape != (1, side, side, channels) or contract.output.shape != (1, count) or count < 2:
            raise ModelShape(
                f"{self.path}: {contract.input.shape} to {contract.output.shape} with {count} labels; "
                f"a {contract.preprocessing.colour} model is (1, side, side, {channels}) to (1, labels)"
            )
        if contract.input.dtype != "int8" or contract.output.dtype != "int8":
            raise ModelShape(f"{self.path}: {contract.input.dtype} to {contract.output.dtype}; int8 to int8 is needed")
        self._input, self._output = given["index"], taken["index"]
        levels = np.round(np.arange(256) / contract.input.scale) + contract.input.zero_point
        self._quantised = np.clip(levels, -128, 127).astype(np.int8)  # by pixel value

    def read_raw(self, crop: Gray) -> npt.NDArray[np.int8]:
        """Run one upright crop, uint8 (h, w) gray or (h, w, 3) RGB, to the quantised output, int8 (labels,)."""
        pixels = self.contract.preprocessing.apply(crop)
        self._interpreter.set_tensor(self._input, self._quantised[pixels].reshape(self.contract.input.shape))
        self._interpreter.invoke()
        quantised: npt.NDArray[np.int8] = self._interpreter.get_tensor(self._output)[0]
        return quantised

    def read(self, crop: Gray) -> tuple[float, ...]:
        """Read one upright crop, uint8 (h, w) gray or (h, w, 3) RGB, as probabilities in the labels' order."""
        output = self.contract.output
        real = (self.read_raw(crop).astype(np.float32) - output.zero_point) * output.scale
        return tuple((real / max(float(real.sum()), 1e-6)).tolist())
