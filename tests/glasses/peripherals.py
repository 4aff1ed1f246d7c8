"""The glasses at the other end: ActiveLook after its documentation, Halo by the vendor's emulator of its firmware."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from bumble import gatt

from edge.drawing.glyphs import Plan
from edge.sinks.glasses.activelook import draw_activelook
from edge.sinks.glasses.halo import draw_halo
from tests.glasses.air import Peripheral

ACTIVELOOK = "0783B03E-8535-B5A0-7140-A304D2495CB{}"


class ActiveLookPeripheral(Peripheral):
    """ActiveLook's commands as documented for firmware 4.12, on a screen of 304 x 256 with 16 grey levels.

    `screen` is what the display's memory holds, its (0, 0) first; `seen` is that as the wearer sees it.
    """

    manufacturer = bytes.fromhex("dafa08f2")

    def __init__(self, name: str = "A.LooK 000123", firmware: tuple[int, ...] = (4, 12, 0, 0x62)) -> None:
        super().__init__(name)
        self.firmware = bytes(firmware)
        self.screen = np.zeros((256, 304), np.uint8)
        self.configs: dict[bytes, dict[str, Any]] = {}
        self.commands: list[tuple[int, bytes]] = []
        self.received = 0  # bytes
        self.draws_nothing = False
        self.keeps_nothing = False
        self.asks_to_wait = 0  # commands after which it asks once to wait
        self._rest = b""
        self._writing: bytes | None = None
        self._current: bytes | None = None
        self._saving: dict[str, Any] | None = None
        self._held = 0
        self._waiting: list[tuple[str, Any]] = []
        self._rx = self._characteristic(ACTIVELOOK.format("A"), "write write_without_response", write=self._take)
        self._tx = self._characteristic(ACTIVELOOK.format("8"), "notify")
        self._control = self._characteristic(ACTIVELOOK.format("9"), "notify")

    def gatt_services(self) -> list[gatt.Service]:
        return [*super().gatt_services(), gatt.Service(ACTIVELOOK.format("7"), [self._rx, self._tx, self._control])]

    def _disconnected(self, reason: int) -> None:
        super()._disconnected(reason)
        self._rest = b""
        self._flush(everything=True)  # after a disconnection the engine is reset and flushed [4.6]

    @property
    def seen(self) -> np.ndarray[Any, Any]:
        return self.screen[::-1, ::-1]

    def shows(self, plan: Plan) -> bool:
        """Return whether the wearer sees the plan's picture, and no other pixel."""
        return bool(np.array_equal(self.seen > 0, draw_activelook(plan)[..., 0] > 0))

    def _take(self, data: bytes) -> None:
        self.received += len(data)
        self._rest += data
        while len(self._rest) >= 5:
            if self._rest[0] != 0xFF:
                self._notify(self._control, b"\x03")
                self._rest = b""
                return
            wide = self._rest[2] >> 4 & 1
            length = int.from_bytes(self._rest[3 : 4 + wide], "big")
            if len(self._rest) < length:
                return
            command, self._rest = self._rest[:length], self._rest[length:]
            head = 4 + wide + (command[2] & 15)
            if command[-1] != 0xAA or length - head - 1 > 512:
                self._notify(self._control, b"\x03")
                continue
            self._obey(command[1], command[4 + wide : head], command[head:-1])

    def _notify(self, characteristic: gatt.Characteristic[bytes], data: bytes) -> None:
        asyncio.get_running_loop().create_task(self.send(characteristic, data))

    def _answer(self, command: int, query: bytes, data: bytes) -> None:
        length = 5 + len(query) + len(data)
        self._notify(self._tx, bytes([0xFF, command, len(query), length]) + query + data + b"\xaa")

    def _fail(self, command: int, error: int) -> None:
        self._answer(0xE2, b"", bytes([command, error, 0]))

    def _obey(self, command: int, query: bytes, data: bytes) -> None:
        self.commands.append((command, data))
        if self.asks_to_wait:
            self.asks_to_wait -= 1
            if not self.asks_to_wait:
                self._notify(self._control, b"\x02")
                asyncio.get_running_loop().call_later(0.1, self._notify, self._control, b"\x01")
        match command:
            case 0x01:
                self._draw("clear", None)
            case 0x06:
                self._answer(command, query, self.firmware + bytes([24, 30, 0, 0, 2]))
            case 0x39:
                if data[0] == 0:
                    self._held += 1
                else:
                    self._flush(everything=data[0] == 0xFF)
            case 0x41:
                self._save(data)
            case 0x42:
                image = self.configs.get(self._current or b"", {"images": {}})["images"].get(data[0])
                if image is None:
                    self._fail(command, 3)
                else:
                    self._draw("image", (image, *_coordinates(data[1:5])))
            case 0x44:
                self._stream(data)
            case 0x46:
                if self._writing is None:
                    self._fail(command, 2)
                else:
                    self.configs[self._writing]["images"].clear()
            case 0xA5:
                self._answer(command, query, int(np.count_nonzero(self.screen)).to_bytes(4, "big"))
            case 0xD0:
                name, _, rest = data.partition(b"\0")
                self._writing = name
                config = self.configs.setdefault(name, {"images": {}, "password": rest[4:]})
                config["version"] = rest[:4]
            case 0xD1:
                config = self.configs.get(data.rstrip(b"\0"))
                if config is None:
                    self._fail(command, 1)
                else:
                    self._answer(command, query, config["version"] + bytes([len(config["images"]), 0, 0, 0, 0]))
            case 0xD2:
                self._current = data.rstrip(b"\0")
            case _:
                self._fail(command, 4)

    def _save(self, data: bytes) -> None:
        if self._writing is None:
            self._fail(0x41, 2)
        elif self._saving is None:
            size, width = int.from_bytes(data[1:5], "big"), int.from_bytes(data[5:7], "big")
            self._saving = {"number": data[0], "size": size, "width": width, "format": data[7], "data": b""}
        else:
            self._saving["data"] += data
            if len(data) % (-(-self._saving["width"] // 8)):
                self._fail(0x41, 4)  # a line may not be cut [5.5.2]
            if len(self._saving["data"]) >= self._saving["size"]:
                saved, self._saving = self._saving, None
                if not self.keeps_nothing:
                    self.configs[self._writing]["images"][saved["number"]] = _pixels(saved["data"], saved["width"])

    def _stream(self, data: bytes) -> None:
        if self._saving is None:
            size, width = int.from_bytes(data[:4], "big"), int.from_bytes(data[4:6], "big")
            self._saving = {"size": size, "width": width, "place": _coordinates(data[6:10]), "data": b""}
        else:
            self._saving["data"] += data
            if len(self._saving["data"]) >= self._saving["size"]:
                streamed, self._saving = self._saving, None
                self._draw("image", (_pixels(streamed["data"], streamed["width"]), *streamed["place"]))

    def _draw(self, what: str, how: Any) -> None:
        self._waiting.append((what, how))
        if not self._held:
            self._flush(everything=False)

    def _flush(self, *, everything: bool) -> None:
        self._held = 0 if everything else max(0, self._held - 1)
        if self._held:
            return
        waiting, self._waiting = self._waiting, []
        for what, how in waiting:
            if what == "clear":
                self.screen[:] = 0
            elif not self.draws_nothing:
                pixels, x, y = how
                self.screen[y : y + pixels.shape[0], x : x + pixels.shape[1]] = pixels


def _coordinates(data: bytes) -> tuple[int, int]:
    return int.from_bytes(data[:2], "big", signed=True), int.from_bytes(data[2:4], "big", signed=True)


def _pixels(data: bytes, width: int) -> np.ndarray[Any, Any]:
    """Return 1 bit a pixel, the first in the lowest bit, as the firmware keeps it: 0 or 15."""
    lines = np.frombuffer(data, np.uint8).reshape(-1, -(-width // 8))
    return 15 * np.unpackbits(lines, axis=1, bitorder="little")[:, :width]


class HaloPeripheral(Peripheral):
    """Halo: the vendor's emulator behind the service of its PROTOCOL.md; text is run, data is for what runs."""

    services = ("7a230001-5475-a6a4-654c-8431f6ad49c4",)

    def __init__(self, name: str = "Halo 08", folder: Path | None = None) -> None:
        from halo_emulator import HaloEmulator

        super().__init__(name)
        self.folder = folder or Path(tempfile.mkdtemp())
        self.printed: list[str] = []
        self.ran: list[str] = []
        self.received = 0
        self.writes: list[bytes] = []
        self.deaf = False  # data is acknowledged, and never reaches the program
        self.firmware: str | None = None
        self.fails = ""  # what drawing a bitmap does instead, in Lua
        self._loop: asyncio.AbstractEventLoop | None = None
        self._make = lambda: HaloEmulator(self.folder, print_handler=self._print)
        self.emulator = self._make()
        self._rx = self._characteristic(
            "7a230002-5475-a6a4-654c-8431f6ad49c4", "write write_without_response", write=self._take
        )
        self._tx = self._characteristic("7a230003-5475-a6a4-654c-8431f6ad49c4", "notify")
        self._audio = self._characteristic("7a230005-5475-a6a4-654c-8431f6ad49c4", "write write_without_response")

    def gatt_services(self) -> list[gatt.Service]:
        return [*super().gatt_services(), gatt.Service(self.services[0], [self._rx, self._tx, self._audio])]

    def _print(self, text: str) -> None:
        self.printed.append(text)
        self._notify(text.encode())

    def _notify(self, data: bytes) -> None:
        def send() -> None:
            asyncio.get_running_loop().create_task(self.send(self._tx, data))

        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(send)

    def _start(self) -> None:
        self.emulator = self._make()
        self.emulator.connect()
        self.emulator._bluetooth.add_send_listener(lambda data: self._notify(b"\x01" + data))
        if self.firmware is not None:
            self.emulator._lua.globals().frame.FIRMWARE_VERSION = self.firmware  # type: ignore[union-attr]

    async def join(self, air: Any) -> None:
        self._loop = asyncio.get_running_loop()
        self._start()
        await super().join(air)

    def _connected(self, connection: Any) -> None:
        super()._connected(connection)
        self.emulator._bluetooth._connected = True

    def _disconnected(self, reason: int) -> None:
        super()._disconnected(reason)
        self.emulator._bluetooth._connected = False

    def _take(self, data: bytes) -> None:
        self.received += len(data)
        self.writes.append(data)
        if data[:1] == b"\x01":
            if not self.deaf:
                self.emulator.inject_bluetooth_data(data[1:])
        elif data == b"\x03":
            if self.emulator.is_running():
                self.stop()
                self._start()
        elif data.startswith(b"require('"):
            name = data.decode().split("'")[1]
            if self.fails:
                program = self.folder / f"{name}.lua"
                program.write_text(f"frame.display.bitmap = function() {self.fails} end\n{program.read_text()}")
            self.emulator.start(f"{name}.lua")
        else:
            self.ran.append(data.decode())
            try:
                self.emulator.execute_lua(data.decode())
            except Exception as error:
                self._print(str(error))

    def stop(self) -> None:
        """End the program that runs, as a battery that is empty does."""
        self.emulator.stop()

    @property
    def seen(self) -> np.ndarray[Any, Any]:
        """What the wearer sees: RGB (256, 256, 3)."""
        return np.asarray(self.emulator.get_framebuffer())[..., :3]

    def shows(self, plan: Plan) -> bool:
        """Return whether the wearer sees the plan's picture, and no other pixel."""
        return bool(np.array_equal(self.seen, draw_halo(plan)))
