"""Pictures without faces: what is read, what is held out, what is cut out of them."""

from __future__ import annotations

import os
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from edge.errors import DataMissing, DataSplitEmpty, MemoryShort
from edge.sources.demo import FACES
from training.faces.scenes import (
    LONGEST,
    Scene,
    _spread,
    digest_scenes,
    draw_patches,
    mine_false_alarms,
    name_scene,
    read_scenes,
    split_scenes,
)
from training.faces.views import PATCH_SIDE, SIDE


def draw_noise(height: int, width: int, seed: int) -> npt.NDArray[np.uint8]:
    noise = np.random.default_rng(seed).integers(0, 256, (height // 8 + 1, width // 8 + 1)).astype(np.uint8)
    return np.asarray(cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC), np.uint8)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Twenty usable pictures, and one of each kind that is left out."""
    (tmp_path / "walls").mkdir()
    for number in range(20):
        cv2.imwrite(str(tmp_path / "walls" / f"{number}.png"), draw_noise(120, 160, number))
    cv2.imwrite(str(tmp_path / "brick_nm.png"), draw_noise(120, 160, 1))
    cv2.imwrite(str(tmp_path / "brick_GLOSS.jpg"), draw_noise(120, 160, 1))
    cv2.imwrite(str(tmp_path / "icon.png"), draw_noise(64, 64, 1))
    cv2.imwrite(str(tmp_path / "sky.png"), np.full((200, 200), 130, np.uint8))
    (tmp_path / "broken.jpg").write_bytes(b"\xff\xd8\xff no picture")
    (tmp_path / "link.png").symlink_to(tmp_path / "walls" / "0.png")
    (tmp_path / "notes.txt").write_text("no picture")
    return tmp_path


def test_pictures_are_read_by_name_and_what_shows_nothing_is_left_out(folder: Path) -> None:
    scenes = read_scenes(folder)
    assert [scene.name for scene in scenes] == sorted(f"walls/{number}" for number in range(20))
    assert all(scene.gray.shape == (120, 160) for scene in scenes)


def test_a_large_picture_of_16_bits_in_colour_becomes_small_and_gray(folder: Path) -> None:
    large = np.repeat(draw_noise(600, 1000, 3)[..., None].astype(np.uint16) * 257, 3, axis=2)
    cv2.imwrite(str(folder / "large.png"), large)
    scene = next(scene for scene in read_scenes(folder) if scene.name == "large")
    assert scene.gray.dtype == np.uint8
    assert scene.gray.shape == (LONGEST * 600 // 1000, LONGEST)
    wanted = cv2.resize(draw_noise(600, 1000, 3), (400, 240), interpolation=cv2.INTER_AREA)
    assert np.abs(scene.gray.astype(int) - wanted).max() <= 2


def test_what_is_transparent_shows_one_level_that_hangs_on_the_seed(folder: Path) -> None:
    stamp = np.dstack([draw_noise(120, 160, 3)] * 3 + [np.zeros((120, 160), np.uint8)])
    stamp[:60, :, 3] = 255
    cv2.imwrite(str(folder / "stamp.png"), stamp)

    def read(seed: int) -> npt.NDArray[np.uint8]:
        return next(scene.gray for scene in read_scenes(folder, seed) if scene.name == "stamp")

    assert np.ptp(read(0)[60:]) == 0
    assert np.array_equal(read(0), read(0))
    assert len({int(read(seed)[100, 0]) for seed in range(4)}) > 1
    assert np.array_equal(read(0)[:60], read(1)[:60])


def test_a_split_hangs_on_names_alone(folder: Path) -> None:
    scenes = read_scenes(folder)
    fitted, held_out = split_scenes(scenes)
    assert {scene.name for scene in fitted} | {scene.name for scene in held_out} == {scene.name for scene in scenes}
    assert [scene.name for scene in held_out] == ["walls/15"]  # for ever: crc32
    assert {scene.name for scene in split_scenes(scenes[::-1])[1]} == {scene.name for scene in held_out}
    names = [Scene(f"walls/{number}", scenes[0].gray) for number in range(7000)]
    assert len(split_scenes(names)[1]) == pytest.approx(1000, abs=100)


def test_one_picture_in_several_sizes_has_one_name() -> None:
    names = {name_scene(Path("/s/Altai/images") / name, Path("/s")) for name in ("1080x1920.png", "5120x2880.jpg")}
    assert names == {"Altai/images/"}
    assert name_scene(Path("/s/hill_1920x1080.png"), Path("/s")) == "hill"


def test_a_digest_knows_pictures_from_others(folder: Path) -> None:
    scenes = read_scenes(folder)
    assert digest_scenes(scenes) == digest_scenes(read_scenes(folder))
    assert digest_scenes(scenes) != digest_scenes(scenes[1:])


def test_a_missing_folder_and_one_without_pictures_say_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(DataMissing, match=r"training/scenes\.sh"):
        read_scenes(tmp_path / "none")
    with pytest.raises(DataSplitEmpty, match="0 pictures, 0 usable, none to fit on"):
        read_scenes(tmp_path)


def test_what_is_mined_comes_from_its_scene() -> None:
    with np.load(FACES) as table:
        face = np.asarray(table["faces"][-1], np.float32)  # nothing fools the cascade as surely
    scenes = []
    for low, high in ((20, 100), (150, 230)):
        canvas = np.full((300, 300), (low + high) // 2, np.float32)
        for top in (10, 110, 200):
            for left in (10, 110, 200):
                canvas[top : top + 96, left : left + 96][: 300 - top, : 300 - left] = face[: 300 - top, : 300 - left]
        canvas = low + (canvas - canvas.min()) / np.ptp(canvas) * (high - low)
        scenes.append(Scene(f"{low}", canvas.astype(np.uint8)))
    for scene, (low, high) in zip(scenes, ((20, 100), (150, 230)), strict=True):
        patches = np.concatenate([mine_false_alarms([scene], seed) for seed in range(4)])
        assert len(patches) > 0
        assert patches.dtype == np.uint8
        assert patches.shape[1:] == (PATCH_SIDE, PATCH_SIDE)
        assert low <= patches.min() < patches.max() <= high
    both = mine_false_alarms(scenes, 1)
    assert np.array_equal(both, np.concatenate([mine_false_alarms([scene], 1) for scene in scenes]))


def test_nothing_is_mined_where_there_is_nothing() -> None:
    flat = Scene("flat", np.full((200, 200), 128, np.uint8))
    assert mine_false_alarms([flat]).shape == (0, PATCH_SIDE, PATCH_SIDE)


@pytest.mark.parametrize("side", [SIDE, PATCH_SIDE])
def test_random_patches_come_from_their_scenes_and_hang_on_the_seed(side: int) -> None:
    scenes = [Scene("a", draw_noise(300, 400, 0) // 4 + 60), Scene("b", draw_noise(130, 110, 1) // 4 + 60)]
    patches = draw_patches(scenes, 50, np.random.default_rng(0), side)
    assert patches.shape == (50, side, side)
    assert patches.min() >= 60
    assert patches.max() <= 124
    assert np.array_equal(patches, draw_patches(scenes, 50, np.random.default_rng(0), side))
    assert not np.array_equal(patches, draw_patches(scenes, 50, np.random.default_rng(1), side))


def test_a_killed_process_ends_the_command_instead_of_being_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    with pytest.raises(MemoryShort, match="read scenes: one of 2 processes was killed"):
        _spread(os._exit, [9] * 32, "read scenes")


def test_a_failing_task_ends_the_command_with_its_own_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    with pytest.raises(ValueError, match="invalid literal"):
        _spread(int, ["no number"] * 32, "read scenes")
    assert _spread(int, ["7"] * 32, "read scenes") == [7] * 32
