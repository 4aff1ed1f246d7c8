"""What the settings' source and sinks need of the service is what `cuelens needs` prints for the installer."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from deploy.device.needs import needs
from deploy.device.stated import STATED
from edge.cli import main
from edge.commands.needs import sum_up
from edge.needs import from_system, missing_library
from edge.settings import Settings
from edge.settings_file import load_settings
from edge.sinks.table import SINKS
from edge.sources import SOURCES

NOTHING: dict[str, Any] = {"network": False, "groups": [], "devices": []}


@pytest.mark.parametrize(
    ("source", "sinks", "more"),
    [
        ("demo", ("terminal",), {}),
        ("picamera", ("log", "terminal"), {"groups": ["video"]}),
        ("v4l2:2", ("display",), {"groups": ["video", "render"]}),
        ("file:rtsp://camera/1", (), {"network": True}),
        ("file:film.mp4", ("web",), {"network": True}),
        ("file:file:///home/ada/film.mp4", (), {}),
        ("file:films://a.mp4/b", (), {"network": True}),
        ("file:films/a://b.mp4", (), {}),
        ("demo", ("terminal", "mqtt"), {"network": True}),
        ("demo", ("audio", "audio:hw:1"), {"groups": ["audio"], "devices": ["char-alsa rw"]}),
        ("demo", ("audio:file:/tmp/cues.wav",), {}),
        ("demo", ("glasses:halo", "haptic"), {"groups": ["bluetooth", "i2c"]}),
        ("demo", ("oled:dummy", "haptic:dummy"), {}),
        ("nothing", ("nobody", "mqtt"), {"network": True}),
    ],
)
def test_what_is_needed_is_what_source_and_sinks_state(
    source: str, sinks: tuple[str, ...], more: dict[str, Any]
) -> None:
    assert sum_up(Settings(source=source, sinks=sinks)) == NOTHING | more


@pytest.mark.parametrize(
    "source", [*SOURCES, "file:rtsp://camera/1", "file:file:///x.mp4", "file:FILE:///x", "file:a/b://c"]
)
@pytest.mark.parametrize("sink", SINKS)
def test_the_installer_reads_the_same_in_the_table_that_it_takes_along(source: str, sink: str, tmp_path: Path) -> None:
    """At the settings' defaults; groups that a sink needs under others are there as well."""
    path = tmp_path / "cuelens.toml"
    path.write_text(f'source = "{source}"\nsinks = ["{sink}"]\n')
    found, said = needs(path, STATED), sum_up(load_settings(path))
    assert any(reach.network for reach in found) == said["network"]
    assert {group for reach in found for group in reach.groups} >= {*said["groups"]}
    assert [*dict.fromkeys(device for reach in found for device in reach.devices)] == said["devices"]


def test_it_is_printed_of_a_file_as_far_as_that_is_valid(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = tmp_path / "cuelens.toml"

    def printed(*words: str) -> str:
        with pytest.raises(SystemExit) as ended:
            main(["needs", *words, "--config", str(config)])
        assert ended.value.code == 0
        return capsys.readouterr().out

    config.write_text('source = "demo"\nsinks = ["audio", "web"]\nthreads = 99\n')
    assert json.loads(printed("--json")) == {"network": True, "groups": ["audio"], "devices": ["char-alsa rw"]}
    assert printed() == "network: yes\ngroups: audio\ndevices: char-alsa rw\n"
    config.write_bytes(b"\xff\xfe[")
    assert json.loads(printed("--json")) == NOTHING | {"groups": ["video"]}


def test_one_place_has_the_words_of_what_to_install(repository: Path) -> None:
    words = re.compile(r"(apt|pip) install|cuelens\[\{?\w+[\]}]|deploy\.sh sinks adds|install cuelens again")
    found = {
        str(path.relative_to(repository))
        for path in (repository / "edge").rglob("*.py")
        if words.search(path.read_text(encoding="utf-8"))
    }
    assert found == {"edge/needs.py"}
    assert from_system("one", "two") == "sudo apt install one two"
    said = "the web sink's uvicorn is not installed; install cuelens[web], or in a checkout ./deploy.sh sinks"
    assert str(missing_library("web", "uvicorn")) == said
