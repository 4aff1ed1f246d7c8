"""The newest update to every browser that watches: one message under way each, so that a slow one costs nothing."""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
import time
from collections import Counter, deque
from typing import Any

from starlette.websockets import WebSocket, WebSocketDisconnect

from edge.runtime.control import Control
from edge.types import Clock, Cue, Update
from edge.web.news import LASTING, OUTDATED, Arrived, cue_message, cue_of, page_message, picture_message, run_message
from edge.web.pairing import Pairing

INTERVAL = 0.1  # seconds between messages where nothing changed but numbers and the picture
LOOK_AGAIN = 0.5  # seconds until it is looked what else changed: settings, outputs, the age
LATE = 1.5  # seconds without an answer after which a browser is the first to make room
STALLED = 5.0  # seconds within which a browser must have taken a message
WATCHERS = 16  # browsers at once: within what edge/web/server.py lets one address have, with room to load pages
FAREWELL = 1.0  # seconds for one that makes room to hear why
MAKE_ROOM = (
    4001  # code of a WebSocket that is closed for a newer one; 4000 to 4999 are for applications, RFC 6455 7.4.2
)
LATENCIES = 300  # the newest, of which the page shows percentiles: ten seconds at 30 fps


class _Watcher:
    """One browser: what it is to get, and whether it has taken what it got."""

    def __init__(self, address: str, clock: Clock) -> None:
        self.address = address
        self._clock = clock
        self.fresh = asyncio.Event()  # there is news
        self.taken = asyncio.Event()
        self.answered = clock()  # when it took the newest message that it took, or came
        self.leave = asyncio.Event()  # it makes room
        self.picture = False  # wants it

    def take(self) -> None:
        """Note that it took the newest message."""
        self.answered = self._clock()
        self.taken.set()


class Broadcast:
    """Takes updates from any thread and sends them to browsers; all else runs in the server's event loop."""

    def __init__(self, control: Control, pictures: bool, pairing: Pairing, clock: Clock = time.monotonic) -> None:
        """Take updates whose frames arrived by `clock`, as all ages are; the event loop waits by its own."""
        self._control = control
        self._clock = clock
        self._pairing = pairing
        self._pictures = pictures
        self._loop: asyncio.AbstractEventLoop | None = None
        self._lock = threading.Lock()
        self._offered: Arrived | None = None  # not yet taken by the event loop
        self._offered_at = 0.0  # when the first that it replaced was
        self._newest: Arrived | None = None
        self._latencies: deque[float] = deque(maxlen=LATENCIES)
        self._wake = asyncio.Event()
        self._watchers: dict[_Watcher, None] = {}  # oldest first
        self._joined = 0
        self._news: dict[str, Any] = {}
        self._made = 0.0  # when that was made
        self._page: dict[str, Any] = {}
        self._picture: tuple[dict[str, Any], bytes] | None = None
        self._drawn: Arrived | None = None  # what it shows

    def offer(self, update: Update) -> None:
        """Leave an update in place of an older one; returns at once, from any thread."""
        with self._lock:
            waiting, self._offered = self._offered is not None, Arrived.now(update, self._clock)
            if not waiting:
                self._offered_at = self._clock()
        if self._loop is not None and not waiting:
            self._loop.call_soon_threadsafe(self._take)

    def waiting(self) -> float:
        """Return the seconds for which the event loop has taken nothing that was offered."""
        with self._lock:
            return self._clock() - self._offered_at if self._offered is not None else 0.0

    def _take(self) -> None:
        with self._lock:
            offered, self._offered = self._offered, None
        if offered is None:
            return
        self._newest = offered
        if "total" in offered.update.latency_ms:
            self._latencies.append(offered.update.latency_ms["total"])
        self.wake()

    def wake(self) -> None:
        """Look at once what changed."""
        self._wake.set()

    async def run(self) -> None:
        """Make news until cancelled: at once when what is shown changed, else every INTERVAL; nothing unwatched."""
        self._loop = asyncio.get_running_loop()
        self._take()  # what was offered before there was a loop
        settings = None
        shown: object = None
        made = -INTERVAL
        while True:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), LOOK_AGAIN)
            self._wake.clear()
            now = self._clock()
            if not self._watchers:
                shown = None  # a browser that connects gets the news at once
                continue
            if self._control.settings is not settings:
                settings = self._control.settings
                self._page = page_message(self._control, self._pictures)
            showing = self._showing()
            if showing == shown and now - made < INTERVAL:
                continue
            shown, self._made, made = showing, now, now
            self._draw(now)
            self._news = cue_message(self._newest, self._control, now) | run_message(
                self._control, tuple(self._latencies)
            )
            self._news["pairing"] = self._pairing.message()
            for watcher in self._watchers:
                watcher.fresh.set()

    def present_cue(self) -> Cue | None:
        """Return the cue that holds now, None where what is known is older than OUTDATED."""
        cue = cue_of(self._newest, self._control)
        if cue is None or self._newest is None or cue.state in LASTING:
            return cue
        return cue if self._clock() - self._newest.t <= OUTDATED else None

    def _showing(self) -> object:
        cue = cue_of(self._newest, self._control)
        seen = None if cue is None else (cue.state, cue.expression, cue.reason, cue.distance, cue.side)
        return seen, self._control.settings, self._joined

    def _draw(self, now: float) -> None:
        """Encode the newest picture once for all who want one."""
        newest = self._newest
        wanted = self._pictures and any(watcher.picture for watcher in self._watchers)
        if (
            not wanted
            or self._control.paused
            or newest is None
            or newest.update.frame is None
            or now - newest.t > OUTDATED
        ):
            self._picture = self._drawn = None
        elif newest is not self._drawn:
            self._drawn = newest
            self._picture = picture_message(newest)

    async def watch(self, socket: WebSocket) -> None:
        """Serve one browser until it leaves, takes nothing for STALLED seconds, or makes room for a newer one.

        One that asks for `room` only comes where there is some: it made room before, and nobody looks at it now.
        """
        await socket.accept()
        watcher = _Watcher(socket.client.host if socket.client else "", self._clock)
        if len(self._watchers) >= WATCHERS:
            if "room" in socket.query_params:
                await _make_leave(socket)
                return
            self._most_crowded().leave.set()
        self._watchers[watcher] = None
        self._joined += 1
        self.wake()
        work = (self._send(socket, watcher), _listen(socket, watcher), watcher.leave.wait())
        tasks: list[asyncio.Task[Any]] = [asyncio.create_task(one) for one in work]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._watchers.pop(watcher, None)
            for task in tasks:
                task.cancel()
            ends = await asyncio.gather(*tasks, return_exceptions=True)
        if watcher.leave.is_set():
            await _make_leave(socket)
        for end in ends:
            if isinstance(end, Exception) and not isinstance(end, WebSocketDisconnect | TimeoutError):
                raise end

    def _most_crowded(self) -> _Watcher:
        """Return who makes room: one that does not answer, else the oldest of the address with the most."""
        now = self._clock()
        staying = [one for one in self._watchers if not one.leave.is_set()]
        counts = Counter(one.address for one in staying)
        return max(staying, key=lambda one: (now - one.answered > LATE, counts[one.address]))

    async def _send(self, socket: WebSocket, watcher: _Watcher) -> None:
        page: dict[str, Any] | None = None
        picture: tuple[dict[str, Any], bytes] | None = None
        while True:
            await watcher.fresh.wait()
            watcher.fresh.clear()
            now = self._clock()
            news = dict(self._news)
            if news["age"] is not None:
                news["age"] = round(news["age"] + now - self._made, 2)
            # What passed at the other side since it answered, and not here, is how long we are under way at most: no
            # clock is shared, and a line that kept a message back shows.
            message: dict[str, Any] = {"news": news, "held": round(now - watcher.answered, 3)}
            if self._page is not page:
                page = message["page"] = self._page
            newer = self._picture if watcher.picture and self._picture is not picture else None
            if newer is not None:
                picture = newer
                message["picture"] = newer[0]
            watcher.taken.clear()
            async with asyncio.timeout(STALLED):
                await socket.send_text(json.dumps(message))
                if newer is not None:
                    await socket.send_bytes(newer[1])
                await watcher.taken.wait()


async def _make_leave(socket: WebSocket) -> None:
    with contextlib.suppress(TimeoutError, WebSocketDisconnect, RuntimeError):  # it left, or does not hear
        async with asyncio.timeout(FAREWELL):
            await socket.close(MAKE_ROOM)


async def _listen(socket: WebSocket, watcher: _Watcher) -> None:
    while True:
        message = await socket.receive()
        if message["type"] == "websocket.disconnect":
            return
        match message.get("text"):
            case "taken":
                watcher.take()
            case "picture on":
                watcher.picture = True
            case "picture off":
                watcher.picture = False
