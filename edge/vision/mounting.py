"""What to set where a camera is mounted otherwise than its settings say; for the loop, and for `cuelens check`."""

from __future__ import annotations

from edge.settings import CameraSettings


def advise(turn_deg: float, settings: CameraSettings) -> str:
    """Return what is wrong with a picture whose heads are turned by `turn_deg`, and the setting that puts it right."""
    how = "upside down" if abs(turn_deg) > 135 else "on their sides"
    return f"faces are {how} in the picture; set {remedy(turn_deg, settings)}, then start again"


def remedy(turn_deg: float, settings: CameraSettings) -> str:
    """Return the setting that puts heads upright that are turned by `turn_deg`."""
    back_deg = round(turn_deg if settings.mirror else -turn_deg)
    return f"rotate_deg = {(settings.rotate_deg + back_deg) % 360} in [camera] of the settings"
