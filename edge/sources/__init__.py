"""Where frames come from: one file each, imported only when named."""

from __future__ import annotations

import difflib
from importlib import import_module

from edge.errors import SourceUnknown
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
    name, _, argument = spec.partition(":")
    if name not in SOURCES:
        near = difflib.get_close_matches(name, SOURCES, 1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise SourceUnknown(f"--source {spec!r}: no source {name!r}; {hint}valid are {', '.join(SOURCES)}")
    module, _, attribute = SOURCES[name].partition(":")
    source: Source = getattr(import_module(module), attribute)(argument, live=live)
    return source
