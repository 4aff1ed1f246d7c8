"""What the wheel has to bring: the models, and the programs that it puts on the PATH."""

from __future__ import annotations

import configparser
import zipfile

MODELS = ("emotion.tflite", "emotion.json", "face.tflite", "face.json", "scan.tflite", "scan.json")


def console_scripts(wheel: zipfile.ZipFile) -> set[str]:
    """Return the names of the programs in a wheel."""
    (name,) = [name for name in wheel.namelist() if name.endswith(".dist-info/entry_points.txt")]
    parser = configparser.ConfigParser(delimiters=("=",))
    parser.read_string(wheel.read(name).decode())
    return set(parser["console_scripts"])
