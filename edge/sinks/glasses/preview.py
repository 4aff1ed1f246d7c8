"""What glasses show of every cue, side by side, as the wearer sees it."""

from __future__ import annotations

import numpy as np

from edge.drawing.glyphs import Canvas, plan_cue
from edge.settings import LookSettings
from edge.sinks.glasses.wearable import Make
from edge.types import Cue

COLUMNS = 3
EDGE = 2  # pixels between two displays
GRAY = 60
CUES = (
    Cue("expression", "smile", 1.0, 0.0),
    Cue("expression", "surprise", 1.0, 0.0),
    Cue("expression", "upset", 1.0, 0.0),
    Cue("unsure", None, 0.0, 0.0, "new", "near"),
    Cue("unsure", None, 0.0, 0.0, "new", "far"),
    Cue("unsure", None, 0.0, 0.0, "faint"),
)


def draw_preview(make: Make, look: LookSettings) -> Canvas:
    """Draw the displays in rows of COLUMNS with a gray line between: RGB (height, width, 3)."""
    rows = -(-len(CUES) // COLUMNS)
    size = (rows * (make.height + EDGE) + EDGE, COLUMNS * (make.width + EDGE) + EDGE, 3)
    sheet: Canvas = np.full(size, GRAY, np.uint8)
    for number, cue in enumerate(CUES):
        top = EDGE + number // COLUMNS * (make.height + EDGE)
        left = EDGE + number % COLUMNS * (make.width + EDGE)
        sheet[top : top + make.height, left : left + make.width] = make.draw(plan_cue(cue, look))
    return sheet
