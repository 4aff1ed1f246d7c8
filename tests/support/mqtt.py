"""Brokers for the mqtt sink: mosquitto itself, and a socket that answers what a test wants."""

from __future__ import annotations

import contextlib
import os
import queue
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion

from edge.runtime.control import Control
from edge.settings import Settings
from edge.sinks import mqtt
from edge.sinks.mqtt import MqttSink
from edge.sinks.mqtt_broker import MqttSettings
from edge.types import Cue, Frame, Update

SYSTEM = f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/bin"  # brokers are where only root's PATH goes


MOSQUITTO, PASSWD, OPENSSL = (shutil.which(name, path=SYSTEM) for name in ("mosquitto", "mosquitto_passwd", "openssl"))


needs_broker = pytest.mark.skipif(MOSQUITTO is None, reason="needs mosquitto: apt install mosquitto")


SMILE = Cue("expression", "smile", 0.81234, 0.0, None, "near", "left")


UPSET = Cue("expression", "upset", 0.7, 0.0, None, "near", "left")


GRAY = np.zeros((2, 2), np.uint8)


WAIT = 60.0  # seconds for what takes some milliseconds
CONNECT, PUBLISH, DISCONNECT = 1, 3, 14  # kinds of packets


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a busy machine take its time; the deadline itself is tested on a clock of the test's own."""
    monkeypatch.setattr(mqtt, "ANSWER", WAIT)
    monkeypatch.setattr(mqtt, "CONFIRMED", WAIT)
    monkeypatch.setattr(mqtt, "REFRESH", 100 * WAIT)
    monkeypatch.setattr(mqtt, "_ids", {})


def update(cue: Cue = SMILE, t: float = 0.0) -> Update:
    return Update(Frame(GRAY, t, 0, t), (), (), (), cue, {}, 0)


def control(port: int = 1883, **settings: Any) -> Control:
    return Control(Settings(own={"mqtt": MqttSettings(port=port, **settings)}))


def show(sink: MqttSink, cue: Cue, t: float = 0.0) -> None:
    """Show it in frame after frame until it is published: those that come too soon after another are left out."""

    def published() -> bool:
        sink.show(update(cue, t))
        return sink._published == (cue.state, cue.expression, cue.reason, cue.distance, cue.side)

    wait_until(published)


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


ACCEPTED, NOT_AUTHORISED = b"\x20\x02\x00\x00", b"\x20\x02\x00\x05"


class Peer:
    """Listens, and gives each connection to a script, which may read packets and answer by bytes."""

    def __init__(self, script: Callable[[Peer, socket.socket], None]) -> None:
        self._script = script
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self.packets: queue.Queue[tuple[int, bytes]] = queue.Queue()
        self.go_on = threading.Event()
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):  # closed
            while True:
                connection, _ = self._listener.accept()
                with connection:
                    self._script(self, connection)

    def read(self, connection: socket.socket) -> bool:
        """Take one packet; False at the end."""
        with contextlib.suppress(ConnectionError), connection.makefile("rb", buffering=0) as stream:
            head = stream.read(1)
            if head:
                size, shift = 0, 0
                while True:
                    (byte,) = stream.read(1)
                    size |= (byte & 0x7F) << shift
                    shift += 7
                    if byte < 0x80:
                        break
                body = b""
                while len(body) < size:
                    body += stream.read(size - len(body))
                self.packets.put((head[0] >> 4, body))
                return True
        return False

    def wait_for(self, kind: int) -> bytes:
        """Return the body of the next packet of a kind."""
        while True:
            found, body = self.packets.get(timeout=WAIT)
            if found == kind:
                return body

    def close(self) -> None:
        self.go_on.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(WAIT)
        assert not self._thread.is_alive()


@pytest.fixture
def peer() -> Iterator[Callable[[Callable[[Peer, socket.socket], None]], Peer]]:
    made: list[Peer] = []

    def make(script: Callable[[Peer, socket.socket], None]) -> Peer:
        made.append(Peer(script))
        return made[-1]

    yield make
    for one in made:
        one.close()


MakePeer = Callable[[Callable[[Peer, socket.socket], None]], Peer]


def accept(peer: Peer, connection: socket.socket) -> None:
    peer.read(connection)
    connection.sendall(ACCEPTED)
    while peer.read(connection):
        pass


def threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if "mqtt" in thread.name]


def wait_until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WAIT
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.002)


class Broker:
    """Mosquitto on a free port, with further lines of configuration."""

    def __init__(self, folder: Path, lines: str = "allow_anonymous true") -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = int(free.getsockname()[1])
        self._configuration = folder / "mosquitto.conf"
        self._configuration.write_text(f"user root\nlistener {self.port} 127.0.0.1\n{lines}\n", encoding="utf-8")
        self.start()

    def start(self) -> None:
        assert MOSQUITTO is not None
        self.process = subprocess.Popen(
            [MOSQUITTO, "-c", self._configuration], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )

        def listens() -> bool:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port)):
                return True
            return False

        wait_until(listens)

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()


class Listener:
    """Another client, which notes all that comes under a topic."""

    def __init__(self, port: int, topic: str = "cuelens/#") -> None:
        self._messages: queue.Queue[tuple[str, str, bool]] = queue.Queue()
        subscribed = threading.Event()
        self._client = Client(CallbackAPIVersion.VERSION2)
        self._client.on_message = self._note
        self._client.on_subscribe = lambda *_: subscribed.set()
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()
        self._client.subscribe(topic, qos=1)
        assert subscribed.wait(WAIT)

    def _note(self, client: Client, _: object, message: MQTTMessage) -> None:
        self._messages.put((message.topic, message.payload.decode(), message.retain))

    def next(self) -> tuple[str, str, bool]:
        return self._messages.get(timeout=WAIT)

    def rest(self) -> list[tuple[str, str, bool]]:
        """What came up to now: a message of our own comes after all before it."""
        self._client.publish("cuelens/end", "", qos=1)
        messages = []
        while (message := self.next())[0] != "cuelens/end":
            messages.append(message)
        return messages

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()
        self._client.on_message = None  # a client closes its last sockets when nothing holds it any more


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    made = Broker(tmp_path)
    yield made
    made.stop()


@pytest.fixture
def listen() -> Iterator[Callable[..., Listener]]:
    made: list[Listener] = []

    def make(port: int, topic: str = "cuelens/#") -> Listener:
        made.append(Listener(port, topic))
        return made[-1]

    yield make
    for one in made:
        one.close()


Listen = Callable[..., Listener]
