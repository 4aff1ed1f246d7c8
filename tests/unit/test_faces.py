"""The face finder on the demo person, whose box and roll are known, and on what is no face."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from edge.settings import FaceSettings
from edge.sources.demo import DemoSource
from edge.sources.file import load_picture
from edge.stills.finder import StillFinder
from edge.types import Box, Face, Gray
from edge.vision.faces import CHECK_EVERY, LINGER, FaceFinder, crop_face
from edge.vision.finders.haar import load_cascade
from edge.vision.finders.net import TILE_COST
from edge.vision.verifier import Look
from edge.vision.views import Spot

FPS = 30


@pytest.fixture(scope="module")
def person() -> DemoSource:
    return DemoSource("1", live=False)


def overlap(a: Box, b: Box) -> float:
    wide = max(0, min(a[0] + a[2], b[0] + b[2]) - max(a[0], b[0]))
    tall = max(0, min(a[1] + a[3], b[1] + b[3]) - max(a[1], b[1]))
    return wide * tall / (a[2] * a[3] + b[2] * b[3] - wide * tall)


def turned(gray: Gray, degrees: float, box: Box) -> Gray:
    """Turn a frame clockwise, as seen, about the middle of `box`."""
    centre = (box[0] + box[2] / 2, box[1] + box[3] / 2)
    matrix = cv2.getRotationMatrix2D(centre, -degrees, 1.0)
    return cv2.warpAffine(gray, matrix, gray.shape[::-1], borderMode=cv2.BORDER_REPLICATE).astype(np.uint8)


def test_the_demo_person_is_found_where_and_as_tilted_as_she_is(person: DemoSource) -> None:
    finder = FaceFinder(FaceSettings())
    found, overlaps, errors_deg, ids = [], [], [], set()
    for seq in range(0, 600, 2):
        truth = person.truth(seq)
        faces = finder.find(person.render(seq), seq / FPS)
        if truth.box is None or truth.expression is None or truth.steady_for < 0.5:
            continue
        found.append(bool(faces))
        if faces:
            overlaps.append(overlap(faces[0].box, truth.box))
            errors_deg.append(abs(faces[0].roll_deg - truth.roll_deg))
            ids.add(faces[0].id)
    assert len(found) > 100
    assert np.mean(found) > 0.97
    assert np.median(overlaps) > 0.7
    assert np.percentile(errors_deg, 90) < 10


def test_nobody_is_found_where_nobody_is(person: DemoSource) -> None:
    finder = FaceFinder(FaceSettings())
    empty = [seq for seq in range(3000) if person.truth(seq).box is None and person.truth(seq).steady_for > 0]
    assert len(empty) > 100
    assert sum(bool(finder.find(person.render(seq), seq / FPS)) for seq in empty) == 0


def test_a_tracked_face_is_followed_through_a_tilt_that_a_cascade_alone_loses(person: DemoSource) -> None:
    seq = steady(person)
    gray, box, roll = person.render(seq), person.truth(seq).box, person.truth(seq).roll_deg
    assert box is not None
    finder, plain = FaceFinder(FaceSettings()), load_cascade()
    rolls = [0.0] * 10 + [float(degrees) for degrees in range(46)] + [45.0] * 5
    faces: list[Face] = []
    seen = 0
    for number, degrees in enumerate(rolls):
        faces = finder.find(turned(gray, degrees, box), number / FPS)
        seen += bool(faces)
    assert seen > 0.9 * len(rolls)
    assert faces[0].roll_deg == pytest.approx(45 + roll, abs=12)
    assert len(plain.detectMultiScale(turned(gray, 45.0, box), 1.1, 5, minSize=(60, 60))) == 0


def steady(person: DemoSource) -> int:
    return next(seq for seq in range(600) if person.truth(seq).steady_for > 1.5 and person.truth(seq).expression)


def test_a_clear_face_counts_at_once_and_a_doubtful_one_after_some_frames(person: DemoSource) -> None:
    clear = person.render(steady(person))
    assert len(FaceFinder(FaceSettings()).find(clear, 0.0)) == 1
    careful = FaceFinder(FaceSettings(confirm=60.0))
    counts = [len(careful.find(clear, number / FPS)) for number in range(30)]
    assert counts[:3] == [0, 0, 0]
    assert counts[-1] == 1
    assert counts == sorted(counts)


def test_a_face_that_comes_back_looking_the_same_keeps_its_id_and_after_long_gets_a_new_one(person: DemoSource) -> None:
    here, gone = person.render(steady(person)), np.full((480, 640), 90, np.uint8)
    settings = FaceSettings()
    finder = FaceFinder(settings)
    first = finder.find(here, 0.0)[0].id
    assert finder.find(gone, 0.06) == []
    assert finder.find(here, 0.20)[0].id == first, "a blink"
    t = 0.3

    def until_found(frame: Gray) -> int:
        nonlocal t
        for _ in range(300):
            t += 1 / FPS
            if faces := finder.find(frame, t):
                return faces[0].id
        raise AssertionError("not found again")

    for _ in range(60):
        t += 1 / FPS
        assert finder.find(gone, t) == []
    moved = np.roll(here, -120, axis=1)
    assert until_found(moved) == first, "left for two seconds and came back elsewhere"
    finder.find(gone, t + 0.1)
    t += settings.remember + 1
    finder.find(gone, t)
    assert until_found(here) != first


@pytest.mark.parametrize("frames", [45, 60, 90, 120, 150])
def test_two_faces_that_cross_keep_their_ids(person: DemoSource, frames: int) -> None:
    """Two copies of her, one lit from the left and one from the right, walk through each other."""
    truth, gray = person.truth(steady(person)), person.render(steady(person))
    assert truth.box is not None
    x, y, side, _ = truth.box
    head = cv2.resize(gray[y - side // 4 : y + side + side // 4, x - side // 4 : x + side + side // 4], (150, 150))
    light = np.linspace(0.55, 1.15, 150)
    wall = np.full((480, 640), 120, np.uint8)
    finder = FaceFinder(FaceSettings())
    before: dict[int, float] = {}
    faces: list[Face] = []
    for number in range(frames):
        frame, step = wall.copy(), number / (frames - 1)
        for left, shade, top in ((40 + 400 * step, light[::-1], 120), (440 - 400 * step, light, 150)):
            at = round(left)
            frame[top : top + 150, at : at + 150] = np.clip(head * shade, 0, 255).astype(np.uint8)
        faces = finder.find(frame, number / FPS)
        if number == 10:
            before = {face.id: face.box[0] for face in faces}
    assert len(before) == 2
    after = {face.id: face.box[0] for face in faces}
    assert after.keys() == before.keys()
    right_first = max(before, key=before.__getitem__)
    assert after[right_first] == min(after.values()), "who came from the right is on the left now"


@pytest.mark.parametrize("zoom", [2.0, 0.5])
def test_a_box_that_swelled_or_shrank_is_back_on_its_face_soon_and_not_read_before(
    person: DemoSource, zoom: float
) -> None:
    gray, box = person.render(steady(person)), person.truth(steady(person)).box
    assert box is not None
    finder = FaceFinder(FaceSettings())
    number = finder.find(gray, 0.0)[0].id
    finder._tracks[0].spot = finder._tracks[0].spot.moved(0.3, 0.0, zoom)
    films = [finder.find(gray, frame / FPS) for frame in range(1, 50)]
    wrong = [face for faces in films for face in faces if not 0.7 < face.box[2] / box[2] < 1.4]
    assert not any(face.readable for face in wrong)
    (face,) = films[-1]
    assert face.id == number
    assert overlap(face.box, box) > 0.6
    assert face.readable


def test_a_box_that_slid_onto_the_wall_ends_and_its_face_is_found_again(person: DemoSource) -> None:
    gray, box = person.render(steady(person)), person.truth(steady(person)).box
    assert box is not None
    finder = FaceFinder(FaceSettings())
    number = finder.find(gray, 0.0)[0].id
    track = finder._tracks[0]
    track.spot = Spot(box[2] / 2, box[2] / 2, box[2] * 0.6)
    track.evidence = 300.0
    films = [finder.find(gray, frame / FPS) for frame in range(1, 60)]
    assert all(overlap(face.box, box) > 0.5 for faces in films for face in faces if face.readable)
    (face,) = films[-1]
    assert face.id == number, "the same person"


def test_a_head_that_turns_back_is_found_at_once_whatever_the_search_for_new_faces_owes(person: DemoSource) -> None:
    here, gone = person.render(steady(person)), np.full((480, 640), 90, np.uint8)
    box = person.truth(steady(person)).box
    assert box is not None
    finder = FaceFinder(FaceSettings())
    number = finder.find(here, 0.0)[0].id
    for frame in range(1, 20):
        finder._search.credit = -1e6
        assert finder.find(gone, frame / FPS) == []
    moved = np.roll(here, -box[2], axis=1)
    films = []
    for frame in range(20, 24):
        finder._search.credit = -1e6
        films.append([face.id for face in finder.find(moved, frame / FPS)])
    assert films[-1] == [number]


def test_a_face_that_no_look_finds_stays_unread_for_a_moment_where_the_picture_stays(
    person: DemoSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As of a head that turns away: who is there is still there, but it is no face."""
    here, gone = person.render(steady(person)), np.full((480, 640), 90, np.uint8)
    finder = FaceFinder(FaceSettings())
    (first,) = finder.find(here, 0.0)
    monkeypatch.setattr(finder._verifier, "look", lambda _, spot: Look(spot, -5.0))
    films = [finder.find(here, frame / FPS) for frame in range(1, 40)]
    assert [len(faces) for faces in films] == [1] * round(LINGER * FPS) + [0] * (39 - round(LINGER * FPS))
    stayed = [face for faces in films for face in faces]
    assert all(face.id == first.id and overlap(face.box, first.box) > 0.9 and not face.readable for face in stayed)
    monkeypatch.undo()
    assert finder.find(here, 1.4)[0].readable
    monkeypatch.setattr(finder._verifier, "look", lambda _, spot: Look(spot, -5.0))
    assert finder.find(gone, 1.45) == [], "the picture there is another"


def test_a_box_is_not_moved_onto_what_is_no_surer_a_face_than_clutter(
    person: DemoSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    gray = person.render(steady(person))
    finder = FaceFinder(FaceSettings())
    finder.find(gray, 0.0)
    track = finder._tracks[0]
    wall = Spot(track.spot.side / 2, track.spot.side / 2, track.spot.side)
    monkeypatch.setattr("edge.vision.faces.stands", lambda *_: False)
    monkeypatch.setattr("edge.vision.faces.find_inside", lambda *_: (Look(wall, 1.0), 2))
    before = track.spot
    finder.find(gray, CHECK_EVERY)
    assert track.doubts == 1
    assert np.hypot(track.spot.cx - before.cx, track.spot.cy - before.cy) < 0.1 * before.side


@pytest.mark.parametrize("light", [0.5, 0.25])
def test_a_face_in_little_light_is_found_and_said_to_be_poor(person: DemoSource, light: float) -> None:
    noise = np.random.default_rng(0).normal(0, 1.5, (480, 640))
    dark = np.clip(np.round(person.render(steady(person)) * light + noise), 0, 255).astype(np.uint8)
    finder, box = FaceFinder(FaceSettings()), person.truth(steady(person)).box
    (face,) = [finder.find(dark, number / FPS) for number in range(30)][-1]
    assert box is not None
    assert overlap(face.box, box) > 0.6
    assert (face.quality.light < 1.0) == (light < 0.4)


@pytest.mark.parametrize("share", [1.1, 0.9])
def test_a_face_that_fills_the_picture_or_is_cut_by_its_edge_is_found(person: DemoSource, share: float) -> None:
    gray, box = person.render(steady(person)), person.truth(steady(person)).box
    assert box is not None
    x, y, side, _ = box
    tall = round(side / share)
    top, left = y + side // 2 - tall // 2, x + side // 2 - tall // 2 - (0 if share > 1 else side // 3)
    near = cv2.resize(gray[top : top + tall, left : left + tall * 4 // 3], (320, 240)).astype(np.uint8)
    finder = FaceFinder(FaceSettings())
    assert [finder.find(near, number / FPS) for number in range(30)][-1]


def test_two_faces_are_two(person: DemoSource) -> None:
    seq = steady(person)
    small = cv2.resize(person.render(seq), (320, 240), interpolation=cv2.INTER_AREA)
    frame = np.hstack([small, small]).astype(np.uint8)
    frame = np.vstack([frame, np.full((240, 640), 90, np.uint8)])
    finder = FaceFinder(FaceSettings())
    faces = [finder.find(frame, number / FPS) for number in range(3)][-1]
    assert len({face.id for face in faces}) == 2
    assert [face.distance_m for face in faces] == sorted(face.distance_m for face in faces)


def test_a_nearer_camera_and_a_wider_lens_change_the_distance_as_optics_has_it(person: DemoSource) -> None:
    seq = steady(person)
    whole = person.render(seq)
    half = cv2.copyMakeBorder(cv2.resize(whole, (320, 240), interpolation=cv2.INTER_AREA), 120, 120, 160, 160, 1)

    def distance_m(frame: Gray, fov_deg: float) -> float:
        return FaceFinder(FaceSettings(fov_deg=fov_deg)).find(frame.astype(np.uint8), 0.0)[0].distance_m

    near_m = distance_m(whole, 62.2)
    assert distance_m(half, 62.2) == pytest.approx(2 * near_m, rel=0.15)
    assert distance_m(whole, 90.0) == pytest.approx(near_m * np.tan(np.deg2rad(31.1)), rel=0.02)
    truth = person.truth(seq)
    assert truth.box is not None
    expected_m = 2.62 * 0.0634 * 320 / np.tan(np.deg2rad(31.1)) / truth.box[2]
    assert near_m == pytest.approx(expected_m, rel=0.15)


def test_a_frame_costs_no_more_than_its_budget_and_what_waits_is_reported(person: DemoSource) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (480, 640), dtype=np.uint8)
    settings = FaceSettings(budget=1500, burst=24_000)  # no slice costs more than a burst
    finder, windows, behind = FaceFinder(settings), [], []
    for number in range(200):
        finder.find(noise, number / FPS)
        windows.append(finder.work.windows)
        behind.append(finder.work.behind)
    assert max(windows) <= settings.burst + settings.budget
    pieces = finder._search.pieces
    once = sum(piece.cost for piece in pieces if piece.roll_deg == 0.0)  # lent to the first frames, and no more
    assert sum(windows) <= settings.burst + 200 * settings.budget + once
    assert sum(windows[60:]) <= settings.burst + 140 * settings.budget, "the first scan is through by then"
    assert behind[0] == pytest.approx(1.0), "as if a moment ago"
    assert 0 < behind[-1] < 10


def test_the_scan_leans_as_the_faces_do(person: DemoSource) -> None:
    seq = steady(person)
    box = person.truth(seq).box
    assert box is not None
    scanned: dict[float, int] = {}
    finder = FaceFinder(FaceSettings(burst=2000))
    tilted = turned(person.render(seq), 30.0 - person.truth(seq).roll_deg, box)
    for number in range(300):
        before = finder._search.scanned.copy()
        finder.find(tilted, number / FPS)
        if number >= 100:
            for piece, old, new in zip(finder._search.pieces, before, finder._search.scanned, strict=True):
                if piece.cost == TILE_COST:  # the network's, which are searched at every turn at once
                    continue
                scanned[piece.roll_deg] = scanned.get(piece.roll_deg, 0) + (old != new)
    assert finder._level_deg == pytest.approx(30.0, abs=6)
    assert scanned[30.0] == max(scanned.values())


def test_a_larger_face_printed_on_somebodys_chest_is_not_taken(person: DemoSource) -> None:
    truth, gray = person.truth(steady(person)), person.render(steady(person))
    assert truth.box is not None
    x, y, side, _ = truth.box
    head = gray[y - side // 8 : y + side + side // 8, x - side // 8 : x + side + side // 8]

    def found(print_at: tuple[int, int]) -> int:
        frame, finder = np.full((480, 640), 120, np.uint8), FaceFinder(FaceSettings())
        for size, (left, top) in ((120, (100, 20)), (220, print_at)):
            frame[top : top + size, left : left + size] = cv2.resize(head, (size, size))
        return len([finder.find(frame, number / FPS) for number in range(20)][-1])

    assert found((60, 200)) == 1, "below the head"
    assert found((380, 200)) == 2, "beside it: somebody else"


def test_a_clock_that_goes_back_begins_again(person: DemoSource) -> None:
    empty, seq = np.full((480, 640), 90, np.uint8), steady(person)
    finder = FaceFinder(FaceSettings())
    finder.find(empty, 100.0)
    assert len(finder.find(person.render(seq), 1.0)) == 1, "the first frame's burst again"
    assert len(finder.find(person.render(seq), 1.03)) == 1


@pytest.mark.parametrize(("width", "height"), [(640, 480), (320, 240), (1280, 720), (64, 48), (480, 640)])
def test_any_frame_size_will_do(width: int, height: int) -> None:
    finder = FaceFinder(FaceSettings())
    noise = np.random.default_rng(0).integers(0, 256, (height, width), dtype=np.uint8)
    for number in range(3):
        assert finder.find(noise, number / FPS) == []


def test_a_change_of_frame_size_in_a_run_is_survived(person: DemoSource) -> None:
    finder = FaceFinder(FaceSettings())
    found = []
    for number, seq in enumerate(range(100, 160)):
        frame = person.render(seq)
        faces = finder.find(frame if number % 20 < 10 else frame[:64, :64].copy(), number / FPS)
        found.append(bool(faces))
    assert any(found[:10])
    assert any(found[40:50]), "found again after two changes"
    assert not any(found[12:20] + found[32:40]), "nobody is in the small corner"


def test_a_crop_is_upright_and_filled_by_the_box() -> None:
    gray = np.full((300, 400), 40, np.uint8)
    cv2.rectangle(gray, (150, 100), (249, 149), 220, -1)  # bright upper half of the box
    upright = Face(1, (150, 100, 100, 100), 0.0)
    crop = crop_face(gray, upright, 48)
    assert crop.shape == (48, 48)
    assert crop[:22].min() > 200
    assert crop[26:].max() < 60
    tilted = crop_face(turned(gray, 30.0, upright.box), Face(1, upright.box, 30.0), 48)
    assert np.abs(tilted.astype(int) - crop).mean() < 8


def test_a_blurred_face_is_of_less_quality(person: DemoSource) -> None:
    seq = steady(person)
    sharp = person.render(seq)
    blurred = cv2.GaussianBlur(sharp, (0, 0), 6).astype(np.uint8)
    qualities = []
    for frame in (sharp, blurred):
        finder = FaceFinder(FaceSettings())
        finder.find(frame, 0.0)
        qualities.append(max((face.quality.whole for face in finder.find(frame, 0.03)), default=0.0))
    assert qualities[1] < 0.6 * qualities[0]


@pytest.mark.shared
@pytest.mark.slow
def test_real_faces_are_found_and_textures_are_not(shared: Path) -> None:
    def share(clip: str) -> float:
        video, finder, found, count = cv2.VideoCapture(str(shared / "clips" / clip)), FaceFinder(FaceSettings()), 0, 0
        fps = video.get(cv2.CAP_PROP_FPS)
        while (got := video.read())[0]:
            found += bool(finder.find(cv2.cvtColor(got[1], cv2.COLOR_BGR2GRAY).astype(np.uint8), count / fps))
            count += 1
        video.release()
        return found / count

    assert share("WolfgangLanger_Pexels.mp4") >= 0.95
    assert share("asl_gestures_again.mkv") >= 0.95
    assert share("head-pose-face-detection-female-and-male.mp4") >= 0.85
    for nobody in ("bottle-detection.mp4", "car-detection.mp4"):
        assert share(nobody) <= 1 / 500
    pictures = sorted((shared / "no_face" / "images").iterdir())
    finder = StillFinder(FaceSettings())
    assert sum(bool(finder.find(load_picture(path))) for path in pictures) <= 0.02 * len(pictures)
