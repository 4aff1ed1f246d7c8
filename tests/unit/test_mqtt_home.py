"""Brokers as people have them at home: power cuts, half-dead lines, ids that two have, own certificates, no TLS."""

from __future__ import annotations

import contextlib
import json
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("paho.mqtt.client", reason="paho-mqtt is not installed; ./deploy.sh sinks adds it")

from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion

from edge.errors import SettingsInvalid, SinkFailed
from edge.sinks import mqtt
from edge.sinks.mqtt import MqttSink
from edge.sinks.mqtt_broker import CONTEST, CONTESTED, UNANSWERED_MS, ClientId
from edge.sinks.mqtt_home import EXPIRES
from edge.sinks.opening import open_sink
from tests.support.mqtt import (
    CONNECT,
    OPENSSL,
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
    update,
    wait_until,
)
from tests.web.relay import Relay

__all__ = ["broker", "listen", "patience", "peer"]  # fixtures

needs_openssl = pytest.mark.skipif(OPENSSL is None, reason="needs openssl: apt install openssl")


@pytest.fixture
def relay(broker: Broker) -> Iterator[Relay]:
    made = Relay(broker.port)
    yield made
    made.close()


# Who we are to a broker.


def test_the_id_is_the_same_after_a_restart_and_every_broker_takes_it() -> None:
    words = "from edge.sinks.mqtt_broker import ClientId; print(ClientId('cuelens').value)"
    other = subprocess.run([sys.executable, "-c", words], capture_output=True, text=True, check=True)
    assert other.stdout.strip() == ClientId("cuelens").value != ClientId("home/glasses").value
    assert re.fullmatch("[0-9a-zA-Z]{1,23}", ClientId("cuelens").value)


def test_two_with_one_id_do_not_end_each_others_connections_without_end() -> None:
    client_id = ClientId("cuelens")
    before = client_id.value
    times = [(CONTEST / 2 + 1) * number for number in range(10)]  # as on a bad line
    assert not any(client_id.lose(t) for t in times)
    assert client_id.value == before
    changed = [client_id.lose(1000.0 + number) for number in range(CONTESTED)]
    assert changed == [False] * (CONTESTED - 1) + [True]
    assert client_id.value != before
    assert re.fullmatch("[0-9a-zA-Z]{1,23}", client_id.value)


@needs_broker
def test_a_second_device_with_our_id_is_made_room_for(broker: Broker) -> None:
    failures = []
    for _ in range(CONTESTED):
        sink = MqttSink("", control(broker.port))
        show(sink, SMILE)
        assert sink._client is not None
        other = Client(CallbackAPIVersion.VERSION2, sink._id.value)
        other.connect("127.0.0.1", broker.port)
        wait_until(lambda: other.loop(0.01) == 0 and sink._failure is not None)  # noqa: B023
        failures.append(str(sink._failure))
        sink.close()
        other.disconnect()
    assert ["has another device our id?" in failure for failure in failures] == [False] * (CONTESTED - 1) + [True]
    assert mqtt._ids["cuelens"].value != ClientId("cuelens").value


# What subscribers see.


@needs_broker
def test_after_a_power_cut_the_status_is_online_though_the_old_line_never_ended(
    broker: Broker, relay: Relay, listen: Listen
) -> None:
    listener = listen(broker.port)
    cut = MqttSink("", control(relay.port))
    show(cut, SMILE)
    assert [listener.next()[0] for _ in range(2)] == ["cuelens/status", "cuelens/cue"]
    relay.silent = relay.opened
    again = MqttSink("", control(broker.port))
    show(again, UPSET)
    said = [listener.next()[1] for _ in range(3)]
    assert [text for text in said if "line" in text] == ["offline", "online"]
    assert listen(broker.port).rest() == [("cuelens/status", "online", True)]
    again.close()
    cut.close()


@needs_broker
def test_a_will_that_comes_late_and_a_status_that_somebody_cleared_do_not_stand(
    broker: Broker, listen: Listen, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mqtt, "REFRESH", 0.2)
    sink = MqttSink("", control(broker.port))
    show(sink, SMILE)
    listener = listen(broker.port)
    for wrong in ("offline", ""):
        listener._client.publish("cuelens/status", wrong, qos=1, retain=True)
        while listener.next()[1] != wrong:
            sink.show(update(SMILE))
        end = time.monotonic() + WAIT
        while ("cuelens/status", "online", False) not in listener.rest():
            assert time.monotonic() < end
            sink.show(update(SMILE))
    sink.close()


@needs_broker
def test_a_cue_that_stays_is_published_again_so_that_silence_means_something(
    broker: Broker, listen: Listen, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    monkeypatch.setattr(mqtt, "REFRESH", 10.0)
    listener = listen(broker.port)
    sink = MqttSink("", control(broker.port), clock)
    show(sink, SMILE, 1.0)
    wait_until(lambda: sink._announcing is not None and sink._announcing[0].is_published() and sink._sent(0.0))
    clock.now += 9.9
    sink.show(update(SMILE, 2.0))
    clock.now += 0.2
    show(sink, SMILE, 3.0)
    sink.close()
    cues = [json.loads(text) for topic, text, _ in listener.rest() if topic == "cuelens/cue"]
    assert [(cue["expression"], cue["t"]) for cue in cues] == [("smile", 1.0), ("smile", 3.0), (None, 3.0)]
    assert cues[-1]["state"] == "stopped"


def test_a_broker_that_confirms_nothing_is_reported(peer: MakePeer) -> None:
    clock = Clock()
    sink = MqttSink("", control(peer(accept).port), clock)
    show(sink, SMILE)
    wait_until(lambda: sink._sent(0.0))
    clock.now += WAIT + 0.1
    with pytest.raises(SinkFailed, match=rf"has confirmed nothing for {WAIT} s; is the broker still there"):
        show(sink, UPSET)
    sink.close()


def test_what_is_sent_and_never_arrives_ends_the_line(peer: MakePeer) -> None:
    sink = MqttSink("", control(peer(accept).port))
    show(sink, SMILE)
    assert sink._client is not None
    line: Any = sink._client.socket()
    assert line.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == UNANSWERED_MS
    sink.close()


def test_a_broker_that_hangs_up_at_once_is_no_lost_connection(peer: MakePeer) -> None:
    def hang_up(broker: Peer, connection: socket.socket) -> None:
        broker.read(connection)

    sink = MqttSink("", control(peer(hang_up).port))
    with pytest.raises(SinkFailed, match=r"without an answer; is the broker one of MQTT 3\.1\.1, and tls right"):
        sink.show(update())
    sink.close()


@needs_broker
def test_home_assistant_learns_of_a_sensor_that_expires(broker: Broker, listen: Listen) -> None:
    sink = MqttSink("", control(broker.port, topic="home/glasses", discovery="homeassistant"))
    show(sink, SMILE)
    listener = listen(broker.port, "#")
    topic, text, retained = next(message for message in iter(listener.next, None) if message[0].endswith("/config"))
    sensor = json.loads(text)
    name = sink._id.value
    assert (topic, retained) == (f"homeassistant/sensor/{name}/cue/config", True)
    assert (sensor["state_topic"], sensor["availability_topic"]) == ("home/glasses/cue", "home/glasses/status")
    assert sensor["expire_after"] == EXPIRES * mqtt.REFRESH
    assert sensor["device"]["identifiers"] == [name]
    sink.close()


# Certificates and passwords.


def sign(folder: Path, name: str) -> None:
    """Make an authority of our own, and a broker's certificate for `name` that it signed."""
    for line in (
        "req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=Home -keyout ca.key -out ca.pem",
        f"req -newkey rsa:2048 -nodes -subj /CN={name} -addext subjectAltName=DNS:{name} -keyout key.pem -out asked",
        "x509 -req -in asked -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -copy_extensions copy -out cert.pem",
    ):
        subprocess.run([str(OPENSSL), *line.split()], cwd=folder, check=True, capture_output=True)


@needs_broker
@needs_openssl
@pytest.mark.filterwarnings("ignore:unclosed <ssl:ResourceWarning")  # paho lets a socket go when its handshake failed
def test_a_brokers_own_authority_is_trusted_where_it_is_named_and_no_other(tmp_path: Path) -> None:
    sign(tmp_path, "localhost")
    (tmp_path / "other").mkdir()
    sign(tmp_path / "other", "localhost")
    broker = Broker(tmp_path, f"allow_anonymous true\ncertfile {tmp_path}/cert.pem\nkeyfile {tmp_path}/key.pem")
    cases: list[tuple[str, str, str]] = [
        ("localhost", "", "certificate verify failed: .*; set ca under .mqtt. to the file of the authority"),
        ("localhost", "other/ca.pem", "certificate verify failed: .*; set ca under"),
        (
            "127.0.0.1",
            "ca.pem",
            "certificate verify failed: .*; set host under .mqtt. to a name that is in the certificate",
        ),
        ("localhost", "ca.pem", ""),
        ("localhost", "cert.pem", ""),  # the broker's own
    ]
    try:
        for host, ca, fails in cases:
            path = str(tmp_path / ca) if ca else ""
            sink = MqttSink("", control(broker.port, host=host, tls=True, ca=path, user="glasses", password="secret"))
            with pytest.raises(SinkFailed, match=fails) if fails else contextlib.nullcontext():
                show(sink, SMILE)
            sink.close()
    finally:
        broker.stop()


@needs_broker
@needs_openssl
@pytest.mark.filterwarnings("ignore:unclosed <ssl:ResourceWarning")
def test_a_clock_that_is_wrong_is_what_a_certificate_of_another_time_hints_at(tmp_path: Path) -> None:
    sign(tmp_path, "localhost")
    line = "x509 -req -in asked -CA ca.pem -CAkey ca.key -CAcreateserial -days -1 -copy_extensions copy -out cert.pem"
    subprocess.run([str(OPENSSL), *line.split()], cwd=tmp_path, check=True, capture_output=True)
    broker = Broker(tmp_path, f"allow_anonymous true\ncertfile {tmp_path}/cert.pem\nkeyfile {tmp_path}/key.pem")
    try:
        sink = MqttSink("", control(broker.port, host="localhost", tls=True, ca=str(tmp_path / "ca.pem")))
        with pytest.raises(SinkFailed, match="certificate has expired; is this device's clock right"):
            show(sink, SMILE)
        sink.close()
    finally:
        broker.stop()


@needs_broker
@pytest.mark.filterwarnings("ignore:unclosed <ssl:ResourceWarning")
def test_a_port_without_tls_and_a_broker_that_does_not_run_have_different_messages(broker: Broker) -> None:
    sink = MqttSink("", control(broker.port, tls=True))
    with pytest.raises(SinkFailed, match="port"):
        show(sink, SMILE)
    sink.close()


def test_an_authority_that_cannot_be_read_or_is_none_is_refused_before_anything_is_sent(tmp_path: Path) -> None:
    (tmp_path / "empty.pem").touch()
    (tmp_path / "other.pem").write_text("-----BEGIN CERTIFICATE-----\nno\n-----END CERTIFICATE-----\n")
    for name, why in (("none.pem", "No such file"), ("empty.pem", "no certificate"), ("other.pem", "no certificate")):
        with pytest.raises(SettingsInvalid, match=rf"mqtt\.ca is .*{name}': {why}.*; give a PEM file"):
            open_sink("mqtt", control(tls=True, ca=str(tmp_path / name)))
    with pytest.raises(SettingsInvalid, match=r"mqtt\.ca is set without mqtt\.tls; set mqtt\.tls = true"):
        open_sink("mqtt", control(ca="ca.pem"))


def test_in_a_network_of_ones_own_a_password_may_go_in_the_clear_with_the_setting_for_it(peer: MakePeer) -> None:
    given = {"host": "192.0.2.1", "user": "ha", "password": "secret"}
    with pytest.raises(SettingsInvalid, match=r"in a network of your own, mqtt\.clear_password = true"):
        open_sink("mqtt", control(**given))
    open_sink("mqtt", control(**given, clear_password=True)).close()


@pytest.mark.parametrize("host", ["mqtt://home", "home:1883", "a/b", "user@home", "[::1]:1883"])
def test_a_host_is_a_name_alone(host: str) -> None:
    with pytest.raises(
        SettingsInvalid, match=r"mqtt\.host is .*; valid are a name or an address.*the port is mqtt\.port"
    ):
        open_sink("mqtt", control(host=host))


@pytest.mark.parametrize("host", ["127.0.0.1", "LOCALHOST.", "[::ffff:127.0.0.1]"])
def test_a_host_may_be_written_in_any_way(host: str, peer: MakePeer) -> None:
    listening = peer(accept)
    sink = MqttSink("", control(listening.port, host=host, user="glasses", password="secret"))
    show(sink, SMILE)
    sink.close()
    kind, body = listening.packets.get(timeout=WAIT)
    assert (kind, b"glasses" in body) == (CONNECT, True)


@pytest.mark.parametrize("prefix", ["/homeassistant", "a/#", "a/"])
def test_a_place_for_discovery_that_cannot_be_published_to_is_refused(prefix: str) -> None:
    with pytest.raises(SettingsInvalid, match=r"mqtt\.discovery is .*; valid are up to 200 bytes"):
        open_sink("mqtt", control(discovery=prefix))
