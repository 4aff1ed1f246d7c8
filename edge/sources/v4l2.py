"""USB and other V4L2 cameras through OpenCV, read as luma without a detour over colour."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from edge.errors import CameraLost, CameraMissing, SettingsInvalid
from edge.sources.file import Capture, decode
from edge.types import Frame, Gray

FAILED_READS = 5  # in a row; a single damaged JPEG is no reason to stop
READ_DEADLINE = 3.0  # seconds without a frame
OLDEST_STAMP = 1.0  # seconds: a buffer's timestamp further back is of another clock

SYSFS = Path("/sys/class/video4linux")  # the kernel's: video0/name, video0/index, video0/device
Identity = tuple[str, ...]  # of a camera, whatever its number

_MODE = re.compile(r"(\d{2,4})x(\d{2,4})(?:@(\d{1,3}))?")


# What an argument was opened as last: after a reset of the bus, the same camera may have another number, and its own
# may be another's.
_opened_as: dict[str, Identity] = {}


class V4l2Source:
    """A V4L2 camera: `N` or `/dev/videoN`, empty for the first that works, and `,WIDTHxHEIGHT@FPS`.

    Opened again in the same process, it is the same camera, whatever its number is by then, as long as that is there.
    640x480 at 30 fps unless said; the camera may settle on what it has. Always live.
    Raises SettingsInvalid or CameraMissing on opening; CameraLost from frames().
    """

    live = True
    announced: int | None = None

    def __init__(self, argument: str, *, live: bool = True) -> None:
        device, _, mode = argument.partition(",")
        match = _MODE.fullmatch(mode or "640x480@30")
        if match is None or not re.fullmatch(r"\d*|/dev/\S+", device):
            raise SettingsInvalid(
                f"--source v4l2:{argument}: not a camera; valid are v4l2, v4l2:0, v4l2:/dev/video2, v4l2:0,1280x720@30"
            )
        self._mode = (int(match[1]), int(match[2]), int(match[3] or 30))
        # The driver's own wait for a frame is 10 s; OpenCV reads this once, before its first wait.
        os.environ.setdefault("OPENCV_VIDEOIO_V4L_SELECT_TIMEOUT", "1")
        known = cameras()
        wanted = [f"/dev/video{device}" if device.isdecimal() else device] if device else known
        if (same := _opened_as.get(device)) is not None:
            found = [path for path in (*wanted, *known) if identify(path) == same]
            wanted = list(dict.fromkeys([*found, *wanted]))
        reasons = []
        for path in wanted:
            reason = self._open(path)
            if reason is None:
                if (identity := identify(path)) is not None:
                    _opened_as[device] = identity
                return
            reasons.append(f"{path} {reason}")
        if not known:
            raise CameraMissing(
                f"v4l2:{argument}: there is no /dev/video* device; plug in a USB camera, "
                "or use --source picamera for one on the ribbon cable"
            )
        raise CameraMissing(f"v4l2:{argument}: {'; '.join(reasons)}; the devices here are {', '.join(known)}")

    def _open(self, path: str) -> str | None:
        if not Path(path).exists():
            return "does not exist"
        if not os.access(path, os.R_OK | os.W_OK):
            return "may not be opened (sudo usermod -aG video $USER, then log in again)"
        width, height, fps = self._mode
        # Up to VGA every USB port carries raw frames, whose luma costs nothing; above, only JPEG reaches 30 fps.
        fourcc = "YUYV" if width * height <= 640 * 480 else "MJPG"
        options = [
            *(cv2.CAP_PROP_FOURCC, cv2.VideoWriter.fourcc(*fourcc)),
            *(cv2.CAP_PROP_FRAME_WIDTH, width),
            *(cv2.CAP_PROP_FRAME_HEIGHT, height),
            *(cv2.CAP_PROP_FPS, fps),
            *(cv2.CAP_PROP_BUFFERSIZE, 1),
            *(cv2.CAP_PROP_CONVERT_RGB, 0),
        ]
        capture = Capture(path, cv2.CAP_V4L2, options)
        if not capture.opened:
            capture.close()
            return "does not open as a camera (another program may be using it)"
        self._height = int(capture.get(cv2.CAP_PROP_FRAME_HEIGHT))
        self._width = int(capture.get(cv2.CAP_PROP_FRAME_WIDTH))
        for _ in range(FAILED_READS):  # the first frames of many cameras are empty or damaged
            if self._read(capture) is not None:
                self._capture, self._path = capture, path
                return None
        capture.close()
        return "opens but gives no picture"

    def _read(self, capture: Capture) -> Gray | None:
        raw = capture.read()
        return None if raw is None else luma(raw, self._width, self._height)

    def frames(self) -> Iterator[Frame]:
        """Yield frames until closed, `t` from the driver's timestamp; raise CameraLost when they stop coming."""
        seq = failed = 0
        last, since = float("-inf"), time.monotonic()
        try:
            while not self._capture.closing.is_set():
                gray = self._read(self._capture)
                now = time.monotonic()
                if gray is None:
                    failed += 1
                    if self._capture.closing.is_set():
                        return
                    if failed >= FAILED_READS or now - since > READ_DEADLINE:
                        raise CameraLost(
                            f"{self._path}: {failed} reads without a picture in {now - since:.1f} s after frame {seq}; "
                            "check the cable, then start again"
                        )
                    self._capture.closing.wait(0.02)  # a driver that fails at once is not hammered
                    continue
                failed, since = 0, now
                age = now - self._capture.get(cv2.CAP_PROP_POS_MSEC) / 1000
                last = max(last, now - age if 0 <= age <= OLDEST_STAMP else now)
                yield Frame(gray, last, seq, now)
                seq += 1
        finally:
            self.close()

    @property
    def stuck(self) -> bool:
        """Whether close() gave up: the driver is still in a read."""
        return self._capture.stuck

    def close(self) -> None:
        """Release the camera; may be called twice, and from another thread."""
        self._capture.close()


def cameras() -> list[str]:
    """List the video devices of this machine, in the order of their numbers."""
    paths = [str(path) for path in Path("/dev").glob("video*") if path.name[5:].isdecimal()]
    return sorted(paths, key=lambda path: int(path[10:]))


def identify(path: str) -> Identity | None:
    """Return what tells a camera from others by whatever number: name, place among its nodes, USB's ids and serial.

    None where the kernel says nothing of it.
    """
    node = SYSFS / Path(path).resolve().name

    def read(file: Path) -> str:
        try:
            return file.read_text(errors="replace").strip()
        except OSError:
            return ""

    device = (node / "device").resolve().parent  # of a USB camera, whose interface the node's device is
    identity = (
        read(node / "name"),
        read(node / "index"),
        *(read(device / key) for key in ("idVendor", "idProduct", "serial")),
    )
    return identity if identity[0] else None


def luma(raw: Gray, width: int, height: int) -> Gray | None:
    """Take the luma out of what a camera delivers: uint8 contiguous (height, width), None for what has none.

    Understands JPEG bytes (1, n), YUYV (h, w, 2), gray (h, w), planar 4:2:0 (h * 3/2, w) and BGR (h, w, 3).
    """
    if not raw.size:
        return None
    if raw.ndim == 3 and raw.shape[2] == 2:
        return np.asarray(cv2.extractChannel(raw, 0), np.uint8)
    if raw.ndim == 3:
        return np.asarray(cv2.cvtColor(raw, cv2.COLOR_BGR2GRAY), np.uint8) if raw.shape[2] == 3 else None
    if raw.shape[0] == 1 or raw.ndim == 1:
        return decode(raw)
    return raw[:height, :width].copy()
