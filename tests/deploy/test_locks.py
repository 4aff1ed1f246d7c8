"""The locks: everything pinned and hashed, nothing of where it came from, and each for its own environment."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

LOCKS = Path(__file__).resolve().parents[2] / "deploy" / "locks"
NAMES = ("build", "dev", "device", "host")
PINNED = re.compile(r"(?P<name>[a-z0-9][a-z0-9.-]*)==(?P<version>[^ ;]+)(?: ; [^\\]+)?(?: --hash=sha256:[0-9a-f]{64})+")


def entries(name: str) -> list[str]:
    """Requirements of a lock, one a line as pip joins them."""
    text = (LOCKS / f"{name}.txt").read_text(encoding="utf-8")
    joined = re.sub(r" *\\\n *", " ", text)
    return [line for line in joined.splitlines() if line and not line.startswith("#")]


def packages(name: str) -> dict[str, set[str]]:
    """Versions of each package of a lock."""
    found: dict[str, set[str]] = {}
    for entry in entries(name):
        match = PINNED.fullmatch(entry)
        assert match, entry[:120]
        found.setdefault(match["name"], set()).add(match["version"])
    return found


@pytest.mark.parametrize("name", NAMES)
def test_every_line_is_pinned_and_hashed(name: str) -> None:
    assert packages(name)


@pytest.mark.parametrize("name", NAMES)
def test_lock_names_no_place(name: str) -> None:
    text = (LOCKS / f"{name}.txt").read_text(encoding="utf-8")
    assert not re.search(r"://|--index|--extra|--find|--trusted|file:|@ ", text)


def test_device_has_only_what_the_device_runs() -> None:
    device = packages("device")
    assert {"numpy", "opencv-python-headless", "tflite-runtime", "ai-edge-litert", "tqdm"} <= device.keys()
    assert not device.keys() & {"keras", "tensorflow", "tensorflow-cpu", "matplotlib", "pytest", "hatchling"}


@pytest.mark.parametrize("name", ["device", "host"])
def test_opencv_has_face_cascades(name: str) -> None:
    assert all(version.startswith("4.") for version in packages(name)["opencv-python-headless"])


@pytest.mark.parametrize("tools", ["build", "dev"])
@pytest.mark.parametrize("environment", ["device", "host"])
def test_tools_change_no_package_of_an_environment(tools: str, environment: str) -> None:
    base = packages(environment)
    for name, versions in packages(tools).items():
        assert versions <= base.get(name, versions), name
