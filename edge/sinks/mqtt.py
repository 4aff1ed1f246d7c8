"""`mqtt`: each change of the cue as JSON to a broker, for home automation or a carer's dashboard; off unless named."""

from __future__ import annotations

import contextlib
import json
import re
import secrets
import ssl
import sys
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from edge.config import MqttSettings
from edge.control import Control
from edge.errors import RuntimeMissing, SettingsInvalid, SinkFailed
from edge.types import Capabilities, Update
from edge.web.access import is_loopback

if TYPE_CHECKING:
    from paho.mqtt.client import Client, ConnectFlags, DisconnectFlags, MQTTMessageInfo
    from paho.mqtt.properties import Properties
    from paho.mqtt.reasoncodes import ReasonCode

ANSWER = 2.0  # seconds for connecting, or for sending a message; with FAREWELL within the loop's 3 s for ending
KEEPALIVE = 10  # whole seconds without a word after which the broker and we ask for one
LEAST_INTERVAL = 0.2  # seconds between two messages: faster changes of distance or side serve nobody
FAREWELL = 0.5  # seconds to take leave of the broker
LONGEST_TOPIC = 200  # bytes
LARGEST_ANSWER = 1024  # bytes of a packet of the broker's: to who only publishes it has a few to say

# One for the process: a connection opened again then takes the place of the lost one, whose last will the broker
# publishes before, and not after, we are said to be online again.
CLIENT_ID = f"cuelens-{secrets.token_hex(6)}"


class MqttSink:
    """Publish to TOPIC/cue what changed, and to TOPIC/status, retained, whether anybody publishes: online or offline.

    Cues are not retained: who subscribes later gets no old label. They go with QoS 0: a lost one is not sent again,
    because the next is truer; the status goes with QoS 1. A sink is one connection. It does not connect again by
    itself: the loop opens another one, which begins with the cue of that moment.
    """

    capabilities = Capabilities(least_interval=LEAST_INTERVAL, deadline=ANSWER + 0.5)

    def __init__(self, argument: str, control: Control, clock: Callable[[], float] = time.monotonic) -> None:
        """Begin to connect to the broker of the [mqtt] settings; `argument` must be empty.

        Raises RuntimeMissing without paho-mqtt, SettingsInvalid, or SinkFailed where there is no network at all.
        """
        try:
            from paho.mqtt.enums import CallbackAPIVersion

            publisher = _publisher()
        except ImportError as error:
            raise RuntimeMissing("mqtt sink: paho-mqtt is not installed; ./deploy.sh sinks adds it") from error
        settings = control.settings.mqtt
        if argument:
            raise SettingsInvalid(f"mqtt:{argument}: this sink takes no argument; set host and topic under [mqtt]")
        _check(settings)
        self._broker = f"mqtt sink: {settings.host}:{settings.port}"
        self._topic = settings.topic
        self._clock = clock
        self._begun = clock()
        self._settled = threading.Event()  # connected, or failed
        self._failure: str | None = None  # written by the network thread, once
        self._said: tuple[object, ...] | None = None
        self._sending: tuple[MQTTMessageInfo, float] | None = None
        client = publisher(CallbackAPIVersion.VERSION2, CLIENT_ID, reconnect_on_failure=False)
        self._client: Client | None = client
        client.connect_timeout = ANSWER
        client.on_connect = self._on_connect
        client.on_connect_fail = self._on_connect_fail
        client.on_disconnect = self._on_disconnect
        client.will_set(f"{self._topic}/status", "offline", qos=1, retain=True)
        if settings.user:
            client.username_pw_set(settings.user, settings.password or None)
        if settings.tls:
            client.tls_set_context(ssl.create_default_context())
        try:
            client.connect_async(settings.host, settings.port, KEEPALIVE)
            client.loop_start()
        except OSError as error:
            raise SinkFailed(
                f"{self._broker}: {error.strerror}; "
                "a service needs RestrictAddressFamilies=AF_INET AF_INET6 in a drop-in"
            ) from error

    def _on_connect(
        self, client: Client, _: Any, flags: ConnectFlags, reason: ReasonCode, properties: Properties | None
    ) -> None:
        if self._client is None:  # closed while it was connecting
            client.disconnect()
        elif reason.is_failure:
            self._fail(f"refused us: {reason}; check user and password under [mqtt]")
        else:
            client.publish(f"{self._topic}/status", "online", qos=1, retain=True)
            self._settled.set()

    def _on_connect_fail(self, client: Client, _: Any) -> None:
        error = sys.exc_info()[1]  # paho calls this where it caught it, and would then try for ever
        self._fail(f"{error}; is the broker running, and are host, port and tls under [mqtt] right?")
        client.disconnect()

    def _on_disconnect(
        self, client: Client, _: Any, flags: DisconnectFlags, reason: ReasonCode, properties: Properties | None
    ) -> None:
        self._fail(f"lost the connection: {reason}; is the broker still running?")

    def _fail(self, words: str) -> None:
        self._failure = self._failure or f"{self._broker}: {words}"
        self._settled.set()

    def show(self, update: Update) -> None:
        """Publish the cue if it is another one; raises SinkFailed when the broker refuses, is lost or does not answer.

        Waits for the connection at first, so that only a sink that works counts as working; never after that.
        """
        if self._client is None:
            return
        waited = not self._settled.is_set()
        if waited and not self._settled.wait(self._begun + ANSWER - self._clock()):
            raise SinkFailed(f"{self._broker}: no answer within {ANSWER} s; are host and port under [mqtt] right?")
        if self._failure is not None:
            raise SinkFailed(self._failure)
        if waited and update.frame is not None:
            return  # the next frame's update is there already, and this one is old
        cue = update.cue
        said = (cue.state, cue.expression, cue.reason, cue.distance, cue.side)
        # What comes without a frame, no camera or a pause, may be the last for long: it waits and is not left out.
        if said == self._said or not self._sent(ANSWER if update.frame is None else 0.0):
            return
        record = {
            "state": cue.state,
            "expression": cue.expression,
            "reason": cue.reason,
            "confidence": round(cue.confidence, 2),
            "distance": cue.distance,
            "side": cue.side,
            "t": round(cue.since if update.frame is None else update.frame.t, 3),
        }
        self._sending = self._client.publish(f"{self._topic}/cue", json.dumps(record)), self._clock()
        self._said = said

    def _sent(self, patience: float) -> bool:
        """Say whether the last message has left, so that none ever waits behind it; raises SinkFailed."""
        if self._sending is None:
            return True
        message, since = self._sending
        try:
            message.wait_for_publish(patience)
        except RuntimeError as error:
            raise SinkFailed(f"{self._broker}: {error}; is the broker still running?") from error
        if message.is_published():
            self._sending = None
        elif patience or self._clock() - since > ANSWER:
            raise SinkFailed(f"{self._broker} has taken nothing for {ANSWER} s; is the broker overloaded?")
        return self._sending is None

    def close(self) -> None:
        """Say that nobody publishes any more, and leave."""
        if self._client is None:
            return
        client, self._client = self._client, None
        end = time.monotonic() + FAREWELL
        if client.is_connected() and self._failure is None:
            with contextlib.suppress(RuntimeError):  # lost just now: the last will says it
                client.publish(f"{self._topic}/status", "offline", qos=1, retain=True).wait_for_publish(FAREWELL)
        client.disconnect()
        # The network thread may be connecting, which nothing ends; it is a daemon, and ends after that.
        leaving = threading.Thread(target=client.loop_stop, name="mqtt leaves", daemon=True)
        leaving.start()
        leaving.join(max(0.1, end - time.monotonic()))


def _publisher() -> type[Client]:
    """Return paho's client, as one that leaves a broker with a packet of over LARGEST_ANSWER: it would hold 256 MB."""
    from paho.mqtt.client import Client

    class Publisher(Client):
        def _sock_recv(self, bufsize: int) -> bytes:
            if bufsize > LARGEST_ANSWER:
                raise ConnectionError(f"a packet of {bufsize} bytes")
            return super()._sock_recv(bufsize)

    return Publisher


def _check(settings: MqttSettings) -> None:
    """Refuse settings that cannot work or that would give a secret away; raises SettingsInvalid."""
    topic = settings.topic
    if not re.fullmatch(r"[^/$+#\x00-\x1f][^+#\x00-\x1f]*(?<!/)", topic) or len(topic.encode()) > LONGEST_TOPIC:
        raise SettingsInvalid(
            f"mqtt.topic is {topic!r}; valid are up to {LONGEST_TOPIC} bytes without + and #, "
            "not beginning with $ or /, not ending with /"
        )
    try:
        empty = not settings.host.encode("idna")
    except UnicodeError:
        empty = True
    if empty:
        raise SettingsInvalid(f"mqtt.host is {settings.host!r}; valid are a name or an address: 192.168.1.2")
    if settings.password and not settings.user:
        raise SettingsInvalid("mqtt.password is set without mqtt.user; MQTT has no password without a user")
    if settings.password and not settings.tls and not is_loopback(settings.host):
        raise SettingsInvalid(
            f"mqtt.password would go to {settings.host} in the clear; set mqtt.tls = true, or leave it empty"
        )
