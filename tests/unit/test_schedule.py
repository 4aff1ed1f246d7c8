"""Who is read in a frame: the partner whenever it is due, the others in turns between."""

from __future__ import annotations

import pytest

from edge.settings import FaceSettings
from edge.types import Face
from edge.vision.schedule import ReadSchedule


def read(
    schedule: ReadSchedule, ids: tuple[int, ...], partner: int | None, count: int, fps: float = 30.0
) -> list[int | None]:
    """Return who is read in each of `count` frames; None where nobody is."""
    faces = [Face(number, (0, 0, 80, 80), 0.0) for number in ids]
    chosen = (schedule.choose(faces, partner, number / fps) for number in range(count))
    return [found[0].id if found else None for found in chosen]


def test_with_one_reading_a_frame_the_partner_has_every_other_and_the_rest_take_schedule() -> None:
    order = read(ReadSchedule(FaceSettings()), (1, 2, 3, 4), 2, 24)
    assert order.count(2) == 12
    assert {number: order.count(number) for number in (1, 3, 4)} == {1: 4, 3: 4, 4: 4}


@pytest.mark.parametrize(("fps", "expected"), [(10.0, 10), (20.0, 20), (30.0, 15), (60.0, 20)])
def test_a_face_alone_is_read_no_more_often_than_the_interval(fps: float, expected: int) -> None:
    order = read(ReadSchedule(FaceSettings()), (1,), 1, round(fps), fps)
    assert order[0] == 1
    assert len(order) - order.count(None) == expected


def test_a_newcomer_is_read_at_once_and_a_clock_that_goes_back_stops_nobody() -> None:
    schedule = ReadSchedule(FaceSettings())
    read(schedule, (1,), 1, 4)
    both = [Face(1, (0, 0, 80, 80), 0.0), Face(2, (90, 0, 80, 80), 0.0)]
    assert [face.id for face in schedule.choose(both, 1, 4 / 30)] == [1]
    assert [face.id for face in schedule.choose(both, 1, 5 / 30)] == [2]
    assert [face.id for face in schedule.choose(both[:1], 1, 0.0)] == [1]
    assert schedule.choose([], 1, 1.0) == []


def test_without_an_interval_everybody_may_be_read_in_every_frame() -> None:
    schedule, faces = (
        ReadSchedule(FaceSettings(read_interval=0.0, reads=3)),
        [Face(n, (0, 0, 80, 80), 0.0) for n in (1, 2, 3)],
    )
    assert [len(schedule.choose(faces, 1, number / 30)) for number in range(4)] == [3] * 4
    assert schedule.left == 0
    assert [face.id for face in ReadSchedule(FaceSettings()).choose(faces, 2, 0.0)] == [2]
    hasty = ReadSchedule(FaceSettings())
    hasty.choose(faces, 2, 0.0)
    assert hasty.left == 2
