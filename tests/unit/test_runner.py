"""The loop with scripted sources and sinks: newest frame wins, nothing is waited for without end."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from edge.errors import (
    CameraLost,
    CameraMissing,
    CameraStuck,
    CuelensError,
    DiskFull,
    LoopStuck,
    ModelFailed,
    SinkFailed,
)
from edge.runtime import capture, runner, sink_worker
from edge.runtime import run as runs
from edge.runtime.control import Control
from edge.runtime.mailbox import Mailbox
from edge.runtime.metrics import Metrics
from edge.runtime.run import Outcome, run
from edge.settings import CueSettings, Settings
from edge.sources.demo import DemoSource
from edge.sources.missing import ClosedCamera
from edge.types import Capabilities, Cue, Frame, Gray, Update
from edge.vision.model import ExpressionModel
from edge.vision.verifier import FaceVerifier
from tests.support.sinks import Kept

MOST = 3000  # frames: a minute of them


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
            self.closed.wait(60)

    def close(self) -> None:
        self.closed.set()


@pytest.fixture(scope="module")
def model() -> ExpressionModel:
    return ExpressionModel()


def start(source: Scripted, *sinks: Kept, model: ExpressionModel, **options: float) -> Outcome:
    named = [(f"kept{number}", sink) for number, sink in enumerate(sinks)]
    return run(Control(), source, model, named, threading.Event(), say=lambda line: None, **options)


def test_a_recorded_source_loses_no_frame_on_the_way_to_any_sink(model: ExpressionModel) -> None:
    first, second = Kept(), Kept(block=0.001)
    outcome = start(Scripted(50), first, second, model=model)
    for sink in (first, second):
        assert [update.frame.seq for update in sink.updates if update.frame] == list(range(50))
        assert sink.closed == 1
    assert outcome.failures == ()
    assert (outcome.metrics.frames, outcome.metrics.dropped) == (50, 0)


def test_the_newest_live_frame_wins_and_drops_are_counted() -> None:
    slot: Mailbox[int] = Mailbox(lossless=False)
    for number in range(5):
        assert slot.put(number)
    assert slot.dropped == 4
    assert slot.get(0.0) == 4
    assert slot.get(0.0) is None
    slot.close()
    assert not slot.put(9)
    assert slot.ended


def test_a_lossless_slot_makes_the_giver_wait() -> None:
    slot: Mailbox[int] = Mailbox(lossless=True)
    giver = threading.Thread(target=lambda: [slot.put(number) for number in range(100)])
    giver.start()
    taken = [slot.get(60.0) for _ in range(100)]
    giver.join()
    assert taken == list(range(100))
    assert slot.dropped == 0


def test_a_camera_that_gives_nothing_is_no_camera_and_the_end_is_prompt(
    model: ExpressionModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(capture, "STALL", 0.2)
    stop = threading.Event()

    class Stopper(Kept):
        def show(self, update: Update) -> None:
            super().show(update)
            if update.cue.state == "no_camera":
                stop.set()

    sink, source = Stopper(), Scripted(3, live=True, end="block")
    outcome = run(Control(), source, model, [("stopper", sink)], stop, 60.0, say=lambda line: None)
    assert sink.updates[-1].cue.state == "no_camera"
    assert sink.updates[-1].frame is None
    assert source.closed.is_set()
    assert outcome.failures == ()


def test_a_camera_that_is_lost_is_shown_as_such_before_the_run_ends(model: ExpressionModel) -> None:
    sink = Kept()
    outcome = start(Scripted(3, live=True, end=CameraLost("gone")), sink, model=model)
    assert sink.updates[-1].cue.state == "no_camera"
    assert [type(failure) for failure in outcome.failures] == [CameraLost]


def test_a_source_that_raises_anything_is_reported_and_ends_the_run(model: ExpressionModel) -> None:
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
    assert outcome.metrics.frames < 1000


def test_a_slow_sink_costs_a_live_loop_no_frame(model: ExpressionModel) -> None:
    quick = Kept()
    slow = Behind(quick)

    class Waiting(Ticking):
        def frames(self) -> Iterator[Frame]:
            for each in super().frames():
                yield each
                slow.begun.wait(60)

    outcome = start(Waiting(30), slow, quick, model=model)
    assert outcome.metrics.frames + outcome.metrics.dropped == 30
    assert len(slow.updates) < len(quick.updates) <= 30
    assert outcome.metrics.sinks["kept0"].missed >= len(quick.updates) - len(slow.updates) > 0
    assert "sink kept0 was too slow for" in outcome.metrics.summary()


class Ticking(Scripted):
    """A live source of a frame every 20 ms: so many, and more until something holds."""

    def __init__(self, count: int, until: Callable[[], bool] = lambda: True) -> None:
        super().__init__(count, live=True)
        self.given = 0
        self._until = until

    def frames(self) -> Iterator[Frame]:
        while self.given < self._count or not (self._until() or self.given == MOST):
            if self.closed.wait(0.02):
                return
            self.given += 1
            yield frame(self.given - 1)


class Behind(Kept):
    """A sink that has shown nothing before another one is closed."""

    def __init__(self, other: Kept) -> None:
        super().__init__()
        self.begun = threading.Event()
        self._other = other

    def show(self, update: Update) -> None:
        self.begun.set()
        while not self._other.closed:
            time.sleep(0.005)
        super().show(update)


class Display(Kept):
    """A sink that may be opened again."""

    capabilities = Capabilities()


def test_a_display_that_vanishes_is_opened_again_and_shows_the_newest_cue(
    model: ExpressionModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sink_worker, "FIRST_DELAY", 0.05)
    lines: list[str] = []
    again = Display()
    answers: list[Display | CuelensError] = [SinkFailed("still unplugged"), again]

    def reopen(spec: str) -> Display:
        assert spec == "display"
        answer = answers.pop(0)
        if isinstance(answer, CuelensError):
            raise answer
        return answer

    source, broken = Ticking(60, lambda: len(again.updates) > 10), Display(3, SinkFailed("unplugged"))
    outcome = run(Control(), source, model, [("display", broken)], threading.Event(), say=lines.append, reopen=reopen)
    assert broken.closed == again.closed == 1
    assert len(again.updates) > 10
    assert outcome.failures == ()
    assert outcome.metrics.frames + outcome.metrics.dropped == source.given
    health = outcome.metrics.sinks["display"]
    assert (health.state, health.failures, health.error) == ("ended", 2, "still unplugged")
    assert lines == ["unplugged; trying again in 0 s [sink-failed]"]
    assert "sink display failed 2 times" in outcome.metrics.summary()


def test_a_display_that_never_comes_back_is_a_failure_at_the_end(
    model: ExpressionModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sink_worker, "FIRST_DELAY", 0.05)

    def reopen(spec: str) -> Display:
        raise SinkFailed("still unplugged")

    named = [("display", Display(3, SinkFailed("unplugged")))]
    outcome = run(Control(), Ticking(30), model, named, threading.Event(), say=lambda line: None, reopen=reopen)
    assert [str(failure) for failure in outcome.failures] == ["unplugged"]
    assert outcome.metrics.frames + outcome.metrics.dropped == 30


def test_a_sink_that_is_stuck_is_reported_while_the_others_continue(model: ExpressionModel) -> None:
    class Slow(Behind):
        capabilities = Capabilities(deadline=0.05)

    lines: list[str] = []
    quick = Kept()
    stuck, source = Slow(quick), Ticking(40, lambda: bool(lines))
    sinks = [("stuck", stuck), ("quick", quick)]
    outcome = run(Control(), source, model, sinks, threading.Event(), say=lines.append)
    assert "sink stuck: an update takes it over 0.1 s; continuing without it [sink-failed]" in lines
    assert outcome.metrics.frames + outcome.metrics.dropped == source.given
    assert len(quick.updates) > len(stuck.updates)


def test_a_sink_is_not_shown_more_than_it_can_show(model: ExpressionModel) -> None:
    class Paper(Kept):
        capabilities = Capabilities(least_interval=0.2)

    paper = Paper()
    begun = time.monotonic()
    start(Ticking(40, lambda: len(paper.updates) > 3), paper, model=model)
    took = time.monotonic() - begun
    whole = paper.updates[:-1]  # at the end of a run the last one need not wait
    assert 2 <= len(whole) <= took / 0.2 + 1


def test_while_paused_no_frame_is_taken_and_the_cue_says_so(model: ExpressionModel) -> None:
    taken: list[int] = []

    class Counted(Ticking):
        def frames(self) -> Iterator[Frame]:
            for each in super().frames():
                taken.append(each.seq)
                yield each

    class Presser(Kept):
        """Pauses at the fifth frame, and goes on half a second after the pause was shown."""

        def show(self, update: Update) -> None:
            super().show(update)
            if update.cue.state == "paused":
                time.sleep(0.3)  # frames already on their way have come
                before = len(taken)
                time.sleep(0.3)
                assert len(taken) == before
                control.paused = False
            elif len(self.updates) == 5:
                control.paused = True

    control, sink = Control(), Presser()
    outcome = run(control, Counted(40), model, [("presser", sink)], threading.Event(), say=lambda line: None)
    states = [update.cue.state for update in sink.updates]
    assert outcome.failures == ()
    assert "paused" in states
    assert "no_camera" not in states
    assert states[-1] == "no_face"


class Camera(Ticking):
    """A camera of ten frames, or more until something holds, that was opened `number` times before."""

    def __init__(self, number: int, until: Callable[[], bool] = lambda: True) -> None:
        super().__init__(10, until)
        self.number = number


def endless() -> bool:
    return False


class Pauser(Kept):
    """Pauses at the fifth frame, and goes on when the pause is shown."""

    def __init__(self, control: Control) -> None:
        super().__init__()
        self.control = control
        self.paused_at = 5

    def show(self, update: Update) -> None:
        super().show(update)
        if update.cue.state == "paused":
            self.control.paused = False
        elif len(self.updates) == self.paused_at:
            self.control.paused = True


def test_a_pause_closes_a_camera_that_can_be_opened_again_and_its_frames_are_counted_on(model: ExpressionModel) -> None:
    control, cameras = Control(), [Camera(0, endless)]
    sink = Pauser(control)

    def resume() -> Camera:
        assert cameras[-1].closed.is_set(), "one is closed before the next is opened"
        cameras.append(Camera(len(cameras), lambda: len(sink.updates) > 20))
        return cameras[-1]

    run(control, cameras[0], model, [("pauser", sink)], threading.Event(), say=lambda line: None, resume=resume)
    assert [camera.closed.is_set() for camera in cameras] == [True, True]
    numbers = [update.frame.seq for update in sink.updates if update.frame]
    assert numbers == sorted(set(numbers))
    assert len(numbers) > 10


def test_a_pause_that_ends_before_the_loop_begins_opens_the_camera(model: ExpressionModel) -> None:
    sink, control = Kept(), Control()

    def resume() -> Camera:
        return Camera(0, lambda: len(sink.updates) > 20)

    run(control, ClosedCamera(), model, [("kept", sink)], threading.Event(), 60.0, resume=resume, closed=True)
    assert sum(update.frame is not None for update in sink.updates) > 10


def refuse() -> FaceVerifier:
    raise ModelFailed("refused")


def no_thread(*_: object, **__: object) -> None:
    raise RuntimeError("can't start new thread")


@pytest.mark.parametrize("why", ["a network is refused", "no thread for the capture", "no thread for the second sink"])
def test_a_run_that_cannot_begin_closes_its_source_and_sinks(
    why: str, model: ExpressionModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, sinks = Camera(0, endless), [("one", Kept()), ("two", Kept())]
    options: dict[str, Any] = {"verifier": refuse} if why == "a network is refused" else {}
    if why == "no thread for the capture":
        monkeypatch.setattr(runs, "Capture", no_thread)
    elif why == "no thread for the second sink":
        worker = runs.SinkWorker
        monkeypatch.setattr(
            runs, "SinkWorker", lambda *args, **more: (no_thread if args[0] == "two" else worker)(*args, **more)
        )
    with pytest.raises((ModelFailed, RuntimeError)):
        run(Control(), source, model, sinks, threading.Event(), 60.0, say=lambda line: None, **options)
    assert source.closed.is_set()
    assert [sink.closed for _, sink in sinks] == [1, 1]


def test_a_camera_that_is_gone_after_a_pause_ends_the_run_after_a_search(
    model: ExpressionModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(capture, "FIRST_LOOK", 0.02)
    monkeypatch.setattr(capture, "REOPENING", 0.2)
    monkeypatch.setattr(capture, "CAMERA_TIMEOUT", 3.0)
    looks = []

    def resume() -> Camera:
        looks.append(time.monotonic())
        raise CameraMissing("taken by another")

    control = Control()
    sinks = [("pauser", Pauser(control))]
    outcome = run(control, Camera(0, endless), model, sinks, threading.Event(), say=lambda line: None, resume=resume)
    assert [type(failure) for failure in outcome.failures] == [CameraMissing]
    assert outcome.metrics.camera_losses == 1
    waits = [after - before for before, after in pairwise(looks)]
    assert len(waits) > 2
    assert waits[-1] > waits[0], "it is looked for less and less often"


class Unplugged(Camera):
    """A camera of which the cable is drawn after its ten frames."""

    def frames(self) -> Iterator[Frame]:
        yield from super().frames()
        raise CameraLost("unplugged")


def test_a_camera_that_comes_back_goes_on_where_it_was(model: ExpressionModel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(capture, "FIRST_LOOK", 0.3)
    cameras: list[Camera] = [Unplugged(0)]
    refusals = iter((True, True, False))
    said: list[str] = []

    def resume() -> Camera:
        assert cameras[-1].closed.is_set(), "the lost one is closed before another is opened"
        if next(refusals):
            raise CameraMissing("none")
        cameras.append(Camera(1))
        return cameras[-1]

    sink = Kept()
    outcome = run(
        control := Control(), cameras[0], model, [("kept", sink)], threading.Event(), say=said.append, resume=resume
    )
    assert control.metrics is outcome.metrics
    assert outcome.failures == ()
    assert outcome.metrics.camera_losses == 1
    states = [update.cue.state for update in sink.updates]
    assert states.count("no_camera") >= 1, "it is said at once, not after a stall"
    assert states[-1] == "no_face"
    numbers = [update.frame.seq for update in sink.updates if update.frame]
    assert numbers == sorted(set(numbers))
    assert max(numbers) == 19
    assert said[0] == "unplugged; looking for it again [camera-lost]"
    assert said[1].startswith("the camera gives frames again, after")


def test_a_camera_that_was_lost_is_not_opened_by_a_run_that_ends(model: ExpressionModel) -> None:
    stop = threading.Event()

    def resume() -> Camera:
        pytest.fail("opened")

    class Stopper(Kept):
        def show(self, update: Update) -> None:
            super().show(update)
            if update.cue.state == "no_camera":
                stop.set()

    sinks = [("stopper", Stopper())]
    outcome = run(Control(), Unplugged(0), model, sinks, stop, say=lambda line: None, resume=resume)
    assert outcome.failures == (), "no thread took longer than END"


def test_a_camera_that_hangs_while_it_opens_after_a_pause_is_abandoned(
    model: ExpressionModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(capture, "STALL", 0.2)
    for module, name in ((capture, "REOPENING"), (runner, "REPEAT"), (runner, "END")):
        monkeypatch.setattr(module, name, 0.2)
    monkeypatch.setattr(capture, "CAMERA_TIMEOUT", 1.0)
    late = Camera(1)
    opened, opening = threading.Event(), threading.Event()

    def resume() -> Camera:
        opening.set()
        opened.wait(60)
        return late

    control = Control()
    sink = Pauser(control)
    outcome = run(
        control, Camera(0, endless), model, [("pauser", sink)], threading.Event(), say=lambda line: None, resume=resume
    )
    assert [type(failure) for failure in outcome.failures] == [CameraLost]
    assert opening.is_set()
    assert sink.updates[-1].cue.state == "no_camera"
    opened.set()
    assert late.closed.wait(60), "one that opens after all is closed"


class Once:
    """An attribute that another thread sets to None after each time it is read."""

    def __init__(self, value: tuple[object, ...], reads: int = 1) -> None:
        self._value, self._reads = value, reads

    def __get__(self, owner: object, kind: type) -> tuple[object, ...] | None:
        self._reads -= 1
        return self._value if self._reads >= 0 else None

    def __set__(self, owner: object, value: object) -> None:
        pass


def test_a_camera_that_comes_back_while_its_end_is_decided_raises_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    source = Scripted(0, live=True, end="block")
    taken = capture.Capture(source, Metrics(""), None, lambda line: None, clock=lambda: now[0])
    now[0] = capture.CAMERA_TIMEOUT + 1.0
    lost = CameraLost("camera: gone")
    monkeypatch.setattr(capture.Capture, "lost", Once(("lost", lost), reads=2), raising=False)  # by trouble() first
    event = taken.next(0.0)
    assert isinstance(event, capture.Lost)
    assert event.failure is lost
    monkeypatch.setattr(capture._Taker, "busy", Once(("open", 0.0)), raising=False)
    taken.stop()
    assert taken.join(now[0] + 20)


def test_settings_that_change_while_it_runs_are_obeyed(model: ExpressionModel) -> None:
    control = Control(Settings(cue=CueSettings(vocabulary="full")))
    seen: list[str] = []
    stop = threading.Event()

    class Changer(Kept):
        def show(self, update: Update) -> None:
            super().show(update)
            seen.append(update.cue.shown)
            if update.cue.shown == "happy":
                control.change("cue", {"vocabulary": "small"})
            elif "happy" in seen and update.cue.shown == "smile":
                stop.set()

    run(control, DemoSource("1"), model, [("changer", Changer())], stop, 60.0, say=lambda line: None)
    assert "smile" in seen[seen.index("happy") :]


def test_a_sink_that_never_returns_is_named_and_left_behind(
    model: ExpressionModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner, "END", 1.0)
    stuck = Kept(block=60.0)
    outcome = start(Scripted(3), stuck, model=model)
    assert [str(failure).partition(":")[0] for failure in outcome.failures] == ["sink kept0"]
    assert stuck.updates == [], "it is still at its first"


def test_stop_ends_a_live_run(model: ExpressionModel) -> None:
    stop = threading.Event()
    threading.Timer(0.3, stop.set).start()
    outcome = run(Control(), Scripted(1, live=True, end="block"), model, [], stop)
    assert outcome.failures == ()


class Hanging(Camera):
    """A camera whose driver does not come back from the read after its tenth frame until it is let go."""

    def __init__(self, number: int, go: threading.Event, *, stuck: bool = False) -> None:
        super().__init__(number)
        self.go = go
        self.stuck = stuck
        self.left = threading.Event()

    def frames(self) -> Iterator[Frame]:
        yield from super().frames()
        self.go.wait(60)
        self.left.set()
        yield frame(99)


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    for module, name in ((capture, "REOPENING"), (capture, "FIRST_LOOK"), (runner, "REPEAT")):
        monkeypatch.setattr(module, name, 0.05)
    monkeypatch.setattr(capture, "STALL", 0.5)  # a busy machine's camera is not silent
    monkeypatch.setattr(capture, "CALL_DEADLINES", dict.fromkeys(("open", "read", "close"), 1.0))


@pytest.mark.usefixtures("hasty")
def test_a_thread_whose_read_never_returns_is_abandoned_and_what_it_brings_later_is_dropped(
    model: ExpressionModel,
) -> None:
    go, cameras = threading.Event(), list[Camera]()

    def resume() -> Camera:
        cameras.append(Camera(1))
        threading.Timer(0.1, go.set).start()
        return cameras[-1]

    stuck, sink = Hanging(0, go), Kept()
    outcome = run(Control(), stuck, model, [("kept", sink)], threading.Event(), say=lambda line: None, resume=resume)
    assert outcome.failures == ()
    assert stuck.left.wait(60)
    assert stuck.closed.is_set()
    numbers = [update.frame.seq for update in sink.updates if update.frame]
    assert numbers == sorted(set(numbers))
    assert max(numbers) == 19, "ten of each, and none of the abandoned thread"
    assert outcome.metrics.camera_losses == 1
    assert set(outcome.metrics.camera_causes) == {"silent", "stuck"}


@pytest.mark.usefixtures("hasty")
def test_threads_that_hang_are_left_behind_up_to_a_number(model: ExpressionModel) -> None:
    go, opened = threading.Event(), list[Camera]()

    def resume() -> Camera:
        opened.append(Hanging(1, go))
        return opened[-1]

    sinks = [("kept", Kept())]
    outcome = run(Control(), Hanging(0, go), model, sinks, threading.Event(), say=lambda line: None, resume=resume)
    go.set()
    assert [type(failure) for failure in outcome.failures] == [CameraStuck]
    assert len(opened) == capture.MOST_ABANDONED


@pytest.mark.usefixtures("hasty")
def test_a_camera_that_cannot_be_closed_for_a_pause_stays_unread_and_ends_the_run_after_it(
    model: ExpressionModel,
) -> None:
    class Late(Pauser):
        def show(self, update: Update) -> None:
            Kept.show(self, update)
            paused = [update.cue.state for update in self.updates].count("paused")
            self.control.paused = len(self.updates) >= self.paused_at and paused < 5

    control = Control()
    camera, sink = Camera(0, endless), Late(control)
    camera.stuck = True  # type: ignore[attr-defined]
    outcome = run(
        control, camera, model, [("late", sink)], threading.Event(), say=lambda line: None, resume=lambda: Camera(1)
    )
    assert [type(failure) for failure in outcome.failures] == [CameraStuck]
    states = [update.cue.state for update in sink.updates]
    assert states.count("paused") >= 5
    assert states[-1] == "no_camera"


def test_a_sink_that_hangs_while_it_is_opened_again_is_named(
    model: ExpressionModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sink_worker, "FIRST_DELAY", 0.05)
    monkeypatch.setattr(sink_worker, "OPENING", 0.1)
    monkeypatch.setattr(Display, "capabilities", Capabilities(deadline=0.1))
    monkeypatch.setattr(runner, "END", 1.0)
    lines: list[str] = []
    opened = threading.Event()

    def reopen(spec: str) -> Display:
        opened.wait(60)
        return Display()

    sinks = [("display", Display(3, SinkFailed("unplugged"))), ("kept", Kept())]
    source = Ticking(60, lambda: any("opening it again" in line for line in lines))
    outcome = run(Control(), source, model, sinks, threading.Event(), say=lines.append, reopen=reopen)
    opened.set()
    assert "sink display: opening it again takes over 0.1 s; continuing without it [sink-failed]" in lines
    assert outcome.metrics.frames + outcome.metrics.dropped == source.given
    assert [type(failure) for failure in outcome.failures] == [LoopStuck]


def test_a_loop_that_stands_still_leaves_no_label_on_a_display_and_forgets_what_it_saw(
    model: ExpressionModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sink_worker, "STALE", 0.7)
    stop, read, stalled = threading.Event(), model.read, list[float]()

    class UntilWell(Kept):
        def show(self, update: Update) -> None:
            super().show(update)
            if len(stalled) == 2 and update.cue.expression and update.cue.since > stalled[1]:
                stop.set()

    class Smiling(DemoSource):
        def frames(self) -> Iterator[Frame]:
            for each in super().frames():
                yield Frame(self.render(240 + each.seq % 40), each.t, each.seq, each.t_arrived)

    def stall(crop: Gray) -> tuple[float, ...]:
        if not stalled and sink.updates and sink.updates[-1].cue.expression:
            stalled.append(time.monotonic())
            time.sleep(2.0)
            stalled.append(time.monotonic())
        return read(crop)

    monkeypatch.setattr(model, "read", stall)
    given: list[Cue] = []
    put = sink_worker.SinkWorker.put

    def give(self: sink_worker.SinkWorker, update: Update) -> None:
        given.append(update.cue)
        put(self, update)

    monkeypatch.setattr(sink_worker.SinkWorker, "put", give)
    said: list[str] = []
    sink = UntilWell()
    outcome = run(Control(), Smiling("1", live=True), model, [("kept", sink)], stop, 60.0, say=said.append)
    dark = [update.cue.since for update in sink.updates if update.cue.state == "no_camera"]
    assert stalled[0] < dark[0] < stalled[1], "by the sink's own thread"
    # The sink may miss this one: the next frame was already there.
    assert [cue.since > stalled[1] for cue in given if cue.state == "no_camera"] == [True], "by the loop"
    states = [update.cue.state for update in sink.updates]
    back = len(states) - 1 - states[::-1].index("no_camera")
    assert states[back + 1] == "unsure", "what was seen before the stall is not gone on with"
    assert states[-1] == "expression"
    assert outcome.metrics.stalls == 1
    assert said[0].startswith("the loop was blocked for 2.")
