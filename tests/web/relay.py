"""A line between browser and page that can go silent, be slow, or rewrite requests as a reverse proxy does."""

from __future__ import annotations

import contextlib
import queue
import re
import socket
import threading
import time


class Relay:
    """Listens on a port of its own and passes each connection on to the page."""

    def __init__(self, target: int, path: str = "", headers: str = "") -> None:
        """Relay to the port `target`; with a `path` it is taken off, the Host made the target's, `headers` added."""
        self.upgrades = True  # passes a WebSocket's request on as such
        self.silent = 0  # connections up to this number pass nothing any more, and are not closed
        self.delay = 0.0  # seconds that what the page sends is under way
        self.opened = 0
        self._target, self._path, self._headers = target, path, headers
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self.url = f"http://127.0.0.1:{self.port}{path}/"
        self._ends: list[socket.socket] = []
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        with contextlib.suppress(OSError):  # closed
            while True:
                near, _ = self._listener.accept()
                self.opened += 1
                far = socket.create_connection(("127.0.0.1", self._target))
                self._ends += [near, far]
                for one, other in ((near, far), (far, near)):
                    threading.Thread(
                        target=self._pass, args=(one, other, one is near, self.opened), daemon=True
                    ).start()

    def _pass(self, one: socket.socket, other: socket.socket, request: bool, number: int) -> None:
        """Take what comes and note when it is due; another thread passes it on, so that no piece delays the next."""
        line: queue.Queue[tuple[float, bytes]] = queue.Queue()
        threading.Thread(target=self._deliver, args=(line, other, request, number), daemon=True).start()
        try:
            with contextlib.suppress(OSError):
                while data := one.recv(65_536):
                    line.put((time.monotonic() + (0.0 if request else self.delay), data))
        finally:
            line.put((0.0, b""))

    def _deliver(
        self, line: queue.Queue[tuple[float, bytes]], other: socket.socket, request: bool, number: int
    ) -> None:
        first = request and (bool(self._path) or not self.upgrades)
        with contextlib.suppress(OSError):
            while (piece := line.get())[1]:
                due, data = piece
                self._closed.wait(max(0.0, due - time.monotonic()))
                while number <= self.silent and not self._closed.wait(0.02):
                    pass
                other.sendall(self._rewrite(data) if first else data)
                first = False
        with contextlib.suppress(OSError):
            other.shutdown(socket.SHUT_WR)

    def _rewrite(self, data: bytes) -> bytes:
        if not self.upgrades:
            data = re.sub(rb"(?i)\r\n(upgrade|connection): [^\r]*", b"", data)
        if not self._path:
            return data
        data = data.replace(b" " + self._path.encode() + b"/", b" /", 1)
        return re.sub(
            rb"(?i)\r\nhost: [^\r]*", f"\r\nHost: 127.0.0.1:{self._target}{self._headers}".encode(), data, count=1
        )

    def close(self) -> None:
        """End it and all that goes through it."""
        self._closed.set()
        self._listener.close()
        for end in self._ends:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()
