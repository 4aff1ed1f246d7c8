"""The page behind a tunnel or a proxy, with another scheme, name, port or path than the sink knows."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable
from urllib.parse import quote

import pytest

pytest.importorskip("uvicorn", reason="uvicorn is not installed; ./deploy.sh sinks adds it")
client = pytest.importorskip("websockets.sync.client", reason="websockets is not installed; ./deploy.sh sinks adds it")

import websockets.exceptions  # noqa: E402

from tests.support.web import TOKEN, Page, next_news, serve, update  # noqa: E402

__all__ = ["serve"]  # a fixture


def key_of(page: Page, **headers: str) -> str:
    return re.findall('data-key="([^"]+)"', page.ask("GET", "/", headers=headers).text)[0]


@pytest.mark.parametrize(
    ("names", "host", "origin"),
    [
        ((), "{host}", "http://127.0.0.1:8362"),
        ((), "{host}", "http://localhost"),
        ((), "127.0.0.1:9000", "https://127.0.0.1:9000"),
        (("home.example",), "home.example", "https://home.example"),
        (("home.example",), "{host}", "https://home.example:8443"),
        (("https://home.example/glasses",), "{host}", "https://home.example"),
    ],
)
def test_through_a_proxy_our_own_page_is_known_by_its_key(
    serve: Callable[..., Page], names: tuple[str, ...], host: str, origin: str
) -> None:
    page = serve(names=names)
    page.sink.show(update())
    host = host.format(host=page.host)
    key = key_of(page, Host=host)
    asked = {"Host": host, "Origin": origin}
    assert page.ask("POST", "/pause", headers=asked, paused=True).status == 403
    assert page.ask("POST", "/pause", headers=asked | {"X-Cuelens-Key": key[:-1]}, paused=True).status == 403
    assert page.ask("POST", "/pause", headers=asked | {"X-Cuelens-Key": key}, paused=True).status == 204
    address = f"ws://{page.host}/news?key="
    for given, opens in ((key, True), ("", False), ("\xe4", False)):
        with contextlib.ExitStack() as stack:
            if not opens:
                stack.enter_context(pytest.raises(websockets.exceptions.InvalidStatus))
            next_news(stack.enter_context(client.connect(address + quote(given), origin=origin, proxy=None)))


def test_the_key_helps_no_page_that_has_another_name(serve: Callable[..., Page]) -> None:
    """A name that was made to point at a proxy may read our page, and so the key: its Origin gives it away."""
    page = serve(names=("home.example",))
    key = key_of(page)
    for origin in (
        "http://evil.example",
        "https://evil.example:443",
        "null",
        "http://home.example.evil.example",
        "x://localhost",
    ):
        answer = page.ask("POST", "/pause", headers={"Origin": origin, "X-Cuelens-Key": key}, paused=True)
        assert answer.status == 403
    forwarded = {"X-Forwarded-Host": page.host, "X-Forwarded-Proto": "https", "X-Cuelens-Key": key}
    evil = {"Host": "evil.example", "Origin": "http://evil.example"}
    assert page.ask("POST", "/pause", headers=forwarded | evil, paused=True).status == 421
    assert page.control.paused is False
    assert key_of(page) == key
    assert key_of(serve()) != key


@pytest.mark.parametrize("header", ["X-Forwarded-Prefix", "X-Ingress-Path"])
def test_below_a_path_all_addresses_are_below_it(serve: Callable[..., Page], header: str) -> None:
    page = serve(token=TOKEN)
    for given, base in (("/glasses", "/glasses/"), ("/a/b-c/", "/a/b-c/"), ("", ""), ("/", "")):
        login = page.ask("GET", "/login", headers={header: given}).text
        assert f'href="{base}page.css"' in login
        assert f'src="{base}login.js"' in login
        assert f'data-base="{base}"' in login
        assert page.ask("GET", "/", headers={header: given}).headers["Location"] == f"{base}login"
        signed = page.ask("POST", "/login", headers={header: given}, token=TOKEN).headers["Set-Cookie"]
        assert f"Path={base or '/'};" in f"{signed};"
    assert page.ask("GET", "/a/b/login.js", headers={header: "/a/b"}).status == 200  # not taken off
    for odd in ("//evil.example", "https://evil.example", "/a/../b", '/"><script>', "/a b", "/a, /b", "/" + "a/" * 99):
        assert 'data-base=""' in page.ask("GET", "/login", headers={header: odd}).text


def test_a_proxy_that_passes_its_path_on_is_understood_by_the_settings(serve: Callable[..., Page]) -> None:
    page = serve(names=("https://home.example/glasses",))
    answer = page.ask("GET", "/glasses/", headers={"Host": "home.example"})
    assert 'src="/glasses/page.js"' in answer.text
    assert page.ask("GET", "/glasses/page.js", headers={"Host": "home.example"}).status == 200
    assert page.ask("GET", "/page.js").status == 200
    assert 'src="/glasses/page.js"' in page.ask("GET", "/glasses").text  # without its last stroke
    assert page.ask("GET", "/glasses2/page.js").status == 404
    assert page.ask("GET", "/other/page.js").status == 404
    policy = answer.headers["Content-Security-Policy"].split("; ")
    assert "connect-src 'self' ws://home.example wss://home.example" in policy
    assert "frame-ancestors https://home.example" in policy  # as Home Assistant shows it
    assert answer.headers["X-Frame-Options"] is None


def test_over_https_the_cookie_is_for_https_alone(serve: Callable[..., Page]) -> None:
    page = serve(token=TOKEN, names=("home.example",))
    key = re.findall('data-key="([^"]+)"', page.ask("GET", "/login").text)[0]
    asked = {"Host": "home.example", "X-Cuelens-Key": key}
    for origin, secure in (("https://home.example", True), ("http://home.example", False)):
        given = page.ask("POST", "/login", headers=asked | {"Origin": origin}, token=TOKEN).headers["Set-Cookie"]
        assert ("Secure" in given) == secure
