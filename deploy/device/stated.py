"""What each source and sink may need of the service. Made by deploy/pages.py of their classes: do not edit it."""

from __future__ import annotations

from deploy.device.needs import Reach, Stated

STATED = Stated(
    source="picamera",
    sinks=("terminal",),
    of_sources={
        "file:URL": Reach(network=True),
        "v4l2": Reach(groups=("video",)),
        "picamera": Reach(groups=("video",)),
    },
    of_sinks={
        "display": Reach(groups=("video", "render"), safe_mode=True),
        "oled": Reach(groups=("i2c", "spi", "gpio"), safe_mode=True),
        "audio": Reach(groups=("audio",), devices=("char-alsa rw",), safe_mode=True),
        "web": Reach(network=True),
        "mqtt": Reach(network=True),
        "haptic": Reach(groups=("i2c", "gpio")),
        "glasses": Reach(groups=("bluetooth",), safe_mode=True),
    },
)
