"""Where frames come from: one file each."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge.backends import find_backend
from edge.errors import SourceUnknown

if TYPE_CHECKING:  # the table costs no numpy
    from edge.light import Light
    from edge.types import Source

SOURCES = {
    "demo": "edge.sources.demo:DemoSource",
    "file": "edge.sources.file:FileSource",
    "v4l2": "edge.sources.v4l2:V4l2Source",
    "picamera": "edge.sources.picamera:PicameraSource",
}
CAMERAS = ("v4l2", "picamera")  # of this device: edge.types.Camera


def is_camera(spec: str) -> bool:
    """Tell whether `NAME[:ARGUMENT]` is a camera of this device."""
    return spec.partition(":")[0] in CAMERAS


def open_source(spec: str, *, live: bool, light: Light | None = None) -> Source:
    """Open `NAME` or `NAME:ARGUMENT`; `live` paces a recorded source by its own clock; a camera is open only while lit.

    Raises SourceUnknown, LightUnlit, or what the source raises.
    """
    backend, argument = find_backend("--source", spec, SOURCES, SourceUnknown)
    source: Source
    if light is not None and is_camera(spec):
        from edge.light import LitCamera

        source = LitCamera(light, lambda: backend(argument, live=live))
    else:
        source = backend(argument, live=live)
    return source
