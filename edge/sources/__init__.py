"""Where frames come from: one file each."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge.backends import find_backend
from edge.errors import SourceUnknown

if TYPE_CHECKING:  # the table costs no numpy
    from edge.types import Source

SOURCES = {
    "demo": "edge.sources.demo:DemoSource",
    "file": "edge.sources.file:FileSource",
    "v4l2": "edge.sources.v4l2:V4l2Source",
    "picamera": "edge.sources.picamera:PicameraSource",
}


def open_source(spec: str, *, live: bool) -> Source:
    """Open `NAME` or `NAME:ARGUMENT`; `live` paces a recorded source by its own clock.

    Raises SourceUnknown, or what the source raises.
    """
    backend, argument = find_backend("--source", spec, SOURCES, SourceUnknown)
    source: Source = backend(argument, live=live)
    return source
