"""The device: a camera frame goes in, one steady cue comes out. Imports nothing of the host."""

import os

# A picture may say that it is larger than any memory. OpenCV reads its limit when it is imported, by whoever is first.
MOST_PIXELS = 1 << 26
os.environ.setdefault("OPENCV_IO_MAX_IMAGE_PIXELS", str(MOST_PIXELS))
