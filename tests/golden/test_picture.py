"""The docs' pictures are what the software draws; CUELENS_UPDATE_GOLDEN=1 draws them again."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge.cue.policy import CuePolicy
from edge.drawing.glyphs import draw_cue
from edge.settings import LookSettings, Settings
from edge.sinks.video import Picture, annotate
from edge.sources.demo import FPS, SCENE_FRAMES, DemoSource
from edge.types import Frame, Reading, Update
from edge.vision.faces import FaceFinder, crop_face
from edge.vision.model import ExpressionModel

STILL, FILM = Path(__file__).with_name("demo.png"), Path(__file__).with_name("demo.webp")
SHOWN = ("smile", "surprise", "upset", None)  # a panel each, the last with nobody
EVERY = 4  # frames of the demo from one of the film to the next
MOST_BYTES = 400_000
QUALITY = 60
STEP_MS = 1000 * EVERY // FPS


def play_demo() -> Iterator[Update]:
    """Run one scene of the demo person through the pipeline."""
    source, model, settings = DemoSource("1", live=False), ExpressionModel(), Settings()
    finder, policy = FaceFinder(settings.faces), CuePolicy(settings.cue, model.contract.labels)
    for frame in source.frames():
        if frame.seq == SCENE_FRAMES:
            source.close()
            return
        faces = finder.find(frame.gray, frame.t)
        readings = [Reading(face.id, model.read(crop_face(frame.gray, face, 48)), frame.t) for face in faces]
        cue = policy.update(faces, readings, frame.t)
        seen = Frame(frame.gray, frame.t, frame.seq, 0.0)
        yield Update(seen, tuple(faces), tuple(readings), model.contract.labels, cue, {}, 0)


@pytest.fixture(scope="module")
def updates() -> list[Update]:
    return list(play_demo())


def draw_still(updates: list[Update]) -> Picture:
    """Join one frame of each cue: uint8 (240, 1280, 3)."""
    panels: dict[str | None, Picture] = {}
    for update in updates:
        cue = update.cue
        assert update.frame is not None
        settled = cue.state in ("expression", "no_face") and update.frame.t - cue.since > 1.0
        if settled and cue.expression in SHOWN and cue.expression not in panels:
            panels[cue.expression] = annotate(update, LookSettings())
    half = [cv2.resize(panels[word], (320, 240), interpolation=cv2.INTER_AREA) for word in SHOWN]
    return np.hstack(half).astype(np.uint8)


def draw_film(updates: list[Update]) -> list[Picture]:
    """Draw what the camera sees beside what the wearer sees: uint8 (240, 560, 3) each."""
    frames = []
    for update in updates[::EVERY]:
        seen = cv2.resize(annotate(update, LookSettings()), (320, 240), interpolation=cv2.INTER_AREA)
        shown = draw_cue(update.cue, 240, 240, Settings().look, "rgb")[..., ::-1]
        frames.append(np.hstack([seen, shown]).astype(np.uint8))
    return frames


def differ(golden: Picture, drawn: Picture) -> float:
    """Return the share of pixels that differ clearly.

    Resampling and kernels differ a little between OpenCV, runtime and processor; a wrong cue differs a lot.
    """
    assert golden.shape == drawn.shape
    return float((np.abs(golden.astype(int) - drawn).max(axis=2) > 40).mean())


def test_the_still_in_the_readme_is_what_the_demo_shows(updates: list[Update]) -> None:
    drawn = draw_still(updates)
    if os.environ.get("CUELENS_UPDATE_GOLDEN"):
        cv2.imwrite(str(STILL), drawn, [cv2.IMWRITE_PNG_COMPRESSION, 9])
    golden = cv2.imread(str(STILL))
    assert golden is not None
    assert differ(golden.astype(np.uint8), drawn) < 0.02


def test_the_film_in_the_readme_is_what_the_demo_shows(updates: list[Update]) -> None:
    drawn = draw_film(updates)
    if os.environ.get("CUELENS_UPDATE_GOLDEN"):
        film = cv2.Animation()
        film.frames, film.durations = drawn, [STEP_MS] * len(drawn)
        film.loop_count = 0  # for ever
        cv2.imwriteanimation(str(FILM), film, [cv2.IMWRITE_WEBP_QUALITY, QUALITY])
    whole, golden = cv2.imreadanimation(str(FILM), 0, 10_000)
    assert whole
    assert FILM.stat().st_size < MOST_BYTES
    # The encoder joins equal frames into longer ones.
    frames = [
        picture[..., :3]
        for picture, duration_ms in zip(golden.frames, golden.durations, strict=True)
        for _ in range(round(duration_ms / STEP_MS))
    ]
    far = [differ(one, other) for one, other in zip(frames, drawn, strict=True)]
    # A change of cue may come a frame sooner or later.
    assert sum(share > 0.02 for share in far) <= 6
