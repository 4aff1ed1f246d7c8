"""`web[:PORT]`: a page for a phone or a carer: the cue, the run, settings to change, and the picture if allowed."""

from __future__ import annotations

import errno
import socket
import time
from contextlib import suppress
from dataclasses import dataclass, field

from edge.errors import SettingsInvalid, SinkFailed
from edge.needs import Needs, missing_library
from edge.runtime.control import Control
from edge.settings import LOGIN, SECRET, Settings
from edge.system.messages import say
from edge.types import Capabilities, Clock, Update
from edge.web.access import LEAST_TOKEN, Names, host_of, is_loopback

EVERYWHERE = ("0.0.0.0", "::")  # to listen on; not where a browser finds it
BACKLOG = 32  # connections that wait to be accepted
HUNG = 5.0  # seconds in which the server takes an update; its browsers have seen nothing new for as long


@dataclass(frozen=True, slots=True)
class WebSettings:
    """The `web` sink: a page for a phone or a carer."""

    host: str = field(default="127.0.0.1", metadata=SECRET)
    """Address to listen at; any other than loopback needs a `token`."""

    port: int = field(default=8317, metadata={"range": (0, 65535)})
    """Port to listen at; with 0 the system chooses one, which is printed at the start."""

    token: str = field(default="", metadata=LOGIN)
    """What a browser beyond loopback must know: at least 16 characters."""

    names: tuple[str, ...] = field(default=(), metadata=SECRET)
    """Further names under which the page may be requested, such as `glasses.local`; others are refused.

    Also addresses at which a proxy offers it, such as `https://home.example/glasses`.
    """

    picture: bool = False
    """Allows the page to show the camera's picture, with boxes, while somebody has turned it on there."""


class WebSink:
    """Serve the page; an update only replaces the one before, and browsers get the newest when they can take it."""

    # It has no size of its own, and leaves an update to its server's thread in microseconds.
    capabilities = Capabilities()

    settings_type = WebSettings

    @staticmethod
    def needs(argument: str, settings: Settings) -> Needs:
        """State the network, where it listens, and that a page may have the picture."""
        web = settings.of(WebSettings)
        host, _, port = argument.rpartition(":")
        listens = host.removeprefix("[").removesuffix("]") or web.host, port or str(web.port)
        modules = ("starlette", "uvicorn", "websockets")
        return Needs(modules, network=True, listens=listens, sees_frames=web.picture)

    def __init__(self, argument: str, control: Control, clock: Clock = time.monotonic) -> None:
        """Listen where `argument` says, `PORT` or `HOST:PORT`, else where the settings do, and say where that is.

        Raises SettingsInvalid, RuntimeMissing, or SinkFailed where it cannot listen there now.
        """
        settings = control.settings.of(WebSettings)
        host, port = _place(argument, settings.host, settings.port)
        if settings.token and len(settings.token) < LEAST_TOKEN:
            raise SettingsInvalid(f"web.token has {len(settings.token)} characters; valid are {LEAST_TOKEN} or more")
        if not is_loopback(host) and not settings.token:
            raise SettingsInvalid(
                f"web sink: {host} can be reached by others and web.token is empty; set it to {LEAST_TOKEN} or more "
                "characters, or listen on 127.0.0.1"
            )
        try:
            from edge.web.app import make_app
            from edge.web.broadcast import Broadcast
            from edge.web.pairing import Pairing
            from edge.web.server import Server
        except ImportError as error:
            raise missing_library("web", str(error.name)) from error
        names = Names(host, settings.names)
        listening = _listen(host, port)
        port = listening.getsockname()[1]
        pairing = Pairing(control)
        self._broadcast = Broadcast(control, settings.picture, pairing, clock)
        app = make_app(control, self._broadcast, pairing, names, settings.token)
        self._server = Server(app, self._broadcast.run, listening)
        self._closed = False
        plain = [name for name in settings.names if "/" not in name]  # and no proxy's address
        shown = (host_of(plain[0]) if plain else None) or host if host in EVERYWHERE else host
        self.url = f"http://{f'[{shown}]' if ':' in shown else shown}:{port}/"
        say(f"web sink: {self.url}")

    def show(self, update: Update) -> None:
        """Leave the update for the browsers; raises SinkFailed where the server has ended, or hangs."""
        if self._closed:
            return
        if not self._server.serving:
            cause = self._server.failure
            raise SinkFailed(
                f"web sink: its server ended: {type(cause).__name__}: {cause}; run again with --debug"
            ) from cause
        if self._broadcast.waiting() > HUNG:
            raise SinkFailed(f"web sink: its server has taken no update for {HUNG:.0f} s; run again with --debug")
        with suppress(RuntimeError):  # it ends just now: the next update says so
            self._broadcast.offer(update)

    def close(self) -> None:
        """Stop listening and cut every browser off; raises SinkFailed where the server does not end."""
        if not self._closed:
            self._closed = True
            if not self._server.close():
                raise SinkFailed("web sink: its server did not end within a second; it was left behind")


def _place(argument: str, host: str, port: int) -> tuple[str, int]:
    """Return host and port of `PORT` or `HOST:PORT`; raises SettingsInvalid."""
    if not argument:
        return host, port
    before, colon, after = argument.rpartition(":")
    if not (after.isascii() and after.isdecimal() and int(after) <= 65535) or (colon and not before):
        raise SettingsInvalid(f"--sink web:{argument}: no place to listen; valid are web, web:PORT and web:HOST:PORT")
    return before.removeprefix("[").removesuffix("]") or host, int(after)


def _listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens; raises SettingsInvalid for a port that we may not have, or SinkFailed."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listening = socket.socket(family, kind, protocol)
    except OSError as error:
        hint = "allow AF_INET and AF_INET6 in the unit" if error.errno == errno.EAFNOSUPPORT else "give another host"
        raise SinkFailed(f"web sink: cannot listen on {host}: {error.strerror}; {hint}") from error
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
        listening.listen(BACKLOG)
    except OSError as error:
        listening.close()
        if isinstance(error, PermissionError):
            raise SettingsInvalid(
                f"web sink: cannot listen on {host}:{port}: {error.strerror}; give a port of 1024 or more"
            ) from error
        raise SinkFailed(
            f"web sink: cannot listen on {host}:{port}: {error.strerror}; give another place, as --sink web:0"
        ) from error
    listening.setblocking(False)
    return listening
