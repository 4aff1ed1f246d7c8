"""The fault table's rows of glasses: Bluetooth fails, or what is worn: what both displays show, how soon, what then.

Each row is a run of the real loop with a camera, on the virtual radio: see tests/faults/radio.py.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

pytest.importorskip("bleak", reason="bleak is not installed; ./deploy.sh sinks adds it")
pytest.importorskip("bumble", reason="bumble is not installed; ./deploy.sh test adds it")
pytest.importorskip("halo_emulator", reason="halo-emulator is not installed; ./deploy.sh test adds it")

from bleak.exc import BleakBluetoothNotAvailableError, BleakBluetoothNotAvailableReason, BleakDBusError
from bumble.hci import Address

from tests.faults.radio import DARK_ALONE, KEPT, LEFT, MESSAGE, Scene, Worn, play_worn
from tests.faults.stage import RESULTS, TRUE, Result, pictures, wait_until
from tests.glasses.air import make_device
from tests.glasses.peripherals import ActiveLookPeripheral

SIDE_BY_SIDE = 2  # a virtual radio, and the vendor's emulator, cost more than a camera

pytestmark = pytest.mark.slow


def drop(scene: Scene) -> None:
    """Cut the link; the glasses advertise again."""

    async def cut() -> None:
        await scene.glasses.leave()
        await scene.glasses.advertise()

    scene.do(cut())


def leave(scene: Scene) -> None:
    scene.do(scene.glasses.leave())


def return_to_reach(scene: Scene) -> None:
    scene.do(scene.glasses.advertise())


def make_unavailable(error: Exception) -> Callable[[Scene], None]:
    def do(scene: Scene) -> None:
        scene.air.unavailable = error
        drop(scene)

    return do


def make_available(scene: Scene) -> None:
    scene.air.unavailable = None


def hang_bluetoothd(scene: Scene) -> None:
    scene.air.hangs = True
    drop(scene)


def put(again: bool = True, **values: Any) -> Callable[[Scene], None]:
    """Return what changes the glasses, and with `again` cuts their link, so that it is made again."""

    def do(scene: Scene) -> None:
        for name, value in values.items():
            setattr(scene.glasses, name, value)
        if again:
            drop(scene)

    return do


def swap(**advertised: Any) -> Callable[[Scene], None]:
    """Return what puts another thing of the same name, which advertises so, in the glasses' place."""

    def do(scene: Scene) -> None:
        for name, value in advertised.items():
            setattr(scene.other, name, value)

        async def exchange() -> None:
            await scene.glasses.leave()
            await scene.other.advertise()

        scene.do(exchange())

    return do


def swap_back(scene: Scene) -> None:
    async def exchange() -> None:
        await scene.other.leave()
        await scene.glasses.advertise()

    scene.do(exchange())


def hold_by_phone(scene: Scene) -> None:
    async def hold() -> None:
        phone = make_device(scene.air.link, "phone")
        await phone.power_on()
        await scene.glasses.leave()
        await scene.glasses.advertise()
        await phone.connect(Address(scene.glasses.address, Address.RANDOM_DEVICE_ADDRESS))

    scene.do(hold())


def flood(scene: Scene) -> None:
    async def send() -> None:
        for _ in range(400):
            await scene.glasses.send(scene.glasses._tx, b"\x01")

    scene.do(send())


def send_garbage(scene: Scene) -> None:
    random = np.random.default_rng(1)

    async def send() -> None:
        for _ in range(40):
            await scene.glasses.send(scene.glasses._tx, random.bytes(60))
            await asyncio.sleep(0.05)

    scene.do(send())


def empty_battery(scene: Scene) -> None:
    scene.do(scene.glasses.set_battery(9))
    wait_until(lambda: any("charge it" in problem for problem in scene.control.problems))

    async def turn_off() -> None:
        await scene.glasses.leave()
        scene.glasses.screen[:] = 0

    scene.do(turn_off())


def charge(scene: Scene) -> None:
    scene.glasses.level = 80
    return_to_reach(scene)


def update_halo(scene: Scene) -> None:
    async def restart() -> None:
        scene.glasses.firmware = None
        scene.glasses.stop()
        scene.glasses._start()

    scene.do(restart())


def unavailable(reason: BleakBluetoothNotAvailableReason) -> Exception:
    return BleakBluetoothNotAvailableError("as bleak says it", reason)


NO_BLUEZ = BleakDBusError("org.freedesktop.DBus.Error.ServiceUnknown", [])
MARKED = ActiveLookPeripheral.manufacturer

WORN = [
    Worn(
        "bluetoothd hangs",
        hang_bluetoothd,
        "is out of reach, or off; come nearer",
        undo=lambda scene: scene.air.answer(),
        meanwhile=KEPT,
        back=30,
    ),
    Worn(
        "glasses acknowledge and never draw",
        put(draws_nothing=True),
        "takes our pictures and shows none; turn it off and on",
        undo=put(again=False, draws_nothing=False),
        meanwhile=DARK_ALONE,
        back=20,
    ),
    Worn(
        "the adapter is pulled out",
        make_unavailable(unavailable(BleakBluetoothNotAvailableReason.NO_BLUETOOTH)),
        "no Bluetooth adapter here",
        undo=make_available,
        meanwhile=KEPT,
    ),
    Worn(
        "rfkill blocks Bluetooth",
        make_unavailable(unavailable(BleakBluetoothNotAvailableReason.POWERED_OFF)),
        "Bluetooth is off or blocked; sudo rfkill unblock bluetooth",
        make="halo",
        undo=make_available,
        meanwhile=LEFT,
    ),
    Worn("bluetoothd ends", make_unavailable(NO_BLUEZ), "no bluetoothd runs", undo=make_available, meanwhile=KEPT),
    Worn(
        "bluetoothd is restarted",
        make_unavailable(EOFError()),
        "bluetoothd, or the D-Bus, has ended; trying again",
        make="halo",
        undo=make_available,
        meanwhile=LEFT,
    ),
    Worn(
        "another maker's thing has the glasses' name",
        swap(),
        "is out of reach, or off; come nearer",
        undo=swap_back,
        meanwhile=KEPT,
        back=20,
    ),
    Worn(
        "another thing has the glasses' name and their advertisement",
        swap(manufacturer=MARKED),
        "is no ActiveLook glasses; cuelens pair lists what is near",
        undo=swap_back,
        meanwhile=KEPT,
    ),
    Worn(
        "glasses refuse to pair",
        put(refusal="org.bluez.Error.AuthenticationRejected"),
        "the glasses refused to pair; put the glasses in pairing mode",
        make="halo",
        undo=put(again=False, refusal=""),
        meanwhile=LEFT,
    ),
    Worn(
        "glasses have lost the bond",
        put(again=False, forgot=True),
        "does not know this device any more",
        make="halo",
        undo=put(again=False, forgot=False),
        meanwhile=LEFT,
    ),
    Worn(
        "ActiveLook's firmware is too old",
        put(firmware=bytes((4, 3, 2, 0x62))),
        "has firmware 4.3.2, 4.5.0 or newer is needed",
        undo=put(again=False, firmware=bytes((4, 12, 0, 0x62))),
        meanwhile=DARK_ALONE,
    ),
    Worn(
        "Halo's firmware is too old",
        put(firmware="0.8.7"),
        "has firmware 0.8.7, 0.8.8 or newer is needed",
        make="halo",
        undo=update_halo,
        meanwhile=LEFT,
    ),
    Worn(
        "the battery is empty in the middle",
        empty_battery,
        "is out of reach, or off; come nearer",
        undo=charge,
        meanwhile=DARK_ALONE,
    ),
    Worn(
        "Halo takes packets of 23 bytes",
        put(mtu=23),
        "takes packets of 23 bytes .MTU., 100 are needed",
        make="halo",
        undo=put(again=False, mtu=247),
        meanwhile=LEFT,
    ),
    Worn(
        "Halo acknowledges and its program is deaf",
        put(again=False, deaf=True),
        "does not answer; come nearer",
        make="halo",
        undo=put(again=False, deaf=False),
        within=6,
        meanwhile=LEFT,
        back=12,
    ),
    Worn(
        "ActiveLook floods us with notifications",
        flood,
        "sends over 200 notifications a second; turn it off and on again",
        meanwhile=frozenset({"dark", TRUE, MESSAGE}),
    ),
    Worn("ActiveLook sends garbage", send_garbage),
    Worn("Halo sends garbage", send_garbage, make="halo"),
    Worn("ActiveLook is out of reach", leave, "is out of reach", undo=return_to_reach, meanwhile=KEPT, back=20),
    Worn(
        "Halo is out of reach",
        leave,
        "is out of reach",
        make="halo",
        undo=return_to_reach,
        meanwhile=LEFT,
        back=20,
    ),
    Worn(
        "a phone holds the glasses' link",
        hold_by_phone,
        "is out of reach, or off; come nearer",
        undo=drop,
        meanwhile=KEPT,
        back=20,
    ),
]


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Future[Result]]]:
    """Begin with all rows, by their names."""
    film = pictures()
    with ThreadPoolExecutor(SIDE_BY_SIDE) as pool:
        yield {row.fault: pool.submit(play_worn, row, tmp_path_factory.mktemp("row"), film) for row in WORN}


@pytest.mark.parametrize("row", WORN, ids=lambda row: row.fault)
def test_when(row: Worn, played: dict[str, Future[Result]]) -> None:
    result = played[row.fault].result()
    RESULTS.append(result)
    assert result.wrong == []
