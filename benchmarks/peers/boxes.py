"""MediaPipe's face boxes of every frame of films, the reference for `cuelens-bench faces tracks`.

Runs in .venv-peer-mediapipe: `.venv-peer-mediapipe/bin/python benchmarks/peers/boxes.py CLIPS boxes.json`.
"""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path
from typing import Any

LEAST_SCORE = 0.5  # of the detector, its own default


def find_boxes(path: Path) -> list[list[tuple[float, float, float, float, float]]]:
    """Return of each frame its faces, likeliest first: score, and x, y, width, height in pixels."""
    import cv2
    from mediapipe.python.solutions.face_detection import FaceDetection  # type: ignore[import-not-found]

    capture, films = cv2.VideoCapture(str(path)), []
    # Short range and full range: either alone misses faces that the other finds.
    detectors = [FaceDetection(LEAST_SCORE, model_selection=number) for number in (0, 1)]
    while True:
        good, picture = capture.read()
        if not good:
            break
        height, width = picture.shape[:2]
        rgb = cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)
        found: list[Any] = []
        for detector in detectors:
            found = list(detector.process(rgb).detections or ())
            if found:
                break
        found.sort(key=lambda face: -face.score[0])
        boxes = [face.location_data.relative_bounding_box for face in found]
        films.append(
            [
                (round(face.score[0], 3), box.xmin * width, box.ymin * height, box.width * width, box.height * height)
                for face, box in zip(found, boxes, strict=True)
            ]
        )
    return films


def main() -> None:
    """Write {clip: [[[score, x, y, width, height], ...] of each frame]} as JSON."""
    if len(sys.argv) != 3:
        sys.exit(f"usage: {sys.argv[0]} CLIPS OUT.json: a folder of films with its labels.csv")
    folder, out = (Path(word) for word in sys.argv[1:])
    with (folder / "labels.csv").open(encoding="utf-8", newline="") as file:
        names = [row["path"] for row in csv.DictReader(file)]
    out.write_text(json.dumps({name: find_boxes(folder / name) for name in names}))


if __name__ == "__main__":
    main()
