"""ActiveLook glasses (Engo, Julbo): pictures that are saved on them once, and 27 bytes for each cue after that.

After the maker's documentation of firmware 4.12 (ActiveLook API, fw-4.12.0_doc-revC); its chapters are cited as [4.7].
"""

from __future__ import annotations

import asyncio
import itertools
import zlib
from collections.abc import Iterable, Iterator
from enum import Enum
from typing import NamedTuple

import numpy as np

from edge.cue.policy import SMALL_VOCABULARY
from edge.drawing.glyphs import Canvas, Plan, draw_plan, plan_cue
from edge.errors import SinkFailed
from edge.settings import LookSettings
from edge.sinks.glasses.stage import DARK, LOOK_EVERY, Order
from edge.sinks.glasses.wearable import Channel, Make, check_firmware
from edge.types import Band, Cue, Side

SERVICE = "0783b03e-8535-b5a0-7140-a304d2495cb7"  # [2.3]
RX = "0783b03e-8535-b5a0-7140-a304d2495cba"
TX = "0783b03e-8535-b5a0-7140-a304d2495cb8"
CONTROL = "0783b03e-8535-b5a0-7140-a304d2495cb9"
MARK = b"\x08\xf2"  # that the manufacturer's data of every maker of ActiveLook glasses ends with [2.2]

SCREEN_WIDTH, SCREEN_HEIGHT = 304, 256  # pixels [1]
WIDTH, HEIGHT = 192, 160  # of a picture in the middle, within the 244 x 206 that every eye sees whole [6.4]
LEFT, TOP = (SCREEN_WIDTH - WIDTH) // 2, (SCREEN_HEIGHT - HEIGHT) // 2
WHOLE_DATA = 512  # bytes of a command's data, at most [3.1]

CLEAR, VERSION, HOLD_FLUSH = 0x01, 0x06, 0x39  # [4.3], [4.6]
SAVE, SHOW, STREAM, DELETE = 0x41, 0x42, 0x44, 0x46  # of images [4.7]
LIT_PIXELS = 0xA5  # pixelCount [4.13]
CONFIG_WRITE, CONFIG_READ, CONFIG_SET = 0xD0, 0xD1, 0xD2  # [4.14]
ERROR = 0xE2  # [4.15]
HOLD, FLUSH, FLUSH_ALL = 0, 1, 0xFF
ONE_BIT = 1  # format of a picture: a bit for each pixel
EVERY = 0xFF
CONFIG = b"cuelens"
PASSWORD = 0x43756C65  # so that no other program overwrites our pictures by chance; it is no secret
UNFINISHED = 0  # version of our configuration while its pictures are being saved
LEAST_FIRMWARE = (4, 5, 0)  # the first whose imgSave takes a format [4.16]
REPLY = 2.0  # seconds for an answer
RESUME = 2.0  # seconds for which the glasses may ask us to wait
_ERRORS = {1: "generic", 2: "no configuration is open", 3: "its memory cannot be read or written", 4: "misunderstood"}


class Flow(bytes, Enum):
    """What the control characteristic notifies of [3.5]."""

    MAY_SEND = b"\x01"
    MUST_WAIT = b"\x02"
    DAMAGED = b"\x03"
    OVERFLOW = b"\x04"
    NO_CONFIG = b"\x06"


def encode_command(command: int, data: bytes = b"", query: bytes = b"") -> bytes:
    """Return a command as it is written [3.1]: FF, its number, the format, the length, the query's id, data, AA."""
    whole = 5 + len(query) + len(data)
    if whole <= 0xFF:
        return bytes([0xFF, command, len(query), whole]) + query + data + b"\xaa"
    return bytes([0xFF, command, 0x10 | len(query)]) + (whole + 1).to_bytes(2, "big") + query + data + b"\xaa"


class Reply(NamedTuple):
    """A message of the glasses."""

    command: int
    query: bytes
    data: bytes


class Replies:
    """Puts messages together from the pieces in which they come; what is none is passed over."""

    LONGEST = 533  # bytes [3.1]

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, piece: bytes) -> Iterator[Reply]:
        """Yield the messages that are whole now."""
        self._rest += piece
        while self._rest:
            begin = self._rest.find(b"\xff")
            self._skip(len(self._rest) if begin < 0 else begin)
            if len(self._rest) < 5:
                return
            wide = self._rest[2] >> 4 & 1
            length = int.from_bytes(self._rest[3 : 4 + wide], "big")
            head = 4 + wide + (self._rest[2] & 0x0F)
            if not head < length <= self.LONGEST:
                self._skip(1)
            elif len(self._rest) < length:
                return
            elif self._rest[length - 1] != 0xAA:
                self._skip(1)
            else:
                message, self._rest = self._rest[:length], self._rest[length:]
                yield Reply(message[1], message[4 + wide : head], message[head:-1])

    def _skip(self, count: int) -> None:
        self._rest = self._rest[count:]


def encode_image(plan: Plan) -> bytes:
    """Return a plan's picture in bits, WIDTH x HEIGHT, the first pixel of a byte in its lowest bit [5.5.2].

    It is turned by half: the display's (0, 0) is at the lower right as the wearer sees it [5.5.6], [6.7].
    """
    picture = draw_plan(plan, WIDTH, HEIGHT, "mono")[::-1, ::-1]
    return np.packbits(picture > 0, axis=1, bitorder="little").tobytes()


def image_lines(image: bytes) -> Iterator[bytes]:
    """Yield a picture's data in pieces of whole lines, as many as one command may hold."""
    line = WIDTH // 8
    step = WHOLE_DATA // line * line
    for start in range(0, len(image), step):
        yield image[start : start + step]


def usual_plans(look: LookSettings) -> tuple[Plan, ...]:
    """Return what a wearer with this look is shown day by day, each once: it is saved on the glasses."""
    sides: tuple[Side | None, ...] = ("ahead", "left", "right") if look.arrow else ("ahead",)
    bands: tuple[Band | None, ...] = ("near", "middle", "far", None)
    cues = [Cue("expression", word, 1.0, 0.0, None, None, side) for word in SMALL_VOCABULARY for side in sides]
    cues += [Cue("unsure", None, 0.0, 0.0, "faint", None, side) for side in sides]
    cues += [Cue("unsure", None, 0.0, 0.0, "new", band, side) for band, side in itertools.product(bands, sides)]
    plans = dict.fromkeys(plan_cue(cue, look) for cue in cues)
    return tuple(plan for plan in plans if plan != DARK)


def version_of(images: Iterable[bytes]) -> int:
    """Return a number for pictures, which the glasses keep with them; never that of an unfinished set."""
    return zlib.crc32(b"".join(images)) or 1


class ActiveLookGlasses:
    """ActiveLook glasses, connected: commands under flow control, with the answers that belong to them."""

    def __init__(self, channel: Channel, look: LookSettings) -> None:
        self._channel = channel
        self._look = look
        self._images: dict[Plan, bytes] = {}  # that are saved on the glasses, in the order of their numbers
        self._replies = Replies()
        self._answered: dict[bytes, asyncio.Future[bytes]] = {}  # by query
        self._queries = itertools.count(1)
        self._may_send = asyncio.Event()
        self._may_send.set()
        self._failure = ""  # what the glasses complained of since the last command
        self._lit = False
        self._looked = float("-inf")  # when it was last seen that a picture is lit

    def _hear_reply(self, piece: bytes) -> None:
        for reply in self._replies.feed(piece):
            if reply.command == ERROR and len(reply.data) >= 2:
                self._failure = f"command {reply.data[0]:#04x}: {_ERRORS.get(reply.data[1], f'error {reply.data[1]}')}"
            elif (answered := self._answered.get(reply.query)) is not None and not answered.done():
                answered.set_result(reply.data)

    def _hear_control(self, value: bytes) -> None:
        match value:
            case Flow.MAY_SEND:
                self._may_send.set()
            case Flow.MUST_WAIT:
                self._may_send.clear()
            case Flow.DAMAGED:
                self._failure = "a command came incomplete or damaged"
            case Flow.OVERFLOW:
                self._failure = "its queue ran over"
            case Flow.NO_CONFIG:
                self._failure = _ERRORS[2]

    async def set_up(self) -> None:
        """Make the screen dark, then save the pictures unless they are there; raises SinkFailed for old firmware."""
        await self._channel.notify(CONTROL, self._hear_control)
        await self._channel.notify(TX, self._hear_reply)
        await self._blank(FLUSH_ALL)  # an earlier link may have left it held, and a picture on it
        check_firmware(tuple((await self._ask(VERSION))[:3]), LEAST_FIRMWARE, self._channel.name)
        self._images = {plan: encode_image(plan) for plan in usual_plans(self._look)}
        version = version_of(self._images.values())
        if await self._saved_version() != version:
            await self._save(version)
        await self._do(CONFIG_SET, CONFIG + b"\0")

    async def _saved_version(self) -> int | None:
        """Return the version of our pictures on the glasses, None where there are none, or not all."""
        try:
            config = await self._ask(CONFIG_READ, CONFIG + b"\0")
        except (TimeoutError, SinkFailed):  # a configuration that is not there is an error, or no answer
            self._failure = ""
            return None
        if len(config) < 5 or config[4] != len(self._images):
            return None
        return int.from_bytes(config[:4], "big")

    async def _save(self, version: int) -> None:
        await self._open_config(UNFINISHED)
        await self._do(DELETE, bytes([EVERY]))
        for number, image in enumerate(self._images.values()):
            head = bytes([number]) + len(image).to_bytes(4, "big") + WIDTH.to_bytes(2, "big") + bytes([ONE_BIT])
            for data in (head, *image_lines(image)):
                await self._do(SAVE, data)
        await self._open_config(version)  # last: a set that was cut off is saved again
        if await self._saved_version() != version:
            raise SinkFailed(
                f"{self._channel.name} did not keep our pictures; charge it, and free space with its maker's app"
            )

    async def _open_config(self, version: int) -> None:
        await self._do(CONFIG_WRITE, CONFIG + b"\0" + version.to_bytes(4, "big") + PASSWORD.to_bytes(4, "big"))

    async def send(self, order: Order) -> None:
        """Draw or blank; returns when the glasses have acknowledged every byte. They keep a picture by themselves.

        Raises SinkFailed where they acknowledge all and light nothing; they are asked every LOOK_EVERY.
        """
        if order.kind == "blank":
            await self._blank(FLUSH)
            self._lit = False
        elif order.kind == "draw":
            await self._draw(order.plan)
            self._lit = True
        now = asyncio.get_running_loop().time()
        if self._lit and now - self._looked >= LOOK_EVERY:
            self._looked = now
            await self._see_lit()

    async def _blank(self, flush: int) -> None:
        await self._do(HOLD_FLUSH, bytes([flush]))
        await self._do(CLEAR)

    async def _draw(self, plan: Plan) -> None:
        """Show a picture in the place of the one before, at once and whole: held until it is there."""
        place = LEFT.to_bytes(2, "big") + TOP.to_bytes(2, "big")
        if plan in self._images:
            show = [(SHOW, bytes([list(self._images).index(plan)]) + place)]
        else:
            image = encode_image(plan)
            head = len(image).to_bytes(4, "big") + WIDTH.to_bytes(2, "big") + place + bytes([ONE_BIT])
            show = [(STREAM, data) for data in (head, *image_lines(image))]
        commands = [(HOLD_FLUSH, bytes([HOLD])), (CLEAR, b""), *show, (HOLD_FLUSH, bytes([FLUSH]))]
        await self._write(b"".join(encode_command(command, data) for command, data in commands))

    async def _see_lit(self) -> None:
        """Raise SinkFailed where the glasses acknowledge all, and light nothing."""
        if not any(await self._ask(LIT_PIXELS)):
            raise SinkFailed(f"{self._channel.name} takes our pictures and shows none; turn it off and on")

    async def _do(self, command: int, data: bytes = b"") -> None:
        await self._write(encode_command(command, data))

    async def _ask(self, command: int, data: bytes = b"") -> bytes:
        """Send a command that is answered, and return the answer's data."""
        query = (next(self._queries) % 0x10000).to_bytes(2, "big")
        answered: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._answered[query] = answered
        try:
            await self._write(encode_command(command, data, query))
            async with asyncio.timeout(REPLY):
                while not answered.done() and not self._failure:
                    await asyncio.wait({answered}, timeout=0.05)
            self._check()
            return answered.result()
        finally:
            del self._answered[query]

    async def _write(self, data: bytes) -> None:
        """Write commands in as large pieces as the connection takes, whenever the glasses let us."""
        step = self._channel.largest
        for start in range(0, len(data), step):
            if not self._may_send.is_set():
                async with asyncio.timeout(RESUME):
                    await self._may_send.wait()
            await self._channel.write(RX, data[start : start + step])
        self._check()

    def _check(self) -> None:
        if self._failure:
            raise SinkFailed(f"{self._channel.name}: {self._failure}; trying again: if it stays so, turn it off and on")


def draw_activelook(plan: Plan) -> Canvas:
    """Draw what the wearer sees of a plan: RGB (256, 304, 3), of one colour."""
    screen: Canvas = np.zeros((SCREEN_HEIGHT, SCREEN_WIDTH, 3), np.uint8)
    picture = draw_plan(plan, WIDTH, HEIGHT, "mono")
    screen[TOP : TOP + HEIGHT, LEFT : LEFT + WIDTH] = picture[..., None]
    return screen


ACTIVELOOK = Make(
    name="activelook",
    title="ActiveLook glasses",
    service=SERVICE,
    mailbox=RX,
    mark=MARK,
    bonds=False,
    least_mtu=23,
    width=SCREEN_WIDTH,
    height=SCREEN_HEIGHT,
    least_interval=0.1,
    blanks_itself=False,
    wearable=ActiveLookGlasses,
    draw=draw_activelook,
)
