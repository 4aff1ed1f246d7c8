"""What is never printed, whoever prints: user, password and query of an address, and the passwords of the settings."""

from __future__ import annotations

import re

HIDDEN = "…"
LEAST = 6  # characters of a secret that it searches in every line; a shorter one is a word of many

_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*://", re.IGNORECASE)
# USER:PASSWORD@ without a scheme before it, and no camera's v4l2:DEVICE,WIDTHxHEIGHT@FPS
_LOGIN = re.compile(r"(?<![\w/.-])(?!v4l2:[^\s@]*,\d+x\d+@\d+(?![\w.]))[\w.%+-]+:[^\s@]*@(?=[\w\[])")
# What FFmpeg and cameras take for options, also percent-encoded: ?user=, ;user=, /user=admin_password=
_OPTIONS = re.compile(r"[?#;&]|%3f|%23|%3b|%26", re.IGNORECASE)
_ASSIGNED = re.compile(r"/[^/]*?(?:=|%3d)", re.IGNORECASE)
_END = re.compile(r"[\s'\"<>|]")
_SIGNS = re.compile(r"[:;,.)\]]*$")
_known: dict[str, str] = {}


def hide(secret: str, shown: str = HIDDEN) -> None:
    """Have `secret`, from now on, printed as `shown` in every line; one that is short or is so already is left."""
    if len(secret) >= LEAST and secret != shown:
        _known[secret] = shown


def plain(text: str) -> str:
    """Return a line without what logs in to the addresses in it, nor their queries, nor what was hidden."""
    for secret in sorted(_known, key=len, reverse=True):  # the longer may hold a shorter
        text = text.replace(secret, _known[secret])
    if "://" in text:
        begin, *others = _split(text)
        text = begin + "".join(scheme + _without_login(rest) for scheme, rest in others)
    return _LOGIN.sub("", text) if "@" in text else text


def plain_address(address: str) -> str:
    """Return NAME:ADDRESS, the whole of which is known to be one: a password may hold blanks, too."""
    scheme = _SCHEME.search(address)
    if scheme is None:
        return plain(address)
    rest = _without_login(address[scheme.end() :])
    return address[: scheme.end()] + (_END.split(rest, maxsplit=1)[0] or HIDDEN)


def _split(text: str) -> tuple[str, *tuple[tuple[str, str], ...]]:
    """Return what comes before the first address, then each one's scheme, with what comes up to the next."""
    found = list(_SCHEME.finditer(text))
    ends = [match.start() for match in found[1:]] + [len(text)]
    pairs = ((match[0], text[match.end() : end]) for match, end in zip(found, ends, strict=True))
    return (text[: found[0].start()] if found else text, *pairs)


def _without_login(rest: str) -> str:
    """Return what comes after a scheme, without user, password and options.

    All before the last @ is taken for the login: a password may hold any sign that RFC 3986 wants encoded.
    """
    at = rest.rfind("@")
    options = next((match.start() for match in re.finditer(r"[?#]", rest)), len(rest))
    if at > options:  # of a password that holds a ?, or of an address in the query: neither can be known
        token, after = _token(rest, at)
        return HIDDEN + _signs(token) + after
    token, after = _token(rest[at + 1 :])
    if found := _OPTIONS.search(token):
        token = token[: found.start()] + HIDDEN + _signs(token)
    if found := _ASSIGNED.search(token):
        token = token[: found.start() + 1] + HIDDEN + _signs(token)
    return token + after


def _token(text: str, at: int = 0) -> tuple[str, str]:
    """Return an address's rest, and what comes after it from `at` on."""
    end = _END.search(text, at)
    return (text[: end.start()], text[end.start() :]) if end else (text, "")


def _signs(token: str) -> str:
    """Return the sentence's signs at the end of what was taken for an address."""
    found = _SIGNS.search(token)
    return found[0] if found else ""
