"""The MQTT sink: against a peer that plays every kind of broken broker, and a real one where it is installed."""

from __future__ import annotations

import contextlib
import json
import socket
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from paho.mqtt.client import Client
from paho.mqtt.enums import MQTTErrorCode

from edge.errors import RuntimeMissing, SettingsInvalid, SinkFailed
from edge.runtime.mailbox import END
from edge.sinks.mqtt import ANSWER, FAREWELL, MqttSink
from edge.sinks.opening import open_sink
from edge.types import Cue, Update
from tests.support.mqtt import (
    ACCEPTED,
    CONNECT,
    DISCONNECT,
    NOT_AUTHORISED,
    OPENSSL,
    PASSWD,
    PUBLISH,
    SMILE,
    UPSET,
    WAIT,
    Broker,
    Clock,
    Listen,
    MakePeer,
    Peer,
    accept,
    broker,
    control,
    listen,
    needs_broker,
    patience,
    peer,
    show,
    threads,
    update,
    wait_until,
)

__all__ = ["broker", "listen", "patience", "peer"]  # fixtures


AWAY = Cue("unsure", None, 0.2, 0.0, "away", "far", "right")


# A scripted peer


def refuse(peer: Peer, connection: socket.socket) -> None:
    peer.read(connection)
    connection.sendall(NOT_AUTHORISED)


def keep_silent(peer: Peer, connection: socket.socket) -> None:
    while peer.read(connection):
        pass


def drop(peer: Peer, connection: socket.socket) -> None:
    peer.read(connection)
    connection.sendall(ACCEPTED)
    peer.go_on.wait(WAIT)


def talk_nonsense(peer: Peer, connection: socket.socket) -> None:
    connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")


def test_a_broker_that_refuses_is_reported_with_its_reason_at_the_first_update(peer: MakePeer) -> None:
    broker = peer(refuse)
    sink = MqttSink("", control(broker.port))
    with pytest.raises(SinkFailed) as raised:
        sink.show(update())
    where = f"mqtt sink: 127.0.0.1:{broker.port}"
    assert str(raised.value) == f"{where}: refused us: Not authorized; check user and password under [mqtt]"
    sink.close()
    wait_until(lambda: threads() == [])


def test_a_broker_that_never_answers_is_reported_after_the_deadline(peer: MakePeer) -> None:
    clock = Clock()
    sink = MqttSink("", control(peer(keep_silent).port), clock)
    clock.now += WAIT
    with pytest.raises(SinkFailed, match=rf"no answer within {WAIT} s; are host and port"):
        sink.show(update())
    sink.close()
    wait_until(lambda: threads() == [])  # it may have been connecting


def test_no_broker_is_reported_at_the_first_update_and_asked_once(peer: MakePeer) -> None:
    broker = peer(accept)
    broker.close()
    sink = MqttSink("", control(broker.port))
    with pytest.raises(SinkFailed, match="Connection refused; is the broker running"):
        sink.show(update())
    wait_until(lambda: threads() == [])  # the loop opens another sink; this one does not go on by itself
    sink.close()


def test_a_host_without_address_is_reported() -> None:
    sink = MqttSink("", control(host="no-such-host.invalid"))
    with pytest.raises(SinkFailed, match=r"no-such-host\.invalid"):
        sink.show(update())
    sink.close()


def test_what_is_no_broker_is_reported(peer: MakePeer) -> None:
    sink = MqttSink("", control(peer(talk_nonsense).port))
    with pytest.raises(SinkFailed, match="is the broker"):
        show(sink, SMILE)
        wait_until(lambda: sink._failure is not None)
        sink.show(update())
    sink.close()


def test_a_lost_connection_is_reported_by_the_next_update_and_nothing_connects_again(peer: MakePeer) -> None:
    broker = peer(drop)
    sink = MqttSink("", control(broker.port))
    show(sink, SMILE)
    broker.go_on.set()
    wait_until(lambda: sink._failure is not None)
    with pytest.raises(SinkFailed, match=r"lost the connection: .*; is the broker still running"):
        sink.show(update(UPSET))
    sink.close()
    wait_until(lambda: threads() == [])
    assert [kind for kind, _ in broker.packets.queue].count(CONNECT) == 1


def test_the_first_update_waits_and_is_not_sent_when_a_newer_frame_is_there(peer: MakePeer) -> None:
    class AnsweredWhenWaitedFor(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            broker.go_on.set()
            return super().wait(timeout)

    def answer_late(broker: Peer, connection: socket.socket) -> None:
        broker.read(connection)
        broker.go_on.wait(WAIT)
        connection.sendall(ACCEPTED)
        while broker.read(connection):
            pass

    broker = peer(answer_late)
    sink = MqttSink("", control(broker.port))
    sink._settled = AnsweredWhenWaitedFor()
    sink.show(update(SMILE))
    show(sink, UPSET)
    sink.close()
    cues = [
        body for kind, body in broker.packets.queue if kind == PUBLISH and b"/cue" in body and b"stopped" not in body
    ]
    assert [b"upset" in body for body in cues] == [True]


def test_to_a_broker_that_takes_nothing_only_one_cue_waits_and_the_next_is_the_newest(
    peer: MakePeer, monkeypatch: pytest.MonkeyPatch
) -> None:
    stalled, write = threading.Event(), Client.loop_write
    monkeypatch.setattr(
        Client, "loop_write", lambda client: MQTTErrorCode.MQTT_ERR_SUCCESS if stalled.is_set() else write(client)
    )
    broker = peer(accept)
    sink = MqttSink("", control(broker.port), Clock())
    show(sink, SMILE)
    wait_until(lambda: sink._sent(0.0))
    stalled.set()
    show(sink, UPSET)
    for number in range(50):
        sink.show(update(replace(SMILE, expression=f"old {number}")))
    stalled.clear()
    wait_until(lambda: sink._sent(0.0))
    show(sink, AWAY)
    sink.close()
    cues = [
        body for kind, body in broker.packets.queue if kind == PUBLISH and b"/cue" in body and b"stopped" not in body
    ]
    assert [b"smile" in cues[0], b"upset" in cues[1], b"away" in cues[2], len(cues)] == [True, True, True, 3]


class Message:
    """One that leaves when it is waited for, or never."""

    def __init__(self, *, leaves: bool) -> None:
        self._leaves = leaves
        self._left = False

    def is_published(self) -> bool:
        return self._left

    def wait_for_publish(self, timeout: float) -> None:
        self._left = self._leaves and timeout > 0


def test_a_broker_that_takes_nothing_for_long_is_reported(peer: MakePeer) -> None:
    clock = Clock()
    sink = MqttSink("", control(peer(accept).port), clock)
    show(sink, SMILE)
    sink._sending = (Message(leaves=False), clock.now)  # type: ignore[assignment]
    clock.now += WAIT
    sink.show(update(UPSET))
    clock.now += 0.1
    with pytest.raises(SinkFailed, match=rf"has taken nothing for {WAIT} s"):
        sink.show(update(UPSET))
    sink.close()


def test_an_update_without_a_frame_is_never_left_out(peer: MakePeer) -> None:
    """A pause may be the last update for an hour; what was published before it would stand for as long."""
    broker, clock = peer(accept), Clock()
    sink = MqttSink("", control(broker.port), clock)
    show(sink, SMILE)
    sink._sending = (Message(leaves=True), clock.now)  # type: ignore[assignment]
    sink.show(update(UPSET))
    sink.show(Update(None, (), (), (), Cue("paused", None, 0.0, 1.0), {}, 0))
    sink.close()
    cues = [
        body for kind, body in broker.packets.queue if kind == PUBLISH and b"/cue" in body and b"stopped" not in body
    ]
    assert [b"smile" in cues[0], b"paused" in cues[1], len(cues)] == [True, True, 2]


def test_user_password_and_last_will_are_in_the_first_packet(peer: MakePeer) -> None:
    broker = peer(accept)
    sink = MqttSink("", control(broker.port, user="glasses", password="secret", topic="home/glasses"))
    show(sink, SMILE)
    sink.close()
    packet = broker.wait_for(CONNECT)
    assert packet[:7] == b"\x00\x04MQTT\x04"
    # User, password, retained will of QoS 1, clean session; a word after 10 s at the latest.
    assert packet[7:10] == bytes([0b1110_1110, 0, 10])
    for text in (b"home/glasses/status", b"offline", b"glasses", b"secret"):
        assert len(text).to_bytes(2, "big") + text in packet
    assert broker.wait_for(DISCONNECT) == b""


def test_a_closed_sink_shows_nothing_and_leaves_no_thread(peer: MakePeer) -> None:
    broker = peer(accept)
    sink = MqttSink("", control(broker.port))
    show(sink, SMILE)
    sink.close()
    sink.close()
    sink.show(update(UPSET))
    wait_until(lambda: threads() == [])
    assert not any(b"upset" in body for _, body in broker.packets.queue)


def test_closed_while_it_connects_it_does_not_come_online(peer: MakePeer, monkeypatch: pytest.MonkeyPatch) -> None:
    broker = peer(accept)
    connecting, closed = threading.Event(), threading.Event()
    connect, stop = socket.create_connection, Client.loop_stop

    def connect_late(*arguments: Any, **options: Any) -> socket.socket:
        connecting.set()
        closed.wait(WAIT)
        return connect(*arguments, **options)

    def stop_later(client: Client) -> Any:
        closed.set()
        wait_until(lambda: broker.packets.qsize() > 1)  # what follows CONNECT
        return stop(client)

    monkeypatch.setattr(socket, "create_connection", connect_late)
    monkeypatch.setattr(Client, "loop_stop", stop_later)
    sink = MqttSink("", control(broker.port))
    assert connecting.wait(WAIT)
    sink.close()
    wait_until(lambda: threads() == [])
    broker.close()
    assert [kind for kind, _ in broker.packets.queue] == [CONNECT, DISCONNECT]


# What is refused before anything is opened


@pytest.mark.parametrize("topic", ["", "a/+/b", "a/#", "#", "+", "/a", "a/", "$SYS/a", "a\0b", "a\n", "ä" * 101])
def test_a_topic_that_cannot_be_published_to_is_refused(topic: str) -> None:
    with pytest.raises(SettingsInvalid, match=r"mqtt\.topic is .*; valid are up to 200 bytes without \+ and #"):
        open_sink("mqtt", control(topic=topic))


@pytest.mark.parametrize("host", ["", "a..b", "x" * 64])
def test_a_host_that_is_none_is_refused(host: str) -> None:
    with pytest.raises(SettingsInvalid, match=r"mqtt\.host is .*; valid are"):
        open_sink("mqtt", control(host=host))


@pytest.mark.parametrize("host", ["192.168.1.2", "broker.example", "0.0.0.0", "localhost.example", "::2"])
def test_a_password_never_leaves_the_device_in_the_clear(host: str) -> None:
    with pytest.raises(SettingsInvalid, match=r"would go to .* in the clear; set mqtt\.tls = true") as raised:
        open_sink("mqtt", control(host=host, user="glasses", password="secret"))
    assert "secret" not in str(raised.value)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "localhost", "::1"])
def test_on_the_device_itself_a_password_needs_no_tls(host: str, peer: MakePeer) -> None:
    open_sink("mqtt", control(peer(accept).port, host=host, user="glasses", password="secret")).close()


def test_a_password_needs_a_user() -> None:
    with pytest.raises(SettingsInvalid, match=r"mqtt\.password is set without mqtt\.user"):
        open_sink("mqtt", control(password="secret"))


def test_connecting_and_leaving_are_over_before_the_loop_abandons_a_thread() -> None:
    assert ANSWER + FAREWELL < END
    assert MqttSink.capabilities.deadline > ANSWER


def test_an_argument_is_refused() -> None:
    with pytest.raises(SettingsInvalid, match=r"mqtt:broker: this sink takes no argument"):
        open_sink("mqtt:broker", control())


def test_without_paho_the_command_that_adds_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "paho.mqtt.client", None)
    with pytest.raises(
        RuntimeMissing,
        match=r"paho-mqtt is not installed; install cuelens\[mqtt\], or in a checkout \./deploy\.sh sinks",
    ):
        open_sink("mqtt", control())


def test_without_any_network_the_drop_in_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse_sockets(*_: object) -> None:
        raise OSError(97, "Address family not supported by protocol")

    monkeypatch.setattr(Client, "loop_start", refuse_sockets)
    with pytest.raises(SinkFailed, match="not supported by protocol; a service needs RestrictAddressFamilies=AF_INET"):
        open_sink("mqtt", control())


# A real broker


@needs_broker
def test_each_change_is_published_once_and_mere_confidence_is_none(broker: Broker, listen: Listen) -> None:
    listener = listen(broker.port)
    sink = MqttSink("", control(broker.port))
    show(sink, SMILE, 12.34567)
    for confidence in (0.5, 0.6, 0.9):
        show(sink, replace(SMILE, confidence=confidence))
    show(sink, replace(SMILE, side="ahead"))
    show(sink, AWAY)
    sink.show(Update(None, (), (), (), Cue("no_camera", None, 0.0, 77.7), {}, 0))
    sink.close()
    topics = [listener.next() for _ in range(7)]
    assert topics[0] == ("cuelens/status", "online", False)
    assert topics[6] == ("cuelens/status", "offline", False)
    assert [topic for topic, _, _ in topics[1:6]] == ["cuelens/cue"] * 5
    keys = ("state", "expression", "reason", "confidence", "distance", "side", "t")
    records = [json.loads(text) for _, text, _ in topics[1:6]]
    assert all(tuple(record) == keys for record in records)
    assert [tuple(record.values()) for record in records] == [
        ("expression", "smile", None, 0.81, "near", "left", 12.346),
        ("expression", "smile", None, 0.81, "near", "ahead", 0.0),
        ("unsure", None, "away", 0.2, "far", "right", 0.0),
        ("no_camera", None, None, 0.0, None, None, 77.7),
        ("stopped", None, None, 0.0, None, None, 77.7),
    ]
    assert listener.rest() == []


@needs_broker
def test_who_subscribes_later_gets_the_status_and_no_old_cue(broker: Broker, listen: Listen) -> None:
    sink = MqttSink("", control(broker.port))
    first = listen(broker.port)
    show(sink, SMILE)
    assert [first.next()[0] for _ in range(2)] == ["cuelens/status", "cuelens/cue"]
    later = listen(broker.port)
    assert later.rest() == [("cuelens/status", "online", True)]
    sink.close()
    assert json.loads(later.next()[1])["state"] == "stopped"
    assert later.next() == ("cuelens/status", "offline", False)
    assert listen(broker.port).rest() == [("cuelens/status", "offline", True)]


@needs_broker
def test_a_device_that_dies_is_offline_by_its_last_will(broker: Broker, listen: Listen) -> None:
    listener = listen(broker.port)
    sink = MqttSink("", control(broker.port))
    show(sink, SMILE)
    assert [listener.next()[0] for _ in range(2)] == ["cuelens/status", "cuelens/cue"]
    assert sink._client is not None
    connection: Any = sink._client.socket()
    connection.shutdown(socket.SHUT_RDWR)  # without a word, as when the power goes
    assert listener.next() == ("cuelens/status", "offline", False)
    assert listen(broker.port).rest() == [("cuelens/status", "offline", True)]
    wait_until(lambda: sink._failure is not None)
    with pytest.raises(SinkFailed, match="lost the connection"):
        sink.show(update(UPSET))
    sink.close()


@needs_broker
def test_opened_again_it_is_online_also_where_the_broker_had_not_seen_the_old_one_go(
    broker: Broker, listen: Listen
) -> None:
    listener = listen(broker.port)
    lost = MqttSink("", control(broker.port))
    show(lost, SMILE)
    said = [listener.next()[1] for _ in range(2)]  # all of it: what it still held would go with its connection
    again = MqttSink("", control(broker.port))
    show(again, UPSET)
    said += [listener.next()[1] for _ in range(3)]
    assert [text for text in said if "line" in text] == ["online", "offline", "online"]
    lost.close()
    assert listen(broker.port).rest() == [("cuelens/status", "online", True)]
    again.close()


@needs_broker
def test_after_an_outage_only_what_is_true_now_is_sent(broker: Broker, listen: Listen) -> None:
    sink = MqttSink("", control(broker.port))
    show(sink, SMILE)
    broker.stop()
    wait_until(lambda: sink._failure is not None)
    with pytest.raises(SinkFailed, match="lost the connection"):
        show(sink, AWAY)
    sink.close()
    waiting = MqttSink("", control(broker.port))
    with pytest.raises(SinkFailed, match="Connection refused"):
        show(waiting, AWAY)
    waiting.close()
    broker.start()
    listener = listen(broker.port)
    again = MqttSink("", control(broker.port))
    show(again, UPSET)
    again.close()
    messages = [listener.next() for _ in range(4)]
    assert [topic for topic, _, _ in messages] == ["cuelens/status", "cuelens/cue", "cuelens/cue", "cuelens/status"]
    assert json.loads(messages[1][1])["expression"] == "upset"
    assert listener.rest() == []


@needs_broker
@pytest.mark.skipif(PASSWD is None, reason="needs mosquitto_passwd: apt install mosquitto")
def test_a_password_that_is_wrong_is_refused_and_the_right_one_works(tmp_path: Path) -> None:
    assert PASSWD is not None
    subprocess.run([PASSWD, "-c", "-b", tmp_path / "users", "glasses", "secret"], check=True, capture_output=True)
    broker = Broker(tmp_path, f"allow_anonymous false\npassword_file {tmp_path}/users")
    try:
        for settings in ({}, {"user": "glasses", "password": "wrong"}):
            sink = MqttSink("", control(broker.port, **settings))
            with pytest.raises(SinkFailed, match=r"refused us: .*; check user and password"):
                show(sink, SMILE)
            sink.close()
        sink = MqttSink("", control(broker.port, user="glasses", password="secret"))
        show(sink, SMILE)
        sink.close()
    finally:
        broker.stop()


@needs_broker
@pytest.mark.filterwarnings("ignore:unclosed <ssl:ResourceWarning")  # paho lets a socket go when its handshake failed
@pytest.mark.skipif(OPENSSL is None, reason="needs openssl: apt install openssl")
def test_tls_trusts_what_the_system_trusts_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    request = (
        f"{OPENSSL} req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -addext subjectAltName=DNS:localhost"
    )
    subprocess.run([*request.split(), "-keyout", key, "-out", certificate], check=True, capture_output=True)
    broker = Broker(tmp_path, f"allow_anonymous true\ncertfile {certificate}\nkeyfile {key}")
    try:
        sink = MqttSink("", control(broker.port, host="localhost", tls=True))
        with pytest.raises(SinkFailed, match="certificate verify failed"):
            show(sink, SMILE)
        sink.close()
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        for host, fails in (("localhost", False), ("127.0.0.1", True)):
            sink = MqttSink("", control(broker.port, host=host, tls=True, user="glasses", password="secret"))
            with pytest.raises(SinkFailed, match="certificate") if fails else contextlib.nullcontext():
                show(sink, SMILE)
            sink.close()
    finally:
        broker.stop()
