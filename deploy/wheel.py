"""Hatch build hook: the wheel is the device's, with the model in it and without the host's console scripts.

The editable install is the checkout itself: it keeps the scripts, and finds the model in models/.
"""

from __future__ import annotations

from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class DeviceWheel(BuildHookInterface[Any]):
    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if version != "standard":
            return
        for name in ("emotion.tflite", "emotion.json", "face.tflite", "face.json", "scan.tflite", "scan.json"):
            build_data["force_include"][f"{self.root}/models/{name}"] = f"edge/model/{name}"
        scripts = self.metadata.core.scripts
        for name in [name for name, target in scripts.items() if not target.startswith("edge.")]:
            del scripts[name]
