"""Frame on the air, by the code and the program of Halo: what its display has is our picture, in its middle."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

pytest.importorskip("bleak", reason="bleak is not installed; ./deploy.sh sinks adds it")
pytest.importorskip("bumble", reason="bumble is not installed; ./deploy.sh test adds it")
pytest.importorskip("halo_emulator", reason="halo-emulator is not installed; ./deploy.sh test adds it")

from edge.settings import LookSettings
from edge.types import Cue, Side
from tests.glasses.frame import FramePeripheral
from tests.glasses.worn import NOBODY, SMILE, UPSET, shows, wait_until, worn


@pytest.fixture
def glasses() -> Iterator[FramePeripheral]:
    """Glasses whose program ends with the test."""
    made = FramePeripheral()
    yield made
    made.stop()


def test_what_the_wearer_sees_is_the_cues_picture(glasses: FramePeripheral) -> None:
    with worn("halo", glasses) as one:
        for cue in (SMILE, UPSET, Cue("unsure", None, 0.0, 0.0, "new", "near"), NOBODY):
            one.hold(cue, lambda cue=cue: shows(glasses, cue))
        assert not glasses.seen.any()
        one.hold(SMILE, lambda: shows(glasses, SMILE))
        assert (one.report.losses, one.report.battery) == (0, None)
    wait_until(lambda: not glasses.seen.any(), "the end is dark")


@pytest.mark.parametrize("side", ["left", "right"])
def test_an_arrow_and_a_word_erase_nothing_of_the_glyph(side: Side, glasses: FramePeripheral) -> None:
    look = LookSettings(arrow=True, words=True)
    cues = [Cue("expression", word, 0.9, 0.0, None, None, side) for word in ("smile", "surprise", "upset")]
    cues.append(Cue("unsure", None, 0.0, 0.0, "new", "far", side))
    with worn("halo", glasses, look=look) as one:
        for cue in cues:
            one.hold(cue, lambda cue=cue: shows(glasses, cue, look), f"{cue}: {one.report}")


def test_it_goes_dark_by_itself_when_it_hears_nothing_more(glasses: FramePeripheral) -> None:
    with worn("halo", glasses) as one:
        one.hold(SMILE, lambda: shows(glasses, SMILE))
        glasses.deaf = True
        wait_until(lambda: not glasses.seen.any())
        glasses.deaf = False
        one.hold(UPSET, lambda: shows(glasses, UPSET))


def test_out_of_reach_it_goes_dark_and_shows_cues_again(glasses: FramePeripheral) -> None:
    with worn("halo", glasses) as one:
        one.hold(SMILE, lambda: shows(glasses, SMILE))
        one.radio.do(glasses.leave())
        one.hold(UPSET, lambda: one.report.state == "lost")
        wait_until(lambda: not glasses.seen.any())
        one.radio.do(glasses.advertise())
        one.hold(UPSET, lambda: shows(glasses, UPSET))
        assert (one.report.losses, one.control.problems) == (1, [])


def test_in_the_dark_a_lost_link_is_a_mark_and_the_display_rests(glasses: FramePeripheral) -> None:
    with worn("halo", glasses) as one:
        one.hold(NOBODY, lambda: glasses.display.saves_power)
        one.radio.do(glasses.leave())
        wait_until(lambda: np.count_nonzero(glasses.display.seen) == 160, "a short line")
        assert not glasses.display.saves_power
        wait_until(lambda: not glasses.display.seen.any())
