"""The expression network behind one call: upright crops in, probabilities out.

A model comes with a contract (JSON beside it) and carries its labels and pre-processing in a zip behind its graph.
What differs from its contract is never parsed, let alone run; where the two differ, neither is believed.
"""

from __future__ import annotations

import hashlib
import io
import json
import sys
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from itertools import zip_longest
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from edge.errors import (
    ContractMismatch,
    ContractUnreadable,
    CuelensError,
    ModelMissing,
    ModelShape,
    ModelUnreadable,
    RuntimeMissing,
)
from edge.files import read_file
from edge.system.quiet import quiet
from edge.types import Gray
from edge.vision.preprocessing import Preprocessing

Model = TypeVar("Model")

LABELS_FILE, PREPROCESSING_FILE = "labels.txt", "preprocessing.json"  # in the zip; the first is TFLite's own convention
GIVES = ("probabilities", "logits")

RUNTIMES = (("tflite-runtime", "tflite_runtime.interpreter"), ("ai-edge-litert", "ai_edge_litert.interpreter"))
_PACKAGED = Path(__file__).parents[1] / "model"
_CHECKOUT = Path(__file__).parents[2] / "models"
CONTRACT_FORMAT = 3  # 3: the output says what it gives, the file carries labels and pre-processing too
LARGEST_MODEL, LARGEST_CONTRACT = 1 << 27, 1 << 20  # bytes of their files
_MOST_CARRIED = 64 * 1024  # bytes of labels.txt, and of preprocessing.json
_MOST_ZIP = 256 * 1024  # bytes at a file's end among which its zip is looked for


@dataclass(frozen=True, slots=True)
class Tensor:
    """One end of the network: real value = scale * (stored - zero_point); of float32 they are 1.0 and 0."""

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
    gives: str  # what the output is: one of GIVES
    labels: tuple[str, ...]

    @property
    def side(self) -> int:
        """Width and height of a crop in pixels."""
        return self.preprocessing.side

    def to_probabilities(self, raw: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
        """Turn raw outputs, int8 or float32 (labels,) or (n, labels), into as many probabilities."""
        real = (raw.astype(np.float32) - self.output.zero_point) * self.output.scale
        if self.gives == "logits":
            real = np.exp(real - real.max(axis=-1, keepdims=True))
        return np.asarray(real / np.maximum(real.sum(axis=-1, keepdims=True), 1e-6), np.float64)


def models_folder() -> Path:
    """Return the folder of the models that came with this installation or checkout."""
    return _PACKAGED if _PACKAGED.is_dir() else _CHECKOUT


def shipped_model() -> Path:
    """Return the path of the expression model that came with this installation or checkout."""
    return models_folder() / "emotion.tflite"


def former_folders() -> list[Path]:
    """Return the models' folders of the releases before this one, as the installer keeps them, the newest first."""
    release = Path(sys.prefix).resolve().parent
    if release.parent.name != "releases":
        return []
    links = (release.parent.parent / name for name in ("good", "previous"))
    others = dict.fromkeys(link.resolve() for link in links if link.is_symlink())
    within = "venv/lib/python3*/site-packages/edge/model"  # as _PACKAGED
    return [folder for other in others if other != release for folder in other.glob(within)]


def open_first(kind: Callable[[Path], Model], paths: Sequence[Path], refused: Callable[[CuelensError], None]) -> Model:
    """Open the first of several models that is as it should be, and name to `refused` each that is not.

    Of a single one that is only raised. Raises why the first was refused where all are, and RuntimeMissing, which is no
    model's fault, at once.
    """
    first: CuelensError | None = None
    for path in paths:
        try:
            return kind(path)
        except RuntimeMissing:
            raise
        except CuelensError as error:
            first = first or error
            if len(paths) > 1:
                refused(error)
    assert first is not None
    raise first


def read_contract(path: Path) -> Contract:
    """Read a model's contract; raises ModelMissing or ContractUnreadable."""
    try:
        table = json.loads(read_file(path, LARGEST_CONTRACT))
    except FileNotFoundError as error:
        raise ModelMissing(f"{path}: no such file; a model's contract, by cuelens-convert, lies beside it") from error
    except (OSError, ValueError, RecursionError) as error:
        raise ContractUnreadable(f"{path}: {error}; a contract is JSON written by cuelens-convert") from error
    try:
        if table["format"] != CONTRACT_FORMAT:
            raise ContractUnreadable(
                f"{path}: format {table['format']!r}; this version reads {CONTRACT_FORMAT}: "
                "convert the model again with cuelens-convert"
            )
        given = read_promise(table["input"])
        preprocessing = Preprocessing(given.shape[1], table["preprocessing"]["colour"])
        if table["preprocessing"] != preprocessing.describe():
            raise ContractUnreadable(
                f"{path}: preprocessing {table['preprocessing']}; this version does {preprocessing.describe()}"
            )
        labels = tuple(str(label) for label in table["labels"])
        if not all(label.isprintable() for label in labels):
            raise ContractUnreadable(f"{path}: labels {labels!r:.200}; they must be names that can be shown")
        gives = table["output"]["gives"]
        if gives not in GIVES:
            raise ContractUnreadable(f"{path}: the output gives {gives!r}; valid are {' and '.join(GIVES)}")
        return Contract(
            sha256=str(table["sha256"]),
            size=int(table["size"]),
            preprocessing=preprocessing,
            input=given,
            output=read_promise(table["output"]),
            gives=gives,
            labels=labels,
        )
    except KeyError as error:
        raise ContractUnreadable(f"{path}: no key {error}; write the contract with cuelens-convert") from error
    except (TypeError, ValueError, AttributeError, IndexError, OverflowError) as error:
        if isinstance(error, ContractUnreadable):
            raise
        raise ContractUnreadable(f"{path}: {error}; write the contract with cuelens-convert") from error


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


def _read_carried(content: bytes) -> tuple[list[str] | None, dict[str, Any] | None]:
    """Read labels.txt and preprocessing.json from the zip behind a model; None for one that is not there.

    Raises ValueError for what cuelens-convert never writes: a damaged, doubled, compressed or huge one.
    """
    # The end alone, so that a directory of a million names costs nothing. zipfile finds its way from the end.
    end = io.BytesIO(content[-_MOST_ZIP:])
    files: dict[str, bytes] = {}
    try:
        if not zipfile.is_zipfile(end):
            return None, None
        with zipfile.ZipFile(end) as archive:
            for entry in archive.infolist():
                name = entry.filename
                if name not in (LABELS_FILE, PREPROCESSING_FILE):
                    continue
                if name in files:
                    raise ValueError(f"{name} is in it twice")
                if entry.file_size > _MOST_CARRIED:
                    raise ValueError(f"{name} has {entry.file_size} bytes, more than {_MOST_CARRIED}")
                if entry.compress_type != zipfile.ZIP_STORED:
                    raise ValueError(f"{name} is compressed")
                files[name] = archive.read(entry)
        labels, preprocessing = None, None
        if LABELS_FILE in files:
            labels = files[LABELS_FILE].decode().removesuffix("\n").split("\n")
        if PREPROCESSING_FILE in files:
            preprocessing = json.loads(files[PREPROCESSING_FILE])
            if not isinstance(preprocessing, dict):
                raise ValueError(f"{PREPROCESSING_FILE} is no table")
    except Exception as error:  # zipfile alone has a dozen classes for a damaged file
        raise ValueError(f"{error!s:.200}" or type(error).__name__) from error
    return labels, preprocessing


def _check_carried(path: Path, content: bytes, contract: Contract) -> None:
    """Hold what the file itself says of labels and pre-processing to its contract.

    Raises ModelUnreadable for what cannot be read, ContractMismatch for what is missing or the first difference.
    """
    again = "convert it again with cuelens-convert"
    try:
        labels, preprocessing = _read_carried(content)
    except ValueError as error:
        raise ModelUnreadable(f"{path}: the zip behind the model: {error}; {again}") from error
    if labels is None or preprocessing is None:
        absent = LABELS_FILE if labels is None else PREPROCESSING_FILE
        raise ContractMismatch(f"{path}: carries no {absent} to hold its contract to; {again}")
    promised = contract.preprocessing.describe() | {"side": contract.preprocessing.side}
    pairs = [(f"label {number}", *pair) for number, pair in enumerate(zip_longest(labels, contract.labels), 1)]
    pairs += [(key, preprocessing.get(key), promised.get(key)) for key in sorted({*preprocessing, *promised})]
    for what, stated, agreed in pairs:
        if stated != agreed:
            raise ContractMismatch(
                f"{path}: {what} is {_show(stated)} in the file, {_show(agreed)} in its contract; {again}"
            )


def _show(value: object) -> str:
    return "missing" if value is None else f"{value!r:.60}"


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
            raise RuntimeMissing(
                f"{runtime} does not work with numpy {np.__version__}; "
                "install cuelens again (in a checkout: ./deploy.sh demo)"
            ) from error
    raise RuntimeMissing(
        "neither tflite-runtime nor ai-edge-litert is installed; "
        "install cuelens again (in a checkout: ./deploy.sh demo)"
    )


def name_delegate(interpreter: Any) -> str:
    """Say who runs an interpreter's operators: XNNPACK where it took some over, else the runtime's built-in kernels."""
    nodes = interpreter._get_ops_details()  # no public call tells
    return "XNNPACK" if any(node["op_name"] == "DELEGATE" for node in nodes) else "built-in kernels"


class ExpressionModel:
    """A TFLite classifier of pictures: upright faces on the device, anything with labels elsewhere."""

    def __init__(self, path: Path | None = None, threads: int = 1) -> None:
        """Load `path` (the shipped model where None) and hold it to the contract beside it.

        Raises ModelMissing, ModelUnreadable, ModelShape, ContractMismatch, ContractUnreadable, RuntimeMissing.
        """
        self.path = shipped_model() if path is None else path
        self._threads = threads
        content = read_model(self.path)
        self.contract = contract = read_contract(self.path.with_suffix(".json"))
        check_content(self.path, content, contract.size, contract.sha256)
        _check_carried(self.path, content, contract)
        try:
            with quiet():
                self._interpreter, self.runtime = load_interpreter(content, threads)
                self._interpreter.allocate_tensors()
        except (ValueError, RuntimeError) as error:
            raise ModelUnreadable(f"{self.path}: {error}; this runtime cannot load it") from error
        (given,) = self._interpreter.get_input_details()
        (taken,) = self._interpreter.get_output_details()
        for name, details, promised in (("input", given, contract.input), ("output", taken, contract.output)):
            check_tensor(self.path, name, read_tensor(details), promised)
        side, channels = contract.preprocessing.side, contract.preprocessing.channels
        count = len(contract.labels)
        if contract.input.shape != (1, side, side, channels) or contract.output.shape != (1, count) or count < 2:
            raise ModelShape(
                f"{self.path}: {contract.input.shape} to {contract.output.shape} with {count} labels; "
                f"a {contract.preprocessing.colour} model is (1, side, side, {channels}) to (1, labels)"
            )
        if not {contract.input.dtype, contract.output.dtype} <= {"int8", "float32"}:
            raise ModelShape(
                f"{self.path}: {contract.input.dtype} to {contract.output.dtype}; each end must be int8 or float32"
            )
        self._input, self._output = given["index"], taken["index"]
        levels = np.arange(256, dtype=np.float32)
        if contract.input.dtype == "int8":
            quantised = np.round(np.arange(256) / contract.input.scale) + contract.input.zero_point
            levels = np.clip(quantised, -128, 127).astype(np.int8)
        self._levels = levels  # what goes in, by pixel value

    def rebuild(self) -> None:
        """Build the interpreter again from the file; raises what loading does, ContractMismatch for another model."""
        again = ExpressionModel(self.path, self._threads)
        if again.contract != self.contract:
            raise ContractMismatch(f"{self.path}: was replaced by another model; start again")
        vars(self).update(vars(again))

    @property
    def delegate(self) -> str:
        """Who runs the operators: XNNPACK where it took some over, else the runtime's built-in kernels."""
        return name_delegate(self._interpreter)

    def prepare(self, crop: Gray) -> npt.NDArray[Any]:
        """Turn one upright crop, uint8 (h, w) gray or (h, w, 3) RGB, into the input, of its shape and dtype."""
        return self._levels[self.contract.preprocessing.apply(crop)].reshape(self.contract.input.shape)

    def read_raw(self, crop: Gray) -> npt.NDArray[Any]:
        """Run one upright crop, uint8 (h, w) gray or (h, w, 3) RGB, to the raw output, int8 or float32 (labels,)."""
        self._interpreter.set_tensor(self._input, self.prepare(crop))
        self._interpreter.invoke()
        raw: npt.NDArray[Any] = self._interpreter.get_tensor(self._output)[0]
        return raw

    def read(self, crop: Gray) -> tuple[float, ...]:
        """Read one upright crop, uint8 (h, w) gray or (h, w, 3) RGB, as probabilities in the labels' order."""
        return tuple(self.contract.to_probabilities(self.read_raw(crop)).tolist())
