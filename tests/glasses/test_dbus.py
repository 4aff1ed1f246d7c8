"""The Pi's own way, as far as it goes without a kernel's Bluetooth: unmodified bleak and our agent on a real D-Bus."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("bleak", reason="bleak is not installed; ./deploy.sh sinks adds it")

from dbus_fast import DBusError, Message, MessageType, Variant
from dbus_fast.aio import MessageBus

from edge.errors import SinkFailed
from edge.settings import LookSettings
from edge.sinks.glasses import radio
from edge.sinks.glasses.agent import AGENT, MANAGER, PATH, pairing_agent
from edge.sinks.glasses.bluez import CHARACTERISTIC, PROPERTIES, ask_mtu
from edge.sinks.glasses.known import Wanted
from edge.sinks.glasses.makes import MAKES
from edge.sinks.glasses.radio import explain
from edge.sinks.glasses.visit import pair

OURS = "F0:F1:00:00:00:08"
DEVICE = "/org/bluez/hci0/dev_{}"
MAILBOX = DEVICE.format(OURS.replace(":", "_")) + "/service0012/char0013"


@pytest.fixture
def bus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A D-Bus of its own, for the system's; yields its address."""
    if shutil.which("dbus-daemon") is None:
        pytest.skip("no dbus-daemon here; .ci/run installs it")
    address = f"unix:path={tmp_path}/bus"
    words = ["dbus-daemon", "--session", "--nofork", "--print-address", f"--address={address}"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as daemon:
        assert daemon.stdout is not None
        assert daemon.stdout.readline().startswith(address)
        monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", address)
        yield address
        daemon.terminate()


class Bluetoothd:
    """What bluetoothd does with agents and the size of packets, and no adapter."""

    def __init__(self, *, refuses: bool = False, hangs: bool = False) -> None:
        self.calls: list[tuple[str, list[object]]] = []
        self.agent = ""
        self._refuses = refuses
        self._hangs = hangs
        self.connection: MessageBus | None = None

    async def start(self, address: str) -> None:
        self.connection = await MessageBus(bus_address=address).connect()
        await self.connection.request_name("org.bluez")
        self.connection.add_message_handler(self._answer)

    def _answer(self, message: Message) -> Message | bool | None:
        if self._hangs:
            return True  # taken, and never answered
        if message.message_type is not MessageType.METHOD_CALL:
            return None
        if message.interface == PROPERTIES and message.member == "Get":
            if message.path != MAILBOX or message.body != [CHARACTERISTIC, "MTU"]:
                return Message.new_error(message, "org.freedesktop.DBus.Error.InvalidArgs", "No such property 'MTU'")
            return Message.new_method_return(message, "v", [Variant("q", 517)])
        if message.interface != MANAGER:
            return None
        self.calls.append((str(message.member), list(message.body)))
        self.agent = message.sender or ""
        if self._refuses:
            return Message.new_error(message, "org.freedesktop.DBus.Error.AccessDenied", "not for you")
        return Message.new_method_return(message)

    async def ask(self, member: str, signature: str, *body: object) -> MessageType:
        """Ask the agent; returns whether it agreed or refused."""
        assert self.connection is not None
        reply = await self.connection.call(
            Message(
                destination=self.agent, path=PATH, interface=AGENT, member=member, signature=signature, body=list(body)
            )
        )
        assert reply is not None
        return reply.message_type


def test_the_agent_agrees_for_our_glasses_and_refuses_all_else(bus: str) -> None:
    async def play() -> Bluetoothd:
        bluetoothd = Bluetoothd()
        await bluetoothd.start(bus)
        ours, other = DEVICE.format(OURS.replace(":", "_")), DEVICE.format("11_22_33_44_55_66")
        async with pairing_agent(OURS):
            assert await bluetoothd.ask("RequestConfirmation", "ou", ours, 123456) is MessageType.METHOD_RETURN
            assert await bluetoothd.ask("RequestAuthorization", "o", ours) is MessageType.METHOD_RETURN
            assert await bluetoothd.ask("RequestConfirmation", "ou", other, 123456) is MessageType.ERROR
            assert await bluetoothd.ask("RequestPinCode", "o", ours) is MessageType.ERROR
            assert await bluetoothd.ask("AuthorizeService", "os", ours, "1812") is MessageType.ERROR
        assert bluetoothd.connection is not None
        bluetoothd.connection.disconnect()
        return bluetoothd

    calls = asyncio.run(play()).calls
    assert calls == [
        ("RegisterAgent", [PATH, "NoInputNoOutput"]),
        ("RequestDefaultAgent", [PATH]),
        ("UnregisterAgent", [PATH]),
    ]


def test_an_agent_that_bluetoothd_does_not_take_is_reported(bus: str) -> None:
    async def play() -> None:
        bluetoothd = Bluetoothd(refuses=True)
        await bluetoothd.start(bus)
        try:
            async with pairing_agent(OURS):
                pass
        finally:
            assert bluetoothd.connection is not None
            bluetoothd.connection.disconnect()

    with pytest.raises(DBusError) as refused:
        asyncio.run(play())
    assert explain(refused.value, "Halo").startswith("no right to use bluetoothd; sudo usermod -aG bluetooth")


def test_the_size_of_packets_is_bluetoothds_where_it_has_one(bus: str) -> None:
    async def play() -> tuple[int | None, int | None]:
        bluetoothd = Bluetoothd()
        await bluetoothd.start(bus)
        try:
            return await ask_mtu(MAILBOX), await ask_mtu("/org/bluez/hci0")
        finally:
            assert bluetoothd.connection is not None
            bluetoothd.connection.disconnect()

    assert asyncio.run(play()) == (517, None)


def look_around() -> str:
    """Pair over unmodified bleak; returns the error's text."""
    with pytest.raises(SinkFailed) as failed:
        pair(tuple(MAKES.values()), "", 0.5, LookSettings())
    return str(failed.value)


def test_a_missing_d_bus_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", f"unix:path={tmp_path}/none")
    assert look_around() == "no D-Bus here, by which bluetoothd is reached; sudo apt install bluez dbus"


def test_a_bluetoothd_that_hangs_is_reported_whoever_searches(bus: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(radio, "BLUETOOTHD_ANSWER", 0.5)

    async def search(*, all_around: bool) -> None:
        bluetoothd = Bluetoothd(hangs=True)
        await bluetoothd.start(bus)
        try:
            if all_around:
                await radio.Radio().look_around(tuple(MAKES.values()), 0.1)
            else:
                await radio.Radio().find(MAKES["halo"], Wanted(OURS), 0.1)
        finally:
            assert bluetoothd.connection is not None
            bluetoothd.connection.disconnect()

    for all_around in (False, True):
        with pytest.raises(SinkFailed, match="bluetoothd does not answer; sudo systemctl restart bluetooth"):
            asyncio.run(search(all_around=all_around))


def test_a_missing_bluetoothd_is_reported(bus: str) -> None:
    assert "enable --now bluetooth" in look_around()
