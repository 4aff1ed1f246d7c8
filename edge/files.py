"""Files that are old or new, never half: written beside, synced, then renamed; and read no further than is wanted."""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import re
import stat
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from edge.errors import CuelensError, DiskFull, SinkFailed, SinkUnwritable

LONGEST_BEGIN = 100  # characters of a name that its staged file begins with: a file system's limit is 255 bytes
_ODD = re.compile(r"[^\w.-]", re.ASCII)
_STAGED = itertools.count()  # no two writers of one file stage it in the same place


def sink_error(path: Path, error: OSError) -> CuelensError:
    """Name the user's error for an operating system's refusal to write `path`."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return DiskFull(f"{path}: {error.strerror}; free some space or choose another disk")
    if error.errno == errno.EPIPE:
        return SinkFailed(f"{path}: {error.strerror}; what read it has ended")
    return SinkUnwritable(f"{path}: {error.strerror}; choose a path that you may write")


def make_folder(path: Path) -> None:
    """Make a folder, and those above it, unless they are there; raises SinkUnwritable or DiskFull."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise sink_error(path, error) from error


def read_file(path: Path, most: int) -> bytes:
    """Return a file's bytes; raises OSError, also for what is no file (a pipe may never end) or has over `most`."""
    with open(path, "rb", opener=lambda name, flags: os.open(name, flags | getattr(os, "O_NONBLOCK", 0))) as file:
        found = os.fstat(file.fileno())
        if not stat.S_ISREG(found.st_mode):
            raise OSError(errno.EINVAL, "is no plain file", str(path))
        if found.st_size > most:
            raise OSError(errno.EFBIG, f"has {found.st_size} bytes, more than {most}", str(path))
        return file.read(found.st_size)


def native_name(file: BinaryIO) -> str:
    """Name an open file for a library that takes only UTF-8, a colon for a protocol and a per cent for a number.

    It is opened again by its descriptor; valid as long as `file` is open.
    """
    file.seek(0)  # where a descriptor is not opened again but shared, it would go on there
    name = Path(f"/dev/fd/{file.fileno()}")
    return str(name) if name.exists() else str(Path(file.name).absolute())


@contextlib.contextmanager
def native_place(path: Path) -> Iterator[str]:
    """Lend a name for a file to be written by such a library: beside it, by the descriptor of its folder."""
    if sys.platform != "linux":  # Windows opens no folder, and macOS enters none by its descriptor
        yield str(path.absolute())
        return
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        place = Path(f"/dev/fd/{folder}")
        yield str(place / path.name if place.is_dir() else path.absolute())
    finally:
        os.close(folder)


def staged_name(path: Path, suffix: str = "") -> Path:
    """Name the file beside `path` that takes its name when it is whole: short, and plain for any library."""
    begin = _ODD.sub("_", path.stem if suffix else path.name)[:LONGEST_BEGIN]
    return path.with_name(f".{begin}.{os.getpid()}.{next(_STAGED)}.part{suffix}")


def replace_file(path: Path, content: bytes) -> None:
    """Write `content` to `path` so that a crash or a power cut leaves the old file or the new one.

    Raises SinkUnwritable or DiskFull; then the old file is untouched and nothing else is left.
    """
    staged = staged_name(path)
    try:
        with staged.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        staged.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):  # the first is what is wrong
            staged.unlink(missing_ok=True)
        raise sink_error(path, error) from error
    # It is whole: where a folder cannot be synced, a power cut may bring the old back.
    with contextlib.suppress(OSError):
        sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Put what a folder holds, its names and not their contents, on the disk; raises OSError, always on Windows."""
    if not hasattr(os, "O_DIRECTORY"):
        raise OSError(errno.ENOTSUP, "this system opens no folder", str(folder))
    opened = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)
