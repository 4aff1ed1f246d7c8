"""How the `mqtt` sink reaches a broker: settings that cannot work, whom to trust, our id, what a failure means."""

from __future__ import annotations

import re
import secrets
import socket
import ssl
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from edge.errors import SettingsInvalid
from edge.settings import LOGIN, SECRET
from edge.system.identity import device_id
from edge.web.access import host_of, is_loopback

if TYPE_CHECKING:
    from paho.mqtt.client import Client

LONGEST_TOPIC = 200  # bytes
LARGEST_ANSWER = 1024  # bytes of a packet of the broker's: to who only publishes it has a few to say
UNANSWERED_MS = 5000  # for which what was sent may stay unconfirmed by the other side's TCP: then the line is dead
CONTESTED = 3  # times that a connection is lost within CONTEST, until somebody else is taken to have our id
CONTEST = 30.0  # seconds
WRONG_NAME = (62, 64)  # X509_V_ERR_HOSTNAME_MISMATCH, X509_V_ERR_IP_ADDRESS_MISMATCH of OpenSSL
WRONG_TIME = (9, 10)  # X509_V_ERR_CERT_NOT_YET_VALID, X509_V_ERR_CERT_HAS_EXPIRED


@dataclass(frozen=True, slots=True)
class MqttSettings:
    """The `mqtt` sink: cues to a broker."""

    host: str = field(default="127.0.0.1", metadata=SECRET)
    """Name or address of the broker."""

    port: int = field(default=1883, metadata={"range": (1, 65535)})
    """Port of the broker."""

    topic: str = field(default="cuelens", metadata=SECRET)
    """Topic below which cues and status are published; each device needs its own."""

    user: str = field(default="", metadata=SECRET)
    """User at the broker; empty for none."""

    password: str = field(default="", metadata=LOGIN)
    """Password of the user; beyond loopback only with `tls` or `clear_password`."""

    tls: bool = False
    """Encrypts the connection to the broker."""

    ca: str = ""
    """PEM file with the authority that signed the broker's certificate, if the system does not know it."""

    clear_password: bool = False
    """Allows user and password to be sent unencrypted: in a network of your own, to a broker without TLS."""

    discovery: str = ""
    """Topic where Home Assistant looks for devices, usually `homeassistant`; empty publishes no device."""


class ClientId:
    """What the broker knows this device by: the same after a reboot, so that a new connection ends the dead one.

    Its last will then comes before, and not after, we say that we are online. 23 letters and digits at most, which
    every broker takes (MQTT 3.1.1, 3.1.3.1).
    """

    def __init__(self, topic: str) -> None:
        """Take the id for what is published below `topic`."""
        self.value = f"cuelens{device_id(f'mqtt {topic}')[:12]}"
        self._lost: deque[float] = deque(maxlen=CONTESTED)

    def lose(self, now: float) -> bool:
        """Take that the broker ended a connection that it had accepted; True where the id is another from now on.

        Two clients with one id end each other's connections without a limit: a copied card, a second run.
        """
        self._lost.append(now)
        if len(self._lost) < CONTESTED or now - self._lost[0] > CONTEST:
            return False
        self._lost.clear()
        self.value = f"{self.value[:19]}{secrets.token_hex(2)}"
        return True


def make_publisher() -> type[Client]:
    """Return paho's client, as one that leaves a broker with a packet of over LARGEST_ANSWER: it would hold 256 MB."""
    from paho.mqtt.client import Client

    class Publisher(Client):
        def _sock_recv(self, bufsize: int) -> bytes:
            if bufsize > LARGEST_ANSWER:
                raise ConnectionError(f"a packet of {bufsize} bytes")
            return super()._sock_recv(bufsize)

    return Publisher


def limit_silence(_: Client, __: Any, line: Any) -> None:
    """Let the kernel end a line whose other side confirms nothing that was sent; by itself it tries for 15 minutes."""
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        line.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNANSWERED_MS)


def check_settings(settings: MqttSettings) -> None:
    """Refuse settings that cannot work or that would give a secret away; raises SettingsInvalid."""
    for name, topic in (("topic", settings.topic), ("discovery", settings.discovery)):
        if name == "discovery" and not topic:
            continue
        if not re.fullmatch(r"[^/$+#\x00-\x1f][^+#\x00-\x1f]*(?<!/)", topic) or len(topic.encode()) > LONGEST_TOPIC:
            raise SettingsInvalid(
                f"mqtt.{name} is {topic!r}; valid are up to {LONGEST_TOPIC} bytes without + and #, "
                "not beginning with $ or /, not ending with /"
            )
    broker_host(settings)
    if settings.password and not settings.user:
        raise SettingsInvalid("mqtt.password is set without mqtt.user; MQTT has no password without a user")
    if settings.ca and not settings.tls:
        raise SettingsInvalid("mqtt.ca is set without mqtt.tls; set mqtt.tls = true, and the port of it, often 8883")
    if settings.password and not (settings.tls or settings.clear_password or is_loopback(settings.host)):
        raise SettingsInvalid(
            f"mqtt.password would go to {settings.host} in the clear; set mqtt.tls = true, or, in a network of your "
            "own, mqtt.clear_password = true"
        )


def broker_host(settings: MqttSettings) -> str:
    """Return the broker's name or address as it is looked up; raises SettingsInvalid."""
    host = settings.host.strip()
    try:
        known = host_of(host.encode("idna").decode())
    except UnicodeError:
        known = None
    port = host.count(":") == 1 or "]:" in host
    if known is None or port:
        raise SettingsInvalid(
            f"mqtt.host is {settings.host!r}; valid are a name or an address: 192.168.1.2; the port is mqtt.port"
        )
    return known


def tls_context(settings: MqttSettings) -> ssl.SSLContext:
    """Return whom to trust: the system's authorities, or those of the file `ca` alone; raises SettingsInvalid."""
    if not settings.ca:
        return ssl.create_default_context()
    try:
        context = ssl.create_default_context(cafile=settings.ca)
    except (OSError, ValueError) as error:  # an SSLError is an OSError
        why = error.strerror if isinstance(error, OSError) and not isinstance(error, ssl.SSLError) else None
        raise SettingsInvalid(
            f"mqtt.ca is {settings.ca!r}: {why or 'no certificate in it'}; give a PEM file that the service may read, "
            "as /etc/cuelens/ca.pem"
        ) from error
    # An authority made at home may lack what RFC 5280 asks for, and the file may hold the broker's own certificate.
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    return context


def explain(error: BaseException | None, settings: MqttSettings) -> str:
    """Return why no connection came about, and what to do."""
    if isinstance(error, ssl.SSLCertVerificationError):
        todo = "set ca under [mqtt] to the file of the authority that signed it"
        if error.verify_code in WRONG_NAME:
            todo = "set host under [mqtt] to a name that is in the certificate"
        elif error.verify_code in WRONG_TIME:
            todo = "is this device's clock right (see: date)?"
        return f"certificate verify failed: {error.verify_message}; {todo}"
    if isinstance(error, ssl.SSLError):
        plain = error.reason in ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "PACKET_LENGTH_TOO_LONG")
        why = "it speaks no TLS at this port" if plain else f"TLS failed: {error.reason or error.strerror}"
        return f"{why}; is port under [mqtt] right? With TLS it is often 8883"
    if isinstance(error, socket.gaierror):
        return f"{error.strerror}; is host under [mqtt] right? An address as 192.168.1.2 needs no name server"
    return f"{error}; is the broker running, and are host, port and tls under [mqtt] right?"
