"""Bluetooth in memory: bumble's virtual controllers and link, and bleak's back ends over them."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import Callable, Coroutine
from typing import Any, ClassVar, TypeVar
from weakref import WeakKeyDictionary

from bleak.backends.adapter import BaseBleakAdapter
from bleak.backends.characteristic import BleakGATTCharacteristic
from bleak.backends.client import BaseBleakClient
from bleak.backends.device import BLEDevice
from bleak.backends.scanner import AdvertisementData, BaseBleakScanner
from bleak.backends.service import BleakGATTService, BleakGATTServiceCollection
from bleak.exc import BleakDBusError, BleakError, BleakGATTProtocolError
from bumble import att, core, gatt
from bumble.controller import Controller
from bumble.core import AdvertisingData
from bumble.device import Connection, Device, Peer
from bumble.hci import Address
from bumble.host import Host
from bumble.link import LocalLink
from bumble.transport.common import AsyncPipeSink

from edge.sinks.glasses.radio import Radio

Result = TypeVar("Result")

BASE = "-0000-1000-8000-00805f9b34fb"  # what a short UUID is short for

_numbers = itertools.count(1)


def make_device(link: LocalLink, name: str, address: str = "") -> Device:
    """Return a device on the link, of this address, or one of its own."""
    address = address or f"F0:F1:00:00:00:{next(_numbers) % 256:02X}"
    controller = Controller(name, link=link, public_address=address)
    return Device(name=name, address=Address(address), host=Host(controller, AsyncPipeSink(controller)))


class Air:
    """All that is in radio reach of each other, in one event loop."""

    _airs: ClassVar[WeakKeyDictionary[asyncio.AbstractEventLoop, Air]] = WeakKeyDictionary()

    def __init__(self) -> None:
        self.link = LocalLink()
        self.central = make_device(self.link, "central")
        self.peripherals: tuple[Peripheral, ...] = ()
        self.unavailable: Exception | None = None  # raised by whatever is asked of bluetoothd
        self.hangs = False  # bluetoothd answers nothing
        self._answers = asyncio.Event()

    @classmethod
    def here(cls) -> Air:
        """Return the air of the running loop: bleak makes its back ends by itself, and they find it so."""
        return cls._airs[asyncio.get_running_loop()]

    async def ask(self) -> None:
        """Ask bluetoothd: raises what is wrong with it, and never returns while it hangs."""
        while self.hangs:
            self._answers.clear()
            await self._answers.wait()
        if self.unavailable is not None:
            raise self.unavailable

    def answer(self) -> None:
        """Let bluetoothd answer again."""
        self.hangs = False
        self._answers.set()

    async def open(self, *peripherals: Peripheral) -> None:
        Air._airs[asyncio.get_running_loop()], self.peripherals = self, peripherals
        await self.central.power_on()
        for peripheral in peripherals:
            await peripheral.join(self)
            if peripheral.kept:
                await self.central.connect(Address(peripheral.address, Address.RANDOM_DEVICE_ADDRESS))


class Peripheral:
    """Glasses, as far as Bluetooth is concerned: services, an advertisement, and faults to be had on demand."""

    services: tuple[str, ...] = ()  # that it advertises
    manufacturer: bytes = b""
    interval_ms = 20.0  # between advertisements

    def __init__(self, name: str) -> None:
        self.name = name
        self.address = ""
        self.connections = 0  # that there were
        self.mute = False  # acknowledges nothing, and answers nothing
        self.kept = False  # bluetoothd has its link already, of a process that was killed
        self.level = 80  # per cent of the battery
        self.mtu = 247  # bytes of a packet
        self.refusal = ""  # what bluetoothd calls it that these glasses do not pair
        self.forgot = False  # the bond: what is read or written is not allowed
        self._connection: Connection | None = None
        self._device: Any = None
        self._battery = self._characteristic("2a19", "read notify", read=lambda: bytes([self.level]))

    def _characteristic(
        self,
        uuid: str,
        properties: str,
        read: Callable[[], bytes] | None = None,
        write: Callable[[bytes], None] | None = None,
    ) -> gatt.Characteristic[bytes]:
        async def give(_: Connection) -> bytes:
            await self._meet()
            return read() if read else b""

        async def take(_: Connection, value: bytes) -> None:
            await self._meet()
            if write is not None:
                write(value)

        flags = gatt.Characteristic.Properties(0)
        for word in properties.split():
            flags |= gatt.Characteristic.Properties[word.upper()]
        value = gatt.CharacteristicValue(read=give, write=take)
        permissions = gatt.Characteristic.Permissions.READABLE | gatt.Characteristic.Permissions.WRITEABLE
        return gatt.Characteristic(uuid, flags, permissions, value)

    async def _meet(self) -> None:
        """Do what each read and each write meets first."""
        if self.mute:
            await asyncio.get_running_loop().create_future()
        if self.forgot:
            raise att.ATT_Error(att.ATT_INSUFFICIENT_AUTHENTICATION_ERROR)

    def gatt_services(self) -> list[gatt.Service]:
        return [gatt.Service("180f", [self._battery])]

    async def join(self, air: Air) -> None:
        self._device = make_device(air.link, self.name, self.address)
        self._device.add_services(self.gatt_services())
        self._device.on("connection", self._connected)
        await self._device.power_on()
        self.address = self._device.random_address.to_string(False)
        await self.advertise()

    def _connected(self, connection: Connection) -> None:
        self._connection = connection
        self.connections += 1
        connection.on("disconnection", self._disconnected)

    def _disconnected(self, _: int) -> None:
        self._connection = None

    async def advertise(self) -> None:
        """Advertise until it is connected to, and again when it is not any more."""
        data = [(AdvertisingData.FLAGS, b"\x06"), (AdvertisingData.COMPLETE_LOCAL_NAME, self.name.encode())]
        if self.manufacturer:
            data.append((AdvertisingData.MANUFACTURER_SPECIFIC_DATA, self.manufacturer))
        kind = AdvertisingData.COMPLETE_LIST_OF_128_BIT_SERVICE_CLASS_UUIDS
        data += [(kind, bytes(core.UUID(uuid))) for uuid in self.services]
        await self._device.start_advertising(
            advertising_data=bytes(AdvertisingData(data)),
            auto_restart=True,
            advertising_interval_min=self.interval_ms,
            advertising_interval_max=self.interval_ms,
        )

    async def leave(self) -> None:
        """Go out of reach."""
        await self._device.stop_advertising()
        if self._connection is not None:
            await self._connection.disconnect()

    async def send(self, characteristic: gatt.Characteristic[bytes], data: bytes) -> None:
        """Notify whoever is connected, in pieces that the connection takes."""
        if (connection := self._connection) is None:
            return
        step = connection.att_mtu - 3
        for start in range(0, len(data), step):
            await self._device.notify_subscriber(connection, characteristic, data[start : start + step])

    async def set_battery(self, level: int) -> None:
        self.level = level
        await self.send(self._battery, bytes([level]))


class AirAdapter(BaseBleakAdapter):
    """bleak's adapter over the air: which peripherals have a link already."""

    @classmethod
    async def get(cls, **_: Any) -> AirAdapter:
        return cls()

    async def get_connected_devices(self, service_uuids: frozenset[str]) -> list[BLEDevice]:
        await Air.here().ask()
        return [
            BLEDevice(peripheral.address, peripheral.name, None)
            for peripheral in Air.here().peripherals
            if _link_to(peripheral.address) is not None
            and service_uuids & {_uuid(service.uuid) for service in peripheral.gatt_services()}
        ]


def _link_to(address: str) -> Connection | None:
    """Return the link that the central has to the peripheral at an address."""
    return Air.here().central.find_connection_by_bd_addr(Address(address, Address.RANDOM_DEVICE_ADDRESS))


class AirScanner(BaseBleakScanner):
    """bleak's scanner over the air."""

    def __init__(self, detection_callback: Any, service_uuids: Any, *_: Any, **__: Any) -> None:
        super().__init__(detection_callback, service_uuids)

    async def start(self) -> None:
        self.seen_devices = {}
        await Air.here().ask()
        Air.here().central.on("advertisement", self._take)
        await Air.here().central.start_scanning(legacy=True)

    def _take(self, advertisement: Any) -> None:
        data = advertisement.data
        found = AdvertisementData(
            local_name=(data.get(AdvertisingData.COMPLETE_LOCAL_NAME, raw=True) or b"").decode() or None,
            manufacturer_data={
                int.from_bytes(value[:2], "little"): value[2:]
                for value in [data.get(AdvertisingData.MANUFACTURER_SPECIFIC_DATA, raw=True)]
                if value
            },
            service_data={},
            service_uuids=[
                _uuid(core.UUID.from_bytes(value[:16]))
                for value in [data.get(AdvertisingData.COMPLETE_LIST_OF_128_BIT_SERVICE_CLASS_UUIDS, raw=True)]
                if value
            ],
            tx_power=None,
            rssi=-50,
            platform_data=(),
        )
        address = advertisement.address.to_string(False)
        device = self.create_or_update_device(address, address, found.local_name, None, found)
        self.call_detection_callbacks(device, found)

    async def stop(self) -> None:
        with contextlib.suppress(KeyError, ValueError):
            Air.here().central.remove_listener("advertisement", self._take)
        await Air.here().central.stop_scanning()


class AirClient(BaseBleakClient):
    """bleak's client over the air."""

    def __init__(self, address_or_ble_device: BLEDevice | str, **kwargs: Any) -> None:
        super().__init__(
            address_or_ble_device,
            disconnected_callback=kwargs["disconnected_callback"],
            timeout=kwargs["timeout"],
        )
        self._connection: Connection | None = None
        self._peer: Any = None

    @property
    def mtu_size(self) -> int:
        return self._connection.att_mtu if self._connection else 23

    @property
    def is_connected(self) -> bool:
        return self._connection is not None

    async def connect(self, pair: bool, **_: Any) -> None:
        await Air.here().ask()
        refusals = [one.refusal for one in Air.here().peripherals if one.address == self.address and one.refusal]
        if pair and refusals:
            raise BleakDBusError(refusals[0], ["as the glasses want it"])
        connection = _link_to(self.address)
        if connection is None:
            connection = await Air.here().central.connect(Address(self.address, Address.RANDOM_DEVICE_ADDRESS))
        self._connection = connection
        connection.on("disconnection", self._dropped)
        self._peer = Peer(connection)
        mtu = next((peripheral.mtu for peripheral in Air.here().peripherals if peripheral.address == self.address), 23)
        if mtu > 23:
            await self._peer.request_mtu(mtu)
        await self._peer.discover_services()
        self.services = BleakGATTServiceCollection()
        for service in self._peer.services:
            await service.discover_characteristics()
            added = BleakGATTService(service, service.handle, _uuid(service.uuid))
            self.services.add_service(added)
            for found in service.characteristics:
                names = [
                    str(flag.name).lower().replace("_", "-")
                    for flag in type(found.properties)
                    if flag & found.properties
                ]
                size = lambda: self.mtu_size - 3  # noqa: E731
                self.services.add_characteristic(
                    BleakGATTCharacteristic(found, found.handle, _uuid(found.uuid), names, size, added)  # type: ignore[arg-type]
                )

    def _dropped(self, _: int) -> None:
        self._connection = None
        if self._disconnected_callback is not None:
            self._disconnected_callback()

    async def disconnect(self) -> None:
        if self._connection is not None:
            await self._connection.disconnect()

    async def pair(self, *args: Any, **kwargs: Any) -> None:
        raise NotImplementedError

    async def unpair(self) -> None:
        raise NotImplementedError

    async def read_gatt_char(self, characteristic: BleakGATTCharacteristic, **_: Any) -> bytearray:
        return bytearray(await self._asked(characteristic.obj.read_value()))

    async def read_gatt_descriptor(self, *_: Any, **__: Any) -> bytearray:
        raise NotImplementedError

    async def write_gatt_char(self, characteristic: BleakGATTCharacteristic, data: Any, response: bool) -> None:
        await self._asked(characteristic.obj.write_value(bytes(data), with_response=response))

    async def write_gatt_descriptor(self, *_: Any, **__: Any) -> None:
        raise NotImplementedError

    async def _asked(self, asking: Coroutine[Any, Any, Result]) -> Result:
        if self._connection is None:
            asking.close()
            raise BleakError("Not connected")
        try:
            return await asking
        except att.ATT_Error as error:
            raise BleakGATTProtocolError(error.error_code) from error
        except asyncio.CancelledError:
            if self._connection is None:  # bumble's end of a request whose link was lost
                raise BleakError("disconnected") from None
            raise

    async def start_notify(self, characteristic: BleakGATTCharacteristic, callback: Any, **_: Any) -> None:
        await characteristic.obj.subscribe(lambda value: callback(bytearray(value)))

    async def stop_notify(self, characteristic: BleakGATTCharacteristic) -> None:
        await characteristic.obj.unsubscribe()


def _uuid(uuid: core.UUID) -> str:
    return uuid.to_hex_str("-").lower() if len(uuid.to_bytes()) == 16 else f"0000{uuid.to_hex_str().lower()}{BASE}"


class AirRadio(Radio):
    """The radio of a device in the air, with the peripherals that are in reach."""

    adapter, scanner, client = AirAdapter, AirScanner, AirClient

    def __init__(self, *peripherals: Peripheral) -> None:
        self.air: Air | None = None
        self.peripherals = peripherals
        self._loop: asyncio.AbstractEventLoop | None = None

    async def open(self) -> None:
        self._loop = asyncio.get_running_loop()
        self.air = Air()
        await self.air.open(*self.peripherals)

    def do(self, what: Coroutine[Any, Any, Result]) -> Result:
        """Do something in the loop of the air, from another thread."""
        assert self._loop is not None
        return asyncio.run_coroutine_threadsafe(what, self._loop).result(60)
