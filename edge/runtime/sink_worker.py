"""A sink behind a mailbox of one place and a thread of its own: whatever it does costs the loop nothing."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator

from edge.errors import CuelensError, SinkFailed
from edge.runtime.mailbox import Mailbox
from edge.runtime.metrics import SinkMetrics
from edge.system.messages import failed
from edge.types import Clock, Prepared, Sink, Update

Reopen = Callable[[str], Sink]

WAIT = 0.1  # seconds between looks at what may have changed meanwhile
STALE = 1.5  # seconds without an update, which a wait repeats, until a sink shows by itself that nothing is known
FIRST_DELAY, LONGEST_DELAY = 1.0, 30.0  # seconds until a sink that failed is opened again; doubles in between
OPENING = 10.0  # seconds that this may take; a display's driver and a broker's name take some


class SinkWorker:
    """A sink with its own mailbox and thread: one that is slow or breaks costs the loop nothing.

    A sink that failed and may be opened again is, after a while that doubles each time. Where the loop gives a live
    one no update for STALE seconds, it shows `unknown` by itself: the last cue would be a frozen label.
    """

    def __init__(
        self,
        spec: str,
        sink: Sink,
        metrics: SinkMetrics,
        *,
        live: bool,
        reopen: Reopen | None,
        unknown: Callable[[], Update],
        clock: Clock = time.monotonic,
    ) -> None:
        """Begin to show, in a thread of its own, what is put into the mailbox."""
        self._clock = clock
        self.name = f"sink {spec}"
        self.failure: CuelensError | None = None  # of one that is not opened again
        self.metrics = metrics
        self.mailbox: Mailbox[Update] = Mailbox(lossless=sink.capabilities.every_frame and not live)
        self._spec = spec
        self._live = live
        self._reopen = reopen
        self._news: deque[str] = deque(maxlen=10)
        self._unknown = unknown
        self._heard: float | None = None  # when the newest update came
        self._expired: float | None = None  # when the one came that was too old to be left on show
        self._begun: float | None = None  # of the update that is being shown, or of opening it again
        self._deadline = 0.0  # seconds that an update may take
        self._prepared = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(sink,), name=self.name, daemon=True)
        self._thread.start()

    def _run(self, sink: Sink) -> None:
        delay = FIRST_DELAY
        while True:
            shown = self.metrics.shown
            failure = self._serve(sink)
            if failure is None:
                self.metrics.become("ended")
                return
            self.metrics.count_failure(failure)
            if self._reopen is None or not sink.capabilities.reopens or self.mailbox.closed:
                self.metrics.become("failed")
                self.failure = failure
                self.mailbox.close()
                return
            if self.metrics.shown > shown:
                delay = FIRST_DELAY  # it worked in between
            self.metrics.become("waiting")
            self._news.append(failed(failure, f"trying again in {delay:.0f} s"))
            again = self._open_again(self._reopen, delay)
            if again is None:
                self.failure = failure
                return
            delay = min(2 * delay, LONGEST_DELAY)
            sink = again

    def _serve(self, sink: Sink) -> CuelensError | None:
        """Show what comes until the mailbox is closed; returns what went wrong, None where nothing did."""
        self._deadline = sink.capabilities.deadline  # of one that was missing at first, not its stand-in's
        try:
            try:
                self._prepare(sink)
                while not self.mailbox.ended:
                    update = self.mailbox.get(WAIT) or self._overdue()
                    if update is None:
                        continue
                    self._begun = begun = self._clock()
                    sink.show(update)
                    self._begun = None
                    self.metrics.count_shown()
                    if self._live:
                        self.mailbox.wait_closed(begun + sink.capabilities.least_interval - self._clock())
            finally:
                self._begun = None
                sink.close()
        except Exception as error:
            return self._name_failure(error)
        return None

    def _name_failure(self, error: Exception) -> CuelensError:
        """Return an error as one of ours: a driver may raise anything."""
        if isinstance(error, CuelensError):
            return error
        failure = SinkFailed(f"{self.name}: {type(error).__name__}: {error}; run again with --debug")
        failure.__cause__ = error
        return failure

    def _prepare(self, sink: Sink) -> None:
        try:
            if isinstance(sink, Prepared):
                self._begun = self._clock()
                sink.prepare()
        finally:
            self._begun = None
            self._prepared.set()

    def wait_prepared(self, stop: threading.Event, deadline: float) -> None:
        """Wait until the sink may be shown to without holding the loop up, at most until `deadline` or `stop`."""
        while not stop.is_set() and (left := deadline - self._clock()) > 0:
            if self._prepared.wait(min(WAIT, left)):
                return

    def _overdue(self) -> Update | None:
        heard = self._heard  # the loop changes it
        if not self._live or heard is None or heard == self._expired or self.mailbox.closed:
            return None
        if self._clock() - heard < STALE:
            return None
        self._expired = heard
        return self._unknown()

    def _open_again(self, reopen: Reopen, delay: float) -> Sink | None:
        """Wait, and open the sink again until that works; None when the run ended before."""
        while not self.mailbox.wait_closed(delay):
            self._begun = self._clock()
            try:
                return reopen(self._spec)
            except Exception as error:
                delay = min(2 * delay, LONGEST_DELAY)
                self.metrics.count_failure(self._name_failure(error))
            finally:
                self._begun = None
        return None

    def put(self, update: Update) -> None:
        """Leave an update; one that it replaces while the sink is at work, and does not wait by itself, is missed."""
        before = self.mailbox.dropped
        self._heard = self._clock()
        self.mailbox.put(update)
        if self._begun is not None:
            self.metrics.count_missed(self.mailbox.dropped - before)

    def news(self, now: float) -> list[str]:
        """Return the messages for the user since the last call, and check whether the sink is stuck."""
        begun = self._begun
        opening = self.metrics.state == "waiting"
        deadline = max(self._deadline, OPENING) if opening else self._deadline
        if begun is not None and now - begun > deadline and self.metrics.state in ("working", "waiting"):
            self.metrics.become("stuck")
            what = "opening it again takes" if opening else "an update takes it"
            stuck = SinkFailed(f"{self.name}: {what} over {deadline:.1f} s")
            self._news.append(failed(stuck, "continuing without it"))
        return [self._news.popleft() for _ in range(len(self._news))]

    def join(self, deadline: float) -> bool:
        """Return whether its thread has ended, for which it waits until `deadline` at most."""
        self._thread.join(max(0.0, deadline - self._clock()))
        return not self._thread.is_alive()


class SinkWorkers:
    """The workers of a run's sinks; one that failed is left out, and the last one's failure is the run's."""

    def __init__(self, workers: list[SinkWorker], clock: Clock) -> None:
        """Begin with workers that have all been started."""
        self._working, self._clock = workers, clock
        self._there = bool(workers)

    def __iter__(self) -> Iterator[SinkWorker]:
        return iter(self._working)

    @property
    def all_failed(self) -> bool:
        """Whether there were any, and none is left."""
        return self._there and not self._working

    def wait_prepared(self, stop: threading.Event, seconds: float) -> None:
        """Wait until all may be shown to without holding the run up, at most for so long or until `stop`."""
        deadline = self._clock() + seconds
        for worker in self._working:
            worker.wait_prepared(stop, deadline)

    def put(self, update: Update) -> None:
        """Leave an update for each."""
        for worker in self._working:
            worker.put(update)

    def news(self) -> list[str]:
        """Return the messages for the user since the last call."""
        now = self._clock()
        return [line for worker in self._working for line in worker.news(now)]

    def drop_failed(self) -> list[CuelensError]:
        """Leave out those that failed for good, and return why."""
        failed = [(worker, failure) for worker in self._working if (failure := worker.failure) is not None]
        self._working = [worker for worker in self._working if all(worker is not other for other, _ in failed)]
        return [failure for _, failure in failed]

    def stop(self) -> None:
        """Let nothing more in: each ends once it has shown what it has."""
        for worker in self._working:
            worker.mailbox.close()
