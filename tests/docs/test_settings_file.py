"""deploy/cuelens.toml documents every setting at its default, and nothing else; those for tuning are comments."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from dataclasses import asdict, fields, is_dataclass
from pathlib import Path

import pytest

from deploy.pages import settings_file
from edge.runtime.control import Control
from edge.settings import CameraSettings, CueSettings, LookSettings, Settings, check, is_for_tuning
from edge.settings_file import load_settings
from edge.sinks.table import settings_types
from edge.web.news import page_message


def of_audience(*, tuning: bool) -> Iterator[tuple[str, str]]:
    """Yield table and key of each setting for tuning, or of each for everybody."""
    tables = [getattr(Settings(), item.name) for item in fields(Settings)]
    kinds = [Settings, *(type(table) for table in tables if is_dataclass(table)), *settings_types().values()]
    for kind in kinds:
        for item in fields(kind):
            if item.name != "own" and not is_dataclass(getattr(kind(), item.name)) and is_for_tuning(item) is tuning:
                yield kind.__name__, item.name


def test_the_settings_file_is_the_defaults_and_names_every_setting(repository: Path) -> None:
    path = repository / "deploy" / "cuelens.toml"
    assert load_settings(path) == Settings()
    text = path.read_text()
    written = tomllib.loads(re.sub(r"^# (?=\w+ = )", "", text, flags=re.MULTILINE))
    defaults = asdict(Settings()) | {name: asdict(kind()) for name, kind in settings_types().items()}
    assert defaults.pop("own") == {}
    assert written.keys() == defaults.keys()
    for section, values in defaults.items():
        assert written[section] == (list(values) if isinstance(values, tuple) else values) or isinstance(values, dict)
        if isinstance(values, dict):
            assert written[section].keys() == values.keys()


def test_what_only_tuning_needs_is_a_comment_and_all_else_is_not() -> None:
    text = settings_file()
    tuning, plain = set(of_audience(tuning=True)), set(of_audience(tuning=False))
    assert {("CueSettings", "filter"), ("FaceSettings", "budget"), ("Settings", "threads")} <= tuning
    assert {("CueSettings", "sensitivity"), ("FaceSettings", "fov_deg"), ("Settings", "source")} <= plain
    assert not tuning & {("LookSettings", item.name) for item in fields(LookSettings)}
    keys = re.findall(r"^(\w+) = ", text, re.MULTILINE)
    assert sorted(keys) == sorted(name for _, name in plain)
    assert sorted(re.findall(r"^# (\w+) = ", text, re.MULTILINE)) == sorted(name for _, name in tuning)


def test_the_page_hides_what_only_tuning_needs() -> None:
    groups = page_message(Control(), pictures=False)["groups"]
    found = [field for group in groups for field in group["fields"]]
    hidden = {field["key"] for field in found if field["advanced"]}
    assert hidden == {name for table, name in of_audience(tuning=True) if table == "CueSettings"}
    assert len(hidden) < len(found)


@pytest.mark.parametrize(
    ("table", "name", "value", "complaint"),
    [
        (CueSettings, "hold", 11.0, "valid are 0.0 to 10.0 s"),
        (CueSettings, "enter", 2.0, "valid are 0.0 to 1.0"),
        (CameraSettings, "rotate_deg", 45, "valid are 0, 90, 180, 270 degrees"),
    ],
)
def test_an_error_and_the_page_have_the_same_range_and_unit(
    repository: Path, table: type, name: str, value: object, complaint: str
) -> None:
    assert check(table, name, value) == complaint
    (row,) = re.findall(rf"^\| `{name}` .*$", (repository / "docs/settings.md").read_text(), re.MULTILINE)[:1]
    assert complaint.removeprefix("valid are ").partition(",")[0] in row.replace("`", "")
