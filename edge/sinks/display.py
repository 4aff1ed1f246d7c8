"""`display[:WIDTHxHEIGHT]`: the cue on HDMI glasses without a desktop, by KMS/DRM, or in a window, through pygame."""

from __future__ import annotations

import contextlib
import math
import os
import re
import time
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from edge.backends import import_for
from edge.drawing.glyphs import Canvas, Plan, draw_plan, plan_cue
from edge.errors import SettingsInvalid, SinkFailed
from edge.hardware import board
from edge.needs import Needs, from_system
from edge.runtime.control import Control
from edge.settings import Settings, check
from edge.types import Capabilities, Clock, Update

WINDOW = (640, 400)  # on a desktop, where no size is set
LOOK_EVERY = 1.0  # seconds between looks whether the display is still plugged in
SYSTEM = board.ROOT
_FULL = "full"


@dataclass(frozen=True, slots=True)
class DisplaySettings:
    """The `display` sink: HDMI glasses, or a window on a desktop."""

    width: int = field(default=0, metadata={"range": (0, 7680), "unit": "px"})
    """Pixels; 0 is the whole screen, or a window of 640x400 on a desktop."""

    height: int = field(default=0, metadata={"range": (0, 4320), "unit": "px"})
    """Pixels; 0 is the whole screen, or a window of 640x400 on a desktop."""

    mirror: bool = False
    """Exchanges left and right: for displays that are seen in a half mirror."""

    rotate_deg: int = field(default=0, metadata={"choices": (0, 90, 180, 270), "unit": "degrees"})
    """Turns the picture clockwise."""

    brightness: float = field(default=1.0, metadata={"range": (0.05, 1.0)})
    """Brightness of the sign: at night a see-through display dazzles at full brightness."""


class DisplaySink:
    """Show the cue's picture on a black screen, and draw only when it changes.

    `display` is the whole screen where there is no desktop, else a window; `display:full` is the whole screen there,
    too, and `display:WIDTHxHEIGHT` a mode or a window of that size.
    """

    settings_type = DisplaySettings

    @staticmethod
    def needs(argument: str, settings: Settings) -> Needs:
        """State the screen, of which there is one."""
        groups = dict.fromkeys(("video", "render"), "the display")
        return Needs(modules=("pygame",), groups=groups, screen=True, place="screen", safe_mode=True)

    def __init__(self, argument: str, control: Control, clock: Clock = time.monotonic) -> None:
        """Check the argument and find the library; the screen is opened by `prepare`, in the thread of `show`.

        Raises SettingsInvalid or RuntimeMissing.
        """
        self._control = control
        self._clock = clock
        settings = control.settings.of(DisplaySettings)
        self._size, self._full = _size_of(argument, settings), argument == _FULL
        desktop = bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
        if not desktop:
            os.environ.setdefault("SDL_VIDEODRIVER", "kmsdrm")
        self._kms = os.environ.get("SDL_VIDEODRIVER", "").lower() == "kmsdrm"
        os.environ.setdefault("SDL_INPUT_LINUX_KEEP_KBD", "1")  # or Ctrl-C on the console would be SDL's, and lost
        os.environ["PYGAME_HIDE_SUPPORT_PROMPT"] = "1"
        os.environ["SDL_NO_SIGNAL_HANDLERS"] = "1"  # SIGINT and SIGTERM end the loop, not the window
        self._pygame: Any = import_for("display", "pygame", "pygame-ce")
        # A screen that was unplugged comes back; a window was closed by somebody who meant it.
        self.capabilities = Capabilities(reopens=self._kms)
        self._screen: Any = None
        self._shown: Plan | None = None
        self._looked = -math.inf

    def prepare(self) -> None:
        """Open the screen, dark: SDL keeps every thread of Python waiting for that; raises SinkFailed."""
        try:
            if self._screen is None:
                self._open()
                self._pygame.display.flip()
        except self._pygame.error as error:
            raise SinkFailed(f"display: {error}; {self._advice()}") from error

    def show(self, update: Update) -> None:
        """Draw the cue if its picture is another one; raises SinkFailed when the window or the display is gone."""
        try:
            if self._screen is None:
                self._open()
            self._look_around()
            plan = plan_cue(update.cue, self._control.settings.look, self._control.notice(self._clock()))
            if plan != self._shown:
                self._draw(plan)
                self._shown = plan
        except self._pygame.error as error:
            raise SinkFailed(f"display: {error}; {self._advice()}") from error

    def _open(self) -> None:
        pygame = self._pygame
        pygame.display.init()
        screen = pygame.display.get_desktop_sizes()[0]
        flags = pygame.RESIZABLE
        if self._kms or self._full:
            flags = pygame.FULLSCREEN
        size = self._size or (screen if self._kms or self._full else WINDOW)
        self._screen = pygame.display.set_mode(size, flags)
        pygame.display.set_caption("Cuelens")
        pygame.mouse.set_visible(False)

    def _look_around(self) -> None:
        """Take the window's events, so that the desktop sees it alive, and see whether the display is there."""
        pygame = self._pygame
        for event in pygame.event.get():
            if event.type == pygame.QUIT:
                raise SinkFailed("display: its window was closed; start again to have it back")
            if event.type in (pygame.WINDOWEXPOSED, pygame.WINDOWSIZECHANGED):
                self._screen = pygame.display.get_surface()
                self._shown = None
        now = self._clock()
        if self._kms and now - self._looked >= LOOK_EVERY:
            self._looked = now
            if not _is_connected():
                raise SinkFailed(f"display: every connector in /{board.CONNECTORS} is disconnected; plug one in")

    def _draw(self, plan: Plan) -> None:
        settings = self._control.settings.of(DisplaySettings)
        width, height = self._screen.get_size()
        if settings.rotate_deg % 180:
            width, height = height, width
        picture = turn(draw_plan(plan, width, height, "rgb"), settings)
        surface = self._pygame.image.frombuffer(picture.tobytes(), self._screen.get_size(), "RGB")
        self._screen.blit(surface, (0, 0))
        self._pygame.display.flip()

    def _advice(self) -> str:
        if self._kms:
            return "without a desktop it needs a connected display, the groups video and render, and " + from_system(
                "libgbm1", "libegl1", "libgles2", "libgl1-mesa-dri"
            )
        return (
            "check DISPLAY or WAYLAND_DISPLAY and SDL_VIDEODRIVER, or unset all three for a display without a desktop"
        )

    def close(self) -> None:
        """Give the screen back."""
        with contextlib.suppress(self._pygame.error):  # what is gone needs no goodbye
            self._pygame.display.quit()
        self._screen = None
        self._shown = None


def turn(picture: Canvas, settings: DisplaySettings) -> Canvas:
    """Dim, mirror and turn a picture, RGB (height, width, 3), for how the display is mounted."""
    if settings.brightness < 1.0:
        picture = np.rint(picture * settings.brightness).astype(np.uint8)
    if settings.mirror:
        picture = picture[:, ::-1]
    return np.rot90(picture, -settings.rotate_deg // 90)  # numpy turns counter-clockwise


def _size_of(argument: str, settings: DisplaySettings) -> tuple[int, int] | None:
    if argument == _FULL:
        return None
    size = (settings.width, settings.height)
    if argument:
        parts = re.fullmatch(r"(\d+)x(\d+)", argument)
        if parts is None:
            raise SettingsInvalid(f"display:{argument}: valid are display, display:full, display:WIDTHxHEIGHT")
        size = (int(parts[1]), int(parts[2]))
        for name, side in zip(("width", "height"), size, strict=True):
            if complaint := check(DisplaySettings, name, side):
                raise SettingsInvalid(f"display:{argument}: {name} is {side}; {complaint}")
    if bool(size[0]) != bool(size[1]):
        raise SettingsInvalid(f"display: its size is {size[0]}x{size[1]}; give both sides, or neither")
    return size if size[0] else None


def _is_connected() -> bool:
    """Return whether a connector has a display; True where the kernel can say it of none.

    `unknown` (of a composite output, say) counts for nothing beside a connector that is known to be free: SDL shows a
    picture on connected ones alone.
    """
    states = {state for name, state in board.connectors(SYSTEM).items() if board.has_picture(name)}
    return "connected" in states or "disconnected" not in states
