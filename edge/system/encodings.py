"""Text files as editors save them: with a byte order mark, in UTF-16, in the letters of an old Windows."""

from __future__ import annotations

import codecs

_MARKS = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF32_LE, "utf-32-le"), (codecs.BOM_UTF32_BE, "utf-32-be"))
_WIDE = ((codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"))
OLD = "cp1252"  # what editors of western Windows wrote before UTF-8; Latin-1 is part of it
SAVE = "save the file as UTF-8"


def decode_text(content: bytes) -> tuple[str, str]:
    r"""Return a file's text, its lines ended by \n, and what is wrong with its bytes, empty where nothing is.

    A mistake begins with its line: "3: ...". What is wrong is read as Windows-1252, and NUL bytes are left out.
    """
    # UTF-32's mark begins as UTF-16's does, and comes before it.
    found = next((each for each in (*_MARKS, *_WIDE) if content.startswith(each[0])), None)
    mark, encoding = found or (b"", _guess_wide(content) or "utf-8")
    content = content[len(mark) :]
    try:
        text, wrong = content.decode(encoding), ""
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        if encoding == "utf-8":
            wrong = f"{line}: byte 0x{content[error.start]:02x} is no UTF-8; {SAVE}"
            text = content.decode(OLD, "replace")
        else:
            wrong = f"{line}: its end is no {encoding.upper()}, as its beginning is; {SAVE}"
            text = content.decode(encoding, "ignore")
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        wrong = wrong or f"{line}: {text.count(chr(0))} NUL bytes, as after a power cut; copy the file again"
        text = text.replace("\0", "")
    text = text.replace("\r\n", "\n")
    return text if "\n" in text else text.replace("\r", "\n"), wrong  # an old Mac's lines end in \r alone


def _guess_wide(content: bytes) -> str | None:
    """Return the UTF-16 that settings without a mark are in: every other byte of plain ASCII is NUL there."""
    even, odd = content[::2], content[1::2]
    if b"\0" not in content or any(even) == any(odd):
        return None
    return "utf-16-le" if any(even) else "utf-16-be"
