"""A new display is one file and one line of the table: all that looks after sinks finds it there."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

from deploy.device.needs import needs
from deploy.device.units import drop_ins
from deploy.pages import make_pages
from edge.commands.needs import sum_up
from edge.diagnostics.checks.machine import Machine
from edge.diagnostics.checks.outputs import check_sinks
from edge.diagnostics.checks.service import check_groups
from edge.diagnostics.report import clean_settings
from edge.diagnostics.safe_mode import show_failure
from edge.errors import SettingsInvalid
from edge.runtime.control import Control
from edge.settings import Settings
from edge.settings_file import load_settings
from edge.sinks.places import check_places
from edge.sinks.table import SINKS, needs_of
from edge.system import secrecy
from edge.web.news import page_message

FILE = '''"""`gong`: a gong in the network, struck once for each new cue."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from edge.needs import Needs
from edge.runtime.control import Control
from edge.settings import LOGIN, Settings
from edge.types import Capabilities, Update


@dataclass(frozen=True, slots=True)
class GongSettings:
    """The `gong` sink: a gong in the network."""

    strikes: int = field(default=1, metadata={"range": (1, 9)})
    """How often it is struck for a cue."""

    key: str = field(default="", metadata=LOGIN)
    """What it lets us in with."""


class GongSink:
    """Write how often it is struck, and for what."""

    capabilities = Capabilities()
    settings_type = GongSettings
    settings_live = True

    @staticmethod
    def needs(argument: str, settings: Settings) -> Needs:
        """State the network, the group of gongs, and that there is one."""
        return Needs(
            modules=("gonglib",),
            groups={"gongs": "the gong"},
            devices=("/dev/gong rw",),
            network=True,
            place="gong",
            safe_mode=True,
        )

    def __init__(self, argument: str, control: Control) -> None:
        """Take the file that stands for the gong."""
        self._path, self._control = Path(argument), control

    def show(self, update: Update) -> None:
        """Strike."""
        self._path.write_text(f"{update.cue.state} x {self._control.settings.of(GongSettings).strikes}")

    def close(self) -> None:
        """Leave it."""
'''


@pytest.fixture
def gong(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file, the line, and a settings file that names the sink; returns the file that stands for the gong."""
    (tmp_path / "gong.py").write_text(FILE)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(SINKS, "gong", "gong:GongSink")
    monkeypatch.setattr(secrecy, "_known", {})
    struck = tmp_path / "struck"
    (tmp_path / "set.toml").write_text(f'sinks = ["gong:{struck}"]\n[gong]\nstrikes = 3\nkey = "sesame open"\n')
    return struck


@pytest.fixture
def settings(gong: Path) -> Settings:
    return load_settings(gong.with_name("set.toml"))


def test_its_settings_are_read_checked_and_kept_secret(gong: Path, settings: Settings) -> None:
    assert (settings.own["gong"].strikes, settings.own["gong"].key) == (3, "sesame open")
    assert secrecy.plain("it heard sesame open") == "it heard …"
    path = gong.with_name("wrong.toml")
    path.write_text("[gong]\n\nstrikes = 10\n")
    with pytest.raises(SettingsInvalid, match=r"wrong\.toml:3: gong\.strikes is 10; valid are 1 to 9"):
        load_settings(path)
    path.write_text("[gonk]\nstrikes = 1\n")
    with pytest.raises(SettingsInvalid, match="did you mean 'gong'"):
        load_settings(path)


def test_what_it_needs_is_checked_and_given_to_the_service(tmp_path: Path, settings: Settings) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc" / "group").write_text("gongs:x:99:\nvideo:x:44:\n")
    unit = "LoadState=loaded\nUser=cuelens\nSupplementaryGroups=video\nRestrictAddressFamilies={}\n"
    alone, online = unit.format("AF_UNIX"), unit.format("AF_UNIX AF_INET")
    found = []
    for modules, answer in (((), alone), (("gonglib",), alone), (("gonglib",), online)):
        machine = Machine(tmp_path, lambda *_, answer=answer: answer, has_module=modules.__contains__)
        found += [(line.state, line.says) for line in check_sinks(machine, settings)]
    assert found == [
        ("do", "gonglib not installed"),
        ("do", "the service has no network, which it needs"),
        ("ok", "has what it needs"),
    ]
    (line,) = check_groups(Machine(tmp_path, lambda *_: online), settings)
    assert (line.state, line.says) == ("do", "the service's user cuelens is not in gongs for the gong")
    assert sum_up(settings) == {"network": True, "groups": ["video", "gongs"], "devices": ["/dev/gong rw"]}


def test_the_installer_has_it_reach_what_it_needs_in_safe_mode_without_the_network(
    tmp_path: Path, gong: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUELENS_ROOT", str(tmp_path))
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc" / "group").write_text("gongs:x:99:\nvideo:x:44:\n")
    made: dict[str, Any] = {}
    exec(next(text for path, text in make_pages().items() if path.name == "stated.py"), made)
    found = drop_ins(needs(gong.with_name("set.toml"), made["STATED"]))
    main, safe = (set(text.splitlines()) for text in found)
    assert safe > {"SupplementaryGroups=gongs", "DeviceAllow=/dev/gong rw"}
    assert main - safe == {"RestartMode=direct", "RestrictAddressFamilies=AF_INET AF_INET6"}


def test_it_shows_in_safe_mode_with_its_settings(gong: Path, settings: Settings) -> None:
    show_failure(Control(settings), "it hung", threading.Event(), 0.2)
    assert gong.read_text() == "stopped x 3"


def test_its_settings_are_changed_on_the_page_and_saved_but_for_what_is_secret(gong: Path, settings: Settings) -> None:
    control = Control(settings, saved=gong.with_name("saved.toml"))
    (group,) = (group for group in page_message(control, pictures=False)["groups"] if group["title"] == "Gong")
    assert group["fields"] == [
        {
            "table": "gong",
            "key": "strikes",
            "label": "Strikes",
            "value": 3,
            "advanced": False,
            "range": [1, 9],
            "whole": True,
        }
    ]
    refused = r"^gong\.key cannot be changed while it runs; change it in the settings file$"
    for seen in (None, {"key": "a guess"}):
        with pytest.raises(SettingsInvalid, match=refused):
            control.change("gong", {"strikes": 8, "key": "another"}, seen)
    assert (control.settings.own["gong"].strikes, control.settings.own["gong"].key) == (3, "sesame open")
    control.change("gong", {"strikes": 7})
    control.save()
    again = Control(settings, saved=gong.with_name("saved.toml"))
    again.load()
    assert (again.settings.own["gong"].strikes, again.settings.own["gong"].key) == (7, "sesame open")


def test_two_of_it_are_refused_and_it_looks_into_no_frame(gong: Path, settings: Settings) -> None:
    with pytest.raises(SettingsInvalid, match="sink gong:b shows or writes where gong:a does"):
        check_places(Settings(sinks=("gong:a", "gong:b")))
    assert not needs_of("gong", settings).sees_frames


def test_the_pages_have_it_and_a_report_has_no_word_of_its_owner(settings: Settings) -> None:
    pages = {path.name: text for path, text in make_pages().items()}
    assert (
        "| `gong` | a gong in the network, struck once for each new cue | gonglib | gongs | yes | shows it |"
        in pages["sinks.md"]
    )
    assert "`gong`" in pages["privacy.md"].split("never looks into the frame: ")[1].split(".")[0]
    page = pages["settings.md"]
    assert "## [gong]\n\nThe `gong` sink: a gong in the network.\n" in page
    assert "| `strikes` | `1` | 1 to 9 | How often it is struck for a cue. |" in page
    assert clean_settings(settings)["gong"] == {"strikes": 3, "key": "…"}
