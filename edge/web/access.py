"""Who may use the page: the names that it has, what wrong tokens cost, sessions. Pure; the clock is passed in."""

from __future__ import annotations

import contextlib
import hmac
import ipaddress
import re
import secrets
import socket
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass

from edge.errors import SettingsInvalid

LEAST_TOKEN = 16  # characters
FREE_TRIES = 3  # wrong tokens from one address that cost nothing: typing errors
LONGEST_WAIT = 60.0  # seconds: nobody is locked out for longer than this after a wrong token
FORGET = 900.0  # seconds after which an address' wrong tokens are forgotten
ADDRESSES = 256  # that are remembered; the one that was heard of longest ago makes room
ALL_TRIES = 20  # wrong tokens from all addresses together before they must wait ...
ALL_REFILL = 3.0  # ... and the seconds for which each further one must
SESSIONS = 64  # browsers signed in; the oldest makes room


PREFIX = re.compile(r"(?:/[A-Za-z0-9_~-][A-Za-z0-9._~-]*){1,8}")  # of a path below which a proxy gives the page out


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach `host`."""
    known = host_of(host)
    return known == "localhost" or (known is not None and _is_loopback_address(known))


def _is_loopback_address(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def host_of(asked: str) -> str | None:
    """Return the one spelling of the host in `HOST` or `HOST:PORT`, None where it is neither.

    Small letters, no dot at the end, no brackets, zone or long form of an IPv6 address: all of them name the same.
    """
    asked = asked.strip().lower()
    with contextlib.suppress(ValueError):
        return _plain_address(asked)
    found = re.fullmatch(r"(?:\[([0-9a-f:.]+)(?:%[\w.~-]+)?\]|([\w.-]+?)\.?)(?::([0-9]{1,5}))?", asked, re.ASCII)
    if found is None or int(found[3] or 0) > 65535:
        return None
    if found[1] is None:
        return None if ".." in found[2] or found[2].startswith(".") else found[2]
    with contextlib.suppress(ValueError):
        return _plain_address(found[1])
    return None


def _plain_address(text: str) -> str:
    address = ipaddress.ip_address(text.partition("%")[0])
    mapped = getattr(address, "ipv4_mapped", None)  # an IPv4 visitor of an IPv6 socket
    return str(mapped or address)


@dataclass(frozen=True, slots=True)
class Address:
    """An address by which a proxy gives the page out: `https://home.example` and the path, `/glasses` or nothing."""

    origin: str
    path: str


class Names:
    """The names and addresses that a browser may have asked for: any other was made to point here by somebody else.

    The port is not looked at: a tunnel and a proxy have ports of their own, and who makes a name of his point here is
    known by the name.
    """

    def __init__(self, host: str, names: Iterable[str] = ()) -> None:
        """Take the host that is listened on and the settings' `names`; raises SettingsInvalid."""
        self.addresses: list[Address] = []  # of proxies
        self._names = {"localhost", host_of(host)}
        if host and not is_loopback(host):  # found in one's own network by the name of the machine
            label = socket.gethostname().partition(".")[0].lower()
            self._names |= {host_of(label), host_of(f"{label}.local")}
        for name in names:
            self._names.add(self._take(name))
        self._names.discard(None)

    def _take(self, name: str) -> str:
        """Return the host of one of the settings' names, and note an address; raises SettingsInvalid."""
        scheme, colons, rest = name.strip().partition("://")
        place, _, path = rest.partition("/") if colons else (name, "", "")
        with contextlib.suppress(UnicodeError):
            place = place.encode("idna").decode()  # as a browser asks for it
        host = host_of(place)
        prefix = f"/{path.rstrip('/')}" if path.rstrip("/") else ""
        wrong = host is None or (colons and scheme.lower() not in ("http", "https"))
        if host is None or wrong or (prefix and not PREFIX.fullmatch(prefix)):
            raise SettingsInvalid(
                f"web.names has {name!r}; valid are names as glasses.local, and addresses of a proxy as "
                "https://home.example/glasses"
            )
        if colons:
            default = ":443" if scheme.lower() == "https" else ":80"
            self.addresses.append(Address(f"{scheme.lower()}://{place.strip().lower().removesuffix(default)}", prefix))
        return host

    def own(self, asked: str, address: str) -> bool:
        """Whether the Host header `asked` names this page, which was reached at `address` of this machine."""
        host = host_of(asked)
        if host is None or (asked.count(":") > 1 and not asked.startswith("[")):  # a bare IPv6 address is no Host
            return False
        # An address cannot be made to point elsewhere, so the one it was reached at needs no mention in the settings.
        return host in self._names or _is_loopback_address(host) or host == host_of(address)

    def own_origin(self, origin: str, address: str) -> bool:
        """Whether the Origin header is of a page that was asked for by one of our names, whatever its port is."""
        scheme, colons, place = origin.partition("://")
        return bool(colons) and scheme in ("http", "https") and self.own(place, address)


def forwarded_prefix(given: str) -> str:
    """Return the path below which a proxy says that it gives the page out, "" where it says none or what is no path."""
    given = given.rstrip("/")
    return given if PREFIX.fullmatch(given) and ".." not in given else ""


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
        parsed = ipaddress.ip_address(_plain_address(address))
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
