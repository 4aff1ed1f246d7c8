"""The real picamera2 on libcamera's virtual camera: `launch.py run ...` is cuelens' command, `-c CODE` is Python.

CUELENS_FREEZE=N: the camera completes N requests and then none any more, as one whose cable came loose.
"""

from __future__ import annotations

import itertools
import os
import sys
from typing import Any
from unittest.mock import MagicMock

# Of displays on DRM and of raw pictures: without wheels, and not used here.
for name in ("pykms", "pidng", "pidng.camdefs", "pidng.core"):
    sys.modules[name] = MagicMock()

import libcamera  # noqa: E402
import picamera2  # noqa: E402
from picamera2.allocators import LibcameraAllocator  # noqa: E402

from edge.cli import main  # noqa: E402
from edge.runtime import capture  # noqa: E402


class VirtualPicamera2(picamera2.Picamera2):
    """What the virtual pipeline has not: raw streams, and frames in one buffer that somebody else allocated."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.allocator = LibcameraAllocator(self.camera)

    def _get_raw_modes(self) -> list[dict[str, Any]]:
        return [{"format": "NV12", "size": (640, 480)}]


def freeze_after(count: int) -> None:
    """Let `count` requests through to libcamera; it would hold the others too until they are complete."""
    queue, numbers, held = libcamera.Camera.queue_request, itertools.count(1), []
    libcamera.Camera.queue_request = lambda *words: queue(*words) if next(numbers) <= count else held.append(words)


picamera2.Picamera2 = VirtualPicamera2
capture.CAMERA_TIMEOUT = 8.0
if count := os.environ.get("CUELENS_FREEZE"):
    freeze_after(int(count))
if sys.argv[1] == "-c":
    exec(sys.argv[2])
else:
    main()
