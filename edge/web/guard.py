"""Who may ask for what: the page's own names, its own pages, who is signed in; and what every answer forbids."""

from __future__ import annotations

import hmac
import html
import secrets
from string import Template

from starlette.datastructures import MutableHeaders
from starlette.requests import HTTPConnection
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from edge.locale import read_locale
from edge.web.access import Address, Names, Sessions, forwarded_prefix, host_of
from edge.web.texts import preferred

BARE = ("/login", "/login.js", "/page.css", "/icon.svg")  # what a browser gets before it has signed in
BASE = "cuelens.base"  # in a request's scope: what its page's addresses begin with
KEY_HEADER = "x-cuelens-key"

HEADERS = {
    "Cache-Control": "no-store",
    "Connection": "close",  # edge/web/server.py gives each exchange its own connection and deadline
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), display-capture=(), geolocation=(), microphone=(), payment=(), usb=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src {sources}; "
    "base-uri 'none'; form-action 'none'; frame-ancestors {frames}"
)
PLAIN = Template(
    '<!doctype html>\n<html lang="$language"><head><meta charset="utf-8"><title>Cuelens</title>'
    '<meta name="viewport" content="width=device-width, initial-scale=1"><meta name="color-scheme" content="dark">'
    "</head><body><h1>Cuelens</h1><p>$what</p><p>$todo</p></body></html>\n"
)


class Refused(Exception):
    """A request that is answered with a status and a reason."""

    def __init__(
        self, status: int, reason: str, headers: dict[str, str] | None = None, *, text: str = "", name: str = ""
    ) -> None:
        """Take the reason for a program; `text` names the one for people, about `name`."""
        self.status, self.headers, self.text, self.name = status, headers, text, name
        super().__init__(reason)

    def response(self, connection: HTTPConnection) -> Response:
        """Return the answer: a page for who looks at it, else JSON."""
        if not self.text or "text/html" not in connection.headers.get("accept", ""):
            return JSONResponse({"error": str(self)}, self.status, self.headers)
        language = preferred(connection.headers.get("accept-language", ""))
        texts = read_locale(language).page
        parts = [texts[self.text], texts[f"{self.text}_todo"]]
        what, todo = (html.escape(part.replace("{name}", self.name)) for part in parts)
        return HTMLResponse(PLAIN.substitute(language=language, what=what, todo=todo), self.status, self.headers)


class Guard:
    """Lets in what was asked for by this page's own name, from its own pages and by who is signed in."""

    def __init__(self, app: ASGIApp, names: Names, sessions: Sessions | None, cookie: str) -> None:
        """Guard `app`; without `sessions` nobody needs to sign in, with them `cookie` names who is."""
        self._app = app
        self._names = names
        self._sessions = sessions
        self._cookie = cookie
        self.key = secrets.token_urlsafe(16)  # that only our own pages can read

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer or refuse one request or WebSocket."""
        scope = self._below_path(scope)
        connection = HTTPConnection(scope)

        async def send_safely(message: Message) -> None:
            if message["type"] in ("http.response.start", "websocket.http.response.start"):
                headers = MutableHeaders(scope=message)
                headers.update(HEADERS | self._policy(connection.headers.get("host", "") if known else ""))
            await send(message)

        known = False
        try:
            self._check_name(connection)
            known = True
            self._check_origin(connection)
            self._check_session(connection)
            await self._app(scope, receive, send_safely)
        except Refused as refusal:
            await refusal.response(connection)(scope, receive, send_safely)

    def _below_path(self, scope: Scope) -> Scope:
        """Return the scope with the path as the application knows it, whether a proxy took its own part off or not."""
        headers = HTTPConnection(scope).headers
        given = forwarded_prefix(headers.get("x-forwarded-prefix") or headers.get("x-ingress-path") or "")
        path = scope["path"]
        for prefix in (*(address.path for address in self._names.addresses), given):
            if prefix and (path == prefix or path.startswith(f"{prefix}/")):
                return {**scope, "path": path.removeprefix(prefix) or "/", BASE: f"{prefix}/"}
        return {**scope, BASE: f"{given}/" if given else ""}

    def _policy(self, host: str) -> dict[str, str]:
        """Return what a browser may do with an answer; `host` is the one asked for, "" where it is not ours."""
        outer: list[Address] = self._names.addresses if host else []
        # The address of the WebSocket is named because not every browser counts it among 'self'.
        sources = ["'self'", *([f"ws://{host}"] if host else []), *(f"ws{item.origin[4:]}" for item in outer)]
        frames = " ".join(item.origin for item in outer) or "'none'"
        policy = {"Content-Security-Policy": POLICY.format(sources=" ".join(sources), frames=frames)}
        return policy if outer else policy | {"X-Frame-Options": "DENY"}

    def _check_name(self, connection: HTTPConnection) -> None:
        host = connection.headers.get("host", "")
        if not self._names.own(host, _reached(connection)):
            name = host_of(host) or ""
            reason = "not a name of this page; add it to names under [web] in the settings"
            raise Refused(421, reason, text="unknown_name", name=name or "?")

    def _check_origin(self, connection: HTTPConnection) -> None:
        origin = connection.headers.get("origin")
        acts = connection.scope["type"] == "websocket" or connection.scope["method"] not in ("GET", "HEAD")
        if not acts and origin is None:
            return
        if origin is None or not self._own_page(connection, origin):
            raise Refused(403, "not asked for by this page")

    def _own_page(self, connection: HTTPConnection, origin: str) -> bool:
        """Whether one of our pages asks: by its address, or by the key in it where a proxy or a tunnel has another."""
        if origin == f"http://{connection.headers['host']}".lower() or origin == f"http://{connection.headers['host']}":
            return True
        given = connection.headers.get(KEY_HEADER) or connection.query_params.get("key", "")
        return self._names.own_origin(origin, _reached(connection)) and hmac.compare_digest(
            given.encode(), self.key.encode()
        )

    def _check_session(self, connection: HTTPConnection) -> None:
        path = connection.scope["path"]
        if self._sessions is None or path in BARE or self._sessions.known(connection.cookies.get(self._cookie, "")):
            return
        if path in ("/", "/g2") and connection.scope["type"] == "http":
            raise Refused(303, "sign in first", {"Location": f"{connection.scope[BASE]}login"})
        raise Refused(401, "sign in first")


def _reached(connection: HTTPConnection) -> str:
    """Return the address of this machine at which it was reached."""
    server = connection.scope.get("server")
    return server[0] if server else ""
