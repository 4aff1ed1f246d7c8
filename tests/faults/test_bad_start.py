"""A service starts with wrong settings, a cut file of saved ones, a bad network, no camera, and shows each."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

import pytest

from edge.cli import main
from edge.diagnostics.status import describe_status, gather_status
from edge.drawing.glyphs import plan_cue
from edge.errors import (
    CameraMissing,
    ContractMismatch,
    Kind,
    ModelMissing,
    ModelUnreadable,
    RuntimeMissing,
    SettingsInvalid,
)
from edge.runtime.control import NOTICE, Control
from edge.runtime.run import run
from edge.settings import Settings
from edge.sources.demo import DemoSource
from edge.sources.missing import MissingCamera
from edge.types import Capabilities, Frame, Update
from edge.vision import tflite
from edge.vision.model import ExpressionModel, former_folders, open_first, shipped_model
from edge.vision.tflite import models_folder
from tests.support.failures import ended_by

FAST = ("--source", "demo", "--pace", "fast", "--seconds", "0.3")


def damage(folder: Path, kind: str) -> Path:
    """Write a network that is not as it should be."""
    path = folder / "mine.tflite"
    content = shipped_model().read_bytes()
    contract = json.loads(shipped_model().with_suffix(".json").read_text())
    if kind == "cut short":
        content = content[: len(content) // 2]
    elif kind == "corrupt":
        content = content[:20_000] + bytes(64) + content[20_064:]
    elif kind == "of another shape":
        contract["input"]["shape"] = [1, 32, 32, 1]
    elif kind == "empty":
        content = b""
    path.write_bytes(content)
    path.with_suffix(".json").write_text(json.dumps(contract))
    return path


@pytest.mark.parametrize(
    ("kind", "why"),
    [
        ("cut short", "ends after"),
        ("corrupt", "its contract has"),
        ("of another shape", "side is 48 in the file, 32 in its contract"),
        ("empty", "not a TFLite model"),
    ],
)
def test_a_network_of_the_settings_that_is_refused_is_replaced_by_the_shipped_one_and_said(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, kind: str, why: str
) -> None:
    path = damage(tmp_path, kind)
    (tmp_path / "cuelens.toml").write_text(f'model = "{path}"')
    monkeypatch.setenv("CONFIGURATION_DIRECTORY", str(tmp_path))
    log = tmp_path / "log.jsonl"
    with pytest.raises(SystemExit) as ended:
        main(["run", *FAST, "--sink", f"log:{log}"])
    assert ended.value.code == 0
    said = capsys.readouterr().err
    assert f"cuelens: {path}: " in said
    assert why in said
    assert log.read_text().splitlines(), "cues are shown all the same"
    for words in (["--model", str(path)], ["--config", str(tmp_path / "cuelens.toml")]):  # by hand it is refused
        with pytest.raises(SystemExit) as ended:
            main(["run", *FAST, "--sink", f"log:{log}", *words])
        assert ended.value.code == Kind.MODEL


def release(base: Path, version: str, link: str, *, sound: bool = True) -> Path:
    """Lay out a release as the installer does, with the shipped networks; returns their folder."""
    folder = base / "releases" / version / "venv/lib/python3.11/site-packages/edge/model"
    folder.mkdir(parents=True)
    for path in models_folder().glob("*.*"):
        if path.name in ("emotion.tflite", "emotion.json", "face.tflite", "face.json", "scan.tflite", "scan.json"):
            shutil.copy(path, folder)
    if not sound:
        for name in ("emotion.tflite", "face.tflite", "scan.tflite"):
            (folder / name).write_bytes((folder / name).read_bytes()[:1000])
    (base / link).symlink_to(f"releases/{version}")
    return folder


def test_a_network_damaged_after_an_update_is_replaced_by_that_of_the_release_before(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    own = release(tmp_path, "3.0", "current", sound=False)
    (tmp_path / "good").symlink_to("releases/3.0")
    before = release(tmp_path, "2.0", "previous")
    monkeypatch.setattr(sys, "prefix", str(tmp_path / "releases/3.0/venv"))
    monkeypatch.setattr(tflite, "_PACKAGED", own)
    assert former_folders() == [before]
    log = tmp_path / "log.jsonl"
    with pytest.raises(SystemExit) as ended:
        main(["run", *FAST, "--sink", f"log:{log}"])
    assert ended.value.code == 0
    said = capsys.readouterr().err
    assert [f"{own}/{name}.tflite" in said for name in ("emotion", "face", "scan")] == [True, True, True]
    assert log.read_text().splitlines()
    with pytest.raises(SystemExit) as ended:  # by hand: as it is, the installer's trial of a release, too
        main(["run", *FAST, "--sink", f"log:{log}", "--model", str(own / "emotion.tflite")])
    ended_by(ModelUnreadable, ended.value.code, capsys.readouterr().err)


def test_the_releases_before_are_the_one_seen_working_then_the_one_before_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    release(tmp_path, "3.0", "current")
    folders = [release(tmp_path, "2.0", "good"), release(tmp_path, "1.0", "previous")]
    monkeypatch.setattr(sys, "prefix", str(tmp_path / "releases/3.0/venv"))
    assert former_folders() == folders
    (tmp_path / "previous").unlink()
    (tmp_path / "previous").symlink_to("releases/none")
    assert former_folders() == folders[:1]
    monkeypatch.setattr(sys, "prefix", "/usr")
    assert former_folders() == []


def test_the_first_refusal_is_the_one_that_is_raised_where_all_are_and_a_missing_runtime_at_once() -> None:
    failures = [ModelMissing("first"), ModelUnreadable("second"), ContractMismatch("third")]
    refused: list[Exception] = []

    def opener(failures: list[Exception]) -> Callable[[Path], ExpressionModel]:
        def open_it(path: Path) -> ExpressionModel:
            raise failures[int(path.name)]

        return open_it

    paths = [Path(str(n)) for n in range(3)]
    with pytest.raises(ModelMissing, match="first"):
        open_first(opener(list(failures)), paths, refused.append)
    assert refused == failures
    with pytest.raises(RuntimeMissing):
        open_first(opener([failures[0], RuntimeMissing("none")]), paths, refused.append)


def test_what_is_wrong_with_the_settings_or_what_was_saved_is_printed_and_drawn_at_the_start(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    path = tmp_path / "cuelens.toml"
    path.write_text(f'threads = 99\nsinks = ["png:{tmp_path}/cue-%02d.png"]\n[look]\nlangage = "de"\n')
    (tmp_path / "settings.toml").write_text('[look]\nlanguage = "fr"\n')
    monkeypatch.setenv("CONFIGURATION_DIRECTORY", str(tmp_path))
    monkeypatch.setenv("STATE_DIRECTORY", str(tmp_path))
    with pytest.raises(SystemExit) as ended:
        main(["run", *FAST])
    assert ended.value.code == 0
    said = [line for line in capsys.readouterr().err.splitlines() if line.startswith("cuelens:")]
    assert [line.rpartition("; ")[0] for line in said] == [
        f"cuelens: {path}:1: threads is 99; valid are 1 to 8",
        f"cuelens: {path}:4: unknown setting 'look.langage'; did you mean 'language'?",
        f"cuelens: {tmp_path}/settings.toml: cut short, its last line is not '# end'; save again, or delete it",
    ]
    assert (tmp_path / "cue-01.png").exists()
    assert not (tmp_path / "cue-02.png").exists(), "for its first seconds the display shows the first of them"


class Few(DemoSource):
    """The first second of the demo."""

    def frames(self) -> Iterator[Frame]:
        return islice(super().frames(), 30)


class Plans:
    """A display that keeps what it would draw, by a clock of its own."""

    capabilities = Capabilities(every_frame=True, reopens=False)

    def __init__(self, control: Control) -> None:
        self._control, self._now, self.texts = control, 0.0, list[str]()

    def show(self, update: Update) -> None:
        self._now += NOTICE / 10
        self.texts.append(plan_cue(update.cue, self._control.settings.look, self._control.notice(self._now)).text)

    def close(self) -> None:
        pass


def test_problems_are_shown_for_their_seconds_then_cues_and_stay_in_the_status() -> None:
    control = Control(Settings(source="demo"))
    control.keep_problem("/etc/cuelens/cuelens.toml:1: threads is 99; valid are 1 to 8")
    plans, network = Plans(control), ExpressionModel()
    run(control, Few("1", live=False), network, [("display", plans)], threading.Event())
    assert plans.texts[:9] == ["cuelens.toml:1: threads is 99; valid are 1 to 8"] * 9
    assert set(plans.texts[12:]) == {""}
    gathered = gather_status(control, network, "1.0")
    assert gathered["problems"] == control.problems
    assert "problem" in describe_status(gathered)


def test_a_service_whose_camera_is_missing_at_the_start_reports_it_and_searches() -> None:
    said, states, stop = list[str](), list[str](), threading.Event()

    class Watching(Plans):
        def show(self, update: Update) -> None:
            states.append(update.cue.state)
            if update.frame is not None:
                stop.set()

    control = Control(Settings(source="v4l2"))
    missing = MissingCamera(CameraMissing("v4l2: there is no /dev/video*; plug one in"))
    sinks = [("display", Watching(control))]
    run(control, missing, ExpressionModel(), sinks, stop, 30, said.append, resume=lambda: DemoSource("1"))
    assert (states[0], stop.is_set()) == ("no_camera", True)
    assert any("there is no /dev/video*; plug one in" in line for line in said)


def test_a_camera_missing_by_hand_ends_the_run_and_for_a_service_does_not(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["run", "--source", "v4l2:/dev/none", "--sink", "log:/dev/null", "--seconds", "1"]
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    with pytest.raises(SystemExit) as ended:
        main(words)
    ended_by(CameraMissing, ended.value.code, capsys.readouterr().err)
    monkeypatch.setenv("NOTIFY_SOCKET", "/nowhere")
    with pytest.raises(SystemExit) as ended:
        main(words)
    assert ended.value.code == 0
    assert "looking for it again" in capsys.readouterr().err


@pytest.mark.parametrize("sink", ["video:t.mp4", "mqtt", "terminal:foo", "log:t.jsonl", "audio:file:t.wav"])
def test_a_sink_given_twice_or_with_what_it_does_not_take_ends_at_once_in_one_line(
    repository: Path, tmp_path: Path, sink: str
) -> None:
    words = ["run", "--source", "demo", "--pace", "fast", "--seconds", "1", "--sink", sink, "--sink", sink]
    done = subprocess.run(
        [sys.executable, "-c", "from edge.cli import main; main()", *words],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(repository)},
        capture_output=True,
        text=True,
        check=False,
    )
    ended_by(SettingsInvalid, done.returncode, done.stderr)
    assert (done.stdout, done.stderr.count("\n")) == ("", 1), done.stderr
    assert list(tmp_path.iterdir()) == []
