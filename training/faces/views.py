"""Random views that the verifier learns from: faces in scenes, faces off their place, what is none; drawn from a seed.

A view is what Pyramid.view gives of a spot: SIDE pixels wide and tall, SHARE of that the spot's own side.
"""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

SIDE = 32  # pixels of a view: a look costs a hundredth of a cascade's pass
SHARE = 0.8  # of a view's side that the face's fills: chin and hairline show where it ends
BOX = SIDE * SHARE  # pixels
# What a box fills on the device: there it is that much narrower than a face's picture here. Chosen on everyday faces
# (the cascade's boxes are known there), of which the expression network reads most at 1.05 to 1.1 of the cascade's box.
BOX_SHARE = 0.77
FACE_SIDE = 48  # pixels of a face picture: FER2013's own
PATCH_SIDE = 64  # pixels of a false alarm's picture
PATCH_SHARE = 1 / 1.8  # of it that the proposal fills: room to turn and to move it

UNITS = (45.0, 0.3, 0.3, 0.4)
"""What 1.0 of each pose target is: degrees clockwise, sides right, sides down, logarithm of the size."""

ROLL_DEG = 45.0  # most that a face is turned in a view: finders propose at steps within that
SHIFT = 0.28  # of a side, most that its middle is off: neighbouring windows of a finder lie within that
LOG_SIZE = 0.36  # of the logarithm, most that its size is off: a step of a finder's sizes, and half as much again
NARROW = 0.55  # of the views are nearly right already: second looks, and the next frame's first
NARROW_ROLL_DEG, NARROW_SHIFT, NARROW_LOG_SIZE = 14.0, 0.1, 0.14  # standard deviations there

REFLECTED = 0.6  # of the pictures have their border reflected, the others repeated: no seam to learn
# How much of a picture is seen in a scene: an oval, so that where it ends says nothing of the face's size.
OVAL = (0.36, 0.75)  # sides from its middle, along and across the face, times what stands below
OVAL_WIDE, OVAL_TALL = (0.8, 1.0), (0.9, 1.15)
OVAL_SHIFT = 0.06  # of a side, most that its middle is off the face's
OVAL_POWER = (2.0, 5.0)  # from an ellipse to nearly a rectangle
OVAL_EDGE = (0.05, 0.4)  # of its size, from hard to soft
WHOLE = 0.15  # of the faces are seen with all around them

TURNED_AWAY, ASIDE = 0.3, 0.6  # of the faces are seen from beside or above; of those, from beside
NARROWEST, LOWEST = 0.55, 0.7  # of the width then, or the height, that is left

SHOULDERED = 0.5  # of the faces have shoulders below them, of another picture
SHOULDERS_DOWN = (0.5, 0.75)  # sides below the face's middle, at the neck
SHOULDERS_FALL = (0.15, 0.6)  # sides by which they fall to a side away
SHOULDERS_WIDE = (0.7, 1.4)  # sides from the middle to an arm's outer edge

MISPLACED_SHIFT = (0.55, 1.0)  # sides: less is for the pose to mend, more shows no face any more
MISPLACED_LARGE = (2.0, 4.0)  # times the side: a piece of a face
MISPLACED_SMALL = (0.2, 0.45)  # times the side: a face that another size finds
MISPLACED_ROLL_DEG = (95.0, 265.0)  # on its side or head: read as upright, its expression would be wrong
MISPLACED_SHARES = (0.4, 0.2, 0.2, 0.2)  # beside the face, too near, too far, turned over
MISPLACED_SPREAD_DEG = 20.0  # standard deviation of the turn of the others

FALSE_ROLL_DEG, FALSE_SHIFT, FALSE_LOG_SIZE = 12.0, 0.08, 0.15  # standard deviations around a false alarm
FALSE_WHOLE = 0.7  # of the false alarms are seen with all around them; the others are cut out as faces are

SOFTENED = 0.3  # of the views, half of them blurred, half enlarged from few pixels
BLUR = (0.4, 1.4)  # pixels, standard deviation: motion and focus
COARSE = (14, 28)  # pixels: faces far away
LOG_CONTRAST = (-0.9, 0.35)  # FER2013 is well lit; dark rooms are not
SLOPE = 45.0  # levels from the middle to an edge, at most: light from one side
BRIGHTNESS = 35.0  # levels, standard deviation of the mean
MEAN_LEVEL = (20.0, 235.0)  # nothing is drawn wholly dark or burnt out
DIMMED = 0.5  # of the views have less light than that
LOG_LIGHT = (-2.1, 0.0)  # logarithm of how much less: down to an eighth
LOG_GAMMA = 0.4  # most of the logarithm of a camera's other tone curve
SHADED = 0.3  # of the views have a shadow across them
LOG_SHADE = (0.4, 2.1)  # logarithm of how much darker it is: up to eight times
SHADE_EDGE = (0.05, 0.6)  # of half the side, from hard to soft
BACKLIT = 0.15  # of the faces, and of what is none, stand in front of a window
BACK_LIGHT, FRONT_LIGHT, VEIL = (0.0, 0.5), (0.2, 0.8), (0.0, 70.0)  # darkness left, light left, levels of glare
NOISE_LEVELS, NOISE_SHARE = 1.2, 0.08  # most of a sensor's noise, standard deviation: levels, and of a pixel's level
CUT = 0.1  # of the views end at the frame's edge, which is repeated
CUT_AT = (0.02, 0.4)  # of a view's side
ERASED = 0.15  # of the views: a hand, a mask, a microphone
ERASED_SIDE = (0.15, 0.4)  # of a view's
POSTERISED = 0.08  # of the views: what strong compression leaves
POSTER_STEP = (0.15, 0.5)  # of a view's standard deviation

Images = npt.NDArray[np.uint8]
Real = npt.NDArray[np.float64]


def pose_matrix(
    side: int,
    roll_deg: float,
    size: float = 1.0,
    shift: Real | tuple[float, float] = (0.0, 0.0),
    mirror: float = 1.0,
    squeeze: Real | tuple[float, float] = (1.0, 1.0),
) -> Real:
    """Return the affine matrix, (2, 3), from a picture of `side` pixels to a view.

    The picture's side becomes `size` times BOX; its middle lies `shift` times BOX right and down of the view's, and it
    is turned by `roll_deg` clockwise as seen; `mirror` of -1 swaps its left and right before, and `squeeze` is how much
    of its width and height is left.
    """
    zoom = BOX * size / side
    cos, sin = zoom * np.cos(np.deg2rad(roll_deg)), zoom * np.sin(np.deg2rad(roll_deg))
    linear = np.array([[cos * mirror, -sin], [sin * mirror, cos]]) * np.asarray(squeeze)
    middle = (SIDE - 1) / 2 + np.asarray(shift) * BOX
    return np.hstack([linear, (middle - linear.sum(axis=1) * (side - 1) / 2)[:, None]])


def warp(picture: Images, matrix: Real, border: int, *, shrink: bool = False) -> Images:
    """Draw a picture into a view, uint8 (SIDE, SIDE), continued by OpenCV's `border`; `shrink` averages."""
    how = cv2.INTER_AREA if shrink else cv2.INTER_LINEAR
    return np.asarray(cv2.warpAffine(picture, matrix, (SIDE, SIDE), flags=how, borderMode=border), np.uint8)


def draw_squeezes(count: int, rng: np.random.Generator) -> Real:
    """Draw how much of each face's width and height is seen, float64 (n, 2): of those turned away, less of one."""
    squeezes = np.ones((count, 2))
    away, aside = rng.random(count) < TURNED_AWAY, rng.random(count) < ASIDE
    squeezes[away & aside, 0] = rng.uniform(NARROWEST, 1, int((away & aside).sum()))
    squeezes[away & ~aside, 1] = rng.uniform(LOWEST, 1, int((away & ~aside).sum()))
    return squeezes


def draw_ovals(
    roll_deg: Real, size: Real, shift: Real, rng: np.random.Generator, squeezes: Real | None = None
) -> npt.NDArray[np.float32]:
    """Draw how much of each picture, placed as in `pose_matrix`, is seen: float32 (n, SIDE, SIDE) of 0 to 1.

    `roll_deg` and `size` are (n,), `shift` and `squeezes` (n, 2).
    """
    each = (len(roll_deg), 1, 1)

    def draw(low: float, high: float) -> npt.NDArray[np.float32]:
        return rng.uniform(low, high, each).astype(np.float32)

    across, along = _axes(roll_deg, size, shift)
    reach = draw(*OVAL)
    wide, tall, power = reach * draw(*OVAL_WIDE), reach * draw(*OVAL_TALL), draw(*OVAL_POWER)
    if squeezes is not None:
        wide, tall = wide * squeezes[:, 0].reshape(each), tall * squeezes[:, 1].reshape(each)
    across = np.abs((across - draw(-OVAL_SHIFT, OVAL_SHIFT)) / wide)
    along = np.abs((along - draw(-OVAL_SHIFT, OVAL_SHIFT)) / tall)
    away = (across**power + along**power) ** (1 / power)
    ovals = np.clip((1 - away) / draw(*OVAL_EDGE) + 0.5, 0, 1)
    whole = rng.random(len(ovals)) < WHOLE
    ovals[whole if squeezes is None else whole & (squeezes.min(axis=1) == 1)] = 1
    return np.asarray(ovals, np.float32)


def dress(backgrounds: Images, roll_deg: Real, size: Real, shift: Real, rng: np.random.Generator) -> Images:
    """Draw shoulders below faces placed as in `pose_matrix` into half of the backgrounds, uint8 (n, SIDE, SIDE).

    They show another of the backgrounds: a box that slid off a face lies on cloth as often as on a wall.
    """
    across, along = _axes(roll_deg, size, shift)
    each = (len(roll_deg), 1, 1)
    top = rng.uniform(*SHOULDERS_DOWN, each) + rng.uniform(*SHOULDERS_FALL, each) * across**2
    shown = (along > top) & (np.abs(across) < rng.uniform(*SHOULDERS_WIDE, each))
    shown &= rng.random(each) < SHOULDERED
    return np.where(shown, np.roll(backgrounds, 1, axis=0)[:, ::-1], backgrounds)


def _axes(roll_deg: Real, size: Real, shift: Real) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Return how far each pixel of a view is across and along a face, in its sides: float32 (n, SIDE, SIDE) both."""
    each = (len(roll_deg), 1, 1)
    y, x = np.mgrid[0:SIDE, 0:SIDE] - (SIDE - 1) / 2
    right, down = (x - BOX * shift[:, 0].reshape(each)), (y - BOX * shift[:, 1].reshape(each))
    cos, sin = np.cos(np.deg2rad(roll_deg)).reshape(each), np.sin(np.deg2rad(roll_deg)).reshape(each)
    side = BOX * size.reshape(each)
    across, along = (cos * right + sin * down) / side, (cos * down - sin * right) / side
    return across.astype(np.float32), along.astype(np.float32)


def _draw_borders(count: int, rng: np.random.Generator) -> list[int]:
    reflected = rng.random(count) < REFLECTED
    return [cv2.BORDER_REFLECT_101 if one else cv2.BORDER_REPLICATE for one in reflected]


def _blend(views: Images, backgrounds: Images, shares: npt.NDArray[np.float32], rng: np.random.Generator) -> Images:
    """Show `shares` of the views before their backgrounds, some of them in front of a window."""
    front, back = views.astype(np.float32), backgrounds.astype(np.float32)
    lit = np.flatnonzero(rng.random(len(views)) < BACKLIT)
    each = (len(lit), 1, 1)
    veil = rng.uniform(*VEIL, each)
    front[lit] = np.minimum(front[lit] * rng.uniform(*FRONT_LIGHT, each) + veil, 255)
    back[lit] = 255 - (255 - back[lit]) * rng.uniform(*BACK_LIGHT, each)
    return (front * shares + back * (1 - shares)).astype(np.uint8)


def draw_faces(
    faces: Images, backgrounds: Images, rng: np.random.Generator, spread: float = 1.0
) -> tuple[Images, npt.NDArray[np.float32]]:
    """Draw one view of each face, uint8 (n, 48, 48), in its background, uint8 (n, SIDE, SIDE).

    Places and sizes lie within `spread` of SHIFT and LOG_SIZE.
    Returns views uint8 (n, SIDE, SIDE) and poses float32 (n, 4) in UNITS: where the face is from the view's spot.
    """
    count = len(faces)
    narrow = rng.random(count) < NARROW

    def draw(spread: float, most: float, *more: int) -> Real:
        chosen = narrow.reshape(count, *(1 for _ in more))
        shape = (count, *more)
        drawn = np.where(chosen, rng.normal(0, spread, shape), rng.uniform(-most, most, shape))
        return np.asarray(drawn.clip(-most, most), np.float64)

    roll_deg = draw(NARROW_ROLL_DEG, ROLL_DEG)
    log_size = draw(spread * NARROW_LOG_SIZE, spread * LOG_SIZE)
    shift = draw(spread * NARROW_SHIFT, spread * SHIFT, 2)
    mirror, borders, squeezes = rng.choice((-1.0, 1.0), count), _draw_borders(count, rng), draw_squeezes(count, rng)
    views = np.empty((count, SIDE, SIDE), np.uint8)
    for i in range(count):
        matrix = pose_matrix(FACE_SIDE, roll_deg[i], np.exp(log_size[i]), shift[i], mirror[i], squeezes[i])
        views[i] = warp(faces[i], matrix, borders[i])
    behind = dress(backgrounds, roll_deg, np.exp(log_size), shift, rng)
    views = _blend(views, behind, draw_ovals(roll_deg, np.exp(log_size), shift, rng, squeezes), rng)
    # Whoever is turned away counts as between as wide and as tall as is seen: a narrow face else got too large a box.
    poses = np.column_stack([roll_deg, shift, log_size + np.log(squeezes).mean(axis=1)]) / UNITS
    return views, poses.astype(np.float32)


def draw_misplaced(faces: Images, backgrounds: Images, rng: np.random.Generator, *, turned: bool = True) -> Images:
    """Draw one view of each face as above, but where none should be found: beside, too near, too far, or turned over.

    Without `turned` none of them is turned over.
    Returns uint8 (n, SIDE, SIDE).
    """
    count = len(faces)
    roll_deg = rng.normal(0, MISPLACED_SPREAD_DEG, count)
    size = np.exp(rng.uniform(-UNITS[3], UNITS[3], count))
    shift = np.zeros((count, 2))
    mirror, borders = rng.choice((-1.0, 1.0), count), _draw_borders(count, rng)
    views = np.empty((count, SIDE, SIDE), np.uint8)
    squeezes = draw_squeezes(count, rng)
    kinds = 4 if turned else 3
    shares = np.array(MISPLACED_SHARES[:kinds]) / sum(MISPLACED_SHARES[:kinds])
    for i, kind in enumerate(rng.choice(kinds, count, p=shares)):
        if kind == 0:
            where = rng.uniform(0, 2 * np.pi)
            shift[i] = rng.uniform(*MISPLACED_SHIFT) * np.array([np.cos(where), np.sin(where)])
        elif kind == 1:
            size[i] = np.exp(rng.uniform(*np.log(MISPLACED_LARGE)))
            shift[i] = rng.uniform(-0.5, 0.5, 2) * size[i]  # anywhere on the face
        elif kind == 2:
            size[i] = np.exp(rng.uniform(*np.log(MISPLACED_SMALL)))
            shift[i] = rng.uniform(-0.3, 0.3, 2)  # anywhere inside the view
        else:
            roll_deg[i] = rng.uniform(*MISPLACED_ROLL_DEG)
            shift[i] = rng.uniform(-0.2, 0.2, 2)
        views[i] = warp(
            faces[i], pose_matrix(FACE_SIDE, roll_deg[i], size[i], shift[i], mirror[i], squeezes[i]), borders[i]
        )
    behind = dress(backgrounds, roll_deg, size, shift, rng)
    return _blend(views, behind, draw_ovals(roll_deg, size, shift, rng, squeezes), rng)


def draw_false_alarms(patches: Images, backgrounds: Images, rng: np.random.Generator) -> Images:
    """Draw one view around each false alarm, uint8 (n, 64, 64) in whose middle the proposal fills PATCH_SHARE.

    `backgrounds` are uint8 (n, SIDE, SIDE); returns uint8 (n, SIDE, SIDE).
    """
    count = len(patches)
    roll_deg = rng.normal(0, FALSE_ROLL_DEG, count)
    size = np.exp(rng.normal(0, FALSE_LOG_SIZE, count))
    shift = rng.normal(0, FALSE_SHIFT, (count, 2))
    mirror, borders = rng.choice((-1.0, 1.0), count), _draw_borders(count, rng)
    views = np.empty((count, SIDE, SIDE), np.uint8)
    for i in range(count):
        whole = size[i] / PATCH_SHARE
        matrix = pose_matrix(PATCH_SIDE, roll_deg[i], whole, shift[i], mirror[i])
        views[i] = warp(patches[i], matrix, borders[i], shrink=BOX * whole / PATCH_SIDE < 0.6)
    shares = draw_ovals(roll_deg, size, shift, rng)
    shares[rng.random(count) < FALSE_WHOLE] = 1
    return _blend(views, backgrounds, shares, rng)


def light(views: Images, rng: np.random.Generator) -> npt.NDArray[np.float32]:
    """Give views, uint8 (n, side, side), another light, focus and noise; float32 of 0 to 255, same shape."""
    count, side = views.shape[:2]
    lit = views.astype(np.float32)
    for i in np.flatnonzero(rng.random(count) < SOFTENED):
        if rng.random() < 0.5:
            lit[i] = cv2.GaussianBlur(lit[i], (0, 0), rng.uniform(*BLUR))
        else:
            few = int(rng.integers(*COARSE))
            coarse = cv2.resize(lit[i], (few, few), interpolation=cv2.INTER_AREA)
            lit[i] = cv2.resize(coarse, (side, side), interpolation=cv2.INTER_LINEAR)
    each = (count, 1, 1)
    mean = lit.mean(axis=(1, 2), keepdims=True)
    lit = (lit - mean) * np.exp(rng.uniform(*LOG_CONTRAST, each)).astype(np.float32)
    y, x = np.mgrid[-1 : 1 : side * 1j, -1 : 1 : side * 1j].astype(np.float32)
    towards, slope = rng.uniform(0, 2 * np.pi, each), SLOPE * rng.uniform(0, 1, each) ** 2
    lit += (slope * (np.cos(towards) * x + np.sin(towards) * y)).astype(np.float32)
    lit += np.clip(mean + rng.normal(0, BRIGHTNESS, each), *MEAN_LEVEL).astype(np.float32)
    for i in np.flatnonzero(rng.random(count) < ERASED):
        tall, wide = (rng.uniform(*ERASED_SIDE, 2) * side).astype(int)
        top, left = rng.integers(0, side - tall), rng.integers(0, side - wide)
        lit[i, top : top + tall, left : left + wide] = rng.uniform(0, 255)
    np.clip(lit, 0, 255, out=lit)
    lit *= _draw_exposures(count, side, rng)
    gamma = np.exp(rng.uniform(-LOG_GAMMA, LOG_GAMMA, each)).astype(np.float32)
    lit = 255 * (lit / 255) ** gamma
    deviation = lit.std(axis=(1, 2), keepdims=True)
    loud = (rng.uniform(0, 1, each) ** 2).astype(np.float32) * (NOISE_LEVELS + NOISE_SHARE * lit)
    lit += rng.standard_normal(lit.shape, np.float32) * loud
    for i in np.flatnonzero(rng.random(count) < POSTERISED):
        step = max(1.0, rng.uniform(*POSTER_STEP) * float(deviation[i, 0, 0]))
        lit[i] = np.round((lit[i] + rng.uniform(-0.5, 0.5, (side, side)) * step) / step) * step
    for i in np.flatnonzero(rng.random(count) < CUT):
        turned = np.rot90(lit[i], int(rng.integers(4)))  # a view of the same pixels
        edge = int(rng.uniform(*CUT_AT) * side)
        turned[:edge] = turned[edge]
    return np.asarray(np.clip(lit, 0, 255), np.float32)


def _draw_exposures(count: int, side: int, rng: np.random.Generator) -> npt.NDArray[np.float32]:
    """Draw how much of the light reaches each pixel: float32 (count, side, side), above 0, up to 1."""
    each = (count, 1, 1)
    y, x = np.mgrid[-1 : 1 : side * 1j, -1 : 1 : side * 1j].astype(np.float32)
    towards = rng.uniform(0, 2 * np.pi, each)
    along = np.cos(towards) * x + np.sin(towards) * y + rng.uniform(-0.5, 0.5, each)
    least, most = np.log(SHADE_EDGE)
    edge = np.exp(rng.uniform(least, most, each))
    depth = rng.uniform(*LOG_SHADE, each) * (rng.random(each) < SHADED)
    light = rng.uniform(*LOG_LIGHT, each) * (rng.random(each) < DIMMED)
    return np.asarray(np.exp(light - depth / (1 + np.exp(-along / edge))), np.float32)
