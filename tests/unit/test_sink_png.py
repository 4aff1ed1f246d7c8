"""The png sink: the newest picture in a file, or one file for each change."""

from __future__ import annotations

import os
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge.drawing.glyphs import draw_cue
from edge.errors import DiskFull, SettingsInvalid, SinkUnwritable
from edge.runtime.control import Control
from edge.settings import LookSettings, Settings
from edge.sinks.png import HEIGHT, WIDTH, PngSink
from edge.types import Cue, Update

DARK = Cue("no_face", None, 0.0, 0.0)
SMILE = Cue("expression", "smile", 0.8, 1.0)
FROWN = Cue("expression", "sad", 0.8, 2.0)


def update(cue: Cue) -> Update:
    return Update(None, (), (), (), cue, {}, 0)


def read(path: Path) -> np.ndarray:
    picture = cv2.imread(str(path))
    assert picture is not None
    return cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)


def test_a_file_is_the_newest_picture(tmp_path: Path) -> None:
    sink = PngSink(f"{tmp_path}/cue.png", Control())
    assert list(tmp_path.iterdir()) == []
    for cue in (SMILE, FROWN, DARK):
        sink.show(update(cue))
        picture = read(tmp_path / "cue.png")
        np.testing.assert_array_equal(picture, draw_cue(cue, WIDTH, HEIGHT, LookSettings(), "rgb"))
        assert [path.name for path in tmp_path.iterdir()] == ["cue.png"], "nothing is left beside it"
    assert not picture.any(), "dark is black"
    sink.close()
    sink.close()


@pytest.mark.parametrize("argument", ["", "/"])
def test_a_folder_gets_a_file_for_each_change_numbered_on(tmp_path: Path, argument: str) -> None:
    for _ in range(2):
        sink = PngSink(f"{tmp_path}{argument}", Control())
        for confidence in range(5):
            sink.show(update(Cue("expression", "smile", confidence / 5, float(confidence))))
        sink.show(update(FROWN))
        sink.close()
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"cue-{number:06d}.png" for number in (1, 2, 3, 4)]


def test_a_name_with_a_place_for_a_number_is_numbered(tmp_path: Path) -> None:
    sink = PngSink(f"64x48:{tmp_path}/a-%02d.png", Control())
    for cue in (SMILE, DARK, SMILE):
        sink.show(update(cue))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a-01.png", "a-02.png", "a-03.png"]
    assert read(tmp_path / "a-02.png").shape == (48, 64, 3)


def test_a_cue_that_looks_the_same_is_not_written_again(tmp_path: Path) -> None:
    path = tmp_path / "cue.png"
    sink = PngSink(str(path), Control())
    sink.show(update(SMILE))
    path.unlink()
    sink.show(update(Cue("expression", "smile", 0.3, 7.0, None, "far", "left")))
    assert not path.exists()


def test_a_language_that_is_changed_while_it_runs_is_seen_at_once(tmp_path: Path) -> None:
    control = Control(Settings())
    sink = PngSink(f"{tmp_path}/cue.png", control)
    sink.show(update(SMILE))
    control.change("look", {"language": "fr"})
    sink.show(update(SMILE))
    expected = draw_cue(SMILE, WIDTH, HEIGHT, LookSettings(language="fr"), "rgb")
    np.testing.assert_array_equal(read(tmp_path / "cue.png"), expected)


@pytest.mark.parametrize("argument", ["", "cue.jpg", "cue-%s.png", "cue-%d-%d.png", "cue-%", "640x400:", "8x8:cue.png"])
def test_an_argument_that_names_no_picture_is_refused(argument: str) -> None:
    with pytest.raises(SettingsInvalid, match="png sink"):
        PngSink(argument, Control())


def test_a_folder_that_is_not_there_is_reported_before_anything_runs(tmp_path: Path) -> None:
    with pytest.raises(SinkUnwritable, match="is not a folder"):
        PngSink(f"{tmp_path}/none/cue.png", Control())


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_may_not_be_written_is_reported_before_anything_runs(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(SinkUnwritable, match="may not be written"):
        PngSink(f"{tmp_path}/cue.png", Control())


def test_a_picture_that_could_not_be_written_leaves_the_old_one_and_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "cue.png"
    sink = PngSink(str(path), Control())
    sink.show(update(SMILE))
    old = path.read_bytes()

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(DiskFull):
            sink.show(update(FROWN))
    assert path.read_bytes() == old
    sink.show(update(FROWN))
    assert path.read_bytes() != old
    assert [item.name for item in tmp_path.iterdir()] == ["cue.png"]
