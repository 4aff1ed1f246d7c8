"""What `cuelens preview` draws is what was looked at and found good; CUELENS_UPDATE_GOLDEN=1 draws it again."""

from __future__ import annotations

import os
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge.cli import main
from edge.drawing.glyphs import Plan, plan_cue
from edge.settings import LookSettings
from edge.sinks.glasses.makes import MAKES
from edge.sinks.glasses.preview import CUES, draw_preview
from edge.types import Cue

PICTURES = Path(__file__).resolve().parents[2] / "docs" / "pictures"
UNLIKE, SHARE = 90, 0.008  # by how much a pixel must differ to count, and which share may: as of the displays' sheets


@pytest.mark.parametrize("make", MAKES)
def test_the_picture_of_the_docs_is_what_the_glasses_show(make: str, tmp_path: Path) -> None:
    path = tmp_path / "sheet.png"
    with pytest.raises(SystemExit) as ended:
        main(["preview", make, "--out", str(path)])
    assert not ended.value.code
    golden = PICTURES / f"glasses-{make}.png"
    if os.environ.get("CUELENS_UPDATE_GOLDEN"):
        golden.write_bytes(path.read_bytes())
    drawn, kept = (cv2.imread(str(picture)).astype(int) for picture in (path, golden))
    assert drawn.shape == kept.shape
    assert (np.abs(drawn - kept).max(axis=2) > UNLIKE).mean() < SHARE


@pytest.mark.parametrize("make", MAKES)
def test_each_cue_is_another_picture_of_the_displays_size_that_leaves_most_of_it_dark(make: str) -> None:
    made, look = MAKES[make], LookSettings()
    sheet = draw_preview(made, look)
    displays = {made.draw(plan).tobytes() for plan in map(_plan, CUES)}
    assert len(displays) == len(CUES)
    assert sheet.shape[1] > 3 * made.width
    for plan in map(_plan, CUES):
        lit = made.draw(plan).any(axis=2)
        assert lit.shape == (made.height, made.width)
        assert 0.005 < lit.mean() < 0.2, "a picture that is bright flares in the lens"


def _plan(cue: Cue) -> Plan:
    return plan_cue(cue, LookSettings())


def test_halos_round_display_holds_the_whole_picture() -> None:
    rows, columns = np.indices((256, 256))
    outside = (rows - 127.5) ** 2 + (columns - 127.5) ** 2 > 128**2
    for cue in CUES:
        assert not MAKES["halo"].draw(_plan(cue))[outside].any()
