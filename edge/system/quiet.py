"""Keeps native libraries quiet and plain: what fails is one line of ours."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def quiet() -> Iterator[None]:
    """Send what is written to file descriptors 1 and 2 nowhere; exceptions still come through."""
    _flush()
    kept = os.dup(1), os.dup(2)
    with Path(os.devnull).open("wb") as nowhere:
        os.dup2(nowhere.fileno(), 1)
        os.dup2(nowhere.fileno(), 2)
    try:
        yield
    finally:
        _flush()
        for stream, descriptor in enumerate(kept, 1):
            os.dup2(descriptor, stream)
            os.close(descriptor)


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):  # who wrote there got the error
            stream.flush()


def tame_opencv() -> None:
    """Make OpenCV silent and plain: one thread, no OpenCL, no IPP, as on the device; before its first use."""
    import cv2

    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    # It moved between 4.11 and 4.14, and the stubs know neither place.
    quieter = getattr(cv2, "setLogLevel", None) or getattr(getattr(cv2.utils, "logging", None), "setLogLevel", None)
    if quieter is not None:
        quieter(0)
    # Neither exists on Arm: here they would only cost 7 MB and make other pixels than the device's.
    os.environ.setdefault("OPENCV_OPENCL_RUNTIME", "disabled")
    os.environ.setdefault("OPENCV_IPP", "disabled")
    cv2.setNumThreads(1)  # the budget is one core for the loop
