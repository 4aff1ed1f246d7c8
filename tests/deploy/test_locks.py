"""The locks: everything pinned and hashed, nothing of where it came from, and each for its own environment."""

from __future__ import annotations

import itertools
import re
import tomllib
from pathlib import Path

import pytest
from packaging.markers import Marker

ROOT = Path(__file__).resolve().parents[2]
LOCKS = ROOT / "deploy" / "locks"
EXTRAS: dict[str, list[str]] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
ALL = EXTRAS.pop("all")
NAMES = ("build", "dev", "device", "emulation", "glasses", "host", "pip", "sinks")
PINNED = re.compile(
    r"(?P<name>[a-z0-9][a-z0-9.-]*)==(?P<version>[^ ;]+)(?: ; (?P<marker>[^\\]+?))?(?: --hash=sha256:[0-9a-f]{64})+"
)


def entries(name: str) -> list[str]:
    """Requirements of a lock, one a line as pip joins them."""
    text = (LOCKS / f"{name}.txt").read_text(encoding="utf-8")
    joined = re.sub(r" *\\\n *", " ", text)
    return [line for line in joined.splitlines() if line and not line.startswith("#")]


def matches(name: str) -> list[re.Match[str]]:
    """Name, version and marker of each entry of a lock."""
    found = []
    for entry in entries(name):
        match = PINNED.fullmatch(entry)
        assert match, entry[:120]
        found.append(match)
    return found


def packages(name: str) -> dict[str, set[str]]:
    """Versions of each package of a lock."""
    found: dict[str, set[str]] = {}
    for match in matches(name):
        found.setdefault(match["name"], set()).add(match["version"])
    return found


def normal(requirement: str) -> str:
    """The normalised name of a requirement."""
    name = re.match(r"[A-Za-z0-9._-]+", requirement)
    assert name
    return re.sub(r"[._-]+", "-", name[0]).lower()


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
    assert not device.keys() & {normal(requirement) for lines in EXTRAS.values() for requirement in lines}


def test_sinks_has_every_extra_and_never_another_numpy_or_opencv() -> None:
    assert EXTRAS.keys() == {"display", "oled", "web", "mqtt", "pins", "haptic", "glasses"}
    sinks = packages("sinks")
    wanted = {normal(line) for name, lines in EXTRAS.items() for line in lines if name != "glasses"}
    assert wanted <= sinks.keys()
    assert not sinks.keys() & {"numpy", "opencv-python", "opencv-python-headless", "tflite-runtime", "ai-edge-litert"}


def test_all_is_every_extra() -> None:
    (line,) = ALL
    assert re.findall(r"\w+", line) == ["cuelens", *EXTRAS]


def test_glasses_have_a_lock_of_their_own_and_their_emulation_another() -> None:
    glasses, emulation = packages("glasses"), packages("emulation")
    assert {normal(requirement) for requirement in EXTRAS["glasses"]} <= glasses.keys()
    assert glasses.keys() == {"bleak", "dbus-fast", "typing-extensions"}
    groups = tomllib.loads((ROOT / "pyproject.toml").read_text())["dependency-groups"]
    assert {normal(requirement) for requirement in groups["emulation"]} == emulation.keys(), "nothing comes with it"


@pytest.mark.parametrize("name", ["sinks", "glasses", "device", "build", "pip"])
def test_a_lock_of_the_device_is_for_both_machines_and_every_python(name: str) -> None:
    """Of each package there is one version for a machine and a Python, or none, and then on both machines."""
    for machine, python in itertools.product(("x86_64", "aarch64"), ("3.11", "3.12", "3.13", "3.14")):
        environment = {
            "sys_platform": "linux",
            "platform_machine": machine,
            "platform_python_implementation": "CPython",
            "python_full_version": f"{python}.1",
        }
        found = [match["name"] for match in matches(name) if Marker(match["marker"]).evaluate(environment)]
        assert len(found) == len(set(found)), (machine, python)
        if name in {"sinks", "pip"}:
            assert set(found) == packages(name).keys(), (machine, python)


@pytest.mark.parametrize("name", ["device", "host"])
def test_opencv_has_face_cascades(name: str) -> None:
    assert all(version.startswith("4.") for version in packages(name)["opencv-python-headless"])


@pytest.mark.parametrize("tools", ["build", "dev", "emulation", "glasses", "sinks"])
@pytest.mark.parametrize("environment", ["device", "host"])
def test_tools_change_no_package_of_an_environment(tools: str, environment: str) -> None:
    base = packages(environment)
    for name, versions in packages(tools).items():
        assert versions <= base.get(name, versions), name


def test_tools_and_sinks_agree() -> None:
    sinks = packages("sinks")
    for lock in ("dev", "emulation", "glasses"):
        for name, versions in packages(lock).items():
            assert versions <= sinks.get(name, versions), (lock, name)
