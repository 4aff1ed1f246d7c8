"""The standard streams as every program needs them: open, of any terminal's letters, and allowed to go away."""

from __future__ import annotations

import codecs
import errno
import io
import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import TextIO

from edge.files import sink_error

if sys.platform != "win32":
    import fcntl

GONE = (errno.EPIPE, errno.EIO, errno.EBADF, errno.ENXIO, errno.ECONNRESET)  # of a reader or terminal that went away
NARROWEST, STANDARD = 8, 80  # columns: fewer are no terminal's, and what a terminal without a size is taken to have
_ERRORS = "cuelens.replace"
_LETTERS = str.maketrans(
    {"ß": "ss", "æ": "ae", "œ": "oe", "ø": "o", "→": "->", "\u2013": "-", "\u2014": "-", "\u2018": "'", "\u2019": "'"}
)


class _Output(io.TextIOWrapper):
    """Standard output: raises BrokenPipeError where nobody reads it any more, once, and what sink_error names else."""

    number = 1

    def write(self, text: str, /) -> int:
        """Write text; what is still held where that fails is not tried again, at the latest at the end."""
        try:
            return super().write(text)
        except OSError as error:
            _put_nowhere(self.number)
            self._fail(error)
            return len(text)

    def flush(self) -> None:
        """Write what is held, as write() does."""
        try:
            super().flush()
        except OSError as error:
            _put_nowhere(self.number)
            self._fail(error)

    def _fail(self, error: OSError) -> None:
        if error.errno in GONE:
            raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE)) from error
        raise sink_error(Path("standard output"), error) from error


class _Errors(_Output):
    """Standard error: that nobody reads it any more must not end what it speaks of."""

    number = 2

    def _fail(self, error: OSError) -> None:
        pass


def prepare_streams() -> None:
    """Open the standard streams that are closed, and let a terminal that lacks a letter show another one."""
    for number in range(3):  # in this order: each open() takes the lowest number that is free
        if not _is_usable(number):
            _put_nowhere(number)
    codecs.register_error(_ERRORS, _replace)
    if sys.stdin is None:
        sys.stdin = io.TextIOWrapper(io.BufferedReader(io.FileIO(0, closefd=False)))
    if sys.stdout is sys.__stdout__:
        sys.stdout = _guard(sys.stdout, _Output)
    if sys.stderr is sys.__stderr__:
        sys.stderr = _guard(sys.stderr, _Errors)


def _is_usable(number: int) -> bool:
    """Return whether a descriptor is open, and for what it is for: a launcher may give a file to read from as 1."""
    try:
        if sys.platform == "win32":
            os.fstat(number)
            return True
        mode = fcntl.fcntl(number, fcntl.F_GETFL) & os.O_ACCMODE
    except OSError:
        return False
    return mode in (os.O_RDWR, os.O_RDONLY if number == 0 else os.O_WRONLY)


def _put_nowhere(number: int) -> None:
    with suppress(OSError):
        opened = os.open(os.devnull, os.O_RDWR)
        if opened == number:
            os.set_inheritable(number, True)
        else:
            os.dup2(opened, number)  # inheritable too, as a standard stream is
            os.close(opened)


def _guard(stream: TextIO | None, kind: type[_Output]) -> TextIO:
    if isinstance(stream, _Output):
        return stream
    if isinstance(stream, io.TextIOWrapper) and not stream.closed:
        encoding, by_line, at_once = stream.encoding, stream.line_buffering, stream.write_through
        with suppress(OSError):
            stream.flush()
        buffer = stream.detach()
    else:
        encoding, by_line, at_once = "utf-8", True, False
        buffer = io.BufferedWriter(io.FileIO(kind.number, "w", closefd=False))
    return kind(buffer, encoding, _ERRORS, line_buffering=by_line, write_through=at_once)


def _replace(error: UnicodeError) -> tuple[str, int]:
    r"""Spell what an encoding lacks in letters that it surely has, and a byte of a file's name as \xNN."""
    import unicodedata  # only here: a start counts its imports

    if not isinstance(error, UnicodeEncodeError):
        raise error
    out = ""
    for letter in error.object[error.start : error.end]:
        if "\udc80" <= letter <= "\udcff":
            out += f"\\x{ord(letter) - 0xDC00:02x}"
            continue
        plain = unicodedata.normalize("NFKD", letter.translate(_LETTERS))
        out += "".join(each for each in plain if each.isascii() and each.isprintable()) or "?"
    return out, error.end


def is_live(stream: TextIO) -> bool:
    """Return whether a line can be rewritten there: on a terminal that knows how."""
    return stream.isatty() and os.environ.get("TERM", "") not in ("", "dumb")


def columns(stream: TextIO) -> int:
    """Return a terminal's columns; STANDARD where it reports none, or is gone."""
    try:
        found = os.get_terminal_size(stream.fileno()).columns
    except (OSError, ValueError):
        return STANDARD
    return found if found >= NARROWEST else STANDARD
