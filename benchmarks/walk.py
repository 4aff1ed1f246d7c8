"""Frames through the loop's stages one after the other: what edge.loop.run does to a frame, without its threads.

Threads would be counted into each other; the stages' cost on this machine and on an emulated Arm is taken here.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

from edge.config import Settings
from edge.cue import CuePolicy
from edge.faces import FaceFinder, crop_face
from edge.loop import Turns
from edge.model import ExpressionModel
from edge.types import Reading, Sink, Source, Update

STAGES = ("capture", "find", "read", "cue", "sink")
DONE = "done"

Mark = Callable[[str], None]
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
    """Yield an update for each frame of the source; `mark` is told which of STAGES begins, and DONE."""
    labels = model.contract.labels
    finder, turns, policy = FaceFinder(settings.faces), Turns(settings.faces), CuePolicy(settings.cue, labels)
    readings: dict[int, Reading] = {}
    frames = source.frames()
    while True:
        mark("capture")
        frame = next(frames, None)
        if frame is None:
            return
        mark("find")
        faces = finder.find(frame.gray, frame.t)
        mark("read")
        chosen = turns.choose(faces, policy.partner, frame.t)
        fresh = [
            Reading(face.id, model.read(crop_face(frame.gray, face, model.contract.side)), frame.t) for face in chosen
        ]
        readings = {face.id: readings[face.id] for face in faces if face.id in readings}
        readings |= {reading.face_id: reading for reading in fresh}
        mark("cue")
        cue = policy.update(faces, fresh, frame.t)
        mark("sink")
        known = tuple(readings.values())
        update = Update(frame, tuple(faces), known, labels, cue, {}, 0, finder.work, settings.cue)
        sink.show(update)
        mark(DONE)
        yield update
