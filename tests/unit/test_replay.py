"""A log decided again: the same bytes under the same settings, another cue under others, a line for a bad log."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from pathlib import Path
from xml.etree import ElementTree

import pytest

from edge.diagnostics.replay import replay, summarise
from edge.diagnostics.timeline import draw_timeline
from edge.errors import CuelensError, SettingsInvalid, SourceEmpty, SourceMissing, SourceUnreadable
from edge.runtime.control import Control
from edge.runtime.run import run
from edge.settings import CueSettings, Settings, with_sensitivity
from edge.sinks.log import LogSink, log_line
from edge.sources.demo import DemoSource
from edge.types import Capabilities, Update
from edge.vision.model import ExpressionModel

SVG = "{http://www.w3.org/2000/svg}"


class Meddler:
    """A sink that changes what may be changed while it runs: settings at the 40th frame, a pause at the 80th."""

    capabilities = Capabilities(every_frame=True)

    def __init__(self, control: Control) -> None:
        self._control, self._seen, self._paused = control, 0, 0

    def show(self, update: Update) -> None:
        self._seen += 1
        if self._seen == 40:
            self._control.change("cue", {"sensitivity": "calm", "vocabulary": "full"})
        if self._seen == 80:
            self._control.paused = True
        if update.cue.state == "paused":
            self._control.paused = False

    def close(self) -> None:
        pass


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A log of twelve seconds of the demo, with a change of settings and a pause in it."""
    path = tmp_path_factory.mktemp("log") / "out.jsonl"
    control = Control(Settings())
    stop = threading.Event()

    class Ender(Meddler):
        def show(self, update: Update) -> None:
            super().show(update)
            if update.frame is not None and update.frame.seq >= 360:
                stop.set()

    sinks = [("log", LogSink(str(path), control)), ("meddler", Ender(control))]
    outcome = run(control, DemoSource("1"), ExpressionModel(), sinks, stop, 60, say=lambda line: None)
    assert outcome.failures == ()
    assert outcome.metrics.frames >= 360
    return path


def test_the_same_settings_give_the_same_bytes(log: Path) -> None:
    again = b"".join(log_line(item.record) for item in replay(log))
    assert again == log.read_bytes()
    states = [json.loads(line)["state"] for line in again.splitlines()]
    assert {"expression", "unsure", "paused"} <= set(states)
    assert again.startswith(b'{"run"')
    assert again.count(b'"run"') == 2


def test_other_settings_give_another_cue_from_the_same_readings(log: Path) -> None:
    tried = CueSettings(enter=0.999, leave=0.999)
    decisions = list(replay(log, tried))
    assert "expression" not in {item.record["state"] for item in decisions}
    assert any(item.logged != item.shown for item in decisions)
    first = decisions[0].record["run"]["cue"]
    assert first["enter"] == 0.999
    assert [item.record["faces"] for item in decisions] == [
        json.loads(line)["faces"] for line in log.read_text().splitlines()
    ]


def test_what_a_replay_came_to_is_counted(log: Path) -> None:
    summary = summarise(list(replay(log)))
    assert summary["as_logged"] == summary["lines"] == len(log.read_text().splitlines())
    assert summary["changes_per_minute"]["cue"] == summary["changes_per_minute"]["logged"] > 0
    assert sum(summary["seconds_shown"].values()) == pytest.approx(summary["seconds"], abs=0.01)


def test_the_timeline_has_a_curve_for_each_word_and_both_cues_in_words(log: Path) -> None:
    decisions = list(replay(log, with_sensitivity(CueSettings(), "quick")))
    root = ElementTree.fromstring(draw_timeline(decisions))
    texts = [element.text for element in root.iter(f"{SVG}text")]
    assert {"smile", "surprise", "upset", "neutral", "as logged", "now", "0 s", "10 s"} <= set(texts)
    width, height = map(float, root.attrib["viewBox"].split()[2:])
    for line in root.iter(f"{SVG}polyline"):
        points = [tuple(map(float, point.split(","))) for point in line.attrib["points"].split()]
        assert all(0 <= x <= width and 0 <= y <= height for x, y in points)
        assert [x for x, _ in points] == sorted(x for x, _ in points)
    title = root.find(f"{SVG}title")
    assert title is not None
    assert "smile" in str(title.text)


def test_a_part_of_the_timeline_can_be_drawn_and_an_empty_one_is_refused(log: Path) -> None:
    decisions = list(replay(log))
    part = draw_timeline(decisions, 2.0, 3.0)
    assert "2 s" in part
    assert "8 s" not in part
    with pytest.raises(SettingsInvalid, match="the log lasts 1"):
        draw_timeline(decisions, 1000.0)


def test_a_log_cut_short_by_a_pulled_plug_is_replayed_up_to_its_last_whole_line(log: Path, tmp_path: Path) -> None:
    content = log.read_bytes()
    cut = tmp_path / "cut.jsonl"
    cut.write_bytes(content[:-20])
    assert len(list(replay(cut))) == len(content.splitlines()) - 1


@pytest.mark.parametrize(
    ("content", "failure", "words"),
    [
        (b"", SourceEmpty, "no whole line"),
        (b'{"run": 1', SourceEmpty, "no whole line"),
        (b"hello\n", SourceUnreadable, "out.jsonl:1: no JSON"),
        (b"[1]\n", SourceUnreadable, "no object"),
        (b'{"t": 1}\n', SourceUnreadable, "lacks 'run'"),
        (b'{"run": {"labels": ["a", "b"], "cue": {"hold": "x"}}}\n', SourceUnreadable, "hold is 'x'"),
        (b'{"run": {"labels": ["a", "b"], "cue": {}}, "t": "soon"}\n', SourceUnreadable, "soon"),
        (b"[" * 100_000 + b"\n", SourceUnreadable, "no JSON"),
    ],
)
def test_what_is_no_log_is_reported_in_a_line(
    content: bytes, failure: type[CuelensError], words: str, tmp_path: Path
) -> None:
    path = tmp_path / "out.jsonl"
    path.write_bytes(content)
    with pytest.raises(failure, match=words):
        list(replay(path))


def test_a_missing_log_is_reported_in_a_line(tmp_path: Path) -> None:
    with pytest.raises(SourceMissing, match="no such log"):
        list(replay(tmp_path / "none.jsonl"))
    with pytest.raises(SourceUnreadable):
        list(replay(tmp_path))


def test_the_command_writes_draws_and_counts(log: Path, tmp_path: Path) -> None:
    line = [sys.executable, "-c", "from edge.cli import main; main()", "replay", str(log)]
    out, drawn = tmp_path / "again.jsonl", tmp_path / "timeline.svg"
    done = subprocess.run([*line, "--out", out, "--timeline", drawn], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert out.read_bytes() == log.read_bytes()
    assert drawn.read_text().startswith("<svg")
    assert "changes a minute: raw label" in done.stdout
    done = subprocess.run([*line, "--sensitivity", "calm", "--json"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["lines"] == len(log.read_text().splitlines())
