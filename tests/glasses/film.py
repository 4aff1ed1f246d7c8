"""`python -m tests.glasses.film FILE.webp`: from `cuelens pair` to the first cue on Halo, as an animated picture.

Both commands are run as a user runs them, on the virtual radio; the lines are what they print, and the pictures what
the vendor's emulator of Halo holds. Nothing is drawn for the film but the frame around them.
"""

from __future__ import annotations

import contextlib
import io
import sys
import tempfile
import textwrap
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from unittest import mock

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from edge.cli import main
from edge.sinks.glasses import link, visit
from tests.glasses.air import AirRadio
from tests.glasses.peripherals import HaloPeripheral

COMMANDS = ("pair halo --seconds 3", "run --source demo:1 --sink terminal --sink glasses:halo --seconds 6")
LOOK_EVERY = 0.05  # seconds between two looks at the emulator's display
WIDTH, HEIGHT, SIDE, MARGIN = 760, 304, 256, 16  # pixels
LINE, LETTERS, LINES = 19, 70, 14
DRAWING = 0.12  # seconds: what stands for less is a picture that the emulator is drawing
TYPED = 0.8  # seconds for which a command stands before its first line
REST = 2.5  # seconds for which the last picture stands
GROUND, TEXT, TYPED_TEXT = (16, 20, 24), (200, 210, 218), (143, 199, 255)


@dataclass(frozen=True)
class Look:
    """What there was to see at a time in seconds: the lines so far, and Halo's display, RGB."""

    t: float
    lines: tuple[str, ...]
    screen: np.ndarray


class Paper(io.StringIO):
    """Standard output and error, line by line, as somebody reads them while it is written."""

    def lines(self) -> tuple[str, ...]:
        return tuple(line for line in self.getvalue().splitlines() if line.strip())


def watch(commands: Sequence[str], glasses: HaloPeripheral) -> list[Look]:
    """Run the commands with these glasses in reach; returns each look that differs from the one before."""
    looks: list[Look] = []
    paper, done = Paper(), threading.Event()

    def look() -> None:
        while not done.wait(LOOK_EVERY):
            lines, screen = paper.lines(), glasses.seen.copy()
            if not looks or looks[-1].lines != lines or not np.array_equal(looks[-1].screen, screen):
                looks.append(Look(time.monotonic(), lines, screen))

    looker = threading.Thread(target=look)
    looker.start()
    try:
        for command in commands:
            paper.write(f"$ cuelens {command}\n")
            time.sleep(TYPED)
            run(command, glasses, paper)
    finally:
        done.set()
        looker.join()
        glasses.stop()
    return looks


def run(command: str, glasses: HaloPeripheral, paper: Paper) -> None:
    """Run one command in this process; raises SystemExit where it fails."""
    radio, other = (
        mock.patch.object(module, "Radio", side_effect=lambda: AirRadio(glasses)) for module in (visit, link)
    )
    place = mock.patch("edge.commands.pair.STATE_FOLDER", Path("/nowhere"))
    with radio, other, place, contextlib.redirect_stdout(paper), contextlib.redirect_stderr(paper):
        try:
            main(command.split())
        except SystemExit as ended:
            if ended.code:
                raise SystemExit(f"cuelens {command} ended with {ended.code}: {paper.getvalue()}") from ended


def until_first_cue(looks: Sequence[Look]) -> list[Look]:
    """Return the looks that stood, up to the first expression, a picture in a colour, and REST seconds more."""
    stood = [look for look, after in pairwise(looks) if after.t - look.t > DRAWING]
    for look in stood:
        if np.ptp(look.screen.astype(int), axis=2).max() > 50:
            return [each for each in stood if each.t < look.t + REST]
    raise SystemExit("no cue was shown on the glasses")


def draw(look: Look) -> Image.Image:
    """Draw the lines beside the display."""
    picture = Image.new("RGB", (WIDTH, HEIGHT), GROUND)
    pen, font = ImageDraw.Draw(picture), ImageFont.load_default(14)
    left = WIDTH - SIDE - MARGIN
    picture.paste(Image.fromarray(np.ascontiguousarray(look.screen)), (left, MARGIN))
    pen.text((left, MARGIN + SIDE + 8), "what Halo shows, from its maker's emulator", TEXT, ImageFont.load_default(12))
    rows = [piece for line in look.lines for piece in textwrap.wrap(line, LETTERS, subsequent_indent="    ")][-LINES:]
    for number, row in enumerate(rows):
        pen.text((MARGIN, MARGIN + number * LINE), row, TYPED_TEXT if row.startswith("$") else TEXT, font)
    return picture


def save(looks: Sequence[Look], path: Path) -> None:
    """Write the film as an animated WebP."""
    ends = [look.t for look in looks[1:]] + [looks[-1].t + REST]
    lasts = [max(20, round(1000 * (end - look.t))) for look, end in zip(looks, ends, strict=True)]
    first, *others = [draw(look) for look in looks]
    first.save(path, save_all=True, append_images=others, duration=lasts, loop=0, lossless=True, method=6)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as home, mock.patch.dict("os.environ", XDG_STATE_HOME=home):
        seen = until_first_cue(watch(COMMANDS, HaloPeripheral()))
    save(seen, Path(sys.argv[1]))
    print(f"{sys.argv[1]}: {Path(sys.argv[1]).stat().st_size / 1000:.0f} kB, {len(seen)} pictures")
