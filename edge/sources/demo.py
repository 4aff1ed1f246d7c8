"""A person who does not exist, in front of a wall that does not either: frames without any camera.

Every frame and the truth about it are pure functions of the seed and the frame's number.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from edge.errors import SettingsInvalid
from edge.types import Box, Frame, Gray

WIDTH, HEIGHT, FPS = 640, 480, 30

# One of them a scene. Not fear: faces in fear differ so much (hands, open mouths) that their average shows none. Not
# disgust: what FER2013 calls that, its raters call neutral or sad as often.
UPSET = ("angry", "sad")
ALWAYS = ("neutral", "happy", "surprise")
HOLD_FRAMES = 90  # three seconds of one pure expression
FADE_FRAMES = 12
WALK_FRAMES = 12  # to step into the picture, and out of it
EMPTY_FRAMES = 60
_STEP = HOLD_FRAMES + FADE_FRAMES
_PRESENT = (len(ALWAYS) + 1) * _STEP - FADE_FRAMES
SCENE_FRAMES = _PRESENT + WALK_FRAMES + EMPTY_FRAMES + WALK_FRAMES  # stay, leave, nobody, come: sixteen seconds

LEAST_FACE, LARGEST_FACE = 90.0, 200.0  # pixels, width of the box
LARGEST_ROLL = 12.0  # degrees: what a frontal finder still sees as upright

FACES = Path(__file__).with_name("demo_faces.npz")
_FACE_SIDE = 96
_FIGURE = (224, 208)  # height, width of the drawn figure that holds the face
_FACE_AT = (56, 52)  # of the face in it, x and y
_BOX_SIDE = 1.05  # of the face's width: what haarcascade_frontalface_default gives on it
_MIDDLE = np.array([_FACE_AT[0] + 0.495 * _FACE_SIDE, _FACE_AT[1] + 0.50 * _FACE_SIDE])  # of that box


@dataclass(frozen=True, slots=True)
class DemoTruth:
    """What one demo frame shows; `box` and `expression` are None while nobody is wholly in it.

    `roll_deg` is clockwise positive as seen. `mix` is the share of `expression` in a cross-fade, 0.5
    or more, 1.0 when pure; `steady_for` the seconds it has been pure on a person who does not walk,
    or for which nobody has been there at all.
    """

    box: Box | None
    roll_deg: float
    expression: str | None
    mix: float
    steady_for: float


@dataclass(frozen=True, slots=True)
class _Pose:
    x: float  # centre of the face, pixels
    y: float
    side: float  # width of the box, pixels
    roll_deg: float


class DemoSource:
    """A seeded person who changes expression every three seconds, 640x480 at 30 fps, without end.

    `argument` is the seed, 0 when empty. `live` plays it on time.monotonic() and skips what is late;
    otherwise frames come as fast as asked for, `t` being seq / 30. Raises SettingsInvalid.
    """

    announced: int | None = None
    upright = True  # whatever the camera's settings say: its person is drawn so

    def __init__(self, argument: str = "", *, live: bool = False) -> None:
        if argument and not (argument.isascii() and argument.isdecimal() and len(argument) <= 9):
            raise SettingsInvalid(f"--source demo:{argument}: no seed; valid are demo and demo:0 to demo:999999999")
        self.live = live
        self.seed = int(argument or 0)
        self._closing = threading.Event()
        rng = np.random.default_rng((self.seed, 0))
        self._wall = _draw_wall(rng)
        self._swing = rng.uniform(0, 2 * math.pi, 8)
        with np.load(FACES) as table:
            faces = dict(zip(table["classes"].tolist(), table["faces"], strict=True))
        hair = float(rng.uniform(35, 70))
        strands = rng.standard_normal(_FIGURE).astype(np.float32)
        self._figures = {name: _draw_figure(faces[name], hair, strands) for name in (*ALWAYS, *UPSET)}

    def frames(self) -> Iterator[Frame]:
        """Yield frames until closed; `seq` is always the number that truth() knows the frame by."""
        started = time.monotonic()
        seq = 0
        while not self._closing.is_set():
            if self.live:
                seq = max(seq, int((time.monotonic() - started) * FPS))
                if self._closing.wait(max(0.0, started + seq / FPS - time.monotonic())):
                    return
            gray = self.render(seq)
            now = time.monotonic()
            yield Frame(gray, now if self.live else seq / FPS, seq, now)
            seq += 1

    def close(self) -> None:
        """End frames(), also from another thread."""
        self._closing.set()

    def truth(self, seq: int) -> DemoTruth:
        """Return what frame `seq` shows."""
        pose = self._pose(seq)
        if pose is None:
            return DemoTruth(None, 0.0, None, 0.0, (seq % SCENE_FRAMES - _PRESENT - WALK_FRAMES) / FPS)
        x, y, side = round(pose.x - pose.side / 2), round(pose.y - pose.side / 2), round(pose.side)
        if x < 0 or y < 0 or x + side > WIDTH or y + side > HEIGHT:
            return DemoTruth(None, 0.0, None, 0.0, 0.0)
        before, after, share = self._mix(seq)
        name, mix = (after, share) if share > 0.5 else (before, 1.0 - share)
        frame = seq % SCENE_FRAMES
        steady = 0 if mix < 1.0 or frame >= SCENE_FRAMES - WALK_FRAMES else frame - min(frame // _STEP, 3) * _STEP
        return DemoTruth((x, y, side, side), pose.roll_deg, name, mix, steady / FPS)

    def render(self, seq: int) -> Gray:
        """Draw frame `seq`, uint8 (480, 640)."""
        gray = self._wall.copy()
        pose = self._pose(seq)
        if pose is None:
            return gray
        before, after, share = self._mix(seq)
        figure = self._figures[before]
        if share > 0:
            mixed = cv2.addWeighted(figure, 1 - share, self._figures[after], share, 0)
            figure = np.asarray(mixed, np.uint8)
        scale = pose.side / (_BOX_SIDE * _FACE_SIDE)
        cos, sin = scale * math.cos(math.radians(pose.roll_deg)), scale * math.sin(math.radians(pose.roll_deg))
        linear = np.array([[cos, -sin], [sin, cos]])
        offset = np.array([pose.x, pose.y]) - linear @ _MIDDLE
        tall, wide = _FIGURE
        corners = linear @ np.array([[0, wide, 0, wide], [0, 0, tall * 1.3, tall * 1.3]], float) + offset[:, None]
        left, top = np.clip(corners.min(1).astype(int), 0, (WIDTH, HEIGHT))
        right = int(np.clip(math.ceil(corners[0].max()), 0, WIDTH))
        if left >= right or top >= HEIGHT:
            return gray
        # Where the figure's own picture ends, its last row goes on: the coat down to the frame's edge.
        patch = cv2.warpAffine(
            figure,
            np.hstack([linear, (offset - (left, top))[:, None]]),
            (int(right - left), int(HEIGHT - top)),
            flags=cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_REPLICATE,
        )
        luma, seen_through = cv2.split(patch)
        area = gray[top:, left:right]
        cv2.multiply(area, seen_through, dst=area, scale=1 / 255)
        cv2.add(area, luma, dst=area)
        return gray

    def _mix(self, seq: int) -> tuple[str, str, float]:
        """Name the expressions before and after, and the share of the latter, 0 to below 1."""
        scene, frame = divmod(seq, SCENE_FRAMES)
        if frame >= SCENE_FRAMES - WALK_FRAMES:  # comes in with the next scene's first
            scene, frame = scene + 1, 0
        script = self._script(scene)
        step, within = divmod(min(frame, _PRESENT - 1), _STEP)
        share = max(0, within - HOLD_FRAMES + 1) / (FADE_FRAMES + 1)
        return script[step], script[min(step + 1, len(script) - 1)], share

    def _script(self, scene: int) -> list[str]:
        rng = np.random.default_rng((self.seed, 1, scene))
        names = [*ALWAYS, UPSET[(scene + self.seed) % len(UPSET)]]
        return [names[i] for i in rng.permutation(len(names))]

    def _pose(self, seq: int) -> _Pose | None:
        """Place the person, None while nobody is there."""
        scene, frame = divmod(seq, SCENE_FRAMES)
        t, swing = seq / FPS, self._swing
        near = 0.5 + 0.3 * math.sin(t * 0.53 + swing[0]) + 0.2 * math.sin(t * 0.29 + swing[1])
        side = LEAST_FACE + (LARGEST_FACE - LEAST_FACE) * near
        across = 0.6 * math.sin(t * 0.47 + swing[2]) + 0.4 * math.sin(t * 0.83 + swing[3])
        down = 0.6 * math.sin(t * 0.61 + swing[4]) + 0.4 * math.sin(t * 0.37 + swing[5])
        roll = LARGEST_ROLL * (0.6 * math.sin(t * 0.71 + swing[6]) + 0.4 * math.sin(t * 1.13 + swing[7]))
        x = WIDTH / 2 + across * (WIDTH / 2 - side * 0.8)
        y = HEIGHT * 0.47 + down * 0.6 * (HEIGHT * 0.47 - side * 0.8)
        away = 0.0
        if frame >= SCENE_FRAMES - WALK_FRAMES:
            away = (SCENE_FRAMES - frame) / (WALK_FRAMES + 1)
        elif frame >= _PRESENT + WALK_FRAMES:
            return None
        elif frame >= _PRESENT:
            away = (frame - _PRESENT + 1) / (WALK_FRAMES + 1)
        if away:
            edge = WIDTH + side * 1.2 if (scene + self.seed) % 2 else -side * 1.2
            x += (edge - x) * away * away * (3 - 2 * away)
        return _Pose(x, y, side, roll)


def _draw_wall(rng: np.random.Generator) -> Gray:
    """Draw what is behind the person, uint8 (480, 640): soft enough that no finder sees a face in it."""
    wall = np.full((HEIGHT, WIDTH), 120.0, np.float32)
    wall += np.linspace(rng.uniform(-25, 25), rng.uniform(-25, 25), WIDTH, dtype=np.float32)
    for _ in range(9):
        shape = np.zeros_like(wall)
        middle = (int(rng.integers(0, WIDTH)), int(rng.integers(0, HEIGHT)))
        axes = (int(rng.integers(30, 160)), int(rng.integers(30, 160)))
        cv2.ellipse(shape, middle, axes, float(rng.uniform(0, 180)), 0, 360, (float(rng.uniform(-38, 38)),), -1)
        wall += cv2.GaussianBlur(shape, (0, 0), float(rng.uniform(8, 20)))
    for sigma, depth in ((1.0, 5.0), (6.0, 40.0)):
        wall += cv2.GaussianBlur(rng.standard_normal(wall.shape).astype(np.float32), (0, 0), sigma) * depth
    return np.clip(wall, 20, 235).astype(np.uint8)


def _draw_figure(face: Gray, hair: float, strands: npt.NDArray[np.float32]) -> npt.NDArray[np.uint8]:
    """Draw head and shoulders around a face: uint8 (224, 208, 2), luma times opacity and 255 - opacity."""
    tall, wide = _FIGURE
    fine = 4  # drawn this much larger: shapes then have smooth edges

    def at(x: float, y: float) -> tuple[int, int]:
        return round((_FACE_AT[0] + x * _FACE_SIDE) * fine), round((_FACE_AT[1] + y * _FACE_SIDE) * fine)

    def span(x: float, y: float) -> tuple[int, int]:
        return round(x * _FACE_SIDE * fine), round(y * _FACE_SIDE * fine)

    skin = float(np.median(face[_FACE_SIDE // 2 : _FACE_SIDE * 3 // 4, _FACE_SIDE // 4 : _FACE_SIDE * 3 // 4]))
    luma = np.full((tall * fine, wide * fine), hair, np.float32)
    opaque = np.zeros_like(luma)
    is_hair = np.zeros_like(luma)
    for x, y, across, down in ((0.5, 0.46, 0.52, 0.66), (0.5, 0.8, 0.47, 0.5)):
        for plane, value in ((opaque, 255.0), (is_hair, 1.0)):
            cv2.ellipse(plane, at(x, y), span(across, down), 0, 0, 360, (value,), -1)
    coat = np.array([at(0.30, 1.18), at(0.70, 1.18), at(1.30, 1.36), at(1.46, 1.62), at(1.46, 2.5)])
    coat = np.vstack([coat, [at(-0.46, 2.5), at(-0.46, 1.62), at(-0.30, 1.36)]])
    for plane, value in ((opaque, 255.0), (luma, 75.0), (is_hair, 0.0)):
        cv2.fillPoly(plane, [coat], (value,))
    neck = np.array([at(0.27, 0.7), at(0.73, 0.7), at(0.72, 1.2), at(0.5, 1.38), at(0.28, 1.2)])
    for plane, value in ((opaque, 255.0), (luma, skin * 0.8), (is_hair, 0.0)):
        cv2.fillPoly(plane, [neck], (value,))
    cv2.ellipse(luma, at(0.5, 0.86), span(0.3, 0.22), 0, 0, 360, (skin * 0.55,), -1)  # the chin's shadow
    small = [cv2.resize(plane, (wide, tall), interpolation=cv2.INTER_AREA) for plane in (luma, is_hair, opaque)]
    luma, is_hair, opaque = (np.asarray(cv2.GaussianBlur(plane, (0, 0), 1.3), np.float32) for plane in small)
    luma = np.clip(luma + is_hair * cv2.GaussianBlur(strands, (0, 0), 1.0, sigmaY=12.0) * 60, 5, 250)

    y, x = (np.mgrid[:_FACE_SIDE, :_FACE_SIDE] + 0.5) / _FACE_SIDE
    radius = np.hypot((x - 0.5) / 0.46, (y - 0.51) / 0.51)
    oval = np.clip((1.0 - radius) / 0.16, 0, 1)
    oval = oval * oval * (3 - 2 * oval)
    left, top = _FACE_AT
    area = luma[top : top + _FACE_SIDE, left : left + _FACE_SIDE]
    area += (face - area) * oval
    opaque[:, :2] = opaque[:, -2:] = opaque[:2] = 0  # what lies outside repeats the outermost pixels
    figure: npt.NDArray[np.uint8] = np.stack([luma * opaque / 255, 255 - opaque], 2).astype(np.uint8)
    return figure
