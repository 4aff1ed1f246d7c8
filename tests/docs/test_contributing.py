"""The display that CONTRIBUTING adds works as it stands there, and every place that it names exists."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path
from typing import Any

import pytest

from edge.errors import SettingsInvalid
from edge.runtime.control import Control
from edge.settings import Settings
from edge.types import Cue, Update

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")


def update(cue: Cue) -> Update:
    return Update(None, (), (), (), cue, {}, 0)


def bell() -> Any:
    """The class of the example, run as it stands there."""
    (block,) = re.findall(r"^ *```python\n(.*?)^ *```", TEXT, re.MULTILINE | re.DOTALL)
    names: dict[str, Any] = {"__name__": "edge.sinks.bell"}
    exec(compile(textwrap.dedent(block), "CONTRIBUTING.md", "exec"), names)
    return names["BellSink"]


def test_the_example_is_a_sink(capsys: pytest.CaptureFixture[str]) -> None:
    sink = bell()("", Control(Settings()))
    smile, nobody = Cue("expression", "smile", 0.9, 0.0), Cue("no_face", None, 0.0, 0.0)
    for cue in (smile, smile, nobody, smile):
        sink.show(update(cue))
    sink.close()
    sink.close()
    assert capsys.readouterr().err == "\a\a"
    with pytest.raises(SettingsInvalid, match="valid is bell"):
        bell()("loud", Control(Settings()))


def test_what_it_names_is_there() -> None:
    for path in re.findall(r"`((?:edge|tests|deploy|benchmarks|docs)/[\w./]+)`", TEXT):
        assert (ROOT / path).exists() or "bell" in path, path
    for name, path in (("SINKS", "edge/sinks/table.py"), ("OWN_PIXELS", "tests/privacy/test_frames.py")):
        assert re.search(rf"^{name}\b", (ROOT / path).read_text(encoding="utf-8"), re.MULTILINE)
