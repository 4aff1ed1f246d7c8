"""A broker that is hostile or mad: the sink bears it or says so and lets go, and holds no more than an answer."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from itertools import islice

import pytest

pytest.importorskip("paho.mqtt.client", reason="paho-mqtt is not installed; ./deploy.sh sinks adds it")

from edge.errors import SinkFailed
from edge.runtime.run import run
from edge.sinks import mqtt
from edge.sinks.mqtt import MqttSink
from edge.sources.demo import DemoSource
from edge.types import Frame
from edge.vision.model import ExpressionModel
from tests.support.mqtt import (
    ACCEPTED,
    SMILE,
    UPSET,
    MakePeer,
    Peer,
    control,
    peer,
    threads,
    update,
    wait_until,
)  # fmt: skip

__all__ = ["peer"]  # a fixture

pytestmark = pytest.mark.slow  # all of it together

HOSTILE = {
    "an answer of the wrong length": b"\x20\x01\x00",
    "an empty answer": b"\x20\x00",
    "an answer of a kind that there is not": b"\x20\x02\xff\xff",
    "a length without end": ACCEPTED + b"\xd0\xff\xff\xff\xff\xff\xff",
    "a quarter of a gigabyte announced": ACCEPTED + b"\x30\xff\xff\xff\x7f" + bytes(100_000),
    "a message nobody asked for": ACCEPTED + b"\x30\x07\x00\x05a/b/cx" * 50,
    "a message with a topic longer than itself": ACCEPTED + b"\x30\x04\xff\xffab",
    "a message with a topic that is no text": ACCEPTED + b"\x30\x05\x00\x03\xff\xfe\xfdx",
    "receipts of nothing": ACCEPTED + b"\x40\x02\x12\x34" * 50,
    "a short receipt": ACCEPTED + b"\x40\x01\x12",
    "an empty message": ACCEPTED + b"\x30\x00",
    "a subscription's answer": ACCEPTED + b"\x90\x03\x00\x01\x80",
    "an empty subscription's answer": ACCEPTED + b"\x90\x00",
    "what only clients send": ACCEPTED + b"\x82\x00\xe0\x00\x10\x00",
    "a kind that there is not": ACCEPTED + b"\xf0\x00\x00\x00",
    "accepted a thousand times": ACCEPTED * 1000,
    "a question without end": ACCEPTED + b"\xc0\x00" * 2000,
}


@pytest.mark.parametrize("said", HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_broker_is_left_in_a_line_or_borne(
    peer: Callable[..., Peer], monkeypatch: pytest.MonkeyPatch, said: bytes
) -> None:
    monkeypatch.setattr(mqtt, "ANSWER", 0.4)

    def script(broker: Peer, connection: socket.socket) -> None:
        broker.read(connection)
        connection.sendall(said)
        broker.go_on.wait(5.0)

    broker = peer(script)
    sink = MqttSink("", control(broker.port))
    largest = 0
    try:
        for number in range(30):
            sink.show(update(SMILE if number % 2 else UPSET))
            if sink._client is not None:
                largest = max(largest, len(sink._client._in_packet["packet"]))
            time.sleep(0.01)
    except SinkFailed:
        pass  # in a line, as every error
    assert largest < 4096
    broker.go_on.set()
    sink.close()
    wait_until(lambda: threads() == [])


def test_a_loop_beside_a_hostile_broker_misses_no_frame(peer: MakePeer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mqtt, "ANSWER", 0.4)

    def script(broker: Peer, connection: socket.socket) -> None:
        broker.read(connection)
        connection.sendall(HOSTILE["a quarter of a gigabyte announced"])

    settings = control(peer(script).port)
    lines: list[str] = []

    class Frames(DemoSource):
        def frames(self) -> Iterator[Frame]:
            return islice(super().frames(), 60)

    outcome = run(
        settings,
        Frames("1"),
        ExpressionModel(),
        [("mqtt", MqttSink("", settings))],
        threading.Event(),
        say=lines.append,
        reopen=lambda _: MqttSink("", settings),
    )
    assert outcome.metrics.frames == 60
    assert any("mqtt sink" in line for line in lines), lines
    wait_until(lambda: threads() == [])


def test_a_broker_that_drips_an_answer_is_not_waited_for(peer: MakePeer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mqtt, "ANSWER", 0.4)

    def script(broker: Peer, connection: socket.socket) -> None:
        broker.read(connection)
        connection.sendall(b"\x20\x7f")
        while not broker.go_on.wait(0.05):
            connection.sendall(b"\0")

    broker = peer(script)
    sink = MqttSink("", control(broker.port))
    with pytest.raises(SinkFailed, match="no answer within"):
        sink.show(update(SMILE))
    broker.go_on.set()
    sink.close()
    wait_until(lambda: not [thread for thread in threading.enumerate() if "mqtt" in thread.name])
