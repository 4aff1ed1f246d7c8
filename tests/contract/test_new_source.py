"""A new camera is one file and one line of the table: all that looks after sources finds it there."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from deploy.device.needs import needs
from deploy.pages import make_pages
from edge.commands.needs import sum_up
from edge.diagnostics.checks.camera import check_camera
from edge.diagnostics.checks.machine import Machine
from edge.diagnostics.checks.service import check_groups
from edge.diagnostics.report import clean_settings
from edge.errors import LightUnlit
from edge.hardware.light import LitCamera, open_light
from edge.settings import CameraSettings, PinSettings, Settings
from edge.sources import SOURCES, is_camera, open_source
from edge.sources.turning import TurnedSource

FILE = '''"""`door`: the camera of a door, that shows one gray frame."""

from __future__ import annotations

import time
from collections.abc import Iterator

import numpy as np

from edge.needs import Needs
from edge.settings import Settings
from edge.types import Frame


class DoorSource:
    """The camera of a door."""

    announced: int | None = None
    live = True
    stuck = False

    @staticmethod
    def needs(argument: str, settings: Settings) -> Needs:
        """State that it is a camera of this device, its library and its group."""
        return Needs(modules=("doorlib",), groups={"doors": "the door"}, devices=("/dev/door rw",), camera=True)

    def __init__(self, argument: str, *, live: bool = True) -> None:
        """Open the door number `argument`."""

    def frames(self) -> Iterator[Frame]:
        """Yield what stands before it."""
        now = time.monotonic()
        gray = np.zeros((120, 160), np.uint8)
        gray[0] = 255
        yield Frame(gray, now, 0, now)

    def close(self) -> None:
        """Leave it."""
'''


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """The file, the line, and settings that name the camera."""
    (tmp_path / "door.py").write_text(FILE)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(SOURCES, "door", "door:DoorSource")
    return Settings(source="door:7")


def test_the_check_looks_for_what_it_needs_and_names_who_holds_it(tmp_path: Path, settings: Settings) -> None:
    found = []
    for modules, status in (
        ((), None),
        (("doorlib",), None),
        (("doorlib",), {"source": "door:7", "state": "no_face", "last_frame_age": 0.1}),
        (("doorlib",), {"source": "door:7", "state": "no_camera"}),
    ):
        machine = Machine(tmp_path, lambda *_: None, has_module=modules.__contains__, status=status)
        found += [(line.state, line.says) for line in check_camera(machine, settings)]
    assert found == [
        ("do", "the source is door: doorlib not installed"),
        ("ok", "the source is door: has what it needs"),
        ("ok", "the running Cuelens holds it, newest frame 0.1 s ago"),
        ("do", "the running Cuelens gets no frames"),
    ]


def test_what_it_needs_is_given_to_the_service(
    tmp_path: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc" / "group").write_text("doors:x:99:\nvideo:x:44:\n")
    unit = "LoadState=loaded\nUser=cuelens\nSupplementaryGroups=video\n"
    (line,) = check_groups(Machine(tmp_path, lambda *_: unit), settings)
    assert (line.state, line.says) == ("do", "the service's user cuelens is not in doors for the door")
    assert sum_up(settings) == {"network": False, "groups": ["doors"], "devices": ["/dev/door rw"]}
    made: dict[str, Any] = {}
    exec(next(text for path, text in make_pages().items() if path.name == "stated.py"), made)
    (tmp_path / "set.toml").write_text('source = "door:7"\n')
    (reach, *_) = needs(tmp_path / "set.toml", made["STATED"])
    assert (reach.groups, reach.devices) == (("doors",), ("/dev/door rw",))


def test_it_is_a_camera_that_is_lit_and_turned_as_any_other(tmp_path: Path, settings: Settings) -> None:
    assert is_camera(settings.source)
    light = open_light(PinSettings(chip=f"mock:{tmp_path}", light=17))
    assert light is not None
    lit = open_source(settings.source, live=True, light=light)
    assert isinstance(lit, LitCamera)
    light.check()
    lit.close()
    with pytest.raises(LightUnlit):
        light.check()
    light.close()
    turned = open_source(settings.source, live=True, camera=CameraSettings(rotate_deg=180))
    assert isinstance(turned, TurnedSource)
    (frame,) = turned.frames()
    assert (frame.gray[0].max(), frame.gray[-1].min()) == (0, 255)


def test_a_report_names_its_kind_and_not_which_it_is(settings: Settings) -> None:
    assert clean_settings(settings)["source"] == "door:…"
    assert "door:7" not in json.dumps(clean_settings(settings))
