"""`mqtt`: each change of the cue as JSON to a broker, for home automation or a carer's dashboard; off unless named."""

from __future__ import annotations

import contextlib
import json
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

from edge.errors import SettingsInvalid, SinkFailed
from edge.needs import Needs, missing_library
from edge.runtime.control import Control
from edge.settings import Settings
from edge.sinks.mqtt_broker import (
    ClientId,
    MqttSettings,
    broker_host,
    check_settings,
    explain,
    limit_silence,
    make_publisher,
    tls_context,
)
from edge.sinks.mqtt_home import discovery_message
from edge.types import Capabilities, Clock, Cue, Update

if TYPE_CHECKING:
    from paho.mqtt.client import Client, ConnectFlags, DisconnectFlags, MQTTMessageInfo
    from paho.mqtt.properties import Properties
    from paho.mqtt.reasoncodes import ReasonCode

ANSWER = 2.0  # seconds for connecting, or for sending a message; with FAREWELL within the loop's 3 s for ending
KEEPALIVE = 10  # whole seconds without a word after which the broker and we ask for one
LEAST_INTERVAL = 0.2  # seconds between two messages: faster changes of distance or side serve nobody
FAREWELL = 0.5  # seconds to take leave of the broker
REFRESH = 10.0  # seconds after which the status, and a cue that stays, are published again
CONFIRMED = 5.0  # seconds for the broker to confirm the status

_ids: dict[str, ClientId] = {}  # of this process, by topic: a sink that is opened again takes its predecessor's place


class MqttSink:
    """Publish to TOPIC/cue what changed, and to TOPIC/status, retained, whether anybody publishes: online or offline.

    Cues are not retained: who subscribes later gets no old label. They go with QoS 0: a lost one is not sent again,
    because the next is truer; the status goes with QoS 1. The sink sends both again every REFRESH seconds:
    silence then means that nothing is known, and a will that came late does not stand. The last cue is `stopped`.

    A sink is one connection. It does not connect again by itself: the loop opens another one, which begins with the
    cue of that moment.
    """

    capabilities = Capabilities(least_interval=LEAST_INTERVAL, deadline=ANSWER + 0.5)
    takes_argument = False

    settings_type = MqttSettings

    @staticmethod
    def needs(argument: str, settings: Settings) -> Needs:
        """State the network, the one connection, and the authority's certificate."""
        ca = settings.of(MqttSettings).ca
        reads = {ca: "put the PEM file of the broker's authority there, readable by all"} if ca else {}
        return Needs(("paho.mqtt",), network=True, reads=reads, place="connection")

    def __init__(self, argument: str, control: Control, clock: Clock = time.monotonic) -> None:
        """Begin to connect to the broker of the [mqtt] settings; `argument` must be empty.

        Raises RuntimeMissing without paho-mqtt, SettingsInvalid, or SinkFailed where there is no network at all.
        """
        try:
            from paho.mqtt.enums import CallbackAPIVersion

            publisher = make_publisher()
        except ImportError as error:
            raise missing_library("mqtt", "paho-mqtt") from error
        settings = control.settings.of(MqttSettings)
        if argument:
            raise SettingsInvalid(f"mqtt:{argument}: this sink takes no argument; set host and topic under [mqtt]")
        check_settings(settings)
        context = tls_context(settings) if settings.tls else None
        self._settings = settings
        self._broker = f"mqtt sink: {settings.host}:{settings.port}"
        self._topic = settings.topic
        self._clock = clock
        self._begun = clock()
        self._settled = threading.Event()  # connected, or failed
        self._failure: str | None = None  # written by the network thread, once
        self._published: tuple[object, ...] | None = None
        self._saw = 0.0  # when that was published
        self._t = 0.0  # of the capture clock, of the newest update
        self._sending: tuple[MQTTMessageInfo, float] | None = None
        self._announcing: tuple[MQTTMessageInfo, float] | None = None  # the newest status
        self._id = _ids.setdefault(self._topic, ClientId(self._topic))
        client = publisher(CallbackAPIVersion.VERSION2, self._id.value, reconnect_on_failure=False)
        self._client: Client | None = client
        client.connect_timeout = ANSWER
        client.on_connect = self._on_connect
        client.on_connect_fail = self._on_connect_fail
        client.on_disconnect = self._on_disconnect
        client.on_socket_open = limit_silence
        client.will_set(f"{self._topic}/status", "offline", qos=1, retain=True)
        if settings.user:
            client.username_pw_set(settings.user, settings.password or None)
        if context is not None:
            client.tls_set_context(context)
        try:
            client.connect_async(broker_host(settings), settings.port, KEEPALIVE)
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
            if prefix := self._settings.discovery:
                topic, sensor = discovery_message(prefix, self._topic, self._id.value, REFRESH)
                client.publish(topic, sensor, qos=1, retain=True)
            self._announce(client)
            self._settled.set()

    def _announce(self, client: Client) -> None:
        """Say that somebody publishes."""
        self._announcing = client.publish(f"{self._topic}/status", "online", qos=1, retain=True), self._clock()

    def _on_connect_fail(self, client: Client, _: Any) -> None:
        error = sys.exc_info()[1]  # paho calls this where it caught it, and would then try without an end
        self._fail(explain(error, self._settings))
        client.disconnect()

    def _on_disconnect(
        self, client: Client, _: Any, flags: DisconnectFlags, reason: ReasonCode, properties: Properties | None
    ) -> None:
        if not self._settled.is_set():
            self._fail("closed the connection without an answer; is the broker one of MQTT 3.1.1, and tls right?")
        elif self._failure is None and self._id.lose(self._clock()):
            self._fail(f"lost the connection again and again: {reason}; has another device our id? It is another now")
        else:
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
        cue, now = update.cue, self._clock()
        facts = (cue.state, cue.expression, cue.reason, cue.distance, cue.side)
        self._t = update.t
        if facts != self._published or now - self._saw >= REFRESH:
            # What comes without a frame, no camera or a pause, may be the last for long: it waits and is not left out.
            if not self._sent(ANSWER if update.frame is None else 0.0):
                return
            self._sending = self._client.publish(f"{self._topic}/cue", self._record(cue)), now
            self._published, self._saw = facts, now
        self._keep_announced(now)

    def _record(self, cue: Cue) -> str:
        return json.dumps(
            {
                "state": cue.state,
                "expression": cue.expression,
                "reason": cue.reason,
                "confidence": round(cue.confidence, 2),
                "distance": cue.distance,
                "side": cue.side,
                "t": round(self._t, 3),
            }
        )

    def _keep_announced(self, now: float) -> None:
        """Say again that somebody publishes; raises SinkFailed where the broker did not confirm the last time."""
        if self._announcing is None or self._client is None:
            return
        message, since = self._announcing
        if not message.is_published():
            if now - since > CONFIRMED:
                raise SinkFailed(f"{self._broker} has confirmed nothing for {CONFIRMED} s; is the broker still there?")
        elif now - since >= REFRESH:
            self._announce(self._client)

    def _sent(self, patience: float) -> bool:
        """Return whether the last message has left, so that none ever waits behind it; raises SinkFailed."""
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
        end = self._clock() + FAREWELL
        if client.is_connected() and self._failure is None:
            with contextlib.suppress(RuntimeError):  # lost just now: the last will says it
                if self._published is not None:
                    client.publish(f"{self._topic}/cue", self._record(Cue("stopped", None, 0.0, self._t)))
                client.publish(f"{self._topic}/status", "offline", qos=1, retain=True).wait_for_publish(FAREWELL)
        client.disconnect()
        # The network thread may be connecting, which nothing ends; it is a daemon, and ends after that.
        leaving = threading.Thread(target=client.loop_stop, name="mqtt leaves", daemon=True)
        leaving.start()
        leaving.join(max(0.1, end - self._clock()))
