"""The README's picture is what the software draws; CUELENS_UPDATE_GOLDEN=1 draws it anew."""

from __future__ import annotations

import os
from pathlib import Path

import cv2
import numpy as np

from edge.config import Settings
from edge.cue import CuePolicy
from edge.faces import FaceFinder, crop_face
from edge.model import ExpressionModel
from edge.sinks.video import Picture, annotate
from edge.sources.demo import DemoSource
from edge.types import Frame, Reading, Update

PICTURE = Path(__file__).with_name("demo.png")
SHOWN = ("smile", "surprise", "upset", None)  # a panel each, the last with nobody


def draw_demo() -> Picture:
    """Run the demo person through the pipeline and join one frame of each cue: uint8 (240, 1280, 3)."""
    source, model, settings = DemoSource("1", live=False), ExpressionModel(), Settings()
    finder, policy = FaceFinder(settings.faces), CuePolicy(settings.cue, model.contract.labels)
    panels: dict[str | None, Picture] = {}
    for frame in source.frames():
        faces = finder.find(frame.gray, frame.t)
        readings = [Reading(face.id, model.read(crop_face(frame.gray, face, 48)), frame.t) for face in faces]
        cue = policy.update(faces, readings, frame.t)
        wanted = cue.state in ("expression", "no_face") and frame.t - cue.since > 1.0
        if wanted and cue.expression in SHOWN and cue.expression not in panels:
            update = Update(
                Frame(frame.gray, frame.t, frame.seq, 0.0),
                tuple(faces),
                tuple(readings),
                model.contract.labels,
                cue,
                {},
                0,
            )
            panels[cue.expression] = annotate(update)
        if len(panels) == len(SHOWN) or frame.seq > 3000:
            break
    source.close()
    half = [cv2.resize(panels[word], (320, 240), interpolation=cv2.INTER_AREA) for word in SHOWN]
    return np.hstack(half).astype(np.uint8)


def test_the_picture_in_the_readme_is_what_the_demo_shows() -> None:
    drawn = draw_demo()
    if os.environ.get("CUELENS_UPDATE_GOLDEN"):
        cv2.imwrite(str(PICTURE), drawn, [cv2.IMWRITE_PNG_COMPRESSION, 9])
    golden = cv2.imread(str(PICTURE))
    assert golden is not None
    assert golden.shape == drawn.shape
    # Resampling and kernels differ a little between OpenCV, runtime and processor; a wrong cue differs a lot.
    difference = np.abs(golden.astype(int) - drawn).max(axis=2)
    assert (difference > 40).mean() < 0.02
