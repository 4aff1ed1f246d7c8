"""A live frame's stamp is taken where it can be one of the capture's clock, and else is the instant of its coming."""

from __future__ import annotations

import math

import pytest

from edge.types import OLDEST_STAMP, on_capture_clock


@pytest.mark.parametrize("stamp", [100.0, 99.9, 100.0 - OLDEST_STAMP])
def test_a_stamp_of_the_last_second_holds(stamp: float) -> None:
    assert on_capture_clock(stamp, 100.0) == stamp


@pytest.mark.parametrize("stamp", [100.001, 1e9, 0.0, 99.0 - OLDEST_STAMP, -1.0, math.nan, math.inf, -math.inf])
def test_one_of_the_future_an_old_one_and_no_number_do_not(stamp: float) -> None:
    assert on_capture_clock(stamp, 100.0) == 100.0
