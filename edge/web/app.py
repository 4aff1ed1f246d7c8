"""The page as an ASGI application: who may ask for what, a fixed table of files, and what a browser may do."""

from __future__ import annotations

import asyncio
import html
import json
import math
import string
import time
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.datastructures import MutableHeaders
from starlette.requests import ClientDisconnect, HTTPConnection, Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Route, WebSocketRoute
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from edge.control import ChangedMeanwhile, Control
from edge.errors import CuelensError, SettingsInvalid
from edge.glyphs import glyph_svg
from edge.web.access import Names, Sessions, Tries
from edge.web.broadcast import Broadcast
from edge.web.texts import TEXTS, preferred

FOLDER = Path(__file__).parent
LARGEST_BODY = 16_384  # bytes
BODY_TIME = 5.0  # seconds for a request's body to come
COOKIE = "cuelens"
BARE = ("/login", "/login.js", "/page.css", "/icon.svg")  # what a browser gets before it has signed in
FILES = ("page.js", "page.css", "login.js")
ICON = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="-14 -14 128 128" color="#e69f00">'
    f'<rect x="-14" y="-14" width="128" height="128" rx="28" fill="#101418"/>{glyph_svg("smile")}</svg>'
)
TYPES = {".css": "text/css", ".js": "text/javascript"}

HEADERS = {
    "Cache-Control": "no-store",
    "Connection": "close",  # edge/web/server.py gives each exchange its own connection and deadline
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), display-capture=(), geolocation=(), microphone=(), payment=(), usb=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
# The address of the WebSocket is named because not every browser counts it among 'self'.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self' ws://{host}; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


class _Refused(Exception):
    """A request that is answered with a status and a reason."""

    def __init__(self, status: int, reason: str, headers: dict[str, str] | None = None) -> None:
        self.status, self.headers = status, headers
        super().__init__(reason)

    def response(self) -> Response:
        return JSONResponse({"error": str(self)}, self.status, self.headers)


class Guard:
    """Lets in what was asked for by this page's own name, from its own pages and by who is signed in."""

    def __init__(self, app: ASGIApp, names: Names, sessions: Sessions | None) -> None:
        """Guard `app`; without `sessions` nobody needs to sign in."""
        self._app = app
        self._names = names
        self._sessions = sessions

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer or refuse one request or WebSocket."""
        connection = HTTPConnection(scope)

        async def send_safely(message: Message) -> None:
            if message["type"] in ("http.response.start", "websocket.http.response.start"):
                headers = MutableHeaders(scope=message)
                headers.update(HEADERS)
                # The Host is one of ours by now, or nothing is loaded from the answer.
                host = connection.headers.get("host", "") if known else ""
                headers["Content-Security-Policy"] = POLICY.format(host=host)
            await send(message)

        known = False
        try:
            self._check_name(connection)
            known = True
            self._check_origin(connection)
            self._check_session(connection)
            await self._app(scope, receive, send_safely)
        except _Refused as refusal:
            await refusal.response()(scope, receive, send_safely)

    def _check_name(self, connection: HTTPConnection) -> None:
        server = connection.scope.get("server")
        if not self._names.own(connection.headers.get("host", ""), server[0] if server else ""):
            raise _Refused(421, "not a name of this page; add it to names under [web] in the settings")

    def _check_origin(self, connection: HTTPConnection) -> None:
        origin = connection.headers.get("origin")
        acts = connection.scope["type"] == "websocket" or connection.scope["method"] not in ("GET", "HEAD")
        if (acts or origin is not None) and origin != f"http://{connection.headers['host']}":
            raise _Refused(403, "not asked for by this page")

    def _check_session(self, connection: HTTPConnection) -> None:
        path = connection.scope["path"]
        if self._sessions is None or path in BARE or self._sessions.known(connection.cookies.get(COOKIE, "")):
            return
        if path == "/" and connection.scope["type"] == "http":
            raise _Refused(303, "sign in first", {"Location": "/login"})
        raise _Refused(401, "sign in first")


def make_app(control: Control, broadcast: Broadcast, names: Names, token: str) -> ASGIApp:
    """Return the guarded application; without `token` nobody needs to sign in."""
    sessions = Sessions(token) if token else None
    tries = Tries()
    login_page = string.Template((FOLDER / "login.html").read_text(encoding="utf-8"))

    async def login(request: Request) -> Response:
        if sessions is None:
            return RedirectResponse("/", 303)
        language = preferred(request.headers.get("accept-language", ""))
        words = {key: html.escape(text) for key, text in TEXTS[language].items() if "." not in key}
        return Response(login_page.substitute(words, language=language), media_type="text/html")

    async def sign_in(request: Request) -> Response:
        values = await _values(request)
        address, now = request.client.host if request.client else "", time.monotonic()
        wait = math.ceil(tries.wait(address, now))
        if sessions is None or wait:
            raise _Refused(429, "too many wrong tokens", {"Retry-After": str(wait)})
        session = sessions.open(_taken(values, "token", str))
        if session is None:
            tries.wrong(address, now)
            raise _Refused(403, "wrong token")
        tries.right(address)
        response = Response(status_code=204)
        response.set_cookie(COOKIE, session, httponly=True, samesite="strict")
        return response

    async def signed_in(_: Request) -> Response:
        return Response(status_code=204)

    async def pause(request: Request) -> Response:
        paused = _taken(await _values(request), "paused", bool)
        await asyncio.to_thread(setattr, control, "paused", paused)  # on the disk before the page says so
        broadcast.wake()
        return Response(status_code=204)

    async def change(request: Request) -> Response:
        values = await _values(request)
        seen = _taken(values, "seen", dict) if "seen" in values else None
        try:
            control.change(_taken(values, "table", str), _taken(values, "values", dict), seen)
        except ChangedMeanwhile as error:
            raise _Refused(409, str(error)) from error
        except SettingsInvalid as error:
            raise _Refused(422, str(error)) from error
        broadcast.wake()
        return Response(status_code=204)

    async def save(request: Request) -> Response:
        await _values(request)
        try:
            await asyncio.to_thread(control.save)  # a card's sync may take a second
        except CuelensError as error:
            raise _Refused(409, str(error)) from error
        return Response(status_code=204)

    routes: list[BaseRoute] = [
        Route("/login", login, methods=["GET"]),
        Route("/login", sign_in, methods=["POST"]),
        Route("/session", signed_in, methods=["GET"]),
        Route("/pause", pause, methods=["POST"]),
        Route("/settings", change, methods=["POST"]),
        Route("/save", save, methods=["POST"]),
        WebSocketRoute("/news", broadcast.watch),
        _file("/", (FOLDER / "page.html").read_bytes(), "text/html"),
        *(_file(f"/{name}", (FOLDER / name).read_bytes(), TYPES[Path(name).suffix]) for name in FILES),
        _file("/icon.svg", ICON.encode(), "image/svg+xml"),
    ]
    app = Starlette(routes=routes, exception_handlers={_Refused: _refuse})
    app.router.redirect_slashes = False
    return Guard(app, names, sessions)


async def _refuse(_: Request, refusal: Exception) -> Response:
    assert isinstance(refusal, _Refused)
    return refusal.response()


def _file(path: str, content: bytes, media_type: str) -> Route:
    async def answer(_: Request) -> Response:
        return Response(content, media_type=media_type)

    return Route(path, answer, methods=["GET"])


async def _values(request: Request) -> dict[str, Any]:
    """Return the JSON object that was sent; refuses another type, size or pace."""
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise _Refused(415, "not application/json")
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_TIME):
            async for part in request.stream():
                body += part
                if len(body) > LARGEST_BODY:
                    raise _Refused(413, f"more than {LARGEST_BODY} bytes")
    except TimeoutError as error:
        raise _Refused(408, f"not sent within {BODY_TIME:.0f} s") from error
    except ClientDisconnect as error:
        raise _Refused(400, "not sent whole") from error
    try:
        values = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise _Refused(400, "not JSON") from error
    if not isinstance(values, dict):
        raise _Refused(400, "not a JSON object")
    return values


def _taken(values: dict[str, Any], key: str, kind: type[Any]) -> Any:
    value = values.get(key)
    if type(value) is not kind:
        raise _Refused(400, f"{key!r} must be of type {kind.__name__}")
    return value
