"""What bluetoothd has of a connection, asked for by ourselves: bleak keeps what was there before it connected."""

from __future__ import annotations

from dbus_fast import BusType, Message, MessageType
from dbus_fast.aio import MessageBus

BLUEZ, CHARACTERISTIC = "org.bluez", "org.bluez.GattCharacteristic1"  # doc/gatt-api of BlueZ
PROPERTIES = "org.freedesktop.DBus.Properties"


async def ask_mtu(path: str, bus_address: str | None = None) -> int | None:
    """Return the MTU, in bytes, of the link that the characteristic at `path` is reached by; None where BlueZ has none.

    BlueZ (5.66) announces no change of it, and bleak (3.1) asks once, before it connects: of glasses that bluetoothd
    knows from before, bleak has the least that there is. Raises OSError without D-Bus.
    """
    bus = await MessageBus(bus_address=bus_address, bus_type=BusType.SYSTEM).connect()
    try:
        asked = Message(
            destination=BLUEZ,
            path=path,
            interface=PROPERTIES,
            member="Get",
            signature="ss",
            body=[CHARACTERISTIC, "MTU"],
        )
        reply = await bus.call(asked)
    finally:
        bus.disconnect()
    if reply is None or reply.message_type is MessageType.ERROR:
        return None
    return int(reply.body[0].value)
