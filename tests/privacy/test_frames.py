"""Who may see a frame: the list of docs/privacy.md, held to the code and to whole runs; a part not listed is found."""

from __future__ import annotations

import ast
import copy
import gc
import pickle
import re
import sys
import threading
import weakref
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any, ClassVar

import pytest

from edge.runtime.control import Control
from edge.runtime.run import run
from edge.settings import Settings
from edge.sinks.opening import open_sink
from edge.sinks.table import SINKS, needs_of
from edge.sinks.web import WebSettings
from edge.sources import SOURCES
from edge.sources.demo import DemoSource
from edge.types import Capabilities, Frame, Sink, Update
from edge.vision.model import ExpressionModel
from tests.support.sinks import spec_of

EDGE = Path(__file__).resolve().parents[2] / "edge"
PAGE = EDGE.parent / "docs" / "privacy.md"
# Names that pixels go by, and how OpenCV reads, writes and encodes them; names of what has a frame inside.
PIXELS = {"gray", "Gray", "NDArray", "Pyramid", "crop_face", "load_picture", "luma"}
PIXELS |= {"VideoCapture", "VideoWriter", "imdecode", "imencode", "imread", "imwrite"}
HOLDERS = {"frame", "Frame", "Update", "Arrived"}
# These have pixels, or points, of their own, and get an update for its cue alone: a run shows that they see no frame.
OWN_PIXELS = {f"edge/{name}.py" for name in ("commands/preview", "drawing/boxes", "drawing/glyphs", "drawing/strokes")}
OWN_PIXELS |= {f"edge/sinks/{name}.py" for name in ("audio", "display", "oled", "png")}
# ... and these get an update as every sink does: those that state to look into none, and those that no table has.
STATED = {
    module.partition(":")[0].replace(".", "/") + ".py": needs_of(name, Settings()).sees_frames
    for name, module in SINKS.items()
}
CUE_ALONE = {path for path, sees_frames in STATED.items() if not sees_frames} - OWN_PIXELS
CUE_ALONE |= {f"edge/sinks/{name}.py" for name in ("opening", "truth")}
TYPES = "edge/types.py"
SINKS_THAT_LOOK = {"edge/sinks/video.py", "edge/web/news.py"}


def named(tree: ast.AST) -> set[str]:
    """Return the names that a module uses, but of its own variables that are called frame or so."""
    names = set()
    for node in ast.walk(tree):
        match node:
            case ast.Attribute(attr=name) | ast.alias(name=name):
                names.add(name)
            case ast.Name(id=name) if name not in ("gray", "frame", "luma"):
                names.add(name)
    return names


def consumers(folder: Path) -> tuple[set[str], set[str]]:
    """Return whoever of a folder's modules names pixels, and whoever names what has a frame inside, by their paths."""
    pixels, holders = set(), set()
    for path in sorted(folder.rglob("*.py")):
        names = named(ast.parse(path.read_text(encoding="utf-8")))
        name = str(path.relative_to(folder.parent))
        if names & PIXELS:
            pixels.add(name)
        if names & HOLDERS:
            holders.add(name)
    return pixels, holders


def listed() -> set[str]:
    """The modules of the page's list."""
    chapter = PAGE.read_text(encoding="utf-8").split("## Who sees a frame")[1].split("\n## ")[0]
    rows = [line.split("|")[1] for line in chapter.splitlines() if line.startswith("| `edge/")]
    return set(re.findall(r"`(edge/[\w/]+\.py)`", " ".join(rows)))


def unlisted(folder: Path) -> set[str]:
    """Whoever of a folder's modules may see a frame and is not in the page's list, nor known to look into none."""
    pixels, holders = consumers(folder)
    return (pixels - listed() - OWN_PIXELS - {TYPES}) | (holders - listed() - OWN_PIXELS - CUE_ALONE - {TYPES})


def test_whoever_names_a_frame_or_pixels_stands_in_the_list_and_the_list_names_nobody_else() -> None:
    assert unlisted(EDGE) == set()
    pixels, holders = consumers(EDGE)
    assert listed() <= pixels | holders
    assert pixels | holders >= OWN_PIXELS | CUE_ALONE
    assert len(listed()) > 15


def test_every_sink_and_source_is_one_of_those_and_the_list_has_the_sinks_that_state_to_look() -> None:
    assert {path for path, sees_frames in STATED.items() if sees_frames} == STATED.keys() & listed()
    for module in {*SOURCES.values()}:
        assert module.partition(":")[0].replace(".", "/") + ".py" in listed()


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("archive.py", "def keep(update):\n    open('/x', 'wb').write(update.frame.gray)\n"),
        (
            "archive.py",
            "from edge.types import Update\nimport pickle\ndef keep(update: Update): pickle.dump(update, F)\n",
        ),
        ("archive.py", "import cv2\ndef keep(path, picture): cv2.imwrite(path, picture)\n"),
        ("archive.py", "from numpy.typing import NDArray\ndef keep(it: NDArray): ...\n"),
        ("archive.py", "def keep(arrived):\n    return arrived.update.frame\n"),
        ("sinks/log.py", "def keep(update):\n    return update.frame.gray.tolist()\n"),
        ("sinks/mqtt.py", "import cv2\ndef send(picture): return cv2.imencode('.jpg', picture)\n"),
    ],
)
def test_a_new_consumer_is_found(tmp_path: Path, name: str, text: str) -> None:
    path = tmp_path / "edge" / name
    path.parent.mkdir(parents=True)
    path.write_text(text)
    assert unlisted(tmp_path / "edge") == {f"edge/{name}"}


# In a run.

FRAMES = 24


class Watched(Frame):
    """A frame that notes which of our modules take its pixels, by whatever way, and that can be seen to be let go."""

    seen_by: ClassVar[set[str]] = set()
    held: ClassVar[weakref.WeakSet[Watched]] = weakref.WeakSet()

    @property
    def gray(self) -> Any:
        frame = sys._getframe(1)
        while (name := frame.f_globals["__name__"]).partition(".")[0] not in ("edge", "tests") and frame.f_back:
            frame = frame.f_back
        self.seen_by.add(name)
        return Frame.gray.__get__(self)  # type: ignore[attr-defined]

    @gray.setter
    def gray(self, value: Any) -> None:
        Frame.gray.__set__(self, value)  # type: ignore[attr-defined]
        self.held.add(self)

    def __hash__(self) -> int:
        return id(self)


class WatchedDemo(DemoSource):
    """The demo, whose frames are watched."""

    most_held = 0

    def frames(self) -> Iterator[Frame]:
        for frame in super().frames():
            gray, t, seq, arrived = frame.gray, frame.t, frame.seq, frame.t_arrived
            del frame
            if seq % 6 == 5:
                gc.collect()
                self.most_held = max(self.most_held, len(Watched.held))
            if seq == FRAMES:
                return
            yield Watched(gray, t, seq, arrived)


def run_watched(sinks: list[tuple[str, Sink]], control: Control) -> tuple[set[str], int]:
    """Return who took pixels out of a frame in a run with these sinks, as paths, and how many were held at most."""
    Watched.seen_by, Watched.held = set(), weakref.WeakSet()
    source = WatchedDemo("1")
    outcome = run(control, source, ExpressionModel(), sinks, threading.Event(), say=lambda _: None)
    assert outcome.metrics.frames == FRAMES
    assert [str(failure) for failure in outcome.failures] == []
    return {name.replace(".", "/") + ".py" for name in Watched.seen_by}, source.most_held


@pytest.mark.slow
def test_in_a_run_with_every_sink_only_video_looks_into_a_frame(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("pygame", reason="pygame-ce is not installed; ./deploy.sh sinks adds it")
    pytest.importorskip("luma.oled", reason="luma.oled is not installed; ./deploy.sh sinks adds it")
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    control = Control(Settings(own={"web": WebSettings(port=0)}))
    specs = [spec_of(name, tmp_path) for name in SINKS if name not in ("video", "mqtt")]  # mqtt has no broker here
    with monkeypatch.context() as few:
        few.setattr("edge.sinks.web.print", lambda *_, **__: None, raising=False)
        sinks = [(spec, open_sink(spec, control)) for spec in specs]
    seen, held = run_watched(sinks, control)
    assert "edge/vision/pipeline.py" in seen
    assert seen <= listed() - SINKS_THAT_LOOK
    assert held <= 2 * len(sinks) + 4, "one in each mailbox, one in each sink, the loop's and the source's"
    video = f"video:{tmp_path}/out.avi"
    assert run_watched([(video, open_sink(video, control))], control)[0] - seen == {"edge/sinks/video.py"}


@pytest.mark.slow
@pytest.mark.parametrize(
    "take",
    [
        lambda update: update.frame.gray.tobytes(),
        lambda update: getattr(update.frame, "gr" + "ay"),
        asdict,
        lambda update: pickle.dumps(update.frame.__reduce_ex__(2)),
        copy.deepcopy,
    ],
)
def test_a_sink_that_looks_into_a_frame_is_found_however_it_does(take: Any) -> None:
    class Rogue:
        capabilities = Capabilities(every_frame=True)

        def show(self, update: Update) -> None:
            if update.frame is not None:
                take(update)

        def close(self) -> None:
            pass

    seen, _ = run_watched([("rogue", Rogue())], Control())
    assert seen - listed()


@pytest.mark.slow
def test_a_sink_that_keeps_frames_is_found() -> None:
    kept = []

    class Hoarder:
        capabilities = Capabilities(every_frame=True)

        def show(self, update: Update) -> None:
            kept.append(update)

        def close(self) -> None:
            pass

    _, held = run_watched([("hoarder", Hoarder())], Control())
    assert held > FRAMES / 2
