"""A .tflite file that states its input and output, as TFLite's metadata: the last step before the contract.

The layout is metadata_schema.fbs of github.com/tensorflow/tflite-support: a flatbuffer of its own inside the model,
and a zip of the files that it names behind the model.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Mapping, Sequence
from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

from edge.errors import DataLabelInvalid, printable
from edge.vision.model import LABELS_FILE, PREPROCESSING_FILE
from edge.vision.preprocessing import Preprocessing

BUFFER, IDENTIFIER = b"TFLITE_METADATA", b"M001"
_PARSER = "1.0.0"  # the oldest that knows every field below
_COLOUR_SPACES = {"rgb": 1, "gray": 2}  # ColorSpaceType
_IMAGE_PROPERTIES, _NORMALIZATION_OPTIONS = 2, 1  # in their unions
_DESCRIPTIONS, _TENSOR_AXIS_LABELS = 1, 2  # AssociatedFileType


def describe(
    model: Any, preprocessing: Preprocessing, labels: Sequence[str], *, name: str, description: str, version: str
) -> None:
    """Put labels and pre-processing into a ModelT as TFLite's metadata, in place of what it had before.

    The network is left as it is. Raises DataLabelInvalid for labels that labels.txt cannot hold, a line each.
    """
    _check_labels(labels)
    model.metadata = model.metadata or []
    for entry in model.metadata:
        if entry.name == BUFFER:
            buffer = model.buffers[entry.buffer]
            break
    else:
        buffer, entry = schema.BufferT(), schema.MetadataT()
        entry.name, entry.buffer = BUFFER, len(model.buffers)
        model.buffers.append(buffer)
        model.metadata.append(entry)
    buffer.data = np.frombuffer(_metadata(preprocessing, len(labels), name, description, version), np.uint8)


def append_files(content: bytes, preprocessing: Preprocessing, labels: Sequence[str]) -> bytes:
    """Return a TFLite file with the files that its metadata names behind it; the same arguments give the same bytes."""
    file = io.BytesIO()
    file.write(content)
    carried = preprocessing.describe() | {"side": preprocessing.side}
    with zipfile.ZipFile(file, "w") as archive:  # begins where the model ends
        for path, text in (
            (LABELS_FILE, "".join(f"{label}\n" for label in labels)),
            (PREPROCESSING_FILE, json.dumps(carried) + "\n"),
        ):
            archive.writestr(zipfile.ZipInfo(path), text.encode())  # stored, of 1980
    return file.getvalue()


def _check_labels(labels: Sequence[str]) -> None:
    for number, label in enumerate(labels, 1):
        if not label.strip() or label.splitlines() != [label]:
            fault = "is not one line of text"
        elif label.encode(errors="replace").decode() != label:
            fault = "cannot be written as UTF-8"
        elif not label.isprintable():
            fault = "has characters that cannot be shown"
        elif label in labels[: number - 1]:
            fault = f"is label {labels.index(label) + 1} too"
        else:
            continue
        raise DataLabelInvalid(f"label {number}, {label!r:.60}, {fault}; rename the class and train again")


def _metadata(preprocessing: Preprocessing, count: int, name: str, description: str, version: str) -> bytes:
    builder = flatbuffers.Builder(1024)
    given = _table(
        builder,
        offsets={
            0: builder.CreateString("picture"),
            1: builder.CreateString(
                f"{preprocessing.side} x {preprocessing.side} pixels in {preprocessing.colour}, 0 to 255 as they are"
            ),
            3: _table(
                builder,
                numbers={0: _IMAGE_PROPERTIES},
                offsets={1: _table(builder, numbers={0: _COLOUR_SPACES[preprocessing.colour]})},
            ),
            4: _vector(
                builder,
                _table(
                    builder,
                    numbers={0: _NORMALIZATION_OPTIONS},
                    offsets={1: _table(builder, offsets={0: _floats(builder, 0), 1: _floats(builder, 1)})},
                ),
            ),
            5: _table(builder, offsets={0: _floats(builder, 255), 1: _floats(builder, 0)}),
            6: _vector(builder, _file(builder, PREPROCESSING_FILE, "How a picture becomes the input", _DESCRIPTIONS)),
        },
    )
    taken = _table(
        builder,
        offsets={
            0: builder.CreateString("classes"),
            1: builder.CreateString(f"One number for each of {count} classes"),
            6: _vector(builder, _file(builder, LABELS_FILE, "The classes in their order", _TENSOR_AXIS_LABELS)),
        },
    )
    subgraph = _table(builder, offsets={2: _vector(builder, given), 3: _vector(builder, taken)})
    root = _table(
        builder,
        offsets={
            0: builder.CreateString(printable(name)),
            1: builder.CreateString(description),
            2: builder.CreateString(version),
            3: _vector(builder, subgraph),
            7: builder.CreateString(_PARSER),
        },
    )
    builder.Finish(root, file_identifier=IDENTIFIER)
    return bytes(builder.Output())


def _file(builder: flatbuffers.Builder, name: str, description: str, kind: int) -> int:
    offsets = {0: builder.CreateString(printable(name)), 1: builder.CreateString(description)}
    return _table(builder, offsets=offsets, numbers={2: kind})


def _table(builder: flatbuffers.Builder, *, offsets: Mapping[int, int] = {}, numbers: Mapping[int, int] = {}) -> int:
    """Write a table by its slots: what lies elsewhere by its offset, small numbers as they are."""
    builder.StartObject(max([*offsets, *numbers]) + 1)
    for slot, offset in offsets.items():
        builder.PrependUOffsetTRelativeSlot(slot, offset, 0)
    for slot, number in numbers.items():
        builder.PrependUint8Slot(slot, number, 0)
    return int(builder.EndObject())


def _vector(builder: flatbuffers.Builder, table: int) -> int:
    builder.StartVector(4, 1, 4)
    builder.PrependUOffsetTRelative(table)
    return int(builder.EndVector())


def _floats(builder: flatbuffers.Builder, value: float) -> int:
    return int(builder.CreateNumpyVector(np.array([value], np.float32)))
