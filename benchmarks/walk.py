"""Frames from a source through the device's pipeline into a sink, in one thread, with a mark before each stage.

Threads would be counted into each other; the stages' cost on this machine and on an emulated Arm is taken here.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

from edge.settings import Settings
from edge.types import Sink, Source, Update
from edge.vision import pipeline
from edge.vision.model import ExpressionModel
from edge.vision.overturned import EVERY
from edge.vision.pipeline import Mark, Pipeline
from edge.vision.sight import DeviceSight

STAGES = ("capture", *pipeline.STAGES, "sink")
DONE = "done"

Cost = tuple[float, float]  # elapsed ms, and CPU ms of the whole process


class Stopwatch:
    """The mark that times: `times` has the cost of each frame by stage."""

    def __init__(self) -> None:
        self.times: dict[str, list[Cost]] = {name: [] for name in STAGES}
        self._stage, self._since = DONE, (0.0, 0.0)

    def __call__(self, name: str) -> None:
        """End the stage that was begun, and begin another."""
        now = time.perf_counter(), time.process_time()
        if self._stage in self.times:
            self.times[self._stage].append((1000 * (now[0] - self._since[0]), 1000 * (now[1] - self._since[1])))
        self._stage, self._since = name, (time.perf_counter(), time.process_time())


def walk(source: Source, model: ExpressionModel, settings: Settings, sink: Sink, mark: Mark) -> Iterator[Update]:
    """Yield an update for each frame of the source; `mark` is called with each of STAGES as it begins, and DONE."""
    sight = DeviceSight(settings.faces, model, overturned_every=EVERY)  # as of a camera, which is what it costs
    way = Pipeline(sight, model.contract.labels, settings.cue, mark)
    frames = source.frames()
    while True:
        mark("capture")
        frame = next(frames, None)
        if frame is None:
            return
        update = way.process(frame)
        mark("sink")
        sink.show(update)
        mark(DONE)
        yield update
