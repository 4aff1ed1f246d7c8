"""Many browsers at once, and the times that each receives: who makes room, and how old news may be."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

pytest.importorskip("uvicorn", reason="uvicorn is not installed; ./deploy.sh sinks adds it")
client = pytest.importorskip("websockets.sync.client", reason="websockets is not installed; ./deploy.sh sinks adds it")

import websockets.exceptions  # noqa: E402

from edge.errors import SinkFailed  # noqa: E402
from edge.runtime.control import Control  # noqa: E402
from edge.sinks.web import HUNG, WebSink  # noqa: E402
from edge.types import Cue, Update  # noqa: E402
from edge.web import broadcast, server  # noqa: E402
from edge.web.news import REPEATED  # noqa: E402
from tests.support.web import PATIENCE, Page, news_when, next_news, serve, update, wait_for  # noqa: E402

__all__ = ["serve"]  # a fixture


def watch_from(page: Page, address: str, more: str = "") -> Any:
    line = socket.create_connection(("127.0.0.1", page.port), source_address=(address, 0))
    url, origin = f"ws://{page.host}/news{more}", f"http://{page.host}"
    return client.connect(url, sock=line, origin=origin, proxy=None, compression=None)


def closed_with(browser: Any) -> int:
    """Take what comes until the connection is closed, and return the code."""
    with pytest.raises(websockets.exceptions.ConnectionClosed) as closed:
        while True:
            browser.recv(PATIENCE)
    assert closed.value.rcvd is not None
    return int(closed.value.rcvd.code)


def test_of_thirty_pages_the_newest_are_served_and_the_others_hear_why(
    serve: Callable[..., Page], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(broadcast, "STALLED", 10 * PATIENCE)  # none of them answers
    page = serve()
    with contextlib.ExitStack() as stack:
        browsers = []
        for _ in range(30):
            browsers.append(stack.enter_context(page.watch()))
            page.sink.show(update())
            next_news(browsers[-1])
            assert page.ask("GET", "/").status == 200
        assert {closed_with(browser) for browser in browsers[: -broadcast.WATCHERS]} == {broadcast.MAKE_ROOM}
        wait_for(lambda: len(page.sink._broadcast._watchers) == broadcast.WATCHERS)
        news_when(browsers[-1], lambda message: message["news"]["word"] == "smile")
    assert broadcast.WATCHERS + 7 < server.ADDRESS_CONNECTIONS  # a browser that loads the page uses up to seven


def test_many_pages_of_one_visitor_take_nothing_from_another(
    serve: Callable[..., Page], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(broadcast, "WATCHERS", 3)
    for name in ("LATE", "STALLED"):
        monkeypatch.setattr(broadcast, name, 10 * PATIENCE)
    page = serve()
    with contextlib.ExitStack() as stack:
        phone = stack.enter_context(watch_from(page, "127.0.0.2"))
        next_news(phone)
        desk = []
        for _ in range(5):
            desk.append(stack.enter_context(watch_from(page, "127.0.0.3")))
            next_news(desk[-1])
            next_news(phone)
        assert [closed_with(browser) for browser in desk[:3]] == [broadcast.MAKE_ROOM] * 3
        next_news(phone)


def test_a_page_that_does_not_answer_makes_room_first(
    serve: Callable[..., Page], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(broadcast, "WATCHERS", 2)
    monkeypatch.setattr(broadcast, "STALLED", 10 * PATIENCE)
    now = 1000.0
    page = serve(clock=lambda: now)
    with page.watch() as lively, page.watch() as dead:
        json.loads(dead.recv(PATIENCE))
        now += broadcast.LATE + 0.1
        for _ in range(3):  # with the third it is known that the answer to the second has come
            now += 2 * broadcast.INTERVAL
            next_news(lively)
        with page.watch() as newer:
            next_news(newer)
            assert closed_with(dead) == broadcast.MAKE_ROOM
            next_news(lively)


def test_who_made_room_comes_back_by_itself_only_where_there_is_some(
    serve: Callable[..., Page], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(broadcast, "WATCHERS", 1)
    monkeypatch.setattr(broadcast, "STALLED", 10 * PATIENCE)
    page = serve()
    with page.watch() as looked_at:
        next_news(looked_at)
        with watch_from(page, "127.0.0.1", "?room=") as waiting:
            assert closed_with(waiting) == broadcast.MAKE_ROOM
        next_news(looked_at)
    wait_for(lambda: not page.sink._broadcast._watchers)
    with watch_from(page, "127.0.0.1", "?room=") as again:
        next_news(again)


def test_what_cannot_be_answered_says_so_in_words(serve: Callable[..., Page], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "ADDRESS_CONNECTIONS", 0)
    monkeypatch.setattr(server, "LINGER", PATIENCE)
    page = serve()
    heard = page.say(f"GET / HTTP/1.1\r\nHost: {page.host}\r\n\r\n".encode()).decode()
    head, _, body = heard.partition("\r\n\r\n")
    assert head.startswith("HTTP/1.1 503 ")
    assert f"Content-Length: {len(body.encode())}" in head
    for language, words in (("en", "Too many pages are open."), ("de", "Zu viele Seiten sind offen.")):
        assert f'<p lang="{language}">{words}' in body


def test_a_message_says_how_long_it_was_kept_so_that_a_slow_line_shows(serve: Callable[..., Page]) -> None:
    """What a browser measures between its answer and the next message, less that, is the line's share."""
    page = serve()
    page.sink.show(update())
    with page.watch() as browser:
        answered = time.monotonic()
        for pause in (0.0, 0.3, 0.0, 0.3):
            time.sleep(pause)  # it lies here, and counts as under way
            message = json.loads(browser.recv(PATIENCE))
            assert 0 <= message["held"] <= time.monotonic() - answered + 0.001  # as it is rounded
            answered = time.monotonic()
            browser.send("taken")


@pytest.mark.parametrize("state", ["paused", "no_camera"])
def test_a_loop_that_hangs_is_no_pause_that_lasts(serve: Callable[..., Page], state: Any) -> None:
    ahead = 0.0
    page = serve(clock=lambda: time.monotonic() + ahead)
    shown = Update(None, (), (), (), Cue(state, None, 0.0, 0.0), {}, 0)

    def lasts(message: dict[str, Any]) -> bool:
        page.sink.show(shown)
        return bool(message["news"]["lasts"])

    page.sink.show(shown)
    with page.watch() as browser:
        news_when(browser, lasts)
        ahead = REPEATED
        news_when(browser, lambda message: not message["news"]["lasts"])


def test_a_pause_that_the_loop_never_takes_does_not_last(serve: Callable[..., Page]) -> None:
    page = serve()
    page.sink.show(update())
    page.control.paused = True
    with page.watch() as browser:
        news = next_news(browser)["news"]
    assert (news["sentence"], news["lasts"]) == ("Cuelens is paused.", False)


def test_a_server_that_hangs_is_reported_and_another_one_takes_its_place(
    serve: Callable[..., Page], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "END", 1.0)
    now = 1000.0
    page = serve(clock=lambda: now)
    loop = page.sink._server._loop
    assert loop is not None
    busy, go = threading.Event(), threading.Event()
    loop.call_soon_threadsafe(lambda: (busy.set(), go.wait(3 * PATIENCE)))
    assert busy.wait(PATIENCE)
    page.sink.show(update())
    now += HUNG
    page.sink.show(update())  # it may take as long as that
    now += 0.1
    with pytest.raises(SinkFailed, match="its server has taken no update for"):
        page.sink.show(update())
    with pytest.raises(SinkFailed, match="did not end within a second"):
        page.sink.close()
    again = WebSink(str(page.port), Control())
    again.close()
    go.set()
    page.sink._server._thread.join(PATIENCE)
    assert not page.sink._server.serving
