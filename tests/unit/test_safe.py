"""Safe mode: why the service ended is kept, and its displays say it without a camera."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge.diagnostics.safe_mode import (
    FILE,
    MORE,
    forget_failure,
    keep_failure,
    keep_result,
    pages,
    read_failure,
    show_failure,
)
from edge.drawing.glyphs import Plan, draw_cue, draw_plan, plan_cue
from edge.errors import CuelensError, SinkFailed, SourceMissing
from edge.needs import Needs
from edge.runtime.control import Control
from edge.settings import Settings
from edge.sinks.table import SINKS
from edge.types import Capabilities, Cue, Update

SCRIPT = "from edge.cli import main; main()"
FAILURE = "--source file:/media/film.mp4: no such file or folder; give a video, picture or folder"
STOPPED = Cue("stopped", None, 0.0, 0.0)


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The service's state folder."""
    monkeypatch.setenv("STATE_DIRECTORY", str(tmp_path))
    return tmp_path


def test_a_failure_is_kept_until_the_next_run(state: Path) -> None:
    keep_failure(SourceMissing(FAILURE))
    assert read_failure() == f"{FAILURE} [source-missing]"
    keep_failure(CuelensError("file:rtsp://me:secret@camera/1: no answer"))
    assert read_failure() == "file:rtsp://camera/1: no answer [cuelens-error]"
    keep_failure(KeyError("x"))
    assert read_failure() == "KeyError: 'x' [cuelens-error]"
    forget_failure()
    assert list(state.iterdir()) == []
    assert read_failure() == "it does not start"
    forget_failure()


def test_without_a_state_folder_nothing_is_kept(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("STATE_DIRECTORY", raising=False)
    monkeypatch.chdir(tmp_path)
    keep_failure(CuelensError(FAILURE))
    keep_result({"SERVICE_RESULT": "watchdog"})
    assert list(tmp_path.iterdir()) == []
    monkeypatch.setenv("STATE_DIRECTORY", str(tmp_path / "none"))
    keep_failure(CuelensError(FAILURE))
    assert read_failure() == "it does not start"


@pytest.mark.parametrize(
    ("result", "status", "words"),
    [
        ("watchdog", "ABRT", "it hung: its loop gave no word for ten seconds"),
        ("timeout", "TERM", "it took too long to start or to end"),
        ("oom-kill", "KILL", "it took more memory than there is"),
        ("signal", "KILL", "it was killed by SIGKILL"),
        ("core-dump", "SEGV", "it crashed by SIGSEGV"),
        ("exit-code", "203", "it ended with exit code 203"),
        ("success", "0", "it does not start"),
    ],
)
def test_what_the_run_could_not_say_itself_the_service_manager_does(
    state: Path, result: str, status: str, words: str
) -> None:
    keep_result({"STATE_DIRECTORY": str(state), "SERVICE_RESULT": result, "EXIT_STATUS": status})
    assert read_failure() == words


def test_what_the_run_said_itself_is_not_replaced(state: Path) -> None:
    keep_failure(SourceMissing(FAILURE))
    keep_result({"STATE_DIRECTORY": str(state), "SERVICE_RESULT": "exit-code", "EXIT_STATUS": "10"})
    assert read_failure() == f"{FAILURE} [source-missing]"


def test_its_pages_are_the_glyph_the_cause_the_next_step_and_who_knows_more() -> None:
    assert pages(FAILURE) == [
        "",
        "--source file:/media/film.mp4: no such file or folder",
        "give a video, picture or folder",
        MORE,
    ]
    assert pages(f"{FAILURE} [source-missing]") == pages(FAILURE), "identifiers are for scripts"
    assert pages("it hung") == ["", "it hung", MORE]
    assert pages("/etc/cuelens/cuelens.toml:3: threads is 99")[1] == "cuelens.toml:3: threads is 99"


class Shown:
    """A display of its own thread that keeps its plans."""

    capabilities = Capabilities()

    @staticmethod
    def needs(argument: str, settings: Settings) -> Needs:
        return Needs(safe_mode=True)

    def __init__(self, argument: str, control: Control) -> None:
        self.control = control
        SHOWN.append([])
        self._plans = SHOWN[-1]
        if argument == "missing" and len(SHOWN) == 1:
            raise SinkFailed("display: nobody there; plug one in")
        self._hangs = argument == "hangs"

    def show(self, update: Update) -> None:
        if self._hangs:
            time.sleep(60)
        self._plans.append(plan_cue(update.cue, self.control.settings.look, self.control.notice(time.monotonic())))
        if len({plan.text for plan in self._plans}) == len(pages(FAILURE)):
            SEEN.set()

    def close(self) -> None:
        pass


SHOWN: list[list[Plan]] = []
SEEN = threading.Event()  # all pages


def test_it_shows_its_pages_in_turns_on_every_display_whatever_another_one_does(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    SHOWN.clear()
    SEEN.clear()
    monkeypatch.setattr("edge.diagnostics.safe_mode.PAGE", 0.1)
    monkeypatch.setattr("edge.diagnostics.safe_mode.REPEAT", 0.02)
    monkeypatch.setattr("edge.diagnostics.safe_mode.END", 0.1)
    monkeypatch.setitem(SINKS, "display", f"{__name__}:Shown")
    sinks = ("display:hangs", "display", "web", "terminal", "mqtt", "oled:what")
    show_failure(Control(Settings(sinks=sinks)), f"{FAILURE} [source-missing]", SEEN, 30)
    assert len(SHOWN) == 2, "neither web nor mqtt is opened"
    assert SHOWN[0] == []
    texts = [plan.text for plan in SHOWN[1]]
    assert set(texts) == set(pages(FAILURE))
    assert {plan.glyph for plan in SHOWN[1] if not plan.text} == {"stopped"}
    said = capsys.readouterr().err
    assert f"cuelens: stopped: {FAILURE}; {MORE} [source-missing]\n" in said
    assert "oled:what: valid are" in said


def test_a_display_that_is_not_there_is_opened_when_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    SHOWN.clear()
    SEEN.clear()
    monkeypatch.setattr("edge.runtime.sink_worker.FIRST_DELAY", 0.05)
    monkeypatch.setattr("edge.diagnostics.safe_mode.REPEAT", 0.02)
    monkeypatch.setitem(SINKS, "display", f"{__name__}:Shown")
    monkeypatch.setattr("edge.diagnostics.safe_mode.PAGE", 0.05)
    show_failure(Control(Settings(sinks=("display:missing",))), FAILURE, SEEN, 30)
    assert SHOWN[1]


@pytest.mark.parametrize("size", [(640, 400), (128, 64), (128, 32)])
def test_a_page_fills_the_display_and_is_cut_off_nowhere(size: tuple[int, int]) -> None:
    width, height = size
    for text in pages(FAILURE)[1:]:
        page = draw_plan(plan_cue(STOPPED, Settings().look, text), width, height, "mono")
        assert set(np.unique(page)) == {0, 255}
        assert not page[:, 0].any()
        assert not page[:, -1].any()
        columns = np.nonzero(page.any(axis=0))[0]
        assert np.ptp(columns) > width / 2
        colour = draw_plan(plan_cue(STOPPED, Settings().look, text), width, height, "rgb")
        assert colour.shape == (height, width, 3)


@pytest.mark.parametrize("text", ["x" * 500, "word " * 200, "ä ß é?", "…", ""])
def test_any_text_can_be_drawn(text: str) -> None:
    for width, height in ((32, 32), (128, 64), (64, 400)):
        assert draw_plan(plan_cue(STOPPED, Settings().look, text), width, height, "mono").any()


def service(repository: Path, folder: Path, *words: str, **more: str) -> subprocess.CompletedProcess[str]:
    """Run `cuelens` as the service's unit does, with its folders in one."""
    environment = os.environ | {"STATE_DIRECTORY": str(folder), "CONFIGURATION_DIRECTORY": str(folder), **more}
    return subprocess.run(
        [sys.executable, "-c", SCRIPT, *words],
        cwd=repository,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_a_run_that_fails_leaves_its_line_and_safe_mode_draws_it_without_a_camera(
    repository: Path, tmp_path: Path
) -> None:
    picture = tmp_path / "cue.png"
    (tmp_path / "cuelens.toml").write_text(f'source = "file:/no/film.mp4"\nsinks = ["png:{picture}"]\nthreads = 99')
    run = service(repository, tmp_path, "run")
    assert run.returncode == SourceMissing.exit_code
    last = run.stderr.splitlines()[-1].removeprefix("-c: ")
    assert last.endswith(" [source-missing]")
    assert (tmp_path / FILE).read_text().strip() == last
    assert not picture.exists()
    done = service(repository, tmp_path, "safe", "--seconds", "0.1")
    assert (
        done.returncode,
        f"stopped: {last.removesuffix(' [source-missing]')}; {MORE} [source-missing]" in done.stderr,
    ) == (0, True), done.stderr
    drawn = cv2.cvtColor(cv2.imread(str(picture)), cv2.COLOR_BGR2RGB)  # type: ignore[arg-type]
    look = Settings().look
    texts = pages(last)
    expected = [
        draw_cue(STOPPED, 640, 400, look, "rgb"),
        *(draw_plan(Plan("", text=t), 640, 400, "rgb") for t in texts[1:]),
    ]
    assert any(np.array_equal(drawn, page) for page in expected)


def test_by_a_signal_safe_mode_ends_in_order(repository: Path, tmp_path: Path) -> None:
    environment = os.environ | {"STATE_DIRECTORY": str(tmp_path)}
    words = [sys.executable, "-c", SCRIPT, "safe"]
    process = subprocess.Popen(words, cwd=repository, env=environment, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    assert "stopped: it does not start" in process.stderr.readline()
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 0
    process.stderr.close()
