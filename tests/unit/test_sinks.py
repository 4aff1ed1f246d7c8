"""Sinks on updates made by hand: the log's lines, the terminal's text, the video's frames."""

from __future__ import annotations

import contextlib
import errno
import io
import json
import os
import resource
import signal
import sys
import types
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge.errors import DiskFull, SettingsInvalid, SinkFailed, SinkUnknown, SinkUnwritable
from edge.runtime.control import Control
from edge.settings import CueSettings, LookSettings
from edge.sinks.log import LogSink
from edge.sinks.opening import open_sink, open_sinks
from edge.sinks.table import SINKS
from edge.sinks.terminal import TerminalSink
from edge.sinks.video import VideoSink, annotate, frame_rate
from edge.types import Cue, Face, Frame, Quality, Reading, Update

LABELS = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")
SMILE = Cue("expression", "smile", 0.8123, 0.5)


def update(seq: int, cue: Cue = SMILE, fps: float = 25.0) -> Update:
    gray = np.random.default_rng(seq).integers(0, 256, (240, 320), dtype=np.uint8)
    face = Face(4, (100, 60, 90, 90), -12.5, Quality(sharpness=0.9), 7.5, 1.25, 0.17, -3.5)
    reading = Reading(4, (0.05, 0.01, 0.02, 0.8, 0.04, 0.03, 0.05), seq / fps)
    latency_ms = {"find": 3.1, "read": 1.2, "total": 4.5}
    return Update(Frame(gray, seq / fps, seq, 0.0), (face,), (reading,), LABELS, cue, latency_ms, 2)


LOST = Update(None, (), (), LABELS, Cue("no_camera", None, 0.0, 3.0), {}, 0)


def test_a_log_line_has_the_published_keys(tmp_path: Path) -> None:
    sink = LogSink(str(tmp_path / "out.jsonl"), Control())
    sink.show(update(7))
    sink.show(LOST)
    sink.close()
    sink.close()
    first, lost = (json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines())
    assert first.pop("run") == {"labels": list(LABELS), "cue": asdict(Control().settings.cue)}
    assert first == {
        "seq": 7,
        "t": 0.28,
        "state": "expression",
        "expression": "smile",
        "confidence": 0.8123,
        "since": 0.5,
        "reason": None,
        "distance": None,
        "side": None,
        "faces": [
            {
                "id": 4,
                "box": [100, 60, 90, 90],
                "roll_deg": -12.5,
                "score": 7.5,
                "readable": True,
                "quality": {"size": 1.0, "sharpness": 0.9, "light": 1.0, "level": 1.0, "frontal": 1.0},
                "distance_m": 1.25,
                "bearing_deg": -3.5,
                "class": "happy",
                "probabilities": dict(zip(LABELS, (0.05, 0.01, 0.02, 0.8, 0.04, 0.03, 0.05), strict=True)),
            }
        ],
        "latency_ms": {"find": 3.1, "read": 1.2, "total": 4.5},
        "dropped": 2,
        "left": {"behind": 0.0, "unread": 0},
    }
    assert (lost["seq"], lost["t"], lost["state"], lost["faces"]) == (None, 3.0, "no_camera", [])


def test_settings_that_change_while_it_runs_stand_in_the_line_of_the_first_frame_under_them(tmp_path: Path) -> None:
    sink = LogSink(str(tmp_path / "out.jsonl"), Control())
    sink.show(update(1))
    sink.show(update(2))
    sink.show(replace(update(3), settings=CueSettings(hold=2.0)))
    sink.close()
    lines = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert ["run" in line for line in lines] == [True, False, True]
    assert lines[2]["run"]["cue"]["hold"] == 2.0


def test_a_log_on_a_full_disk_says_so() -> None:
    sink = LogSink("/dev/full", Control())
    with pytest.raises(DiskFull, match="/dev/full: No space left"):
        sink.show(update(1))
    sink.close()


@contextlib.contextmanager
def small_files() -> Iterator[None]:
    """Let no file grow over 20 kB: to the writer a disk that is full; of pytest's own output too, so not for long."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    kept = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, kept)


def test_a_log_that_fills_the_disk_ends_with_a_whole_line(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    sink = LogSink(str(path), Control())
    with small_files(), pytest.raises(DiskFull):
        for seq in range(1000):
            sink.show(update(seq))
    sink.close()
    text = path.read_text()
    assert text.endswith("\n")
    assert [json.loads(line)["seq"] for line in text.splitlines()] == list(range(text.count("\n")))
    assert text.count("\n") > 10


@pytest.mark.parametrize("name", ["out.mp4", "out.avi", "out.mkv"])
def test_a_video_that_fills_the_disk_leaves_nothing_behind(tmp_path: Path, name: str) -> None:
    sink = VideoSink(str(tmp_path / name), Control())
    with small_files(), pytest.raises(DiskFull, match="frames reached the disk"):
        for seq in range(60):
            sink.show(update(seq))
        sink.close()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("refused", ["shutil.disk_usage", "os.open", "pathlib.Path.open", "pathlib.Path.replace"])
def test_a_video_that_the_system_refuses_is_named_and_leaves_nothing_behind(
    refused: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(errno.EROFS, "Read-only file system")

    sink = VideoSink(str(tmp_path / "out.avi"), Control())
    with monkeypatch.context() as patched:
        patched.setattr(refused, refuse)
        with pytest.raises(SinkUnwritable, match=r"out\.avi: Read-only file system; choose a path"):
            for seq in range(20):
                sink.show(update(seq))
            sink.close()
    sink.close()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["out.mp4", "out.avi", "out.mkv"])
def test_a_video_has_every_frame_and_the_sources_rate(tmp_path: Path, name: str) -> None:
    sink = VideoSink(str(tmp_path / name), Control())
    for seq in range(40):
        sink.show(update(seq))
        assert not (tmp_path / name).exists()
    sink.close()
    sink.close()
    assert [path.name for path in tmp_path.iterdir()] == [name]
    video = cv2.VideoCapture(str(tmp_path / name))
    assert video.get(cv2.CAP_PROP_FPS) == pytest.approx(25, abs=0.1)
    assert video.get(cv2.CAP_PROP_FRAME_COUNT) == 40
    video.release()


def test_dropped_frames_are_filled_in(tmp_path: Path) -> None:
    path = tmp_path / "out.avi"
    sink = VideoSink(str(path), Control())
    for seq in (0, 1, 2, 10, 11):
        sink.show(update(seq))
    sink.close()
    video = cv2.VideoCapture(str(path))
    assert video.get(cv2.CAP_PROP_FRAME_COUNT) == 12
    video.release()


def times(path: Path) -> list[float]:
    """Play a video, and return the seconds from its first frame to each one whose picture is a new one."""
    video = cv2.VideoCapture(str(path))
    changes, before, number = [], None, 0
    while (picture := video.read()[1]) is not None:
        if before is None or np.abs(picture.astype(int) - before).mean() > 20:
            changes.append(number / video.get(cv2.CAP_PROP_FPS))
        before, number = picture.astype(int), number + 1
    video.release()
    return changes


@pytest.mark.parametrize(
    "stamps",
    [
        [0.0, *(0.7 + index / 30 for index in range(1, 40))],
        [*(index / 5 for index in range(15)), *(2.8 + index / 20 for index in range(1, 20))],
        [1000.0 + index / 25 for index in range(30)],
        [index * 2.5 for index in range(6)],
        [0.0, 0.04, 0.08, 8.0, 8.04, 8.08],
    ],
    ids=["the first lasts longer", "faster later", "begins late", "a picture every 2.5 s", "a pause"],
)
def test_a_video_lasts_as_long_as_the_run_and_shows_each_frame_when_it_was(stamps: list[float], tmp_path: Path) -> None:
    path = tmp_path / "out.avi"
    sink = VideoSink(str(path), Control())
    for seq, t in enumerate(stamps):
        shown = update(seq)
        sink.show(replace(shown, frame=replace(shown.frame, t=t)))
    sink.close()
    assert times(path) == pytest.approx([t - stamps[0] for t in stamps], abs=0.051)


def test_the_rate_of_a_video_is_that_of_most_first_frames() -> None:
    assert frame_rate([0.73, *[1 / 30] * 10]) == pytest.approx(30)
    assert frame_rate([0.033, 0.034, 0.033, 0.033, 0.034]) == pytest.approx(29.94, abs=0.01)
    assert frame_rate([0.1] * 5) == pytest.approx(20)
    assert frame_rate([0.08] * 5) == pytest.approx(25)
    assert frame_rate([0.001] * 5) == 60
    assert frame_rate([-1.0, 0.0, float("nan")]) == frame_rate([]) == 30


@pytest.mark.parametrize(
    "name", ["2026-11-29T10:30:00", "http:out", "out\udce9", "-out", "100%", "out%03d", "a b\nc", "ü" * 125, "x" * 251]
)
@pytest.mark.parametrize("folder", ["", "f\udce9:%d/"])
def test_a_file_is_written_whatever_it_is_called(
    folder: str, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    if folder:
        Path(folder).mkdir()
    for spec in (f"video:{folder}{name}.avi", f"png:{folder}{name}.png", f"log:{folder}{name}.txt"):
        sink = open_sink(spec, Control())
        sink.show(update(1))
        sink.close()
    names = {f"{name}.avi", f"{name}.txt", f"{name % 1 if 'd' in name and '%' in name else name}.png"}
    assert {path.name for path in Path(folder or ".").iterdir()} == names


def test_a_single_frame_is_a_video_too_and_none_is_no_file(tmp_path: Path) -> None:
    one, none = VideoSink(str(tmp_path / "one.avi"), Control()), VideoSink(str(tmp_path / "none.avi"), Control())
    one.show(update(0))
    one.close()
    none.close()
    assert [path.name for path in tmp_path.iterdir()] == ["one.avi"]


def test_an_unwritable_path_is_reported_before_anything_runs(tmp_path: Path) -> None:
    for spec in (f"video:{tmp_path}/none/out.mp4", f"log:{tmp_path}/none/out.jsonl", f"log:{tmp_path}"):
        with pytest.raises(SinkUnwritable):
            open_sink(spec, Control())
    for spec in (f"video:{tmp_path}/out.gif", "video", "video:"):
        with pytest.raises(SettingsInvalid, match=r"\.mp4"):
            open_sink(spec, Control())
    with pytest.raises(SinkUnknown, match="did you mean 'terminal'"):
        open_sink("terminl", Control())


def test_a_device_that_is_not_there_is_left_to_be_opened_again_where_another_sink_works(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Absent:
        def __init__(self, argument: str, control: Control) -> None:
            raise SinkFailed("no display on the bus")

    monkeypatch.setitem(SINKS, "oled", "absent:Absent")
    monkeypatch.setitem(sys.modules, "absent", types.SimpleNamespace(Absent=Absent))
    log = f"log:{tmp_path}/out.jsonl"
    opened = open_sinks(["oled", log], Control())
    assert [spec for spec, _ in opened] == ["oled", log]
    with pytest.raises(SinkFailed, match="no display"):
        opened[0][1].show(update(0))
    for _, sink in opened:
        sink.close()
    with pytest.raises(SinkFailed, match="no display"):
        open_sinks(["oled"], Control())
    with pytest.raises(SinkUnknown):
        open_sinks(["oled", "log:", "nothing"], Control())


@pytest.mark.parametrize("spec", ["video:{}/out.txt", "png:{}/out.txt", "audio:file:{}/out.txt", "web:here:there"])
def test_a_name_that_a_sink_cannot_take_ends_the_start_beside_another_sink_too(spec: str, tmp_path: Path) -> None:
    with pytest.raises(SettingsInvalid):
        open_sinks([f"log:{tmp_path}/out.jsonl", spec.format(tmp_path)], Control())


def test_a_video_of_no_frames_is_no_file(tmp_path: Path) -> None:
    sink = open_sink(f"video:{tmp_path}/video.avi", Control())
    sink.close()
    sink.close()
    assert list(tmp_path.iterdir()) == []


def test_a_picture_marks_the_face_and_the_cue() -> None:
    shown = update(0)
    assert shown.frame is not None
    picture = annotate(shown, LookSettings()).astype(int)
    plain = cv2.cvtColor(shown.frame.gray, cv2.COLOR_GRAY2BGR).astype(int)
    changed = np.abs(picture - plain).sum(axis=2) > 30
    assert changed[60:150, 90:200].any()
    assert changed[200:, :100].any()
    assert not changed[160:190, 220:].any()


def test_a_picture_names_the_visible_expression_in_the_wearers_language() -> None:
    shown = update(0)
    pictures = [annotate(shown, LookSettings(language=language)) for language in ("en", "de", "fr")]
    assert not np.array_equal(pictures[0], pictures[1])
    assert not np.array_equal(pictures[1], pictures[2])
    happy = replace(shown, cue=replace(shown.cue, expression="happy"))
    assert np.array_equal(annotate(happy, LookSettings(language="en")), pictures[0]), "a smile, not what may be felt"


def test_text_in_a_pipe_is_one_line_a_second() -> None:
    stream = io.StringIO()
    sink = TerminalSink("", Control(), stream=stream)
    for seq in range(100):
        sink.show(update(seq, fps=20.0))
    sink.close()
    lines = stream.getvalue().splitlines()
    assert len(lines) == 5
    assert all("smile" in line and "81%" in line and "1 face" in line for line in lines)


def test_text_in_a_pipe_says_when_the_camera_is_lost() -> None:
    stream = io.StringIO()
    TerminalSink("", Control(), stream=stream).show(LOST)
    assert "The camera gives no picture." in stream.getvalue()


def test_text_on_a_terminal_is_one_line_rewritten() -> None:
    leader, follower = os.openpty()
    with os.fdopen(follower, "w") as terminal:
        sink = TerminalSink("", Control(), stream=terminal)
        for seq in range(10):
            sink.show(update(seq, fps=5.0))
        sink.close()
    shown = ""
    with contextlib.suppress(OSError):  # the end of a terminal is an error
        while more := os.read(leader, 10_000):
            shown += more.decode()
    os.close(leader)
    assert shown.count("\r\x1b[K") == 10
    assert shown.count("\n") == 1


def records(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_bytes().splitlines()]


def test_a_log_that_is_cut_while_it_is_open_begins_again_and_whole(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    sink = LogSink(str(path), Control())
    for seq in range(3):
        sink.show(update(seq))
    kept = path.read_bytes()
    os.truncate(path, 0)  # logrotate's copytruncate
    for seq in range(3, 6):
        sink.show(update(seq))
    sink.close()
    assert kept.count(b"\n") == 3
    assert [(record["seq"], "run" in record) for record in records(path)] == [(3, True), (4, False), (5, False)]


def test_a_log_that_is_moved_away_is_followed_by_a_new_one(tmp_path: Path) -> None:
    path, old = tmp_path / "out.jsonl", tmp_path / "out.jsonl.1"
    sink = LogSink(str(path), Control())
    sink.show(update(0))
    path.rename(old)
    sink.show(update(1))
    path.rename(tmp_path / "out.jsonl.2")
    path.touch()  # logrotate's create
    sink.show(update(2))
    path.unlink()
    sink.show(update(3))
    sink.close()
    for name, seq in ((old, 0), (tmp_path / "out.jsonl.2", 1), (path, 3)):
        assert [(record["seq"], "run" in record) for record in records(name)] == [(seq, True)]


def test_where_no_new_log_can_be_made_the_lines_go_on_in_the_old(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "out.jsonl"
    sink = LogSink(str(path), Control())
    sink.show(update(0))
    path.rename(tmp_path / "moved")
    with monkeypatch.context() as patched:
        patched.setattr(os, "open", lambda *_: (_ for _ in ()).throw(PermissionError(13, "Permission denied")))
        sink.show(update(1))
    sink.close()
    assert [record["seq"] for record in records(tmp_path / "moved")] == [0, 1]
    assert not path.exists()


@pytest.mark.parametrize("append", [True, False])
def test_a_log_on_standard_output_leaves_no_hole_where_that_file_is_cut(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, append: bool
) -> None:
    path = tmp_path / "out"
    path.write_bytes(b"before\n")
    with path.open("a" if append else "w") as stream:
        monkeypatch.setattr(sys, "stdout", stream)
        sink = LogSink("", Control())
        sink.show(update(0))
        assert path.read_bytes().startswith(b"before\n") == append
        os.truncate(path, 0)
        sink.show(update(1))
        sink.close()
    assert [(record["seq"], "run" in record) for record in records(path)] == [(1, True)]


def test_a_log_that_fills_its_disk_leaves_what_was_there_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "out"
    path.write_bytes(b"before\n")
    with path.open("a") as stream:
        monkeypatch.setattr(sys, "stdout", stream)
        sink = LogSink("", Control())
        monkeypatch.setattr(sys, "stdout", sys.__stdout__)
        sink.show(update(0))
        whole = path.read_bytes()
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        limit = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (len(whole) + 100, limit[1]))
        try:
            with pytest.raises(DiskFull):
                sink.show(update(1))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limit)
        sink.close()
    assert path.read_bytes() == whole
