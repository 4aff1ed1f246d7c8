"""The page as an ASGI application: who may ask for what, a fixed table of files, and what a browser may do."""

from __future__ import annotations

import asyncio
import html
import json
import math
import string
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Route, WebSocketRoute

from edge.drawing.glyphs import glyph_svg
from edge.errors import CuelensError, SettingsInvalid
from edge.locale import read_locale
from edge.runtime.control import ChangedMeanwhile, Control
from edge.system.identity import device_id
from edge.web.access import Names, Sessions, Tries
from edge.web.broadcast import Broadcast
from edge.web.guard import BASE, Guard, Refused
from edge.web.news import draw_g2
from edge.web.pairing import Busy, Pairing
from edge.web.texts import preferred

FOLDER = Path(__file__).parent
LARGEST_BODY = 16_384  # bytes
BODY_TIME = 5.0  # seconds for a request's body to come
FILES = ("link.js", "page.js", "page.css", "login.js", "g2.js")
ICON = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="-14 -14 128 128" color="#e69f00">'
    f'<rect x="-14" y="-14" width="128" height="128" rx="28" fill="#101418"/>{glyph_svg("smile")}</svg>'
)
SETTINGS_VERSION = "X-Cuelens-Settings-Version"  # with the answer to whoever changed them
TYPES = {".css": "text/css", ".js": "text/javascript"}


def make_app(control: Control, broadcast: Broadcast, pairing: Pairing, names: Names, token: str) -> Guard:
    """Return the guarded application; without `token` nobody needs to sign in."""
    sessions = Sessions(token) if token else None
    # A browser gives a cookie to every port of a host: two devices behind one tunnel must not sign each other out.
    cookie = f"cuelens-{device_id('web')[:8]}"
    login_page = string.Template((FOLDER / "login.html").read_text(encoding="utf-8"))
    page, g2_page = (string.Template((FOLDER / name).read_text(encoding="utf-8")) for name in ("page.html", "g2.html"))

    def shows(page: string.Template) -> Callable[[Request], Awaitable[Response]]:
        async def show(request: Request) -> Response:
            language = control.settings.look.language
            words = _own_words(language)
            return _filled(page, request, language, guard.key, texts=json.dumps(words), **words)

        return show

    async def login(request: Request) -> Response:
        if sessions is None:
            return RedirectResponse(request.scope[BASE] or "./", 303)
        language = preferred(request.headers.get("accept-language", ""))
        return _filled(login_page, request, language, guard.key, **_own_words(language))

    async def signed_in(_: Request) -> Response:
        return Response(status_code=204)

    routes: list[BaseRoute] = [
        Route("/login", login, methods=["GET"]),
        Route("/login", _make_sign_in(sessions, cookie), methods=["POST"]),
        Route("/session", signed_in, methods=["GET", "POST"]),
        *_control_routes(control, broadcast),
        *_pairing_routes(pairing, broadcast),
        WebSocketRoute("/news", broadcast.watch),
        Route("/", shows(page), methods=["GET"]),
        Route("/g2", shows(g2_page), methods=["GET"]),
        *_g2_routes(control, broadcast),
        *(_file(f"/{name}", (FOLDER / name).read_bytes(), TYPES[Path(name).suffix]) for name in FILES),
        _file("/icon.svg", ICON.encode(), "image/svg+xml"),
    ]
    app = Starlette(routes=routes, exception_handlers={Refused: _refuse})
    app.router.redirect_slashes = False
    guard = Guard(app, names, sessions, cookie)
    return guard


def _make_sign_in(sessions: Sessions | None, cookie: str) -> Callable[[Request], Awaitable[Response]]:
    """Return what takes a token and gives the cookie of a session."""
    tries = Tries()

    async def sign_in(request: Request) -> Response:
        values = await _values(request)
        address, now = request.client.host if request.client else "", time.monotonic()
        wait = math.ceil(tries.wait(address, now))
        if sessions is None or wait:
            raise Refused(429, "too many wrong tokens", {"Retry-After": str(wait)})
        session = sessions.open(_taken(values, "token", str))
        if session is None:
            tries.wrong(address, now)
            raise Refused(403, "wrong token")
        tries.right(address)
        response = Response(status_code=204)
        response.set_cookie(
            cookie,
            session,
            path=request.scope[BASE] or "/",
            secure=request.headers.get("origin", "").startswith("https://"),
            httponly=True,
            samesite="strict",
        )
        return response

    return sign_in


def _control_routes(control: Control, broadcast: Broadcast) -> list[BaseRoute]:
    """Return the routes that change what the device does."""

    async def pause(request: Request) -> Response:
        paused = _taken(await _values(request), "paused", bool)
        await asyncio.to_thread(setattr, control, "paused", paused)  # on the disk before the page shows it
        broadcast.wake()
        return Response(status_code=204)

    async def change(request: Request) -> Response:
        values = await _values(request)
        seen = _taken(values, "seen", dict) if "seen" in values else None
        try:
            control.change(_taken(values, "table", str), _taken(values, "values", dict), seen)
        except ChangedMeanwhile as error:
            raise Refused(409, str(error)) from error
        except SettingsInvalid as error:
            raise Refused(422, str(error)) from error
        broadcast.wake()
        return Response(status_code=204, headers={SETTINGS_VERSION: str(control.settings_version)})

    async def save(request: Request) -> Response:
        await _values(request)
        try:
            await asyncio.to_thread(control.save)  # a card's sync may take a second
        except CuelensError as error:
            raise Refused(409, str(error)) from error
        return Response(status_code=204)

    return [
        Route("/pause", pause, methods=["POST"]),
        Route("/settings", change, methods=["POST"]),
        Route("/save", save, methods=["POST"]),
    ]


def _pairing_routes(pairing: Pairing, broadcast: Broadcast) -> list[BaseRoute]:
    """Return the routes that begin a search for glasses, or pair with some that it found; both answer at once."""

    async def begin(what: Callable[[], None]) -> Response:
        try:
            await asyncio.to_thread(what)  # the first imports Bluetooth's library
        except Busy as error:
            raise Refused(409, str(error)) from error
        except CuelensError as error:
            raise Refused(422, str(error)) from error
        broadcast.wake()
        return Response(status_code=204)

    async def search(request: Request) -> Response:
        await _values(request)
        return await begin(pairing.search)

    async def pair(request: Request) -> Response:
        address = _taken(await _values(request), "address", str)
        return await begin(lambda: pairing.pair(address))

    return [
        Route("/glasses/search", search, methods=["POST"]),
        Route("/glasses/pair", pair, methods=["POST"]),
    ]


def _g2_routes(control: Control, broadcast: Broadcast) -> list[BaseRoute]:
    """Return the routes of the pictures that Even G2 shows: of the cue that holds now, and of nothing."""

    async def picture(_: Request) -> Response:
        return Response(draw_g2(broadcast.present_cue(), control), media_type="image/png")

    async def dark(_: Request) -> Response:
        return Response(draw_g2(None, control), media_type="image/png")

    return [Route("/g2/picture.png", picture, methods=["GET"]), Route("/g2/dark.png", dark, methods=["GET"])]


def _own_words(language: str) -> dict[str, str]:
    """Return the words that a page has before cues and settings arrive."""
    return {key: text for key, text in read_locale(language).page.items() if "." not in key}


def _filled(page: string.Template, request: Request, language: str, key: str, **words: str) -> Response:
    """Return an HTML file with its words, the path that its addresses begin with, and the key of our own pages."""
    escaped = {name: html.escape(text) for name, text in words.items()}
    content = page.substitute(escaped, language=language, base=html.escape(request.scope[BASE]), key=key)
    return Response(content, media_type="text/html")


async def _refuse(request: Request, refusal: Exception) -> Response:
    assert isinstance(refusal, Refused)
    return refusal.response(request)


def _file(path: str, content: bytes, media_type: str) -> Route:
    async def answer(_: Request) -> Response:
        return Response(content, media_type=media_type)

    return Route(path, answer, methods=["GET"])


async def _values(request: Request) -> dict[str, Any]:
    """Return the JSON object that was sent; refuses another type, size or pace."""
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise Refused(415, "not application/json")
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_TIME):
            async for part in request.stream():
                body += part
                if len(body) > LARGEST_BODY:
                    raise Refused(413, f"more than {LARGEST_BODY} bytes")
    except TimeoutError as error:
        raise Refused(408, f"not sent within {BODY_TIME:.0f} s") from error
    except ClientDisconnect as error:
        raise Refused(400, "not sent whole") from error
    try:
        values = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise Refused(400, "not JSON") from error
    if not isinstance(values, dict):
        raise Refused(400, "not a JSON object")
    return values


def _taken(values: dict[str, Any], key: str, kind: type[Any]) -> Any:
    value = values.get(key)
    if type(value) is not kind:
        raise Refused(400, f"{key!r} must be of type {kind.__name__}")
    return value
