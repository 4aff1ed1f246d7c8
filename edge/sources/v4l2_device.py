"""A V4L2 device as the kernel has it (linux/videodev2.h): what it is, what it can give, and its frames, in place.

OpenCV's capture hides what has to be known here: how long a row is, whether a frame is damaged, why nothing streams.
And each release hands raw frames over in another shape: 4.11 flat, 4.12 as bytes or words, wrong where rows are padded.
"""

from __future__ import annotations

import ctypes
import errno
import os
import select
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from ctypes import c_uint8, c_uint16, c_uint32, c_uint64
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

import numpy as np

from edge.sources.pixels import fourcc_of, name_of
from edge.types import Gray

T = TypeVar("T")

BUFFERS = 3  # one being filled, one filled, one read: with fewer a frame that is read costs the next one
MOST_FORMATS = 256  # that it asks for: a driver whose list never ends must not keep us
CLOSE_DEADLINE = 1.0  # seconds that a read in progress may delay close()

CAPTURE, CAPTURE_PLANES = 0x1, 0x1000
OUTPUT, OVERLAY, VBI, RADIO, CONVERTER = 0x2002, 0x4, 0x1F0, 0x50000, 0xC000
SOFTWARE_RADIO, METADATA, TOUCH = 0x500000, 0x8800000, 0x10000000
OWN_CAPABILITIES = 0x80000000
SINGLE, MULTI = 1, 9  # enum v4l2_buf_type: a buffer a frame, or one for each plane
MMAP = 1
PROGRESSIVE = 1  # enum v4l2_field
DAMAGED = 0x40  # V4L2_BUF_FLAG_ERROR
PLANES = 8


class _Capability(ctypes.Structure):
    _fields_ = [
        ("driver", ctypes.c_char * 16),
        ("card", ctypes.c_char * 32),
        ("bus", ctypes.c_char * 32),
        ("version", c_uint32),
        ("whole", c_uint32),
        ("own", c_uint32),
        ("reserved", c_uint32 * 3),
    ]


class _Described(ctypes.Structure):
    _fields_ = [
        ("index", c_uint32),
        ("type", c_uint32),
        ("flags", c_uint32),
        ("description", ctypes.c_char * 32),
        ("fourcc", c_uint32),
        ("reserved", c_uint32 * 4),
    ]


class _Plane(ctypes.Structure):
    _pack_ = 1
    _layout_ = "ms"
    _fields_ = [("size", c_uint32), ("stride", c_uint32), ("reserved", c_uint16 * 6)]


class _Single(ctypes.Structure):
    _fields_ = [(name, c_uint32) for name in ("width", "height", "fourcc", "field", "stride", "size")]


class _Multi(ctypes.Structure):
    _pack_ = 1
    _layout_ = "ms"
    _fields_ = [
        *((name, c_uint32) for name in ("width", "height", "fourcc", "field", "colorspace")),
        ("planes", _Plane * PLANES),
        ("num_planes", c_uint8),
    ]


class _Union(ctypes.Union):
    _fields_ = [("single", _Single), ("multi", _Multi), ("raw", c_uint64 * 25)]


class _Format(ctypes.Structure):
    _fields_ = [("type", c_uint32), ("of", _Union)]


class _Rate(ctypes.Structure):
    _fields_ = [(name, c_uint32) for name in ("type", "capability", "mode", "numerator", "denominator")]
    _fields_ += [("rest", c_uint32 * 46)]


class _Request(ctypes.Structure):
    _fields_ = [(name, c_uint32) for name in ("count", "type", "memory", "capabilities", "flags")]


class _Time(ctypes.Structure):
    _fields_ = [("s", ctypes.c_long), ("us", ctypes.c_long)]


class _BufferPlane(ctypes.Structure):
    _fields_ = [
        ("used", c_uint32),
        ("length", c_uint32),
        ("offset", c_uint64),
        ("data_offset", c_uint32),
        ("reserved", c_uint32 * 11),
    ]


class _Where(ctypes.Union):
    _fields_ = [("offset", c_uint32), ("planes", ctypes.POINTER(_BufferPlane))]


class _Buffer(ctypes.Structure):
    _fields_ = [
        *((name, c_uint32) for name in ("index", "type", "used", "flags", "field")),
        ("time", _Time),
        ("timecode", c_uint32 * 4),
        ("sequence", c_uint32),
        ("memory", c_uint32),
        ("at", _Where),
        ("length", c_uint32),
        ("reserved", c_uint32 * 2),
    ]


def _request(number: int, argument: Any, *, reads: bool = True, writes: bool = True) -> int:
    """Return an ioctl's number (asm-generic/ioctl.h)."""
    return (reads << 31) | (writes << 30) | (ctypes.sizeof(argument) << 16) | (ord("V") << 8) | number


QUERYCAP = _request(0, _Capability, writes=False)
ENUM_FMT = _request(2, _Described)
S_FMT = _request(5, _Format)
REQBUFS = _request(8, _Request)
QUERYBUF = _request(9, _Buffer)
QBUF = _request(15, _Buffer)
DQBUF = _request(17, _Buffer)
STREAMON = _request(18, ctypes.c_int, reads=False)
STREAMOFF = _request(19, ctypes.c_int, reads=False)
S_PARM = _request(22, _Rate)

# Python's mmap keeps the device open for as long as a view into it is left anywhere, and with it the camera's light.
if sys.platform == "linux":  # elsewhere what a camera needs is stated, and none is opened
    import fcntl

    _libc = ctypes.CDLL(None, use_errno=True)
    _libc.mmap.restype = ctypes.c_void_p
    _libc.mmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t, *(ctypes.c_int,) * 3, ctypes.c_long)
    _libc.munmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t)
_PROT_READ, _MAP_SHARED, _MAP_FAILED = 1, 1, ctypes.c_void_p(-1).value


class Description(NamedTuple):
    """What a device calls itself; `kind` is `camera`, or what it is instead, in words."""

    driver: str
    name: str
    bus: str
    kind: str


class PixelFormat(NamedTuple):
    """What frames are like: a FOURCC's name, pixels, bytes from row to row (0: no padding), v4l2_field."""

    name: str
    width: int
    height: int
    stride: int
    field: int


@dataclass(frozen=True, slots=True)
class Taken:
    """A frame in the driver's memory, uint8 (bytes,); `stamp` is seconds of its clock."""

    raw: Gray
    stamp: float
    damaged: bool


def _kind(capabilities: int) -> str:
    if capabilities & CONVERTER:
        return "a converter of pictures (a codec or scaler), no camera"
    if capabilities & (CAPTURE | CAPTURE_PLANES):
        return "camera"
    for bits, kind in (
        (METADATA, "a camera's metadata node, which gives data about the pictures and not the pictures"),
        (VBI, "for teletext, no camera"),
        (RADIO, "a radio, no camera"),
        (SOFTWARE_RADIO, "a software radio, no camera"),
        (TOUCH, "a touch screen, no camera"),
        (OUTPUT | OVERLAY, "a device that shows pictures, no camera"),
    ):
        if capabilities & bits:
            return kind
    return "no device that captures pictures"


class Device:
    """An open V4L2 device; what the kernel refuses is its OSError.

    It may be closed from another thread while one is in read(), whose deadline bounds close() too.
    """

    def __init__(self, path: str) -> None:
        """Open `path`, and change nothing in it."""
        self.closing = threading.Event()
        self.stuck = False  # a call that never returned kept close() from its work
        self._lock = threading.Lock()
        self._waking = threading.Lock()  # nobody wakes by a number that is another file's by now
        self._views: list[tuple[int, Gray]] = []  # address, uint8 (bytes,)
        self._began = False
        self._owed: list[int] = []  # buffers that the driver did not take back
        self._wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._type = SINGLE
        self._num_planes = 1
        try:
            self._file = os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError:
            os.close(self._wake)
            raise

    def _call(self, request: int, argument: Any) -> Any:
        """Ask the driver; what a signal interrupted is asked again."""
        while True:
            try:
                fcntl.ioctl(self._file, request, argument, True)
                return argument
            except InterruptedError:
                continue

    def describe(self) -> Description:
        """Ask what it is."""
        answer = self._call(QUERYCAP, _Capability())
        # A camera's nodes have all its capabilities in common; newer drivers name what this one has.
        capabilities = answer.own if answer.whole & OWN_CAPABILITIES else answer.whole
        if not capabilities & CAPTURE and capabilities & CAPTURE_PLANES:
            self._type = MULTI
        driver, name, bus = (raw.decode(errors="replace") for raw in (answer.driver, answer.card, answer.bus))
        return Description(driver, name, bus, _kind(capabilities))

    def formats(self) -> list[str]:
        """List the pixel formats that it can give, by name, in its own order."""
        names: list[str] = []
        for index in range(MOST_FORMATS):
            try:
                described = self._call(ENUM_FMT, _Described(index=index, type=self._type))
            except OSError as error:
                if error.errno not in (errno.EINVAL, errno.ENOTTY):
                    raise
                break
            names.append(name_of(described.fourcc))
        return list(dict.fromkeys(names))

    def is_busy(self) -> bool:
        """Give back the no buffers that we have: a device whose buffers are another's refuses even that."""
        try:
            self._call(REQBUFS, _Request(count=0, type=self._type, memory=MMAP))
        except OSError as error:
            return error.errno in (errno.EBUSY, errno.EAGAIN)
        return False

    def set_format(self, name: str, width: int, height: int, stride: int = 0) -> PixelFormat:
        """Ask for frames of a format and size, in rows of at least `stride` bytes; returns those that it gives."""
        wanted = _Format(type=self._type)
        of = wanted.of.multi if self._type == MULTI else wanted.of.single
        of.width, of.height, of.fourcc, of.field = width, height, fourcc_of(name), PROGRESSIVE
        rows = of.planes[0] if self._type == MULTI else of
        rows.stride = stride
        self._call(S_FMT, wanted)
        if self._type == MULTI:
            self._num_planes = min(max(of.num_planes, 1), PLANES)
        return PixelFormat(name_of(of.fourcc), of.width, of.height, rows.stride, of.field)

    def set_rate(self, fps: int) -> None:
        """Ask for a frame rate, of a device that has several."""
        try:
            self._call(S_PARM, _Rate(type=self._type, numerator=1, denominator=fps))
        except OSError as error:
            if error.errno not in (errno.EINVAL, errno.ENOTTY, errno.EIO):
                raise

    def start(self) -> None:
        """Map the driver's buffers, and let the frames come."""
        self._began = True
        count = self._call(REQBUFS, _Request(count=BUFFERS, type=self._type, memory=MMAP)).count
        if not count:
            raise OSError(errno.ENOMEM, os.strerror(errno.ENOMEM))
        for index in range(count):
            buffer, planes = self._buffer(index)
            self._call(QUERYBUF, buffer)
            # Luma is in the first buffer of a frame that has one for each plane.
            length, offset = (
                (planes[0].length, planes[0].offset) if self._type == MULTI else (buffer.length, buffer.at.offset)
            )
            address = _libc.mmap(None, length, _PROT_READ, _MAP_SHARED, self._file, offset)
            if address == _MAP_FAILED:
                raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
            memory = (c_uint8 * length).from_address(address)
            self._views.append((address, np.frombuffer(memory, np.uint8)))
            self._call(QBUF, self._buffer(index)[0])
        self._call(STREAMON, ctypes.c_int(self._type))

    def stop(self) -> None:
        """Stop the frames, and give the buffers back: another format may be asked for then."""
        if not self._began:
            return
        self._began = False
        with suppress(OSError):  # a device that was unplugged, or did not begin
            self._call(STREAMOFF, ctypes.c_int(self._type))
        while self._views:
            address, view = self._views.pop()
            _libc.munmap(address, view.size)
        self._owed.clear()
        with suppress(OSError):
            self._call(REQBUFS, _Request(count=0, type=self._type, memory=MMAP))

    def _buffer(self, index: int = 0) -> tuple[Any, Any]:
        buffer = _Buffer(index=index, type=self._type, memory=MMAP)
        planes = (_BufferPlane * PLANES)()
        if self._type == MULTI:
            buffer.at.planes = ctypes.cast(planes, ctypes.POINTER(_BufferPlane))
            buffer.length = self._num_planes
        return buffer, planes

    def read(self, timeout: float, take: Callable[[Taken], T]) -> T | None:
        """Wait for a frame and return what `take` makes of the newest; None where none comes in `timeout` seconds.

        The frame lies in the driver's memory, which is the driver's again when `take` returns. None too when closed.
        """
        with self._lock:
            self._offer()
            if self.closing.is_set() or not select.select([self._file, self._wake], [], [], timeout)[0]:
                return None
            newest: tuple[int, Taken] | None = None
            try:
                for _ in range(BUFFERS):  # more cannot have waited
                    if (next_one := self._dequeue()) is None:
                        break
                    older, newest = newest, next_one
                    if older is not None:
                        self._give_back(older[0])
                return take(newest[1]) if newest is not None else None
            finally:
                if newest is not None:
                    self._give_back(newest[0])

    def _give_back(self, index: int) -> None:
        """Let the driver fill a buffer again; one that it does not take now is offered before the next read."""
        self._owed.append(index)
        self._offer()

    def _offer(self) -> None:
        for owed in list(self._owed):
            with suppress(OSError):  # of a device that is gone, the next read says so
                self._call(QBUF, self._buffer(owed)[0])
                self._owed.remove(owed)

    def _dequeue(self) -> tuple[int, Taken] | None:
        buffer, planes = self._buffer()
        try:
            self._call(DQBUF, buffer)
        except BlockingIOError:
            return None
        first, used = (planes[0].data_offset, planes[0].used) if self._type == MULTI else (0, buffer.used)
        raw = self._views[buffer.index][1][first:used]
        return buffer.index, Taken(raw, buffer.time.s + buffer.time.us / 1e6, bool(buffer.flags & DAMAGED))

    def close(self) -> None:
        """Stop the frames, and let go of the device; may be called twice, and from another thread."""
        self.closing.set()
        with self._waking:
            if self._wake >= 0:
                os.eventfd_write(self._wake, 1)
        self.stuck = not self._lock.acquire(timeout=CLOSE_DEADLINE)
        if self.stuck:
            return
        try:
            if self._file < 0:
                return
            self.stop()
            with self._waking:
                for file in (self._file, self._wake):
                    os.close(file)
                self._file = self._wake = -1
        finally:
            self._lock.release()
