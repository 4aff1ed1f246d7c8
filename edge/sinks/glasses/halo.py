"""Brilliant Labs' Halo and Frame: a small program in Lua on the glasses, and pictures of glyph and word for it.

The vendor's PROTOCOL.md (halo-firmware) is followed: text that is written is run, what begins with 1 is data for the
program that runs, 3 interrupts it; what comes back is printed text, or data behind a 1.
"""

from __future__ import annotations

import asyncio
import re
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from edge.drawing.glyphs import COLOURS, WHITE, Canvas, Plan, draw_layers
from edge.drawing.strokes import Mask
from edge.errors import SinkFailed
from edge.settings import LookSettings
from edge.sinks.glasses.stage import DARK, Order
from edge.sinks.glasses.wearable import Channel, Make, check_firmware

SERVICE = "7a230001-5475-a6a4-654c-8431f6ad49c4"
TO_GLASSES = "7a230002-5475-a6a4-654c-8431f6ad49c4"
FROM_GLASSES = "7a230003-5475-a6a4-654c-8431f6ad49c4"
INTERRUPT, DATA = b"\x03", b"\x01"
KEPT, NOT_KEPT = b"k", b"n"
SIDE = 256  # pixels of Halo's display, a circle in that square
WIDTH, HEIGHT = 160, 128  # of the picture in its middle
LIT = 128  # coverage from which a pixel is lit
LEAST_FIRMWARE = (0, 8, 8)  # from which on a palette's entries are RGB, and an offset does not wrap
PROGRAM = Path(__file__).with_name("halo.lua")
REPLY = 2.0  # seconds for a line of Lua
WRITE_OVERHEAD = 24  # bytes of f:write("...");print(1)
LEAST_MTU = 100  # bytes of a packet: with fewer, the program takes longer to send than anybody waits


class HaloGlasses:
    """Halo, connected: sends the program once, then pictures, and waits for the word that each was drawn."""

    def __init__(self, channel: Channel, look: LookSettings) -> None:
        self._channel = channel
        self._printed: asyncio.Queue[str] = asyncio.Queue(maxsize=20)
        self._answers: asyncio.Queue[bytes] = asyncio.Queue(maxsize=20)
        self._seq = 0
        self._drawn = DARK  # what was drawn last

    def _hear(self, data: bytes) -> None:
        queue, item = (
            (self._answers, data[1:]) if data[:1] == DATA else (self._printed, data.decode("ascii", "replace"))
        )
        if not queue.full():  # more than anybody waits for is no answer
            queue.put_nowait(item)  # type: ignore[arg-type]

    async def set_up(self) -> None:
        """Stop what runs, send the program unless it is there, and start it; raises SinkFailed for old firmware."""
        await self._channel.notify(FROM_GLASSES, self._hear)
        await self._channel.write(TO_GLASSES, INTERRUPT)
        await asyncio.sleep(0.2)  # the vendor's own wait for the interpreter
        self._drop_answers()
        firmware = firmware_of(await self._run("print(frame.FIRMWARE_VERSION)"), self._channel.name)
        if firmware is not None:
            check_firmware(firmware, LEAST_FIRMWARE, self._channel.name)
        program = PROGRAM.read_text(encoding="ascii")
        name = f"cuelens_{zlib.crc32(program.encode()):08x}"
        there = await self._run(f"print(pcall(function() frame.file.open('{name}.lua','r'):close() end))")
        if not there.startswith("true"):
            await self._send_program(name, program)
        self._drop_answers()
        await self._channel.write(TO_GLASSES, f"require('{name}')".encode())
        await self._wait_for(b"R")

    async def _run(self, line: str) -> str:
        """Run a line of Lua that prints once; returns what it printed."""
        await self._channel.write(TO_GLASSES, line.encode())
        async with asyncio.timeout(REPLY):
            return (await self._printed.get()).strip()

    async def _send_program(self, name: str, program: str) -> None:
        """Write the program into a file: first under another name, so that one that was cut off is never started."""
        await self._run("f=frame.file.open('cuelens.part','w');print(1)")
        for piece in lua_pieces(program, self._channel.largest - WRITE_OVERHEAD):
            await self._run(f'f:write("{piece}");print(1)')
        await self._run(f"f:close();frame.file.rename('cuelens.part','{name}.lua');print(1)")

    def _drop_answers(self) -> None:
        for queue in (self._printed, self._answers):
            while not queue.empty():
                queue.get_nowait()

    async def send(self, order: Order) -> None:
        """Draw, blank or keep; returns when the program on the glasses has answered that it did.

        What it blanked by itself, as our words came too late, is drawn again.
        """
        if order.kind == "keep":
            await self._channel.write(TO_GLASSES, DATA + b"K")
            if await self._wait_for(KEPT, NOT_KEPT) == NOT_KEPT:
                await self._draw(self._drawn)
        elif order.kind == "blank":
            await self._channel.write(TO_GLASSES, DATA + b"B")
            await self._wait_for(b"b")
        else:
            await self._draw(order.plan)

    async def _draw(self, plan: Plan) -> None:
        self._seq, self._drawn = (self._seq + 1) % 256, plan
        for packet in packets(encode_picture(plan), self._seq, self._channel.largest):
            await self._channel.write(TO_GLASSES, packet)
        await self._wait_for(b"d" + bytes([self._seq]))

    async def _wait_for(self, *answers: bytes) -> bytes:
        """Return the first of these answers that comes; raises SinkFailed where the program failed."""
        async with asyncio.timeout(REPLY):
            while (heard := await self._answers.get()) not in answers:
                if heard[:1] == b"e":
                    words = heard[1:].decode("ascii", "replace")
                    raise SinkFailed(f"{self._channel.name}: the program on it failed: {words}; turn it off and on")
        return heard


def firmware_of(version: str, name: str) -> tuple[int, ...] | None:
    """Return a Halo's firmware, None for a Frame, which counts its own from v24 on; raises SinkFailed for neither."""
    found = re.match(r"(\d+)\.(\d+)\.(\d+)", version)
    if found:
        return tuple(map(int, found.groups()))
    if version.startswith("v"):
        return None
    raise SinkFailed(f"{name} does not report its firmware; turn it off and on")


def lua_pieces(text: str, largest: int) -> Iterator[str]:
    """Yield a text as contents of Lua strings in double quotes of at most `largest` bytes."""
    piece = ""
    for sign in text:
        escaped = {"\\": "\\\\", "\n": "\\n", '"': '\\"', "\t": "\\t"}.get(sign, sign)
        if len(piece) + len(escaped) > largest:
            yield piece
            piece = ""
        piece += escaped
    yield piece


def packets(picture: bytes, seq: int, largest: int) -> Iterator[bytes]:
    """Yield a picture in writes of at most `largest` bytes."""
    head = DATA + b"P" + bytes([seq]) + len(picture).to_bytes(2, "big")
    room = largest - len(head)
    yield head + picture[:room]
    head = DATA + b"D" + bytes([seq])
    step = largest - len(head)
    for start in range(room, len(picture), step):
        yield head + picture[start : start + step]


def encode_picture(plan: Plan) -> bytes:
    """Return a plan as the program on the glasses takes it: the glyph's colour, then its bits, then the white ones.

    What is beside the glyph and what is below it are apart: on Frame, the dark pixels of a bitmap erase.
    """
    glyph, rest = draw_layers(plan, WIDTH, HEIGHT, crisp=True)
    rows = np.flatnonzero((glyph >= LIT).any(axis=1))
    below = rows[-1] + 1 if len(rows) else 0
    beside = rest.copy()
    beside[below:], rest[:below] = 0, 0
    found = bytes(COLOURS.get(plan.glyph or "", WHITE))
    for entry, mask in ((2, glyph), (1, beside), (1, rest)):
        if (mask >= LIT).any():
            found += _encode_bitmap(entry, mask)
    return found


def _encode_bitmap(entry: int, mask: Mask) -> bytes:
    """Return what is lit of a mask, 0 or 255, with its place on the display: x and y count from 1 there."""
    lit = mask >= LIT
    rows, columns = np.flatnonzero(lit.any(axis=1)), np.flatnonzero(lit.any(axis=0))
    top, bottom, left, right = rows[0], rows[-1] + 1, columns[0], columns[-1] + 1
    width = -(-(right - left) // 8) * 8  # rows of whole bytes
    left = max(0, right - width) if left + right < mask.shape[1] else min(left, mask.shape[1] - width)  # outwards
    bits = np.packbits(lit[top:bottom, left : left + width]).tobytes()
    x, y = (SIDE - WIDTH) // 2 + left + 1, (SIDE - HEIGHT) // 2 + top + 1
    return bytes([entry]) + b"".join(int(value).to_bytes(2, "big") for value in (x, y, width, len(bits))) + bits


def draw_halo(plan: Plan) -> Canvas:
    """Draw what the wearer sees of a plan: RGB (256, 256, 3)."""
    picture: Canvas = np.zeros((SIDE, SIDE, 3), np.uint8)
    glyph, rest = draw_layers(plan, WIDTH, HEIGHT, crisp=True)
    top, left = (SIDE - HEIGHT) // 2, (SIDE - WIDTH) // 2
    middle = picture[top : top + HEIGHT, left : left + WIDTH]
    middle[glyph >= LIT] = COLOURS.get(plan.glyph or "", WHITE)
    middle[rest >= LIT] = WHITE
    return picture


HALO = Make(
    name="halo",
    title="Brilliant Labs Halo or Frame",
    service=SERVICE,
    mailbox=TO_GLASSES,
    mark=b"",
    bonds=True,
    least_mtu=LEAST_MTU,
    width=SIDE,
    height=SIDE,
    least_interval=0.1,
    blanks_itself=True,
    wearable=HaloGlasses,
    draw=draw_halo,
)
