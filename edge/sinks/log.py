"""`log`: one JSON line for every processed frame, on standard output or in a file."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any, BinaryIO

from edge.config import CueSettings
from edge.control import Control
from edge.files import sink_error
from edge.types import Capabilities, Cue, Update


class LogSink:
    """Write JSON lines; after a failure the file ends with its last whole line.

    The first line, and each after the policy's settings were changed, has them and the labels under `run`.
    """

    capabilities = Capabilities(every_frame=True, reopens=False)

    def __init__(self, argument: str, control: Control) -> None:
        """Open the file `argument` for writing, standard output when empty; raises SinkUnwritable or DiskFull."""
        self._path = Path(argument or "standard output")
        self._file: BinaryIO | None = None
        self._cue: CueSettings | None = None  # that the lines are of
        self._whole = 0  # bytes up to the end of the last whole line
        try:
            # Unbuffered: a line that was shown is on its way to the disk, and a full disk shows at once.
            self._file = self._path.open("wb", 0) if argument else os.fdopen(os.dup(sys.stdout.fileno()), "wb", 0)
        except OSError as error:
            raise sink_error(self._path, error) from error

    def show(self, update: Update) -> None:
        """Write the update's line; raises DiskFull or SinkUnwritable."""
        if self._file is None:
            return
        record = log_record(update)
        if update.settings != self._cue:
            self._cue = update.settings
            record = {"run": {"labels": update.labels, "cue": asdict(self._cue)}} | record
        line = log_line(record)
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


def log_line(record: dict[str, Any]) -> bytes:
    """Return a record as its line."""
    return (json.dumps(record, separators=(",", ":")) + "\n").encode()


def log_record(update: Update) -> dict[str, Any]:
    """Return the log line of an update as JSON-ready values, instants in seconds of the capture clock.

    All that the cue was decided on is in it as it was decided on, so that edge.replay can decide again.
    """
    t = update.cue.since if update.frame is None else update.frame.t
    fresh = {reading.face_id: reading.probabilities for reading in update.readings if reading.t == t}
    faces: list[dict[str, Any]] = []
    for face in update.faces:
        read = face.id in fresh  # else it was put off, and nothing is said of it
        by_label = dict(zip(update.labels, fresh[face.id], strict=True)) if read else None
        faces.append(
            {
                "id": face.id,
                "box": list(face.box),
                "roll_deg": face.roll_deg,
                "score": face.score,
                "quality": asdict(face.quality),
                "distance_m": face.distance_m,
                "bearing_deg": face.bearing_deg,
                "class": max(by_label, key=by_label.__getitem__) if by_label else None,
                "probabilities": by_label,
            }
        )
    return {
        "seq": update.frame.seq if update.frame else None,
        "t": round(t, 6),
        **cue_record(update.cue),
        "faces": faces,
        "latency_ms": update.latency_ms,
        "dropped": update.dropped,
        "left": {"behind": update.work.behind, "unread": update.work.unread},
    }


def cue_record(cue: Cue) -> dict[str, Any]:
    """Return a cue's part of a log line."""
    return asdict(cue) | {"since": round(cue.since, 6)}
