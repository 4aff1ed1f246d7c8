"""The demo source: pure, seeded, true to what it says, and never stuck."""

from __future__ import annotations

import threading
import time
from itertools import islice

import cv2
import numpy as np
import pytest

from edge.cue.policy import WORD_OF
from edge.errors import SettingsInvalid
from edge.sources import open_source
from edge.sources.demo import ALWAYS, FPS, HEIGHT, LARGEST_ROLL, SCENE_FRAMES, UPSET, WIDTH, DemoSource
from edge.types import Box, Face
from edge.vision.faces import crop_face
from edge.vision.finders.haar import load_cascade
from edge.vision.model import ExpressionModel

MINUTE = range(60 * FPS)


@pytest.fixture(scope="module", params=["", "1", "2026"])
def demo(request: pytest.FixtureRequest) -> DemoSource:
    return DemoSource(request.param, live=False)


def overlap(a: Box, b: Box) -> float:
    wide = min(a[0] + a[2], b[0] + b[2]) - max(a[0], b[0])
    tall = min(a[1] + a[3], b[1] + b[3]) - max(a[1], b[1])
    both = max(0, wide) * max(0, tall)
    return both / (a[2] * a[3] + b[2] * b[3] - both)


def test_the_same_seed_gives_the_same_frames_in_any_order() -> None:
    first, second = DemoSource("5", live=False), DemoSource("5", live=False)
    forwards = [first.render(seq) for seq in (0, 95, 700)]
    backwards = [second.render(seq) for seq in (700, 95, 0)]
    for one, other in zip(forwards, reversed(backwards), strict=True):
        np.testing.assert_array_equal(one, other)
    assert [first.truth(seq) for seq in MINUTE] == [second.truth(seq) for seq in MINUTE]


def test_another_seed_gives_another_wall_and_another_script() -> None:
    one, other = DemoSource("1", live=False), DemoSource("2", live=False)
    assert np.abs(one.render(0).astype(int) - other.render(0)).mean() > 3
    assert [one.truth(seq).expression for seq in MINUTE] != [other.truth(seq).expression for seq in MINUTE]


def test_rendering_leaves_no_trace_in_the_next_frame(demo: DemoSource) -> None:
    nobody = next(seq for seq in MINUTE if demo.truth(seq).box is None and demo.truth(seq - 20).box is None)
    before = demo.render(nobody)
    demo.render(0)
    np.testing.assert_array_equal(demo.render(nobody), before)


def test_every_scene_shows_neutral_smile_surprise_and_something_upset(demo: DemoSource) -> None:
    for scene in range(6):
        shown = {demo.truth(scene * SCENE_FRAMES + frame).expression for frame in range(SCENE_FRAMES)}
        assert {*ALWAYS, None} < shown
        assert shown & set(UPSET)


def test_a_pure_expression_lasts_three_seconds_and_a_fade_under_half_a_second(demo: DemoSource) -> None:
    mixes = [demo.truth(seq).mix for seq in range(4 * 102 - 12)]
    lengths = np.diff(np.flatnonzero(np.diff([0.0, *(float(mix == 1.0) for mix in mixes), 0.0]))).tolist()
    assert lengths == [90, 12, 90, 12, 90, 12, 90]
    assert min(mixes) >= 0.5


def test_steady_for_counts_the_seconds_since_the_fade_ended(demo: DemoSource) -> None:
    assert demo.truth(0).steady_for == 0.0
    assert demo.truth(60).steady_for == pytest.approx(2.0)
    assert demo.truth(95).steady_for == 0.0, "frame 95 is in a cross-fade"
    assert demo.truth(102).steady_for == 0.0
    assert demo.truth(132).steady_for == pytest.approx(1.0)


def test_nobody_is_there_for_two_seconds_in_every_scene(demo: DemoSource) -> None:
    empty = [demo.truth(seq).box is None for seq in range(SCENE_FRAMES)]
    assert 2 * FPS <= sum(empty) <= 2.8 * FPS
    nobody = next(seq for seq in range(SCENE_FRAMES) if empty[seq] and empty[seq + 30])
    assert demo.truth(nobody).expression is None
    steady = [demo.truth(seq).steady_for for seq in range(SCENE_FRAMES) if empty[seq]]
    assert max(steady) == pytest.approx(2 - 1 / FPS)


def test_the_person_stays_in_the_frame_and_moves_smoothly(demo: DemoSource) -> None:
    sides, rolls = [], []
    for seq in MINUTE:
        truth, following = demo.truth(seq), demo.truth(seq + 1)
        if truth.box is None:
            continue
        x, y, width, height = truth.box
        assert x >= 0
        assert y >= 0
        assert x + width <= WIDTH
        assert y + height <= HEIGHT
        assert 90 <= width <= 200
        sides.append(width)
        rolls.append(truth.roll_deg)
        standing = seq % SCENE_FRAMES < 390
        if standing and following.box is not None:
            assert abs(following.box[0] - x) <= 10
            assert abs(following.roll_deg - truth.roll_deg) < 1.0
    assert max(sides) - min(sides) > 40
    assert max(rolls) > 5
    assert min(rolls) < -5
    assert max(map(abs, rolls)) <= LARGEST_ROLL


def test_haar_finds_the_face_where_the_truth_says_and_nothing_else(demo: DemoSource) -> None:
    finder = load_cascade()
    seen = found = 0
    for seq in range(0, 60 * FPS, 23):
        small = cv2.resize(demo.render(seq), (320, 240), interpolation=cv2.INTER_AREA)
        boxes = [tuple(int(v) * 2 for v in box) for box in finder.detectMultiScale(small, 1.2, 4, minSize=(24, 24))]
        truth = demo.truth(seq)
        if truth.box is None:
            continue
        seen += 1
        right = [box for box in boxes if overlap(truth.box, box) > 0.5]
        found += len(right) == 1
        assert len(boxes) == len(right), f"a false face in frame {seq}: {boxes}, the face is at {truth.box}"
    assert seen > 50
    assert found / seen > 0.97


def test_the_shipped_network_reads_every_expression_as_its_word(demo: DemoSource) -> None:
    network = ExpressionModel()
    read: dict[str, list[float]] = {}
    for seq in range(45, 4 * SCENE_FRAMES, 31):
        truth = demo.truth(seq)
        if truth.box is None or truth.expression is None or truth.mix < 1.0:
            continue
        crop = crop_face(demo.render(seq), Face(0, truth.box, truth.roll_deg), network.contract.side)
        reading = zip(network.contract.labels, network.read(crop), strict=True)
        word = WORD_OF[truth.expression]
        read.setdefault(truth.expression, []).append(sum(share for label, share in reading if WORD_OF[label] == word))
    assert set(read) == {*ALWAYS, *UPSET}
    for expression, shares in read.items():
        assert np.mean(shares) > 0.6, f"{expression}: {shares}"


@pytest.mark.parametrize("seed", range(100, 110))
def test_haar_sees_no_face_on_an_empty_wall(seed: int) -> None:
    wall = DemoSource(str(seed), live=False).render(SCENE_FRAMES - 40)
    assert len(load_cascade().detectMultiScale(wall, 1.2, 3, minSize=(48, 48))) == 0


def test_a_tilted_head_is_tilted_clockwise_when_the_truth_says_so(demo: DemoSource) -> None:
    """Turned back by the truth, the figure is upright: its coat's two shoulders are level again."""
    seq = max(range(396), key=lambda seq: demo.truth(seq).roll_deg)
    truth = demo.truth(seq)
    assert truth.box is not None
    x, y, side, _ = truth.box
    middle = (x + side / 2, y + side / 2)
    scores = {}
    for sign in (1, -1):
        matrix = cv2.getRotationMatrix2D(middle, sign * truth.roll_deg, 1.0)
        turned = cv2.warpAffine(demo.render(seq), matrix, (WIDTH, HEIGHT))
        face = turned[y : y + side, x : x + side].astype(int)
        scores[sign] = np.abs(face - face[:, ::-1]).mean()
    # Counter-clockwise by OpenCV's positive angle undoes a clockwise turn; a mean face is its own mirror image.
    assert scores[1] < 0.8 * scores[-1]


def test_frames_are_luma_with_position_as_time_when_not_live() -> None:
    source = open_source("demo:3", live=False)
    frames = list(islice(source.frames(), 4))
    source.close()
    assert source.announced is None
    assert not source.live
    assert [frame.seq for frame in frames] == [0, 1, 2, 3]
    assert [frame.t for frame in frames] == pytest.approx([0, 1 / 30, 2 / 30, 3 / 30])
    for frame in frames:
        assert frame.gray.shape == (480, 640)
        assert frame.gray.dtype == np.uint8
        assert frame.gray.flags.c_contiguous
        assert frame.t_arrived <= time.monotonic()


def test_live_frames_keep_to_the_clock_and_skip_what_is_late() -> None:
    source = DemoSource("0", live=True)
    started = time.monotonic()
    frames = source.frames()
    first = next(frames)
    time.sleep(0.21)  # a slow reader
    second = next(frames)
    source.close()
    assert first.seq == 0
    assert second.seq >= 6
    assert second.t == second.t_arrived
    assert second.t - started >= second.seq / FPS
    np.testing.assert_array_equal(second.gray, source.render(second.seq))


def test_close_from_another_thread_ends_a_live_run() -> None:
    source = DemoSource("", live=True)
    count = []
    reader = threading.Thread(target=lambda: count.append(sum(1 for _ in source.frames())))
    reader.start()
    source.close()
    source.close()
    reader.join(60)
    assert not reader.is_alive()
    assert list(source.frames()) == []


@pytest.mark.parametrize("argument", ["x", "-1", "1.5", "1234567890", "٣"])
def test_a_bad_seed_is_refused_with_the_valid_ones(argument: str) -> None:
    with pytest.raises(SettingsInvalid, match=r"no seed; valid are demo and demo:0") as caught:
        open_source(f"demo:{argument}", live=False)
    assert argument in str(caught.value)
