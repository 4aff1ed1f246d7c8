"""One turn of one system, in its own environment: clips at full pace, one after another, on one core; run by turns.py.

By hand: `.venv-peer-fer/bin/python -I benchmarks/peers/measure.py fer CLIP` prints one line of JSON. But in our
own turn only systems.py and edge/hardware/board.py are imported of ours: they stand on the standard library alone.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Sequence
from importlib.metadata import version
from itertools import pairwise
from pathlib import Path
from typing import Any

# One thread everywhere, as the device's loop has; libraries read these when they are imported.
for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"):
    os.environ[_name] = "1"
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
sys.path.append(str(Path(__file__).resolve().parents[2]))  # the environment of another system does not have us

from benchmarks.peers.systems import SYSTEMS, Labeller  # noqa: E402
from edge.hardware.board import peak_rss_mb  # noqa: E402


def label_changes(labels: Sequence[str | None]) -> int:
    """Return how often a label differs from the one before it; frames without one between them are passed over."""
    named = [label for label in labels if label is not None]
    return sum(before != after for before, after in pairwise(named))


def display_changes(shown: Sequence[str | None]) -> int:
    """Return how often what is shown changes from frame to frame, to nothing and back included."""
    return sum(before != after for before, after in pairwise(shown))


def measure(name: str, clips: Sequence[str], limit: int | None, warmup: int) -> dict[str, Any]:
    """Measure a system on clips after `warmup` frames of the first; returns what turns.py makes a result of.

    Ends the program for a clip without a frame.
    """
    import cv2

    system = SYSTEMS[name]()
    start_cpu_s = time.process_time()
    system.play(clips[0], 1)
    first_cpu_s = time.process_time()
    system.play(clips[0], warmup)
    rows = []
    for clip in clips:
        capture = cv2.VideoCapture(clip, cv2.CAP_FFMPEG)
        fps, width, height = (
            capture.get(key) for key in (cv2.CAP_PROP_FPS, cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT)
        )
        capture.release()
        if not fps > 0:
            sys.exit(f"{clip}: OpenCV reads no frame rate of it; give a video that has one")
        played = system.play(clip, limit)
        if not played.frames:
            sys.exit(f"{clip}: OpenCV reads no frame of it; give a video")
        rows.append(
            {
                "clip": Path(clip).name,
                "width": int(width),
                "height": int(height),
                "frames": played.frames,
                "video_s": round(played.frames / fps, 3),
                "cpu_s": round(played.cpu_s, 4),
                "wall_s": round(played.wall_s, 4),
                "decoding_cpu_s": round(played.decoding_cpu_s, 4),
                "detection_cpu_s": round(played.detection_cpu_s, 4),
                "frames_with_face": played.frames_with_face,
                "faces": played.faces,
                "label_changes": label_changes(played.labels) if system.labelled else None,
                "display_changes": display_changes(played.shown) if system.labelled else None,
            }
        )
    return {
        "clips": rows,
        "start_cpu_s": round(start_cpu_s, 3),
        "first_result_cpu_s": round(first_cpu_s, 3),
        "peak_rss_mb": round(peak_rss_mb(), 1),
        "software": {
            system.package: version(system.package),
            "runtime": system.runtime(),
            "python": ".".join(map(str, sys.version_info[:3])),
            "opencv": cv2.__version__,
            "numpy": version("numpy"),
        },
    }


def classify(name: str, path: str) -> dict[str, Any]:
    """Return the share of a .npz file's faces ("images" uint8 (n, 48, 48), "labels" (n,)) that a peer labels alike."""
    import numpy as np

    system = SYSTEMS[name]()
    assert isinstance(system, Labeller)
    with np.load(path) as data:
        images, labels = data["images"], data["labels"]
    right = int((system.classify(images) == labels).sum())
    return {"right": right, "rows": len(labels)}


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure one system on clips; prints JSON.")
    parser.add_argument("system", choices=SYSTEMS)
    parser.add_argument("clips", nargs="*")
    parser.add_argument("--frames", type=int, help="at most so many of each clip")
    parser.add_argument("--warmup", type=int, default=60, help="frames of the first clip before, not measured")
    parser.add_argument("--faces", help="a .npz file of faces to label, in place of clips")
    args = parser.parse_args()
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})  # one core: threads of a library's own gain nothing
    if args.faces:
        result = classify(args.system, args.faces)
    elif args.clips:
        result = measure(args.system, args.clips, args.frames, args.warmup)
    else:
        parser.error("give a clip, or --faces")
    print(json.dumps(result))


if __name__ == "__main__":
    main()
