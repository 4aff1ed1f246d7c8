"""A small table of pictures, as FER2013 has it."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from edge.sources.demo import FACES
from lab.datasets.fer2013 import CLASSES


def write_table(path: Path, **more: int) -> None:
    """Write a FER2013 table of the demo's faces, each a little different: a network can learn it in seconds.

    `more` are further splits with their rows.
    """
    rng = np.random.default_rng(0)
    with np.load(FACES) as table:
        faces = dict(zip(table["classes"].tolist(), table["faces"], strict=True))
    lines = ["emotion,pixels,Usage"]
    for split, count in {"Training": 256, "PublicTest": 70, **more}.items():
        for row in range(count):
            label = row % len(CLASSES)
            face = cv2.resize(faces[CLASSES[label]], (48, 48), interpolation=cv2.INTER_AREA).astype(int)
            face = np.clip(face * rng.uniform(0.9, 1.1) + rng.normal(0, 3, face.shape), 0, 255).astype(np.uint8)
            lines.append(f"{label},{' '.join(map(str, face.ravel()))},{split}")
    path.write_text("\n".join(lines) + "\n")
