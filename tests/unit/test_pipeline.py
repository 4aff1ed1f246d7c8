"""The pipeline: pure, the same wherever it is called, and no more than a frame may cost."""

from __future__ import annotations

import builtins
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import islice
from typing import Any

import numpy as np
import pytest

from benchmarks.walk import walk
from edge.errors import ModelFailed
from edge.runtime.control import Control
from edge.runtime.run import run
from edge.settings import CueSettings, FaceSettings, Settings
from edge.sources.demo import DemoSource
from edge.types import Face, Frame, Gray, Reading, Update, Work
from edge.vision.finders import haar
from edge.vision.model import ExpressionModel
from edge.vision.pipeline import STAGES, Effort, FindFailed, Found, Pipeline
from edge.vision.sight import DeviceSight, unguarded
from tests.support.sinks import Kept

FACES = FaceSettings()
CUE = CueSettings()
FRAMES = 40


@pytest.fixture(scope="module")
def model() -> ExpressionModel:
    return ExpressionModel()


@pytest.fixture(scope="module")
def film() -> list[Frame]:
    """The demo person's first frames, at instants with more digits than a log has."""
    frames = islice(DemoSource("1").frames(), FRAMES)
    return [replace(frame, t=frame.t + 1e-9, t_arrived=0.0) for frame in frames]


class Played:
    """A source that gives the film."""

    live, announced = False, None

    def __init__(self, film: Sequence[Frame]) -> None:
        self._film = film

    def frames(self) -> Iterator[Frame]:
        yield from self._film

    def close(self) -> None:
        pass


def plain(update: Update) -> tuple[Any, ...]:
    """Return an update without its pixels, nor what only a run knows."""
    assert update.frame is not None
    rest = replace(update, frame=None, latency_ms={}, dropped=0)
    return update.frame.t, update.frame.seq, rest


def test_the_benchmarks_and_the_run_come_to_the_same_updates(film: list[Frame], model: ExpressionModel) -> None:
    ran, walked = Kept(), Kept()
    outcome = run(Control(), Played(film), model, [("kept", ran)], threading.Event(), say=lambda line: None)
    assert outcome.failures == ()
    list(walk(Played(film), model, Settings(), walked, lambda stage: None))
    assert list(map(plain, ran.updates)) == list(map(plain, walked.updates))
    assert len(walked.updates) == FRAMES
    assert any(update.fresh for update in walked.updates)
    assert walked.updates[-1].cue.expression


def test_it_reads_no_clock_opens_nothing_and_changes_no_frame(
    film: list[Frame], model: ExpressionModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipeline = Pipeline(DeviceSight(FACES, model), model.contract.labels, CUE)
    before = film[0].gray.copy()

    def refuse(*_: Any, **__: Any) -> Any:
        raise AssertionError("a clock was read, or a file opened")

    with monkeypatch.context() as patched:
        for name in ("time", "monotonic", "perf_counter", "process_time", "thread_time"):
            patched.setattr(time, name, refuse)
        patched.setattr(builtins, "open", refuse)
        update = pipeline.process(film[0])
    assert update.faces
    assert (update.latency_ms, update.dropped) == ({}, 0)
    assert np.array_equal(film[0].gray, before)


def test_the_same_frames_give_the_same_updates_to_as_many_digits_as_a_log_has(
    film: list[Frame], model: ExpressionModel
) -> None:
    runs = []
    for _ in range(2):
        pipeline = Pipeline(DeviceSight(FACES, model), model.contract.labels, CUE)
        runs.append([plain(pipeline.process(frame)) for frame in film[:10]])
    assert runs[0] == runs[1]
    for t, _, update in runs[0]:
        assert t == round(t, 6)
        for reading in update.readings:
            assert reading.t == round(reading.t, 6)
            assert reading.probabilities == tuple(round(value, 8) for value in reading.probabilities)


def test_each_stage_is_marked_in_its_order(film: list[Frame], model: ExpressionModel) -> None:
    marks: list[str] = []
    pipeline = Pipeline(DeviceSight(FACES, model), model.contract.labels, CUE, marks.append)
    for frame in film[:3]:
        pipeline.process(frame)
    assert tuple(marks) == 3 * STAGES


def test_a_frame_costs_no_more_than_it_may(film: list[Frame], model: ExpressionModel) -> None:
    def tried(effort: Effort) -> tuple[int, int]:
        pipeline = Pipeline(DeviceSight(FACES, model), model.contract.labels, CUE)
        updates = [pipeline.process(frame, effort) for frame in film]
        return sum(update.work.windows for update in updates), sum(len(update.fresh) for update in updates)

    windows, readings = tried(Effort())
    few_windows, same_readings = tried(Effort(scan=0.25))
    assert few_windows < windows
    assert same_readings == readings
    assert tried(Effort(read_interval=0.5))[1] < readings


class Scripted:
    """A sight that finds and reads what the test sets."""

    def __init__(self) -> None:
        self.faces: tuple[Face, ...] = (Face(1, (0, 0, 80, 80), 0.0),)
        self.probabilities: tuple[float, ...] | None = (0.9, 0.1)
        self.fails = False

    def find(self, gray: Gray, t: float, effort: Effort) -> Found:
        if self.fails:
            raise FindFailed
        return Found(self.faces, Work(looks=3))

    def schedule(self, faces: Sequence[Face], partner: int | None, t: float, effort: Effort) -> tuple[list[Face], int]:
        return list(faces), 2

    def read(self, gray: Gray, face: Face) -> tuple[float, ...] | None:
        return self.probabilities


def at(t: float) -> Frame:
    return Frame(np.zeros((16, 16), np.uint8), t, 0, t)


def test_a_reading_is_kept_while_its_face_is_there_and_one_that_failed_is_none() -> None:
    sight = Scripted()
    pipeline = Pipeline(sight, ("yes", "no"), CUE)
    assert pipeline.process(at(1.0)).fresh == (Reading(1, (0.9, 0.1), 1.0),)
    sight.probabilities = None
    update = pipeline.process(at(2.0))
    assert update.readings == (Reading(1, (0.9, 0.1), 1.0),)
    assert update.fresh == ()
    assert update.work == Work(looks=3, unread=2)
    sight.faces = ()
    assert pipeline.process(at(3.0)).readings == ()


def test_a_frame_that_was_not_searched_changes_nothing_that_is_known() -> None:
    sight = Scripted()
    pipeline, other = (Pipeline(sight, ("yes", "no"), CUE) for _ in range(2))
    for t in (1.0, 1.1):
        assert pipeline.process(at(t)).cue == other.process(at(t)).cue
    sight.fails = True
    with pytest.raises(FindFailed):
        pipeline.process(at(1.2))
    sight.fails = False
    first, second = pipeline.process(at(1.3)), other.process(at(1.3))
    assert (first.cue, first.readings, first.faces) == (second.cue, second.readings, second.faces)


def test_what_is_shown_without_a_frame_forgets_what_was_seen_and_unknown_does_not() -> None:
    pipeline = Pipeline(Scripted(), ("yes", "no"), CUE)
    for number in range(40):
        seen = pipeline.process(at(number / 20))
    assert seen.cue.expression == "yes"
    unknown = pipeline.unknown(2.0)
    assert (unknown.frame, unknown.cue.state, unknown.labels) == (None, "no_camera", ("yes", "no"))
    assert pipeline.process(at(2.05)).cue.expression == "yes"
    assert pipeline.lose_camera(2.1).cue.state == "no_camera"
    assert pipeline.process(at(2.15)).cue.expression is None
    assert pipeline.pause(2.2).cue.state == "paused"


@pytest.mark.parametrize(
    "forget",
    [lambda p: p.lose_camera(1.1), lambda p: p.pause(1.1), lambda p: p.forget()],
    ids=["lost", "paused", "new"],
)
def test_a_reading_does_not_outlive_what_was_seen(forget: Callable[[Pipeline], object]) -> None:
    sight = Scripted()
    pipeline = Pipeline(sight, ("yes", "no"), CUE)
    assert pipeline.process(at(1.0)).readings
    forget(pipeline)
    sight.probabilities = None
    assert pipeline.process(at(1.2)).readings == (), "another person may have the number by now"


def test_other_settings_count_from_the_next_frame_on() -> None:
    pipeline = Pipeline(Scripted(), ("yes", "no"), CUE)
    assert pipeline.process(at(1.0)).settings is CUE
    other = CueSettings(vanish=1.0)
    pipeline.change(other)
    assert pipeline.process(at(1.1)).settings is other


@pytest.mark.parametrize("odd", [float("nan"), float("inf")])
def test_a_network_that_answers_no_number_is_refused(
    film: list[Frame], model: ExpressionModel, monkeypatch: pytest.MonkeyPatch, odd: float
) -> None:
    pipeline = Pipeline(DeviceSight(FACES, model), model.contract.labels, CUE)
    monkeypatch.setattr(model, "read", lambda crop: (odd,) * len(model.contract.labels))
    with pytest.raises(ModelFailed, match=r"probabilities are .*valid are finite numbers"):
        pipeline.process(film[0])


def test_without_a_network_faces_are_found_and_nobody_is_read(film: list[Frame]) -> None:
    pipeline = Pipeline(DeviceSight(FACES, None), (), CUE)
    update = pipeline.process(film[0])
    assert update.faces
    assert update.readings == ()
    assert update.cue.state == "unsure"


def test_a_finder_that_is_rebuilt_numbers_its_faces_again(film: list[Frame], model: ExpressionModel) -> None:
    sight = DeviceSight(FACES, model)
    assert sight.find(film[0].gray, 0.0, Effort()).faces[0].id == 1
    sight.rebuild_finder()
    assert sight.find(film[0].gray, 0.1, Effort()).faces[0].id == 1


def test_the_cascade_is_loaded_once_for_upright_people_and_others(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = []
    load = haar.load_cascade
    monkeypatch.setattr(haar, "load_cascade", lambda: loaded.append(1) or load())
    DeviceSight(FACES, None)
    assert len(loaded) == 1


def test_what_a_guard_passes_over_is_found_failed_or_no_reading(film: list[Frame], model: ExpressionModel) -> None:
    def pass_over(*_: Any, **__: Any) -> None:
        return None

    with pytest.raises(FindFailed):
        DeviceSight(FACES, model, guard_find=pass_over).find(film[0].gray, 0.0, Effort())
    sight = DeviceSight(FACES, model, guard_find=unguarded, guard_read=pass_over)
    (face, *_) = sight.find(film[0].gray, 0.0, Effort()).faces
    assert sight.read(film[0].gray, face) is None


def test_each_second_reading_of_a_face_is_of_its_mirror_image(film: list[Frame], model: ExpressionModel) -> None:
    crops: list[Gray] = []

    class Recording:
        contract = model.contract

        def read(self, crop: Gray) -> tuple[float, ...]:
            crops.append(crop.copy())
            return model.read(crop)

    sight = DeviceSight(replace(FACES, reads=2), Recording())  # type: ignore[arg-type]
    gray = film[0].gray
    (face,) = sight.find(gray, 0.0, Effort()).faces
    other = replace(face, id=face.id + 1)
    for t in (0.0, 1.0):
        chosen, _ = sight.schedule([face, other], None, t, Effort())
        assert len(chosen) == 2
        for each in (face, other):
            sight.read(gray, each)
    first, of_other, second, _ = crops
    assert not np.array_equal(first, first[:, ::-1])
    assert np.array_equal(of_other, first)  # each face has its own turns
    assert np.array_equal(second, first[:, ::-1])
    sight.schedule([other], None, 2.0, Effort())  # the first is gone: met again, it is read as it is
    sight.read(gray, face)
    assert np.array_equal(crops[-1], first)
