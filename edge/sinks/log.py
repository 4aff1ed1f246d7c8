"""`log[:PATH]`: one JSON line for every processed frame, on standard output or in a file."""

from __future__ import annotations

import contextlib
import json
import os
import stat
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any, BinaryIO

from edge.files import sink_error
from edge.needs import Needs
from edge.runtime.control import Control
from edge.settings import CueSettings, Settings
from edge.types import Capabilities, Cue, Update

if sys.platform != "win32":
    import fcntl


class LogSink:
    """Write JSON lines; after a failure the file ends with its last whole line.

    The first line, each after the policy's settings were changed, and the first after the file was rotated, cut or
    moved away, has the settings and the labels under `run`: each file can be replayed by itself.
    """

    capabilities = Capabilities(every_frame=True, reopens=False)

    @staticmethod
    def needs(argument: str, settings: Settings) -> Needs:
        """State the file, or standard output."""
        return Needs(file=argument or "/dev/stdout")

    def __init__(self, argument: str, control: Control) -> None:
        """Open the file `argument` for writing, standard output when empty; raises SinkUnwritable or DiskFull."""
        self._path = Path(argument or "standard output")
        self._named = bool(argument)
        self._file: BinaryIO | None = None
        self._cue: CueSettings | None = None  # that the lines are of
        try:
            if argument:
                self._open(os.O_TRUNC)
            else:
                self._file = os.fdopen(os.dup(sys.stdout.fileno()), "wb", 0)
                _write_at_end(self._file)
                self._whole = self._size()
        except OSError as error:
            raise sink_error(self._path, error) from error

    def _open(self, how: int) -> None:
        """Open the named file for lines at its end, wherever that is by then."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | how
        # Unbuffered: a line that was shown is on its way to the disk, and a full disk shows at once.
        file = os.fdopen(os.open(self._path, flags, 0o666), "wb", 0)
        if self._file is not None:
            self._file.close()
        self._file = file
        self._whole = self._size()  # bytes up to the end of the last whole line

    def _size(self) -> int:
        assert self._file is not None
        return os.fstat(self._file.fileno()).st_size

    def _follow(self) -> None:
        """See whether the file was cut or took another name since, as logrotate does, and begin it again."""
        assert self._file is not None
        ours = os.fstat(self._file.fileno())
        if not stat.S_ISREG(ours.st_mode):
            return
        if ours.st_size < self._whole:
            self._cue, self._whole = None, ours.st_size
        if not self._named:
            return
        try:
            there = self._path.stat()
            moved = (there.st_dev, there.st_ino) != (ours.st_dev, ours.st_ino)
        except FileNotFoundError:
            moved = True
        except OSError:
            moved = False
        if moved:
            with contextlib.suppress(OSError):  # where none can be made, the lines go on in the one that was moved
                self._open(0)
                self._cue = None

    def show(self, update: Update) -> None:
        """Write the update's line; raises DiskFull or SinkUnwritable."""
        if self._file is None:
            return
        try:
            self._follow()
            line = log_line(self._record(update))
            rest = memoryview(line)
            while rest:  # a disk that is nearly full takes a part and refuses the next
                rest = rest[self._file.write(rest) :]
            self._whole += len(line)
        except OSError as error:
            self._cut()
            raise sink_error(self._path, error) from error

    def _record(self, update: Update) -> dict[str, Any]:
        record = log_record(update)
        if update.settings == self._cue:
            return record
        self._cue = update.settings
        return {"run": {"labels": update.labels, "cue": asdict(self._cue)}} | record

    def _cut(self) -> None:
        assert self._file is not None
        with contextlib.suppress(OSError):  # a pipe or a device has no length
            self._file.truncate(self._whole)

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
            self._file = None


def _write_at_end(file: BinaryIO) -> None:
    """Have each write go to the file's end: where a rotation cuts it, what comes begins it, and no hole is left."""
    if sys.platform != "win32":
        with contextlib.suppress(OSError):
            fcntl.fcntl(file, fcntl.F_SETFL, fcntl.fcntl(file, fcntl.F_GETFL) | os.O_APPEND)


def log_line(record: dict[str, Any]) -> bytes:
    """Return a record as its line."""
    return (json.dumps(record, separators=(",", ":")) + "\n").encode()


def log_record(update: Update) -> dict[str, Any]:
    """Return the log line of an update as JSON-ready values, instants in seconds of the capture clock.

    All that the cue was decided on is in it as it was decided on, so that edge.diagnostics.replay can decide again.
    """
    fresh = {reading.face_id: reading.probabilities for reading in update.fresh}
    faces: list[dict[str, Any]] = []
    for face in update.faces:
        read = face.id in fresh  # else it was put off, and has no entry
        by_label = dict(zip(update.labels, fresh[face.id], strict=True)) if read else None
        faces.append(
            {
                "id": face.id,
                "box": list(face.box),
                "roll_deg": face.roll_deg,
                "score": face.score,
                "readable": face.readable,
                "quality": asdict(face.quality),
                "distance_m": face.distance_m,
                "bearing_deg": face.bearing_deg,
                "class": max(by_label, key=by_label.__getitem__) if by_label else None,
                "probabilities": by_label,
            }
        )
    return {
        "seq": update.frame.seq if update.frame else None,
        "t": round(update.t, 6),
        **cue_record(update.cue),
        "faces": faces,
        "latency_ms": update.latency_ms,
        "dropped": update.dropped,
        "left": {"behind": update.work.behind, "unread": update.work.unread},
    }


def cue_record(cue: Cue) -> dict[str, Any]:
    """Return a cue's part of a log line."""
    return asdict(cue) | {"since": round(cue.since, 6)}
