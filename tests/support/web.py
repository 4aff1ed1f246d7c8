"""A web sink on a real port, and what a browser receives of it."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge.runtime.control import Control
from edge.settings import Settings
from edge.sinks.web import WebSettings, WebSink
from edge.types import Clock, Cue, Face, Frame, Update

pytest.importorskip("uvicorn", reason="uvicorn is not installed; ./deploy.sh sinks adds it")
client = pytest.importorskip("websockets.sync.client", reason="websockets is not installed; ./deploy.sh sinks adds it")
from edge.web import server  # noqa: E402

TOKEN = "correct horse battery"
SMILE = Cue("expression", "smile", 0.9, 0.0, None, "near", "left")


NOBODY = Cue("no_face", None, 0.0, 0.0)


PATIENCE = 60.0  # seconds until a test stops waiting for what must come


def update(cue: Cue = SMILE, *, width: int = 320, age: float = 0.0, faces: tuple[Face, ...] = ()) -> Update:
    gray = np.zeros((width * 3 // 4, width), np.uint8)
    return Update(Frame(gray, 0.0, 0, time.monotonic() - age), faces, (), (), cue, {"total": 12.0}, 3)


class Page:
    """A sink that serves, and the control that it obeys."""

    def __init__(self, web: WebSettings, saved: Path | None = None, clock: Clock = time.monotonic) -> None:
        self.control = Control(Settings(sinks=("web", "audio"), own={"web": web}), saved)
        self.sink = WebSink("", self.control, clock)
        self.host = self.sink.url.removeprefix("http://").rstrip("/")
        self.port = int(self.host.rpartition(":")[2])

    def ask(
        self, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None, **values: Any
    ) -> http.client.HTTPResponse:
        """Send one request as our own page would; `values` are sent as JSON. The answer is read whole."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        sent = {"Host": self.host} | (headers or {})
        if method == "POST":
            body = json.dumps(values).encode() if body is None else body
            sent = {"Origin": f"http://{self.host}", "Content-Type": "application/json"} | sent
        with contextlib.closing(connection):
            connection.request(method, path, body, {name: value for name, value in sent.items() if value})
            answer = connection.getresponse()
            answer.text = answer.read().decode()  # type: ignore[attr-defined]
            return answer

    def say(self, raw: bytes, least: int | None = None) -> bytes:
        """Send bytes and return all that comes until the other side closes, or `least` bytes and what is with them."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE) as connection:
            heard = b""
            with contextlib.suppress(ConnectionError):
                connection.sendall(raw)
                while (least is None or len(heard) < least) and (more := connection.recv(65_536)):
                    heard += more
            return heard

    def watch(self, **more: Any) -> Any:
        """Open the page's WebSocket as a browser does."""
        return client.connect(
            f"ws://{self.host}/news", **({"origin": f"http://{self.host}", "proxy": None, "compression": None} | more)
        )


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Page]]:
    monkeypatch.setattr(server, "END", PATIENCE)
    pages: list[Page] = []

    def opened(saved: Path | None = None, clock: Clock = time.monotonic, **web: Any) -> Page:
        pages.append(Page(WebSettings(**({"port": 0} | web)), saved, clock))
        return pages[-1]

    yield opened
    for page in pages:
        page.sink.close()


def next_news(socket: Any) -> dict[str, Any]:
    """Take one message, with the picture that belongs to it under `jpeg`."""
    message: dict[str, Any] = json.loads(socket.recv(PATIENCE))
    if "picture" in message:
        message["jpeg"] = socket.recv(PATIENCE)
    socket.send("taken")
    return message


def news_when(socket: Any, wanted: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """Take messages until one is as wanted."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        message = next_news(socket)
        if wanted(message):
            return message
    raise AssertionError("it was never sent")


def wait_for(happened: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE
    while not happened():
        assert time.monotonic() < end, "it never happened"
        threading.Event().wait(0.01)
