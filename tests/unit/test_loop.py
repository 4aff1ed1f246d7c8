"""The loop with scripted sources and sinks: newest frame wins, nothing is waited for without end."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import numpy as np
import pytest

from edge import loop
from edge.config import FaceSettings, Settings
from edge.errors import CameraLost, CuelensError, DiskFull, SinkFailed
from edge.loop import Slot, Turns, run
from edge.model import ExpressionModel
from edge.types import Face, Frame, Update


def frame(seq: int, t: float | None = None) -> Frame:
    now = time.monotonic()
    return Frame(np.full((120, 160), 100, np.uint8), now if t is None else t, seq, now)


class Scripted:
    """A source that yields `count` empty frames, then ends, raises or blocks until closed."""

    announced = None

    def __init__(self, count: int, *, live: bool = False, end: CuelensError | str | None = None) -> None:
        self.live = live
        self.closed = threading.Event()
        self._count = count
        self._end = end

    def frames(self) -> Iterator[Frame]:
        for seq in range(self._count):
            yield frame(seq, None if self.live else seq / 30)
        if isinstance(self._end, Exception):
            raise self._end
        if self._end == "block":
            self.closed.wait(20)

    def close(self) -> None:
        self.closed.set()


class Kept:
    """A sink that keeps what it is shown, and may fail or block."""

    def __init__(self, fail_at: int = -1, failure: Exception | None = None, block: float = 0.0) -> None:
        self.updates: list[Update] = []
        self.closed = 0
        self._fail_at = fail_at
        self._failure = failure
        self._block = block

    def show(self, update: Update) -> None:
        time.sleep(self._block)
        if len(self.updates) == self._fail_at and self._failure:
            raise self._failure
        self.updates.append(update)

    def close(self) -> None:
        self.closed += 1


@pytest.fixture(scope="module")
def model() -> ExpressionModel:
    return ExpressionModel()


def start(source: Scripted, *sinks: Kept, model: ExpressionModel, **options: float) -> loop.Outcome:
    named = [(f"kept{number}", sink) for number, sink in enumerate(sinks)]
    return run(Settings(), source, model, named, threading.Event(), say=lambda line: None, **options)


def test_a_recorded_source_loses_no_frame_on_the_way_to_any_sink(model: ExpressionModel) -> None:
    first, second = Kept(), Kept(block=0.001)
    outcome = start(Scripted(50), first, second, model=model)
    for sink in (first, second):
        assert [update.frame.seq for update in sink.updates if update.frame] == list(range(50))
        assert sink.closed == 1
    assert outcome.failures == ()
    assert (outcome.health.frames, outcome.health.dropped) == (50, 0)


def test_the_newest_live_frame_wins_and_drops_are_counted() -> None:
    slot: Slot[int] = Slot(lossless=False)
    for number in range(5):
        assert slot.put(number)
    assert slot.dropped == 4
    assert slot.get(0.0) == 4
    assert slot.get(0.0) is None
    slot.close()
    assert not slot.put(9)
    assert slot.ended


def test_a_lossless_slot_makes_the_giver_wait() -> None:
    slot: Slot[int] = Slot(lossless=True)
    giver = threading.Thread(target=lambda: [slot.put(number) for number in range(100)])
    giver.start()
    taken = [slot.get(5.0) for _ in range(100)]
    giver.join()
    assert taken == list(range(100))
    assert slot.dropped == 0


def test_a_camera_that_gives_nothing_is_no_camera_and_the_end_is_prompt(
    model: ExpressionModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "STALL", 0.2)
    sink, source = Kept(), Scripted(3, live=True, end="block")
    outcome = start(source, sink, model=model, seconds=1.0)
    assert sink.updates[-1].cue.state == "no_camera"
    assert sink.updates[-1].frame is None
    assert source.closed.is_set()
    assert outcome.failures == ()


def test_a_camera_that_is_lost_is_shown_as_such_before_the_run_ends(model: ExpressionModel) -> None:
    sink = Kept()
    outcome = start(Scripted(3, live=True, end=CameraLost("gone")), sink, model=model)
    assert sink.updates[-1].cue.state == "no_camera"
    assert [type(failure) for failure in outcome.failures] == [CameraLost]


def test_a_source_that_raises_anything_is_told_and_ends_the_run(model: ExpressionModel) -> None:
    source = Scripted(2)
    source.frames = lambda: (_ for _ in [1 / 0])  # type: ignore[method-assign]
    outcome = start(source, Kept(), model=model)
    assert "ZeroDivisionError" in str(outcome.failures[0])


def test_a_sink_that_fails_is_left_out_and_the_others_go_on(model: ExpressionModel) -> None:
    broken, whole = Kept(3, DiskFull("full")), Kept()
    outcome = start(Scripted(40), broken, whole, model=model)
    assert len(whole.updates) == 40
    assert len(broken.updates) == 3
    assert broken.closed == 1
    assert [type(failure) for failure in outcome.failures] == [DiskFull]


def test_the_run_ends_with_its_last_sink(model: ExpressionModel) -> None:
    outcome = start(Scripted(100_000), Kept(3, RuntimeError("odd")), model=model)
    assert [type(failure) for failure in outcome.failures] == [SinkFailed]
    assert outcome.health.frames < 1000


def test_a_slow_sink_costs_a_live_loop_no_frame(model: ExpressionModel) -> None:
    class Ticking(Scripted):
        def frames(self) -> Iterator[Frame]:
            for seq in range(30):
                self.closed.wait(0.02)
                yield frame(seq)

    slow, quick = Kept(block=0.3), Kept()
    outcome = start(Ticking(30, live=True), slow, quick, model=model)
    assert outcome.health.frames + outcome.health.dropped == 30
    assert len(slow.updates) < len(quick.updates) <= 30
    assert outcome.health.missed["sink kept0"] >= len(quick.updates) - len(slow.updates) > 0
    assert "sink kept0 was too slow for" in outcome.health.summary()


def test_a_sink_that_never_returns_is_named_and_left_behind(
    model: ExpressionModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "END", 0.3)
    begun = time.monotonic()
    outcome = start(Scripted(3), Kept(block=30.0), model=model)
    assert [str(failure).partition(":")[0] for failure in outcome.failures] == ["sink kept0"]
    assert time.monotonic() - begun < 20


def test_stop_ends_a_live_run(model: ExpressionModel) -> None:
    stop = threading.Event()
    threading.Timer(0.3, stop.set).start()
    outcome = run(Settings(), Scripted(1, live=True, end="block"), model, [], stop)
    assert outcome.failures == ()


def read(turns: Turns, ids: tuple[int, ...], partner: int | None, count: int, fps: float = 30.0) -> list[int | None]:
    """Return who is read in each of `count` frames; None where nobody is."""
    faces = [Face(number, (0, 0, 80, 80), 0.0) for number in ids]
    chosen = (turns.choose(faces, partner, number / fps) for number in range(count))
    return [found[0].id if found else None for found in chosen]


def test_with_one_reading_a_frame_the_partner_has_every_other_and_the_rest_take_turns() -> None:
    order = read(Turns(FaceSettings()), (1, 2, 3, 4), 2, 24)
    assert order.count(2) == 12
    assert {number: order.count(number) for number in (1, 3, 4)} == {1: 4, 3: 4, 4: 4}


@pytest.mark.parametrize(("fps", "expected"), [(10.0, 10), (20.0, 20), (30.0, 15), (60.0, 20)])
def test_a_face_alone_is_read_no_oftener_than_the_interval(fps: float, expected: int) -> None:
    order = read(Turns(FaceSettings()), (1,), 1, round(fps), fps)
    assert order[0] == 1
    assert len(order) - order.count(None) == expected


def test_a_newcomer_is_read_at_once_and_a_clock_that_goes_back_stops_nobody() -> None:
    turns = Turns(FaceSettings())
    read(turns, (1,), 1, 4)
    both = [Face(1, (0, 0, 80, 80), 0.0), Face(2, (90, 0, 80, 80), 0.0)]
    assert [face.id for face in turns.choose(both, 1, 4 / 30)] == [1]
    assert [face.id for face in turns.choose(both, 1, 5 / 30)] == [2]
    assert [face.id for face in turns.choose(both[:1], 1, 0.0)] == [1]
    assert turns.choose([], 1, 1.0) == []


def test_without_an_interval_everybody_may_be_read_in_every_frame() -> None:
    turns, faces = Turns(FaceSettings(read_interval=0.0, reads=3)), [Face(n, (0, 0, 80, 80), 0.0) for n in (1, 2, 3)]
    assert [len(turns.choose(faces, 1, number / 30)) for number in range(4)] == [3] * 4
    assert turns.left == 0
    assert [face.id for face in Turns(FaceSettings()).choose(faces, 2, 0.0)] == [2]
    hasty = Turns(FaceSettings())
    hasty.choose(faces, 2, 0.0)
    assert hasty.left == 2
