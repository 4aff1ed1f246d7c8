"""The page in a real Chromium: a sink that is fed, a browser that visits it, and what it has to show."""

from __future__ import annotations

import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from edge.runtime.control import Control
from edge.runtime.metrics import Metrics, SinkMetrics
from edge.settings import LookSettings, Settings
from edge.sinks.web import WebSettings, WebSink
from edge.sources.demo import DemoSource
from edge.types import Cue, Face, Update
from edge.web import server

for library in ("uvicorn", "websockets"):
    pytest.importorskip(library, reason=f"{library} is not installed; ./deploy.sh sinks adds it")
playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed; ./deploy.sh test adds it")
PATIENCE = 60.0  # seconds until a test stops waiting for what must come
playwright.expect.set_options(timeout=1000 * PATIENCE)
CHROMIUM = os.environ.get("CUELENS_CHROMIUM") or shutil.which("chromium")
if CHROMIUM is None:
    pytest.skip("no chromium; apt-get install chromium, or name one in CUELENS_CHROMIUM", allow_module_level=True)

# A browser that calls nobody: what it would ask the internet would hide what the page asks.
SILENT = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update",
]  # fmt: skip


PHONE = {"width": 360, "height": 740}


DESK = {"width": 1366, "height": 768}


TOKEN = "correct horse battery"
SMILE = Cue("expression", "smile", 0.9, 0.0, None, "near", "left")


CUES = {
    "smile": SMILE,
    "surprise": Cue("expression", "surprise", 0.9, 0.0, None, "middle", "ahead"),
    "upset": Cue("expression", "upset", 0.9, 0.0, None, "near", "right"),
    "neutral": Cue("expression", "neutral", 0.9, 0.0, None, "near", "ahead"),
    "new": Cue("unsure", None, 0.0, 0.0, "new", "far", "ahead"),
    "poor": Cue("unsure", None, 0.0, 0.0, "poor", "far", "right"),
    "no_face": Cue("no_face", None, 0.0, 0.0),
    "no_camera": Cue("no_camera", None, 0.0, 0.0),
}


class Feed:
    """A sink that is fed the demo person at ten frames a second, with a cue that the test chooses."""

    def __init__(self, saved: Path | None, **web: Any) -> None:
        own, look = {"web": WebSettings(port=0, **web)}, LookSettings(arrow=True)
        self.control = Control(Settings(sinks=("web", "audio"), look=look, own=own), saved)
        self.control.metrics = Metrics("tflite")
        self.control.metrics.sinks = {
            "web": SinkMetrics(),
            "oled": SinkMetrics("waiting", failures=2, error="oled sink: nothing answers at 0x3c; see i2cdetect -y 1"),
        }
        self.sink = WebSink("", self.control)
        self.cue = SMILE
        self.fed = threading.Event()
        self.fed.set()
        self._source = DemoSource("3")
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        frame = next(self._source.frames())
        box = self._source.truth(0).box
        faces = () if box is None else (Face(1, box, self._source.truth(0).roll_deg, distance_m=0.9),)
        while not self._stop.wait(0.1):
            if self.fed.is_set():
                now, cue = time.monotonic(), self.cue
                shown = None if cue.state == "no_camera" else replace(frame, t=now, t_arrived=now)
                health = self.control.metrics
                assert health is not None
                health.count(cue, faces, {"total": 14.0}, now)
                self.sink.show(Update(shown, faces, (), (), cue, {"total": 14.0}, 0))

    def close(self) -> None:
        self._stop.set()
        self._thread.join()
        self.sink.close()


@dataclass
class Seen:
    """What a browser said and asked for besides showing the page."""

    errors: list[str]
    asked: list[str]
    refused: int  # requests that are to be: Chromium notes such an answer as a failed load


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=SILENT)
        yield browser
        browser.close()


@pytest.fixture
def feed(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Feed]]:
    monkeypatch.setattr(server, "END", PATIENCE)
    feeds: list[Feed] = []

    def opened(saved: Path | None = None, **web: Any) -> Feed:
        feeds.append(Feed(saved, **web))
        return feeds[-1]

    yield opened
    for one in feeds:
        one.close()


@pytest.fixture
def visit(chromium: Any) -> Iterator[Callable[..., Any]]:
    """Open the page in a browser context of its own; at the end no page may have complained or asked elsewhere."""
    opened: list[tuple[Any, Seen, str]] = []

    def visited(url: str, viewport: dict[str, int] = PHONE, refused: int = 0, **more: Any) -> Any:
        context = chromium.new_context(viewport=viewport, **more)
        context.set_default_timeout(1000 * PATIENCE)
        page = context.new_page()
        seen = Seen([], [], refused)
        page.on("console", lambda message: seen.errors.append(message.text))
        page.on("pageerror", lambda error: seen.errors.append(str(error)))
        page.on("request", lambda request: seen.asked.append(request.url))
        page.on("websocket", lambda socket: seen.asked.append(socket.url))
        opened.append((context, seen, url))
        page.goto(url)
        return page

    yield visited
    for context, _, _ in opened:
        context.close()
    for _, seen, url in opened:
        failed = [error for error in seen.errors if error.startswith("Failed to load resource")]
        assert [error for error in seen.errors if error not in failed] == []
        assert len(failed) == seen.refused
        host = url.removeprefix("http://")
        assert [asked for asked in seen.asked if not asked.startswith((f"http://{host}", f"ws://{host}"))] == []
        assert seen.asked


def says(page: Any, selector: str, text: str) -> None:
    playwright.expect(page.locator(selector)).to_have_text(text)


def until(page: Any, expression: str) -> None:
    """Wait for a JavaScript expression to be true; by the browser's own door, as the page allows no eval."""
    end = time.monotonic() + PATIENCE
    while not page.evaluate(expression):
        assert time.monotonic() < end, f"never: {expression}"
        page.wait_for_timeout(20)


def look_at(page: Any, tmp_path: Path, name: str, **more: Any) -> None:
    """Keep a screenshot beside the test's other files, for a person to look at."""
    path = tmp_path / f"{name}.png"
    page.screenshot(path=path, **more)
    if folder := os.environ.get("CUELENS_SCREENSHOTS"):
        Path(folder).mkdir(parents=True, exist_ok=True)
        shutil.copy(path, folder)
