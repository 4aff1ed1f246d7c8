"""The verifier's random views: what they say of a face is what the device would see of it."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from edge.vision.views import Pyramid, Spot
from training.faces import views as face_views
from training.faces.views import (
    BOX,
    FACE_SIDE,
    LOG_SIZE,
    LOWEST,
    NARROWEST,
    PATCH_SHARE,
    PATCH_SIDE,
    ROLL_DEG,
    SHARE,
    SHIFT,
    SIDE,
    TURNED_AWAY,
    UNITS,
    WHOLE,
    draw_faces,
    draw_false_alarms,
    draw_misplaced,
    draw_ovals,
    draw_squeezes,
    dress,
    light,
    pose_matrix,
    warp,
)

GRAY = 120
AT = (83.5, 71.5)  # of the canvas: where the picture's middle lies


def draw_picture() -> npt.NDArray[np.uint8]:
    """Draw a picture that is alike under no turn, no mirror and no shift, without fine detail."""
    picture = np.full((FACE_SIDE, FACE_SIDE), 90, np.uint8)
    cv2.rectangle(picture, (6, 6), (20, 18), 220, -1)
    cv2.circle(picture, (34, 14), 5, 30, -1)
    cv2.rectangle(picture, (10, 30), (40, 35), 180, -1)
    cv2.circle(picture, (12, 42), 4, 10, -1)
    return np.asarray(cv2.GaussianBlur(picture, (0, 0), 1.2), np.uint8)


def paste(picture: npt.NDArray[np.uint8]) -> Pyramid:
    canvas = np.full((150, 160), GRAY, np.uint8)
    top, left = (int(middle - (FACE_SIDE - 1) / 2) for middle in AT[::-1])
    canvas[top : top + FACE_SIDE, left : left + FACE_SIDE] = picture
    return Pyramid(canvas)


def spot_before(pose: npt.NDArray[np.floating]) -> Spot:
    """Return the spot from which the pasted face lies at `pose`, in UNITS."""
    turn_deg, right, down, log_size = (pose * UNITS).tolist()
    side = FACE_SIDE / np.exp(log_size)
    face = Spot(*AT, side, -turn_deg)
    return face.moved(-right, -down)


def differ(view: npt.NDArray[np.uint8], pose: npt.NDArray[np.floating], picture: npt.NDArray[np.uint8]) -> float:
    """Return the mean difference, in levels, of a view and of what the device sees at that pose, inside the face."""
    seen = paste(picture).view(spot_before(pose), SIDE, SHARE)
    y, x = np.mgrid[0:SIDE, 0:SIDE]
    _, right, down, log_size = pose * UNITS
    middle = (SIDE - 1) / 2 + np.array([right, down]) * BOX
    # Whatever oval was drawn leaves the middle of a face as it is.
    inside = np.hypot(x - middle[0], y - middle[1]) < 0.2 * BOX * np.exp(log_size)
    return float(np.abs(view.astype(int) - seen.astype(int))[inside].mean())


def test_the_canvas_lies_where_it_says() -> None:
    picture = draw_picture()
    seen = paste(picture).view(Spot(*AT, FACE_SIDE), FACE_SIDE)
    assert np.array_equal(seen, picture)


@pytest.mark.parametrize(
    "pose",
    [(0, 0, 0, 0), (20 / 45, 0, 0, 0), (-35 / 45, 0, 0, 0), (0, 0.5, -0.7, 0), (0, 0, 0, 0.6), (0.5, -0.6, 0.8, -0.5)],
)
def test_a_view_drawn_at_a_pose_is_what_the_device_sees_there(pose: tuple[float, ...]) -> None:
    picture, wanted = draw_picture(), np.array(pose)
    turn_deg, right, down, log_size = wanted * UNITS
    matrix = pose_matrix(FACE_SIDE, turn_deg, np.exp(log_size), (right, down))
    view = warp(picture, matrix, cv2.BORDER_REPLICATE)
    assert differ(view, wanted, picture) < 6
    for other in np.vstack([np.diag([20 / 45, 0.5, 0.5, 0.7]), np.diag([-20 / 45, -0.5, -0.5, -0.7])]):
        assert differ(view, wanted + other, picture) > 10


def test_the_eyes_of_a_face_turned_clockwise_lean_to_the_right() -> None:
    left_eye, right_eye = np.array([14.0, 18.0, 1.0]), np.array([33.0, 18.0, 1.0])
    matrix = pose_matrix(FACE_SIDE, 20.0)
    right, down = matrix @ right_eye - matrix @ left_eye
    assert np.rad2deg(np.arctan2(down, right)) == pytest.approx(20.0)  # y points down: clockwise as seen


def test_every_drawn_face_is_at_its_pose(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(face_views, "BACKLIT", 0.0)  # levels are compared
    monkeypatch.setattr(face_views, "TURNED_AWAY", 0.0)
    picture, count = draw_picture(), 40
    backgrounds = np.full((count, SIDE, SIDE), GRAY, np.uint8)
    views, poses = draw_faces(np.repeat(picture[None], count, axis=0), backgrounds, np.random.default_rng(3))
    most = np.array([ROLL_DEG, SHIFT, SHIFT, LOG_SIZE]) / UNITS
    assert (np.abs(poses) <= most + 1e-6).all()
    assert np.abs(poses).max(axis=0) == pytest.approx(most, rel=0.2)
    wrong = poses * (-1, 1, 1, 1)
    turned = np.abs(poses[:, 0]) > 0.3
    right, left = [], []
    for view, pose, other in zip(views, poses, wrong, strict=True):
        # Whether it was mirrored is unknown: one of both fits.
        right.append(min(differ(view, pose, picture), differ(view, pose, picture[:, ::-1])))
        left.append(min(differ(view, other, picture), differ(view, other, picture[:, ::-1])))
    assert max(right) < 12
    assert np.mean(right) < 6
    assert (np.array(left) > right)[turned].all()


def test_a_face_turned_away_is_narrower_or_lower_and_stays_in_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    matrix = pose_matrix(FACE_SIDE, 30.0, squeeze=(0.6, 1.0))
    assert np.hypot(*matrix[:, 0]) == pytest.approx(0.6 * np.hypot(*matrix[:, 1]))
    middle = np.full(2, (FACE_SIDE - 1) / 2)
    assert matrix @ [*middle, 1] == pytest.approx(np.full(2, (SIDE - 1) / 2))
    squeezes = draw_squeezes(4000, np.random.default_rng(0))
    assert (squeezes < 1).any(axis=1).mean() == pytest.approx(TURNED_AWAY, abs=0.03)
    assert not (squeezes < 1).all(axis=1).any()
    assert squeezes.min(axis=0) == pytest.approx((NARROWEST, LOWEST), abs=0.02)
    ovals = [
        draw_ovals(
            np.zeros(300), np.full(300, 0.6), np.zeros((300, 2)), np.random.default_rng(0), np.full((300, 2), by)
        )
        for by in ((1.0, 1.0), (0.6, 1.0))
    ]
    far = ovals[0][:, SIDE // 2, SIDE // 2 + 8].mean(), ovals[1][:, SIDE // 2, SIDE // 2 + 8].mean()
    assert far[1] < 0.5 * far[0]


def test_half_of_the_people_have_shoulders_below_the_face_and_nothing_on_it() -> None:
    count = 400
    backgrounds = np.repeat(np.arange(count)[:, None, None] % 250, SIDE, axis=1).repeat(SIDE, axis=2).astype(np.uint8)
    dressed = dress(backgrounds, np.zeros(count), np.full(count, 0.6), np.zeros((count, 2)), np.random.default_rng(0))
    changed = dressed != backgrounds
    assert changed.any(axis=(1, 2)).mean() == pytest.approx(0.5, abs=0.08)
    assert not changed[:, : round(SIDE / 2 + 0.5 * 0.6 * BOX)].any()
    assert changed[:, -1, SIDE // 2].sum() == changed.any(axis=(1, 2)).sum()


def test_a_misplaced_face_is_not_where_a_face_is_drawn() -> None:
    count = 60
    faces = np.full((count, FACE_SIDE, FACE_SIDE), 255, np.uint8)
    backgrounds = np.zeros((count, SIDE, SIDE), np.uint8)
    views = draw_misplaced(faces, backgrounds, np.random.default_rng(0))
    assert views.shape == (count, SIDE, SIDE)
    assert 0.1 < (views[:, SIDE // 2, SIDE // 2] < 128).mean() < 0.9  # beside the middle, or over all of it


def test_a_false_alarm_keeps_its_place_in_the_view() -> None:
    x = np.arange(PATCH_SIDE)
    patches = np.repeat(np.where(np.abs(x - 31.5) < PATCH_SIDE * PATCH_SHARE / 2, 250, 5)[None, None], 64, axis=0)
    patches = np.repeat(patches, PATCH_SIDE, axis=1).astype(np.uint8)
    views = draw_false_alarms(patches, np.zeros((64, SIDE, SIDE), np.uint8), np.random.default_rng(0))
    bright = (views > 128).mean(axis=(1, 2))
    assert np.median(bright) == pytest.approx(SHARE, abs=0.08)


def test_light_stays_between_black_and_white_and_keeps_what_is_seen() -> None:
    views = np.repeat(cv2.resize(draw_picture(), (SIDE, SIDE))[None], 200, axis=0)
    lit = light(views, np.random.default_rng(0))
    assert lit.dtype == np.float32
    assert lit.min() >= 0
    assert lit.max() <= 255
    likeness = [np.corrcoef(views[0].ravel(), view.ravel())[0, 1] for view in lit]
    assert np.median(likeness) > 0.8


def test_a_backlit_face_is_dim_in_front_of_a_bright_window(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(face_views, "BACKLIT", 1.0)
    faces = np.full((50, FACE_SIDE, FACE_SIDE), 200, np.uint8)
    views, _ = draw_faces(faces, np.full((50, SIDE, SIDE), 100, np.uint8), np.random.default_rng(0))
    middle, corner = views[:, SIDE // 2, SIDE // 2], views[:, 0, 0]
    covered = np.abs(middle.astype(int) - corner) > 20  # the others are seen with all around them
    assert covered.sum() > 25
    assert np.median(corner[covered]) > 177, "half of a background's darkness is left, at most"
    assert (middle[covered] < corner[covered]).mean() > 0.7


def test_less_light_and_shadows_leave_what_an_even_light_shows() -> None:
    from edge.vision.verifier import Evening

    view = cv2.resize(draw_picture(), (SIDE, SIDE)).astype(np.uint8)
    lit, even = light(np.repeat(view[None], 200, axis=0), np.random.default_rng(1)), Evening().apply
    assert np.quantile(lit.mean(axis=(1, 2)), 0.1) < 40, "some are dark"
    wanted = even(view).ravel()
    likeness = [np.corrcoef(wanted, even(np.round(one).astype(np.uint8)).ravel())[0, 1] for one in lit]
    assert np.median(likeness) > 0.7


def test_the_same_seed_draws_the_same_views_and_another_one_others() -> None:
    faces = np.repeat(draw_picture()[None], 8, axis=0)
    patches = np.random.default_rng(0).integers(0, 256, (8, PATCH_SIDE, PATCH_SIDE)).astype(np.uint8)
    behind = patches[:, :SIDE, :SIDE]

    def draw(seed: int) -> list[npt.NDArray[np.float32]]:
        rng = np.random.default_rng(seed)
        views, poses = draw_faces(faces, behind, rng)
        others = draw_misplaced(faces, behind, rng), draw_false_alarms(patches, behind, rng)
        return [views, poses, *others, light(views, rng)]

    assert all(np.array_equal(a, b) for a, b in zip(draw(1), draw(1), strict=True))
    assert not any(np.array_equal(a, b) for a, b in zip(draw(1), draw(2), strict=True))


def test_ovals_show_the_middle_of_a_face_wherever_it_is_and_most_hide_what_is_far_from_it() -> None:
    rng, count = np.random.default_rng(0), 400
    shift = rng.uniform(-0.2, 0.2, (count, 2))
    ovals = draw_ovals(rng.uniform(-180, 180, count), np.full(count, 0.5), shift, rng)
    assert ovals.dtype == np.float32
    assert 0 <= ovals.min() < ovals.max() <= 1
    middle = np.round((SIDE - 1) / 2 + shift * BOX).astype(int)
    assert (ovals[np.arange(count), middle[:, 1], middle[:, 0]] == 1).all()
    whole = (ovals == 1).all(axis=(1, 2))
    assert whole.mean() == pytest.approx(WHOLE, abs=0.05)
    assert not ovals[~whole][:, [0, 0, -1, -1], [0, -1, 0, -1]].any()


def test_an_oval_is_taller_than_wide_and_turned_with_its_face() -> None:
    count = 300
    y, x = np.mgrid[0:SIDE, 0:SIDE] - (SIDE - 1) / 2
    for roll_deg in (0.0, 90.0):
        placed = np.full(count, roll_deg), np.full(count, 0.6), np.zeros((count, 2))
        ovals = draw_ovals(*placed, np.random.default_rng(0))
        ovals = ovals[~(ovals == 1).all(axis=(1, 2))]
        wide, tall = (float((ovals * axis**2).sum() / ovals.sum()) for axis in (x, y))
        assert (tall > 1.1 * wide) if roll_deg == 0 else (wide > 1.1 * tall)
