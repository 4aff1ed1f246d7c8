"""CSV tables as people have them, plain or packed, whatever the file is called; data sets' readers open them here."""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import lzma
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path, PurePosixPath
from typing import IO, Any, TextIO

from edge.errors import CuelensError, DataColumnMissing, DataMissing, DataUnreadable

_ENCODING = "utf-8-sig"  # Excel begins a CSV with a byte order mark
_LONGEST_FIELD = 1 << 20
_LONGEST_HEADER = 1 << 16  # characters
_MARKS: dict[bytes, Callable[..., Any]] = {b"\x1f\x8b": gzip.open, b"\xfd7zXZ\0": lzma.open, b"BZh": bz2.open}
_TAR_MARK = slice(257, 262)


@contextmanager
def open_table(path: Path, columns: Sequence[str]) -> Iterator[csv.DictReader[str]]:
    """Open a CSV whose header has `columns`; blanks around their names, their case and a `;` for the comma do no harm.

    It may be packed by gzip, xz or bzip2, as a zip or as a tar, and is known by its first bytes, not by its name. Of
    several CSV files in an archive the only one that has the columns is taken.
    Raises DataMissing, DataColumnMissing, and DataUnreadable also for what breaks while rows are read.
    """
    if not path.is_file():
        raise DataMissing(f"{path}: no such file; give the path of a CSV (or .gz, .xz, .zip, .tar.gz)")
    csv.field_size_limit(_LONGEST_FIELD)
    try:
        with ExitStack() as stack:
            table = _read_header(_open_text(path, columns, stack))
            found = table.fieldnames = _name_columns(table.fieldnames or (), columns)
            for name in columns:
                if name not in found:
                    listed = ", ".join(found)[:200] or "none"
                    raise DataColumnMissing(
                        f"{path}: no column {name!r}; found {listed}; it needs {', '.join(columns)}"
                    )
            yield table
    except CuelensError:
        raise
    except UnicodeError as error:
        raise DataUnreadable(f"{path}: no text in UTF-8 ({error!s:.100}); save the table as CSV (UTF-8)") from error
    # What the unpackers and the parser raise; RuntimeError is a zip with a password.
    except (
        OSError,
        EOFError,
        lzma.LZMAError,
        zlib.error,
        zipfile.BadZipFile,
        tarfile.TarError,
        csv.Error,
        RuntimeError,
    ) as error:
        raise DataUnreadable(f"{path}: {error}; fetch the file again") from error


def _read_header(text: TextIO) -> csv.DictReader[str]:
    first = text.readline(_LONGEST_HEADER)
    delimiter = max(",;\t", key=first.count)
    names = next(csv.reader([first], delimiter=delimiter), [])
    return csv.DictReader(text, names, delimiter=delimiter)


def _name_columns(found: Sequence[str], columns: Sequence[str]) -> list[str]:
    """Strip the columns' names, and give those among `columns` the case that they have there."""
    stripped = [name.strip() for name in found]
    asked = {name.casefold(): name for name in columns if name not in stripped}
    return [asked.get(name.casefold(), name) for name in stripped]


def _open_text(path: Path, columns: Sequence[str], stack: ExitStack) -> TextIO:
    file = stack.enter_context(path.open("rb"))
    if file.peek(4).startswith(b"PK\3\4"):
        archive = stack.enter_context(zipfile.ZipFile(file))
        name = _choose(path, [entry.filename for entry in archive.infolist()], archive.open, columns)
        return _as_text(stack.enter_context(archive.open(name)))
    mark = file.peek(6)[:6]
    content: IO[bytes] = file
    for start, unpack in _MARKS.items():
        if mark.startswith(start):
            content = stack.enter_context(unpack(file))
    begin = content.read(512)
    content.seek(0)
    if begin[_TAR_MARK] != b"ustar":
        return _as_text(content)
    tape = stack.enter_context(tarfile.open(fileobj=content))  # noqa: SIM115

    def extract(name: str) -> IO[bytes]:
        inside = tape.extractfile(name)
        assert inside is not None  # a file, by its entry
        return inside

    name = _choose(path, [entry.name for entry in tape if entry.isfile()], extract, columns)
    return _as_text(stack.enter_context(extract(name)))


def _as_text(content: IO[bytes]) -> TextIO:
    return io.TextIOWrapper(content, _ENCODING, newline="")


def _choose(path: Path, names: Sequence[str], extract: Callable[[str], IO[bytes]], columns: Sequence[str]) -> str:
    """Choose an archive's table: its only CSV file, or the only one of several that has the columns."""
    # What a Mac adds, __MACOSX/._name, is no table.
    hidden = (".", "__MACOSX")
    tables = [
        name
        for name in names
        if name.lower().endswith(".csv") and not any(part.startswith(hidden) for part in PurePosixPath(name).parts)
    ]
    if len(tables) > 1:
        fitting = [name for name in tables if _has(extract, name, columns)]
        tables = fitting if len(fitting) == 1 else tables
    if len(tables) != 1:
        raise DataUnreadable(
            f"{path}: {len(tables)} CSV files inside; put exactly one into the archive, and unpack pictures to a folder"
        )
    return tables[0]


def _has(extract: Callable[[str], IO[bytes]], name: str, columns: Sequence[str]) -> bool:
    with extract(name) as content:
        table = _read_header(_as_text(content))
        return set(columns) <= set(_name_columns(table.fieldnames or (), columns))
