"""Runs on the emulated Arm: the demo's frames through the loop's stages, with a mark before each."""

from __future__ import annotations

import itertools
import json
import os
import sys

import cv2

from benchmarks.walk import DONE, STAGES, walk
from edge.runtime.control import Control
from edge.settings import Settings
from edge.sinks.log import LogSink
from edge.sources.demo import DemoSource
from edge.system.quiet import tame_opencv
from edge.vision.model import ExpressionModel

MARK = 0x5000  # of count.c
READY = "ready"
NUMBERS = {name: number for number, name in enumerate((READY, *STAGES, DONE))}


def mark(name: str) -> None:
    """Have the plugin count instructions from here on for another stage."""
    os.umask(MARK + NUMBERS[name])


def main(frames: int) -> None:
    """Take the demo's first `frames` frames through the stages; prints what ran and was shown as one line of JSON."""
    tame_opencv()
    settings, model = Settings(), ExpressionModel()
    sink = LogSink(os.devnull, Control(settings))
    mark(READY)
    source = DemoSource("1", live=False)
    cues = [update.cue.shown for update in itertools.islice(walk(source, model, settings, sink, mark), frames)]
    sink.close()
    runtime = model.runtime.rpartition(" ")
    print(json.dumps({"runtime": runtime[0], "version": runtime[2], "opencv": cv2.__version__, "cues": cues}))


if __name__ == "__main__":
    main(int(sys.argv[1]))
