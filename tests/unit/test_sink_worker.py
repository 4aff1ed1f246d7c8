"""A worker keeps to the sink that it has: its deadline, whether it is opened again, what it shows when forgotten."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator

import pytest

from edge.errors import SinkFailed
from edge.runtime import sink_worker
from edge.runtime.metrics import SinkMetrics
from edge.runtime.sink_worker import STALE, Reopen, SinkWorker
from edge.sinks.opening import MissingSink
from edge.types import Capabilities, Cue, Sink, Update

PATIENCE = 60.0  # seconds


def update_of(state: str) -> Update:
    return Update(None, (), (), (), Cue(state, None, 0.0, 0.0), {}, 0)  # type: ignore[arg-type]


CUE, UNKNOWN = update_of("no_face"), update_of("no_camera")


class Clock:
    """Is what it was set to."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


class Kept:
    """Keeps what it is shown, and waits or fails as it is asked to."""

    def __init__(self, *, deadline: float = 1.0, reopens: bool = True, fails: bool = False) -> None:
        self.capabilities = Capabilities(reopens=reopens, deadline=deadline)
        self.shown: list[Update] = []
        self.showing, self.release = threading.Event(), threading.Event()
        self.fails = fails
        self.release.set()

    def show(self, update: Update) -> None:
        self.shown.append(update)
        self.showing.set()
        assert self.release.wait(PATIENCE)
        if self.fails:
            raise SinkFailed("broke")

    def close(self) -> None:
        pass


def wait_until(what: Callable[[], bool]) -> None:
    until = time.monotonic() + PATIENCE
    while not what():
        assert time.monotonic() < until, "never happened"
        time.sleep(0.005)


Start = Callable[..., SinkWorker]


@pytest.fixture
def start(monkeypatch: pytest.MonkeyPatch) -> Iterator[Start]:
    """Start workers that open a sink again at once, and end them."""
    monkeypatch.setattr(sink_worker, "FIRST_DELAY", 0.01)
    workers: list[SinkWorker] = []

    def started(sink: Sink, reopen: Reopen | None = None, clock: Clock | None = None) -> SinkWorker:
        worker = SinkWorker(
            "kept", sink, SinkMetrics(), live=True, reopen=reopen, unknown=lambda: UNKNOWN, clock=clock or Clock()
        )
        workers.append(worker)
        return worker

    yield started
    for worker in workers:
        worker.mailbox.close()
        assert worker.join(time.monotonic() + PATIENCE)


def test_a_driver_may_raise_anything_when_a_sink_is_opened_again(start: Start) -> None:
    second, tries = Kept(), list[str]()

    def reopen(spec: str) -> Sink:
        tries.append(spec)
        if len(tries) == 1:
            raise RuntimeError("Cannot determine SOC peripheral base address")
        return second

    worker = start(Kept(fails=True), reopen)
    worker.put(CUE)
    wait_until(lambda: len(tries) == 2)
    wait_until(lambda: worker.metrics.state == "waiting" or bool(second.shown))
    assert worker.metrics.failures == 2
    assert "RuntimeError: Cannot determine SOC" in worker.metrics.error
    worker.put(CUE)
    wait_until(lambda: worker.metrics.state == "working")
    assert worker.failure is None


def test_a_sink_that_was_missing_has_its_own_deadline_once_it_is_there(start: Start) -> None:
    there, clock = Kept(deadline=4.0), Clock()
    worker = start(MissingSink(SinkFailed("not there")), lambda _: there, clock)
    wait_until(lambda: (worker.put(CUE), worker.metrics.state == "working" and bool(there.shown))[1])
    worker.news(clock.now)
    there.release.clear()
    there.showing.clear()
    worker.put(CUE)
    assert there.showing.wait(PATIENCE)
    assert worker.news(clock.now + 3.0) == []
    (stuck,) = worker.news(clock.now + 5.0)
    assert "takes it over 4.0 s" in stuck
    there.release.set()


def test_a_sink_that_was_missing_and_is_not_opened_again_fails_for_good(start: Start) -> None:
    tries = list[str]()

    def reopen(spec: str) -> Sink:
        tries.append(spec)
        return Kept(reopens=False, fails=True)

    worker = start(MissingSink(SinkFailed("not there")), reopen)
    worker.put(CUE)
    wait_until(lambda: bool(tries))
    wait_until(lambda: (worker.put(CUE), worker.failure is not None)[1])
    assert str(worker.failure) == "broke"
    assert tries == ["kept"]


def test_each_time_that_the_loop_is_blocked_the_sink_shows_that_nothing_is_known(start: Start) -> None:
    sink, clock = Kept(), Clock()
    worker = start(sink, clock=clock)
    for blocked in range(1, 4):
        worker.put(CUE)
        wait_until(lambda blocked=blocked: sink.shown == [CUE, UNKNOWN] * (blocked - 1) + [CUE])  # type: ignore[misc]
        clock.now += STALE + 0.1
        wait_until(lambda blocked=blocked: sink.shown == [CUE, UNKNOWN] * blocked)  # type: ignore[misc]
    time.sleep(3 * sink_worker.WAIT)
    assert sink.shown == [CUE, UNKNOWN] * 3, "once for each time"
