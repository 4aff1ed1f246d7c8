"""`log`: one JSON line for every processed frame, on standard output or in a file."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from pathlib import Path
from typing import BinaryIO

from edge.files import sink_error
from edge.types import Update


class LogSink:
    """Write JSON lines; after a failure the file ends with its last whole line."""

    def __init__(self, argument: str) -> None:
        """Open the file `argument` for writing, standard output when empty; raises SinkUnwritable or DiskFull."""
        self._path = Path(argument or "standard output")
        self._file: BinaryIO | None = None
        self._whole = 0  # bytes up to the end of the last whole line
        try:
            # Unbuffered: a line that was shown is on its way to the disk, and a full disk shows at once.
            self._file = self._path.open("wb", 0) if argument else os.fdopen(os.dup(sys.stdout.fileno()), "wb", 0)
        except OSError as error:
            raise sink_error(self._path, error) from error

    def show(self, update: Update) -> None:
        """Write the update's line; raises DiskFull or SinkUnwritable."""
        if update.frame is None or self._file is None:
            return
        line = (json.dumps(log_record(update), separators=(",", ":")) + "\n").encode()
        try:
            rest = memoryview(line)
            while rest:  # a disk that is nearly full takes a part and refuses the next
                rest = rest[self._file.write(rest) :]
            self._whole += len(line)
        except OSError as error:
            self._cut()
            raise sink_error(self._path, error) from error

    def _cut(self) -> None:
        assert self._file is not None
        with contextlib.suppress(OSError):  # a pipe or a device has no length
            self._file.truncate(self._whole)

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
            self._file = None


def log_record(update: Update) -> dict[str, object]:
    """Return the log line of an update as JSON-ready values; `t` and `since` in seconds of the capture clock."""
    assert update.frame is not None
    t = update.frame.t
    fresh = {reading.face_id: reading.probabilities for reading in update.readings if reading.t == t}
    faces: list[dict[str, object]] = []
    for face in update.faces:
        read = face.id in fresh  # else it was put off, and nothing is said of it
        by_label = dict(zip(update.labels, (round(p, 4) for p in fresh[face.id]), strict=True)) if read else None
        faces.append(
            {
                "id": face.id,
                "box": list(face.box),
                "roll_deg": face.roll_deg,
                "score": face.score,
                "quality": round(face.quality.whole, 3),
                "frontal": round(face.quality.frontal, 3),
                "distance_m": face.distance_m,
                "class": max(by_label, key=by_label.__getitem__) if by_label else None,
                "probabilities": by_label,
            }
        )
    return {
        "seq": update.frame.seq,
        "t": round(update.frame.t, 4),
        "state": update.cue.state,
        "expression": update.cue.expression,
        "confidence": update.cue.confidence,
        "since": round(update.cue.since, 4),
        "faces": faces,
        "latency_ms": update.latency_ms,
        "dropped": update.dropped,
        "left": {"behind": update.work.behind, "unread": update.work.unread},
    }
