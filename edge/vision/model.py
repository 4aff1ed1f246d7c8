"""The expression network behind one call: upright crops in, probabilities out.

A model comes with a contract (JSON beside it) and carries its labels and pre-processing in a zip behind its graph.
What differs from its contract is never parsed, let alone run; where the two differ, neither is believed.
"""

from __future__ import annotations

import io
import json
import sys
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from edge.errors import (
    ContractMismatch,
    ContractUnreadable,
    CuelensError,
    ModelShape,
    ModelUnreadable,
    RuntimeMissing,
)
from edge.types import Gray
from edge.vision.preprocessing import Preprocessing
from edge.vision.tflite import (
    Tensor,
    build_interpreter,
    check_content,
    check_tensor,
    contract_table,
    models_folder,
    name_delegate,
    read_model,
    read_promise,
    read_tensor,
    tabulate_levels,
)

Model = TypeVar("Model")

LABELS_FILE, PREPROCESSING_FILE = "labels.txt", "preprocessing.json"  # in the zip; the first is TFLite's own convention
GIVES = ("probabilities", "logits")

CONTRACT_FORMAT = 3  # 3: the output says what it gives, the file carries labels and pre-processing too
_MOST_CARRIED = 64 * 1024  # bytes of labels.txt, and of preprocessing.json
_MOST_ZIP = 256 * 1024  # bytes at a file's end in which it searches the zip


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
    within = "venv/lib/python3*/site-packages/edge/model"  # as _PACKAGED of edge.vision.tflite
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
    with contract_table(path, (CONTRACT_FORMAT,), "cuelens-convert") as table:
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
        self._interpreter, self.runtime = build_interpreter(self.path, content, threads)
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
        self._levels: npt.NDArray[Any] = np.arange(256, dtype=np.float32)  # what goes in, by pixel value
        if contract.input.dtype == "int8":
            self._levels = tabulate_levels(contract.input)

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
