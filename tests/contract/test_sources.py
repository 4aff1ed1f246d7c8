"""The promises of every source, each on every source of the table; one whose camera is missing is skipped."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from itertools import islice, pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge.errors import CameraMissing, RuntimeMissing
from edge.needs import Needs
from edge.settings import Settings
from edge.sources import SOURCES, is_camera, needs_of, open_source
from edge.types import LEAST_SIDE, Source

FRAMES = 5


@pytest.fixture(params=SOURCES)
def spec(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Each source; `file` is a folder of pictures."""
    if request.param != "file":
        return str(request.param)
    for number in range(FRAMES):
        cv2.imwrite(str(tmp_path / f"{number}.png"), np.full((120, 160), 40 * number, np.uint8))
    return f"file:{tmp_path}"


@pytest.fixture(params=[True, False], ids=["live", "fast"])
def source(request: pytest.FixtureRequest, spec: str) -> Iterator[Source]:
    """Each source, opened."""
    try:
        opened = open_source(spec, live=request.param)
    except (CameraMissing, RuntimeMissing) as error:
        pytest.skip(str(error))
    yield opened
    opened.close()


def test_it_yields_luma_with_times_that_rise(source: Source) -> None:
    frames = list(islice(source.frames(), FRAMES))
    assert len(frames) == FRAMES
    for frame in frames:
        assert frame.gray.dtype == np.uint8
        assert frame.gray.ndim == 2
        assert min(frame.gray.shape) >= LEAST_SIDE
    for before, after in pairwise(frames):
        assert after.seq > before.seq
        assert after.t > before.t
        assert after.t_arrived >= before.t_arrived
    assert source.announced is None or source.announced >= FRAMES
    assert isinstance(source.live, bool)


def test_it_ends_when_another_thread_closes_it_and_closes_twice(source: Source) -> None:
    frames = source.frames()
    next(frames)
    closer = threading.Thread(target=source.close)
    closer.start()
    for _ in frames:
        pass
    closer.join(60)
    assert not closer.is_alive()
    source.close()


def test_one_that_another_thread_closed_gives_no_more_than_was_on_its_way(source: Source) -> None:
    frames = source.frames()
    next(frames)
    closer = threading.Thread(target=source.close)
    closer.start()
    closer.join(60)
    assert not closer.is_alive()
    assert len(list(islice(frames, FRAMES))) < FRAMES - 1, "of a folder fewer than its other pictures"


def test_it_states_what_it_needs_whatever_the_argument(spec: str) -> None:
    for each in (spec, spec.partition(":")[0], f"{spec.partition(':')[0]}:what is this"):
        assert isinstance(needs_of(each, Settings()), Needs)
    assert is_camera(spec) == needs_of(spec, Settings()).camera == ("video" in needs_of(spec, Settings()).groups)


def test_one_of_an_unknown_name_is_no_camera() -> None:
    assert not is_camera("nothing:0")
