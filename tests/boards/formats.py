"""On the emulated board: every pixel format that vivid gives, through the device and the table of formats, as JSON.

It is started again for each OpenCV, which PYTHONPATH names.
"""

from __future__ import annotations

import json
from itertools import pairwise

import cv2
import numpy as np

from edge.sources.pixels import FORMATS, luma
from edge.sources.v4l2_device import Device, PixelFormat, Taken
from edge.types import Gray

PATH, WIDTH, HEIGHT = "/dev/video0", 640, 360
BARS = 8


def take(device: Device, name: str, stride: int = 0) -> tuple[PixelFormat, Gray]:
    """Read a frame of a format: what the driver gives, and its luma."""
    form = device.set_format(name, WIDTH, HEIGHT, stride)

    def decode(taken: Taken) -> Gray:
        return luma(taken.raw, form.name, form.width, form.height, form.stride)

    device.start()
    try:
        while (gray := device.read(2.0, decode)) is None:
            pass
        return form, gray
    finally:
        device.stop()


def profile(gray: Gray) -> list[float]:
    """The levels in the middle of each of as many columns as the test picture has bars."""
    edges = np.linspace(0, gray.shape[1], BARS + 1)
    return [round(float(np.median(gray[100:200, round(a) + 20 : round(b) - 20])), 1) for a, b in pairwise(edges)]


def main() -> None:
    """Print what each format gives, and YUYV in rows that are padded."""
    device = Device(PATH)
    device.describe()
    offered = device.formats()
    taken = {name: take(device, name) for name in offered if name in FORMATS}
    padded, gray = take(device, "YUYV", 2 * WIDTH + 64)
    device.close()
    pictures = {name: plane for name, (_, plane) in taken.items()} | {"padded": gray}
    said = {
        "opencv": cv2.__version__,
        "offered": offered,
        "given": {name: form.name for name, (form, _) in taken.items()},
        "stride": padded.stride,
        "shapes": sorted({plane.shape for plane in pictures.values()}),
        "levels": {name: profile(plane) for name, plane in pictures.items()},
    }
    print(json.dumps(said))


if __name__ == "__main__":
    main()
