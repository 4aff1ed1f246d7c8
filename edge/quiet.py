"""Keeps native libraries' chatter off the terminal: what fails is said in one line of ours."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def quiet() -> Iterator[None]:
    """Send what is written to file descriptors 1 and 2 nowhere; exceptions still come through."""
    sys.stdout.flush()
    sys.stderr.flush()
    kept = os.dup(1), os.dup(2)
    with Path(os.devnull).open("wb") as nowhere:
        os.dup2(nowhere.fileno(), 1)
        os.dup2(nowhere.fileno(), 2)
    try:
        yield
    finally:
        sys.stdout.flush()
        for stream, descriptor in enumerate(kept, 1):
            os.dup2(descriptor, stream)
            os.close(descriptor)


def hush_opencv() -> None:
    """Keep OpenCV's and FFmpeg's own warnings off the terminal: what fails is said in one line of ours."""
    import cv2

    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    # It moved between 4.11 and 4.14, and the stubs know neither place.
    quieter = getattr(cv2, "setLogLevel", None) or getattr(getattr(cv2.utils, "logging", None), "setLogLevel", None)
    if quieter is not None:
        quieter(0)
