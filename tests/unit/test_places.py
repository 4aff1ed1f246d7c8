"""Two sinks at one place are found, by whatever names; two at two places are not."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge.errors import SettingsInvalid
from edge.settings import Settings
from edge.sinks.places import check_places, one_at_each_place
from edge.sinks.table import SINKS, takes_argument
from edge.sinks.web import WebSettings

ARGUMENTS = {"log": "l.jsonl", "video": "v.mp4", "png": "c.png", "audio": "file:s.wav"}
SAME = [
    *((f"{name}:{ARGUMENTS.get(name, '')}".rstrip(":"),) * 2 for name in SINKS),
    ("terminal", "terminal:"),
    ("log", "log:"),
    ("log", "log:/dev/stdout"),
    ("log:l", "log:./l"),
    ("log:l", "log:sub/../l"),
    ("log:l", "log:link"),
    ("log:there", "log:hard"),
    ("log:there", "log:linked/there"),
    ("log:sub/x", "log:linked_sub/x"),
    ("video:v.mp4", "log:v.mp4"),
    ("video:v.mp4", "video:{here}/v.mp4"),
    ("audio:file:x.wav", "audio:file:sub/../x.wav"),
    ("png:c.png", "png:320x200:c.png"),
    ("png:sub/", "png:sub"),
    ("png:sub", "png:sub/cue-%06d.png"),
    ("png:sub/", "png:64x64:linked_sub/"),
    ("display", "display:full"),
    ("display:640x480", "display:full"),
    ("oled", "oled:"),
    ("oled:dummy", "oled:dummy"),
    ("audio", "audio:default"),
    ("web", "web:8317"),
    ("web:8000", "web:127.0.0.1:8000"),
    ("web:localhost:8000", "web:127.0.0.1:8000"),
    ("web:0.0.0.0:8000", "web:192.168.1.5:8000"),
    ("web:[::]:8000", "web:8000"),
    ("web:glasses.local:8000", "web:8000"),
    ("web:8000", "web:08000"),
]
OTHER = [
    ("log:l", "log:m"),
    ("log", "log:l"),
    ("log:sub/l", "log:l"),
    ("video:v.mp4", "video:w.mp4"),
    ("video:v.mp4", "video:v.mkv"),
    ("png:sub/", "png:c.png"),
    ("png:sub/", "png:sub/c-%04d.png"),
    ("oled", "oled:dummy"),
    ("audio", "audio:hw:1"),
    ("audio", "audio:file:x.wav"),
    ("web:8000", "web:8001"),
    ("web:0", "web:0"),
    ("web:127.0.0.1:8000", "web:192.168.1.5:8000"),
    ("display", "oled"),
]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with files, links and folders."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sub").mkdir()
    (tmp_path / "there").touch()
    (tmp_path / "link").symlink_to("l")
    (tmp_path / "linked").symlink_to(".")
    (tmp_path / "linked_sub").symlink_to("sub")
    (tmp_path / "hard").hardlink_to("there")
    return tmp_path


@pytest.mark.parametrize(("first", "second"), SAME)
def test_two_at_one_place_are_refused_and_a_service_takes_the_first(here: Path, first: str, second: str) -> None:
    second = second.format(here=here)
    settings = Settings(sinks=("log:else", first, second), own={"web": WebSettings(token="x" * 16)})
    with pytest.raises(SettingsInvalid, match="leave one of them out, or give it another place") as raised:
        check_places(settings)
    assert f"sink {second} " in str(raised.value)
    sinks, mistakes = one_at_each_place(settings)
    assert sinks == ("log:else", first)
    assert len(mistakes) == 1
    assert first in mistakes[0]


@pytest.mark.parametrize(("first", "second"), OTHER)
def test_two_at_two_places_are_taken(here: Path, first: str, second: str) -> None:
    settings = Settings(sinks=(first, second))
    check_places(settings)
    assert one_at_each_place(settings) == ((first, second), [])


@pytest.mark.parametrize("name", [name for name in SINKS if not takes_argument(name)])
def test_a_service_has_its_sink_whatever_is_named_behind_it(name: str) -> None:
    sinks, mistakes = one_at_each_place(Settings(sinks=(f"{name}:foo", "log:l")))
    assert sinks == (name, "log:l")
    assert mistakes == [f"sink {name}:foo: {name} takes no argument; name it {name}"]
    assert one_at_each_place(Settings(sinks=(f"{name}:",))) == ((f"{name}:",), [])


def test_the_terminal_and_a_broker_take_no_argument() -> None:
    assert [name for name in SINKS if not takes_argument(name)] == ["terminal", "mqtt"]
