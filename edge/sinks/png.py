"""`png:PATH`: the cue's pictures as a display would show them, a file each, or the newest in one file."""

from __future__ import annotations

import os
import re
import time
from pathlib import Path

import cv2

from edge.drawing.glyphs import Plan, draw_plan, plan_cue
from edge.errors import SettingsInvalid, SinkUnwritable
from edge.files import replace_file
from edge.needs import Needs
from edge.runtime.control import Control
from edge.settings import Settings
from edge.types import Capabilities, Clock, Update

WIDTH, HEIGHT = 640, 400
SIDES = (32, 7680)  # what a side may be, in pixels
FORM = re.compile(r"(?:(\d{1,5})x(\d{1,5}):)?(.+)", re.DOTALL)
FORMS = "png:FILE.png, png:FOLDER/, png:NAME-%04d.png, or png:WIDTHxHEIGHT: and one of these names"


class PngSink:
    """Write the cue's picture whenever it changes; a file is the old picture or the new one, never half.

    `FILE.png` always is the newest picture. A folder, or a name with a place for a number as `cue-%04d.png`, gets one
    file for each change, numbered on from those that are there. `128x64:FILE.png` is of that size.
    """

    @staticmethod
    def needs(argument: str, settings: Settings) -> Needs:
        """State the file, or the pattern of files."""
        parts = FORM.fullmatch(argument)
        return Needs(file=str(_path(parts[3])) if parts else "", safe_mode=True)

    def __init__(self, argument: str, control: Control, clock: Clock = time.monotonic) -> None:
        """Check the argument; raises SettingsInvalid or SinkUnwritable."""
        parts = FORM.fullmatch(argument)
        if parts is None:
            raise SettingsInvalid(f"png sink: {argument!r} names no file; valid are {FORMS}")
        self._size = int(parts[1] or WIDTH), int(parts[2] or HEIGHT)
        if not all(SIDES[0] <= side <= SIDES[1] for side in self._size):
            raise SettingsInvalid(f"png sink: {argument!r}: a side may be {SIDES[0]} to {SIDES[1]} pixels")
        path = _path(parts[3])
        self._folder, self._name = path.parent, path.name
        self._numbered = bool(re.fullmatch(r"[^%]*%(0\d)?d[^%]*", path.name))
        if path.suffix.lower() != ".png" or (not self._numbered and re.search(r"%\d*[a-zA-Z]", path.name)):
            raise SettingsInvalid(f"png sink: {argument!r} is no PNG's name; valid are {FORMS}")
        folder = path.parent
        if not folder.is_dir():
            raise SinkUnwritable(f"{folder}: is not a folder; make it or choose another path")
        if not os.access(folder, os.W_OK):
            raise SinkUnwritable(f"{folder}: may not be written; choose a path that you may write")
        self.capabilities = Capabilities(every_frame=True)
        self._control, self._clock = control, clock
        self._number = 1
        self._shown: Plan | None = None

    def show(self, update: Update) -> None:
        """Write the picture if it is another one; raises DiskFull or SinkUnwritable."""
        plan = plan_cue(update.cue, self._control.settings.look, self._control.notice(self._clock()))
        if plan == self._shown:
            return
        picture = cv2.cvtColor(draw_plan(plan, *self._size, "rgb"), cv2.COLOR_RGB2BGR)
        _, content = cv2.imencode(".png", picture)
        replace_file(self._next(), content.tobytes())
        self._shown = plan

    def _next(self) -> Path:
        if not self._numbered:
            return self._folder / self._name
        while (path := self._folder / (self._name % self._number)).exists():
            self._number += 1
        return path

    def close(self) -> None:
        """Leave the files as they are."""


def _path(given: str) -> Path:
    """Return the file's path, in a folder that of a numbered one."""
    path = Path(given)
    return path / "cue-%06d.png" if given.endswith("/") or path.is_dir() else path
