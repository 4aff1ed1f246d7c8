"""Serves the page from a thread of its own; every connection has its deadline, and none outlives the sink."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import Callable, Coroutine
from typing import Any

import h11
import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from edge.locale import LANGUAGES, read_locale

EXCHANGE_TIME = 10.0  # seconds for a request and its answer, whatever the other side does
LINGER = 1.0  # seconds for the last bytes to leave before a connection is cut
CONNECTIONS = 40  # at once; more are answered 503
ADDRESS_CONNECTIONS = 30  # of them from one address: it cannot take all; a browser uses up to seven
ABORT_ABOVE = 60  # connections, beyond which further ones are cut without an answer
LARGEST_HEAD = 16_384  # bytes of a request's line and headers
LARGEST_MESSAGE = 256  # bytes of a WebSocket message: browsers only say a word
END = 1.0  # seconds in which the thread ends
_SAYS = "".join(f'<p lang="{language}">{read_locale(language).page["busy"]}</p>' for language in LANGUAGES)
BUSY = f'<!doctype html><meta charset="utf-8"><meta name="color-scheme" content="dark"><title>Cuelens</title>{_SAYS}'
_BUSY_ANSWER = (
    b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 10\r\nConnection: close\r\nCache-Control: no-store\r\n"
    b"Content-Type: text/html\r\nContent-Length: %d\r\n\r\n%s"
) % (len(BUSY.encode()), BUSY.encode())


class _Exchange(H11Protocol):
    """One HTTP request and its answer."""

    _refused = False
    _answered = False
    _deadline: asyncio.TimerHandle

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        address = self.client[0] if self.client else ""
        clients = [other.client for other in self.connections if isinstance(other, H11Protocol | _Channel)]
        same = sum(client is not None and client[0] == address for client in clients)
        if len(self.connections) > ABORT_ABOVE:
            transport.abort()
        self._refused = len(self.connections) > CONNECTIONS or same > ADDRESS_CONNECTIONS
        self._deadline = self.loop.call_later(LINGER if self._refused else EXCHANGE_TIME, transport.abort)

    def data_received(self, data: bytes) -> None:
        if not self._refused:
            super().data_received(data)
        elif not self._answered:
            self._answered = True
            self.transport.write(_BUSY_ANSWER)
            self.transport.write_eof()  # not closed: the rest of the request would make that a reset

    def handle_websocket_upgrade(self, event: h11.Request) -> None:
        self._deadline.cancel()
        super().handle_websocket_upgrade(event)

    def connection_lost(self, exc: Exception | None) -> None:
        self._deadline.cancel()
        super().connection_lost(exc)


class _Channel(WebSocketsSansIOProtocol):
    """One WebSocket; cut soon after the application is done with it, even where the other side reads nothing."""

    async def run_asgi(self) -> None:
        try:
            await super().run_asgi()
        finally:
            self.loop.call_later(LINGER, self.transport.abort)


class Server:
    """An ASGI application on a listening socket, in a thread of its own, until closed."""

    def __init__(self, app: ASGIApp, beside: Callable[[], Coroutine[Any, Any, None]], listening: socket.socket) -> None:
        """Serve `app` on `listening` and run the endless coroutine `beside` in the same event loop."""
        self._listening = listening
        self._beside = beside
        self.failure: Exception | None = None  # what ended it
        self._server = uvicorn.Server(
            uvicorn.Config(
                app,
                http=_Exchange,
                ws=_Channel,
                lifespan="off",
                interface="asgi3",
                log_config=None,
                log_level="error",  # a stranger's bad requests are no news
                access_log=False,
                proxy_headers=False,
                server_header=False,
                date_header=False,
                h11_max_incomplete_event_size=LARGEST_HEAD,
                ws_max_size=LARGEST_MESSAGE,
                ws_ping_interval=None,  # each message is answered: edge/web/broadcast.py
                ws_per_message_deflate=False,
            )
        )
        self._loop: asyncio.AbstractEventLoop | None = None
        self._closing = asyncio.Event()
        self._begun = threading.Event()
        self._thread = threading.Thread(target=self._run, name="web server", daemon=True)
        self._thread.start()
        self._begun.wait(END)

    @property
    def serving(self) -> bool:
        """Whether the thread runs."""
        return self._thread.is_alive()

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except Exception as error:  # the sink raises it at the next update
            self.failure = error
        finally:
            self._listening.close()

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        closing = asyncio.create_task(self._closing.wait())
        serving = asyncio.create_task(self._server.serve([self._listening]))
        beside = asyncio.create_task(self._beside())
        self._begun.set()
        done, _ = await asyncio.wait([closing, serving, beside], return_when=asyncio.FIRST_COMPLETED)
        for server in self._server.servers:
            server.close()
        state = self._server.server_state
        for connection in list(state.connections):
            connection.transport.abort()
        for task in (closing, serving, beside):
            task.cancel()
        if state.tasks:  # they hear now that their browsers are gone
            await asyncio.wait(state.tasks, timeout=END / 2)
        if serving in done:
            await serving  # raises what ended it
        if beside in done:
            await beside

    def close(self) -> bool:
        """Stop listening, cut every connection and end the thread; False where that took too long."""
        if self._loop is not None and self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._closing.set)
        self._thread.join(END)
        if self._thread.is_alive():  # it hangs: another server may have the place
            with contextlib.suppress(OSError):
                self._listening.shutdown(socket.SHUT_RDWR)
        return not self._thread.is_alive()
