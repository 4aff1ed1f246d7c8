"""What the PyPI package fer costs a frame; run by `cuelens-bench --peer fer` with the Python of .venv-peer-fer.

By hand: `.venv-peer-fer/bin/python -I benchmarks/peers/fer.py CLIP` (without -I this file would be `fer` itself).
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

# One thread everywhere, as the device's loop has; libraries read these when they are imported.
for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"):
    os.environ[_name] = "1"
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure fer on a clip; prints JSON.")
    parser.add_argument("clip")
    parser.add_argument("--repeat", type=int, default=1, help="times the clip is played")
    parser.add_argument("--frames", type=int, help="measure at most so many")
    parser.add_argument("--warmup", type=int, default=60, help="frames before, from the clip's beginning, not measured")
    args = parser.parse_args()

    import cv2
    import tensorflow
    from fer.fer import FER  # type: ignore[import-not-found]  # in its own environment

    cv2.setNumThreads(1)
    detector = FER(mtcnn=False)
    for _ in _results(detector, args.clip, 1, args.warmup):
        pass
    frames = frames_with_face = faces = 0
    begun = time.process_time()
    for found in _results(detector, args.clip, args.repeat, args.frames):
        frames += 1
        faces += len(found)
        frames_with_face += bool(found)
    cpu = time.process_time() - begun
    if not frames:
        sys.exit(f"{args.clip}: OpenCV reads no frame of it; give a video")
    status = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
    peak_kib = int(status.partition("VmHWM:")[2].split()[0])
    print(
        json.dumps(
            {
                "version": version("fer"),
                "python": ".".join(map(str, sys.version_info[:3])),
                "opencv": cv2.__version__,
                "numpy": version("numpy"),
                "runtime": f"tensorflow {tensorflow.__version__}",
                "frames": frames,
                "frames_with_face": frames_with_face,
                "faces": faces,
                "cpu_ms_per_frame": round(1000 * cpu / frames, 3),
                "peak_rss_mb": round(peak_kib * 1024 / 1e6, 1),
            }
        )
    )


def _results(detector: Any, clip: str, repeat: int, limit: int | None) -> Iterator[list[Any]]:
    import cv2

    count = 0
    for _ in range(repeat):
        capture = cv2.VideoCapture(clip, cv2.CAP_FFMPEG, [cv2.CAP_PROP_N_THREADS, 1])
        while limit is None or count < limit:
            got, picture = capture.read()
            if not got:
                break
            count += 1
            yield detector.detect_emotions(picture)
        capture.release()


if __name__ == "__main__":
    main()
