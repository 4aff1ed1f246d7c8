"""A sink whose opening holds up every thread is opened before the first frame, and costs the loop no frame."""

from __future__ import annotations

import threading
import time

import pytest

from edge.errors import SinkFailed
from edge.runtime.control import Control
from edge.runtime.metrics import SinkMetrics
from edge.runtime.run import run
from edge.runtime.sink_worker import SinkWorker
from edge.sources.demo import DemoSource
from edge.types import Capabilities, Cue, Update
from edge.vision.faces import FaceFinder
from edge.vision.model import ExpressionModel


class Slow:
    """A display whose opening is seen to end before anything is shown on it."""

    capabilities = Capabilities(every_frame=True, reopens=False)

    def __init__(self, fails: bool = False) -> None:
        self.events: list[str] = []
        self.release = threading.Event()
        self.fails = fails
        self.threads: set[int] = set()

    def prepare(self) -> None:
        self.threads.add(threading.get_ident())
        self.release.wait(60)
        self.events.append("prepared")
        if self.fails:
            raise SinkFailed("no screen")

    def show(self, update: Update) -> None:
        self.threads.add(threading.get_ident())
        self.events.append("shown")

    def close(self) -> None:
        self.events.append("closed")


def outlet(sink: Slow) -> SinkWorker:
    update = Update(None, (), (), (), Cue("no_camera", None, 0.0, 0.0), {}, 0)
    return SinkWorker("slow", sink, SinkMetrics(), live=True, reopen=None, unknown=lambda: update)


def test_the_first_frame_waits_for_a_display_that_opens(monkeypatch: pytest.MonkeyPatch) -> None:
    sink, stop = Slow(), threading.Event()
    taken: list[list[str]] = []
    find = FaceFinder.find
    monkeypatch.setattr(FaceFinder, "find", lambda *args: (taken.append(list(sink.events)), find(*args))[1])
    threading.Timer(0.3, sink.release.set).start()
    outcome = run(Control(), DemoSource("1", live=False), ExpressionModel(), [("slow", sink)], stop, 3.0)
    assert outcome.failures == ()
    assert taken
    assert all(events[0] == "prepared" for events in taken)
    assert sink.events[-1] == "closed"
    assert len(sink.threads) == 1


def test_one_that_does_not_come_is_not_waited_for_longer_than_that(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge.runtime.run.PREPARING", 0.1)
    monkeypatch.setattr("edge.runtime.runner.END", 0.1)
    sink = Slow()
    outcome = run(Control(), DemoSource("1", live=True), ExpressionModel(), [("slow", sink)], threading.Event(), 3.0)
    assert outcome.metrics.frames > 0
    sink.release.set()


def test_one_that_fails_to_open_is_a_failure_and_closed() -> None:
    sink = Slow(fails=True)
    sink.release.set()
    failing = outlet(sink)
    failing.wait_prepared(threading.Event(), time.monotonic() + 60)
    assert failing.join(time.monotonic() + 60)
    assert str(failing.failure) == "no screen"
    assert sink.events == ["prepared", "closed"]


def test_a_run_that_is_to_end_waits_for_none() -> None:
    sink, stop = Slow(), threading.Event()
    waiting = outlet(sink)
    stop.set()
    waiting.wait_prepared(stop, time.monotonic() + 3600)
    assert sink.events == []
    sink.release.set()
    waiting.mailbox.close()
    assert waiting.join(time.monotonic() + 60)
