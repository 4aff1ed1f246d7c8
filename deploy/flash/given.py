"""Text files that the maker hands to flash: keys, a password, a checksum. Each fault names its cause and the option."""

from __future__ import annotations

import codecs
from pathlib import Path

from deploy.failure import Failure

LARGEST = 1 << 20  # bytes
UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


def read_text(path: Path, advice: str) -> str:
    """Return a file's text, without a byte order mark, its lines ended by newlines.

    `advice` says what to do where that fails. Raises Failure, which quotes nothing of the file: it may be secret.
    """
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST + 1)
    except OSError as error:
        raise Failure("flash-means-missing", f"{path}: {error.strerror}; {advice}") from error
    if len(content) > LARGEST:
        raise Failure("flash-means-missing", f"{path} has more than {LARGEST} bytes; {advice}")
    if content.startswith(UTF16) or b"\0" in content:
        raise Failure(
            "flash-means-missing",
            f"{path} is UTF-16 or binary (PowerShell's > writes UTF-16); save it as UTF-8, or {advice}",
        )
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise Failure(
            "flash-means-missing", f"{path} is not UTF-8 (an old editor writes latin-1); save it as UTF-8, or {advice}"
        ) from error
    return text.replace("\r\n", "\n").replace("\r", "\n")
