"""Bad input on the command line: one line, its kind's exit code, its identifier, nothing half-written left behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge.errors import (
    CameraMissing,
    ContractMismatch,
    CuelensError,
    DiskFull,
    ModelMissing,
    ModelUnreadable,
    SettingsInvalid,
    SinkFailed,
    SinkUnknown,
    SinkUnwritable,
    SourceEmpty,
    SourceMissing,
    SourceTruncated,
    SourceUnknown,
    SourceUnreadable,
)
from edge.vision.model import shipped_model
from tests.support.failures import ended_by

CUELENS = [sys.executable, "-c", "from edge.cli import main; main()"]


def cuelens(repository: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*CUELENS, *words], cwd=repository, capture_output=True, text=True, check=False, timeout=120)


@pytest.fixture(scope="session")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three seconds of gray clouds in which nobody is."""
    path = tmp_path_factory.mktemp("film") / "clouds.mp4"
    writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*"mp4v"), 25.0, (320, 240))
    clouds = cv2.GaussianBlur(np.random.default_rng(0).integers(0, 256, (240, 320), dtype=np.uint8), (0, 0), 25)
    for shift in range(75):
        writer.write(cv2.cvtColor(np.roll(clouds, shift, axis=1), cv2.COLOR_GRAY2BGR))
    writer.release()
    return path


def damage(folder: Path, film: Path, kind: str) -> str:
    """Make the source of a case in `folder` and return its --source."""
    path = folder / "input.mp4"
    if kind == "empty":
        path.touch()
    elif kind == "text":
        path.write_text("not a video\n" * 100)
    elif kind == "noise":
        path.write_bytes(np.random.default_rng(1).bytes(20_000))
    elif kind == "truncated":
        content = film.read_bytes()
        path.write_bytes(content[: len(content) * 2 // 3])
    elif kind == "empty folder":
        path = folder / "pictures"
        path.mkdir()
    return f"file:{path}"


@pytest.mark.parametrize(
    ("kind", "cause"),
    [
        ("missing", SourceMissing),
        ("empty", SourceEmpty),
        ("empty folder", SourceEmpty),
        ("text", SourceUnreadable),
        ("noise", SourceUnreadable),
        ("truncated", SourceUnreadable),
    ],
)
def test_a_bad_source_is_one_line_with_its_own_code_and_no_output(
    repository: Path, tmp_path: Path, film: Path, kind: str, cause: type[CuelensError]
) -> None:
    source = damage(tmp_path, film, kind)
    out = tmp_path / "out"
    out.mkdir()
    sinks = ["--sink", f"log:{out}/log.jsonl", "--sink", f"video:{out}/video.mp4"]
    done = cuelens(repository, "run", "--source", source, "--pace", "fast", *sinks)
    ended_by(cause, done.returncode, done.stderr)
    assert done.stderr.count("\n") == 1, done.stderr
    assert source.removeprefix("file:") in done.stderr
    assert list(out.iterdir()) == []


def test_a_video_cut_short_is_read_as_far_as_it_goes_and_said_to_be_cut(
    repository: Path, tmp_path: Path, film: Path
) -> None:
    # A container with its index in front: what is cut off is at the end.
    whole, cut = tmp_path / "whole.avi", tmp_path / "cut.avi"
    reader = cv2.VideoCapture(str(film))
    writer = cv2.VideoWriter(str(whole), cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*"MJPG"), 25.0, (320, 240))
    while (got := reader.read())[0]:
        writer.write(got[1])
    reader.release()
    writer.release()
    content = whole.read_bytes()
    cut.write_bytes(content[: len(content) // 2])
    log, video = tmp_path / "log.jsonl", tmp_path / "video.mp4"
    done = cuelens(
        repository,
        "run",
        "--source",
        f"file:{cut}",
        "--pace",
        "fast",
        "--sink",
        f"log:{log}",
        "--sink",
        f"video:{video}",
    )
    ended_by(SourceTruncated, done.returncode, done.stderr)
    assert done.stderr.count("\n") == 1, done.stderr
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert 10 < len(lines) < 75
    frames = cv2.VideoCapture(str(video))
    assert frames.get(cv2.CAP_PROP_FRAME_COUNT) == len(lines) - 1
    frames.release()
    assert (lines[-1]["seq"], lines[-1]["state"]) == (None, "no_camera"), "the last line has the loss"


def test_a_video_without_faces_ends_well_and_says_so(repository: Path, film: Path) -> None:
    done = cuelens(repository, "run", "--source", f"file:{film}", "--pace", "fast")
    assert done.returncode == 0, done.stderr
    assert "no face was seen in any frame" in done.stdout
    assert "75 frames" in done.stdout


@pytest.mark.parametrize(
    ("words", "cause", "said"),
    [
        (["--sink", "log:none/out.jsonl"], SinkUnwritable, "none/out.jsonl"),
        (["--sink", "video:none/out.mp4"], SinkUnwritable, "none/out.mp4"),
        (["--sink", "log:/dev/full"], DiskFull, "No space left"),
        (["--sink", "vidio:out.mp4"], SinkUnknown, "did you mean 'video'"),
        (["--sink", "video:out.txt"], SettingsInvalid, ".mp4"),
        (["--sink", "terminal", "--sink", "video:out.txt"], SettingsInvalid, ".mp4"),
        (["--source", "demos"], SourceUnknown, "did you mean 'demo'"),
        (["--source", "v4l2:/dev/video99"], CameraMissing, "/dev/video99"),
        (["--model", "none.tflite"], ModelMissing, "none.tflite"),
        (["--config", "none.toml"], SettingsInvalid, "none.toml"),
        (["--threads", "0"], SettingsInvalid, "1 to 8"),
        (["--seconds", "-1"], SettingsInvalid, "more than 0"),
    ],
)
def test_a_bad_argument_is_one_line_with_its_own_code(
    repository: Path, film: Path, words: list[str], cause: type[CuelensError], said: str
) -> None:
    source = [] if "--source" in words else ["--source", f"file:{film}"]
    done = cuelens(repository, "run", *source, "--pace", "fast", *words)
    ended_by(cause, done.returncode, done.stderr)
    assert done.stderr.count("\n") == 1, done.stderr
    assert said in done.stderr


@pytest.mark.parametrize(
    ("kind", "cause"),
    [
        ("truncated", ModelUnreadable),
        ("changed", ContractMismatch),
        ("relabelled", ContractMismatch),
        ("not a model", ModelUnreadable),
        ("no contract", ModelMissing),
    ],
)
def test_a_bad_model_is_refused_before_anything_is_written(
    repository: Path, tmp_path: Path, film: Path, kind: str, cause: type[CuelensError]
) -> None:
    model = tmp_path / "emotion.tflite"
    content = bytearray(shipped_model().read_bytes())
    if kind == "truncated":
        content = content[: len(content) // 2]
    elif kind == "changed":
        content[-5000] ^= 255
    elif kind == "not a model":
        content = bytearray(b"hello" * 100)
    model.write_bytes(content)
    if kind != "no contract":
        contract = json.loads(shipped_model().with_suffix(".json").read_bytes())
        if kind == "relabelled":
            contract["labels"].reverse()
        model.with_suffix(".json").write_text(json.dumps(contract))
    log = tmp_path / "log.jsonl"
    done = cuelens(repository, "run", "--source", f"file:{film}", "--model", str(model), "--sink", f"log:{log}")
    ended_by(cause, done.returncode, done.stderr)
    assert done.stderr.count("\n") == 1
    assert not log.exists()


def test_debug_shows_the_traceback_and_nothing_else_does(repository: Path) -> None:
    quiet, loud = (cuelens(repository, "run", "--source", "file:none", *more) for more in ([], ["--debug"]))
    assert "Traceback" not in quiet.stderr
    assert "Traceback" in loud.stderr


def test_debug_shows_where_in_a_thread_a_run_broke(repository: Path) -> None:
    words = ["run", "--source", "demo", "--pace", "fast", "--sink", "log:/dev/full"]
    quiet, loud = (cuelens(repository, *words, *more) for more in ([], ["--debug"]))
    assert "Traceback" not in quiet.stderr
    assert "in show" in loud.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_run_cleanly_with_its_summary_and_a_whole_video(
    repository: Path, tmp_path: Path, number: signal.Signals
) -> None:
    video = tmp_path / "out.mp4"
    command = [*CUELENS, "demo", "--seconds", "60", "--sink", "terminal", "--sink", f"video:{video}"]
    with subprocess.Popen(command, cwd=repository, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        first = process.stdout.readline()
        written = time.monotonic() + 60
        while not any(file.stat().st_size for file in tmp_path.iterdir()):  # it is begun when a dozen frames are there
            assert time.monotonic() < written
            time.sleep(0.05)
        process.send_signal(number)
        rest, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    assert " s " in first
    assert "frames," in rest
    reader = cv2.VideoCapture(str(video))
    assert reader.get(cv2.CAP_PROP_FRAME_COUNT) > 5
    reader.release()
    assert [path.name for path in tmp_path.iterdir()] == ["out.mp4"]


def test_a_reader_that_goes_away_is_no_traceback(repository: Path) -> None:
    command = [*CUELENS, "run", "--source", "demo", "--seconds", "20", "--sink", "log"]
    with subprocess.Popen(
        command, cwd=repository, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        errors = process.stderr.read()
        process.wait(timeout=60)
    ended_by(SinkFailed, process.returncode, errors)
    assert "Traceback" not in errors


def test_log_lines_on_standard_output_are_nothing_but_json(repository: Path) -> None:
    done = cuelens(repository, "run", "--source", "demo", "--pace", "fast", "--seconds", "1", "--sink", "log")
    assert done.returncode == 0
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [line["seq"] for line in lines] == list(range(len(lines)))
    assert "frames," in done.stderr


@pytest.mark.root
def test_a_real_full_disk_leaves_no_half_video_and_no_half_line(repository: Path, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=6m", "none", disk], check=False, capture_output=True)
    if mounted.returncode:
        pytest.skip(f"cannot mount a tmpfs here: {mounted.stderr.decode().strip()}")
    try:
        sinks = ["--sink", f"video:{disk}/out.avi", "--sink", f"log:{disk}/out.jsonl"]
        done = cuelens(repository, "run", "--source", "demo", "--pace", "fast", "--seconds", "40", *sinks)
        ended_by(DiskFull, done.returncode, done.stderr)
        assert "free some space" in done.stderr
        assert [path.name for path in disk.iterdir()] == ["out.jsonl"]
        text = (disk / "out.jsonl").read_text()
        assert text.endswith("\n")
        assert all(json.loads(line) for line in text.splitlines())
    finally:
        subprocess.run(["umount", disk], check=True)


def test_a_folder_that_may_not_be_written_is_reported(repository: Path, tmp_path: Path, film: Path) -> None:
    if os.geteuid() == 0:
        pytest.skip("root may write everywhere")
    tmp_path.chmod(0o500)
    done = cuelens(repository, "run", "--source", f"file:{film}", "--sink", f"log:{tmp_path}/out.jsonl")
    ended_by(SinkUnwritable, done.returncode, done.stderr)
    assert "Permission denied" in done.stderr
