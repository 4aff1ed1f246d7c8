"""The web sink on a real port: what a browser receives, and everything that a stranger is refused."""

from __future__ import annotations

import contextlib
import errno
import json
import re
import socket
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest

from edge.errors import RuntimeMissing, SettingsInvalid, SinkFailed
from edge.locale import read_locale
from edge.runtime.control import Control
from edge.runtime.links import LinkReport
from edge.runtime.metrics import Metrics, SinkMetrics
from edge.settings import Settings
from edge.sinks.audio import AudioSettings
from edge.sinks.opening import open_sink
from edge.sinks.table import COMMON, SINKS, is_live, table_of
from edge.sinks.web import WebSettings, WebSink
from edge.types import Cue, Face, Update
from edge.web.access import ALL_REFILL, ALL_TRIES, FREE_TRIES, LONGEST_WAIT, Names, Sessions, Tries
from edge.web.texts import preferred

pytest.importorskip("uvicorn", reason="uvicorn is not installed; ./deploy.sh sinks adds it")
client = pytest.importorskip("websockets.sync.client", reason="websockets is not installed; ./deploy.sh sinks adds it")

import websockets.exceptions  # noqa: E402

from edge.web import app, broadcast, guard, server  # noqa: E402
from tests.support.web import (  # noqa: E402
    NOBODY,
    PATIENCE,
    SMILE,
    TOKEN,
    Page,
    news_when,
    next_news,
    serve,
    update,
    wait_for,
)

__all__ = ["serve"]  # fixtures


# What the page is sent.


def test_a_browser_receives_the_cue_the_run_and_the_settings(serve: Callable[..., Page]) -> None:
    page = serve()
    health = Metrics("tflite")
    health.sinks["oled:spi"] = SinkMetrics("waiting", error="oled: not there")
    health.sinks["glasses:halo"] = SinkMetrics("working")
    page.control.links["glasses:halo"] = LinkReport(
        "halo", "Halo 08", "lost", battery=61, error="Halo 08 is out of reach"
    )
    health.dropped = 7
    page.control.metrics = health
    page.sink.show(update())
    with page.watch() as browser:
        first = next_news(browser)
    news = first["news"]
    assert (news["word"], news["sentence"], news["partner"]) == (
        "smile",
        "The face shows a smile.",
        "near, on the left",
    )
    assert news["glyph"].startswith("<")
    assert (news["paused"], news["side"], news["p50"], news["p95"], news["dropped"]) == (False, None, 12, 12, 7)
    assert 0 <= news["age"] < PATIENCE
    assert news["sinks"] == [
        {"name": "oled", "state": "waiting", "says": "will be tried again", "error": "oled: not there"},
        {
            "name": "glasses",
            "state": "lost",
            "says": "connection lost",
            "error": "Halo 08 is out of reach",
            "worn": "Halo 08, battery 61 %",
        },
    ]
    assert first["page"]["language"] == "en"
    shown = {(field["table"], field["key"]) for group in first["page"]["groups"] for field in group["fields"]}
    assert shown == {(table, item.name) for table in (*COMMON, "audio") for item in fields(table_of(Settings(), table))}


def test_before_the_first_update_nothing_is_claimed(serve: Callable[..., Page]) -> None:
    with serve().watch() as browser:
        news = next_news(browser)["news"]
    assert news["age"] is None
    assert not {"sentence", "p50", "fps"} & news.keys()


def test_a_change_of_the_cue_reaches_every_browser(serve: Callable[..., Page]) -> None:
    page = serve()
    page.sink.show(update())
    with page.watch() as one, page.watch() as other:
        for cue, sentence in ((NOBODY, "There is no face."), (SMILE, "The face shows a smile.")) * 3:
            page.sink.show(update(cue))
            for browser in (one, other):
                news_when(browser, lambda message, wanted=sentence: message["news"].get("sentence") == wanted)


def test_what_stays_the_same_is_sent_ten_times_a_second_at_most(serve: Callable[..., Page]) -> None:
    page = serve()
    stop = threading.Event()

    def run() -> None:
        while not stop.wait(0.005):
            page.sink.show(update())

    thread = threading.Thread(target=run)
    thread.start()
    try:
        with page.watch() as browser:
            next_news(browser)
            begun = time.monotonic()
            for _ in range(10):
                next_news(browser)
            assert time.monotonic() - begun > 0.8
    finally:
        stop.set()
        thread.join()


def test_a_loop_that_stalls_shows_by_a_growing_age(serve: Callable[..., Page]) -> None:
    page = serve()
    page.sink.show(update(age=1.0))
    with page.watch() as browser:
        assert next_news(browser)["news"]["age"] >= 1.0
        late = news_when(browser, lambda message: message["news"]["age"] > 2.0)["news"]
    assert late["lasts"] is False


@pytest.mark.parametrize(("state", "sentence"), [("no_camera", "The camera gives no picture."), ("paused", "paused")])
def test_what_stays_true_in_silence_is_marked_so(serve: Callable[..., Page], state: Any, sentence: str) -> None:
    page = serve()
    page.sink.show(Update(None, (), (), (), Cue(state, None, 0.0, 0.0), {}, 0))
    with page.watch() as browser:
        news = next_news(browser)["news"]
    assert news["lasts"] is True
    assert sentence in news["sentence"]


@pytest.mark.parametrize("table", [*COMMON, *filter(is_live, SINKS)])
def test_every_setting_that_may_be_changed_has_a_name(table: str) -> None:
    for item in fields(table_of(Settings(), table)):
        assert f"setting.{item.name}" in read_locale("en").page
        if item.name != "language":
            assert [
                choice
                for choice in item.metadata.get("choices", ())
                if f"choice.{choice}" not in read_locale("en").page
            ] == []


@pytest.mark.parametrize(
    ("header", "language"),
    [("", "en"), ("de-AT,de;q=0.9,en;q=0.8", "de"), ("nl, fr;q=0.5", "fr"), ("*", "en"), ("tlh", "en")],
)
def test_the_sign_in_page_takes_the_browsers_language(header: str, language: str) -> None:
    assert preferred(header) == language


# What may be done.


def test_a_setting_is_changed_here_and_sent_everywhere(serve: Callable[..., Page]) -> None:
    page = serve()
    page.sink.show(update())
    with page.watch() as other:
        next_news(other)
        assert page.ask("POST", "/settings", table="look", values={"language": "de"}).status == 204
        assert page.control.settings.look.language == "de"
        shown = news_when(other, lambda message: "page" in message)
    assert shown["page"]["language"] == "de"
    assert shown["news"]["sentence"] == "Das Gesicht zeigt ein Lächeln."


@pytest.mark.parametrize(
    ("values", "line"),
    [
        ({"table": "cue", "values": {"hold": 99}}, "cue.hold is 99; valid are 0.0 to 10.0 s"),
        ({"table": "cue", "values": {"hold": None}}, "cue.hold is None; it must be of type float"),
        (
            {"table": "cue", "values": {"hold": 10**400}},
            f"cue.hold is 1{'0' * 99}…; it must be a number of 300 digits or less",
        ),
        ({"table": "look", "values": {"language": ["de"]}}, "look.language is ['de']; it must be of type str"),
        (
            {"table": "web", "values": {"token": ""}},
            "'web' cannot be changed while it runs; valid are cue, look, audio",
        ),
    ],
)
def test_a_setting_that_is_not_valid_is_answered_with_its_line(
    serve: Callable[..., Page], values: dict[str, Any], line: str
) -> None:
    page = serve()
    before = page.control.settings
    answer = page.ask("POST", "/settings", **values)
    assert (answer.status, json.loads(answer.text)) == (422, {"error": line})
    assert page.control.settings is before


def test_the_pause_is_sent_before_the_loop_has_heard_of_it(serve: Callable[..., Page]) -> None:
    page = serve()
    page.sink.show(update())
    with page.watch() as browser:
        next_news(browser)
        assert page.ask("POST", "/pause", paused=True).status == 204
        assert page.control.paused is True
        shown = news_when(browser, lambda message: message["news"]["paused"])["news"]
        assert shown["sentence"] == "Cuelens is paused."
        assert page.ask("POST", "/pause", paused=False).status == 204
        assert news_when(browser, lambda message: not message["news"]["paused"])["news"]["word"] == "smile"


def test_what_was_changed_is_saved(serve: Callable[..., Page], tmp_path: Path) -> None:
    page = serve(tmp_path / "saved.toml")
    page.ask("POST", "/settings", table="cue", values={"enter": 0.5})
    assert page.ask("POST", "/save").status == 204
    assert "enter = 0.5" in (tmp_path / "saved.toml").read_text()


def test_two_browsers_that_save_at_once_both_succeed(serve: Callable[..., Page], tmp_path: Path) -> None:
    page = serve(tmp_path / "saved.toml")
    statuses: list[int] = []

    def change_and_save(number: int) -> None:
        for turn in range(4):
            page.ask("POST", "/settings", table="audio", values={"repeat": float(10 * turn + number)})
            statuses.append(page.ask("POST", "/save").status)

    threads = [threading.Thread(target=change_and_save, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert statuses == [204] * 12
    again = Control(saved=tmp_path / "saved.toml")
    again.load()
    assert again.settings.of(AudioSettings) == page.control.settings.of(AudioSettings)


def test_who_changes_a_setting_that_is_another_by_now_is_answered(serve: Callable[..., Page]) -> None:
    page = serve()
    assert page.ask("POST", "/settings", table="cue", values={"hold": 2.0}, seen={"hold": 0.6}).status == 204
    answer = page.ask("POST", "/settings", table="cue", values={"hold": 1.0}, seen={"hold": 0.6})
    assert answer.status == 409
    assert "cue.hold was changed to 2.0 by somebody else meanwhile" in answer.text
    assert page.control.settings.cue.hold == 2.0
    assert page.ask("POST", "/settings", table="cue", values={"hold": 1.0}, seen=[]).status == 400


def test_saving_without_a_file_states_what_to_do(serve: Callable[..., Page]) -> None:
    answer = serve().ask("POST", "/save")
    assert answer.status == 409
    assert "start with --saved FILE" in answer.text


# The picture.


def test_a_picture_is_encoded_once_for_all_who_want_it_and_never_unwatched(
    serve: Callable[..., Page], monkeypatch: pytest.MonkeyPatch
) -> None:
    encoded: list[tuple[dict[str, Any], bytes]] = []
    original = broadcast.picture_message

    def counted(*arguments: Any) -> tuple[dict[str, Any], bytes]:
        encoded.append(original(*arguments))
        return encoded[-1]

    monkeypatch.setattr(broadcast, "picture_message", counted)
    page = serve(picture=True)
    face = Face(1, (400, 300, 200, 240), 5.0, distance_m=0.8)
    page.sink.show(update(width=1280, faces=(face,)))
    with page.watch() as one, page.watch() as other, page.watch() as third:
        for browser in (one, other, third):
            assert "picture" not in next_news(browser)
        assert encoded == []
        one.send("picture on")
        other.send("picture on")
        seen: dict[bytes, set[str]] = {}
        while not any(len(by) == 2 for by in seen.values()):
            page.sink.show(update(width=1280, faces=(face,)))
            for name, browser in (("one", one), ("other", other)):
                message = next_news(browser)
                if "jpeg" in message:
                    seen.setdefault(message["jpeg"], set()).add(name)
                    assert (message["picture"]["width"], message["picture"]["height"]) == (640, 480)
                    assert message["picture"]["faces"] == [
                        {"x": 250.0, "y": 210.0, "width": 100.0, "height": 120.0, "roll_deg": 5.0, "says": "0.8 m"}
                    ]
            assert "picture" not in next_news(third)
        assert all(jpeg.startswith(b"\xff\xd8") for jpeg in seen)
        one.send("picture off")
        other.send("picture off")
        news_when(one, lambda message: "picture" not in message)
        news_when(other, lambda message: "picture" not in message)
        before = len(encoded)
        page.sink.show(update(NOBODY, width=1280))
        news_when(third, lambda message: message["news"]["sentence"] == "There is no face.")
        assert len(encoded) <= before + 1  # one that was under way


def test_no_picture_is_sent_where_the_settings_do_not_allow_it(serve: Callable[..., Page]) -> None:
    page = serve(picture=False)
    page.sink.show(update())
    with page.watch() as browser:
        assert next_news(browser)["page"]["pictures"] is False
        browser.send("picture on")
        for cue in (NOBODY, SMILE) * 4:
            page.sink.show(update(cue))
            assert "picture" not in next_news(browser)


@pytest.mark.parametrize(
    ("change", "shown"),
    [
        ("paused", lambda news: news["paused"]),
        ("old", lambda news: news["age"] > 2),
        ("lost", lambda news: news["lasts"]),
    ],
)
def test_a_picture_that_is_not_of_now_is_not_sent(
    serve: Callable[..., Page], change: str, shown: Callable[[dict[str, Any]], bool]
) -> None:
    page = serve(picture=True)
    page.sink.show(update())
    with page.watch() as browser:
        browser.send("picture on")
        news_when(browser, lambda message: "picture" in message)
        page.control.paused = change == "paused"
        lost = Update(None, (), (), (), Cue("no_camera", None, 0.0, 0.0), {}, 0)
        page.sink.show(lost if change == "lost" else update(NOBODY, age=3.0 if change == "old" else 0.0))
        assert "picture" not in news_when(browser, lambda message: shown(message["news"]))
        assert "picture" not in next_news(browser)


# Who is refused.


def test_every_answer_forbids_what_the_page_does_not_need(serve: Callable[..., Page]) -> None:
    page = serve(token=TOKEN)
    for method, path, status in (
        ("GET", "/login", 200),
        ("GET", "/page.css", 200),
        ("GET", "/", 303),
        ("GET", "/none", 401),
        ("POST", "/login", 400),
        ("HEAD", "/login", 200),
        ("DELETE", "/login", 403),
    ):
        answer = page.ask(method, path)
        assert answer.status == status
        policy = answer.headers["Content-Security-Policy"]
        for part in (
            "default-src 'none'",
            "script-src 'self'",
            f"connect-src 'self' ws://{page.host}",
            "frame-ancestors 'none'",
            "base-uri 'none'",
            "form-action 'none'",
        ):
            assert part in policy.split("; ")
        assert "unsafe" not in policy
        assert answer.headers["Cache-Control"] == "no-store"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Referrer-Policy"] == "no-referrer"
        assert "camera=()" in answer.headers["Permissions-Policy"]
        assert answer.headers["Server"] is None


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:{port}",
        "127.0.0.1:{port}.evil.example",
        "user@127.0.0.1:{port}",
        "localhost.evil.example:{port}",
        "localhost..:{port}",
        "glasses.local.:{port}",
        "192.0.2.1:{port}",
    ],
)
@pytest.mark.parametrize("path", ["/", "/page.js", "/settings"])
def test_a_foreign_name_is_refused(serve: Callable[..., Page], host: str, path: str) -> None:
    page = serve()
    host = host.format(port=page.port)
    method = "POST" if path == "/settings" else "GET"
    answer = page.ask(method, path, headers={"Host": host, "Origin": f"http://{host}"})
    assert answer.status == 421
    assert "evil" not in answer.headers["Content-Security-Policy"]
    assert "ws:" not in answer.headers["Content-Security-Policy"]


def test_the_page_names_in_words_which_name_is_not_known(serve: Callable[..., Page]) -> None:
    page = serve()
    sees = {"Accept": "text/html,*/*;q=0.8", "Accept-Language": "de-AT", "Host": "glasses.example:8317"}
    answer = page.ask("GET", "/", headers=sees)
    assert (answer.status, answer.headers["Content-Type"]) == (421, "text/html; charset=utf-8")
    assert "Diese Seite hat nicht den Namen glasses.example." in answer.text
    assert "names „glasses.example“ ergänzen" in answer.text
    for odd in ('<script>alert("x")</script>', "a b", "\xe4", "x" * 9000):
        assert "alert" not in page.ask("GET", "/", headers=sees | {"Host": odd}).text


# A tunnel (ssh -L 9000:localhost:8317) and a proxy have ports of their own.
@pytest.mark.parametrize(
    "host",
    [
        "LocalHost:{port}", "127.0.0.1:{port}", "[::1]:{port}", "glasses.local:{port}", "localhost:9000", "127.0.0.1",
        "127.0.0.2:80", "localhost.:{port}", "GLASSES.LOCAL.", "[0:0:0:0:0:0:0:1]:9000", "[::FFFF:127.0.0.1]",
    ],
)  # fmt: skip
def test_our_own_names_are_let_in(serve: Callable[..., Page], host: str) -> None:
    page = serve(names=("Glasses.local",))
    assert page.ask("GET", "/", headers={"Host": host.format(port=page.port)}).status == 200


@pytest.mark.parametrize(
    ("asked", "address", "own"),
    [
        ("192.168.4.1:80", "192.168.4.1", True),  # where it was reached
        ("192.168.4.1", "192.168.4.1", True),
        ("192.168.4.1", "::ffff:192.168.4.1", True),
        ("192.168.4.2", "192.168.4.1", False),
        ("[fe80::1]", "fe80::1", True),
        ("[fe80::1]:80", "fe80::1", True),
        ("fe80::1", "fe80::1", False),
        ("", "", False),
        (":80", "", False),
        ("localhost:", "", False),
        ("localhost:99999", "", False),
        ("localhost:\uff18", "", False),
        ("192.168.4.1:9000", "192.168.4.1", True),
        ("192.168.4.1.", "192.168.4.1", True),
        ("[fe80:0:0::1%25wlan0]:80", "fe80::1%wlan0", True),
        ("[fe80::1", "fe80::1", False),
        ("0.0.0.0", "127.0.0.1", True),  # what the settings say
    ],
)
def test_a_name_is_ours_by_the_settings_or_by_where_it_was_reached(asked: str, address: str, own: bool) -> None:
    assert Names("0.0.0.0").own(asked, address) is own


def test_in_ones_own_network_the_machine_is_found_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "gethostname", lambda: "Specs.attacker.example")  # as a foreign DHCP server may name it
    everywhere, here = Names("0.0.0.0"), Names("127.0.0.1")
    for asked in ("specs", "specs.local:8317", "SPECS.local."):
        assert (everywhere.own(asked, ""), here.own(asked, "")) == (True, False)
    assert not everywhere.own("specs.attacker.example", "")


@pytest.mark.parametrize(
    "name",
    ["*", "*.local", "a b", "", "http://", "ftp://a", "https://u:p@a", "https://a/b?c", "https://a/..", "a/b", "a:b"],
)
def test_a_name_that_is_none_is_refused(name: str) -> None:
    with pytest.raises(SettingsInvalid, match=r"web\.names has .*; valid are names as glasses\.local, and addresses"):
        WebSink("0", Control(Settings(own={"web": WebSettings(names=(name,))})))


def test_a_name_may_be_written_as_a_browser_shows_it() -> None:
    names = Names(
        "127.0.0.1", ("Müller.local", "glasses.local.:9000", "HTTPS://Home.example:443/glasses/", "[FE80::1]")
    )
    for asked in ("xn--mller-kva.local", "glasses.local", "home.example", "[fe80::1]:1"):
        assert names.own(asked, "")
    assert [(item.origin, item.path) for item in names.addresses] == [("https://home.example", "/glasses")]


@pytest.mark.parametrize(
    "origin", ["http://evil.example", "null", "https://{host}", "http://{host}.evil.example", "http://localhost:1"]
)
def test_what_a_foreign_page_asks_for_is_refused(serve: Callable[..., Page], origin: str) -> None:
    page = serve()
    origin = origin.format(host=page.host)
    assert page.ask("GET", "/", headers={"Origin": origin}).status == 403
    assert page.ask("POST", "/pause", headers={"Origin": origin}, paused=True).status == 403
    assert page.control.paused is False
    with pytest.raises(websockets.exceptions.InvalidStatus) as refused, page.watch(origin=origin):
        pass
    assert refused.value.response.status_code == 403


def test_what_does_not_say_where_it_comes_from_may_only_read_files(serve: Callable[..., Page]) -> None:
    page = serve()
    assert page.ask("GET", "/").status == 200
    assert page.ask("POST", "/pause", headers={"Origin": ""}, paused=True).status == 403
    assert page.control.paused is False
    with pytest.raises(websockets.exceptions.InvalidStatus) as refused, page.watch(origin=None):
        pass
    assert refused.value.response.status_code == 403


@pytest.mark.parametrize(
    "path",
    [
        "/../app.py", "/..%2fapp.py", "/%2e%2e/app.py", "//etc/passwd", "/page.js/", "/page.js/../app.py", "/PAGE.JS",
        "/app.py", "/edge/web/app.py", "/page.js%00", "/docs", "/openapi.json", "/login.html", "/page.html", "/.git",
    ],
)  # fmt: skip
def test_only_files_of_the_table_are_given(serve: Callable[..., Page], path: str) -> None:
    page = serve()
    heard = page.say(f"GET {path} HTTP/1.1\r\nHost: {page.host}\r\n\r\n".encode())
    assert heard.split(b" ")[1] == b"404"
    assert b"import" not in heard


@pytest.mark.parametrize(
    ("status", "headers", "body"),
    [
        (415, {"Content-Type": "text/plain"}, b"{}"),
        (415, {"Content-Type": "application/x-www-form-urlencoded"}, b"paused=true"),
        (415, {"Content-Type": ""}, b"{}"),
        (400, {}, b"{"),
        (400, {}, b"[" * 16_000),
        (400, {}, b"[]"),
        (400, {}, b"\xff\xfe"),
        (400, {}, b"{}"),
        (400, {}, b'{"paused": 1}'),
        (413, {}, b'{"paused": true, "more": "' + b"x" * 16_384 + b'"}'),
    ],
)
def test_only_small_json_of_the_right_kind_is_taken(
    serve: Callable[..., Page], status: int, headers: dict[str, str], body: bytes
) -> None:
    page = serve()
    assert page.ask("POST", "/pause", body, headers).status == status
    assert page.control.paused is False


def test_a_body_without_end_is_not_taken(serve: Callable[..., Page]) -> None:
    page = serve()
    head = (
        f"POST /pause HTTP/1.1\r\nHost: {page.host}\r\nOrigin: http://{page.host}\r\n"
        "Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
    )
    heard = page.say(head.encode() + b"1000\r\n" + b" " * 4096 + b"\r\n" + (b"1000\r\n" + b" " * 4096 + b"\r\n") * 5)
    assert heard.startswith(b"HTTP/1.1 413")


def test_a_huge_head_is_not_taken(serve: Callable[..., Page]) -> None:
    page = serve()
    heard = page.say(f"GET / HTTP/1.1\r\nHost: {page.host}\r\nX-More: ".encode() + b"x" * 100_000)
    assert not heard or heard.startswith(b"HTTP/1.1 400")
    assert page.ask("GET", "/").status == 200


@pytest.mark.parametrize(
    "slow",
    [
        b"",
        b"GET / HTTP/1.1\r\nHost: ",
        b"GET /news HTTP/1.1\r\nUpgrade: websocket\r\nConnection: upgrade\r\n",
        b"\x16\x03\x01",
    ],
)
def test_who_does_not_finish_asking_is_cut_off(
    serve: Callable[..., Page], monkeypatch: pytest.MonkeyPatch, slow: bytes
) -> None:
    monkeypatch.setattr(server, "EXCHANGE_TIME", 0.3)
    page = serve()
    heard = page.say(slow)  # returns because the other side closes
    assert not heard or heard.startswith(b"HTTP/1.1 400")
    assert page.ask("GET", "/").status == 200


def test_a_body_that_does_not_come_is_not_waited_for(
    serve: Callable[..., Page], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app, "BODY_TIME", 0.3)
    page = serve()
    heard = page.say(
        f"POST /pause HTTP/1.1\r\nHost: {page.host}\r\nOrigin: http://{page.host}\r\n"
        "Content-Type: application/json\r\nContent-Length: 16\r\n\r\n{".encode()
    )
    assert heard.startswith(b"HTTP/1.1 408")


def test_one_address_cannot_take_all_connections_and_none_for_good(
    serve: Callable[..., Page], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("LINGER", "EXCHANGE_TIME"):
        monkeypatch.setattr(server, name, PATIENCE)
    page = serve()
    with contextlib.ExitStack() as stack:
        for _ in range(server.ADDRESS_CONNECTIONS):
            stack.enter_context(socket.create_connection(("127.0.0.1", page.port)))
        heard = page.say(f"GET / HTTP/1.1\r\nHost: {page.host}\r\n\r\n".encode())
        assert heard.startswith(b"HTTP/1.1 503")
        with pytest.raises(websockets.exceptions.InvalidStatus) as refused, page.watch():
            pass
        assert refused.value.response.status_code == 503

    def served() -> bool:
        return page.say(f"GET / HTTP/1.1\r\nHost: {page.host}\r\n\r\n".encode(), 12).startswith(b"HTTP/1.1 200")

    wait_for(served)


def test_beyond_what_can_be_answered_connections_are_cut(
    serve: Callable[..., Page], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("LINGER", "EXCHANGE_TIME"):
        monkeypatch.setattr(server, name, PATIENCE)
    page = serve()
    request = f"GET / HTTP/1.1\r\nHost: {page.host}\r\n\r\n".encode()

    def crowd(stack: contextlib.ExitStack, size: int, source: str) -> None:
        for _ in range(size):
            stack.enter_context(socket.create_connection(("127.0.0.1", page.port), source_address=(source, 0)))

    with contextlib.ExitStack() as stack:
        crowd(stack, server.CONNECTIONS // 2, "127.0.0.2")
        crowd(stack, server.CONNECTIONS // 2, "127.0.0.3")
        assert page.say(request, 12).startswith(b"HTTP/1.1 503")
        crowd(stack, server.ABORT_ABOVE - server.CONNECTIONS, "127.0.0.4")
        assert page.say(request) == b""


# Slow browsers.


def test_a_browser_that_stalls_costs_the_others_nothing_and_is_dropped(
    serve: Callable[..., Page], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "LINGER", 0.1)
    page = serve()
    page.sink.show(update())
    with page.watch() as stalled, page.watch() as lively:
        for cue, sentence in ((NOBODY, "There is no face."), (SMILE, "The face shows a smile.")) * 10:
            page.sink.show(update(cue))
            news_when(lively, lambda message, wanted=sentence: message["news"].get("sentence") == wanted)
        watchers = page.sink._broadcast._watchers
        assert news_when(lively, lambda _: len(watchers) == 1)["news"]["word"] == "smile"
        with pytest.raises(websockets.exceptions.ConnectionClosed):  # it gets what was under way, then no more
            for _ in range(3):
                stalled.recv(PATIENCE)


def test_a_browser_whose_line_is_full_is_dropped_too(
    serve: Callable[..., Page], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(broadcast, "STALLED", 0.5)
    monkeypatch.setattr(
        broadcast, "picture_message", lambda _: ({"width": 1, "height": 1, "faces": []}, bytes(50_000_000))
    )
    monkeypatch.setattr(server, "LINGER", 0.1)
    page = serve(picture=True)
    page.sink.show(update())
    # Not the library's client: it would read on by itself.
    key = "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n"
    head = f"GET /news HTTP/1.1\r\nHost: {page.host}\r\nOrigin: http://{page.host}\r\n{key}"
    said = b"".join(
        bytes((0x81, 0x80 | len(text))) + bytes(4) + text.encode() for text in ("picture on", "taken", "taken", "taken")
    )
    with socket.create_connection(("127.0.0.1", page.port), timeout=PATIENCE) as line:
        line.sendall(f"{head}Upgrade: websocket\r\nConnection: Upgrade\r\n\r\n".encode() + said)
        sink_server = page.sink._server._server
        assert line.recv(12) == b"HTTP/1.1 101"
        page.sink.show(update(NOBODY))
        wait_for(lambda: not sink_server.server_state.connections)


# Signing in.


def test_without_the_token_there_is_only_a_bare_page(serve: Callable[..., Page]) -> None:
    page = serve(token=TOKEN, names=("glasses.local",))
    answer = page.ask("GET", "/")
    assert (answer.status, answer.headers["Location"]) == (303, "login")
    assert page.ask("GET", "/g2").status == 303
    bare = "".join(page.ask("GET", path).text for path in guard.BARE)
    assert TOKEN not in bare
    assert "glasses.local" not in bare
    for method, path in (
        ("GET", "/page.js"), ("GET", "/session"), ("POST", "/pause"), ("POST", "/settings"), ("POST", "/save"),
        ("POST", "/glasses/search"), ("POST", "/glasses/pair"), ("GET", "/g2/picture.png"), ("GET", "/g2/dark.png"),
    ):  # fmt: skip
        assert page.ask(method, path).status == 401
    with pytest.raises(websockets.exceptions.InvalidStatus) as refused, page.watch():
        pass
    assert refused.value.response.status_code == 401


def test_the_right_token_opens_everything_and_is_printed_nowhere(
    serve: Callable[..., Page], capfd: pytest.CaptureFixture[str]
) -> None:
    page = serve(token=TOKEN)
    page.sink.show(update())
    signed = page.ask("POST", "/login", token=TOKEN)
    assert signed.status == 204
    given, *attributes = signed.headers["Set-Cookie"].split("; ")
    assert {"httponly", "samesite=strict"} <= {attribute.lower() for attribute in attributes}
    assert TOKEN not in given
    cookie = {"Cookie": given}
    assert page.ask("GET", "/", headers=cookie).status == 200
    assert page.ask("GET", "/session", headers=cookie).status == 204
    assert page.ask("POST", "/pause", headers=cookie, paused=True).status == 204
    with page.watch(additional_headers=cookie) as browser:
        assert next_news(browser)["news"]["paused"] is True
    assert page.ask("GET", "/session", headers={"Cookie": given[:-1]}).status == 401
    assert page.ask("GET", f"/?token={TOKEN.replace(' ', '+')}").status == 303
    page.sink.close()
    assert TOKEN not in "".join(capfd.readouterr())


def test_wrong_tokens_are_made_to_wait_and_who_is_signed_in_goes_on(serve: Callable[..., Page]) -> None:
    page = serve(token=TOKEN)
    cookie = {"Cookie": page.ask("POST", "/login", token=TOKEN).headers["Set-Cookie"].partition(";")[0]}
    for wrong in ("", TOKEN[:-1], TOKEN + "x", "\ud800", "1" * 1000)[:FREE_TRIES]:
        assert page.ask("POST", "/login", token=wrong).status == 403
    refused = page.ask("POST", "/login", token=TOKEN)
    assert refused.status == 429
    assert 1 <= int(refused.headers["Retry-After"]) <= LONGEST_WAIT
    assert page.ask("GET", "/", headers=cookie).status == 200


def test_the_wait_of_an_address_doubles_and_ends() -> None:
    tries, now, waits = Tries(), 1000.0, []
    for _ in range(12):
        waits.append(tries.wait("10.0.0.1", now))
        now += waits[-1]
        assert tries.wait("10.0.0.1", now) == 0
        tries.wrong("10.0.0.1", now)
        assert tries.wait("10.0.0.2", now) == 0
    assert waits == [0.0] * FREE_TRIES + [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0, 60.0]
    assert tries.wait("10.0.0.1", now + LONGEST_WAIT) == 0
    tries.right("10.0.0.1")
    assert tries.wait("10.0.0.1", now) == 0


def test_asking_while_waiting_makes_the_wait_no_longer() -> None:
    tries = Tries()
    for _ in range(FREE_TRIES + 3):
        tries.wrong("10.0.0.1", 0.0)
    assert [tries.wait("10.0.0.1", t) for t in (0.0, 1.0, 7.0, 8.0)] == [8.0, 7.0, 1.0, 0.0]


def test_many_addresses_share_an_allowance_that_fills_again_and_known_ones_are_spared() -> None:
    tries = Tries()
    tries.right("10.9.9.9")
    for number in range(ALL_TRIES):
        assert tries.wait(f"10.0.0.{number}", 0.0) == 0
        tries.wrong(f"10.0.0.{number}", 0.0)
    assert tries.wait("10.0.1.1", 0.0) == ALL_REFILL
    assert tries.wait("10.9.9.9", 0.0) == 0
    assert tries.wait("10.0.1.1", ALL_REFILL) == 0


def test_addresses_of_one_ipv6_network_are_one() -> None:
    tries = Tries()
    for number in range(FREE_TRIES + 1):
        tries.wrong(f"2001:db8::{number:x}", 0.0)
    assert tries.wait("2001:db8::ffff", 0.0) > 0
    assert tries.wait("2001:db8:1::1", 0.0) == 0
    tries.wrong("::ffff:10.0.0.1", 0.0)
    assert tries.wait("10.0.0.1", 0.0) == 0


def test_the_oldest_session_makes_room() -> None:
    sessions = Sessions(TOKEN)
    opened = [sessions.open(TOKEN) for _ in range(65)]
    assert len({*opened}) == 65
    assert [sessions.known(session or "") for session in (opened[0], opened[1], opened[-1])] == [False, True, True]
    assert sessions.open("wrong") is None
    assert not sessions.known("")


def test_without_a_token_the_sign_in_page_leads_on(serve: Callable[..., Page]) -> None:
    page = serve()
    assert page.ask("GET", "/login").headers["Location"] == "./"
    assert page.ask("POST", "/login", token="").status == 429


# Opening and closing.


def test_the_page_shows_where_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    sink = open_sink("web:0", Control())
    sink.close()
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("web sink: http://127.0.0.1:")
    assert not said.err.endswith(":0/\n")


def test_on_every_address_it_is_found_by_a_name(capsys: pytest.CaptureFixture[str]) -> None:
    web = WebSettings(host="0.0.0.0", port=0, token=TOKEN, names=("glasses.local",))
    WebSink("", Control(Settings(own={"web": web}))).close()
    assert capsys.readouterr().err.startswith("web sink: http://glasses.local:")


@pytest.mark.parametrize("argument", ["x", "127.0.0.1", ":0", "127.0.0.1:70000", "127.0.0.1:-1", "127.0.0.1:", "٣"])
def test_an_argument_that_is_no_place_is_refused(argument: str) -> None:
    with pytest.raises(SettingsInvalid, match="valid are web, web:PORT and web:HOST:PORT"):
        WebSink(argument, Control())


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.4.1", "glasses.local", ""])
def test_beyond_loopback_a_token_is_needed(host: str) -> None:
    with pytest.raises(SettingsInvalid, match=r"web\.token is empty; set it to 16 or more characters"):
        WebSink("", Control(Settings(own={"web": WebSettings(host=host, port=0)})))


def test_a_short_token_is_refused_without_saying_it() -> None:
    with pytest.raises(SettingsInvalid, match=r"web\.token has 6 characters; valid are 16 or more") as refused:
        WebSink("0", Control(Settings(own={"web": WebSettings(token="secret")})))
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize("argument", ["0", "127.0.0.1:0", "localhost:0"])
def test_loopback_needs_no_token(argument: str) -> None:
    sink = WebSink(argument, Control())
    sink.close()
    assert re.fullmatch(r"http://(127\.0\.0\.1|localhost):[1-9]\d*/", sink.url)


def test_a_port_in_use_is_reported_at_once(serve: Callable[..., Page]) -> None:
    page = serve()
    with pytest.raises(
        SinkFailed, match=rf"cannot listen on 127.0.0.1:{page.port}: Address already in use; give another"
    ):
        WebSink(str(page.port), Control())


def test_a_host_that_is_not_ours_is_reported_at_once() -> None:
    with pytest.raises(SinkFailed, match=r"cannot listen on 192\.0\.2\.1"):
        WebSink("192.0.2.1:0", Control(Settings(own={"web": WebSettings(token=TOKEN)})))


def test_a_port_that_we_may_not_have_is_a_mistake_and_no_absent_device(monkeypatch: pytest.MonkeyPatch) -> None:
    class Refused(socket.socket):
        def bind(self, address: object) -> None:
            raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr("edge.sinks.web.socket.socket", Refused)
    with pytest.raises(SettingsInvalid, match=r"cannot listen on 127\.0\.0\.1:80: Permission denied; give a port"):
        WebSink("80", Control())


def test_a_missing_library_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    monkeypatch.delitem(sys.modules, "edge.web.server")
    with pytest.raises(
        RuntimeMissing, match=r"uvicorn is not installed; install cuelens\[web\], or in a checkout \./deploy\.sh sinks"
    ):
        WebSink("0", Control())


def test_after_closing_nothing_listens_and_no_thread_is_left(serve: Callable[..., Page]) -> None:
    page = serve()
    page.sink.show(update())
    idle = socket.create_connection(("127.0.0.1", page.port))
    with page.watch() as browser, idle:
        next_news(browser)
        page.sink.close()
        assert [thread.name for thread in threading.enumerate() if thread.name == "web server"] == []
        with pytest.raises(websockets.exceptions.ConnectionClosed):
            for _ in range(3):
                browser.recv(PATIENCE)
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", page.port))
    page.sink.close()
    page.sink.show(update())
    WebSink(str(page.port), Control()).close()


def test_a_server_that_ends_is_reported_by_the_next_update(
    serve: Callable[..., Page], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> dict[str, Any]:
        raise ValueError("broken")

    monkeypatch.setattr(broadcast, "cue_message", fail)
    page = serve()
    page.sink.show(update())
    with contextlib.suppress(websockets.exceptions.WebSocketException, OSError), page.watch() as browser:
        browser.recv(PATIENCE)
    wait_for(lambda: not page.sink._server.serving)
    with pytest.raises(SinkFailed, match="web sink: its server ended: ValueError: broken; run again with --debug"):
        page.sink.show(update())


def test_an_update_waits_for_no_browser_and_no_event_loop(serve: Callable[..., Page]) -> None:
    page = serve()
    loop = page.sink._server._loop
    assert loop is not None
    busy, go = threading.Event(), threading.Event()
    loop.call_soon_threadsafe(lambda: (busy.set(), go.wait(PATIENCE)))
    assert busy.wait(PATIENCE)
    for _ in range(1000):  # the event loop stands still, and still these return
        page.sink.show(replace(update(), dropped=9))
    assert not go.is_set()
    go.set()
    with page.watch() as browser:
        assert next_news(browser)["news"]["word"] == "smile"
