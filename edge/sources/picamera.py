"""The Raspberry Pi camera through picamera2: the luma plane of its low-resolution stream, nothing converted."""

from __future__ import annotations

import queue
import re
import threading
import time
from collections.abc import Iterator
from importlib import import_module
from typing import Any

import numpy as np

from edge.errors import CameraLost, CameraMissing, RuntimeMissing, SettingsInvalid
from edge.needs import Needs, from_system
from edge.settings import Settings
from edge.types import Frame, Gray, on_capture_clock

SIZE = (640, 480)
FPS = 30
FRAME_DEADLINE = 2.0  # seconds: sixty frames missed at 30 fps; the first frame takes up to one second
CLOSE_DEADLINE = 2.0  # seconds that a stuck camera may delay an exit

_INSTALL = f"{from_system('python3-picamera2')}, in a venv made with --system-site-packages"


class PicameraSource:
    """Camera `argument` ("" or "0" is the first), 640x480 luma at 30 fps, always live.

    `flips` says whether left and right are exchanged, and up and down.

    Raises RuntimeMissing, CameraMissing or SettingsInvalid on opening; CameraLost from frames().
    """

    live = True
    announced: int | None = None
    stuck = False
    flips = True  # by itself: the sensor reads its rows and columns the other way round

    @staticmethod
    def needs(argument: str, settings: Settings) -> Needs:
        """State that it is a camera of this device."""
        return Needs(groups={"video": "the camera"}, camera=True)

    def __init__(self, argument: str, *, live: bool = True, flips: tuple[bool, bool] = (False, False)) -> None:
        if not re.fullmatch(r"\d{0,2}", argument):
            raise SettingsInvalid(f"--source picamera:{argument}: no camera number; valid are picamera, picamera:1")
        self._closing = threading.Event()
        self._begin_close = threading.Lock()
        self._closer: threading.Thread | None = None
        self._in_use = threading.Lock()  # of the buffers: nobody closes the camera under a copy
        self._ready: queue.SimpleQueue[Any] = queue.SimpleQueue()  # the finished job; None wakes for closing
        try:
            self._picamera2 = import_module("picamera2")
        except (ImportError, OSError, ValueError) as error:  # ValueError: compiled parts built for another numpy
            raise RuntimeMissing(f"picamera2 cannot be imported ({_short(error)}); {_INSTALL}") from error
        number = int(argument or 0)
        try:
            known = self._picamera2.Picamera2.global_camera_info()
        except (RuntimeError, OSError) as error:
            raise CameraMissing(f"picamera: no list of cameras ({_short(error)}); try rpicam-hello") from error
        if number >= len(known):
            seen = ", ".join(f"{i} {item.get('Model', '?')}" for i, item in enumerate(known)) or "none"
            raise CameraMissing(
                f"picamera: no camera {number}; found: {seen}; power off, check the ribbon cable, then try rpicam-hello"
            )
        self._camera: Any = None
        try:
            self._camera = self._picamera2.Picamera2(number)
            # The main stream is not read, but the other may not be larger than it. A preview's luma has the
            # full range of 0 to 255 that the network was trained on; a small video's has 16 to 235.
            pace = {"FrameDurationLimits": (1_000_000 // FPS,) * 2}
            settings = self._camera.create_preview_configuration(
                main={"size": SIZE},
                lores={"size": SIZE, "format": "YUV420"},
                buffer_count=4,
                controls=pace if "FrameDurationLimits" in self._camera.camera_controls else {},
                **({"transform": self._transform(flips)} if any(flips) else {}),
            )
            self._camera.configure(settings)
            configured = self._camera.camera_configuration()
            stream = configured["lores"]
            got = configured.get("transform")
            done = (bool(getattr(got, "hflip", False)), bool(getattr(got, "vflip", False)))
            # What a sensor cannot do is done in the copy of its rows.
            self._order = tuple(
                slice(None, None, -1 if wanted != is_done else 1)
                for wanted, is_done in zip(reversed(flips), reversed(done), strict=True)
            )
            if not re.match(r"(YUV|YVU|NV)\d", stream["format"]):  # planes, of which the first is luma
                raise CameraMissing(f"picamera: camera {number} gives {stream['format']}, no YUV420; try --source v4l2")
            self._width, self._height = stream["size"]
            self._stride = stream["stride"]
            self._camera.start()
        except (RuntimeError, OSError, KeyError, TypeError, ValueError) as error:
            self.close()
            if isinstance(error, CameraMissing):
                raise
            raise CameraMissing(
                f"picamera: camera {number} does not start ({_short(error)}); another program may hold it: "
                "close it, or use --source v4l2 for a USB camera"
            ) from error

    @staticmethod
    def _transform(flips: tuple[bool, bool]) -> Any:
        return import_module("libcamera").Transform(hflip=flips[0], vflip=flips[1])

    def frames(self) -> Iterator[Frame]:
        """Yield frames until closed, `t` from the sensor's own timestamp; raise CameraLost when they stop coming."""
        last = float("-inf")
        seq = 0
        try:
            while (captured := self._capture(seq)) is not None:
                gray, metadata = captured
                arrived = time.monotonic()
                last = max(last, monotonic_of(metadata.get("SensorTimestamp"), arrived))
                yield Frame(gray, last, seq, arrived)
                seq += 1
        finally:
            self.close()

    def _capture(self, seq: int) -> tuple[Gray, dict[str, Any]] | None:
        if self._closing.is_set():
            return None
        # capture_request() itself can wait without an end, and its timeout is younger than many installed versions:
        # only the signal function is in all of them.
        try:
            self._camera.capture_request(wait=False, signal_function=self._ready.put)
            job = self._ready.get(timeout=FRAME_DEADLINE)
            if job is None or self._closing.is_set():
                return None
            with self._in_use:
                if self._closing.is_set():
                    return None
                request = job.get_result()
                try:
                    return self._luma(request), request.get_metadata()
                finally:
                    request.release()
        except queue.Empty:
            why = f"no frame for {FRAME_DEADLINE:g} s"
        except Exception as error:  # picamera2 passes on whatever libcamera, numpy or mmap raised
            if self._closing.is_set():
                return None
            why = _short(error)
        raise CameraLost(f"picamera: {why} after frame {seq}; check the ribbon cable and the power supply")

    def _luma(self, request: Any) -> Gray:
        with self._picamera2.MappedArray(request, "lores", reshape=False) as mapped:
            # The one copy: rows are padded, and the buffer goes back. A view with a name would outlive the mapping.
            rows = self._height, self._stride
            gray: Gray = mapped.array[: self._stride * self._height].reshape(rows)[:, : self._width][self._order].copy()
        return gray

    def close(self) -> None:
        """Stop and release the camera, within CLOSE_DEADLINE even when its driver hangs."""
        with self._begin_close:
            if not self._closing.is_set():
                self._closing.set()
                self._ready.put(None)
                if self._camera is not None:
                    self._closer = threading.Thread(target=self._close_camera, name="picamera-close", daemon=True)
                    self._closer.start()
        if self._closer is not None:  # whoever closes waits: what is to happen after it must not happen before
            self._closer.join(CLOSE_DEADLINE)
            self.stuck = self._closer.is_alive()

    def _close_camera(self) -> None:
        with self._in_use:
            # A capture that never finished would keep its place before the stop order in picamera2's queue.
            flush = getattr(self._camera, "cancel_all_and_flush", None)
            if flush is not None:
                flush()
            self._camera.close()


def monotonic_of(stamp_ns: object, now: float) -> float:
    """Put a sensor timestamp (ns, of CLOCK_BOOTTIME or CLOCK_MONOTONIC) on time.monotonic()'s line, in seconds.

    `now` itself where the stamp is missing, of the future or older than OLDEST_STAMP.
    """
    if not isinstance(stamp_ns, (int, np.integer)) or not 0 < stamp_ns < 1 << 63:
        return now
    asleep = time.clock_gettime(time.CLOCK_BOOTTIME) - time.monotonic()  # differ by the time suspended
    of_boot = on_capture_clock(float(stamp_ns) * 1e-9 - asleep, now)
    return of_boot if of_boot != now else on_capture_clock(float(stamp_ns) * 1e-9, now)


def _short(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
