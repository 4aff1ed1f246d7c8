"""Runs on the emulated Arm: the demo's frames through the loop's stages, one after the other, with a mark before each.

Everything is what edge.loop.run does to a frame, without its threads, which would be counted into each other.
"""

from __future__ import annotations

import json
import os
import sys

import cv2

from edge.config import Settings
from edge.control import Control
from edge.cue import CuePolicy
from edge.faces import FaceFinder, crop_face
from edge.loop import Turns
from edge.model import ExpressionModel
from edge.quiet import tame_opencv
from edge.sinks.log import LogSink
from edge.sources.demo import FPS, DemoSource
from edge.types import Frame, Reading, Update

MARK = 0x5000  # of count.c
READY, FIND, READ, CUE, SINK, DONE = range(6)


def mark(number: int) -> None:
    """Tell the plugin that instructions from here on are of another stage."""
    os.umask(MARK + number)


def main(frames: int) -> None:
    """Take the demo's first `frames` frames through the stages; prints what ran and was shown as one line of JSON."""
    tame_opencv()
    settings, model = Settings(), ExpressionModel()
    labels = model.contract.labels
    finder, turns, policy = FaceFinder(settings.faces), Turns(settings.faces), CuePolicy(settings.cue, labels)
    sink = LogSink(os.devnull, Control(settings))
    readings: dict[int, Reading] = {}
    cues: list[str] = []
    mark(READY)
    source = DemoSource("1")
    for seq in range(frames):
        gray, t = source.render(seq), round(seq / FPS, 6)
        mark(FIND)
        faces = finder.find(gray, t)
        mark(READ)
        chosen = turns.choose(faces, policy.partner, t)
        fresh = [Reading(face.id, model.read(crop_face(gray, face, model.contract.side)), t) for face in chosen]
        readings = {face.id: readings[face.id] for face in faces if face.id in readings}
        readings |= {reading.face_id: reading for reading in fresh}
        mark(CUE)
        cue = policy.update(faces, fresh, t)
        mark(SINK)
        frame, known = Frame(gray, t, seq, t), tuple(readings.values())
        sink.show(Update(frame, tuple(faces), known, labels, cue, {}, 0, finder.work, settings.cue))
        mark(DONE)
        cues.append(cue.shown)
    sink.close()
    runtime = model.runtime.rpartition(" ")
    print(json.dumps({"runtime": runtime[0], "version": runtime[2], "opencv": cv2.__version__, "cues": cues}))


if __name__ == "__main__":
    main(int(sys.argv[1]))
