"""Bluetooth Low Energy through bleak: glasses that advertise, a connection with its bond, what went wrong in a line."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncIterator, Callable
from typing import NamedTuple

from bleak import BleakAdapter, BleakClient, BleakScanner
from bleak.backends.adapter import BaseBleakAdapter
from bleak.backends.client import BaseBleakClient
from bleak.backends.device import BLEDevice
from bleak.backends.scanner import AdvertisementData, BaseBleakScanner
from bleak.exc import (
    BleakBluetoothNotAvailableError,
    BleakBluetoothNotAvailableReason,
    BleakDBusError,
    BleakError,
    BleakGATTProtocolError,
)
from dbus_fast import DBusError

from edge.errors import SinkFailed, printable
from edge.needs import from_system
from edge.sinks.glasses.agent import pairing_agent
from edge.sinks.glasses.bluez import ask_mtu
from edge.sinks.glasses.known import Wanted
from edge.sinks.glasses.wearable import LONGEST_WRITE, Make

BATTERY = "00002a19-0000-1000-8000-00805f9b34fb"  # GATT's Battery Level: per cent, one byte
ATT_HEADER = 3  # bytes of a packet (MTU) that are not the value
GOODBYE = 1.0  # seconds for a disconnection
BLUETOOTHD_ANSWER = 5.0  # seconds for bluetoothd's answers, beyond those of a search: nothing else ends a wait for them
FLOOD = 200  # notifications in a second, over which something is wrong with whoever sends them
HANGS = "bluetoothd does not answer; sudo systemctl restart bluetooth"
LONGEST_NAME = 40  # characters that are kept of one


class GlassesAbsent(BleakError):
    """No glasses that were wanted advertise here now."""


class LinkLost(BleakError):
    """A connection that was up is not any more."""


class Sighting(NamedTuple):
    """Glasses that advertise; `rssi` is in dBm."""

    device: BLEDevice
    name: str
    rssi: int


class Connection:
    """An open connection; counts what is written, and hears the battery."""

    def __init__(self, client: BleakClient, make: Make, name: str) -> None:
        self.name = name
        self.dropped = False
        self.on_dropped: Callable[[], None] = lambda: None
        self.battery: int | None = None  # per cent
        self.written = 0  # bytes
        self.mtu: int | None = None  # bytes of a packet, where bleak does not have what is true
        self._client = client
        self._mailbox = make.mailbox
        self._flooded = False
        self._heard_at: deque[float] = deque(maxlen=FLOOD)

    @property
    def largest(self) -> int:
        """Bytes that one write may have."""
        if self.mtu is not None:
            return min(self.mtu - ATT_HEADER, LONGEST_WRITE)
        found = self._client.services.get_characteristic(self._mailbox)
        return min(found.max_write_without_response_size if found else 0, LONGEST_WRITE)

    async def ask_mtu(self) -> None:
        """Ask bluetoothd for the size of packets."""
        found = self._client.services.get_characteristic(self._mailbox)
        if found is not None:
            self.mtu = await ask_mtu(found.obj[0])

    async def write(self, uuid: str, data: bytes) -> None:
        """Write, and wait for the acknowledgement; raises SinkFailed where the glasses flood us."""
        self.check_flood()
        await self._client.write_gatt_char(uuid, data, response=True)
        self.written += len(data)

    def check_flood(self) -> None:
        """Raise SinkFailed where the glasses have flooded us with notifications."""
        if self._flooded:
            raise SinkFailed(f"{self.name} sends over {FLOOD} notifications a second; turn it off and on again")

    async def read(self, uuid: str) -> bytes:
        """Read a characteristic."""
        return bytes(await self._client.read_gatt_char(uuid))

    async def notify(self, uuid: str, heard: Callable[[bytes], None]) -> None:
        """Have `heard` called with each notification; what comes with a flood is passed over."""
        loop = asyncio.get_running_loop()

        def take(_: object, data: bytearray) -> None:
            now = loop.time()
            self._flooded = self._flooded or (len(self._heard_at) == FLOOD and now - self._heard_at[0] < 1)
            self._heard_at.append(now)
            if not self._flooded:
                heard(bytes(data))

        await self._client.start_notify(uuid, take)

    async def watch_battery(self) -> None:
        """Read the battery's level and hear its changes; glasses without that service have none."""

        def take(data: bytes) -> None:
            if len(data) == 1 and data[0] <= 100:
                self.battery = data[0]

        with contextlib.suppress(BleakError):
            take(await self.read(BATTERY))
            await self.notify(BATTERY, take)


@contextlib.asynccontextmanager
async def answered_by_bluetoothd(seconds: float) -> AsyncIterator[None]:
    """Allow the block `seconds`, and BLUETOOTHD_ANSWER more; raises SinkFailed when they are over."""
    try:
        async with asyncio.timeout(seconds + BLUETOOTHD_ANSWER):
            yield
    except TimeoutError as error:
        raise SinkFailed(HANGS) from error


class Radio:
    """The Bluetooth adapter of this machine; a subclass may have other back ends of bleak."""

    adapter: type[BaseBleakAdapter] | None = None
    scanner: type[BaseBleakScanner] | None = None
    client: type[BaseBleakClient] | None = None

    async def open(self) -> None:
        """Make it ready, in the loop that it is used in."""

    async def close(self) -> None:
        """Let go of it; may be called twice."""

    async def find(self, make: Make, wanted: Wanted, seconds: float) -> BLEDevice:
        """Return the first that is wanted; raises GlassesAbsent after `seconds`, or what `explain` has a line for.

        bluetoothd keeps the link of a process that was killed, and glasses with a link do not advertise.
        """

        def is_wanted(device: BLEDevice, name: str) -> bool:
            if wanted.address:
                return device.address.upper() == wanted.address.upper()
            return wanted.name in ("", name)

        def right(device: BLEDevice, seen: AdvertisementData) -> bool:
            return is_wanted(device, name_of(device, seen)) and (bool(wanted.address) or is_of(make, seen))

        async with answered_by_bluetoothd(seconds):
            adapter = await BleakAdapter.get(backend=self.adapter)
            for device in await adapter.get_connected_devices([make.service]):
                if is_wanted(device, shown_name(device.name)):
                    return device
            if self.scanner is None:
                found = await BleakScanner.find_device_by_filter(right, seconds)
            else:
                found = await BleakScanner.find_device_by_filter(right, seconds, backend=self.scanner)
        if found is None:
            which = wanted.name or wanted.address
            raise GlassesAbsent(f"no {make.title} {which}".rstrip() + " in reach; turn them on, and come nearer")
        return found

    async def look_around(self, makes: tuple[Make, ...], seconds: float) -> list[tuple[Make, Sighting]]:
        """Return all glasses of the makes that advertise within `seconds`, the nearest first."""
        seen: dict[str, tuple[Make, Sighting]] = {}

        def take(device: BLEDevice, data: AdvertisementData) -> None:
            for make in makes:
                if is_of(make, data):
                    seen[device.address] = make, Sighting(device, name_of(device, data), data.rssi)

        scanner = BleakScanner(take) if self.scanner is None else BleakScanner(take, backend=self.scanner)
        async with answered_by_bluetoothd(seconds), scanner:
            await asyncio.sleep(seconds)
        return sorted(seen.values(), key=lambda found: -found[1].rssi)

    @contextlib.asynccontextmanager
    async def connect(self, device: BLEDevice, make: Make, seconds: float) -> AsyncIterator[Connection]:
        """Connect, with a bond where the make wants one; disconnects whatever happens.

        A client that is not disconnected after a drop hears every notification twice from then on (bleak 3.1, BlueZ).
        """
        connection: Connection | None = None

        def drop(_: BleakClient) -> None:
            if connection is not None:
                connection.dropped = True
                connection.on_dropped()

        client = BleakClient(device, drop, timeout=seconds, pair=make.bonds, backend=self.client)
        try:
            async with contextlib.AsyncExitStack() as stack, asyncio.timeout(seconds):
                if make.bonds and self.client is None:
                    await stack.enter_async_context(pairing_agent(device.address))
                await client.connect()
            connection = Connection(client, make, shown_name(device.name or device.address))
            if client.services.get_service(make.service) is None:
                raise SinkFailed(f"{connection.name} is no {make.title}; cuelens pair lists what is near")
            if self.client is None:
                async with asyncio.timeout(seconds):
                    await connection.ask_mtu()
            if connection.largest + ATT_HEADER < make.least_mtu:
                raise SinkFailed(
                    f"{connection.name} takes packets of {connection.largest + ATT_HEADER} bytes (MTU), "
                    f"{make.least_mtu} are needed; update its firmware"
                )
            async with asyncio.timeout(seconds):
                await connection.watch_battery()
            yield connection
        finally:
            with contextlib.suppress(BleakError, DBusError, TimeoutError, OSError, EOFError):
                async with asyncio.timeout(GOODBYE):
                    await client.disconnect()


def is_of(make: Make, seen: AdvertisementData) -> bool:
    """Return whether an advertisement is of that make."""
    if make.mark:
        return any(data.endswith(make.mark) for data in seen.manufacturer_data.values())
    return make.service in (uuid.lower() for uuid in seen.service_uuids)


def name_of(device: BLEDevice, seen: AdvertisementData) -> str:
    """Return the name that glasses advertise, as a terminal may show it."""
    return shown_name(seen.local_name or device.name)


def shown_name(name: str | None) -> str:
    """Return a name that comes through the air as a terminal may show it."""
    return printable(name or "")[:LONGEST_NAME]


_UNAVAILABLE = {
    BleakBluetoothNotAvailableReason.NO_BLUETOOTH: (
        "no Bluetooth adapter here, or no bluetoothd for it; see bluetoothctl list, then "
        "sudo systemctl enable --now bluetooth"
    ),
    BleakBluetoothNotAvailableReason.POWERED_OFF: (
        "Bluetooth is off or blocked; sudo rfkill unblock bluetooth, then bluetoothctl power on"
    ),
}
_AGAIN = "put the glasses in pairing mode, then cuelens pair"
_DBUS = {
    "org.bluez.Error.AuthenticationFailed": f"pairing failed; {_AGAIN}",
    "org.bluez.Error.AuthenticationRejected": f"the glasses refused to pair; {_AGAIN}",
    "org.bluez.Error.AuthenticationTimeout": f"pairing was not answered; {_AGAIN}",
    "org.bluez.Error.AuthenticationCanceled": f"pairing was cancelled; {_AGAIN}",
    "org.bluez.Error.NotReady": _UNAVAILABLE[BleakBluetoothNotAvailableReason.POWERED_OFF],
    "org.freedesktop.DBus.Error.ServiceUnknown": "no bluetoothd runs; sudo systemctl enable --now bluetooth",
    "org.freedesktop.DBus.Error.NameHasNoOwner": "no bluetoothd runs; sudo systemctl enable --now bluetooth",
    "org.freedesktop.DBus.Error.NoReply": HANGS,
    "org.freedesktop.DBus.Error.AccessDenied": (
        "no right to use bluetoothd; sudo usermod -aG bluetooth $USER, then log in again"
    ),
}
_UNPAIRED = (0x05, 0x08, 0x0F)  # ATT: insufficient authentication, authorisation, encryption
_COME_NEARER = "come nearer, or turn it off and on"


def explain(error: BaseException, glasses: str) -> str:
    """Return in a line what went wrong with a link, and what is to be done."""
    match error:
        case SinkFailed() | GlassesAbsent() | LinkLost():
            return str(error)
        case BleakBluetoothNotAvailableError():
            return _UNAVAILABLE.get(error.reason, f"Bluetooth is not available: {error.args[0]}; see bluetoothctl show")
        case BleakDBusError():
            return _DBUS.get(error.dbus_error, f"{glasses}: bluetoothd: {error}; {_COME_NEARER}")
        case DBusError():
            return _DBUS.get(error.type, f"bluetoothd: {error.text}; see journalctl --unit=bluetooth")
        case BleakGATTProtocolError() if error.args[0] in _UNPAIRED:
            return f"{glasses} does not know this device any more; {_AGAIN}"
        case TimeoutError():
            return f"{glasses} does not answer; {_COME_NEARER}"
        case FileNotFoundError() | ConnectionRefusedError():
            return f"no D-Bus here, by which bluetoothd is reached; {from_system('bluez', 'dbus')}"
        case EOFError() | ConnectionError():
            return "bluetoothd, or the D-Bus, has ended; trying again"
    return f"{glasses}: {type(error).__name__}: {error}; {_COME_NEARER}"


def needs_somebody(error: BaseException) -> bool:
    """Return whether somebody must do more than come nearer before a link can come up."""
    match error:
        case BleakGATTProtocolError():
            return error.args[0] in _UNPAIRED
        case BleakDBusError():
            return error.dbus_error in _DBUS
    return isinstance(error, SinkFailed | BleakBluetoothNotAvailableError | DBusError | FileNotFoundError)
