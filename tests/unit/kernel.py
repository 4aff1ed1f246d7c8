"""A kernel with cameras in it, as far as V4L2 is used: it answers the ioctls on a test's files as drivers do."""

from __future__ import annotations

import ctypes
import errno
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge.sources import v4l2_device
from edge.sources.pixels import FORMATS, fourcc_of, name_of
from edge.sources.v4l2_device import MULTI
from tests.support.pixels import lay_out

GRAY = np.random.default_rng(0).integers(0, 256, (48, 64), np.uint8)
WEBCAM, METADATA_NODE = 0x84A00001, 0x04200001
NAMES = ("QUERYCAP", "ENUM_FMT", "S_FMT", "REQBUFS", "QUERYBUF", "QBUF", "DQBUF", "STREAMON", "STREAMOFF", "S_PARM")
CALLS = {getattr(v4l2_device, name): name for name in NAMES}


@dataclass
class Camera:
    """A device; `frames` is what it gives one after the other: None for none in time, and `GRAY` ever after."""

    formats: tuple[str, ...] = ("YUYV", "MJPG")
    size: tuple[int, int] = (64, 48)
    driver: bytes = b"uvcvideo"
    card: bytes = b"Webcam"
    bus: bytes = b"usb-1"
    whole: int = WEBCAM
    own: int = METADATA_NODE & ~0x200000 | 0x1
    padding: int = 0
    interlacing: int = 1
    planes: int = 1
    age: float = 0.02  # seconds between the driver's stamp and the read
    refuses: dict[str, int] = field(default_factory=dict)  # by call, the error number
    refuses_format: dict[str, int] = field(default_factory=dict)  # of STREAMON, by format
    frames: Iterator[bytes | None] | None = None
    damaged: bool = False
    calls: list[str] = field(default_factory=list)
    asked: list[tuple[str, int, int]] = field(default_factory=list)
    fps: int = 0
    given: str = ""
    streams: bool = False
    buffers: list[Any] = field(default_factory=list)
    queue: list[int] = field(default_factory=list)

    def picture(self) -> bytes:
        """A frame of the format that was asked for."""
        rows = lay_out(self.given, np.dstack([GRAY] * 3)) if self.given in FORMATS else np.zeros((1, 10), np.uint8)
        return np.pad(rows, ((0, 0), (0, self.padding))).tobytes()

    def answer(self, call: str, argument: Any) -> None:
        """Do what a driver does."""
        self.calls.append(call)
        if call in self.refuses:
            raise OSError(self.refuses[call], os.strerror(self.refuses[call]))
        getattr(self, call.lower())(argument)

    def querycap(self, asked: Any) -> None:
        asked.driver, asked.card, asked.bus = self.driver, self.card, self.bus
        asked.whole, asked.own = self.whole, self.own

    def enum_fmt(self, asked: Any) -> None:
        if asked.index >= len(self.formats):
            raise OSError(errno.EINVAL, "Invalid argument")
        asked.fourcc = fourcc_of(self.formats[asked.index])

    def s_fmt(self, asked: Any) -> None:
        form = asked.of.multi if asked.type == MULTI else asked.of.single
        name = name_of(form.fourcc)
        self.asked.append((name, form.width, form.height))
        self.given = name if name in self.formats else self.formats[0]
        form.fourcc, (form.width, form.height), form.field = fourcc_of(self.given), self.size, self.interlacing
        stride = len(lay_out(self.given, np.zeros((1, *self.size[:1], 3), np.uint8))[0]) if self.given in FORMATS else 0
        if asked.type == MULTI:
            form.planes[0].stride, form.num_planes = stride + self.padding, self.planes
        else:
            form.stride = stride + self.padding

    def s_parm(self, asked: Any) -> None:
        self.fps = asked.denominator

    def reqbufs(self, asked: Any) -> None:
        assert not asked.count or not self.streams
        self.buffers = [ctypes.create_string_buffer(1 << 16) for _ in range(asked.count)]
        self.queue = []

    def querybuf(self, asked: Any) -> None:
        if asked.type == MULTI:
            assert asked.length == self.planes
            asked.at.planes[0].length, asked.at.planes[0].offset = 1 << 16, asked.index << 16
        else:
            asked.length, asked.at.offset = 1 << 16, asked.index << 16

    def qbuf(self, asked: Any) -> None:
        assert asked.index not in self.queue
        self.queue.append(asked.index)

    def dqbuf(self, asked: Any) -> None:
        assert self.streams
        if self.frames is not None:
            content = next(self.frames, None)
        else:
            content = None if len(self.queue) == 1 else self.picture()
        if content is None or not self.queue:
            raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")
        asked.index = self.queue.pop(0)
        ctypes.memmove(self.buffers[asked.index], content, len(content))
        asked.flags = v4l2_device.DAMAGED if self.damaged else 0
        stamp = time.monotonic() - self.age
        asked.time.s, asked.time.us = int(stamp // 1), int(stamp % 1 * 1e6)
        if asked.type == MULTI:
            asked.at.planes[0].used, asked.at.planes[0].data_offset = len(content), 0
        else:
            asked.used = len(content)

    def streamon(self, asked: Any) -> None:
        if self.given in self.refuses_format:
            raise OSError(self.refuses_format[self.given], os.strerror(self.refuses_format[self.given]))
        self.streams = True

    def streamoff(self, asked: Any) -> None:
        self.streams = False


class Kernel:
    """Cameras by the path of a file, which stands for their node."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.cameras: dict[str, Camera] = {}
        self.mapped: dict[int, int] = {}  # sizes by address
        monkeypatch.setattr(v4l2_device.fcntl, "ioctl", self._ioctl)
        monkeypatch.setattr(v4l2_device, "_libc", self)

    def plug(self, path: Path, camera: Camera) -> Camera:
        path.touch()
        self.cameras[str(path)] = camera
        return camera

    def _camera(self, file: int) -> Camera:
        return self.cameras[str(Path(f"/proc/self/fd/{file}").readlink())]

    def _ioctl(self, file: int, request: int, argument: Any, mutate: bool) -> int:
        self._camera(file).answer(CALLS[request], argument)
        return 0

    def mmap(self, _: None, length: int, protection: int, flags: int, file: int, offset: int) -> int:
        address = ctypes.addressof(self._camera(file).buffers[offset >> 16])
        self.mapped[address] = length
        return address

    def munmap(self, address: int, length: int) -> None:
        assert self.mapped.pop(address) == length
