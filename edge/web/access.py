"""Who may use the page: the names that it has, what wrong tokens cost, sessions. Pure; the clock is passed in."""

from __future__ import annotations

import hmac
import ipaddress
import secrets
from collections import OrderedDict
from collections.abc import Iterable

LEAST_TOKEN = 16  # characters
FREE_TRIES = 3  # wrong tokens from one address that cost nothing: typing errors
LONGEST_WAIT = 60.0  # seconds: nobody is locked out for longer than this after a wrong token
FORGET = 900.0  # seconds after which an address' wrong tokens are forgotten
ADDRESSES = 256  # that are remembered; the one that was heard of longest ago makes room
ALL_TRIES = 20  # wrong tokens from all addresses together before they must wait ...
ALL_REFILL = 3.0  # ... and the seconds for which each further one must
SESSIONS = 64  # browsers signed in; the oldest makes room


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach `host`."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


class Names:
    """The names and addresses that a browser may have asked for: any other was made to point here by somebody else."""

    def __init__(self, host: str, port: int, names: Iterable[str]) -> None:
        self._port = port
        self._names = {"localhost", "127.0.0.1", "[::1]", _bracketed(host.lower()), *(name.lower() for name in names)}

    def own(self, asked: str, address: str) -> bool:
        """Whether the Host header `asked` names this page, which was reached at `address` of this machine."""
        name, colon, port = asked.lower().rpartition(":")
        if not colon or port.endswith("]"):
            name, port = asked.lower(), "80"
        # An address cannot be made to point elsewhere, so the one it was reached at needs no mention in the settings.
        return (
            bool(name) and port == str(self._port) and (name in self._names or name == _bracketed(_unmapped(address)))
        )


def _unmapped(address: str) -> str:
    return address.removeprefix("::ffff:") if "." in address else address  # an IPv4 visitor of an IPv6 socket


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


class Tries:
    """What wrong tokens cost: each doubles its address' wait after a few, and all addresses share an allowance."""

    def __init__(self) -> None:
        self._wrong: OrderedDict[str, tuple[int, float]] = OrderedDict()  # by address: how many, the newest when
        self._known: OrderedDict[str, None] = OrderedDict()  # addresses that gave the right token
        self._left = float(ALL_TRIES)
        self._counted = 0.0

    def wait(self, address: str, now: float) -> float:
        """Return the seconds until this address may try again, 0 for now; asking costs nothing."""
        address = _network(address)
        wrong, newest = self._wrong.get(address, (0, now))
        own = 0.0
        if wrong >= FREE_TRIES and now - newest < FORGET:
            own = newest + min(2.0 ** (wrong - FREE_TRIES), LONGEST_WAIT) - now
        self._left = min(ALL_TRIES, self._left + (now - self._counted) / ALL_REFILL)
        self._counted = now
        # Where the right one came from before, others' guesses must not lock out.
        shared = 0.0 if address in self._known else (1 - self._left) * ALL_REFILL
        return max(own, shared, 0.0)

    def wrong(self, address: str, now: float) -> None:
        """Count a wrong token."""
        address = _network(address)
        wrong, newest = self._wrong.pop(address, (0, now))
        self._wrong[address] = (wrong + 1 if now - newest < FORGET else 1, now)
        self._left -= 1
        if len(self._wrong) > ADDRESSES:
            self._wrong.popitem(last=False)

    def right(self, address: str) -> None:
        """Forgive an address that gave the right token."""
        address = _network(address)
        self._wrong.pop(address, None)
        self._known[address] = None
        if len(self._known) > ADDRESSES:
            self._known.popitem(last=False)


def _network(address: str) -> str:
    """Return what one visitor may choose addresses from: an IPv6 network of 64 bits, else the address itself."""
    try:
        parsed = ipaddress.ip_address(_unmapped(address.partition("%")[0]))
    except ValueError:
        return address
    if parsed.version == 4:
        return str(parsed)
    return str(ipaddress.ip_network((parsed, 64), strict=False))


class Sessions:
    """Browsers that gave the right token, known by a random value each until this ends."""

    def __init__(self, token: str) -> None:
        self._token = token.encode()
        self._sessions: OrderedDict[str, None] = OrderedDict()

    def open(self, token: str) -> str | None:
        """Return a new session's value for the right token, None for a wrong one."""
        if not hmac.compare_digest(token.encode("utf-8", "replace"), self._token):
            return None
        session = secrets.token_urlsafe(32)
        self._sessions[session] = None
        if len(self._sessions) > SESSIONS:
            self._sessions.popitem(last=False)
        return session

    def known(self, session: str) -> bool:
        """Whether a browser with this value is signed in."""
        given = session.encode("utf-8", "replace")
        return any(hmac.compare_digest(given, known.encode()) for known in self._sessions)
