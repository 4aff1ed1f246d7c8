"""What the argument of a recorded source names: a stream's address or a path; for the source and the installer."""

from __future__ import annotations

import re

_URL = re.compile(r"[a-z][a-z0-9+.-]+://", re.IGNORECASE)
_LOCAL = "file://"


def is_stream(argument: str) -> bool:
    """Return whether it is the address of a stream, which that of a file (file://) is not."""
    return _URL.match(argument) is not None and not _is_local(argument)


def local_path(argument: str) -> str:
    """Return the path that it names where it is no stream: of a file's address without what that adds."""
    if not _is_local(argument):
        return argument
    from urllib.parse import unquote  # of an address alone: a start counts its imports

    return unquote(argument[len(_LOCAL) :], errors="surrogateescape")


def _is_local(argument: str) -> bool:
    return argument.lower().startswith(_LOCAL)
