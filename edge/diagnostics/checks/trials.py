"""What may hang, die or take the camera's driver with it: run by `cuelens check` in processes of their own.

`python -m edge.diagnostics.checks.trials NAME [ARGUMENT...]` prints one line of JSON, with `error` where it fails.
"""

from __future__ import annotations

import fcntl
import json
import os
import socket
import sys
import time
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge.errors import CuelensError

if TYPE_CHECKING:
    from edge.vision.pipeline import Pipeline

I2C_SLAVE = 0x0703  # linux/i2c-dev.h
LOOK = 8.0  # seconds for which it searches for somebody before the camera


def try_picamera() -> dict[str, Any]:
    """List the cameras that libcamera sees through picamera2; opens none."""
    cameras = import_module("picamera2").Picamera2.global_camera_info()
    libcamera = import_module("libcamera")
    return {"cameras": [str(item.get("Model", "?")) for item in cameras], "libcamera": str(libcamera.__file__)}


def try_v4l2(*paths: str) -> dict[str, Any]:
    """Ask each device what it is, and whether another program streams from it; changes nothing in it."""
    from edge.sources.v4l2 import in_order
    from edge.sources.v4l2_device import Device

    devices: dict[str, Any] = {}
    for path in paths:
        try:
            device = Device(path)
        except OSError as error:
            devices[path] = {"error": error.strerror}
            continue
        try:
            description = device.describe()
            captures = description.kind == "camera"
            devices[path] = {"name": description.name, "kind": description.kind, "captures": captures}
            if captures:
                formats = device.formats()
                readable = not formats or bool(in_order(formats, 1))
                devices[path] |= {"busy": device.is_busy(), "formats": formats, "readable": readable}
        except OSError as error:
            devices[path] = {"error": error.strerror}
        finally:
            device.close()
    return {"devices": devices}


def try_picture(spec: str, rotate_deg: str, mirror: str, chip: str, light: str, sense: str) -> dict[str, Any]:
    """Open the camera, lit where it has a light, and look for faces: upright ones, and turned ones.

    `turned` is by how many degrees clockwise heads are turned, None where that is not seen; `faces` are upright.
    """
    from edge.hardware.light import open_light
    from edge.runtime.frame_check import is_black
    from edge.settings import CameraSettings, PinSettings
    from edge.sources import open_source
    from edge.system.quiet import tame_opencv

    tame_opencv()
    settings = CameraSettings(int(rotate_deg), mirror == "True")
    pipeline = _finding()
    lamp = open_light(PinSettings(chip=chip, light=int(light), light_sense=int(sense)))
    facts: dict[str, Any] = {"faces": 0, "turned": None, "black": True}
    source = None
    try:
        source = open_source(spec, live=True, light=lamp, camera=settings)
        until = time.monotonic() + LOOK
        for frame in source.frames():
            facts["size"] = frame.gray.shape[::-1]
            facts["black"] = facts["black"] and is_black(frame.gray)
            update = pipeline.process(frame)
            facts["faces"], facts["turned"] = len(update.faces), update.turned_deg
            if facts["faces"] or facts["turned"] is not None or time.monotonic() > until:
                break
    finally:
        if source is not None:
            source.close()
        if lamp is not None:
            lamp.close()
    return facts


def try_i2c(path: str, address: str) -> dict[str, Any]:
    """Read one byte from an address: of a display its status, which changes nothing."""
    bus = os.open(path, os.O_RDWR)
    try:
        fcntl.ioctl(bus, I2C_SLAVE, int(address))
        os.read(bus, 1)
    finally:
        os.close(bus)
    return {"answers": True}


def try_listen(host: str, port: str) -> dict[str, Any]:
    """Take a port of a host as a server does, and leave it; answers nobody."""
    found = socket.getaddrinfo(host or None, int(port), type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    family, kind, protocol, _, address = found[0]
    with socket.socket(family, kind, protocol) as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind(address)
    return {"listens": True}


def try_model(model: str, threads: str) -> dict[str, Any]:
    """Load the expression network, hold it to its contract, and read an embedded smile."""
    import numpy as np

    from edge.sources.demo import FACES
    from edge.system.quiet import tame_opencv
    from edge.vision.model import ExpressionModel

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
    from itertools import islice

    from edge.sources.demo import DemoSource
    from edge.system.quiet import tame_opencv

    tame_opencv()
    pipeline = _finding()
    return {"faces": max(len(pipeline.process(frame).faces) for frame in islice(DemoSource("1").frames(), 10))}


def _finding() -> Pipeline:
    """Return a run's pipeline without its expression network, which has a trial of its own."""
    from edge.settings import Settings
    from edge.vision.pipeline import Pipeline
    from edge.vision.sight import DeviceSight

    settings = Settings()
    return Pipeline(DeviceSight(settings.faces, None), (), settings.cue)


TRIALS: dict[str, Callable[..., dict[str, Any]]] = {
    "picamera": try_picamera,
    "v4l2": try_v4l2,
    "picture": try_picture,
    "i2c": try_i2c,
    "listen": try_listen,
    "model": try_model,
    "faces": try_faces,
}


def main(name: str, *arguments: str) -> None:
    """Print what a trial says, as JSON."""
    try:
        facts = TRIALS[name](*arguments)
    except CuelensError as error:
        facts = {"error": str(error), "cause": error.identify()}
    except Exception as error:  # a driver's or library's own, which is what was to be found out
        facts = {"error": (str(error).strip() or type(error).__name__).splitlines()[0]}
    print(json.dumps(facts))


if __name__ == "__main__":
    main(*sys.argv[1:])
