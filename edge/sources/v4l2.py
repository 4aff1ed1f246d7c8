"""USB and other V4L2 cameras: the format whose luma costs least, asked for and taken as the driver reports it."""

from __future__ import annotations

import errno
import re
import time
from collections.abc import Iterator
from pathlib import Path

from edge.errors import CameraLost, CameraMissing, SettingsInvalid
from edge.hardware import board
from edge.needs import Needs
from edge.settings import Settings
from edge.sources.pictures import decode
from edge.sources.pixels import CHEAP, COMPRESSED, FORMATS, KNOWN, VALID, PixelsInvalid, luma, weave
from edge.sources.v4l2_device import Description, Device, PixelFormat, Taken
from edge.types import Frame, Gray, on_capture_clock

FAILED_READS = 5  # in a row; a single damaged JPEG is no reason to stop
READ_TIMEOUT = 1.0  # seconds that a read waits for a frame
READ_DEADLINE = 3.0  # seconds without a frame
RAW_PIXELS = 640 * 480  # up to which every USB port carries raw frames; above, only JPEG reaches 30 fps

SYSTEM = board.ROOT
Identity = tuple[str, ...]  # of a camera, whatever its number

# The Raspberry Pi's camera system: its nodes stream only as libcamera sets them up.
PI_DRIVERS = ("unicam", "bcm2835-isp", "rp1-cfe", "pispbe")
GONE = (errno.ENODEV, errno.ENXIO)

_MODE = re.compile(r"(\d{2,4})x(\d{2,4})(?:@(\d{1,3}))?")


# What an argument was opened as last: after a reset of the bus, the same camera may have another number, and its own
# may be another's.
_opened_as: dict[str, Identity] = {}


class V4l2Source:
    """A V4L2 camera: `N` or `/dev/videoN`, empty for the first that works, and `,WIDTHxHEIGHT@FPS`.

    Opened again in the same process, it is the same camera, whatever its number is by then, as long as that is there.
    640x480 at 30 fps by default; the camera may settle on what it has. Always live.
    Raises SettingsInvalid or CameraMissing on opening; CameraLost from frames().
    """

    live = True
    announced: int | None = None

    @staticmethod
    def needs(argument: str, settings: Settings) -> Needs:
        """State that it is a camera of this device."""
        return Needs(groups={"video": "the camera"}, camera=True)

    def __init__(self, argument: str, *, live: bool = True) -> None:
        device, _, mode = argument.partition(",")
        match = _MODE.fullmatch(mode or "640x480@30")
        if match is None or not re.fullmatch(r"\d*|/dev/\S+", device):
            raise SettingsInvalid(
                f"--source v4l2:{argument}: not a camera; valid are v4l2, v4l2:0, v4l2:/dev/video2, v4l2:0,1280x720@30"
            )
        self._mode = (int(match[1]), int(match[2]), int(match[3] or 30))
        known = cameras()
        wanted = [f"/dev/video{device}" if device.isdecimal() else device] if device else known
        if (same := _opened_as.get(device)) is not None:
            found = [path for path in (*wanted, *known) if identify(path) == same]
            wanted = list(dict.fromkeys([*found, *wanted]))
        reasons = []
        asked = f"v4l2:{argument}" if argument else "v4l2"
        for path in wanted:
            reason = self._open(path, named=bool(device))
            if reason is None:
                if (identity := identify(path)) is not None:
                    _opened_as[device] = identity
                return
            if reason:
                reasons.append(f"{path} {reason}")
        if not known and not device:
            raise CameraMissing(
                f"{asked}: there is no /dev/video* device; plug in a USB camera, "
                "or use --source picamera for one on the ribbon cable"
            )
        if not reasons:
            reasons = ["none of the video devices is a USB camera; plug one in, or use --source picamera"]
        here = f"the devices here are {', '.join(known)}" if known else "there is no /dev/video* device here"
        raise CameraMissing(f"{asked}: {'; '.join(reasons)}; {here}")

    def _open(self, path: str, *, named: bool) -> str | None:
        """Open a device; returns why it is no camera, in words, nothing where nobody asked for it, None where it is."""
        if not Path(path).exists():
            return "does not exist"
        try:
            device = Device(path)
        except OSError as error:
            return explain(error, path, self._mode)
        try:
            reason = self._begin(device, path, named=named)
        except OSError as error:
            reason = explain(error, path, self._mode)
        if reason is not None:
            device.close()
        return reason

    def _begin(self, device: Device, path: str, *, named: bool) -> str | None:
        description = device.describe()
        if description.kind != "camera":
            return f"is {description.kind}{_camera_beside(description, path)}" if named else ""
        if description.driver in PI_DRIVERS and not named:
            return ""
        width, height, fps = self._mode
        offered = device.formats()
        order = in_order(offered, width * height)
        if offered and not order:
            return f"gives only {', '.join(offered)}; formats that can be read are {VALID}"
        reason: str | None = "takes none of the formats that can be read"
        for name in order or (*CHEAP, *COMPRESSED):
            self._format = device.set_format(name, width, height)
            if self._format.name not in KNOWN:
                reason = f"gives {self._format.name}; formats that can be read are {VALID}"
                continue
            device.set_rate(fps)
            try:
                device.start()
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    raise
                reason = explain(error, path, self._mode)  # JPEG may need less than there is
                device.stop()
                continue
            return self._try(device, path)
        return reason

    def _try(self, device: Device, path: str) -> str | None:
        """Read a first picture; returns why there is none. The first frames of many cameras are empty or damaged."""
        until = time.monotonic() + READ_DEADLINE
        reason = (
            f"streams {_words(self._format)}, but no frame came in {READ_DEADLINE:g} s; check its cable and its power"
        )
        for _ in range(FAILED_READS):
            try:
                if device.read(READ_TIMEOUT, self._take) is not None:
                    self._device, self._path = device, path
                    return None
            except PixelsInvalid as error:
                reason = f"streams {_words(self._format)}, but gives no picture: {error}"
            if time.monotonic() > until:
                break
        return reason

    def _take(self, taken: Taken) -> tuple[Gray, float]:
        if taken.damaged:
            raise PixelsInvalid("the driver marks its frames as damaged")
        name, width, height, stride, field = self._format
        return weave(luma(taken.raw, name, width, height, stride, decode), field), taken.stamp

    def frames(self) -> Iterator[Frame]:
        """Yield frames until closed, `t` from the driver's timestamp; raise CameraLost when they stop coming."""
        seq = failed = 0
        last, since = float("-inf"), time.monotonic()
        try:
            while not self._device.closing.is_set():
                why = "no frame came"
                read = None
                try:
                    read = self._device.read(READ_TIMEOUT, self._take)
                except PixelsInvalid as error:
                    why = str(error)
                except OSError as error:
                    if error.errno in GONE and not self._device.closing.is_set():
                        raise CameraLost(f"{self._path}: unplugged after frame {seq}; plug it in again") from error
                    why = error.strerror or str(error)
                now = time.monotonic()
                if read is None:
                    failed += 1
                    if self._device.closing.is_set():
                        return
                    if failed >= FAILED_READS or now - since > READ_DEADLINE:
                        raise CameraLost(
                            f"{self._path}: {failed} reads without a picture in {now - since:.1f} s after frame {seq} "
                            f"({why}); check the cable, then start again"
                        )
                    self._device.closing.wait(0.02)  # a driver that fails at once is not hammered
                    continue
                failed, since = 0, now
                gray, stamp = read
                last = max(last, on_capture_clock(stamp, now))
                yield Frame(gray, last, seq, now)
                seq += 1
        finally:
            self.close()

    @property
    def stuck(self) -> bool:
        """Whether close() left the camera open: the driver is still in a read."""
        return self._device.stuck

    def close(self) -> None:
        """Release the camera; may be called twice, and from another thread."""
        self._device.close()


def in_order(offered: list[str], pixels: int) -> list[str]:
    """Return the formats of those offered that can be read, the one to ask for first in front.

    Luma that lies ready costs nothing; JPEG costs its decoding, and is what fits through USB in a large picture.
    """
    ready = [name for name in CHEAP if name in offered]
    packed = [name for name in COMPRESSED if name in offered]
    others = [name for name in offered if name in FORMATS and name not in ready]
    return [*ready, *packed, *others] if pixels <= RAW_PIXELS else [*packed, *ready, *others]


def explain(error: OSError, path: str, mode: tuple[int, int, int]) -> str:
    """Return what the kernel's refusal of a camera means, and what to do."""
    match error.errno:
        case errno.EACCES | errno.EPERM:
            return "may not be opened (sudo usermod -aG video $USER, then log in again)"
        case errno.EBUSY:
            return f"is in use by another program; sudo fuser -v {path} names it: close that"
        case errno.ENOSPC:
            width, height, fps = mode
            return (
                f"finds too little USB bandwidth for {width}x{height} at {fps} fps ({error.strerror}); "
                f"ask for less (v4l2:{path},320x240@15), or plug it into a port of its own, without a hub"
            )
        case errno.ENOMEM | errno.ENOBUFS:
            return "finds too little memory for its frames; ask for a smaller picture, or close other programs"
        case errno.EPROTO | errno.EILSEQ | errno.ETIMEDOUT | errno.ETIME | errno.EPIPE | errno.EOVERFLOW | errno.EIO:
            return (
                f"does not answer as USB wants it ({error.strerror}); plug it in again, "
                "try another cable or port, and a stronger power supply"
            )
        case errno.ENODEV | errno.ENXIO:
            return "was unplugged while it was opened; plug it in again"
        case errno.ENOLINK:
            return "has no sensor linked to it; use --source picamera for a camera on the ribbon cable"
        case errno.ENOTTY | errno.EINVAL | errno.EISDIR:
            return f"does not open as a camera ({error.strerror})"
        case _:
            return f"cannot be used: {error.strerror}; plug it in again, then look at dmesg"


def _words(form: PixelFormat) -> str:
    return f"{form.name} of {form.width}x{form.height}"


def _camera_beside(description: Description, path: str) -> str:
    """Name the node of the same camera that gives the pictures, where there is one."""
    for other in cameras():
        try:
            device = Device(other)
        except OSError:
            continue
        try:
            beside = device.describe()
        except OSError:
            continue
        finally:
            device.close()
        if beside.kind == "camera" and (beside.bus, beside.name) == (description.bus, description.name):
            return f"; use v4l2:{other}"
    return ""


def cameras() -> list[str]:
    """List the video devices of this machine, in the order of their numbers."""
    paths = [str(path) for path in Path("/dev").glob("video*") if path.name[5:].isdecimal()]
    return sorted(paths, key=lambda path: int(path[10:]))


def identify(path: str) -> Identity | None:
    """Return what identifies a camera whatever its number: name, place among its nodes, USB's ids and serial.

    None where the kernel reports nothing of it.
    """
    return board.camera_identity(Path(path).resolve().name, SYSTEM)
