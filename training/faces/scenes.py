"""Pictures without faces: what the verifier learns to turn down, random pieces of them and what the cascade falls for.

training/scenes.sh fetches some; which are held out hangs on a picture's name alone.
"""

from __future__ import annotations

import hashlib
import os
import re
import zlib
from collections.abc import Callable, Sequence
from concurrent.futures import BrokenExecutor, ProcessPoolExecutor
from dataclasses import dataclass
from functools import cache
from itertools import chain, islice
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from edge.errors import DataMissing, DataSplitEmpty, MemoryShort
from edge.system.quiet import quiet, tame_opencv
from edge.vision.finders.haar import HaarFinder
from edge.vision.views import Pyramid
from lab.progress import progress
from training.faces.views import PATCH_SHARE, PATCH_SIDE, SIDE

LONGEST = 400  # pixels: a camera's frame holds no more detail per face either
LEAST_SIDE = 100  # pixels of the picture as it is: smaller ones are icons
LEAST_CONTRAST = 8.0  # levels, standard deviation: flatter ones show nothing
HELD_OUT = 7  # one picture of so many
LEAST_MINED = 26.0  # pixels, side of the smallest proposal
MOST_MINED = 0.9  # of a picture's shorter side
MINED_STEP_DEG = 15  # between turns a picture may be searched at
MINED_TURNS = 4  # of them, for each picture
MINED_EACH = 12  # proposals at most for a picture's turn: one brick wall must not outweigh the rest
LEAST_PATCH = 24.0  # pixels of a picture that a random patch shows, at least
COARSEST = 4  # times a picture is halved at most before a patch is cut

_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp")
_MAPS = re.compile(r"_(nm|gm|sm|gl|norm|normal|bump|gloss|glow)(?![a-z])", re.IGNORECASE)  # what a renderer reads
_SIZE = re.compile(r"[-_]?\d{3,4}x\d{3,4}")

Images = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Scene:
    """A picture without faces; `name` is its path in the folder, without suffix and without what names its size."""

    name: str
    gray: Images  # (height, width)

    @property
    def held_out(self) -> bool:
        """Whether it is kept from the fit."""
        return zlib.crc32(self.name.encode()) % HELD_OUT == 0


def read_scenes(folder: Path, seed: int = 0) -> list[Scene]:
    """Read every picture in a folder and those in it, gray and at most LONGEST wide and tall, in the order of names.

    What is transparent shows a gray level drawn from `seed` and the name. Left out are links, what cannot be read, is
    tiny or flat, and normal, gloss and other maps of a renderer.
    Raises DataMissing, and DataSplitEmpty unless pictures remain both to fit on and held out.
    """
    if not folder.is_dir():
        raise DataMissing(f"{folder}: no such folder; training/scenes.sh FOLDER fetches pictures without faces")
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in _SUFFIXES and not path.is_symlink())
    tasks = [(folder, path, seed) for path in paths if not _MAPS.search(path.stem)]
    scenes = [scene for scene in _spread(_read_scene, tasks, "read scenes") if scene is not None]
    for held_out in (False, True):
        if not any(scene.held_out is held_out for scene in scenes):
            split = "held out" if held_out else "to fit on"
            raise DataSplitEmpty(
                f"{folder}: {len(paths)} pictures, {len(scenes)} usable, none {split}; "
                f"give hundreds without faces, {LEAST_SIDE} pixels and more: training/scenes.sh fetches some"
            )
    return scenes


def name_scene(path: Path, folder: Path) -> str:
    """Name a picture by its path in the folder; the same picture in other sizes has the same name."""
    return _SIZE.sub("", path.relative_to(folder).with_suffix("").as_posix())


def _read_scene(task: tuple[Path, Path, int]) -> Scene | None:
    folder, path, seed = task
    with quiet():  # libpng's remarks on colour profiles
        picture = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    if picture is None or min(picture.shape[:2]) < LEAST_SIDE:
        return None
    name = name_scene(path, folder)
    if picture.dtype == np.uint16:
        picture = (picture / 257).astype(np.uint8)
    if picture.ndim == 3:
        alpha = picture[..., 3:] / np.float32(255) if picture.shape[2] == 4 else None
        picture = cv2.cvtColor(picture[..., :3], cv2.COLOR_BGR2GRAY)
        if alpha is not None:
            level = _generator(seed, name).integers(0, 256)
            picture = picture * alpha[..., 0] + level * (1 - alpha[..., 0])
    gray = np.asarray(picture, np.uint8)
    zoom = LONGEST / max(gray.shape)
    if zoom < 1:
        gray = np.asarray(cv2.resize(gray, None, fx=zoom, fy=zoom, interpolation=cv2.INTER_AREA), np.uint8)
    return None if gray.std() < LEAST_CONTRAST or min(gray.shape) < LEAST_PATCH else Scene(name, gray)


def split_scenes(scenes: Sequence[Scene]) -> tuple[list[Scene], list[Scene]]:
    """Return the scenes to fit on, and those held out: one of HELD_OUT, by the crc32 of its name."""
    return [scene for scene in scenes if not scene.held_out], [scene for scene in scenes if scene.held_out]


def digest_scenes(scenes: Sequence[Scene]) -> str:
    """Return what these scenes, and no others, are known by: 16 hexadecimal digits."""
    digest = hashlib.sha256()
    for scene in scenes:
        digest.update(f"{scene.name} {scene.gray.shape}".encode())
        digest.update(scene.gray.tobytes())
    return digest.hexdigest()[:16]


def mine_false_alarms(scenes: Sequence[Scene], seed: int = 0) -> Images:
    """Cut out what the cascade takes for a face in scenes, searched at turns drawn from `seed` and their names.

    Returns uint8 (n, 64, 64), the proposal filling PATCH_SHARE in the middle. Raises RuntimeMissing.
    """
    found = _spread(_mine_scene, [(scene, seed) for scene in scenes], "mine false alarms")
    return np.concatenate([np.empty((0, PATCH_SIDE, PATCH_SIDE), np.uint8), *found])


@cache
def _finder() -> HaarFinder:
    return HaarFinder()  # one a process


def _mine_scene(task: tuple[Scene, int]) -> Images:
    scene, seed = task
    rng, finder, pyramid = _generator(seed, scene.name), _finder(), Pyramid(scene.gray)
    sides = (LEAST_MINED, MOST_MINED * min(pyramid.width, pyramid.height))
    patches = []
    for roll_deg in rng.choice(np.arange(0, 360, MINED_STEP_DEG), MINED_TURNS, replace=False):
        pieces = finder.slices(pyramid.width, pyramid.height, sides, (float(roll_deg),))
        order = rng.permutation(len(pieces))  # else the few that are kept would all be of the smallest size
        spots = chain.from_iterable(finder.scan(pyramid, pieces[i]) for i in order)
        patches += [pyramid.view(spot, PATCH_SIDE, PATCH_SHARE) for spot in islice(spots, MINED_EACH)]
    return np.array(patches, np.uint8).reshape(-1, PATCH_SIDE, PATCH_SIDE)


def draw_patches(scenes: Sequence[Scene], count: int, rng: np.random.Generator, side: int = SIDE) -> Images:
    """Cut random squares out of random scenes, at any turn and size, borders reflected; uint8 (count, side, side)."""
    patches = np.empty((count, side, side), np.uint8)
    for patch in patches:
        gray = scenes[int(rng.integers(len(scenes)))].gray
        height, width = gray.shape
        shown = np.exp(rng.uniform(np.log(LEAST_PATCH), np.log(max(LEAST_PATCH + 6, min(height, width)))))
        turn, zoom = rng.uniform(0, 2 * np.pi), side / shown
        cos, sin = zoom * np.cos(turn), zoom * np.sin(turn)
        linear = np.array([[cos, -sin], [sin, cos]])
        offset = side / 2 - linear @ (rng.uniform(0, width), rng.uniform(0, height))
        if zoom < 0.5:  # so that nothing is skipped
            times = min(COARSEST, int(1 / zoom))
            gray = np.asarray(
                cv2.resize(gray, None, fx=1 / times, fy=1 / times, interpolation=cv2.INTER_AREA), np.uint8
            )
            linear = linear * times
        matrix = np.hstack([linear, offset[:, None]])
        patch[:] = cv2.warpAffine(gray, matrix, (side, side), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)
    return patches


def _generator(seed: int, name: str) -> np.random.Generator:
    return np.random.default_rng((seed, zlib.crc32(name.encode())))


def _spread(work: Callable[[Any], Any], tasks: Sequence[Any], name: str) -> list[Any]:
    """Do each task on all cores, results in the tasks' order; raises MemoryShort where a process is killed."""
    workers = min(os.cpu_count() or 1, len(tasks) // 16)
    if workers < 2:
        return list(progress(map(work, tasks), name, len(tasks)))
    # Spawned, not forked: TensorFlow's threads may be there already.
    with ProcessPoolExecutor(workers, get_context("spawn"), tame_opencv) as pool:
        try:
            return list(progress(pool.map(work, tasks, chunksize=8), name, len(tasks)))
        except BrokenExecutor as error:
            raise MemoryShort(
                f"{name}: one of {workers} processes was killed, mostly for want of memory; "
                "end other programs and run the same command again"
            ) from error
