"""Where frames come from: one file each."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from edge.backends import find_backend, read_needs, require_linux
from edge.errors import SourceUnknown
from edge.needs import Needs
from edge.settings import CameraSettings, Settings

if TYPE_CHECKING:  # the table costs no numpy
    from edge.hardware.light import Light
    from edge.types import Source

SOURCES = {
    "demo": "edge.sources.demo:DemoSource",
    "file": "edge.sources.file:FileSource",
    "v4l2": "edge.sources.v4l2:V4l2Source",
    "picamera": "edge.sources.picamera:PicameraSource",
}


def needs_of(spec: str, settings: Settings) -> Needs:
    """Return what a source needs under the settings; raises SourceUnknown."""
    backend, argument = find_backend("--source", spec, SOURCES, SourceUnknown)
    return read_needs(backend, argument, settings)


def is_camera(spec: str) -> bool:
    """Return whether `NAME[:ARGUMENT]` is a camera of this device, edge.types.Camera."""
    return spec.partition(":")[0] in SOURCES and needs_of(spec, Settings()).camera


def open_source(spec: str, *, live: bool, light: Light | None = None, camera: CameraSettings | None = None) -> Source:
    """Open `NAME` or `NAME:ARGUMENT`; `live` paces a recorded source by its own clock; a camera is open only while lit.

    Pictures are turned as `camera` says, but for a source whose class states that it is `upright`. Raises
    SourceUnknown, LightUnlit, RuntimeMissing for a camera on another system than Linux, or what the source raises.
    """
    if is_camera(spec):
        require_linux(f"--source {spec.partition(':')[0]}")
    backend, argument = find_backend("--source", spec, SOURCES, SourceUnknown)
    turns = camera is not None and (camera.rotate_deg or camera.mirror) and not getattr(backend, "upright", False)
    options: dict[str, object] = {"live": live}
    turn = None
    if turns and camera is not None:
        from edge.sources.turning import Turn, TurnedSource

        turn = Turn.of(camera)
        if getattr(backend, "flips", False):
            options["flips"], turn = turn.flips, replace(turn, hflip=False, vflip=False)
    source: Source
    if light is not None and is_camera(spec):
        from edge.hardware.light import LitCamera

        source = LitCamera(light, lambda: backend(argument, **options))
    else:
        source = backend(argument, **options)
    return source if turn is None or turn == Turn() else TurnedSource(source, turn)
