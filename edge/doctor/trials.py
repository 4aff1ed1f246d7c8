"""What may hang, die or take the camera's driver with it: run by the doctor in processes of their own.

`python -m edge.doctor.trials NAME [ARGUMENT...]` prints one line of JSON, with `error` where it fails.
"""

from __future__ import annotations

import fcntl
import json
import os
import struct
import sys
import time
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

from edge.errors import CuelensError

# linux/videodev2.h
VIDIOC_QUERYCAP, VIDIOC_REQBUFS = 0x80685600, 0xC0145608
CAPABILITY = struct.Struct("<16s32s32sIII12x")
REQUEST = struct.Struct("<IIIIB3x")
CAPTURE, MEMORY_TO_MEMORY, OWN_CAPABILITIES = 0x1, 0x8000 | 0x4000, 0x80000000
MMAP = 1

I2C_SLAVE = 0x0703  # linux/i2c-dev.h


def try_picamera() -> dict[str, Any]:
    """List the cameras that libcamera sees through picamera2; opens none."""
    cameras = import_module("picamera2").Picamera2.global_camera_info()
    libcamera = import_module("libcamera")
    return {"cameras": [str(item.get("Model", "?")) for item in cameras], "libcamera": str(libcamera.__file__)}


def try_v4l2(*paths: str) -> dict[str, Any]:
    """Ask each device what it is, and whether another program streams from it; changes nothing in it."""
    devices: dict[str, Any] = {}
    for path in paths:
        try:
            device = os.open(path, os.O_RDWR | os.O_NONBLOCK)
        except OSError as error:
            devices[path] = {"error": error.strerror}
            continue
        try:
            answer = fcntl.ioctl(device, VIDIOC_QUERYCAP, bytes(CAPABILITY.size))
            _, card, _, _, whole, own = CAPABILITY.unpack(answer)
            capabilities = own if whole & OWN_CAPABILITIES else whole
            captures = bool(capabilities & CAPTURE) and not capabilities & MEMORY_TO_MEMORY
            devices[path] = {"name": card.split(b"\0")[0].decode(errors="replace"), "captures": captures}
            if captures:
                devices[path]["busy"] = _is_busy(device)
        except OSError as error:
            devices[path] = {"error": error.strerror}
        finally:
            os.close(device)
    return {"devices": devices}


def _is_busy(device: int) -> bool:
    """Give back the no buffers that we have: a device whose buffers are another's refuses even that."""
    try:
        fcntl.ioctl(device, VIDIOC_REQBUFS, REQUEST.pack(0, CAPTURE, MMAP, 0, 0))
    except BlockingIOError:
        return True
    except OSError as error:
        return error.errno == 16  # EBUSY
    return False


def try_i2c(path: str, address: str) -> dict[str, Any]:
    """Read one byte from an address: of a display its status, which changes nothing."""
    bus = os.open(path, os.O_RDWR)
    try:
        fcntl.ioctl(bus, I2C_SLAVE, int(address))
        os.read(bus, 1)
    finally:
        os.close(bus)
    return {"answers": True}


def try_model(model: str, threads: str) -> dict[str, Any]:
    """Load the expression network, hold it to its contract, and read an embedded smile."""
    import numpy as np

    from edge.model import ExpressionModel
    from edge.quiet import tame_opencv
    from edge.sources.demo import FACES

    tame_opencv()
    network = ExpressionModel(Path(model) if model else None, int(threads))
    with np.load(FACES) as table:
        faces = dict(zip(table["classes"].tolist(), table["faces"], strict=True))
    network.read(faces["happy"])
    begun = time.perf_counter()
    probabilities = network.read(faces["happy"])
    ms = 1000 * (time.perf_counter() - begun)
    best = max(range(len(probabilities)), key=probabilities.__getitem__)
    return {
        "name": network.path.name,
        "sha256": network.contract.sha256,
        "runtime": network.runtime,
        "delegate": network.delegate,
        "labels": network.contract.labels,
        "label": network.contract.labels[best],
        "probability": round(probabilities[best], 3),
        "ms": round(ms, 2),
    }


def try_faces() -> dict[str, Any]:
    """Find the demo's person in a frame, with the cascade and the verifier that a run has."""
    from edge.config import FaceSettings
    from edge.faces import FaceFinder
    from edge.quiet import tame_opencv
    from edge.sources.demo import DemoSource

    tame_opencv()
    source, finder = DemoSource("1"), FaceFinder(FaceSettings())
    found = max(len(finder.find(source.render(seq), seq / 30)) for seq in range(10))
    return {"faces": found}


TRIALS: dict[str, Callable[..., dict[str, Any]]] = {
    "picamera": try_picamera,
    "v4l2": try_v4l2,
    "i2c": try_i2c,
    "model": try_model,
    "faces": try_faces,
}


def main(name: str, *arguments: str) -> None:
    """Print what a trial says, as JSON."""
    try:
        told = TRIALS[name](*arguments)
    except CuelensError as error:
        told = {"error": str(error)}
    except Exception as error:  # a driver's or library's own, which is what was to be found out
        told = {"error": (str(error).strip() or type(error).__name__).splitlines()[0]}
    print(json.dumps(told))


if __name__ == "__main__":
    main(*sys.argv[1:])
