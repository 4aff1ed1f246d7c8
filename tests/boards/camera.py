"""On the emulated board: vivid, the kernel's own camera, its switches, and runs of Cuelens on it."""

import contextlib
import ctypes
import fcntl
import json
import os
import struct
import subprocess
import sys
import traceback
from pathlib import Path
from typing import Any

import ai_edge_litert.interpreter  # noqa: F401  # like some of edge's: for the runs

import edge.cli
import edge.hardware.button
import edge.hardware.light
import edge.runtime.run
import edge.sinks.log
import edge.vision.finders.haar
from edge.diagnostics.status import ask
from edge.sources.v4l2 import V4l2Source
from edge.types import Frame

DELETE_MODULE, FINIT_MODULE = 106, 273  # of arm64's system calls
# linux/videodev2.h: VIDIOC_QUERYCTRL with v4l2_queryctrl, VIDIOC_S_CTRL with v4l2_control
QUERY, SET = 0xC0445624, 0xC008561C
QUERIED = struct.Struct("II32siiiiI8x")
NEXT = 0x80000000
DRIVER = Path("/sys/bus/platform/drivers/vivid")


def load(planes: int = 1) -> None:
    """Load the modules; vivid has one node, which captures, into a buffer for all planes or one for each (2)."""
    kernel = ctypes.CDLL(None, use_errno=True)
    loaded = Path("/sys/module/vivid").exists()
    if loaded and kernel.syscall(DELETE_MODULE, b"vivid", os.O_NONBLOCK):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), "vivid")
    for path in sorted(Path("/modules").iterdir())[-1 if loaded else 0 :]:
        file = os.open(path, os.O_RDONLY)
        options = f"node_types=0x1 multiplanar={planes}".encode() if path.name.endswith("-vivid.ko") else b""
        if kernel.syscall(FINIT_MODULE, file, options, 0):
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), str(path))
        os.close(file)


def nodes() -> list[str]:
    """The video devices."""
    return sorted(str(path) for path in Path("/dev").glob("video*"))


def switch(name: str, value: int = 0) -> None:
    """Set one of the driver's controls, or press it."""
    device = os.open(nodes()[-1], os.O_RDWR | os.O_NONBLOCK)
    try:
        found, number = b"", 0
        while found != name.encode():
            answer = bytearray(QUERIED.pack(number | NEXT, 0, b"", 0, 0, 0, 0, 0))
            fcntl.ioctl(device, QUERY, answer)
            number, _, text, *_ = QUERIED.unpack(answer)
            found = text.rstrip(b"\0")
        fcntl.ioctl(device, SET, struct.pack("Ii", number, value))
    finally:
        os.close(device)


def unbind() -> None:
    """Take the device from its driver, as pulling the plug does."""
    (DRIVER / "unbind").write_text("vivid.0")


def bind() -> None:
    """Plug it in."""
    (DRIVER / "bind").write_text("vivid.0")


def frames(argument: str, count: int) -> list[Frame]:
    """The first frames of a camera."""
    source = V4l2Source(argument)
    try:
        return [frame for frame, _ in zip(source.frames(), range(count), strict=False)]
    finally:
        source.close()


def formats(*folders: str) -> dict[str, Any]:
    """What formats.py says, in a process that finds OpenCV in the first of the folders."""
    environment = {**os.environ, "PYTHONPATH": ":".join((*folders, "/opt"))}
    command = [sys.executable, "-P", "/opt/formats.py"]  # -P: /opt is not looked into before the folders
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr[-2000:])
    return dict(json.loads(done.stdout))


class Run:
    """A `cuelens run` on a camera and into a log, in a process of its own: forked, since importing takes seconds."""

    def __init__(self, source: str) -> None:
        for name in ("/tmp/log", "/tmp/said", "/tmp/status"):
            Path(name).unlink(missing_ok=True)
        Path("/tmp/log").touch()
        Path("/tmp/said").touch()
        self.code: int | None = None
        self.pid = os.fork()
        if self.pid == 0:
            os.dup2(os.open("/tmp/said", os.O_WRONLY | os.O_APPEND), 2)
            os.dup2(2, 1)
            code = 1
            try:
                edge.cli.main(["run", "--source", source, "--sink", "log:/tmp/log", "--status", "/tmp/status"])
            except SystemExit as end:
                code = end.code if isinstance(end.code, int) else 1
            except BaseException:
                traceback.print_exc()
            sys.stdout.flush()
            os._exit(code)

    def lines(self) -> list[tuple[int | None, str]]:
        """Number and state of each line of the log that is whole."""
        whole = Path("/tmp/log").read_text().split("\n")[:-1]
        return [(line["seq"], line["state"]) for line in map(json.loads, whole)]

    def said(self) -> str:
        return Path("/tmp/said").read_text()

    def losses(self) -> int:
        """How often the camera was lost, as the run's status states."""
        return int(ask(Path("/tmp/status"))["camera_losses"])

    def opens(self) -> bool:
        """Whether it has a video device open."""
        for path in Path(f"/proc/{self.pid}/fd").iterdir():
            with contextlib.suppress(FileNotFoundError):  # closed just now
                if str(path.readlink()).startswith("/dev/video"):
                    return True
        return False

    def ended(self) -> int | None:
        """Its exit code; None while it lives."""
        if self.code is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            self.code = os.waitstatus_to_exitcode(status) if pid else None
        return self.code
